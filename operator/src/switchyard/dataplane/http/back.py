"""Connections to backends: one answer at a time, kept alive between requests, never beyond their age."""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol, cast

import httptools

from switchyard.dataplane.exchange import Failure, Headers
from switchyard.dataplane.http.fields import list_tokens

# Servers close idle connections on their own, uvicorn after 5 s: ours must be the first to let go, or a
# request meets a connection that is just being closed.
_IDLE_SECONDS = 4.0
# A Service spreads connections, not requests: new pods get their share as old connections end.
_AGE_SECONDS = 30.0
_CONNECT_PAUSE_SECONDS = 0.05
_WRITE_BUFFER_BYTES = 256 << 10
_HEAD_BYTES = 256 << 10


class Sink(Protocol):
    """Who gets an answer, in this order: a head, pieces of the body, then the end or a failure."""

    def answer_head(self, status: int, reason: bytes, headers: Headers, *, has_length: bool) -> None: ...
    def answer_body(self, data: bytes) -> None: ...
    def answer_end(self) -> None: ...
    def answer_failed(self, failure: Failure) -> None: ...
    def answer_flush(self) -> None:
        """All that came in one piece has been handed over."""
        ...

    def answer_tunnel(self, data: bytes) -> None:
        """Bytes of the protocol that was changed to."""
        ...

    def back_full(self, *, is_full: bool) -> None:
        """The backend takes no more for now, or again."""
        ...


class BackConnection(asyncio.Protocol):
    """One connection to a backend."""

    def __init__(self, release: Callable[[BackConnection], None]) -> None:
        self._release = release
        self._transport: asyncio.Transport | None = None
        self._sink: Sink | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._headers: list[tuple[bytes, bytes]] = []
        self._reason = b""
        self._head_bytes = 0
        self._is_head_request = False
        self._is_request_sent = False
        self._has_head = False
        self._ends_with_connection = False
        self._is_tunnel = False
        self._is_kept = True
        self._is_parsing = False
        self._is_over = False
        self.reuses = 0
        self.idle_seconds = _IDLE_SECONDS
        self.idle_since = 0.0
        self.last_byte_at = 0.0
        self.retire_at = time.monotonic() + _AGE_SECONDS * random.uniform(0.8, 1.2)  # noqa: S311  (no secret)

    # -- asyncio ---------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of asyncio's
        self._transport = transport = cast("asyncio.Transport", transport)
        transport.set_write_buffer_limits(high=_WRITE_BUFFER_BYTES)

    def data_received(self, data: bytes) -> None:
        self.last_byte_at = time.monotonic()
        sink = self._sink
        if sink is None:
            self.close()  # nobody asked: whatever this is, it answers no request
            return
        if self._is_tunnel:
            sink.answer_tunnel(data)
            return
        if not self._has_head:
            self._head_bytes += len(data)
        self._is_parsing = True
        try:
            assert self._parser is not None  # noqa: S101  (there is a sink, so there is a parser)
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._is_tunnel = True
            sink.answer_flush()
            rest = data[upgrade.args[0] :]
            if rest:
                sink.answer_tunnel(rest)
            return
        except httptools.HttpParserError:
            if not self._is_over:
                self._fail("truncated" if self._has_head else "malformed")
        finally:
            self._is_parsing = False
        if not self._has_head and self._head_bytes > _HEAD_BYTES and not self._is_over:
            self._fail("malformed")
        sink.answer_flush()
        if self._is_over:
            self._finish()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_kept = False
        sink, self._sink = self._sink, None
        if sink is not None and not self._is_over:
            self._is_over = True
            if self._is_tunnel or (self._ends_with_connection and exc is None):
                sink.answer_end()
            else:
                sink.answer_failed("truncated" if self._has_head else "reset")
            sink.answer_flush()
        self._release(self)

    def pause_writing(self) -> None:
        if self._sink is not None:
            self._sink.back_full(is_full=True)

    def resume_writing(self) -> None:
        if self._sink is not None:
            self._sink.back_full(is_full=False)

    # -- the answer, as the parser tells it ------------------------------------------------------

    def on_message_begin(self) -> None:
        if self._is_over:
            self._is_kept = (
                False  # a second answer to one request: nothing on this connection is to be trusted
            )

    def on_status(self, reason: bytes) -> None:
        self._reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        parser = self._parser
        assert parser is not None  # noqa: S101  (it is the one that calls)
        if self._is_over:
            return
        status = parser.get_status_code()
        headers, self._headers = tuple(self._headers), []
        reason, self._reason = self._reason, b""
        if 100 <= status < 200 and status != 101:
            return  # an interim answer; 100 was sent to the caller long ago
        has_length = is_chunked = False
        for name, value in headers:
            lower = name.lower()
            if lower == b"content-length":
                has_length = True
            elif lower == b"transfer-encoding":
                is_chunked = list_tokens(value)[-1:] == [b"chunked"]
            elif lower == b"keep-alive":
                self._heed_keep_alive(value)
        self._has_head = True
        self._is_tunnel = status == 101
        has_body = not (self._is_head_request or status in {204, 304} or status == 101)
        self._ends_with_connection = has_body and not has_length and not is_chunked
        self._is_kept = parser.should_keep_alive() and not self._ends_with_connection
        sink = self._sink
        if sink is not None:
            sink.answer_head(status, reason, headers, has_length=has_length)
            if self._is_head_request:
                # the parser waits for a body of that length, which does not come
                self._end()

    def on_body(self, data: bytes) -> None:
        if self._sink is not None and not self._is_over:
            self._sink.answer_body(data)

    def on_message_complete(self) -> None:
        if self._has_head and not self._is_over and not self._is_tunnel:
            self._end()

    def _heed_keep_alive(self, value: bytes) -> None:
        for token in list_tokens(value):
            name, _, number = token.partition(b"=")
            if name == b"timeout" and number.isdigit() and len(number) < 6:
                self.idle_seconds = max(0.0, min(_IDLE_SECONDS, int(number) - 1.0))

    def _end(self) -> None:
        self._is_over = True
        sink = self._sink
        if sink is not None:
            sink.answer_end()

    def _fail(self, failure: Failure) -> None:
        self._is_over = True
        self._is_kept = False
        if self._sink is not None:
            self._sink.answer_failed(failure)

    def _finish(self) -> None:
        """Let go of the sink, and be used again or closed."""
        self._sink = None
        if self._is_kept and self._is_request_sent:
            self.idle_since = time.monotonic()
            self._release(self)
        else:
            self.close()

    # -- the request -----------------------------------------------------------------------------

    @property
    def is_usable(self) -> bool:
        """Whether another request may be sent on it now."""
        transport = self._transport
        if transport is None or transport.is_closing() or not self._is_kept:
            return False
        now = time.monotonic()
        return now < self.retire_at and now - self.idle_since < self.idle_seconds

    def begin(self, sink: Sink, head: bytes, *, is_head_request: bool = False) -> None:
        """Send the head of a request; its answer goes to `sink`."""
        self._sink = sink
        self._parser = httptools.HttpResponseParser(self)
        self._headers, self._reason = [], b""
        self._head_bytes = 0
        self._is_head_request = is_head_request
        self._is_request_sent = self._has_head = self._is_over = False
        self._ends_with_connection = self._is_tunnel = False
        self._is_kept = True
        self.reuses += 1
        self.last_byte_at = time.monotonic()
        self.write(head)

    def write(self, data: bytes) -> None:
        """Send more of the request, or of a tunnel."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def end_request(self) -> None:
        """All of the request has been sent."""
        self._is_request_sent = True

    def pause(self) -> None:
        """Take no more of the answer for now."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume(self) -> None:
        """Take more of the answer."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()
            self.last_byte_at = time.monotonic()

    def abandon(self) -> None:
        """Forget the answer and end the connection, so that the backend can stop working on it."""
        self._sink = None
        self._is_over = True
        self.close(at_once=True)

    def close(self, *, at_once: bool = False) -> None:
        """End the connection."""
        self._is_kept = False
        if self._transport is not None:
            if at_once:
                self._transport.abort()
            else:
                self._transport.close()


Acquired = Callable[[BackConnection | None], None]


class BackPool:
    """The connections to one address. An attempt to connect that failed sent nothing: it may be repeated."""

    def __init__(self, host: str, port: int, *, connect_seconds: float) -> None:
        self.host, self.port = host, port
        self.connect_seconds = connect_seconds
        self._idle: deque[BackConnection] = deque()
        self._open: set[BackConnection] = set()
        self._connecting: set[asyncio.Task[None]] = set()
        self.is_closed = False

    @property
    def open_connections(self) -> int:
        """Idle and busy ones."""
        return len(self._open)

    def acquire(self, acquired: Acquired) -> Callable[[], None] | None:
        """Hand a connection to `acquired`, at once when one is idle, None when there is no way to get one.

        Returns how to give up waiting; None when the call has been answered.
        """
        while self._idle:
            connection = self._idle.popleft()  # the one that waited longest: requests spread over all
            if connection.is_usable:
                acquired(connection)
                return None
            connection.close()
        task = asyncio.get_running_loop().create_task(self._connect(acquired))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

        def give_up() -> None:
            task.cancel()

        return give_up

    async def _connect(self, acquired: Acquired) -> None:
        loop = asyncio.get_running_loop()
        deadline = time.monotonic() + self.connect_seconds
        connection: BackConnection | None = None
        while connection is None:
            left = deadline - time.monotonic()
            try:
                async with asyncio.timeout(max(left, 0.001)):
                    _, connection = await loop.create_connection(
                        lambda: BackConnection(self._released), self.host, self.port
                    )
            except TimeoutError:
                break
            except OSError:
                if time.monotonic() + _CONNECT_PAUSE_SECONDS >= deadline:
                    break
                await asyncio.sleep(_CONNECT_PAUSE_SECONDS)
        if connection is not None:
            self._open.add(connection)
        acquired(connection)

    def _released(self, connection: BackConnection) -> None:
        if connection.is_usable and not self.is_closed:
            self._idle.append(connection)
            return
        self._open.discard(connection)
        connection.close()

    def sweep(self) -> None:
        """Close connections that have been idle for too long."""
        for _ in range(len(self._idle)):
            connection = self._idle.popleft()
            if connection.is_usable:
                self._idle.append(connection)
            else:
                connection.close()

    def close(self) -> None:
        """Close idle connections now, busy ones when their answer ends."""
        self.is_closed = True
        while self._idle:
            self._idle.popleft().close()

    def abort(self) -> None:
        """Close everything now."""
        self.close()
        for task in list(self._connecting):
            task.cancel()
        for connection in list(self._open):
            connection.close(at_once=True)
