"""How an error probability is shared among everything that could go wrong with it."""

from __future__ import annotations

import math


def split_rollback(total: float, *, gates: int, segments: int, stages: int) -> float:
    """The probability left to one gate in one stage of one segment: any of them can roll back in error."""
    return total / (max(gates, 1) * max(segments, 1) * max(stages, 1))


def split_promotion(total: float, *, segments: int, stages: int) -> float:
    """The probability left to every gate of one stage of one segment.

    Not divided by gates: a stage is passed when all of its gates are, so that a candidate beyond the margin
    of one gate is let through in error with at most that gate's probability.
    """
    return total / (max(segments, 1) * max(stages, 1))


def share_of_attempt(total: float, attempt: int) -> float:
    """The probability of the j-th of any number of attempts, from 1: 6 / (pi j)^2, which sum to the total."""
    return total * 6.0 / (math.pi * max(attempt, 1)) ** 2


def to_threshold(probability: float) -> float:
    """The log evidence that is reached in error with at most this probability (Ville 1939)."""
    return -math.log(probability)
