"""Connections of callers: requests are read strictly, answered in order, and bounded in size and time."""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from typing import Protocol, cast
from urllib.parse import urlsplit

import httptools

from switchyard.dataplane.exchange import Headers
from switchyard.dataplane.http.fields import CONTINUE, build_refusal

_TARGET = re.compile(rb"[\x21-\x7e]+")
_WAITING_BYTES = 64 << 10  # of requests that came before the one in front of them was answered
_WRITE_BUFFER_BYTES = 64 << 10
_LINGER_SECONDS = 1.0


class Limits(Protocol):
    """What a caller may take, read anew for each request."""

    @property
    def max_body_bytes(self) -> int: ...
    @property
    def max_head_bytes(self) -> int: ...
    @property
    def header_timeout_seconds(self) -> float: ...
    @property
    def idle_timeout_seconds(self) -> float: ...
    @property
    def keep_alive_seconds(self) -> float: ...


class Handler(Protocol):
    """Works on one request: gets its body, writes its answer through the connection."""

    def request_body(self, data: bytes) -> None: ...
    def request_end(self) -> None: ...
    def caller_lost(self) -> None:
        """The caller has gone."""
        ...

    def caller_full(self, *, is_full: bool) -> None:
        """The caller takes no more for now, or again."""
        ...

    def caller_tunnel(self, data: bytes) -> None:
        """Bytes of the protocol that was changed to."""
        ...


class Host(Protocol):
    """Where connections belong: gives their limits, and a handler for each request."""

    @property
    def limits(self) -> Limits: ...
    @property
    def is_draining(self) -> bool: ...
    def open_handler(self, connection: FrontConnection, request: Incoming) -> Handler: ...
    def connection_opened(self, connection: FrontConnection) -> bool:
        """False when there are too many."""
        ...

    def connection_closed(self, connection: FrontConnection) -> None: ...
    def note_refused(self, status: int) -> None:
        """A request was refused before it had a handler."""
        ...


class Incoming:
    """One request of a caller, as far as it was read."""

    __slots__ = (
        "fields",
        "handler",
        "headers",
        "is_answering",
        "is_chunked",
        "is_complete",
        "is_keep_alive",
        "is_old",
        "length",
        "method",
        "received_bytes",
        "target",
        "upgrade",
        "waiting",
        "wants_continue",
    )

    def __init__(self) -> None:
        self.method = b""
        self.target = b""
        self.headers: Headers = ()
        self.fields: dict[str, str] = {}  # names in lower case; repeated ones joined
        self.length: int | None = None
        self.is_chunked = False
        self.is_old = False  # HTTP/1.0
        self.is_keep_alive = True
        self.is_complete = False
        self.is_answering = False  # a part of its answer has been written
        self.upgrade = b""
        self.wants_continue = False
        self.received_bytes = 0
        self.waiting: list[bytes] = []
        self.handler: Handler | None = None


class _RefusalError(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class FrontConnection(asyncio.Protocol):
    """One connection of a caller."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._queue: deque[Incoming] = deque()
        self._reading: Incoming | None = None  # the one whose parts the parser is telling
        self._target = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._head_bytes = 0
        self._waiting_bytes = 0
        self._is_halted = False  # the parser stops after this head: it asks for another protocol
        self._is_retold = False  # the parser is told a head that was read before
        self._is_tunnel = False
        self._is_refused = False
        self._is_ending = False
        self._lingers = False
        self._paused: set[str] = set()
        self.peer = ""
        self.last_byte_at = time.monotonic()
        self.head_since: float | None = time.monotonic()

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
        if self._is_refused:
            return
        if self._reading is None:
            if self.head_since is None:
                self.head_since = self.last_byte_at
            self._head_bytes += len(data)
        self._feed(data)

    def _feed(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._leave_parser(data[upgrade.args[0] :])
        except httptools.HttpParserCallbackError as error:
            cause = error.__context__
            if not isinstance(cause, _RefusalError):
                raise
            self.refuse(cause.status, str(cause))
        except httptools.HttpParserError:
            self.refuse(400, "the request is not valid HTTP/1.1")
        if (
            self._reading is None
            and not self._is_refused
            and self._head_bytes > self._host.limits.max_head_bytes
        ):
            self.refuse(431, f"the head of the request is above {self._host.limits.max_head_bytes} bytes")

    def eof_received(self) -> bool:
        return False  # a caller that stops listening can't be told from one that only stops talking

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  (asyncio's)
        queue, self._queue = self._queue, deque()
        for request in queue:
            if request.handler is not None:
                request.handler.caller_lost()
        self._host.connection_closed(self)

    def pause_writing(self) -> None:
        if self._queue and self._queue[0].handler is not None:
            self._queue[0].handler.caller_full(is_full=True)

    def resume_writing(self) -> None:
        self.last_byte_at = time.monotonic()
        if self._queue and self._queue[0].handler is not None:
            self._queue[0].handler.caller_full(is_full=False)

    # -- a request, as the parser tells it -------------------------------------------------------

    def on_url(self, part: bytes) -> None:
        if not self._is_retold:
            self._target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._is_retold:
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        if self._is_retold:
            return
        request = Incoming()
        request.method = self._parser.get_method()
        request.headers, self._headers = tuple(self._headers), []
        target, self._target = self._target, b""
        self._head_bytes = 0
        self.head_since = None
        request.is_old = self._parser.get_http_version() != "1.1"
        request.is_keep_alive = self._parser.should_keep_alive()
        self._read_fields(request)
        request.target = _read_target(request, target)
        self._check(request)
        self._reading = request
        self._queue.append(request)
        if len(self._queue) == 1:
            self._begin(request)

    def on_body(self, data: bytes) -> None:
        request = self._reading
        if request is None:
            return
        request.received_bytes += len(data)
        limit = self._host.limits.max_body_bytes
        if request.received_bytes > limit:
            raise _RefusalError(413, f"the body is above {limit} bytes")
        if request.handler is not None:
            request.handler.request_body(data)
        else:
            request.waiting.append(data)
            self._waiting_bytes += len(data)

    def on_message_complete(self) -> None:
        if self._is_halted:
            return
        request, self._reading = self._reading, None
        if request is None:
            return
        request.is_complete = True
        if request.handler is not None:
            request.handler.request_end()
        if len(self._queue) > 1:
            self._waiting_bytes += 1024
            if self._waiting_bytes > _WAITING_BYTES:
                self.hold("queue")

    def _read_fields(self, request: Incoming) -> None:
        fields = request.fields
        limits = self._host.limits
        size = 0
        for name, value in request.headers:
            size += len(name) + len(value) + 4
            key = name.lower().decode("ascii", "replace")
            text = value.decode("latin-1")
            if key not in fields:
                fields[key] = text
            elif key == "host":
                raise _RefusalError(400, "give one Host field")
            elif key == "content-length":
                raise _RefusalError(400, "give one Content-Length field")
            else:
                fields[key] = f"{fields[key]}; {text}" if key == "cookie" else f"{fields[key]}, {text}"
        if size > limits.max_head_bytes:
            raise _RefusalError(431, f"the head of the request is above {limits.max_head_bytes} bytes")

    def _check(self, request: Incoming) -> None:
        """Refuse what two servers might read differently: RFC 9112 sections 3.2, 6.1, 6.3 and 11.2."""
        fields = request.fields
        for name, value in request.headers:
            if b"\r" in value or b"\n" in value or b"\0" in value:
                raise _RefusalError(400, f"the field {name[:64].decode('latin-1')} has a line break in it")
        if "host" not in fields and not request.is_old:
            raise _RefusalError(400, "give a Host field")
        coding = fields.get("transfer-encoding")
        if coding is not None:
            if request.is_old or "content-length" in fields:
                raise _RefusalError(400, "Transfer-Encoding can't stand beside Content-Length or in HTTP/1.0")
            if coding.strip().lower() != "chunked":
                raise _RefusalError(501, "of the transfer codings only chunked is known here")
            request.is_chunked = True
        length = fields.get("content-length")
        if length is not None:
            if not (length.isascii() and length.isdigit()) or len(length) > 18:
                raise _RefusalError(400, "Content-Length must be a number")
            request.length = int(length)
            limit = self._host.limits.max_body_bytes
            if request.length > limit:
                raise _RefusalError(413, f"the body is above {limit} bytes")
        if request.method == b"CONNECT":
            raise _RefusalError(501, "CONNECT is not for this server")
        expected = fields.get("expect")
        if expected is not None:
            if expected.strip().lower() != "100-continue":
                raise _RefusalError(417, "of expectations only 100-continue is known here")
            request.wants_continue = not request.is_old
        if self._parser.should_upgrade():
            self._is_halted = True
            has_body = request.is_chunked or bool(request.length)
            wish = fields.get("upgrade", "").strip().lower()
            if wish == "websocket" and request.method == b"GET" and not has_body and not self._queue:
                request.upgrade = b"websocket"

    def _leave_parser(self, rest: bytes) -> None:
        """Go on after a request that asks for another protocol, where the parser stops."""
        self._is_halted = False
        request = self._queue[-1]
        if request.upgrade:
            request.is_complete = True
            self._reading = None
            self._is_tunnel = True
            if rest and request.handler is not None:
                request.handler.caller_tunnel(rest)
            return
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
        self._feed(rest)

    # -- answering -------------------------------------------------------------------------------

    def _begin(self, request: Incoming) -> None:
        handler = request.handler = self._host.open_handler(self, request)
        if self._queue and self._queue[0] is request:
            for part in request.waiting:
                handler.request_body(part)
            request.waiting = []
            if request.is_complete and not request.upgrade:
                handler.request_end()

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
        self.let("handler")
        if not keep or not request.is_complete or self._host.is_draining or self._is_ending:
            self.close()
            return
        self.last_byte_at = time.monotonic()
        if self._queue:
            # not from within: a queue of requests that are refused at once must not nest
            self._loop.call_soon(self._go_on)
        else:
            self._waiting_bytes = 0
            self.let("queue")

    def _go_on(self) -> None:
        if self._queue and self._queue[0].handler is None and not self._is_refused:
            self._begin(self._queue[0])

    def refuse(self, status: int, message: str) -> None:
        """Answer a request that can't be read, and end: what follows it can't be trusted."""
        if self._is_refused:
            return
        self._is_refused = True
        self._host.note_refused(status)
        in_front = self._queue[0] if self._queue else None
        if in_front is not None and in_front.handler is not None and in_front is self._reading:
            # its own body went wrong: what has been passed on is taken back
            handler, in_front.handler = in_front.handler, None
            self._queue.popleft()
            handler.caller_lost()
            if in_front.is_answering:
                self.abort()
                return
            in_front = None
        if in_front is None and not self._is_ending:
            self.write(build_refusal(status, message))
            self.close()
        else:
            self._is_ending = True

    def close(self) -> None:
        """End the connection once all that was written has been sent.

        A caller that is still sending would lose the answer to the reset that its bytes cause: they are
        read and thrown away for a moment (RFC 9112 section 9.6).
        """
        self._is_ending = True
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if self._reading is None and not self._is_refused:
            transport.close()
        elif not self._lingers:
            self._lingers = self._is_refused = True
            self._paused.clear()
            transport.resume_reading()
            transport.write_eof()
            self._loop.call_later(_LINGER_SECONDS, self.abort)

    def abort(self) -> None:
        """End the connection so that the caller notices that the answer is not complete."""
        self._is_ending = True
        if self._transport is not None:
            self._transport.abort()

    def close_when_idle(self) -> None:
        """End it now if no request is under way, else after the answer."""
        if not self._queue and self._reading is None and (self.head_since is None or not self._head_bytes):
            self.close()

    # -- pace ------------------------------------------------------------------------------------

    def hold(self, why: str) -> None:
        """Read no more from the caller until every reason is gone."""
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
        if self._is_tunnel or self._is_ending:
            return
        if self.head_since is not None and self._head_bytes:
            if now - self.head_since > limits.header_timeout_seconds:
                self.refuse(408, f"the head of the request took over {limits.header_timeout_seconds:g} s")
        elif self._reading is not None:
            # the body of a request that is being read; while reading is held back, waiting is our doing
            if not self._paused and now - self.last_byte_at > limits.idle_timeout_seconds:
                self.refuse(408, f"nothing came of the body for {limits.idle_timeout_seconds:g} s")
        elif not self._queue and now - self.last_byte_at > limits.keep_alive_seconds:
            self.close()


def _read_target(request: Incoming, target: bytes) -> bytes:
    """The target in origin form (RFC 9112 section 3.2); of the absolute form the host goes into Host."""
    if not _TARGET.fullmatch(target):
        raise _RefusalError(400, "the request target has characters that must be percent-encoded")
    if target.startswith(b"/") or (target == b"*" and request.method == b"OPTIONS"):
        return target
    if request.method == b"CONNECT":
        return target
    try:
        parts = urlsplit(target.decode("ascii"))
    except ValueError:
        raise _RefusalError(400, "the request target is not valid") from None
    if parts.scheme not in {"http", "https"} or not parts.netloc or parts.username is not None:
        raise _RefusalError(400, "the request target must begin with /")
    host = parts.netloc.encode()
    request.headers = (
        (b"Host", host),
        *(field for field in request.headers if field[0].lower() != b"host"),
    )
    request.fields["host"] = parts.netloc
    path = parts.path or "/"
    return (f"{path}?{parts.query}" if parts.query else path).encode()
