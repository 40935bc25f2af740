"""Both kinds of connection over a transport that only takes notes: what is held back is let go again."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from switchyard.core.routing.document import Limits
from switchyard.dataplane.http.back import BackConnection
from switchyard.dataplane.http.front import FrontConnection
from switchyard.dataplane.http.incoming import Incoming

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class NotingTransport:
    """Takes what is written; pauses and ends when told."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.is_reading = True
        self.end = ""
        self.plugs = socket.socketpair()

    def get_extra_info(self, name: str) -> Any:
        return self.plugs[0] if name == "socket" else ("127.0.0.1", 1)

    def set_write_buffer_limits(self, high: int) -> None: ...

    def get_write_buffer_size(self) -> int:
        return 1

    def write(self, data: bytes) -> None:
        self.writes.append(data)

    def write_eof(self) -> None: ...

    def pause_reading(self) -> None:
        self.is_reading = False

    def resume_reading(self) -> None:
        self.is_reading = True

    def is_closing(self) -> bool:
        return bool(self.end)

    def close(self) -> None:
        self.end = self.end or "closed"

    def abort(self) -> None:
        self.end = "aborted"


class Sink:
    """Gets answers; `on_body` is called with each piece."""

    def __init__(self, on_body: Callable[[], None] = lambda: None) -> None:
        self.on_body = on_body
        self.told: list[object] = []

    def answer_interim(self, status: int, *_: object) -> None:
        self.told.append(status)

    def answer_head(self, status: int, *_: object, **__: object) -> None:
        self.told.append(status)

    def answer_body(self, data: bytes) -> None:
        self.told.append(data)
        self.on_body()

    def answer_end(self) -> None:
        self.told.append("end")

    def answer_failed(self, failure: str) -> None:
        self.told.append(failure)

    def answer_flush(self) -> None: ...
    def answer_tunnel(self, data: bytes) -> None:
        self.told.append(data)

    def back_full(self, *, is_full: bool) -> None:
        self.told.append(is_full)


class Handler:
    def __init__(self) -> None:
        self.body: list[bytes] = []
        self.is_ended = self.is_lost = False

    def request_body(self, data: bytes) -> None:
        self.body.append(data)

    def request_end(self) -> None:
        self.is_ended = True

    def caller_lost(self) -> None:
        self.is_lost = True

    def caller_full(self, *, is_full: bool) -> None: ...
    def caller_tunnel(self, data: bytes) -> None: ...


class Host:
    """Opens handlers that do nothing by themselves."""

    limits = Limits()
    is_draining = False

    def __init__(self) -> None:
        self.handlers: list[Handler] = []
        self.requests: list[Incoming] = []
        self.refused: list[int] = []

    def open_handler(self, connection: FrontConnection, request: Incoming) -> Handler:
        self.requests.append(request)
        self.handlers.append(Handler())
        return self.handlers[-1]

    def connection_opened(self, connection: FrontConnection) -> bool:
        return True

    def connection_closed(self, connection: FrontConnection) -> None: ...

    def note_refused(self, status: int) -> None:
        self.refused.append(status)


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


@pytest.fixture
def transport() -> Iterator[NotingTransport]:
    transport = NotingTransport()
    yield transport
    for plug in transport.plugs:
        plug.close()


def run(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    async def main() -> None:
        call()
        await asyncio.sleep(0)

    loop.run_until_complete(main())


def open_back(transport: NotingTransport, released: list[BackConnection]) -> BackConnection:
    back = BackConnection(released.append)
    back.connection_made(transport)  # type: ignore[arg-type]
    return back


def test_a_connection_that_was_held_back_to_the_end_of_an_answer_reads_again_for_the_next(loop, transport):
    def check() -> None:
        released: list[BackConnection] = []
        back = open_back(transport, released)
        back.begin(Sink(back.pause), b"GET / HTTP/1.1\r\n\r\n")
        back.end_request()
        back.data_received(ANSWER)
        assert released == [back]
        assert transport.is_reading

    run(loop, check)


def test_a_tunnel_that_is_let_go_delivers_and_an_answer_that_is_abandoned_does_not(loop, transport):
    def check() -> None:
        back = open_back(transport, [])
        back.begin(Sink(), b"GET / HTTP/1.1\r\n\r\n", may_upgrade=True)
        back.let_go()
        assert transport.end == "closed"
        back.abandon()
        assert transport.end == "aborted"

    run(loop, check)


def test_a_head_leaves_with_the_body_that_came_along_and_alone_where_none_did(loop, transport):
    def check() -> None:
        back = open_back(transport, [])
        back.begin(Sink(), b"head ")
        assert transport.writes == []
        back.write(b"body")
        back.end_request()
        assert transport.writes == [b"head body"]
        back.data_received(ANSWER)
        back.begin(Sink(), b"second")
        back.flush()
        back.flush()
        assert transport.writes == [b"head body", b"second"]
        back.write(b"x" * 100_000)
        back.begin(Sink(), b"third")
        back.write(b"x" * 100_000)
        assert transport.writes[-2:] == [b"third", b"x" * 100_000], "a large body is not copied"

    run(loop, check)


def test_an_answer_in_tiny_chunks_is_handed_over_in_one_piece(loop, transport):
    def check() -> None:
        back, sink = open_back(transport, []), Sink()
        back.begin(sink, b"GET / HTTP/1.1\r\n\r\n")
        back.end_request()
        chunks = b"1\r\nx\r\n" * 1000
        back.data_received(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks)
        assert sink.told == [200, b"x" * 1000]
        back.data_received(chunks + b"0\r\n\r\n")
        assert sink.told[2:] == [b"x" * 1000, "end"]

    run(loop, check)


def test_what_came_before_a_break_in_the_same_piece_is_handed_over_before_it(loop, transport):
    def check() -> None:
        back, sink = open_back(transport, []), Sink()
        back.begin(sink, b"GET / HTTP/1.1\r\n\r\n")
        back.data_received(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\nnonsense\r\n")
        assert sink.told == [200, b"ok", "truncated"]
        assert transport.end

    run(loop, check)


def test_a_caller_that_was_held_back_is_read_again_after_its_answer(loop, transport):
    def check() -> None:
        host = Host()
        front = FrontConnection(host)
        front.connection_made(transport)  # type: ignore[arg-type]
        front.data_received(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab")
        front.hold("backend")
        assert not transport.is_reading
        front.finish(host.requests[0], keep=True)
        assert transport.is_reading
        assert not transport.end

    run(loop, check)


def test_a_request_in_tiny_chunks_is_handed_over_in_one_piece(loop, transport):
    def check() -> None:
        host = Host()
        front = FrontConnection(host)
        front.connection_made(transport)  # type: ignore[arg-type]
        head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        front.data_received(head + b"1\r\nx\r\n" * 1000)
        front.data_received(b"1\r\ny\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert host.handlers[0].body == [b"x" * 1000, b"y"]
        assert host.handlers[0].is_ended
        assert len(host.requests) == 1, "the second begins before the first is answered"

    run(loop, check)


def test_a_body_that_turns_out_bad_takes_back_what_was_passed_on(loop, transport):
    def check() -> None:
        host = Host()
        front = FrontConnection(host)
        front.connection_made(transport)  # type: ignore[arg-type]
        head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        front.data_received(head + b"1\r\nx\r\n")
        front.data_received(b"zz\r\n")
        assert (host.handlers[0].is_lost, host.handlers[0].is_ended, host.refused) == (True, False, [400])
        assert transport.writes[0].startswith(b"HTTP/1.1 400 ")
        front.abort()

    run(loop, check)
