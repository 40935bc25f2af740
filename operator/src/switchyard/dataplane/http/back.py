"""Connections to backends: one answer at a time, and nothing of it to anybody but who asked."""

from __future__ import annotations

import asyncio
import random
import select
import time
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
_WRITE_BUFFER_BYTES = 256 << 10
_JOINED_BYTES = 64 << 10
_LINGER_SECONDS = 5.0
_SMALL_READ_BYTES = 32 << 10
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
        self._unsent = b""  # the head of a request, until there is something of its body
        self._sink: Sink | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._headers: list[tuple[bytes, bytes]] = []
        self._reason = b""
        self._pieces: list[bytes] = []  # of the body, out of what came at once
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
        self._hand_over()
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
        else:
            self._pieces.append(data)

    def on_message_complete(self) -> None:
        if self._has_head and not self._is_over and not self._is_tunnel:
            self._end()

    def _heed_keep_alive(self, value: bytes) -> None:
        for token in list_tokens(value):
            name, _, number = token.partition(b"=")
            if name == b"timeout" and number.isdigit() and len(number) < 6:
                self.idle_seconds = max(0.0, min(_IDLE_SECONDS, int(number) - 1.0))

    def _hand_over(self) -> None:
        """Pass on what came at once as one piece, however small the chunks are that it came in."""
        if self._pieces:
            pieces, self._pieces = self._pieces, []
            if self._sink is not None:
                self._sink.answer_body(pieces[0] if len(pieces) == 1 else b"".join(pieces))

    def _end(self) -> None:
        self._hand_over()
        self._is_over = True
        if self._sink is not None:
            self._sink.answer_end()

    def _fail(self, failure: Failure) -> None:
        self._hand_over()
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
        """Take the head of a request; its answer goes to `sink`.

        The head leaves with what is written next, or by `flush`: one packet is read in one go.
        """
        self._sink = sink
        self._parser = httptools.HttpResponseParser(self)
        self._headers, self._reason, self._pieces = [], b"", []
        self._unused_bytes = 0
        self._is_head_request = is_head_request
        self._may_upgrade = may_upgrade
        self._is_request_sent = self._has_head = self._is_over = False
        self._ends_with_connection = self._is_tunnel = False
        self._is_kept = True
        self.reuses += 1
        self.last_byte_at = time.monotonic()
        self._unsent = head

    def write(self, data: bytes) -> None:
        """Send more of the request, or of a tunnel."""
        head, self._unsent = self._unsent, b""
        if self._transport is None or self._transport.is_closing():
            return
        if head and len(data) > _JOINED_BYTES:
            self._transport.write(head)
            head = b""
        self._transport.write(head + data if head else data)

    def flush(self) -> None:
        """Send a head that no body came for yet."""
        if self._unsent:
            self.write(b"")

    def end_request(self) -> None:
        """All of the request has been sent."""
        self._is_request_sent = True
        self.flush()

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
        if self._transport is not None and self._transport.get_write_buffer_size():
            self._loop.call_later(_LINGER_SECONDS, self._transport.abort)

    def close(self, *, at_once: bool = False) -> None:
        """End the connection."""
        self._is_kept = False
        if self._transport is not None:
            if at_once:
                self._transport.abort()
            else:
                self._transport.close()


class SmallReadConnection(BackConnection, asyncio.BufferedProtocol):
    """One that reads little at a time, so that a flood leaves room for others between two pieces."""

    def __init__(self, release: Callable[[BackConnection], None]) -> None:
        super().__init__(release)
        self._buffer = bytearray(_SMALL_READ_BYTES)

    def get_buffer(self, sizehint: int) -> bytearray:  # noqa: ARG002  (asyncio's)
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.data_received(bytes(memoryview(self._buffer)[:nbytes]))
