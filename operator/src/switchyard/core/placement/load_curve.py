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
    ttft_seconds: tuple[float, float, float] | None = None  # p50, p95, p99; None: not measured
    tpot_seconds: tuple[float, float, float] | None = None

    def read(self, metric: str) -> tuple[float, float, float] | None:
        """The p50, p95 and p99 of `latency`, `ttft` or `tpot`."""
        if metric == "latency":
            return (self.p50_seconds, self.p95_seconds, self.p99_seconds)
        return self.ttft_seconds if metric == "ttft" else self.tpot_seconds


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
            figures = [point.rate]
            for metric in ("latency", "ttft", "tpot"):
                figures += point.read(metric) or ()
            if any(not math.isfinite(value) or value <= 0 for value in figures):
                raise ProfileError(f"a point at {point.rate} requests/s has a figure that is not above 0")

    @property
    def last_rate(self) -> float:
        """Requests per second of the last point: nothing is claimed past it."""
        return self.points[-1].rate

    def tells(self, metric: str) -> bool:
        """True where every point has the metric."""
        return all(point.read(metric) is not None for point in self.points)


def curve_percentile_seconds(
    profile: PointsProfile, rate: float, percentile: int, metric: str = "latency"
) -> float:
    """Seconds within which `percentile` percent are answered; the next higher measured percentile stands in.

    Infinite past the last point, for a percentile above 99, and for a metric that not every point has.
    """
    if rate > profile.last_rate or percentile > 99 or not profile.tells(metric):
        return math.inf
    return _interpolate(profile, rate, _figures(profile, percentile, metric))


def curve_error_ratio(profile: PointsProfile, rate: float) -> float:
    """Share of requests that fail at `rate`, interpolated alike."""
    figures = [point.error_ratio for point in profile.points]
    return _interpolate(profile, min(rate, profile.last_rate), _running_maximum(figures))


def _figures(profile: PointsProfile, percentile: int, metric: str) -> list[float]:
    place = 0 if percentile <= 50 else 1 if percentile <= 95 else 2
    return _running_maximum([figures[place] for point in profile.points if (figures := point.read(metric))])


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
