"""Requests that two servers could read differently end at the router: none of their bytes become a request."""

from __future__ import annotations

import pytest
from tests.integration.router_peers import Backend, Client, Router, build_document, wait_until

START = b"POST /first HTTP/1.1\r\nHost: a\r\n"
SECOND = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
TLS_HELLO = bytes.fromhex("16030100c8010000c40303") + bytes(range(64))

REFUSED: dict[str, tuple[int, bytes]] = {
    "a length and chunks": (400, START + b"Content-Length: 4\r\n" + CHUNKED + b"\r\n0\r\n\r\n" + SECOND),
    "chunks and a length": (400, START + CHUNKED + b"Content-Length: 4\r\n\r\n0\r\n\r\n" + SECOND),
    "two equal lengths": (400, START + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nab" + SECOND),
    "two unequal lengths": (400, START + b"Content-Length: 0\r\nContent-Length: 2\r\n\r\nab" + SECOND),
    "a length with a plus": (400, START + b"Content-Length: +2\r\n\r\nab" + SECOND),
    "a length below zero": (400, START + b"Content-Length: -2\r\n\r\nab" + SECOND),
    "a length with a space in it": (400, START + b"Content-Length: 1 0\r\n\r\na" + SECOND),
    "a length as a list": (400, START + b"Content-Length: 2, 2\r\n\r\nab" + SECOND),
    "a length in hex": (400, START + b"Content-Length: 0x2\r\n\r\nab" + SECOND),
    "a length of nothing": (400, START + b"Content-Length: \r\n\r\n" + SECOND),
    "a length beyond 64 bits": (400, START + b"Content-Length: 18446744073709551617\r\n\r\na" + SECOND),
    "a length with an underscore": (400, START + b"Content-Length: 1_0\r\n\r\na" + SECOND),
    "a space before the colon of a length": (400, START + b"Content-Length : 2\r\n\r\nab" + SECOND),
    "a tab before the colon of a coding": (
        400,
        START + b"Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n" + SECOND,
    ),
    "an unknown coding": (501, START + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + SECOND),
    "chunked not as the last coding": (
        400,
        START + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + SECOND,
    ),
    "identity before chunked": (
        501,
        START + b"Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n" + SECOND,
    ),
    "gzip before chunked": (501, START + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + SECOND),
    "identity alone": (501, START + b"Transfer-Encoding: identity\r\n\r\n" + SECOND),
    "chunked twice": (400, START + CHUNKED + CHUNKED + b"\r\n0\r\n\r\n" + SECOND),
    "chunked in quotes": (501, START + b'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n' + SECOND),
    "a vertical tab before chunked": (
        400,
        START + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n" + SECOND,
    ),
    "a coding on a line of its own": (
        400,
        START + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n" + SECOND,
    ),
    "a folded field": (400, START + b"X-Folded: a\r\n b\r\nContent-Length: 0\r\n\r\n" + SECOND),
    "a space before the first field": (400, b"GET / HTTP/1.1\r\n Host: a\r\nHost: a\r\n\r\n" + SECOND),
    "chunks in HTTP/1.0": (
        400,
        b"POST / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n" + CHUNKED + b"\r\n0\r\n\r\n" + SECOND,
    ),
    "a chunk size below zero": (400, START + CHUNKED + b"\r\n-1\r\n" + SECOND),
    "a chunk size beyond 64 bits": (
        400,
        START + CHUNKED + b"\r\n10000000000000002\r\nab\r\n0\r\n\r\n" + SECOND,
    ),
    "a chunk size with 0x": (400, START + CHUNKED + b"\r\n0x2\r\nab\r\n0\r\n\r\n" + SECOND),
    "a chunk size with a space": (400, START + CHUNKED + b"\r\n2 \r\nab\r\n0\r\n\r\n" + SECOND),
    "a chunk size that is absent": (400, START + CHUNKED + b"\r\n\r\nab\r\n0\r\n\r\n" + SECOND),
    "a chunk longer than its size": (400, START + CHUNKED + b"\r\n2\r\nabcd\r\n0\r\n\r\n" + SECOND),
    "a chunk that ends in a bare LF": (400, START + CHUNKED + b"\r\n2\r\nab\n0\r\n\r\n" + SECOND),
    "a chunk size that ends in a bare LF": (400, START + CHUNKED + b"\r\n2\nab\r\n0\r\n\r\n" + SECOND),
    "a chunk extension with a bare LF": (400, START + CHUNKED + b"\r\n2;a\nab\r\n0\r\n\r\n" + SECOND),
    "a chunk extension with a control character": (
        400,
        START + CHUNKED + b"\r\n2;a=\x01\r\nab\r\n0\r\n\r\n" + SECOND,
    ),
    "a request line that ends in a bare LF": (400, b"GET / HTTP/1.1\nHost: a\n\n" + SECOND),
    "a field that ends in a bare LF": (400, START + b"X-A: b\nContent-Length: 2\r\n\r\nab" + SECOND),
    "a bare CR in a field": (400, START + b"X-A: b\rContent-Length: 2\r\n\r\nab" + SECOND),
    "a NUL in a field": (400, START + b"X-A: b\0c\r\n\r\n" + SECOND),
    "a control character in a field": (400, START + b"X-A: b\x01c\r\n\r\n" + SECOND),
    "a bad character in a field name": (400, START + b"X(A): b\r\n\r\n" + SECOND),
    "a field name beyond ASCII": (400, START + b"X-\xe9: b\r\n\r\n" + SECOND),
    "an empty field name": (400, START + b": b\r\n\r\n" + SECOND),
    "a field without a colon": (400, START + b"GET /smuggled HTTP/1.1\r\n\r\n" + SECOND),
    "two Host fields": (400, START + b"Host: b\r\nContent-Length: 0\r\n\r\n" + SECOND),
    "no Host field": (400, b"GET / HTTP/1.1\r\nX-A: b\r\n\r\n" + SECOND),
    "a Host with a space": (400, b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n" + SECOND),
    "a Host with a path": (400, b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n" + SECOND),
    "a Host with a user": (400, b"GET / HTTP/1.1\r\nHost: a@b\r\n\r\n" + SECOND),
    "an absolute target with a user": (400, b"GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n" + SECOND),
    "an absolute target of another scheme": (400, b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n" + SECOND),
    "a target without a slash": (400, b"GET smuggled HTTP/1.1\r\nHost: a\r\n\r\n" + SECOND),
    "a target with a fragment": (400, b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n" + SECOND),
    "a target beyond ASCII": (400, b"GET /\xe9 HTTP/1.1\r\nHost: a\r\n\r\n" + SECOND),
    "a star with another method than OPTIONS": (400, b"GET * HTTP/1.1\r\nHost: a\r\n\r\n" + SECOND),
    "a tunnel": (501, b"CONNECT backend:443 HTTP/1.1\r\nHost: backend:443\r\n\r\n" + SECOND),
    "the preface of HTTP/2": (400, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SECOND),
    "version 2 in the request line": (505, b"GET / HTTP/2.0\r\nHost: a\r\n\r\n" + SECOND),
    "version 0.9 in the request line": (505, b"GET / HTTP/0.9\r\nHost: a\r\n\r\n" + SECOND),
    "version 1.2 in the request line": (400, b"GET / HTTP/1.2\r\nHost: a\r\n\r\n" + SECOND),
    "a request line with a tab": (400, b"GET\t/\tHTTP/1.1\r\nHost: a\r\n\r\n" + SECOND),
    "a method in lower case": (400, b"get / HTTP/1.1\r\nHost: a\r\n\r\n" + SECOND),
    "a method that nobody knows": (400, b"SMUGGLE / HTTP/1.1\r\nHost: a\r\n\r\n" + SECOND),
    "a TLS handshake": (400, TLS_HELLO + SECOND),
    "bytes without sense": (400, b"\x00\xff\xfe\r\n\r\n" + SECOND),
    "a length as a trailer": (
        400,
        START + CHUNKED + b"\r\n2\r\nab\r\n0\r\nContent-Length: 5\r\n\r\n" + SECOND,
    ),
    "a coding as a trailer": (
        400,
        START + CHUNKED + b"\r\n2\r\nab\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n" + SECOND,
    ),
    "a trailer without a colon": (
        400,
        START + CHUNKED + b"\r\n2\r\nab\r\n0\r\nGET /smuggled HTTP/1.1\r\n\r\n" + SECOND,
    ),
    "an unknown expectation": (417, START + b"Expect: 200-maybe\r\nContent-Length: 2\r\n\r\nab" + SECOND),
}

# What is read as one meaning by every server: the first request and its body arrive as sent, then the second.
PASSED: dict[str, tuple[bytes, str, bytes]] = {
    "a length": (START + b"Content-Length: 2\r\n\r\nab", "/first", b"ab"),
    "a length with spaces around it": (START + b"Content-Length: \t 2 \t\r\n\r\nab", "/first", b"ab"),
    "a length with leading zeros": (START + b"Content-Length: 002\r\n\r\nab", "/first", b"ab"),
    "no length": (START + b"\r\n", "/first", b""),
    "chunks": (START + CHUNKED + b"\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n", "/first", b"abc"),
    "chunked in capitals": (
        START + b"transfer-ENCODING: CHUNKED\r\n\r\n2\r\nab\r\n0\r\n\r\n",
        "/first",
        b"ab",
    ),
    "chunks with extensions": (START + CHUNKED + b'\r\n2;a=b;c="d;e"\r\nab\r\n0;z\r\n\r\n', "/first", b"ab"),
    "chunk sizes with leading zeros": (START + CHUNKED + b"\r\n0002\r\nab\r\n000\r\n\r\n", "/first", b"ab"),
    "chunks of a request in the body": (
        START + CHUNKED + b"\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(SECOND), SECOND),
        "/first",
        SECOND,
    ),
    "a request in the body": (START + b"Content-Length: %d\r\n\r\n" % len(SECOND) + SECOND, "/first", SECOND),
    "chunks in a GET": (
        b"GET /first HTTP/1.1\r\nHost: a\r\n" + CHUNKED + b"\r\n2\r\nab\r\n0\r\n\r\n",
        "/first",
        b"ab",
    ),
    "a wish for h2c": (
        b"GET /first HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n",
        "/first",
        b"",
    ),
    "a wish for h2c with a body": (
        START + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nab",
        "/first",
        b"ab",
    ),
    "a wish for h2c with chunks": (
        START + b"Connection: Upgrade\r\nUpgrade: h2c\r\n" + CHUNKED + b"\r\n2\r\nab\r\n0\r\n\r\n",
        "/first",
        b"ab",
    ),
    "a wish for WebSocket with a body": (
        START + b"Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 2\r\n\r\nab",
        "/first",
        b"ab",
    ),
    "a wish for WebSocket in HTTP/1.0": (
        b"GET /first HTTP/1.0\r\nHost: a\r\nConnection: Upgrade, keep-alive\r\nUpgrade: websocket\r\n\r\n",
        "/first",
        b"",
    ),
    "empty lines before the request": (b"\r\n\r\nGET /first HTTP/1.1\r\nHost: a\r\n\r\n", "/first", b""),
    "an absolute target with another host": (
        b"GET http://b.test/first?q=1 HTTP/1.1\r\nHost: a\r\n\r\n",
        "/first?q=1",
        b"",
    ),
    "an absolute target without a path": (b"GET http://b.test HTTP/1.1\r\nHost: a\r\n\r\n", "/", b""),
    "a star": (b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "*", b""),
    "a Host without a name": (b"GET /first HTTP/1.1\r\nHost:\r\n\r\n", "/first", b""),
    "a Host with a port": (b"GET /first HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", "/first", b""),
    "bytes above ASCII in a field": (
        b"GET /first HTTP/1.1\r\nHost: a\r\nX-A: \xc3\xa9\r\n\r\n",
        "/first",
        b"",
    ),
    "trailers": (
        START + CHUNKED + b"\r\n2\r\nab\r\n0\r\nHost: evil\r\nX-Trailer: 1\r\n\r\n",
        "/first",
        b"ab",
    ),
}


@pytest.fixture(scope="module")
def backend():
    with Backend() as backend:
        yield backend


@pytest.fixture(scope="module")
def router(backend):
    with Router(build_document(backend.url)) as router:
        yield router


@pytest.fixture(autouse=True)
def _forget(backend):
    del backend.requests[:], backend.heads[:]


def cut_in_pieces(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


@pytest.mark.parametrize("piece", [1, 1 << 16], ids=["byte by byte", "at once"])
@pytest.mark.parametrize("name", REFUSED)
def test_a_request_that_can_be_read_in_two_ways_is_refused_and_nothing_behind_it_is_read(
    router, backend, name, piece
):
    status, data = REFUSED[name]
    client = router.connect()
    try:
        for part in cut_in_pieces(data, piece):
            client.send(part)
    except ConnectionError:
        pass  # refused before its end
    answer = client.read_answer()
    assert (answer.status, answer.value("connection")) == (status, "close")
    assert client.read_to_end() == b"", "something follows the refusal"
    assert "/smuggled" not in [seen.target for seen in backend.heads]
    assert not backend.requests, "a refused request was read whole by the backend"


@pytest.mark.parametrize("piece", [1, 1 << 16], ids=["byte by byte", "at once"])
@pytest.mark.parametrize("name", PASSED)
def test_a_request_with_one_meaning_reaches_the_backend_with_it(router, backend, name, piece):
    data, target, body = PASSED[name]
    client = router.connect()
    for part in cut_in_pieces(data + b"GET /second HTTP/1.1\r\nHost: a.second\r\n\r\n", piece):
        client.send(part)
    assert [client.read_answer().status for _ in range(2)] == [200, 200]
    first, second = backend.requests
    assert (first.target, first.body) == (target, body)
    assert (second.target, second.body, second.value("host")) == ("/second", b"", "a.second")
    assert not second.values("x-trailer")
    assert not first.values("upgrade")
    assert not first.values("http2-settings")
    assert client.is_silent()


def test_the_host_of_an_absolute_target_replaces_the_field(router, backend):
    client = router.connect()
    client.send(b"GET http://b.test:81/x HTTP/1.1\r\nHost: a\r\n\r\n")
    assert client.read_answer().status == 200
    seen = backend.requests[0]
    assert (seen.target, seen.value("host"), seen.value("x-forwarded-host")) == (
        "/x",
        "b.test:81",
        "b.test:81",
    )


def test_a_bad_request_behind_good_ones_is_refused_after_their_answers(router, backend):
    client = router.connect()
    client.send(
        b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\nGET /3 HTTP/1.1\r\n\r\n"
        + SECOND
    )
    assert [client.read_answer().status for _ in range(3)] == [200, 200, 400]
    assert client.read_to_end() == b""
    assert backend.targets == ["/1", "/2"]


def test_what_follows_a_request_that_closes_is_not_read(router, backend):
    client = router.connect()
    client.send(b"GET /1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" + SECOND)
    assert client.read_answer().status == 200
    client.read_to_end()
    assert backend.targets == ["/1"]


def test_a_thousand_wishes_for_another_protocol_in_one_piece_do_no_harm(router, backend):
    client = router.connect()
    client.send(b"GET /wish HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n" * 1000)
    client.read_to_end()
    assert set(backend.targets) <= {"/wish"}
    assert Client(router.port).get("/after").status == 200


def test_a_refusal_is_counted(router):
    before = dict(router.samples().refused)
    client = router.connect()
    client.send(b"GET / HTTP/1.1\r\n\r\n")
    assert client.read_answer().status == 400
    wait_until(lambda: router.samples().refused.get(400, 0) == before.get(400, 0) + 1)
