"""The status of a workload: what serves where, what it costs, what callers may expect, and why."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from switchyard.core.conditions import Finding, format_time
from switchyard.core.learning.learned import LearnedProfile
from switchyard.core.outcome import Entry, Outcome, cost_of, objective_seconds, predict_entry
from switchyard.core.placement.cost import cost_per_ten_thousand_tokens, cost_per_thousand, format_money
from switchyard.core.placement.latency import Objective, Percentiles, format_rate, format_seconds
from switchyard.core.placement.tokens import TokensProfile
from switchyard.core.stability.demand import describe_demand
from switchyard.core.workload_conditions import find_conditions

_LONGEST_MESSAGE, _LONGEST_LINE = 1024, 256
_MOST_LEARNED = 32


def describe_workload(outcome: Outcome) -> tuple[dict[str, Any], list[Finding]]:
    """Status fields other than conditions, and the findings."""
    fields: dict[str, Any] = {
        "placements": [_placement(outcome, each) for each in outcome.entries] + _guest(outcome),
        "rejected": [_rejected(each) for each in outcome.rejections],
        "demand": describe_demand(outcome.facts, outcome.demand),
        "activeTrack": outcome.serving_track if outcome.serving_ready else "",
        "addresses": list(outcome.addresses),
        "replicas": outcome.replicas,
        "readyReplicas": outcome.serving_ready,
        "summary": _columns(outcome),
        "learnedProfiles": _learned(outcome),
    }
    if outcome.entries:
        fields["costPerHour"] = format_money(outcome.cost_per_hour + outcome.guest_per_hour)
        per_thousand = per_thousand_requests(outcome)
        if per_thousand is not None:
            fields["costPerThousandRequests"] = format_money(per_thousand)
        per_tokens = _per_ten_thousand_tokens(outcome)
        if per_tokens is not None:
            fields["costPerTenThousandTokens"] = format_money(per_tokens)
    for name, value in (("scaleDown", outcome.waiting), ("recommendation", outcome.recommendation)):
        if value is not None:
            fields[name] = value.model_dump(mode="json", by_alias=True, exclude_none=True)
    return fields, find_conditions(outcome)


def per_thousand_requests(outcome: Outcome) -> Decimal | None:
    """Money per thousand answered requests at mean demand."""
    return cost_per_thousand(outcome.cost_per_hour, outcome.facts.mean_rate, _error_ratio(outcome))


def _per_ten_thousand_tokens(outcome: Outcome) -> Decimal | None:
    traffic = outcome.facts.traffic
    if traffic is None:
        return None
    tokens = traffic.input_mean + traffic.output_mean
    return cost_per_ten_thousand_tokens(
        outcome.cost_per_hour, outcome.facts.mean_rate, tokens, _error_ratio(outcome)
    )


def _error_ratio(outcome: Outcome) -> float:
    total = outcome.replicas
    if not total:
        return 0.0
    return sum(each.option.error_ratio * each.replicas for each in outcome.entries) / total


def _placement(outcome: Outcome, entry: Entry) -> dict[str, Any]:
    option, pool = entry.option, entry.pool
    shown: dict[str, Any] = {
        "variant": option.variant,
        "pool": option.pool,
        "accelerator": pool.accelerator or pool.family,
        "replicas": entry.replicas,
        "ready": entry.ready,
        "devices": entry.replicas * option.unit_devices,
        "costPerHour": format_money(cost_of(outcome, entry)),
    }
    if option.rate > 0:
        shown["ratePerReplica"] = format_rate(option.rate)
    if entry.degradation:
        shown["degradation"] = entry.degradation
    prediction = predict_entry(outcome, entry, outcome.replicas)
    if prediction is None:
        return shown
    shown["utilisationPercent"] = min(100, round(100 * prediction.utilisation_ratio))
    whole = Percentiles(prediction.p50_seconds, prediction.p95_seconds, prediction.p99_seconds)
    for name, figures in (("predicted", whole), ("ttft", prediction.ttft), ("tpot", prediction.tpot)):
        written = _write_percentiles(figures)
        if written:
            shown[name] = written
    return shown


def _guest(outcome: Outcome) -> list[dict[str, Any]]:
    """The candidate of a cutover, without a prediction: what it answers is said by the plan."""
    guest = outcome.guest
    if guest is None or not guest.replicas:
        return []
    shown: dict[str, Any] = {
        "variant": guest.option.variant,
        "pool": guest.option.pool,
        "accelerator": guest.pool.accelerator or guest.pool.family,
        "replicas": guest.replicas,
        "ready": guest.ready,
        "devices": guest.replicas * guest.option.unit_devices,
        "costPerHour": format_money(outcome.guest_per_hour),
    }
    if guest.option.rate > 0:
        shown["ratePerReplica"] = format_rate(guest.option.rate)
    return [shown]


def _write_percentiles(figures: Percentiles | None) -> dict[str, str]:
    """Durations by name; none where one of them is unbounded, for no duration says that."""
    if figures is None:
        return {}
    named = {"p50": figures.p50_seconds, "p95": figures.p95_seconds, "p99": figures.p99_seconds}
    if any(seconds == float("inf") for seconds in named.values()):
        return {}
    return {name: format_seconds(seconds) for name, seconds in named.items()}


def _rejected(rejection: Any) -> dict[str, Any]:
    shown = {
        "variant": rejection.variant,
        "pool": rejection.pool,
        "reason": rejection.reason.value,
        "message": rejection.message[:_LONGEST_MESSAGE],
    }
    if rejection.replicas is not None:
        shown["replicas"] = rejection.replicas
    if rejection.cost_per_hour is not None:
        shown["costPerHour"] = format_money(rejection.cost_per_hour)
    return shown


def _columns(outcome: Outcome) -> dict[str, str]:
    """What printer columns show: `l4-eu/trt +1` and `p95 182ms (300ms)`."""
    shown = {"placement": _name_placement(outcome.entries)}
    objective = _headline(outcome.facts.objectives)
    if objective is not None:
        seconds = objective_seconds(outcome, objective, outcome.replicas) if outcome.entries else None
        figure = format_seconds(seconds) if seconds is not None else "?"
        name = "" if objective.metric == "latency" else f"{objective.metric} "
        target = format_seconds(objective.target_seconds)
        shown["latency"] = f"{name}p{objective.percentile} {figure} ({target})"
        return shown
    found = [predict_entry(outcome, each, outcome.replicas) for each in outcome.entries]
    known = [each.p95_seconds for each in found if each is not None]
    if known and len(known) == len(found):
        shown["latency"] = f"p95 {format_seconds(max(known))}"
    return shown


def _name_placement(entries: Sequence[Entry]) -> str:
    """The largest entry, and how many more there are."""
    if not entries:
        return "none"
    first = min(entries, key=lambda each: (-each.replicas, each.pool.name, each.option.variant))
    more = f" +{len(entries) - 1}" if len(entries) > 1 else ""
    return f"{first.option.pool}/{first.option.variant}"[: _LONGEST_LINE - len(more)] + more


def _headline(objectives: Sequence[Objective]) -> Objective | None:
    """The objective that a column shows: p95 where there is one, else the first."""
    return next((each for each in objectives if each.percentile == 95), objectives[0] if objectives else None)


def _learned(outcome: Outcome) -> list[dict[str, Any]]:
    if outcome.learned is None:
        stored = outcome.stored_learned
        return [each.model_dump(mode="json", by_alias=True, exclude_none=True) for each in stored]
    ordered = sorted(outcome.learned, key=lambda each: (each.variant, each.pool))
    return [_write_learned(each) for each in ordered[:_MOST_LEARNED]]


def _write_learned(profile: LearnedProfile) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "variant": profile.variant,
        "pool": profile.pool,
        "state": profile.state,
        "samples": profile.samples,
        "learnedAt": format_time(profile.learned_at),
        "message": profile.message[:_LONGEST_MESSAGE],
    }
    if profile.relative_error is not None:
        shown["relativeError"] = f"{profile.relative_error:.3f}"
    if profile.tokens is not None:
        shown["tokens"] = _write_tokens(profile.tokens)
    return shown


def _write_tokens(tokens: TokensProfile) -> dict[str, Any]:
    """The profile as an author would write it, to five digits."""
    shown: dict[str, Any] = {
        "iteration": _nanoseconds(tokens.iteration_seconds),
        "perSequence": _nanoseconds(tokens.per_sequence_seconds),
        "perPrefillToken": _nanoseconds(tokens.per_prefill_token_seconds),
        "perCachedToken": _nanoseconds(tokens.per_cached_token_seconds),
        "maxBatch": tokens.max_batch,
        "maxBatchedTokens": tokens.max_batched_tokens,
        "prefixHitRatio": f"{tokens.prefix_hit_ratio:.4g}",
    }
    if tokens.cache_tokens is not None:
        shown["cacheTokens"] = tokens.cache_tokens
    return shown


def _nanoseconds(seconds: float) -> str:
    return f"{Decimal(f'{seconds * 1e9:.5g}'):f}ns"
