"""Connections to backends: one answer at a time, kept alive between requests, never beyond their age."""

from __future__ import annotations

import asyncio
import random
import select
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
# Pods that replace one another refuse connections for a moment; who has none for longer is told so soon.
_CONNECT_PAUSES_SECONDS = (0.05, 0.1, 0.2, 0.4)
_WRITE_BUFFER_BYTES = 256 << 10
_LINGER_SECONDS = 5.0
_UNUSED_BYTES = 256 << 10  # of heads, trailers and chunk extensions, between two pieces of a body


class Sink(Protocol):
    """Who gets an answer, in this order: a head, pieces of the body, then the end or a failure."""

    def answer_interim(self, status: int, reason: bytes, headers: Headers) -> None:
        """An answer before the answer: 102 or 103."""
        ...

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


class _MalformedError(Exception):
    """The answer can't be passed on."""


class BackConnection(asyncio.Protocol):
    """One connection to a backend."""

    def __init__(self, release: Callable[[BackConnection], None]) -> None:
        self._release = release
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._poll = select.poll()
        self._sink: Sink | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._headers: list[tuple[bytes, bytes]] = []
        self._reason = b""
        self._unused_bytes = 0
        self._is_head_request = False
        self._may_upgrade = False
        self._is_request_sent = False
        self._has_head = False
        self._ends_with_connection = False
        self._is_tunnel = False
        self._is_kept = True
        self._is_over = False
        self._is_paused = False
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
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        self.last_byte_at = time.monotonic()
        sink, parser = self._sink, self._parser
        if sink is None or parser is None:
            self.close()  # nobody asked: whatever this is, it answers no request
            return
        if self._is_tunnel:
            sink.answer_tunnel(data)
            return
        self._unused_bytes += len(data)
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            sink.answer_flush()
            rest = data[upgrade.args[0] :]
            if rest and not self._is_over:
                sink.answer_tunnel(rest)
        except httptools.HttpParserError as error:
            self._is_kept = False
            if not self._is_over:
                self._fail("truncated" if self._has_head else "malformed")
            cause = error.__context__
            if cause is not None and not isinstance(cause, _MalformedError):
                self._loop.call_exception_handler({"message": "reading an answer failed", "exception": cause})
        if self._unused_bytes > _UNUSED_BYTES and not self._is_over:
            self._fail("truncated" if self._has_head else "malformed")
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
            # a second answer to one request: nothing on this connection is to be trusted
            self._is_kept = False

    def on_status(self, reason: bytes) -> None:
        self._reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._has_head:  # after a body these are trailers, which are not passed on
            self._headers.append((name, value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        parser, sink = self._parser, self._sink
        if parser is None or sink is None or self._is_over:
            return
        status = parser.get_status_code()
        headers, self._headers = tuple(self._headers), []
        reason, self._reason = self._reason, b""
        version = parser.get_http_version()
        if status < 100 or version not in {"1.1", "1.0"} or (status == 101 and not self._may_upgrade):
            raise _MalformedError
        if status < 200 and status != 101:
            if status != 100:  # that one was sent to the caller long ago
                sink.answer_interim(status, reason, headers)
            return
        has_length = is_chunked = False
        for name, value in headers:
            lower = name.lower()
            if lower == b"content-length":
                has_length = True
            elif lower == b"transfer-encoding":
                # what is done to a body for one hop ends at this hop, and only chunks can be undone here
                if is_chunked or version != "1.1" or value.lower() != b"chunked":
                    raise _MalformedError
                is_chunked = True
            elif lower == b"keep-alive":
                self._heed_keep_alive(value)
        self._has_head = True
        self._unused_bytes = 0
        self._is_tunnel = status == 101
        has_body = not (self._is_head_request or status in {101, 204, 304})
        self._ends_with_connection = has_body and not has_length and not is_chunked
        self._is_kept = parser.should_keep_alive() and not self._ends_with_connection
        sink.answer_head(status, reason, headers, has_length=has_length)
        if self._is_head_request:
            self._end()  # the parser waits for a body of that length, which does not come

    def on_body(self, data: bytes) -> None:
        self._unused_bytes = 0
        if self._is_over:
            self._is_kept = False  # the body of an answer that must have none
        elif self._sink is not None:
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
        if self._sink is not None:
            self._sink.answer_end()

    def _fail(self, failure: Failure) -> None:
        self._is_over = True
        self._is_kept = False
        if self._sink is not None:
            self._sink.answer_failed(failure)

    def _finish(self) -> None:
        """Let go of the sink, and be used again or closed."""
        self._sink = None
        if self._is_kept and self._is_request_sent:
            self.resume()  # who held it back is gone
            self.idle_since = time.monotonic()
            self._release(self)
        else:
            self.close(at_once=not self._is_request_sent)

    # -- the request -----------------------------------------------------------------------------

    @property
    def is_young(self) -> bool:
        """Whether it may wait for another request."""
        transport = self._transport
        if transport is None or transport.is_closing() or not self._is_kept:
            return False
        now = time.monotonic()
        return now < self.retire_at and now - self.idle_since < self.idle_seconds

    def is_untouched(self) -> bool:
        """True when nothing has come since the last answer: no end, and nothing that nobody asked for."""
        return not self._poll.poll(0)

    def begin(
        self, sink: Sink, head: bytes, *, is_head_request: bool = False, may_upgrade: bool = False
    ) -> None:
        """Send the head of a request; its answer goes to `sink`."""
        self._sink = sink
        self._parser = httptools.HttpResponseParser(self)
        self._headers, self._reason = [], b""
        self._unused_bytes = 0
        self._is_head_request = is_head_request
        self._may_upgrade = may_upgrade
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
        if not self._is_paused and self._transport is not None and not self._transport.is_closing():
            self._is_paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """Take more of the answer."""
        if self._is_paused and self._transport is not None and not self._transport.is_closing():
            self._is_paused = False
            self._transport.resume_reading()
            self.last_byte_at = time.monotonic()

    def abandon(self) -> None:
        """Forget the answer and end the connection, so that the backend can stop working on it."""
        self._sink = None
        self._is_over = True
        self.close(at_once=True)

    def let_go(self) -> None:
        """End a tunnel: what was written is still delivered, if that takes no longer than a moment."""
        self._sink = None
        self._is_over = True
        self.close()
        if self._transport is not None:
            self._loop.call_later(_LINGER_SECONDS, self._transport.abort)

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

    def acquire(self, acquired: Acquired, *, is_new: bool = False) -> Callable[[], None] | None:
        """Hand a connection to `acquired`, at once when one is idle, None when there is no way to get one.

        `is_new`: none that was used before. Returns how to give up waiting; None when the call has been
        answered.
        """
        while self._idle and not is_new:
            connection = self._idle.popleft()  # the one that waited longest: requests spread over all
            if connection.is_young and connection.is_untouched():
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
        connection: BackConnection | None = None
        deadline = time.monotonic() + self.connect_seconds
        for pause_seconds in (*_CONNECT_PAUSES_SECONDS, None):
            try:
                connection = await self._try_to_connect(deadline - time.monotonic())
                break
            except TimeoutError:
                break
            except OSError:
                if pause_seconds is None or time.monotonic() + pause_seconds >= deadline:
                    break
                await asyncio.sleep(pause_seconds)
        if connection is not None:
            self._open.add(connection)
        acquired(connection)

    async def _try_to_connect(self, seconds: float) -> BackConnection:
        async with asyncio.timeout(max(seconds, 0.001)):
            _, connection = await asyncio.get_running_loop().create_connection(
                lambda: BackConnection(self._released), self.host, self.port
            )
        return connection

    def _released(self, connection: BackConnection) -> None:
        if connection.is_young and not self.is_closed:
            self._idle.append(connection)
            return
        self._open.discard(connection)
        connection.close()

    def sweep(self) -> None:
        """Close connections that have been idle for too long."""
        for _ in range(len(self._idle)):
            connection = self._idle.popleft()
            if connection.is_young:
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
