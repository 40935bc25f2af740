"""Random bytes from callers: the router stays up, keeps nothing, and reads the same however they are cut."""

from __future__ import annotations

import contextlib
import itertools
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.integration.router_peers import (
    OK,
    Backend,
    Router,
    Talk,
    build_document,
    build_request,
    wait_until,
)

SEEDS = [
    b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n",
    b"HEAD /h HTTP/1.1\r\nHost: a\r\nX-A: b\r\n\r\n",
    b"POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    b"POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nX-T: 1\r\n\r\n",
    b"PUT /d HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nok",
    b"GET http://b/e?x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    b"GET /f HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    b"POST /g HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 3\r\n\r\nxyz",
    b"GET /i HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
]
PIECES = [
    b"\r\n",
    b"\n",
    b"\r",
    b" ",
    b":",
    b"\0",
    b"\xff",
    b"0",
    b"-1",
    b"ffffffffffffffffff",
    b"chunked",
    b"\r\n\r\n",
]
FIELDS = [
    b"Content-Length: 3\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Host: b\r\n",
    b"Connection: content-length, close\r\n",
    b"Expect: 100-continue\r\n",
    b"Upgrade: websocket\r\n",
    b" folded\r\n",
    b"Content-Length : 4\r\n",
]


@st.composite
def streams(draw) -> bytes:
    """Requests one after the other, some with a piece put in, left out, doubled or changed."""
    data = b"".join(draw(st.lists(st.sampled_from(SEEDS), min_size=1, max_size=4)))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(data)))
        kind = draw(st.sampled_from(["put in", "leave out", "change", "double", "field"]))
        if kind == "put in":
            data = data[:at] + draw(st.sampled_from(PIECES)) + data[at:]
        elif kind == "leave out":
            data = data[:at] + data[at + draw(st.integers(1, 8)) :]
        elif kind == "change":
            data = data[:at] + draw(st.binary(min_size=1, max_size=2)) + data[at + 1 :]
        elif kind == "double":
            data = data[:at] + data[max(0, at - draw(st.integers(1, 40))) :]
        else:
            line_end = data.find(b"\r\n", at)
            if line_end >= 0:
                data = data[: line_end + 2] + draw(st.sampled_from(FIELDS)) + data[line_end + 2 :]
    return data


def answer_to_method(talk: Talk) -> None:
    while True:
        seen = talk.read_request()
        talk.send(OK[:-2] if seen.method == "HEAD" else OK)


@pytest.fixture(scope="module")
def backend():
    with Backend(answer_to_method) as backend:
        yield backend


@pytest.fixture(scope="module")
def router(backend):
    with Router(build_document(backend.url)) as router:
        yield router


def is_read(talk: Talk) -> bool:
    with contextlib.suppress(ValueError, OSError):  # closed: there is nothing left to read
        return talk.is_silent()
    return True


def read_meaning(
    router: Router, backend: Backend, pieces: list[bytes], patience_seconds: float = 0.05
) -> tuple[list[object], bytes]:
    """The requests that the backend read whole, and the statuses that the caller got."""
    del backend.requests[:], backend.heads[:]
    client = router.connect()
    with contextlib.suppress(OSError):
        for piece in pieces:
            client.send(piece)
        # ends whatever is still open, as a request of its own that closes, or as a part of what was begun
        client.send(build_request("/end", "Connection: close"))
    client.plug.settimeout(patience_seconds)
    answers = b""
    with contextlib.suppress(OSError):
        while more := client.receive():
            answers += more
    client.close()
    wait_until(router.is_quiet, "the router lets go of the connection")
    wait_until(lambda: all(is_read(talk) for talk in backend.talks[-2:]), "the backend has read all")
    read = [(seen.method, seen.target, seen.body, seen.values("host")) for seen in backend.requests]
    statuses = re.findall(rb"HTTP/1\.1 ([2-5]\d\d)", answers)
    return read, b" ".join(statuses)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(streams(), st.lists(st.integers(1, 400), max_size=6))
def test_bytes_mean_the_same_however_they_are_cut_and_leave_nothing_behind(router, backend, data, cuts):
    marks = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    pieces = [data[start:end] for start, end in itertools.pairwise(marks)]
    if read_meaning(router, backend, [data]) != read_meaning(router, backend, pieces):
        # a caller that waits for more can't tell when no more comes: look again, with patience
        assert read_meaning(router, backend, [data], 1.0) == read_meaning(router, backend, pieces, 1.0)
    assert not router.errors
    assert not backend.wrong, "the backend was sent something that is no request"


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300))
def test_bytes_without_sense_are_refused_and_leave_nothing_behind(router, backend, data):
    read, _ = read_meaning(router, backend, [data])
    assert [target for _, target, *_ in read] in ([], ["/end"])
    assert not router.errors
