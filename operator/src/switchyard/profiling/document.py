"""The profile and its measurement as a document: to paste under a variant, and to read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

import yaml

from switchyard.core.placement.latency import (
    ConcurrencyProfile,
    LatencyProfile,
    Percentiles,
    TokensProfile,
)
from switchyard.profiling.figures import Figures


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a measurement came to. `profile` None: `warnings` say why."""

    url: str
    profile: LatencyProfile | None
    error_ratio: float | None
    figures: tuple[Figures, ...]
    cold_seconds: float | None
    outage_seconds: float | None
    environment: Mapping[str, str]
    measured_at: date
    warnings: tuple[str, ...]


def describe_profile(outcome: Outcome) -> dict[str, Any] | None:
    """The value of `variants[].profile`."""
    if outcome.profile is None:
        return None
    kind, body = _describe_kind(outcome.profile)
    document: dict[str, Any] = {
        kind: body,
        "source": "benchmark",
        "measuredAt": outcome.measured_at.isoformat(),
    }
    if outcome.environment:
        document["environment"] = dict(outcome.environment)
    return document


def describe_measurement(outcome: Outcome) -> dict[str, Any]:
    """What was seen, phase by phase; times in seconds."""
    return {
        "url": outcome.url,
        "coldStartSeconds": _round(outcome.cold_seconds),
        "recoverySeconds": _round(outcome.outage_seconds),
        "fitErrorRatio": _round(outcome.error_ratio),
        "phases": [_describe_figures(each) for each in outcome.figures],
        "warnings": list(outcome.warnings),
    }


def write_yaml(outcome: Outcome) -> str:
    """The profile to paste, with the measurement above it as comments."""
    lines = [f"Measured from {outcome.url} on {outcome.measured_at.isoformat()}."]
    if outcome.cold_seconds is not None:
        lines.append(f"First request: {outcome.cold_seconds:.3g} s.")
    if outcome.outage_seconds is not None:
        lines.append(f"Recovery: {outcome.outage_seconds:.3g} s without answers.")
    if outcome.error_ratio is not None:
        lines.append(f"The model is off by {outcome.error_ratio:.0%} on p95 of the phases at a rate.")
    lines += [_write_figures(each) for each in outcome.figures]
    lines += [f"Warning: {warning}." for warning in outcome.warnings]
    head = "".join(f"# {' '.join(line.split())}\n" for line in lines)
    profile = describe_profile(outcome)
    if profile is None:
        return head
    return head + yaml.safe_dump({"profile": profile}, sort_keys=False, allow_unicode=True, width=110)


def write_duration(seconds: float) -> str:
    """A duration in four significant digits, in the unit that shows them best: `8.123ms`, `60us`, `0s`."""
    if seconds <= 0:
        return "0s"
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6), ("ns", 1e-9)):
        if seconds >= size or unit == "ns":
            return f"{Decimal(f'{seconds / size:.4g}').quantize(Decimal('1e-9')).normalize():f}{unit}"
    raise AssertionError


def _describe_kind(profile: LatencyProfile) -> tuple[str, Any]:
    if isinstance(profile, TokensProfile):
        tokens: dict[str, Any] = {
            "iteration": write_duration(profile.iteration_seconds),
            "perSequence": write_duration(profile.per_sequence_seconds),
            "perPrefillToken": write_duration(profile.per_prefill_token_seconds),
            "perCachedToken": write_duration(profile.per_cached_token_seconds),
            "maxBatch": profile.max_batch,
            "maxBatchedTokens": profile.max_batched_tokens,
        }
        if profile.cache_tokens is not None:
            tokens["cacheTokens"] = profile.cache_tokens
        return "tokens", tokens
    if isinstance(profile, ConcurrencyProfile):
        return "concurrency", {
            "slots": profile.slots,
            "base": write_duration(profile.base_seconds),
            "slope": write_duration(profile.slope_seconds),
            "cv2": f"{profile.cv2:.4f}",
        }
    return "points", [
        {
            "rate": f"{Decimal(f'{point.rate:.4g}'):f}",
            "p50": write_duration(point.p50_seconds),
            "p95": write_duration(point.p95_seconds),
            "p99": write_duration(point.p99_seconds),
            "errorRatio": f"{point.error_ratio:.4f}",
        }
        for point in profile.points
    ]


def _describe_figures(figures: Figures) -> dict[str, Any]:
    document: dict[str, Any] = {"name": figures.name}
    if figures.callers:
        document["callers"] = figures.callers
    document |= {
        "requestsPerSecond": _round(figures.rate),
        "requests": figures.requests,
        "errorRatio": _round(figures.error_ratio),
    }
    for name, seen in (("latency", figures.latency), ("ttft", figures.ttft), ("tpot", figures.tpot)):
        if seen:
            document[name] = _describe_percentiles(seen)
    return document


def _describe_percentiles(seen: Percentiles) -> dict[str, float | None]:
    return {
        "p50": _round(seen.p50_seconds),
        "p95": _round(seen.p95_seconds),
        "p99": _round(seen.p99_seconds),
    }


def _write_figures(figures: Figures) -> str:
    at = f"{figures.callers} callers, " if figures.callers else ""
    text = f"{figures.name}: {at}{figures.rate:.4g} requests/s answered, {figures.error_ratio:.1%} failed"
    for name, seen in (("latency", figures.latency), ("ttft", figures.ttft), ("tpot", figures.tpot)):
        if seen:
            text += f", {name} p95 {write_duration(seen.p95_seconds)}"
    return text


def _round(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")
