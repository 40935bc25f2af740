"""Backends that are away, break off, lie about their answers or answer twice: the caller is never deceived."""

from __future__ import annotations

import socket
import threading

import pytest
from tests.integration.router_peers import (
    OK,
    PATIENCE_SECONDS,
    Backend,
    ClosedError,
    Router,
    Talk,
    answer_always,
    build_document,
    build_request,
    route_to,
    wait_until,
)

HEAD = b"HTTP/1.1 200 OK\r\n"


def find_free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as plug:
        return plug.getsockname()[1]


# -- away ------------------------------------------------------------------------------------------


def test_a_backend_that_refuses_is_answered_for_and_its_return_is_noticed_without_a_restart():
    port = find_free_port()
    with Router(build_document(f"http://127.0.0.1:{port}")) as router:
        for _ in range(2):
            got = router.get()
            assert (got.status, got.value("x-switchyard-reason")) == (503, "connect")
            assert got.value("x-request-id")
        with Backend(port=port):
            assert router.get().status == 200
        assert router.get().status == 503
        with Backend(port=port):
            assert router.get().status == 200


def test_a_request_that_meets_the_gap_between_two_pods_waits_for_the_second():
    port = find_free_port()
    with Router(build_document(f"http://127.0.0.1:{port}")) as router:
        client = router.connect()
        client.send(build_request(method="POST", body=b"x"))
        wait_until(lambda: router.engine.open_requests == 1)
        with Backend(port=port):
            assert client.read_answer().status == 200


def test_a_backend_scaled_to_zero_and_back_under_load_costs_errors_only_while_it_is_away():
    port = find_free_port()
    statuses: list[int] = []
    is_over = threading.Event()

    def load(router: Router) -> None:
        while not is_over.is_set():
            statuses.append(router.get("/", method="POST", body=b"x").status)

    with Router(build_document(f"http://127.0.0.1:{port}")) as router:
        threads = [threading.Thread(target=load, args=(router,)) for _ in range(4)]
        with Backend(port=port):
            for thread in threads:
                thread.start()
            wait_until(lambda: statuses.count(200) > 20)
        wait_until(lambda: 503 in statuses, "requests fail while it is away")
        with Backend(port=port):
            before = statuses.count(200)
            wait_until(lambda: statuses.count(200) > before + 20, "requests succeed again")
            failed = len(statuses) - statuses.count(200)
            before = statuses.count(200)
            wait_until(lambda: statuses.count(200) > before + 20)
            assert len(statuses) - statuses.count(200) - failed <= len(threads), "errors after its return"
            is_over.set()
            for thread in threads:
                thread.join()
    assert set(statuses) <= {200, 502, 503}


# -- kept connections ------------------------------------------------------------------------------


def test_a_connection_that_the_backend_closed_while_idle_is_not_used_again():
    may_close, has_closed = threading.Semaphore(0), threading.Semaphore(0)

    def script(talk: Talk) -> None:
        talk.read_request()
        talk.send(OK)
        assert may_close.acquire(timeout=PATIENCE_SECONDS)
        talk.finish_sending()
        has_closed.release()

    with route_to(script) as (router, backend):
        client = router.connect()
        assert client.get(method="POST", body=b"x").status == 200
        for _ in range(20):
            wait_until(lambda: router.engine.open_requests == 0)
            with router.standing_still():
                client.send(build_request(method="POST", body=b"x"))  # found before the close is
                may_close.release()
                assert has_closed.acquire(timeout=PATIENCE_SECONDS)
            assert client.read_answer().status == 200
        assert len(backend.requests) == 21
        may_close.release()


@pytest.mark.parametrize(
    ("method", "status", "times"),
    [("GET", 200, 2), ("HEAD", 200, 2), ("POST", 502, 1), ("PUT", 502, 1), ("DELETE", 502, 1)],
)
def test_a_connection_that_breaks_when_used_again_is_made_up_for_only_where_nothing_can_happen_twice(
    method, status, times
):
    seen: list[str] = []

    def script(talk: Talk) -> None:
        if talk.number == 0:
            talk.read_request()
            talk.send(OK)
        first = talk.read_request()
        seen.append(first.target)
        if talk.number == 0:
            talk.reset()
            return
        talk.send(HEAD + b"Content-Length: 0\r\n\r\n")

    with route_to(script) as (router, _):
        assert router.get("/warm").status == 200
        assert router.get("/again", method=method).status == status
        assert seen == ["/again"] * times


def test_a_get_with_chunks_is_not_made_up_for_since_its_body_is_gone():
    seen: list[str] = []

    def script(talk: Talk) -> None:
        talk.read_request()
        talk.send(OK)
        seen.append(talk.read_head().target)
        talk.reset()

    with route_to(script) as (router, _):
        assert router.get("/warm").status == 200
        client = router.connect()
        client.send(b"GET /chunks HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
        assert client.read_answer().status == 502
        assert seen == ["/chunks"]


def test_a_get_whose_answer_broke_in_its_body_is_not_asked_again():
    def script(talk: Talk) -> None:
        talk.read_request()
        talk.send(OK)
        talk.read_request()
        talk.send(HEAD + b"Content-Length: 10\r\n\r\nhalf")

    with route_to(script) as (router, backend):
        assert router.get("/warm").status == 200
        client = router.connect()
        client.send(build_request("/broken"))
        with pytest.raises(ClosedError):
            client.read_answer()
        assert backend.targets == ["/warm", "/broken"]


def test_poison_that_lies_unread_when_the_next_caller_asks_is_not_given_to_it():
    may_poison, has_poisoned = threading.Event(), threading.Event()

    def script(talk: Talk) -> None:
        talk.read_request()
        talk.send(HEAD + b"Content-Length: 4\r\n\r\ngood")
        if talk.number == 0:
            assert may_poison.wait(PATIENCE_SECONDS)
            talk.send(HEAD + b"Content-Length: 6\r\n\r\npoison")
            has_poisoned.set()
            talk.wait_closed()

    with route_to(script) as (router, _):
        assert router.get().body == b"good"
        victim = router.connect()
        wait_until(lambda: router.engine.open_connections == 1)
        with router.standing_still():
            victim.send(build_request("/victim"))
            may_poison.set()
            assert has_poisoned.wait(PATIENCE_SECONDS)
        assert victim.read_answer().body == b"good"


def test_a_get_is_made_up_for_only_once():
    def script(talk: Talk) -> None:
        talk.read_request()
        if talk.number == 0:
            talk.send(OK)
            talk.read_request()
        talk.reset()

    with route_to(script) as (router, backend):
        assert router.get("/warm").status == 200
        got = router.get("/again")
        assert (got.status, got.value("x-switchyard-reason")) == (502, "reset")
        assert backend.targets.count("/again") == 2


def test_a_new_connection_that_breaks_is_not_made_up_for():
    def script(talk: Talk) -> None:
        talk.read_request()
        talk.reset()

    with route_to(script) as (router, backend):
        assert router.get().status == 502
        assert len(backend.requests) == 1


@pytest.mark.parametrize(
    "extra",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison",
        b"HTTP/1.1 200 OK\r\n",
        b"poison",
        b"\0",
    ],
    ids=["an answer", "half a head", "garbage", "a zero"],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("is_late", [False, True], ids=["with the answer", "later"])
def test_what_nobody_asked_for_is_never_given_to_another_caller(extra, method, is_late):
    has_sent = threading.Event()

    def script(talk: Talk) -> None:
        seen = talk.read_request()
        good = HEAD + b"Content-Length: 4\r\n\r\n" + (b"" if seen.method == "HEAD" else b"good")
        if talk.number:
            talk.send(good)
        elif is_late:
            talk.send(good)
            wait_until(lambda: router.engine.open_requests == 0, "the caller has its answer")
            talk.send(extra)
            has_sent.set()
            talk.wait_closed()
        else:
            talk.send(good + extra)
            has_sent.set()
            talk.wait_closed()

    with route_to(script) as (router, backend):
        victim = router.connect()
        assert router.get(method=method).status == 200
        assert has_sent.wait(10)
        # the very next request, sent while the extra bytes may still lie unread
        got = victim.get("/victim")
        assert (got.status, got.body) == (200, b"good")
        assert backend.requests[1].connection == 1


def test_a_body_in_the_answer_to_head_is_never_given_to_another_caller():
    poison = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"

    def script(talk: Talk) -> None:
        seen = talk.read_request()
        talk.send(HEAD + b"Content-Length: %d\r\n\r\n" % len(poison), poison)
        if seen.method == "HEAD":
            talk.wait_closed()

    with route_to(script) as (router, _):
        assert router.get(method="HEAD").status == 200
        assert router.get().body == poison


# -- broken answers --------------------------------------------------------------------------------

MALFORMED = {
    "no HTTP": b"hello\r\n\r\n",
    "another protocol": b"220 mail.test ESMTP\r\n\r\n",
    "a length and chunks": HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "chunks and a length": HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "two lengths": HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok",
    "a length that is no number": HEAD + b"Content-Length: two\r\n\r\nok",
    "a length below zero": HEAD + b"Content-Length: -2\r\n\r\nok",
    "gzip as transfer coding": HEAD + b"Transfer-Encoding: gzip\r\n\r\nok",
    "gzip before chunked": HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "chunks in HTTP/1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "version 2": b"HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "a status below 100": b"HTTP/1.1 099 Odd\r\nContent-Length: 2\r\n\r\nok",
    "a status of two digits": b"HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nok",
    "a folded field": HEAD + b"X-A: b\r\n c\r\nContent-Length: 2\r\n\r\nok",
    "a bare LF": HEAD + b"X-A: b\nSet-Cookie: evil=1\r\nContent-Length: 2\r\n\r\nok",
    "a bare CR": HEAD + b"X-A: b\rSet-Cookie: evil=1\r\nContent-Length: 2\r\n\r\nok",
    "a NUL": HEAD + b"X-A: b\0\r\nContent-Length: 2\r\n\r\nok",
    "a change of protocol that nobody asked for": b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello",
    "a change of protocol without saying which": b"HTTP/1.1 101 Switching Protocols\r\n\r\nhello",
}  # fmt: skip


@pytest.mark.parametrize("name", MALFORMED)
def test_an_answer_that_is_no_valid_http_becomes_502(name):
    def script(talk: Talk) -> None:
        talk.read_request()
        talk.send(MALFORMED[name])
        talk.wait_closed()

    with route_to(script) as (router, _):
        client = router.connect()
        got = client.get()
        assert (got.status, got.value("x-switchyard-reason")) == (502, "malformed")
        assert client.read_to_end() == b""
        strata = router.samples().segments["default"].arms["baseline"].strata
        assert sum(each.failures.get("malformed", 0) for each in strata.values()) == 1


@pytest.mark.parametrize("line", [b"X-Endless: ", b""], ids=["one line", "many lines"])
def test_a_head_without_end_becomes_502(line):
    def script(talk: Talk) -> None:
        talk.read_request()
        talk.send(HEAD + line)
        while True:
            talk.send(b"a" * 4096 if line else b"X-A: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n" * 100)

    with route_to(script) as (router, _):
        assert router.get().status == 502


@pytest.mark.parametrize(
    "flood",
    [b"HTTP/1.1 102 Processing\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"],
    ids=["processing", "continue"],
)
def test_answers_before_the_answer_without_end_are_cut_off(flood):
    def script(talk: Talk) -> None:
        talk.read_request()
        while True:
            talk.send(flood * 100)

    with route_to(script) as (router, _):
        client = router.connect()
        client.send(build_request())
        wait_until(client.is_closed, "the router gives up")


@pytest.mark.parametrize("tail", [b"0\r\n", b"2;"], ids=["trailers", "an extension"])
def test_an_answer_whose_chunks_are_surrounded_by_endless_words_is_cut_off(tail):
    def script(talk: Talk) -> None:
        talk.read_request()
        talk.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n" + tail)
        while True:
            talk.send(b"a" * 4096)

    with route_to(script) as (router, _):
        client = router.connect()
        client.send(build_request())
        with pytest.raises(ClosedError):
            client.read_answer()


@pytest.mark.parametrize(
    "sent", [b"", b"HTTP/1.1", b"HTTP/1.1 200 OK\r\nContent-Le"], ids=["nothing", "a word", "half a head"]
)
@pytest.mark.parametrize("is_reset", [False, True], ids=["closed", "reset"])
def test_an_answer_that_breaks_before_the_end_of_its_head_becomes_502(sent, is_reset):
    def script(talk: Talk) -> None:
        talk.read_request()
        if sent:
            talk.send(sent)
        if is_reset:
            talk.reset()

    with route_to(script) as (router, _):
        got = router.get()
        assert (got.status, got.value("x-switchyard-reason")) == (502, "reset")


BROKEN = {
    "a length": HEAD + b"Content-Length: 10\r\n\r\nhalf",
    "chunks": HEAD + b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    "the middle of a chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\na\r\nhalf",
    "an end without the last line": HEAD + b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n",
    "a bad chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nxyz\r\n",
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("is_reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_an_answer_that_breaks_in_its_body_reaches_the_caller_as_a_broken_one(name, is_reset, version):
    has_half = threading.Event()

    def script(talk: Talk) -> None:
        talk.read_request()
        talk.send(BROKEN[name])
        assert has_half.wait(10)
        if is_reset:
            talk.reset()

    with route_to(script) as (router, _):
        client = router.connect()
        client.send(build_request(version=version))
        got = client.read_head()
        assert got.status == 200
        has_length = bool(got.values("content-length"))
        if has_length or version == "1.0":
            assert client.read_exactly(4) == b"half"
        else:
            assert client.read_until(b"half") == b"4\r\nhalf"
        has_half.set()
        if version == "1.0" and not has_length:
            with pytest.raises(ConnectionResetError):  # an end in order would make it a good short one
                client.plug.recv(100)
        else:
            rest = client.read_to_end()
            assert b"0\r\n\r\n" not in rest, "a whole answer was made of half of one"
        wait_until(lambda: router.engine.open_requests == 0)
        strata = router.samples().segments["default"].arms["baseline"].strata
        assert sum(each.failures.get("truncated", 0) for each in strata.values()) == 1


def test_an_answer_that_ends_with_its_connection_is_broken_by_a_reset():
    has_half = threading.Event()

    def script(talk: Talk) -> None:
        talk.read_request()
        talk.send(HEAD + b"\r\nhalf")
        assert has_half.wait(10)
        talk.reset()

    with route_to(script) as (router, _):
        client = router.connect()
        client.send(build_request())
        assert client.read_head().status == 200
        assert client.read_until(b"half")
        has_half.set()
        assert b"0\r\n\r\n" not in client.read_to_end()


def test_an_answer_longer_than_its_length_is_cut_to_it_and_the_connection_is_not_kept():
    with route_to(answer_always(HEAD + b"Content-Length: 2\r\n\r\nok and more")) as (router, backend):
        client = router.connect()
        for _ in range(3):
            assert client.get().body == b"ok"
        assert len(backend.talks) == 3


# -- slow ------------------------------------------------------------------------------------------


def test_a_backend_that_says_nothing_is_given_up_and_can_stop_working():
    let_go = threading.Event()

    def script(talk: Talk) -> None:
        talk.read_request()
        talk.wait_closed()
        let_go.set()

    with route_to(script, limits={"firstByteTimeoutSeconds": 0.1}) as (router, _):
        got = router.get()
        assert (got.status, got.value("x-switchyard-reason")) == (504, "timeout")
        assert let_go.wait(10)


def test_a_backend_that_stalls_within_an_answer_breaks_it():
    let_go = threading.Event()

    def script(talk: Talk) -> None:
        talk.read_request()
        talk.send(HEAD + b"Content-Length: 10\r\n\r\nhalf")
        talk.wait_closed()
        let_go.set()

    with route_to(script, limits={"idleTimeoutSeconds": 0.1}) as (router, _):
        client = router.connect()
        client.send(build_request())
        with pytest.raises(ClosedError) as broken:
            client.read_answer()
        assert broken.value.rest == b"half"
        assert let_go.wait(10)


def test_a_backend_that_reads_nothing_of_a_body_is_given_up():
    def script(talk: Talk) -> None:
        talk.read_head()
        assert is_over.wait(10)

    is_over = threading.Event()
    with route_to(script, limits={"firstByteTimeoutSeconds": 0.2}) as (router, _):
        client = router.connect()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50000000\r\n\r\n")
        sender = threading.Thread(target=lambda: _send_until_refused(client))
        sender.start()
        assert client.read_answer().status == 504
        sender.join()
        is_over.set()


def _send_until_refused(client) -> None:
    try:
        while True:
            client.send(b"x" * 65536)
    except OSError:
        pass
