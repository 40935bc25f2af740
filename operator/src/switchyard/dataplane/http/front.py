"""Connections of callers: requests are answered in order, one at a time, and bounded in size and time."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections import deque
from typing import cast

import httptools

from switchyard.dataplane.http.fields import CONTINUE, build_refusal
from switchyard.dataplane.http.incoming import Incoming, RefusalError, read_request
from switchyard.dataplane.http.ports import Host

_WAITING_BYTES = 64 << 10  # of requests that came before the one in front of them was answered
_WAITING_REQUESTS = 256
_REQUEST_BYTES = 1 << 10  # what a waiting request costs beside its head and body
_WRITE_BUFFER_BYTES = 64 << 10
_LINGER_SECONDS = 1.0
_RESET = struct.pack("ii", 1, 0)


class FrontConnection(asyncio.Protocol):
    """One connection of a caller."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._queue: deque[Incoming] = deque()
        self._reading: Incoming | None = None  # the one whose parts the parser is telling
        self._pieces: list[bytes] = []  # of its body, out of what came at once
        self._target = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._unused_bytes = 0  # read, and no part of a body or of a complete head
        self._waiting_bytes = 0
        self._is_halted = False  # the parser stops after this head: it asks for another protocol
        self._is_retold = False  # the parser is told a head that was read before
        self._is_tunnel = False
        self._is_deaf = False  # what still comes is thrown away
        self._is_ending = False
        self._is_full = False  # the caller takes no more for now
        self._refusal = b""  # written when the requests before it have been answered
        self._paused: set[str] = set()
        self.peer = ""
        self.last_byte_at = time.monotonic()
        self.head_since: float | None = None

    # -- asyncio ---------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of asyncio's
        self._transport = transport = cast("asyncio.Transport", transport)
        transport.set_write_buffer_limits(high=_WRITE_BUFFER_BYTES)
        peer = transport.get_extra_info("peername")
        self.peer = str(peer[0]) if isinstance(peer, tuple) else ""
        if not self._host.connection_opened(self):
            self.refuse(503, "too many connections; try again later")

    def data_received(self, data: bytes) -> None:
        self.last_byte_at = time.monotonic()
        if self._is_tunnel:
            handler = self._queue[0].handler if self._queue else None
            if handler is not None:
                handler.caller_tunnel(data)
            return
        if self._is_deaf:
            return
        self._unused_bytes += len(data)
        try:
            while data and not self._is_deaf:
                data = self._parse(data)
        except httptools.HttpParserCallbackError as error:
            cause = error.__context__
            if not isinstance(cause, RefusalError):
                raise
            self.refuse(cause.status, str(cause))
        except httptools.HttpParserError:
            self.refuse(400, "the request is not valid HTTP/1.1")
        self._hand_over()
        limit = self._host.limits.max_head_bytes
        if self._unused_bytes > limit:
            self.refuse(431, f"the head of the request, or what surrounds its body, is above {limit} bytes")

    def eof_received(self) -> bool:
        return False  # a caller that stops listening can't be told from one that only stops talking

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  (asyncio's)
        self._is_ending = self._is_deaf = True
        queue, self._queue = self._queue, deque()
        for request in queue:
            if request.handler is not None:
                request.handler.caller_lost()
        self._host.connection_closed(self)

    def pause_writing(self) -> None:
        self._is_full = True
        if self._queue and self._queue[0].handler is not None:
            self._queue[0].handler.caller_full(is_full=True)

    def resume_writing(self) -> None:
        self._is_full = False
        self.last_byte_at = time.monotonic()
        if self._queue and self._queue[0].handler is not None:
            self._queue[0].handler.caller_full(is_full=False)
        else:
            self._go_on()

    # -- requests, as the parser tells them ------------------------------------------------------

    def _parse(self, data: bytes) -> bytes:
        """What is left to be read: the parser stops where another protocol is asked for."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as stop:
            return self._leave_parser(data[stop.args[0] :])
        return b""

    def on_message_begin(self) -> None:
        if not self._is_retold:
            self.head_since = self.last_byte_at

    def on_url(self, part: bytes) -> None:
        if not self._is_retold:
            self._target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        # after a body these are trailers, which are not passed on
        if self._reading is None and not self._is_retold:
            self._headers.append((name, value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        if self._is_retold:
            return
        limits, parser = self._host.limits, self._parser
        headers, self._headers = tuple(self._headers), []
        target, self._target = self._target, b""
        self._unused_bytes = 0
        self.head_since = None
        if len(self._queue) >= _WAITING_REQUESTS:
            raise RefusalError(503, f"over {_WAITING_REQUESTS} requests wait for an answer on one connection")
        request = read_request(
            parser.get_method(),
            target,
            headers,
            version=parser.get_http_version(),
            max_head_bytes=limits.max_head_bytes,
            max_body_bytes=limits.max_body_bytes,
        )
        request.is_keep_alive = parser.should_keep_alive()
        if parser.should_upgrade():
            self._is_halted = True
            wish = request.fields.get("upgrade", "").lower()
            has_body = request.is_chunked or bool(request.length)
            if wish == "websocket" and request.method == b"GET" and not has_body and not request.is_old:
                request.upgrade = b"" if self._queue else b"websocket"
        self._reading = request
        self._queue.append(request)
        if len(self._queue) == 1:
            self._begin(request)
        else:
            self._note_waiting(request.head_bytes + _REQUEST_BYTES)

    def on_body(self, data: bytes) -> None:
        request = self._reading
        if request is None:
            return
        self._unused_bytes = 0
        request.received_bytes += len(data)
        limit = self._host.limits.max_body_bytes
        if request.received_bytes > limit:
            raise RefusalError(413, f"the body is above {limit} bytes")
        self._pieces.append(data)

    def _hand_over(self) -> None:
        """Pass on what came at once as one piece, however small the chunks are that it came in."""
        if not self._pieces:
            return
        pieces, self._pieces = self._pieces, []
        request = self._reading
        if request is not None and not self._is_deaf:
            data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            if request.handler is not None:
                request.handler.request_body(data)
            else:
                request.waiting.append(data)
                self._note_waiting(len(data))

    def on_message_complete(self) -> None:
        if self._is_halted:
            return
        self._hand_over()
        request, self._reading = self._reading, None
        if request is None:
            return
        request.is_complete = True
        self._unused_bytes = 0
        if request.handler is not None:
            request.handler.request_end()

    def _leave_parser(self, rest: bytes) -> bytes:
        """Go on after a request that asks for another protocol; what is left for the parser."""
        self._is_halted = False
        request = self._queue[-1]
        if request.upgrade:
            request.is_complete = True
            self._reading = None
            self._is_tunnel = True
            if rest and request.handler is not None:
                request.handler.caller_tunnel(rest)
            return b""
        # The wish is declined by not heeding it (RFC 9110 section 7.8); a fresh parser that is told how the
        # body is framed reads it for what it is.
        framing = b""
        if request.is_chunked:
            framing = b"Transfer-Encoding: chunked\r\n"
        elif request.length is not None:
            framing = b"Content-Length: %d\r\n" % request.length
        self._parser = httptools.HttpRequestParser(self)
        self._is_retold = True
        self._parser.feed_data(b"POST / HTTP/1.1\r\nHost: x\r\n" + framing + b"\r\n")
        self._is_retold = False
        return rest

    def _note_waiting(self, size: int) -> None:
        self._waiting_bytes += size
        if self._waiting_bytes > _WAITING_BYTES:
            self.hold("queue")

    # -- answering -------------------------------------------------------------------------------

    def _begin(self, request: Incoming) -> None:
        handler = request.handler = self._host.open_handler(self, request)
        if self._queue and self._queue[0] is request:
            parts, request.waiting = request.waiting, []
            for part in parts:
                handler.request_body(part)
            if request.is_complete and not request.upgrade:
                handler.request_end()

    def _go_on(self) -> None:
        """Begin with the request that is now in front, unless answers before it are still to be taken."""
        if self._is_full or self._is_ending:
            return
        if self._queue:
            request = self._queue[0]
            if request.handler is None:
                self._waiting_bytes -= request.head_bytes + _REQUEST_BYTES + sum(map(len, request.waiting))
                if self._waiting_bytes <= _WAITING_BYTES:
                    self.let("queue")
                self._begin(request)
        elif self._refusal:
            self.write(self._refusal)
            self.close()

    def ask_for_body(self, request: Incoming) -> None:
        """Tell a caller that waits for it to send the body."""
        if request.wants_continue and not request.received_bytes and not request.is_complete:
            request.wants_continue = False
            self.write(CONTINUE)

    def write(self, data: bytes) -> None:
        """Send a part of the answer of the request in front."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def finish(self, request: Incoming, *, keep: bool) -> None:
        """The answer of the request in front has been written: go on with the next one, or end."""
        if not self._queue or self._queue[0] is not request:
            return
        self._queue.popleft()
        request.handler = None
        self.let("backend")
        self.last_byte_at = time.monotonic()
        if not keep or not request.is_complete or self._host.is_draining or self._is_ending:
            self.close()
        elif self._queue or self._refusal:
            # not from within: a queue of requests that are refused at once must not nest
            self._loop.call_soon(self._go_on)

    def refuse(self, status: int, message: str) -> None:
        """Answer a request that can't be read, and end: what follows it can't be trusted."""
        if self._is_deaf:
            return
        self._is_deaf = True
        self._host.note_refused(status)
        request, self._reading = self._reading, None
        if request is not None and self._queue and self._queue[-1] is request:
            # its own body went wrong: what has been passed on is taken back
            self._queue.pop()
            if request.handler is not None:
                request.handler.caller_lost()
                request.handler = None
            if request.is_answering:
                self.reset()
                return
        self._refusal = build_refusal(status, message)
        if not self._queue:
            self._go_on()

    # -- the end ---------------------------------------------------------------------------------

    def close(self) -> None:
        """End the connection once all that was written has been sent.

        A caller that is still sending would lose the answer to the reset that its bytes cause: they are
        read and thrown away for a moment (RFC 9112 section 9.6).
        """
        transport = self._transport
        if transport is None or self._is_ending:
            return
        self._is_ending = True
        self.last_byte_at = time.monotonic()
        if transport.is_closing():
            return
        if self._reading is None and not self._is_deaf:
            transport.close()
            return
        self._is_deaf = True
        self._paused.clear()
        transport.resume_reading()
        transport.write_eof()
        self._loop.call_later(_LINGER_SECONDS, self.abort)

    def abort(self) -> None:
        """End it at once; what was written and not yet sent is lost."""
        self._is_ending = True
        if self._transport is not None:
            self._transport.abort()

    def reset(self) -> None:
        """End it at once, as broken: an answer that ends with its connection must not look whole."""
        if self._transport is not None and not self._transport.is_closing():
            plug = self._transport.get_extra_info("socket")
            if plug is not None:
                plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.abort()

    def close_when_idle(self) -> None:
        """End it now if no request is under way, else after the answer."""
        if not self._queue and self._reading is None and self.head_since is None:
            self.close()

    # -- pace ------------------------------------------------------------------------------------

    def hold(self, why: str) -> None:
        """Read no more from the caller until every reason is gone."""
        if self._is_ending:
            return
        if not self._paused and self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()
        self._paused.add(why)

    def let(self, why: str) -> None:
        """Take a reason away."""
        if why in self._paused:
            self._paused.discard(why)
            if not self._paused and self._transport is not None and not self._transport.is_closing():
                self._transport.resume_reading()

    def judge_age(self, now: float) -> None:
        """End what takes too long: a head that trickles in, a connection that nobody uses."""
        limits = self._host.limits
        quiet_seconds = now - self.last_byte_at
        if self._is_ending:
            if quiet_seconds > limits.idle_timeout_seconds:
                self.abort()  # it does not take what is left to be sent
        elif self._is_tunnel or self._is_deaf:
            return
        elif self.head_since is not None:
            if now - self.head_since > limits.header_timeout_seconds:
                self.refuse(408, f"the head of the request took over {limits.header_timeout_seconds:g} s")
        elif self._reading is not None:
            # the body of a request that is being read; while reading is held back, waiting is our doing
            if not self._paused and quiet_seconds > limits.idle_timeout_seconds:
                self.refuse(408, f"nothing came of the body for {limits.idle_timeout_seconds:g} s")
        elif self._queue:
            is_stuck = self._is_full and self._queue[0].handler is None
            if is_stuck and quiet_seconds > limits.idle_timeout_seconds:
                self.abort()
        elif quiet_seconds > limits.keep_alive_seconds:
            self.close()
