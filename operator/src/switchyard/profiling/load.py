"""Load on an endpoint: a fixed number of callers, or arrivals at a rate that no slow answer can hold back."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from switchyard.profiling.exchange import Answer, Client, Question

HIGHEST_ERROR_RATIO = 0.10  # past it more load measures nothing but errors
_LEAST_JUDGED = 10  # answers before the ratio is judged


@dataclass(slots=True)
class Phase:
    """What was seen in one phase, of `callers` in a closed loop or at `rate` requests per second."""

    name: str
    callers: int = 0
    rate: float = 0.0
    answers: list[Answer] = field(default_factory=list)
    seconds: float = 0.0
    arrivals_seconds: float = 0.0  # of an open loop: how long requests arrived
    stopped: str = ""  # why it ended early

    @property
    def good(self) -> list[Answer]:
        """The answers without a problem."""
        return [answer for answer in self.answers if not answer.problem]

    @property
    def offered_rate(self) -> float:
        """Requests per second that arrived; of a short phase not quite the rate that was meant."""
        return len(self.answers) / self.arrivals_seconds if self.arrivals_seconds > 0 else 0.0

    @property
    def error_ratio(self) -> float:
        """Share of requests with a problem."""
        return 1 - len(self.good) / len(self.answers) if self.answers else 0.0

    def is_failing(self) -> bool:
        """Whether errors are too many to go on."""
        return len(self.answers) >= _LEAST_JUDGED and self.error_ratio > HIGHEST_ERROR_RATIO


async def hold_callers(
    client: Client, ask: Callable[[], Question], phase: Phase, duration_seconds: float
) -> Phase:
    """The phase, after `callers` have asked one question after the other for the duration.

    A request in flight at the end is waited for and counted: the slow would else be missing.
    """
    clock = asyncio.get_running_loop().time
    start = clock()
    until = start + duration_seconds

    async def call() -> None:
        while clock() < until and not phase.is_failing():
            phase.answers.append(await client.ask(ask(), clock()))

    await _run([asyncio.ensure_future(call()) for _ in range(phase.callers)])
    return _close(phase, start)


async def arrive(
    client: Client, ask: Callable[[], Question], phase: Phase, duration_seconds: float, *, seed: int = 0
) -> Phase:
    """The phase, after a Poisson stream of `rate` for the duration. No answer delays a later request."""
    clock = asyncio.get_running_loop().time
    source = random.Random(seed)  # noqa: S311  (a load, repeatable on purpose)
    start = clock()
    due = start
    flying: list[asyncio.Future[None]] = []

    async def call(at: float) -> None:
        phase.answers.append(await client.ask(ask(), at))

    phase.arrivals_seconds = duration_seconds
    try:
        while (due := due + source.expovariate(phase.rate)) < start + duration_seconds:
            await asyncio.sleep(max(0.0, due - clock()))
            if phase.is_failing():
                break
            flying.append(asyncio.ensure_future(call(due)))
    finally:
        await _run(flying)
    return _close(phase, start)


async def _run(tasks: list[asyncio.Future[None]]) -> None:
    """Wait for all; a cancellation ends them all."""
    try:
        await asyncio.gather(*tasks)
    except asyncio.CancelledError:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


def _close(phase: Phase, start: float) -> Phase:
    phase.seconds = asyncio.get_running_loop().time() - start
    if phase.is_failing():
        phase.stopped = f"{phase.error_ratio:.0%} of requests failed"
    return phase
