"""The frame of every controller here: a queue of keys, a few workers, retries with back-off.

A key that is queued twice is worked once; one that fails comes back later. `settle_seconds` delays a key
a little, so that a burst of changes costs one pass and one write.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

import aiohttp

from switchyard.sandbox.client import ApiError, jittered_seconds

log = logging.getLogger(__name__)

K = TypeVar("K", bound=Hashable)


class WorkQueue(Generic[K]):
    """Keys to work on. A key never runs twice at the same time."""

    def __init__(
        self,
        name: str,
        work: Callable[[K], Awaitable[float | None]],
        *,
        workers: int = 4,
        settle_seconds: float = 0.0,
    ) -> None:
        self._name = name
        self._work = work  # may return seconds after which it wants the key again
        self._worker_count = workers
        self._settle_seconds = settle_seconds
        self._ready: asyncio.Queue[K] = asyncio.Queue()
        self._queued: set[K] = set()
        self._running: set[K] = set()
        self._again: set[K] = set()
        self._failures: dict[K, int] = {}
        self._timers: dict[K, asyncio.TimerHandle] = {}

    def add(self, key: K) -> None:
        """Work on the key soon."""
        self.add_after(key, self._settle_seconds)

    def add_after(self, key: K, seconds: float) -> None:
        """Work on the key after a while; an earlier date that stands already is kept."""
        if key in self._queued:
            return
        if key in self._running and seconds <= self._settle_seconds:
            self._again.add(key)
            return
        loop = asyncio.get_running_loop()
        timer = self._timers.get(key)
        if timer is not None:
            if timer.when() <= loop.time() + seconds:
                return
            timer.cancel()
            del self._timers[key]
        if seconds <= 0:
            self._push(key)
        else:
            self._timers[key] = loop.call_later(seconds, self._fire, key)

    def _fire(self, key: K) -> None:
        self._timers.pop(key, None)
        if key in self._running:
            self._again.add(key)
        else:
            self._push(key)

    def _push(self, key: K) -> None:
        if key not in self._queued:
            self._queued.add(key)
            self._ready.put_nowait(key)

    async def run(self) -> None:
        """Work until cancelled."""
        workers = [
            asyncio.create_task(self._worker(), name=f"{self._name}-{number}")
            for number in range(self._worker_count)
        ]
        try:
            await asyncio.gather(*workers)
        finally:
            for timer in self._timers.values():
                timer.cancel()
            self._timers.clear()
            for worker in workers:
                worker.cancel()

    async def _worker(self) -> None:
        while True:
            key = await self._ready.get()
            self._queued.discard(key)
            self._running.add(key)
            delay: float | None = None
            try:
                delay = await self._work(key)
                self._failures.pop(key, None)
            except (ApiError, aiohttp.ClientError, ConnectionError, TimeoutError) as error:
                delay = self._back_off(key)
                is_routine = isinstance(error, ApiError) and (error.is_conflict or error.is_not_found)
                level = logging.DEBUG if is_routine else logging.WARNING
                log.log(level, "%s %s: %s", self._name, key, error)
            except Exception:
                delay = self._back_off(key)
                log.exception("%s %s failed", self._name, key)
            finally:
                self._running.discard(key)
            if key in self._again:
                self._again.discard(key)
                self.add(key)
            elif delay is not None:
                self.add_after(key, delay)

    def _back_off(self, key: K) -> float:
        count = self._failures.get(key, 0)
        self._failures[key] = count + 1
        return jittered_seconds(count, first=0.1, most=15.0)
