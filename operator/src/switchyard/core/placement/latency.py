"""What one replica can carry within its latency objectives, and what it answers at a given load.

One interface over the kinds of profile. Rates are requests per second and replica; times are seconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Literal

from switchyard.core.errors import ProfileError
from switchyard.core.placement.load_curve import (
    PointsProfile,
    curve_error_ratio,
    curve_percentile_seconds,
)
from switchyard.core.placement.queueing import (
    ConcurrencyProfile,
    exceed_probability,
    occupy,
    response_percentile_seconds,
)
from switchyard.core.placement.tokens import (
    TokensProfile,
    Traffic,
    is_checked,
    saturation_rate,
    settle_traffic,
)

__all__ = [
    "Capacity",
    "ConcurrencyProfile",
    "LatencyProfile",
    "Metric",
    "Objective",
    "Percentiles",
    "PointsProfile",
    "Prediction",
    "TokensProfile",
    "Traffic",
    "describe_gap",
    "format_rate",
    "format_seconds",
    "max_rate",
    "measure_load",
    "percentile_seconds",
    "predict",
]

LatencyProfile = TokensProfile | ConcurrencyProfile | PointsProfile
Metric = Literal["latency", "ttft", "tpot"]  # whole answer, time to first token, time per further token

# Share of the computed rate that is promised: what is left covers the error of the model and of its input.
MODEL_HEADROOM_RATIO = {
    "benchmark": 0.90,
    "measured": 0.90,
    "learned": 0.80,
    "vendor": 0.70,
    "estimate": 0.70,
}
HIGHEST_LOAD_RATIO = 0.95  # of saturation: past it the wait grows without bound for any error in the profile
_TOLERANCE_RATIO = 1e-3
_SIGNIFICANT_DIGITS = 6  # rates are cut to these, so that the last bit of `exp` changes no replica count


@dataclass(frozen=True, slots=True, order=True)
class Objective:
    """`percentile` percent within `target_seconds`, seen by the caller.

    `latency` is of whole answers, `ttft` of the first token, `tpot` of the gap between two tokens.
    """

    percentile: int
    target_seconds: float
    metric: Metric = "latency"

    def __str__(self) -> str:
        """As `p95 ≤ 300ms`, or `ttft p95 ≤ 300ms`."""
        name = "" if self.metric == "latency" else f"{self.metric} "
        return f"{name}p{self.percentile} ≤ {format_seconds(self.target_seconds)}"


@dataclass(frozen=True, slots=True)
class Capacity:
    """Rate of one replica. `rate` 0: `binding` is out of reach, the best figure for it is `best_seconds`."""

    rate: float
    binding: Objective | None  # None: saturation (or the end of the curve) binds, not an objective
    best_seconds: float = 0.0  # of `binding`, for a request that meets an idle replica


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Seconds within which 50, 95 and 99 percent lie."""

    p50_seconds: float
    p95_seconds: float
    p99_seconds: float


@dataclass(frozen=True, slots=True)
class Prediction:
    """Seconds seen by the caller, the share of saturation in use, and the share of requests that fail.

    The p50, p95, p99 are of whole answers. `ttft` and `tpot` are None where the profile does not tell them.
    """

    p50_seconds: float
    p95_seconds: float
    p99_seconds: float
    utilisation_ratio: float
    error_ratio: float = 0.0
    ttft: Percentiles | None = None
    tpot: Percentiles | None = None


@lru_cache(maxsize=65536)
def max_rate(
    profile: LatencyProfile,
    objectives: tuple[Objective, ...] = (),
    network_latency_seconds: float = 0.0,
    source: str = "benchmark",
    traffic: Traffic | None = None,
) -> Capacity:
    """The rate that one replica is promised to carry, and what limits it. Ties: the first objective.

    Raises ProfileError where `describe_gap` has something to say.
    """
    _refuse_gap(profile, objectives, traffic)
    highest = _highest_rate(profile, traffic)
    binding: Objective | None = None
    for objective in objectives:
        network_seconds = _network_share(objective.metric, network_latency_seconds)
        reached = _reach(profile, objective, objective.target_seconds - network_seconds, highest, traffic)
        if reached <= 0:
            best = _percentile_seconds(profile, 0.0, objective.percentile, objective.metric, traffic)
            return Capacity(0.0, objective, best + network_seconds)
        if reached < highest:
            highest, binding = reached, objective
    return Capacity(_cut(highest * _headroom_ratio(profile, source, traffic)), binding)


def _headroom_ratio(profile: LatencyProfile, source: str, traffic: Traffic | None) -> float:
    """By source; where the model itself was not held to a simulation, no more than for an estimate."""
    ratio = MODEL_HEADROOM_RATIO.get(source, 0.70)
    if isinstance(profile, TokensProfile) and traffic is not None and not is_checked(profile, traffic):
        return min(ratio, MODEL_HEADROOM_RATIO["estimate"])
    return ratio


@lru_cache(maxsize=65536)
def predict(
    profile: LatencyProfile,
    rate: float,
    network_latency_seconds: float = 0.0,
    traffic: Traffic | None = None,
) -> Prediction:
    """What callers see at `rate` requests per second and replica. Infinite where nothing can be claimed.

    Raises ProfileError where `describe_gap` has something to say.
    """
    _refuse_gap(profile, (), traffic)

    def read(metric: Metric) -> Percentiles | None:
        if not _tells(profile, metric):
            return None
        network_seconds = _network_share(metric, network_latency_seconds)
        figures = (_percentile_seconds(profile, rate, q, metric, traffic) for q in (50, 95, 99))
        return Percentiles(*(figure + network_seconds for figure in figures))

    p50, p95, p99 = (
        _percentile_seconds(profile, rate, q, "latency", traffic) + network_latency_seconds
        for q in (50, 95, 99)
    )
    utilisation, errors = measure_load(profile, rate, traffic)
    return Prediction(p50, p95, p99, utilisation, errors, read("ttft"), read("tpot"))


@lru_cache(maxsize=65536)
def measure_load(profile: LatencyProfile, rate: float, traffic: Traffic | None = None) -> tuple[float, float]:
    """The share of capacity in use, and the share of requests that fail, at `rate` per replica."""
    if isinstance(profile, PointsProfile):
        return rate / profile.last_rate, curve_error_ratio(profile, rate)
    if isinstance(profile, TokensProfile):
        _, limit = _settle(profile, traffic)
        return min(1.0, rate / limit) if limit > 0 else 1.0, 0.0
    if rate >= profile.saturation_rate:
        return 1.0, 0.0
    busy = occupy(profile, rate).busy_mean if rate > 0 else 0.0
    return busy / profile.slots, 0.0


def percentile_seconds(
    profile: LatencyProfile,
    rate: float,
    percentile: int,
    network_latency_seconds: float = 0.0,
    *,
    traffic: Traffic | None = None,
    metric: Metric = "latency",
) -> float:
    """Seconds within which `percentile` percent lie at `rate`, seen by the caller. Infinite when unknown."""
    if not _tells(profile, metric):
        return math.inf
    seconds = _percentile_seconds(profile, rate, percentile, metric, traffic)
    return seconds + _network_share(metric, network_latency_seconds)


def describe_gap(
    profile: LatencyProfile, objectives: tuple[Objective, ...] = (), traffic: Traffic | None = None
) -> str:
    """Why the profile can't be judged by these objectives, as a sentence; empty when it can."""
    if isinstance(profile, TokensProfile) and traffic is None:
        return "a tokens profile needs the size of requests: give demand.inputTokens and demand.outputTokens"
    missing = sorted({each.metric for each in objectives if not _tells(profile, each.metric)})
    if missing:
        named = " and ".join(missing)
        way_out = "in every point" if isinstance(profile, PointsProfile) else "by a tokens profile"
        return f"the profile does not tell {named}, which an objective asks for: give it {way_out}"
    return ""


def format_rate(rate: float) -> str:
    """Requests per second in four significant digits, never in exponent form (`40.59`, `300000`)."""
    return f"{Decimal(f'{rate:.4g}'):f}"


def format_seconds(seconds: float) -> str:
    """A duration as people write it: `250us`, `182ms`, `1.25s`; `unbounded` when infinite."""
    if math.isinf(seconds):
        return "unbounded"
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f}us"
    if seconds < 1:
        milliseconds = seconds * 1e3
        return f"{milliseconds:.3g}ms" if milliseconds < 100 else f"{milliseconds:.0f}ms"
    return f"{seconds:.3g}s" if seconds < 100 else f"{seconds:.0f}s"


def _refuse_gap(profile: LatencyProfile, objectives: tuple[Objective, ...], traffic: Traffic | None) -> None:
    if gap := describe_gap(profile, objectives, traffic):
        raise ProfileError(gap)


def _required(traffic: Traffic | None) -> Traffic:
    if traffic is None:
        raise ProfileError("a tokens profile needs the size of requests")
    return traffic


def _settle(profile: TokensProfile, traffic: Traffic | None) -> tuple[Traffic, float]:
    """The traffic as the model knows it, and the saturation rate under it."""
    settled = settle_traffic(_required(traffic))
    return settled, saturation_rate(profile, settled)


def _tells(profile: LatencyProfile, metric: Metric) -> bool:
    if isinstance(profile, PointsProfile):
        return profile.tells(metric)
    return metric == "latency" or isinstance(profile, TokensProfile)


def _network_share(metric: Metric, network_latency_seconds: float) -> float:
    """What the way to the pool adds: nothing to the gap between two tokens, which travel alike."""
    return 0.0 if metric == "tpot" else network_latency_seconds


def _highest_rate(profile: LatencyProfile, traffic: Traffic | None) -> float:
    if isinstance(profile, PointsProfile):
        return profile.last_rate  # the curve's end, not its saturation: nobody knows where that is
    if isinstance(profile, TokensProfile):
        return _settle(profile, traffic)[1] * HIGHEST_LOAD_RATIO
    return profile.saturation_rate * HIGHEST_LOAD_RATIO


def _reach(
    profile: LatencyProfile, objective: Objective, seconds: float, highest: float, traffic: Traffic | None
) -> float:
    """The highest rate up to `highest` that keeps the objective within `seconds`; 0 when no rate does."""
    percentile, metric = objective.percentile, objective.metric
    if isinstance(profile, TokensProfile):
        from switchyard.core.placement.token_percentiles import find_token_load  # noqa: PLC0415  # numpy

        settled, limit = _settle(profile, traffic)
        if limit <= 0 or highest <= 0:
            return 0.0
        promise = (percentile, metric, seconds)
        load = find_token_load(profile, settled, promise, highest=highest / limit)
        return min(highest, load * limit)
    meets = _check(profile, objective, seconds)
    if not meets(0.0):
        return 0.0
    return highest if meets(highest) else _bisect(meets, highest)


def _check(
    profile: ConcurrencyProfile | PointsProfile, objective: Objective, seconds: float
) -> Callable[[float], bool]:
    """A test whether a rate keeps the objective."""
    percentile, metric = objective.percentile, objective.metric
    if isinstance(profile, ConcurrencyProfile):
        return lambda rate: exceed_probability(profile, rate, seconds) <= 1 - percentile / 100
    return lambda rate: curve_percentile_seconds(profile, rate, percentile, metric) <= seconds


def _percentile_seconds(
    profile: LatencyProfile, rate: float, percentile: int, metric: Metric, traffic: Traffic | None
) -> float:
    if isinstance(profile, PointsProfile):
        return curve_percentile_seconds(profile, rate, percentile, metric)
    if isinstance(profile, TokensProfile):
        from switchyard.core.placement.token_percentiles import (  # noqa: PLC0415  # numpy, if it is needed
            token_percentile_seconds,
        )

        settled, limit = _settle(profile, traffic)
        if limit <= 0:
            return math.inf
        return token_percentile_seconds(profile, settled, rate / limit, percentile, metric)
    if rate >= profile.saturation_rate:
        return math.inf
    return response_percentile_seconds(profile, rate, percentile)


def _bisect(meets: Callable[[float], bool], highest: float) -> float:
    low, high = 0.0, highest
    while high - low > _TOLERANCE_RATIO * high:
        middle = (low + high) / 2
        if meets(middle):
            low = middle
        else:
            high = middle
    return low


def _cut(value: float) -> float:
    """`value` rounded down to six significant digits."""
    if value <= 0:
        return 0.0
    scale = 10.0 ** (_SIGNIFICANT_DIGITS - 1 - math.floor(math.log10(value)))
    return math.floor(value * scale) / scale
