"""One request of a user on its way: to an arm, and the answer back, passed on as it comes."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from typing import Literal, Protocol

from switchyard.core.routing.document import BASELINE, RoutingDocument, Segment
from switchyard.core.routing.matching import choose_arm, find_caller, find_segment, is_shadowed, may_repeat
from switchyard.dataplane.duplicate import Duplicate, Shadows
from switchyard.dataplane.exchange import Answer, Body, Failure, Headers, Request, Timing
from switchyard.dataplane.http.back import BackConnection
from switchyard.dataplane.http.fields import (
    LAST_CHUNK,
    REQUEST_ID,
    Framing,
    build_answer_fields,
    build_answer_head,
    build_refusal,
    build_request_head,
    drop_hop_by_hop,
    frame_answer,
    frame_chunk,
    is_sane_id,
)
from switchyard.dataplane.http.front import FrontConnection
from switchyard.dataplane.http.incoming import Incoming
from switchyard.dataplane.http.pool import BackPool
from switchyard.dataplane.measure.stream import StreamMeter, is_event_stream

Arm = Literal["baseline", "candidate"]

_PENDING_BYTES = 256 << 10
_BYTES_PER_TOKEN = 4
# RFC 9110 section 9.2.2: what may be sent once more when a kept connection broke before any answer.
_IDEMPOTENT = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE"))
_REFUSALS: dict[Failure, tuple[int, str]] = {
    "connect": (503, "no connection to the backend"),
    "timeout": (504, "the backend did not answer in time"),
    "reset": (502, "the backend closed the connection without an answer"),
    "malformed": (502, "the backend's answer is not valid HTTP"),
    "truncated": (502, "the backend's answer ended early"),
}


class Recorder(Protocol):
    """Counts users' requests."""

    def record_started(self, segment: str, arm: Arm) -> None: ...
    def record_tunnel(self, segment: str, arm: Arm) -> None: ...
    def record_answer(self, segment: str, arm: Arm, request: Request, answer: Answer) -> None: ...


class Core(Protocol):
    """What requests share."""

    @property
    def document(self) -> RoutingDocument: ...
    @property
    def recorder(self) -> Recorder: ...
    @property
    def shadows(self) -> Shadows: ...
    @property
    def is_draining(self) -> bool: ...
    def pool(self, document: RoutingDocument, arm: Arm) -> BackPool: ...
    def exchange_ended(self, exchange: Exchange) -> None: ...


class Exchange:
    """Reads from the caller and the backend, writes to both, and holds back whoever is too quick.

    Everything happens in callbacks of the two connections: nothing that arrived waits for a task to run.
    The document in force when the request came decides to its end.
    """

    def __init__(self, core: Core, connection: FrontConnection, incoming: Incoming) -> None:
        self._core = core
        self._front = connection
        self._incoming = incoming
        self._loop = asyncio.get_running_loop()
        self._document = core.document
        self._segment: Segment = find_segment(
            self._document, incoming.target.decode("ascii"), incoming.fields
        )
        given = incoming.fields.get("x-request-id", "").encode("latin-1")
        self._request_id = given if is_sane_id(given) else os.urandom(16).hex().encode()
        self._caller = find_caller(self._segment, incoming.fields) or self._request_id.decode()
        self._arm: Arm = choose_arm(self._segment, self._caller)
        self._back: BackConnection | None = None
        self._give_up: Callable[[], None] | None = None
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._early: list[bytes] = []  # of a protocol that is not agreed on yet
        self._out: list[bytes] = []
        self._started_at = self._last_byte_at = time.monotonic()
        self._is_over = False
        self._is_tunnel = False
        self._is_retried = False
        self._framing = Framing(is_chunked=False, is_told=True, is_kept=False)
        self._is_caller_full = False
        self._status = 0
        self._answer_headers: Headers = ()
        self._answer_length = 0
        self._meter: StreamMeter | None = None
        self._duplicate: Duplicate | None = None
        self._prepare_shadow()

    def start(self) -> None:
        """Ask for a connection to the arm."""
        self._core.recorder.record_started(self._segment.name, self._arm)
        self._connect()

    def _connect(self) -> None:
        pool = self._core.pool(self._document, self._arm)
        self._give_up = pool.acquire(self._acquired, is_new=self._is_retried)

    def _prepare_shadow(self) -> None:
        shadow, segment, incoming = self._document.shadow, self._segment, self._incoming
        if self._arm != BASELINE or incoming.upgrade or not segment.shadow_percent:
            return
        if not is_shadowed(segment, self._request_id.decode()):
            return
        method, target = incoming.method.decode("ascii"), incoming.target.decode("ascii")
        if not may_repeat(shadow, method, target):
            self._core.shadows.refuse(segment.name, "excluded")
            return
        if (incoming.length or 0) > shadow.max_body_bytes:
            self._core.shadows.refuse(segment.name, "body")
            return
        self._duplicate = Duplicate(self._core.shadows, self._document, segment, self._front.peer)

    # -- to the backend --------------------------------------------------------------------------

    def _acquired(self, back: BackConnection | None) -> None:
        self._give_up = None
        if self._is_over:
            if back is not None:
                back.close()
            return
        if back is None:
            self.answer_failed("connect")
            return
        self._back = back
        incoming = self._incoming
        extra: Headers = ()
        if incoming.upgrade:
            extra = ((b"Connection", b"Upgrade"), (b"Upgrade", incoming.upgrade))
        elif incoming.is_chunked:
            extra = ((b"Transfer-Encoding", b"chunked"),)
        head = build_request_head(
            incoming.method,
            incoming.target,
            incoming.headers,
            peer=self._front.peer,
            request_id=self._request_id,
            extra=extra,
        )
        pending, self._pending = self._pending, []
        self._pending_bytes = 0
        self._front.let("backend")
        back.begin(
            self,
            b"".join((head, *pending)),
            is_head_request=incoming.method == b"HEAD",
            may_upgrade=bool(incoming.upgrade),
        )
        if incoming.is_complete:
            back.end_request()
        else:
            self._loop.call_soon(back.flush)  # what came along of the body is told before
            self._front.ask_for_body(incoming)

    def request_body(self, data: bytes) -> None:
        self._last_byte_at = time.monotonic()
        if self._duplicate is not None:
            self._duplicate.feed_request(data)
        if self._incoming.is_chunked:
            data = frame_chunk(data)
        self._send(data)

    def request_end(self) -> None:
        self._started_at = self._last_byte_at = time.monotonic()
        if self._incoming.is_chunked:
            self._send(LAST_CHUNK)
        if self._back is not None:
            self._back.end_request()
        if self._duplicate is not None and not self._duplicate.offer(self._describe()):
            self._duplicate = None

    def _send(self, data: bytes) -> None:
        if self._back is not None:
            self._back.write(data)
            return
        self._pending.append(data)
        self._pending_bytes += len(data)
        if self._pending_bytes > _PENDING_BYTES:
            self._front.hold("backend")

    def back_full(self, *, is_full: bool) -> None:
        if is_full:
            self._front.hold("backend")
        else:
            self._front.let("backend")

    # -- from the backend ------------------------------------------------------------------------

    def answer_interim(self, status: int, reason: bytes, headers: Headers) -> None:
        if not self._incoming.is_old:  # RFC 9110 section 15.2
            self._front.write(build_answer_head(status, reason, drop_hop_by_hop(headers)))

    def answer_head(self, status: int, reason: bytes, headers: Headers, *, has_length: bool) -> None:
        incoming = self._incoming
        self._status = status
        if status == 101:
            self._is_tunnel = True
            fields = drop_hop_by_hop(headers)
            fields += [(b"Connection", b"Upgrade"), (b"Upgrade", incoming.upgrade)]
        else:
            self._framing = frame_answer(
                status,
                is_head=incoming.method == b"HEAD",
                has_length=has_length,
                is_old=incoming.is_old,
                may_keep=incoming.is_keep_alive and not incoming.upgrade and not self._core.is_draining,
            )
            fields = build_answer_fields(status, headers, self._framing, is_old=incoming.is_old)
        if not any(name.lower() == REQUEST_ID for name, _ in headers):
            fields.append((REQUEST_ID, self._request_id))
        content_type = coding = b""
        for name, value in headers:
            lower = name.lower()
            if lower == b"content-type":
                content_type = value
            elif lower == b"content-encoding":
                coding = value
        if self._duplicate is not None:
            self._answer_headers = headers
        self._meter = StreamMeter(
            min(self._started_at, time.monotonic()),
            is_event_stream(content_type.decode("latin-1"), coding.decode("latin-1")),
        )
        incoming.is_answering = True
        self._out.append(build_answer_head(status, reason, fields))

    def answer_body(self, data: bytes) -> None:
        if self._is_over:
            return
        self._answer_length += len(data)
        if self._meter is not None:
            self._meter.feed(data, time.monotonic())
        if self._duplicate is not None:
            self._duplicate.feed_answer(data)
        self._out.append(frame_chunk(data) if self._framing.is_chunked else data)

    def answer_flush(self) -> None:
        if self._out:
            out, self._out = self._out, []
            self._front.write(out[0] if len(out) == 1 else b"".join(out))
        if self._is_tunnel and self._early and self._back is not None:
            early, self._early = self._early, []
            self._back.write(b"".join(early))

    def answer_end(self) -> None:
        if self._is_over:
            return
        if self._framing.is_chunked:
            self._out.append(LAST_CHUNK)
        self.answer_flush()
        self._close("status" if self._status >= 500 else "")
        # an answer that ended before its request: what is still to come of it has no receiver
        keep = self._framing.is_kept and self._incoming.is_complete and not self._is_tunnel
        self._front.finish(self._incoming, keep=keep)

    def answer_failed(self, failure: Failure) -> None:
        if self._is_over:
            return
        if self._may_retry(failure):
            self._is_retried = True
            self._back = None
            self._connect()
            return
        self.answer_flush()
        self._refuse(failure)

    def _may_retry(self, failure: Failure) -> bool:
        """Whether the request may be sent once more: it met a kept connection that had just ended."""
        incoming, back = self._incoming, self._back
        return (
            failure == "reset"
            and back is not None
            and back.reuses > 1
            and not self._is_retried
            and incoming.method in _IDEMPOTENT
            and not incoming.upgrade
            and incoming.is_complete
            and not incoming.received_bytes
            and not incoming.is_chunked
        )

    def _refuse(self, failure: Failure) -> None:
        was_answering = self._incoming.is_answering
        self._close(failure)
        if was_answering:
            self._break_off()
            return
        status, message = _REFUSALS[failure]
        self._front.write(
            build_refusal(status, f"{message} ({self._arm})", request_id=self._request_id, reason=failure)
        )
        self._incoming.is_answering = True
        self._front.finish(self._incoming, keep=False)

    def _break_off(self) -> None:
        """End a started answer so that the caller sees that the rest of it is missing."""
        if self._framing.is_told and not self._is_caller_full:
            self._front.close()
        else:
            self._front.reset()

    # -- the caller ------------------------------------------------------------------------------

    def caller_full(self, *, is_full: bool) -> None:
        self._is_caller_full = is_full
        self._last_byte_at = time.monotonic()
        if self._back is not None:
            if is_full:
                self._back.pause()
            else:
                self._back.resume()

    def caller_lost(self) -> None:
        if self._is_tunnel and self._back is not None:
            self._back.let_go()
        else:
            self._give_back()
        self._close("cancelled")

    # -- tunnels ---------------------------------------------------------------------------------

    def caller_tunnel(self, data: bytes) -> None:
        self._last_byte_at = time.monotonic()
        if self._is_tunnel and self._back is not None:
            self._back.write(data)
        else:
            # kept back: to a backend that declines they would be requests
            self._early.append(data)
            self._pending_bytes += len(data)
            if self._pending_bytes > _PENDING_BYTES:
                self._front.abort()  # it talks on in a protocol that nobody has agreed to

    def answer_tunnel(self, data: bytes) -> None:
        self._answer_length += len(data)
        self._front.write(data)

    # -- time and the end ------------------------------------------------------------------------

    def judge_age(self, now: float) -> None:
        """Give up on a backend that says nothing, and on a caller that takes nothing."""
        limits, back = self._document.limits, self._back
        if self._is_over or back is None:
            return
        quiet_since = max(self._last_byte_at, back.last_byte_at)
        if not self._incoming.is_answering:
            if now - quiet_since > limits.first_byte_timeout_seconds:
                self._give_back()
                self._refuse("timeout")
        elif now - quiet_since > limits.idle_timeout_seconds:
            self._give_back()
            self._close("cancelled" if self._is_caller_full or self._is_tunnel else "timeout")
            self._break_off()

    def cut(self) -> None:
        """End it now: the time to finish is over."""
        self._give_back()
        self._close("cancelled")
        self._front.reset()

    def _give_back(self) -> None:
        if self._give_up is not None:
            self._give_up()
            self._give_up = None
        if self._back is not None:
            self._back.abandon()

    def _describe(self) -> Request:
        incoming = self._incoming
        return Request(
            method=incoming.method.decode("ascii"),
            target=incoming.target.decode("ascii"),
            headers=incoming.headers,
            request_id=self._request_id.decode(),
            segment=self._segment.name,
            caller=self._caller,
            input_tokens=incoming.received_bytes // _BYTES_PER_TOKEN,
        )

    def _close(self, failure: Failure) -> None:
        """Count what came of it, and tell the shadow."""
        if self._is_over:
            return
        self._is_over = True
        now = time.monotonic()
        timing = (
            self._meter.close(now) if self._meter is not None else Timing(max(0.0, now - self._started_at))
        )
        duplicate = self._duplicate
        body = Body(length=self._answer_length) if duplicate is None else duplicate.close_answer()
        headers = {
            name.lower().decode("latin-1"): value.decode("latin-1") for name, value in self._answer_headers
        }
        answer = Answer(status=self._status, headers=headers, body=body, failure=failure, timing=timing)
        request = self._describe()
        if self._is_tunnel:
            self._core.recorder.record_tunnel(self._segment.name, self._arm)
        else:
            self._core.recorder.record_answer(self._segment.name, self._arm, request, answer)
        if duplicate is not None:
            duplicate.settle(answer)
        self._core.exchange_ended(self)
