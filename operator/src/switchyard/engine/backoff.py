"""Endless delays that grow to a ceiling, each with jitter so that many retries never fall in step."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Backoff:
    """An iterable without end: iterating twice starts anew.

    Delay n is drawn from [half, whole] of base * factor^n, never above the ceiling.

    Not `Sized` on purpose: kopf takes an iterable that has no length as "retry for ever".
    """

    base_seconds: float = 1.0
    ceiling_seconds: float = 30.0
    factor: float = 2.0

    def __iter__(self) -> Iterator[float]:
        attempt = 0
        while True:
            yield self.delay_seconds(attempt)
            attempt += 1

    def delay_seconds(self, attempt: int) -> float:
        """The delay before retry number `attempt` (from 0), never above the ceiling."""
        # the exponent is bounded so that a week of retries never overflows a float
        whole = min(self.ceiling_seconds, self.base_seconds * self.factor ** min(attempt, 64))
        return whole * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, guards nothing
