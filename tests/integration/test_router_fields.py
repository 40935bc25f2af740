"""What a proxy changes in a message and what it must leave alone, both ways (RFC 9110, RFC 9112)."""

from __future__ import annotations

import pytest
from tests.integration.router_peers import (
    OK,
    ClosedError,
    Talk,
    answer_always,
    build_request,
    route_to,
    wait_until,
)


def answer(*fields: str, status: str = "200 OK", body: bytes = b"ok") -> bytes:
    lines = [f"HTTP/1.1 {status}", *fields, f"Content-Length: {len(body)}"]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


# -- towards the backend ---------------------------------------------------------------------------


def test_fields_of_the_hop_end_at_the_router_and_all_others_pass_in_order_and_case():
    with route_to() as (router, backend):
        router.get(
            "/path/%2e%2e//x?q=1&q=2",
            "X-First: 1",
            "cOnNeCtIoN: keep-alive, X-Named, close, content-length, host",
            "X-Named: gone",
            "Keep-Alive: timeout=5",
            "Proxy-Connection: keep-alive",
            "TE: trailers",
            "Trailer: X-T",
            "Upgrade: h2c",
            "x-SECOND: 2",
            "X-Empty:",
            "X-First: 3",
            "X-Latin: caf\xe9",
            method="POST",
            body=b"abc",
        )
        seen = backend.requests[0]
        assert (seen.method, seen.target, seen.version) == ("POST", "/path/%2e%2e//x?q=1&q=2", "HTTP/1.1")
        assert seen.headers[:7] == [
            ("Host", "router.test"),
            ("X-First", "1"),
            ("x-SECOND", "2"),
            ("X-Empty", ""),
            ("X-First", "3"),
            ("X-Latin", "caf\xe9"),
            ("Content-Length", "3"),
        ]
        added = [name for name, _ in seen.headers[7:]]
        assert sorted(added) == ["x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-request-id"]
        assert seen.body == b"abc"


def test_who_asked_is_told_to_the_backend():
    with route_to() as (router, backend):
        router.get()
        router.get(
            "/",
            "X-Forwarded-For: 10.1.2.3",
            "x-forwarded-for: 10.4.5.6",
            "X-Forwarded-Proto: https",
            "X-Forwarded-Host: shop.test",
        )
        plain, behind = backend.requests
        assert plain.value("x-forwarded-for") == "127.0.0.1"
        assert plain.value("x-forwarded-proto") == "http"
        assert plain.value("x-forwarded-host") == "router.test"
        assert behind.value("x-forwarded-for") == "10.1.2.3, 10.4.5.6, 127.0.0.1"
        assert behind.value("x-forwarded-proto") == "https"
        assert behind.value("x-forwarded-host") == "shop.test"


@pytest.mark.parametrize("given", ["abc", "A-Za.z0:9/_+=@", "x" * 128])
def test_a_sane_request_id_is_kept_on_both_sides(given):
    with route_to() as (router, backend):
        answered = router.get("/", f"X-Request-Id: {given}")
        assert answered.value("x-request-id") == given
        assert backend.requests[0].value("x-request-id") == given


@pytest.mark.parametrize("given", ["", "x" * 129, "a b", "a\x80b", "a,b", "<script>", "a;b", "a'b"])
def test_a_request_id_that_could_do_harm_in_a_log_is_replaced(given):
    with route_to() as (router, backend):
        answered = router.get("/", f"X-Request-Id: {given}")
        made = answered.value("x-request-id")
        assert made != given
        assert len(made) == 32
        assert backend.requests[0].value("x-request-id") == made


def test_two_request_ids_are_replaced_by_one():
    with route_to() as (router, backend):
        made = router.get("/", "X-Request-Id: a", "X-Request-Id: b").value("x-request-id")
        assert made not in {"a", "b", "a, b"}
        assert backend.requests[0].value("x-request-id") == made


def test_every_request_without_an_id_gets_one_of_its_own():
    with route_to() as (router, backend):
        client = router.connect()
        ids = [client.get().value("x-request-id") for _ in range(20)]
        assert ids == [seen.value("x-request-id") for seen in backend.requests]
        assert len(set(ids)) == 20


def test_a_caller_can_not_mark_a_request_as_a_shadow():
    with route_to() as (router, backend):
        router.get("/", "X-Switchyard-Shadow: candidate")
        assert not backend.requests[0].values("x-switchyard-shadow")


def test_a_caller_that_names_its_request_id_as_a_field_of_the_hop_keeps_an_id():
    with route_to() as (router, backend):
        router.get(
            "/", "Connection: x-request-id, x-forwarded-for", "X-Request-Id: mine", "X-Forwarded-For: 1.2.3.4"
        )
        assert backend.requests[0].value("x-request-id") == "mine"
        assert backend.requests[0].value("x-forwarded-for") == "127.0.0.1"


def test_http_1_0_without_a_host_reaches_the_backend_as_valid_http_1_1():
    with route_to() as (router, backend):
        client = router.connect()
        client.send(b"GET /old HTTP/1.0\r\n\r\n")
        assert client.read_answer().value("connection") == "close"
        assert client.read_to_end() == b""
        seen = backend.requests[0]
        assert (seen.version, seen.value("host")) == ("HTTP/1.1", "localhost")


def test_http_1_0_is_kept_where_it_asks_for_it():
    with route_to() as (router, backend):
        client = router.connect()
        for _ in range(2):
            client.send(b"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n")
            assert client.read_answer().value("connection") == "keep-alive"
        assert len(backend.requests) == 2


# -- towards the caller ----------------------------------------------------------------------------


def test_an_answer_keeps_its_fields_in_order_case_and_number():
    sent = answer(
        "Server: fake",
        "Set-Cookie: a=1; Path=/",
        "x-Odd-CASE: 1",
        "Set-Cookie: b=2",
        "Connection: X-Named, keep-alive",
        "X-Named: gone",
        "Keep-Alive: timeout=5",
        "Proxy-Connection: close",
        "Trailer: X-T",
        "Upgrade: h2c",
        "X-Latin: caf\xe9",
        "Set-Cookie: a=3",
        status="299 Odd Reason",
    )
    with route_to(answer_always(sent)) as (router, _):
        got = router.get("/", "X-Request-Id: id-1")
        assert (got.status, got.reason, got.body) == (299, "Odd Reason", b"ok")
        assert got.headers == [
            ("Server", "fake"),
            ("Set-Cookie", "a=1; Path=/"),
            ("x-Odd-CASE", "1"),
            ("Set-Cookie", "b=2"),
            ("X-Latin", "caf\xe9"),
            ("Set-Cookie", "a=3"),
            ("Content-Length", "2"),
            ("x-request-id", "id-1"),
        ]


def test_a_request_id_of_the_backend_is_left_alone():
    with route_to(answer_always(answer("X-Request-ID: theirs"))) as (router, _):
        assert router.get("/", "X-Request-Id: mine").value("x-request-id") == "theirs"


def test_an_answer_without_a_reason_passes():
    with route_to(answer_always(b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok")) as (router, _):
        assert router.get().body == b"ok"


@pytest.mark.parametrize(
    ("head", "method"),
    [
        ("200 OK\r\nContent-Length: 1234", "HEAD"),
        ("200 OK\r\nTransfer-Encoding: chunked", "HEAD"),
        ("200 OK", "HEAD"),
        ("204 No Content", "GET"),
        ("204 No Content\r\nContent-Length: 5", "GET"),
        ("304 Not Modified\r\nContent-Length: 1234", "GET"),
        ("304 Not Modified", "GET"),
    ],
)
def test_an_answer_without_a_body_leaves_the_connection_in_step(head, method):
    with route_to(answer_always(f"HTTP/1.1 {head}\r\n\r\n".encode())) as (router, backend):
        client = router.connect()
        for _ in range(3):
            got = client.get(method=method)
            assert got.status == int(head[:3])
            assert client.is_silent()
            assert not got.values("transfer-encoding")
            if method == "HEAD" or got.status == 304:
                assert got.values("content-length") == (["1234"] if "1234" in head else [])
            else:
                assert not got.values("content-length"), "204 has no length: RFC 9110 section 8.6"
        assert len(backend.requests) == 3


def test_an_answer_that_ends_with_its_connection_becomes_chunks():
    def script(talk: Talk) -> None:
        talk.read_request()
        talk.send(b"HTTP/1.1 200 OK\r\n\r\nall ", b"of it")

    with route_to(script) as (router, _):
        client = router.connect()
        for _ in range(2):
            got = client.get()
            assert (got.value("transfer-encoding"), got.body) == ("chunked", b"all of it")


def test_an_answer_in_chunks_becomes_one_that_ends_with_its_connection_for_http_1_0():
    with route_to(
        answer_always(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-T: 1\r\n\r\n")
    ) as (
        router,
        _,
    ):
        client = router.connect()
        client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        got = client.read_answer()
        assert got.body == b"ok"
        assert not got.values("transfer-encoding")


def test_trailers_of_an_answer_are_not_passed_on_and_do_not_stay_behind():
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Trailer: 1\r\n\r\n"
    with route_to(answer_always(chunked)) as (router, backend):
        client = router.connect()
        for _ in range(2):
            got = client.get()
            assert got.body == b"ok"
            assert not got.values("x-trailer")
        assert {seen.connection for seen in backend.requests} == {0}


# -- answers before the answer ---------------------------------------------------------------------


def test_hints_before_the_answer_reach_the_caller_at_once():
    def script(talk: Talk) -> None:
        talk.read_request()
        talk.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nConnection: X-Hop\r\nX-Hop: 1\r\n\r\n")
        talk.read_until(b"never")

    with route_to(script) as (router, _):
        client = router.connect()
        client.send(build_request())
        hints = client.read_head()
        assert (hints.status, hints.headers) == (103, [("Link", "</a.css>")])


@pytest.mark.parametrize(
    ("interim", "passed"),
    [
        (b"HTTP/1.1 100 Continue\r\n\r\n", []),
        (b"HTTP/1.1 102 Processing\r\n\r\n", [102]),
        (b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n" * 3, [103, 103, 103]),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n", [103]),
    ],
)
def test_answers_before_the_answer_are_passed_except_the_one_that_the_router_gave(interim, passed):
    with route_to(answer_always(interim + OK)) as (router, backend):
        client = router.connect()
        for _ in range(2):
            got = client.get()
            assert (got.status, got.body) == (200, b"ok")
            assert [status for status, _ in got.interim] == passed
        assert {seen.connection for seen in backend.requests} == {0}


def test_http_1_0_never_gets_an_answer_before_the_answer():
    with route_to(answer_always(b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK)) as (router, _):
        client = router.connect()
        client.send(b"GET / HTTP/1.0\r\n\r\n")
        assert client.read_answer().interim == []


# -- expectations ----------------------------------------------------------------------------------


def test_a_caller_that_waits_is_asked_for_the_body_when_there_is_a_backend():
    with route_to() as (router, backend):
        client = router.connect()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 3\r\n\r\n")
        assert client.read_head().status == 100
        wait_until(lambda: backend.talks, "the backend is connected")
        client.send(b"abc")
        assert client.read_answer().body == b"ok"
        assert backend.requests[0].body == b"abc"
        assert not backend.requests[0].values("expect")


def test_a_caller_that_waits_for_a_backend_that_is_away_is_told_so_and_never_asked_for_the_body():
    with route_to(limits={"connectTimeoutSeconds": 0.05}) as (router, backend):
        backend.close()
        client = router.connect()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
        assert client.read_head().status == 503


def test_http_1_0_is_not_asked_for_the_body():
    with route_to() as (router, _):
        client = router.connect()
        client.send(b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc")
        assert client.read_head().status == 200


# -- order -----------------------------------------------------------------------------------------


def test_requests_sent_in_advance_are_answered_in_order_one_at_a_time():
    def script(talk: Talk) -> None:
        while True:
            seen = talk.read_request()
            body = seen.target.encode() + seen.body
            assert talk.is_silent(), "a second request before the first was answered"
            talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body), body)

    with route_to(script) as (router, backend):
        client = router.connect()
        client.send(*(build_request(f"/{n}", method="POST", body=b"x" * n) for n in range(50)))
        assert [client.read_answer().body for _ in range(50)] == [b"/%d" % n + b"x" * n for n in range(50)]
        assert len(backend.requests) == 50


def test_requests_sent_in_advance_with_large_bodies_are_read_when_their_turn_comes():
    with route_to() as (router, backend):
        client = router.connect()
        client.plug.settimeout(30)
        sent = b"".join(build_request(f"/{n}", method="POST", body=bytes([n]) * 300_000) for n in range(6))
        client.send(sent)
        assert [client.read_answer().status for _ in range(6)] == [200] * 6
        assert [(seen.target, seen.body) for seen in backend.requests] == [
            (f"/{n}", bytes([n]) * 300_000) for n in range(6)
        ]


def test_an_answer_before_the_end_of_its_request_reaches_the_caller_and_ends_the_connection():
    def script(talk: Talk) -> None:
        talk.read_head()
        talk.send(b"HTTP/1.1 422 Unprocessable Content\r\nContent-Length: 2\r\n\r\nno")
        talk.wait_closed()

    with route_to(script) as (router, _):
        client = router.connect()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1000)
        got = client.read_answer()
        assert (got.status, got.body) == (422, b"no")
        assert client.read_to_end() == b""


def test_a_caller_that_wants_to_close_is_closed_after_its_answer():
    with route_to() as (router, _):
        client = router.connect()
        got = client.get("/", "Connection: close")
        assert got.value("connection") == "close"
        client.wait_closed()


def test_a_backend_that_closes_after_its_answer_is_the_backends_matter():
    def script(talk: Talk) -> None:
        talk.read_request()
        talk.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")

    with route_to(script) as (router, backend):
        client = router.connect()
        for _ in range(5):
            assert not client.get().values("connection")
        assert [seen.connection for seen in backend.requests] == [0, 1, 2, 3, 4]


def test_a_draining_router_tells_its_callers_to_close():
    with route_to() as (router, _):
        client = router.connect()
        assert not client.get().values("connection")
        router.ask(router.engine.drain)
        assert client.get().value("connection") == "close"
        with pytest.raises(ClosedError):
            client.read_head()
