"""Bands for a quantile of a latency histogram that hold at every moment at once.

Howard and Ramdas 2022 (Bernoulli 28, "Sequential estimation of quantiles with applications to A/B testing and
best-arm identification"): with l(t) = (1.4 log log(2.1 t) + log(10 / alpha)) / t and
f(t) = 1.5 sqrt(p (1 - p) l(t)) + 0.8 l(t), the sample quantiles at p - f(t) and p + f(t) enclose the true one
at p for all t together, with a probability of at least 1 - alpha. For values that are independent; latencies
of a queue are not, so bands inform and thresholds decide.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class QuantileBand:
    """Bounds of a quantile in the unit of the histogram; None where the sample cannot tell."""

    lower: float | None
    upper: float | None


@dataclass(frozen=True, slots=True)
class QuantileGap:
    """Bounds of the candidate's quantile less the baseline's, and each arm's band; None where untold."""

    baseline: QuantileBand
    candidate: QuantileBand
    lower: float | None
    upper: float | None


def compute_radius(probability: float, total: int, alpha: float) -> float:
    """How far on either side of `probability` the sample has to be read: f(t) above."""
    if total < 1:
        return 1.0
    level = (1.4 * math.log(max(1.0, math.log(2.1 * total))) + math.log(10.0 / alpha)) / total
    return 1.5 * math.sqrt(probability * (1.0 - probability) * level) + 0.8 * level


def bound_quantile(
    edges: Sequence[float], counts: Sequence[int], probability: float, alpha: float
) -> QuantileBand:
    """The band of a quantile, from counts per bucket (..., edge], the last of those above all edges.

    The lower bound is the lower edge of the bucket that its sample quantile lies in, the upper bound the
    upper edge: wider than the values themselves would give, never narrower.
    """
    total = sum(counts)
    radius = compute_radius(probability, total, alpha)
    ranks = list(itertools.accumulate(counts))
    lower = upper = None
    if probability - radius > 0.0:
        bucket = bisect.bisect_left(ranks, math.ceil((probability - radius) * total))
        lower = edges[bucket - 1] if bucket > 0 else 0.0
    if probability + radius < 1.0:
        bucket = bisect.bisect_left(ranks, math.floor((probability + radius) * total) + 1)
        upper = edges[bucket] if bucket < len(edges) else None
    return QuantileBand(lower, upper)


def compare_quantiles(
    edges: Sequence[float],
    baseline: Sequence[int],
    candidate: Sequence[int],
    probability: float,
    alpha: float,
) -> QuantileGap:
    """The bands of both arms, each at half of alpha, and the bounds of their difference."""
    one = bound_quantile(edges, baseline, probability, alpha / 2.0)
    other = bound_quantile(edges, candidate, probability, alpha / 2.0)
    return QuantileGap(one, other, _subtract(other.lower, one.upper), _subtract(other.upper, one.lower))


def find_smallest_total(probability: float, alpha: float) -> int:
    """The sample size from which a band has both bounds. Below it, say so and nothing else."""
    room = min(probability, 1.0 - probability)
    size = 1
    while compute_radius(probability, size, alpha) >= room:
        size *= 2
    low, high = size // 2, size
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if compute_radius(probability, middle, alpha) < room else (middle, high)
    return high


def _subtract(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one - other
