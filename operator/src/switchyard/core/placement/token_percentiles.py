"""Percentiles of what callers of a language model see at a given rate."""

from __future__ import annotations

import math
from typing import Literal

from switchyard.core.placement.tokens import (
    TokensProfile,
    Traffic,
    count_places,
    residence_seconds,
    saturation_rate,
)


def token_percentile_seconds(
    profile: TokensProfile,
    traffic: Traffic,
    rate: float,
    percentile: int,
    metric: Literal["latency", "ttft", "tpot"],
) -> float:
    """Seconds within which `percentile` percent lie; infinite from saturation on."""
    limit = saturation_rate(profile, traffic)
    if rate >= limit:
        return math.inf
    spread = 1 - math.log(1 - percentile / 100) * rate / (limit - rate) / count_places(profile, traffic)
    whole = residence_seconds(profile, traffic, max(1, round(rate / limit * count_places(profile, traffic))))
    gap = whole / traffic.output_mean
    first = gap + profile.per_prefill_token_seconds * traffic.input_mean * (1 - profile.prefix_hit_ratio)
    return {"latency": first + whole, "ttft": first, "tpot": gap}[metric] * spread
