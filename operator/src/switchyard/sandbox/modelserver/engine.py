"""The queue of one simulated replica: `slots` places, first in first out, lognormal service times."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from switchyard.sandbox.modelserver.faults import Faults
from switchyard.sandbox.modelserver.profile import ServiceProfile


class QueueFullError(Exception):
    """More requests wait than the server accepts."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What chance and load decided for one request."""

    service_seconds: float
    is_error: bool
    is_wrong: bool
    number: int


class Engine:
    """Admits requests to the slots in order of arrival and draws what happens to each."""

    def __init__(
        self, profile: ServiceProfile, faults: Faults, *, seed: int = 0, max_queue: int = 1000
    ) -> None:
        self.profile = profile
        self.faults = faults
        self.node_factor = 1.0  # set from outside: the node under this server is slow
        self.leaked_bytes = 0
        self.on_leak: Callable[[int], None] | None = None
        self._source = random.Random(seed)  # noqa: S311  (simulation, repeatable on purpose)
        self._metrics_source = random.Random(seed)  # noqa: S311  (likewise)
        self._max_queue = max_queue
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._running = 0
        self._count = 0
        self.idle = asyncio.Event()  # set while nothing is in service
        self.idle.set()

    @property
    def running(self) -> int:
        """Requests in service."""
        return self._running

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return len(self._waiting)

    def hides_metrics(self) -> bool:
        """Whether the next look at the metrics fails; drawn apart, so that requests stay repeatable."""
        ratio = self.faults.metrics_error_ratio
        return bool(ratio) and self._metrics_source.random() < ratio

    @asynccontextmanager
    async def enter(self, tier: str = "") -> AsyncIterator[Turn]:
        """Hold a slot; the turn says how long to serve. QueueFullError when too many wait already.

        `tier`: of the request, for faults that only one tier has.
        """
        await self._take()
        try:
            yield self._draw(tier)
        finally:
            self._give_back()

    async def _take(self) -> None:
        if self._running < self.profile.slots and not self._waiting:
            self._running += 1
            self.idle.clear()
            return
        if len(self._waiting) >= self._max_queue:
            raise QueueFullError
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._give_back()  # the slot was handed over just as the client went away
            else:
                self._waiting.remove(turn)
            raise

    def _give_back(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)  # the slot passes on: _running stays
                return
        self._running -= 1
        if not self._running:
            self.idle.set()

    def _draw(self, tier: str) -> Turn:
        faults = self.faults
        if faults.tier not in {"", tier}:
            faults = Faults(leak_bytes_per_request=faults.leak_bytes_per_request)
        seconds = self.profile.sample_seconds(self._running, self._source)
        seconds *= faults.latency_factor * self.node_factor
        if faults.slow_ratio and self._source.random() < faults.slow_ratio:
            seconds *= faults.slow_factor
        is_error = bool(faults.error_ratio) and self._source.random() < faults.error_ratio
        is_wrong = bool(faults.wrong_ratio) and self._source.random() < faults.wrong_ratio
        if faults.leak_bytes_per_request:
            self.leaked_bytes += faults.leak_bytes_per_request
            if self.on_leak is not None:
                self.on_leak(faults.leak_bytes_per_request)
        self._count += 1
        return Turn(seconds, is_error, is_wrong, self._count)
