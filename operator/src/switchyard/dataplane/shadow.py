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
from switchyard.dataplane.compare.port import Score
from switchyard.dataplane.exchange import Answer, BodyTap, Failure, Headers, Request, Timing
from switchyard.dataplane.http.back import BackConnection, BackPool
from switchyard.dataplane.http.fields import SHADOW_MARK, build_request_head
from switchyard.dataplane.measure.stream import StreamMeter, is_event_stream

Scores = Mapping[str, Score]

_HELD_BYTES = 64 << 20  # of all copies and what is kept of their answers
_ANSWER_BYTES = 64 << 20  # an answer longer than that is cut: no model says so much
_READ_BYTES_PER_SECOND = 256 << 20  # of all shadow answers together: a flood must not crowd users out
_READ_BURST_BYTES = 4 << 20


@dataclass(frozen=True, slots=True, eq=False)
class Copy:
    """A request to be repeated. `answered`: what the user got, once it is complete; None where unseen."""

    request: Request
    body: bytes
    document: RoutingDocument
    segment: Segment
    peer: str
    answered: asyncio.Future[Answer] | None


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
    """How quickly shadow answers are read, all together: a token bucket over bytes."""

    def __init__(self) -> None:
        self._left = float(_READ_BURST_BYTES)
        self._filled_at = time.monotonic()

    def take(self, size: int) -> float:
        """How many seconds to read nothing after these bytes."""
        now = time.monotonic()
        self._left = min(
            float(_READ_BURST_BYTES), self._left + (now - self._filled_at) * _READ_BYTES_PER_SECOND
        )
        self._filled_at = now
        self._left -= size
        return max(0.0, -self._left / _READ_BYTES_PER_SECOND)


class _Reply:
    """Reads one answer and keeps what is needed of it."""

    def __init__(self, started_at: float, limit_bytes: int, pace: ReadPace) -> None:
        self._loop = asyncio.get_running_loop()
        self._pace = pace
        self._started_at = started_at
        self._tap = BodyTap(limit_bytes)
        self._meter: StreamMeter | None = None
        self._status = 0
        self._headers: dict[str, str] = {}
        self._timer: asyncio.TimerHandle | None = None
        self.back: BackConnection | None = None
        self.done: asyncio.Future[Answer] = self._loop.create_future()

    def answer_interim(self, status: int, reason: bytes, headers: Headers) -> None: ...

    def answer_head(self, status: int, _reason: bytes, headers: Headers, *, has_length: bool) -> None:  # noqa: ARG002  (the port's)
        self._status = status
        self._headers = {name.lower().decode("latin-1"): value.decode("latin-1") for name, value in headers}
        is_stream = is_event_stream(
            self._headers.get("content-type", ""), self._headers.get("content-encoding", "")
        )
        self._meter = StreamMeter(self._started_at, is_stream)

    def answer_body(self, data: bytes) -> None:
        self._tap.feed(data)
        if self._meter is not None:
            self._meter.feed(data, time.monotonic())
        wait_seconds = self._pace.take(len(data))
        if self._tap.length > _ANSWER_BYTES:
            self.finish("truncated")
        elif wait_seconds and self._timer is None and self.back is not None:
            self.back.pause()
            self._timer = self._loop.call_later(wait_seconds, self._go_on)

    def _go_on(self) -> None:
        self._timer = None
        if self.back is not None and not self.done.done():
            self.back.resume()

    def answer_end(self) -> None:
        self._settle("status" if self._status >= 500 else "")

    def answer_failed(self, failure: Failure) -> None:
        self._settle(failure)

    def answer_flush(self) -> None: ...

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
        if isinstance(error, asyncio.CancelledError):
            raise
        back = None
    if back is None:
        return Answer(failure="connect", timing=Timing(time.monotonic() - started_at))
    reply = _Reply(started_at, kept_bytes, pace)
    reply.back = back
    length: Headers = ((b"Content-Length", b"%d" % len(body)),) if body else ()
    headers = tuple(field for field in request.headers if field[0].lower() != b"content-length")
    head = build_request_head(
        request.method.encode(),
        request.target.encode(),
        headers,
        peer=peer,
        request_id=request.request_id.encode(),
        extra=(*length, (SHADOW_MARK, mark.encode())),
    )
    back.begin(reply, head + body, is_head_request=request.method == "HEAD")
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
        self._waiting: deque[Copy] = deque()
        self._running: set[asyncio.Task[None]] = set()
        self._held_bytes = 0
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

    def reserve(self, size_bytes: int) -> bool:
        """Whether so much may be held for a copy that is not complete yet."""
        if self._held_bytes + size_bytes > _HELD_BYTES:
            return False
        self._held_bytes += size_bytes
        return True

    def release(self, size_bytes: int) -> None:
        """Give back what was reserved."""
        self._held_bytes -= size_bytes

    def offer(self, copy: Copy) -> bool:
        """Take a copy, or drop and count it when there is no room, which is False."""
        name = copy.segment.name
        self._recorder.record_sampled(name)
        if (obstacle := self._find_obstacle(copy)) is not None:
            self._recorder.record_dropped(name, obstacle)
            return False
        self._held_bytes += _weigh(copy)
        if len(self._running) < copy.document.shadow.max_concurrency:
            self._run(copy)
        else:
            self._waiting.append(copy)
        return True

    def _find_obstacle(self, copy: Copy) -> str | None:
        shadow = copy.document.shadow
        if self._is_stopped:
            return "stopped"
        if self._held_bytes + _weigh(copy) > _HELD_BYTES:
            return "memory"
        is_full = len(self._running) >= shadow.max_concurrency and len(self._waiting) >= shadow.queue
        return "queue" if is_full else None

    def _run(self, copy: Copy) -> None:
        task = asyncio.get_running_loop().create_task(self._follow(copy))
        self._running.add(task)
        task.add_done_callback(lambda ended: self._ended(ended, copy))

    def _ended(self, task: asyncio.Task[None], copy: Copy) -> None:
        self._running.discard(task)
        self._held_bytes -= _weigh(copy)
        if not task.cancelled() and (error := task.exception()) is not None:
            asyncio.get_running_loop().call_exception_handler(
                {"message": "a shadow request failed in the router itself", "exception": error}
            )
        while self._waiting and len(self._running) < copy.document.shadow.max_concurrency:
            self._run(self._waiting.popleft())

    async def _follow(self, copy: Copy) -> None:
        document, name, request = copy.document, copy.segment.name, copy.request
        arms = plan_copies(document.shadow, request.request_id, is_answer_seen=copy.answered is not None)
        sent = await asyncio.gather(*(self._send(copy, arm) for arm in arms))
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

    def _send(self, copy: Copy, mark: CopyArm) -> asyncio.Task[Answer]:
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
                pace=self.pace,
            )
        )

    async def stop(self) -> None:
        """Drop all that waits and runs."""
        self._is_stopped = True
        while self._waiting:
            self._recorder.record_dropped(self._waiting.popleft().segment.name, "stopped")
        tasks = list(self._running)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _weigh(copy: Copy) -> int:
    """What a copy may come to hold, in bytes: its body, and as much as is kept of two or three answers."""
    return len(copy.body) + 4096
