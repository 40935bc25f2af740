"""Large, slow, endless and vanishing: every caller and backend costs the router a bounded amount."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import socket
import threading
import time
import tracemalloc

import pytest
import uvloop
from tests.integration.router_peers import (
    OK,
    PATIENCE_SECONDS,
    Backend,
    Client,
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
LARGE_BYTES = 100 << 20
PIECE = bytes(range(256)) * 1024
LOOPS = {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}


@pytest.fixture(params=LOOPS)
def make_loop(request):
    return LOOPS[request.param]


@contextlib.contextmanager
def held_below(limit_bytes: int):
    """Fails when the memory of Python (the router, and the test beside it) ever grew by more."""
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - before < limit_bytes, f"held {(peak - before) >> 20} MiB"


# -- large bodies ----------------------------------------------------------------------------------


def count_body(talk: Talk, size: int) -> str:
    digest = hashlib.blake2b(digest_size=16)
    while size:
        data = talk.receive(1 << 18)
        assert data
        digest.update(data)
        size -= len(data)
    return digest.hexdigest()


def expect_digest(size: int) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for _ in range(size // len(PIECE)):
        digest.update(PIECE)
    return digest.hexdigest()


def test_a_hundred_megabytes_pass_up_and_down_and_are_never_held(make_loop):
    digests = []

    def script(talk: Talk) -> None:
        talk.read_head()
        digests.append(count_body(talk, LARGE_BYTES))
        talk.send(HEAD + b"Content-Length: %d\r\n\r\n" % LARGE_BYTES)
        for _ in range(LARGE_BYTES // len(PIECE)):
            talk.send(PIECE)

    with Backend(script) as backend, Router(build_document(backend.url), make_loop=make_loop) as router:
        client = router.connect()
        with held_below(16 << 20):
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % LARGE_BYTES)
            for _ in range(LARGE_BYTES // len(PIECE)):
                client.send(PIECE)
            assert client.read_head().status == 200
            digests.append(count_body(client, LARGE_BYTES))
    assert digests == [expect_digest(LARGE_BYTES)] * 2


@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_a_caller_that_reads_nothing_stops_the_backend_and_loses_nothing(make_loop, framing):
    total = 64 << 20
    sent = [0]

    def script(talk: Talk) -> None:
        talk.read_request()
        if framing == "length":
            talk.send(HEAD + b"Content-Length: %d\r\n\r\n" % total)
        else:
            talk.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        while sent[0] < total:
            talk.send(PIECE if framing == "length" else b"%x\r\n%b\r\n" % (len(PIECE), PIECE))
            sent[0] += len(PIECE)
        if framing == "chunks":
            talk.send(b"0\r\n\r\n")
        talk.wait_closed()

    with Backend(script) as backend, Router(build_document(backend.url), make_loop=make_loop) as router:
        client = router.connect(receive_bytes=1 << 16)
        with held_below(16 << 20):
            client.send(build_request())
            at_rest = wait_until_at_rest(lambda: sent[0])
            assert at_rest < total, "all of it went somewhere"
        got = client.read_answer()
        assert hashlib.blake2b(got.body, digest_size=16).hexdigest() == expect_digest(total)


def wait_until_at_rest(read) -> int:
    """A number that has not changed for half a second."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    last, since = read(), time.monotonic()
    while time.monotonic() < since + 0.5:
        time.sleep(0.01)
        if read() != last:
            last, since = read(), time.monotonic()
        assert time.monotonic() < deadline, "it never comes to rest"
    return last


def test_a_backend_that_reads_nothing_stops_the_caller_and_loses_nothing(make_loop):
    total = 64 << 20
    may_read = threading.Event()
    sent = [0]
    digests = []

    def script(talk: Talk) -> None:
        talk.read_head()
        assert may_read.wait(PATIENCE_SECONDS)
        digests.append(count_body(talk, total))
        talk.send(OK)

    with Backend(script) as backend, Router(build_document(backend.url), make_loop=make_loop) as router:
        client = router.connect()

        def send() -> None:
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % total)
            while sent[0] < total:
                client.send(PIECE)
                sent[0] += len(PIECE)

        sender = threading.Thread(target=send)
        with held_below(16 << 20):
            sender.start()
            at_rest = wait_until_at_rest(lambda: sent[0])
            may_read.set()
            sender.join()
            assert client.read_answer().status == 200
        assert at_rest < total, "all of it went somewhere"
        assert digests == [expect_digest(total)]


def test_a_kept_connection_of_a_slow_reader_serves_the_next_caller(make_loop):
    """The last piece of an answer may fill the caller's buffer: that must not silence the backend's side."""
    size = 4 << 20

    def script(talk: Talk) -> None:
        while True:
            seen = talk.read_request()
            talk.send(HEAD + b"Content-Length: %d\r\n\r\n" % size if seen.target == "/large" else OK)
            if seen.target == "/large":
                talk.send(b"x" * size)

    with Backend(script) as backend, Router(build_document(backend.url), make_loop=make_loop) as router:
        slow = router.connect(receive_bytes=1 << 12)
        slow.send(build_request("/large"))
        assert slow.read_head().status == 200
        left = size
        while left:  # the router's buffer is full and empties by turns until the end
            left -= len(slow.receive(1 << 12))
            if not router.engine.open_requests:
                break
        for _ in range(3):
            assert router.get("/small").status == 200
        assert len(slow.read_exactly(left)) == left
        assert slow.get("/small").status == 200


def test_answers_to_requests_sent_in_advance_wait_for_a_caller_that_reads_nothing(make_loop):
    size = 2 << 20
    answer = HEAD + b"Content-Length: %d\r\n\r\n" % size + b"x" * size
    with (
        Backend(answer_always(answer)) as backend,
        Router(build_document(backend.url), make_loop=make_loop) as router,
    ):
        client = router.connect(receive_bytes=1 << 14)
        with held_below(24 << 20):
            client.send(build_request() * 40)
            wait_until_at_rest(lambda: len(backend.requests))
            assert len(backend.requests) < 20, "answers pile up that nobody reads"
        for _ in range(40):
            assert len(client.read_answer().body) == size


def test_many_small_answers_wait_for_a_caller_that_reads_nothing(make_loop):
    size = 60_000
    answer = HEAD + b"Content-Length: %d\r\n\r\n" % size + b"x" * size
    with (
        Backend(answer_always(answer)) as backend,
        Router(build_document(backend.url), make_loop=make_loop) as router,
    ):
        client = router.connect(receive_bytes=1 << 14)
        client.send(build_request() * 200)
        wait_until_at_rest(lambda: len(backend.requests))
        assert len(backend.requests) < 150, "answers pile up that nobody reads"
        for _ in range(200):
            assert len(client.read_answer().body) == size


def test_a_body_sent_in_advance_waits_outside_while_an_answer_is_due(make_loop):
    total = 32 << 20
    may_answer = threading.Event()
    sent = [0]

    def script(talk: Talk) -> None:
        talk.read_request()
        assert may_answer.wait(PATIENCE_SECONDS)
        talk.send(OK)
        talk.read_head()
        count_body(talk, total)
        talk.send(OK)

    with Backend(script) as backend, Router(build_document(backend.url), make_loop=make_loop) as router:
        client = router.connect()

        def send() -> None:
            client.send(build_request())
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % total)
            while sent[0] < total:
                client.send(PIECE)
                sent[0] += len(PIECE)

        sender = threading.Thread(target=send)
        sender.start()
        at_rest = wait_until_at_rest(lambda: sent[0])
        may_answer.set()
        assert [client.read_answer().status for _ in range(2)] == [200, 200]
        sender.join()
        assert at_rest < total, "all of it went somewhere"


def test_a_caller_that_sends_all_before_it_reads_still_gets_an_early_answer(make_loop):
    def script(talk: Talk) -> None:
        talk.read_head()
        talk.send(b"HTTP/1.1 422 No\r\nContent-Length: 2\r\n\r\nno")
        talk.wait_closed()

    with Backend(script) as backend, Router(build_document(backend.url), make_loop=make_loop) as router:
        client = router.connect()
        client.send(build_request(method="POST", body=b"x" * (8 << 20)))
        assert client.read_answer().status == 422


# -- limits ----------------------------------------------------------------------------------------


def test_a_body_whose_length_is_above_the_limit_is_refused_before_the_backend_hears_of_it():
    with route_to(limits={"maxBodyBytes": 1000}) as (router, backend):
        client = router.connect()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n")
        got = client.read_answer()
        assert got.status == 413
        assert b"1000 bytes" in got.body
        assert router.get("/", method="POST", body=b"x" * 1000).status == 200
        assert len(backend.heads) == 1


def test_a_body_whose_chunks_are_above_the_limit_is_refused_readably_while_it_is_still_being_sent():
    with route_to(limits={"maxBodyBytes": 100_000}) as (router, backend):
        client = router.connect()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        with contextlib.suppress(OSError):
            for _ in range(200):
                client.send(b"1000\r\n", b"x" * 4096, b"\r\n")
        assert client.read_answer().status == 413
        assert not backend.requests, "the backend took a shortened body for a whole one"


@pytest.mark.parametrize(
    "flood",
    {
        "many fields": b"X-%d: a\r\n",
        "many equal fields": b"X: %d\r\n",
        "huge fields": b"X-%d: " + b"a" * 9000 + b"\r\n",
        "an endless value": b"%d" + b"a" * 4096,
        "empty lines before it": b"\r\n",
    }.items(),
    ids=lambda item: item[0],
)
def test_a_head_without_end_is_refused(flood):
    name, line = flood
    with route_to() as (router, backend):
        client = router.connect()
        if name == "empty lines before it":
            client.send(line * 40_000)
        else:
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\n" + (b"X: " if name == "an endless value" else b""))
            with contextlib.suppress(OSError):
                for n in range(5000):
                    client.send(line % n)
                client.send(b"\r\n\r\n")
        assert client.read_answer().status == 431
        assert not backend.heads


def test_an_endless_target_is_refused():
    with route_to() as (router, _):
        client = router.connect()
        client.send(b"GET /")
        with contextlib.suppress(OSError):
            for _ in range(100):
                client.send(b"a" * 4096)
        assert client.read_answer().status == 431


@pytest.mark.parametrize(
    "tail", [b"0\r\nX-T: ", b"0\r\n", b"2;"], ids=["a trailer", "trailers", "an extension"]
)
def test_words_without_end_around_a_body_are_refused(tail):
    with route_to() as (router, backend):
        client = router.connect()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n" + tail)
        piece = b"X-T: aaaaaaaa\r\n" * 300 if tail == b"0\r\n" else b"a" * 4096
        with contextlib.suppress(OSError):
            for _ in range(100):
                client.send(piece)
        assert client.read_answer().status == 431
        assert not backend.requests


def test_the_size_of_heads_is_a_matter_of_configuration():
    with route_to(limits={"maxHeadBytes": 2048}) as (router, _):
        assert router.get("/", "X-A: " + "a" * 1000).status == 200
        assert router.get("/", "X-A: " + "a" * 2100).status == 431


def test_connections_above_the_limit_are_refused_and_room_is_found_again():
    with route_to(limits={"maxConnections": 5}) as (router, _):
        kept = [router.connect() for _ in range(5)]
        assert [client.get().status for client in kept] == [200] * 5
        for _ in range(10):
            over = router.connect()
            assert over.read_answer().status == 503
            over.close()
        assert kept[0].get().status == 200
        kept.pop().close()
        wait_until(lambda: router.engine.open_connections == 4)
        assert router.get().status == 200


def test_a_flood_of_requests_in_advance_is_bounded():
    with route_to() as (router, backend):
        client = router.connect()
        with contextlib.suppress(OSError):
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 20_000)
        statuses = []
        with contextlib.suppress(ClosedError, ConnectionError):
            while True:
                statuses.append(client.read_answer().status)
        assert statuses[:100] == [200] * 100
        assert set(statuses[:-1]) == {200}
        assert statuses[-1] in {200, 503}
        assert len(backend.requests) <= 20_000


# -- slow callers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", [b"G", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nX-A: b"])
def test_a_head_that_trickles_in_is_ended(sent):
    with route_to(limits={"headerTimeoutSeconds": 0.3}) as (router, backend):
        client = router.connect()
        client.send(sent)
        with contextlib.suppress(OSError):
            while not client.plug.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT):
                pass
        while client.is_silent():
            with contextlib.suppress(OSError):
                client.send(b"a")
            time.sleep(0.02)
        assert client.read_answer().status == 408
        assert not backend.heads


def test_the_time_for_a_head_begins_with_its_first_byte():
    with route_to(limits={"headerTimeoutSeconds": 1}) as (router, _):
        client = router.connect()
        for _ in range(2):
            time.sleep(1.2)  # longer than a head may take
            client.send(b"GET / HTTP/1.1\r\n")
            time.sleep(0.4)  # longer than it takes the router to look
            client.send(b"Host: a\r\n\r\n")
            assert client.read_answer().status == 200


def test_a_body_that_stops_coming_is_ended_and_the_backend_can_stop_waiting():
    let_go = threading.Event()

    def script(talk: Talk) -> None:
        talk.read_head()
        talk.wait_closed()
        let_go.set()

    with route_to(script, limits={"idleTimeoutSeconds": 0.2}) as (router, backend):
        client = router.connect()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf")
        assert client.read_answer().status == 408
        assert let_go.wait(PATIENCE_SECONDS)
        assert not backend.requests


def test_a_body_that_comes_slowly_is_let_through():
    with route_to(limits={"idleTimeoutSeconds": 0.4, "firstByteTimeoutSeconds": 0.4}) as (router, backend):
        client = router.connect()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n")
        for _ in range(10):
            time.sleep(0.1)
            client.send(b"x")
        assert client.read_answer().status == 200
        assert backend.requests[0].body == b"x" * 10


def test_a_connection_that_nobody_uses_is_closed():
    with route_to(limits={"keepAliveSeconds": 0.2}) as (router, _):
        silent, used = router.connect(), router.connect()
        assert used.get().status == 200
        silent.wait_closed()
        used.wait_closed()
        assert silent.rest == used.rest == b""


def test_a_caller_that_takes_nothing_of_its_answer_is_ended():
    let_go = threading.Event()

    def script(talk: Talk) -> None:
        talk.read_request()
        talk.send(HEAD + b"Content-Length: 1000000000\r\n\r\n")
        with contextlib.suppress(OSError):
            while True:
                talk.send(PIECE)
        let_go.set()

    with route_to(script, limits={"idleTimeoutSeconds": 0.3}) as (router, _):
        client = router.connect(receive_bytes=1 << 14)
        client.send(build_request())
        assert let_go.wait(PATIENCE_SECONDS)
        wait_until(router.is_quiet)


@pytest.mark.parametrize("field", ["Connection: close", "Connection: keep-alive"])
def test_a_caller_that_never_takes_the_end_of_its_answer_is_ended(make_loop, field):
    size = 8 << 20
    limits = {"idleTimeoutSeconds": 0.3, "keepAliveSeconds": 0.3}
    answer = HEAD + b"Content-Length: %d\r\n\r\n" % size + b"x" * size
    with (
        Backend(answer_always(answer)) as backend,
        Router(build_document(backend.url, limits=limits), make_loop=make_loop) as router,
    ):
        client = router.connect(receive_bytes=1 << 12)
        client.send(build_request("/", field))
        assert client.read_head().status == 200
        while router.engine.open_requests:
            client.rest = b""
            client.receive(1 << 12)
        wait_until(router.is_quiet, "the connection is given up while its answer is still in a buffer")


# -- vanishing callers -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "leave", [Client.close, Client.reset, Client.finish_sending], ids=["close", "reset", "half-close"]
)
@pytest.mark.parametrize(
    ("sent", "answered"),
    [
        (b"GET /x HT", b""),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf", b""),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n", b""),
        (build_request(), b""),
        (build_request(), HEAD + b"Content-Length: 10\r\n\r\nhalf"),
        (
            build_request(),
            HEAD + b"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        ),
        (build_request() * 3, HEAD + b"Content-Length: 10\r\n\r\nhalf"),
    ],
    ids=[
        "mid-head",
        "mid-body",
        "mid-chunks",
        "before the answer",
        "mid-answer",
        "mid-stream",
        "with more in the queue",
    ],
)
def test_a_caller_that_leaves_is_noticed_and_the_backend_can_stop(sent, answered, leave):
    let_go = threading.Event()

    def script(talk: Talk) -> None:
        try:
            talk.read_head()
            if answered:
                talk.send(answered)
            talk.wait_closed()
        finally:
            let_go.set()

    with route_to(script) as (router, backend):
        client = router.connect()
        client.send(sent)
        if sent == b"GET /x HT":
            wait_until(lambda: router.engine.open_connections)
        else:
            wait_until(lambda: backend.talks)
        if answered:
            assert client.read_until(b"half")
        leave(client)
        wait_until(router.is_quiet)
        if sent != b"GET /x HT":
            assert let_go.wait(PATIENCE_SECONDS)
            strata = router.samples().segments["default"].arms["baseline"].strata
            assert not any(each.failures for each in strata.values()), "the backend is blamed"


def test_a_caller_that_leaves_while_there_is_no_connection_yet_leaves_none_behind():
    with route_to() as (router, backend):
        backend.close()
        client = router.connect()
        client.send(build_request())
        wait_until(lambda: router.engine.open_requests == 1)
        client.close()
        wait_until(router.is_quiet)


def test_many_callers_that_leave_at_any_moment_leave_nothing_behind():
    def script(talk: Talk) -> None:
        while True:
            talk.read_request()
            talk.send(HEAD + b"Content-Length: 20000\r\n\r\n", b"x" * 10_000)
            talk.send(b"x" * 10_000)

    with route_to(script) as (router, _):
        request = build_request(method="POST", body=b"y" * 500)
        for cut in range(0, len(request) * 2, 9):
            client = router.connect()
            client.send((request * 2)[:cut])
            if cut % 2:
                client.reset()
            else:
                client.close()
        wait_until(router.is_quiet)
        assert router.get().status == 200
