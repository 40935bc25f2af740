"""How one replica answers under load, read from a measured curve.

Between measured rates the percentiles are interpolated linearly on their running maximum: monotone, through
the points, and above any convex curve, as latency over load is. Below the first point its figures hold (a
bound: less load is not slower). Past the last point nothing is claimed.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from itertools import pairwise

from switchyard.core.errors import ProfileError


@dataclass(frozen=True, slots=True)
class LoadPoint:
    """What a benchmark saw at one rate. Seconds."""

    rate: float
    p50_seconds: float
    p95_seconds: float
    p99_seconds: float
    error_ratio: float = 0.0


@dataclass(frozen=True, slots=True)
class PointsProfile:
    """A load curve, by rising rate."""

    points: tuple[LoadPoint, ...]

    def __post_init__(self) -> None:
        """Raise ProfileError for a curve that no benchmark can give."""
        if not self.points:
            raise ProfileError("points is empty: a load curve needs at least one")
        rates = [point.rate for point in self.points]
        if any(later <= earlier for earlier, later in pairwise(rates)):
            raise ProfileError(f"points must have rising rates, not {rates}")
        for point in self.points:
            figures = (point.rate, point.p50_seconds, point.p95_seconds, point.p99_seconds)
            if any(not math.isfinite(value) or value <= 0 for value in figures):
                raise ProfileError(f"a point at {point.rate} requests/s has a figure that is not above 0")

    @property
    def last_rate(self) -> float:
        """Requests per second of the last point: nothing is claimed past it."""
        return self.points[-1].rate


def curve_percentile_seconds(profile: PointsProfile, rate: float, percentile: int) -> float:
    """Seconds within which `percentile` percent are answered; the next higher measured percentile stands in.

    Infinite past the last point, and for a percentile above 99.
    """
    if rate > profile.last_rate or percentile > 99:
        return math.inf
    return _interpolate(profile, rate, _figures(profile, percentile))


def curve_error_ratio(profile: PointsProfile, rate: float) -> float:
    """Share of requests that fail at `rate`, interpolated alike."""
    figures = [point.error_ratio for point in profile.points]
    return _interpolate(profile, min(rate, profile.last_rate), _running_maximum(figures))


def _figures(profile: PointsProfile, percentile: int) -> list[float]:
    if percentile <= 50:
        return _running_maximum([point.p50_seconds for point in profile.points])
    if percentile <= 95:
        return _running_maximum([point.p95_seconds for point in profile.points])
    return _running_maximum([point.p99_seconds for point in profile.points])


def _running_maximum(values: list[float]) -> list[float]:
    highest = values[0]
    out = []
    for value in values:
        highest = max(highest, value)
        out.append(highest)
    return out


def _interpolate(profile: PointsProfile, rate: float, figures: list[float]) -> float:
    rates = [point.rate for point in profile.points]
    right = bisect_left(rates, rate)
    if right == 0:
        return figures[0]
    share = (rate - rates[right - 1]) / (rates[right] - rates[right - 1])
    return figures[right - 1] + share * (figures[right] - figures[right - 1])
