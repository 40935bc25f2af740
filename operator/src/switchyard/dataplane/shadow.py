"""Copies of requests, sent beside the users' path: bounded in number, bytes and pace, dropped when full.

Nothing here is ever waited for by a user. What comes back is measured, compared and thrown away.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from switchyard.core.routing.document import RoutingDocument, Segment
from switchyard.core.routing.matching import CopyArm, plan_copies
from switchyard.dataplane.allowance import Budget, Share
from switchyard.dataplane.compare.port import Score
from switchyard.dataplane.exchange import Answer, BodyTap, Failure, Headers, Request, Timing
from switchyard.dataplane.http.back import BackConnection
from switchyard.dataplane.http.fields import SHADOW_MARK, build_request_head
from switchyard.dataplane.http.pool import BackPool
from switchyard.dataplane.measure.stream import StreamMeter, is_event_stream

Scores = Mapping[str, Score]

_HELD_BYTES = 64 << 20  # of all copies and what is kept of their answers
_ANSWER_BYTES = 64 << 20  # an answer longer than that is cut: no model says so much
_COPY_BYTES = 4 << 10  # what a copy costs beside bodies and heads
# What reading all shadow answers may take of the loop's time: a flood must not crowd users out.
_READ_RATIO = 0.25
_READ_BURST_SECONDS = 0.02
_LONGEST_PAUSE_SECONDS = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Copy:
    """A request to be repeated. `answered`: what the user got, once it is complete; None where unseen.

    `share`: what is held for it already; None where nothing is accounted for yet.
    """

    request: Request
    body: bytes
    document: RoutingDocument
    segment: Segment
    peer: str
    answered: asyncio.Future[Answer] | None
    share: Share | None = None


class ShadowRecorder(Protocol):
    """Counts what became of copies."""

    def record_sampled(self, segment: str) -> None: ...
    def record_dropped(self, segment: str, reason: str) -> None: ...
    def record_sent(self, segment: str) -> None: ...
    def record_shadow(self, segment: str, arm: CopyArm, request: Request, answer: Answer) -> None: ...
    def record_pair(
        self,
        segment: str,
        request: Request,
        baseline: Answer,
        candidate: Answer,
        *,
        scores: Scores,
        noise: Scores | None,
    ) -> None: ...


class Judge(Protocol):
    """Compares answers, somewhere where users don't wait for it."""

    async def judge(self, document: RoutingDocument, baseline: Answer, other: Answer) -> Scores: ...


class ReadPace:
    """How much of the loop's time reading shadow answers takes, all together: a token bucket over seconds."""

    def __init__(self) -> None:
        self._left_seconds = _READ_BURST_SECONDS
        self._filled_at = time.monotonic()

    def take(self, spent_seconds: float, now: float) -> float:
        """How many seconds to read nothing, after so many were spent."""
        filled = self._left_seconds + (now - self._filled_at) * _READ_RATIO
        self._filled_at = now
        self._left_seconds = min(_READ_BURST_SECONDS, filled) - spent_seconds
        return min(_LONGEST_PAUSE_SECONDS, max(0.0, -self._left_seconds / _READ_RATIO))


class _Reply:
    """Reads one answer and keeps what is needed of it."""

    def __init__(self, started_at: float, limit_bytes: int, share: Share, pace: ReadPace) -> None:
        self._loop = asyncio.get_running_loop()
        self._pace = pace
        self._started_at = started_at
        self._share = share
        self._tap = BodyTap(limit_bytes, share)
        self._meter: StreamMeter | None = None
        self._status = 0
        self._headers: dict[str, str] = {}
        self._timer: asyncio.TimerHandle | None = None
        self.back: BackConnection | None = None
        self.done: asyncio.Future[Answer] = self._loop.create_future()

    def answer_interim(self, status: int, reason: bytes, headers: Headers) -> None: ...

    def answer_head(self, status: int, _reason: bytes, headers: Headers, *, has_length: bool) -> None:  # noqa: ARG002  (the port's)
        self._status = status
        if not self._share.take(sum(len(name) + len(value) for name, value in headers)):
            headers = ()
        self._headers = {name.lower().decode("latin-1"): value.decode("latin-1") for name, value in headers}
        is_stream = is_event_stream(
            self._headers.get("content-type", ""), self._headers.get("content-encoding", "")
        )
        self._meter = StreamMeter(self._started_at, is_stream)

    def answer_body(self, data: bytes) -> None:
        self._tap.feed(data)
        if self._meter is not None:
            self._meter.feed(data, time.monotonic())
        if self._tap.length > _ANSWER_BYTES:
            self.finish("truncated")

    def _go_on(self) -> None:
        self._timer = None
        if self.back is not None and not self.done.done():
            self.back.resume()

    def answer_end(self) -> None:
        self._settle("status" if self._status >= 500 else "")

    def answer_failed(self, failure: Failure) -> None:
        self._settle(failure)

    def answer_flush(self) -> None:
        """Rest for a while when all shadow answers together have taken too much of the loop's time."""
        if self.back is None or self._timer is not None or self.done.done():
            return
        now = time.monotonic()
        pause_seconds = self._pace.take(now - self.back.last_byte_at, now)
        if pause_seconds:
            self.back.pause()
            self._timer = self._loop.call_later(pause_seconds, self._go_on)

    def answer_tunnel(self, data: bytes) -> None:  # noqa: ARG002  (the port's)
        self.finish("malformed")

    def back_full(self, *, is_full: bool) -> None: ...

    def finish(self, failure: Failure) -> None:
        """Give up on the answer and leave the connection."""
        if self.back is not None:
            self.back.abandon()
        self._settle(failure)

    def _settle(self, failure: Failure) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            if self.back is not None:
                self.back.resume()
        if self.done.done():
            return
        now = time.monotonic()
        timing = (
            self._meter.close(now) if self._meter is not None else Timing(max(0.0, now - self._started_at))
        )
        self.done.set_result(Answer(self._status, self._headers, self._tap.close(), failure, timing))


async def send_copy(
    pool: BackPool,
    request: Request,
    body: bytes,
    *,
    mark: str,
    peer: str,
    timeout_seconds: float,
    kept_bytes: int,
    share: Share,
    pace: ReadPace,
) -> Answer:
    """What a backend answers to a copy of a request; a failure is an answer too."""
    loop = asyncio.get_running_loop()
    connected: asyncio.Future[BackConnection | None] = loop.create_future()
    started_at = time.monotonic()

    def acquired(back: BackConnection | None) -> None:
        if not connected.done():
            connected.set_result(back)
        elif back is not None:
            back.close()

    give_up = pool.acquire(acquired)
    try:
        async with asyncio.timeout(timeout_seconds):
            back = await connected
    except (TimeoutError, asyncio.CancelledError) as error:
        if give_up is not None:
            give_up()
        if connected.done() and not connected.cancelled() and (unused := connected.result()) is not None:
            unused.close()  # it came in the moment of giving up
        if isinstance(error, asyncio.CancelledError):
            raise
        back = None
    if back is None:
        return Answer(failure="connect", timing=Timing(time.monotonic() - started_at))
    reply = _Reply(started_at, kept_bytes, share, pace)
    reply.back = back
    headers = tuple(field for field in request.headers if field[0].lower() != b"content-length")
    has_length = bool(body) or len(headers) < len(request.headers)
    length: Headers = ((b"Content-Length", b"%d" % len(body)),) if has_length else ()
    head = build_request_head(
        request.method.encode(),
        request.target.encode(),
        headers,
        peer=peer,
        request_id=request.request_id.encode(),
        extra=(*length, (SHADOW_MARK, mark.encode())),
    )
    back.begin(reply, head, is_head_request=request.method == "HEAD")
    if body:
        back.write(body)
    back.end_request()
    try:
        async with asyncio.timeout(max(0.001, timeout_seconds - (time.monotonic() - started_at))):
            return await asyncio.shield(reply.done)
    except TimeoutError:
        reply.finish("timeout")
        return reply.done.result()
    except asyncio.CancelledError:
        reply.finish("cancelled")
        raise


class Pools(Protocol):
    """Connections for copies, apart from the users'."""

    def shadow_pool(self, document: RoutingDocument, arm: Literal["baseline", "candidate"]) -> BackPool: ...


class ShadowPool:
    """Sends copies to the candidate, and for a sample to the baseline once more, and compares."""

    def __init__(self, pools: Pools, recorder: ShadowRecorder, judge: Judge) -> None:
        self._pools = pools
        self._recorder = recorder
        self._judge = judge
        self._waiting: deque[tuple[Copy, Share]] = deque()
        self._running: set[asyncio.Task[None]] = set()
        self._budget = Budget(_HELD_BYTES)
        self._is_stopped = False
        self.pace = ReadPace()

    @property
    def in_flight(self) -> int:
        """Copies that are being sent or compared."""
        return len(self._running)

    @property
    def queued(self) -> int:
        """Copies that wait for their turn."""
        return len(self._waiting)

    def refuse(self, segment: str, reason: str) -> None:
        """Count a copy that can't be made."""
        self._recorder.record_sampled(segment)
        self._recorder.record_dropped(segment, reason)

    @property
    def held_bytes(self) -> int:
        """Of requests and answers, for copies that are made, sent or compared."""
        return self._budget.held_bytes

    def open_share(self) -> Share:
        """Room for what is kept of one request, to be given with its copy or to be released."""
        return self._budget.open_share()

    def offer(self, copy: Copy) -> bool:
        """Take a copy, or drop and count it when there is no room, which is False."""
        name = copy.segment.name
        self._recorder.record_sampled(name)
        share = copy.share
        if share is None:
            share = self.open_share()
            has_room = share.take(len(copy.body))
        else:
            has_room = True
        size = _COPY_BYTES + sum(len(name) + len(value) for name, value in copy.request.headers)
        obstacle = self._find_obstacle(copy)
        if obstacle is None and not (has_room and share.take(size)):
            obstacle = "memory"
        if obstacle is not None:
            share.release()
            self._recorder.record_dropped(name, obstacle)
            return False
        if len(self._running) < copy.document.shadow.max_concurrency:
            self._run(copy, share)
        else:
            self._waiting.append((copy, share))
        return True

    def _find_obstacle(self, copy: Copy) -> str | None:
        shadow = copy.document.shadow
        if self._is_stopped:
            return "stopped"
        is_full = len(self._running) >= shadow.max_concurrency and len(self._waiting) >= shadow.queue
        return "queue" if is_full else None

    def _run(self, copy: Copy, share: Share) -> None:
        task = asyncio.get_running_loop().create_task(self._follow(copy, share))
        self._running.add(task)
        task.add_done_callback(lambda ended: self._ended(ended, copy, share))

    def _ended(self, task: asyncio.Task[None], copy: Copy, share: Share) -> None:
        self._running.discard(task)
        share.release()
        if not task.cancelled() and (error := task.exception()) is not None:
            asyncio.get_running_loop().call_exception_handler(
                {"message": "a shadow request failed in the router itself", "exception": error}
            )
        while self._waiting and len(self._running) < copy.document.shadow.max_concurrency:
            self._run(*self._waiting.popleft())

    async def _follow(self, copy: Copy, share: Share) -> None:
        document, name, request = copy.document, copy.segment.name, copy.request
        arms = plan_copies(document.shadow, request.request_id, is_answer_seen=copy.answered is not None)
        sent = await asyncio.gather(*(self._send(copy, arm, share) for arm in arms))
        answers = dict(zip(arms, sent, strict=True))
        for arm, answer in answers.items():
            self._recorder.record_shadow(name, arm, request, answer)
        candidate, noise = answers["candidate"], answers.get("noise")
        baseline = answers.get("baseline") if copy.answered is None else await copy.answered
        if baseline is None or baseline.failure == "cancelled":
            return  # unseen, or the user left: there is nothing to compare with
        scores = await self._judge.judge(document, baseline, candidate)
        # a second run that failed says nothing of how far two good answers differ
        has_second = noise is not None and not noise.failure and noise.status == baseline.status
        noise_scores = await self._judge.judge(document, baseline, noise) if has_second and noise else None
        self._recorder.record_pair(name, request, baseline, candidate, scores=scores, noise=noise_scores)

    def _send(self, copy: Copy, mark: CopyArm, share: Share) -> asyncio.Task[Answer]:
        shadow = copy.document.shadow
        self._recorder.record_sent(copy.segment.name)
        pool = self._pools.shadow_pool(copy.document, "candidate" if mark == "candidate" else "baseline")
        return asyncio.get_running_loop().create_task(
            send_copy(
                pool,
                copy.request,
                copy.body,
                mark=mark,
                peer=copy.peer,
                timeout_seconds=shadow.timeout_seconds,
                kept_bytes=shadow.max_body_bytes,
                share=share,
                pace=self.pace,
            )
        )

    async def stop(self) -> None:
        """Drop all that waits and runs."""
        self._is_stopped = True
        while self._waiting:
            copy, share = self._waiting.popleft()
            share.release()
            self._recorder.record_dropped(copy.segment.name, "stopped")
        tasks = list(self._running)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
