"""Open-loop HTTP traffic at a planned rate, and what its users saw."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp

_REQUEST_TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Call:
    """One request of a user: where to, and a body for the n-th of them."""

    url: str
    body: Callable[[int], dict[str, Any]]


@dataclass(slots=True)
class Seen:
    """What users saw: latencies of the requests answered with 200, and the errors by kind."""

    latencies_seconds: list[float] = field(default_factory=list)
    errors: dict[str, int] = field(default_factory=dict)
    first_success_at: float | None = None  # monotonic seconds
    last_error_at: float | None = None

    @property
    def requests(self) -> int:
        return len(self.latencies_seconds) + self.failed

    @property
    def failed(self) -> int:
        return sum(self.errors.values())

    def percentile_seconds(self, percent: float) -> float | None:
        """The nearest-rank percentile of the successful requests; None when there were none."""
        if not self.latencies_seconds:
            return None
        ordered = sorted(self.latencies_seconds)
        rank = max(1, -(-len(ordered) * percent // 100))
        return ordered[int(rank) - 1]


async def send(
    call: Call, requests_per_second: float, duration_seconds: float, *, seed: int, seen: Seen | None = None
) -> Seen:
    """What was seen of Poisson arrivals at a rate. Open loop: a slow answer delays no later request."""
    seen = seen if seen is not None else Seen()
    arrivals = random.Random(seed)  # noqa: S311 - traffic, not secrets
    timeout = aiohttp.ClientTimeout(total=_REQUEST_TIMEOUT_SECONDS)
    connector = aiohttp.TCPConnector(limit=0)
    async with (
        aiohttp.ClientSession(timeout=timeout, connector=connector) as session,
        asyncio.TaskGroup() as tasks,
    ):
        start = time.monotonic()
        due, number = 0.0, 0
        while (due := due + arrivals.expovariate(requests_per_second)) < duration_seconds:
            await asyncio.sleep(max(0.0, start + due - time.monotonic()))
            tasks.create_task(_request(session, call, number, seen))
            number += 1
    return seen


async def _request(session: aiohttp.ClientSession, call: Call, number: int, seen: Seen) -> None:
    began = time.monotonic()
    try:
        async with session.post(call.url, json=call.body(number)) as answer:
            await answer.read()
            problem = None if answer.status == 200 else f"HTTP {answer.status}"
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        problem = type(error).__name__
    ended = time.monotonic()
    if problem is None:
        seen.latencies_seconds.append(ended - began)
        seen.first_success_at = seen.first_success_at or ended
    else:
        seen.errors[problem] = seen.errors.get(problem, 0) + 1
        seen.last_error_at = ended
