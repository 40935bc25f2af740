"""The status of a workload: what serves where, what it costs, what callers may expect, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from switchyard.api import Reason
from switchyard.core.conditions import FALSE, TRUE, UNKNOWN, Finding
from switchyard.core.placement.admission import Option
from switchyard.core.placement.cost import cost_per_thousand, format_money
from switchyard.core.placement.explain import Rejection
from switchyard.core.placement.facts import PoolFacts, WorkloadFacts
from switchyard.core.placement.latency import (
    Objective,
    Prediction,
    format_rate,
    format_seconds,
    percentile_seconds,
    predict,
)

_LONGEST_MESSAGE, _LONGEST_LINE = 1024, 256


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a pass found and decided about one workload, for reporting.

    `option` is what placement wants, `replicas` what it grants. `ready` counts the serving track's ready
    pods.
    """

    facts: WorkloadFacts
    option: Option | None
    replicas: int
    pool: PoolFacts | None
    cost_per_hour: Decimal
    rejections: tuple[Rejection, ...]
    misfortune: tuple[Reason, str] | None  # why there is no placement
    objection: str  # why the placement would be refused if it were new
    wanted_track: str
    serving_track: str
    wanted_ready: int
    serving_ready: int
    waiting_for: str  # what the cluster says about pods that are not ready
    stall: tuple[Reason, str] | None = None
    is_reachable: bool = True  # whether the stable Service is there


def describe_workload(outcome: Outcome) -> tuple[dict[str, Any], list[Finding]]:
    """Status fields other than conditions, and the findings."""
    prediction = _predict(outcome, outcome.replicas)
    fields: dict[str, Any] = {
        "placements": [_placement(outcome, prediction)] if outcome.option else [],
        "rejected": [
            {
                "variant": each.variant,
                "pool": each.pool,
                "reason": each.reason.value,
                "message": each.message[:_LONGEST_MESSAGE],
            }
            for each in outcome.rejections
        ],
        "activeTrack": outcome.serving_track if outcome.serving_ready else "",
        "replicas": outcome.replicas,
        "readyReplicas": outcome.serving_ready,
        "summary": _columns(outcome, prediction),
    }
    if outcome.option is not None:
        fields["costPerHour"] = format_money(outcome.cost_per_hour)
        per_thousand = _per_thousand(outcome)
        if per_thousand is not None:
            fields["costPerThousandRequests"] = format_money(per_thousand)
    findings = [_ready(outcome), _placed(outcome), _objectives_met(outcome), _within_budget(outcome)]
    findings += [each for each in (_degraded(outcome), _reconciling(outcome), _stalled(outcome)) if each]
    return fields, findings


def _predict(outcome: Outcome, replicas: int) -> Prediction | None:
    """What callers see at peak demand spread over `replicas`; None without a placement or profile."""
    if outcome.option is None or outcome.pool is None or replicas < 1:
        return None
    variant = outcome.facts.variant(outcome.option.variant)
    if variant is None or variant.profile is None:
        return None
    return predict(variant.profile, outcome.facts.peak_rate / replicas, outcome.pool.network_latency_seconds)


def _placement(outcome: Outcome, prediction: Prediction | None) -> dict[str, Any]:
    option, pool = outcome.option, outcome.pool
    if option is None or pool is None:
        return {}
    entry: dict[str, Any] = {
        "variant": option.variant,
        "pool": option.pool,
        "accelerator": pool.accelerator or pool.family,
        "replicas": outcome.replicas,
        "ready": outcome.wanted_ready,
        "devices": outcome.replicas * option.unit_devices,
        "costPerHour": format_money(outcome.cost_per_hour),
    }
    if option.rate > 0:
        entry["ratePerReplica"] = format_rate(option.rate)
    if prediction is not None:
        entry["utilisationPercent"] = min(100, round(100 * prediction.utilisation_ratio))
        figures = (prediction.p50_seconds, prediction.p95_seconds, prediction.p99_seconds)
        if all(figure < float("inf") for figure in figures):
            names = ("p50", "p95", "p99")
            entry["predicted"] = {
                name: format_seconds(figure) for name, figure in zip(names, figures, strict=True)
            }
    return entry


def _columns(outcome: Outcome, prediction: Prediction | None) -> dict[str, str]:
    """What printer columns show: `l4-eu/trt` and `p95 182ms (300ms)`."""
    shown = {}
    if outcome.option is not None:
        shown["placement"] = f"{outcome.option.pool}/{outcome.option.variant}"[:_LONGEST_LINE]
    else:
        shown["placement"] = "none"
    objective = _headline(outcome.facts.objectives)
    if objective is not None:
        now = _figure(prediction, objective.percentile)
        figure = format_seconds(now) if now is not None else "?"
        shown["latency"] = f"p{objective.percentile} {figure} ({format_seconds(objective.target_seconds)})"
    elif prediction is not None:
        shown["latency"] = f"p95 {format_seconds(prediction.p95_seconds)}"
    return shown


def _headline(objectives: Sequence[Objective]) -> Objective | None:
    """The objective that a column shows: p95 where there is one, else the first."""
    return next((each for each in objectives if each.percentile == 95), objectives[0] if objectives else None)


def _figure(prediction: Prediction | None, percentile: int) -> float | None:
    if prediction is None:
        return None
    known = {50: prediction.p50_seconds, 95: prediction.p95_seconds, 99: prediction.p99_seconds}
    return known.get(percentile)


def _per_thousand(outcome: Outcome) -> Decimal | None:
    errors = outcome.option.error_ratio if outcome.option else 0.0
    return cost_per_thousand(outcome.cost_per_hour, outcome.facts.mean_rate, errors)


def _ready(outcome: Outcome) -> Finding:
    if outcome.stall is not None and (outcome.serving_ready == 0 or not outcome.is_reachable):
        return Finding("Ready", FALSE, *outcome.stall)
    if outcome.serving_ready > 0:
        count = f"{outcome.serving_ready} replicas"
        if outcome.serving_track == outcome.wanted_track:
            count = f"{outcome.wanted_ready} of {outcome.replicas} replicas"
        message = f"{count} ready on track {outcome.serving_track}"
        return Finding("Ready", TRUE, Reason.Serving, message)
    if outcome.option is None and outcome.misfortune is not None:
        return Finding("Ready", FALSE, *outcome.misfortune)
    message = f"0 of {outcome.replicas} replicas ready on track {outcome.wanted_track}"
    return Finding("Ready", FALSE, Reason.WaitingForPods, _append(message, outcome.waiting_for))


def _placed(outcome: Outcome) -> Finding:
    if outcome.option is None and outcome.misfortune is not None:
        return Finding("Placed", FALSE, *outcome.misfortune)
    option = outcome.option
    if option is None:
        return Finding("Placed", UNKNOWN, Reason.InvalidSpec, "not considered")
    message = (
        f"variant {option.variant} on pool {option.pool}: {outcome.replicas} replicas, "
        f"{format_money(outcome.cost_per_hour)} per hour"
    )
    return Finding("Placed", TRUE, Reason.Placed, message)


def _objectives_met(outcome: Outcome) -> Finding:
    kind = "ObjectivesMet"
    if outcome.option is None:
        return Finding(kind, UNKNOWN, Reason.NotServing, "nothing is placed")
    if outcome.replicas < outcome.option.replicas:
        message = (
            f"{outcome.option.replicas} replicas are needed for {format_rate(outcome.facts.peak_rate)} "
            f"requests/s; there is room for {outcome.replicas}"
        )
        return Finding(kind, FALSE, Reason.InsufficientCapacity, message)
    if not outcome.facts.objectives:
        return Finding(kind, TRUE, Reason.NoObjectives, "the workload states no objectives")
    if _predict(outcome, outcome.replicas) is None:
        return Finding(kind, UNKNOWN, Reason.ProfileMissing, "without a profile nothing can be predicted")
    missed = _missed(outcome, outcome.replicas)
    if missed:
        return Finding(kind, FALSE, Reason.ObjectiveUnreachable, missed)
    if outcome.wanted_ready < outcome.replicas and _missed(outcome, outcome.wanted_ready):
        message = (
            f"{outcome.wanted_ready} of {outcome.replicas} replicas ready: too few for the peak demand yet"
        )
        return Finding(kind, UNKNOWN, Reason.WaitingForPods, message)
    return Finding(kind, TRUE, Reason.PredictedWithinTargets, _kept(outcome))


def _missed(outcome: Outcome, replicas: int) -> str:
    """The first objective missed at peak demand over that many replicas, in words; empty when none is."""
    prediction = _predict(outcome, replicas)
    for objective in outcome.facts.objectives:
        seconds = _objective_seconds(outcome, objective, replicas) if prediction else float("inf")
        if seconds > objective.target_seconds:
            target = format_seconds(objective.target_seconds)
            return f"p{objective.percentile} {format_seconds(seconds)} predicted, target {target}"
    return ""


def _kept(outcome: Outcome) -> str:
    parts = [
        f"p{each.percentile} {format_seconds(_objective_seconds(outcome, each, outcome.replicas))} of "
        f"{format_seconds(each.target_seconds)}"
        for each in outcome.facts.objectives
    ]
    return f"predicted at {format_rate(outcome.facts.peak_rate)} requests/s: {', '.join(parts)}"


def _objective_seconds(outcome: Outcome, objective: Objective, replicas: int) -> float:
    option, pool = outcome.option, outcome.pool
    variant = outcome.facts.variant(option.variant) if option else None
    if variant is None or variant.profile is None or pool is None or replicas < 1:
        return float("inf")
    rate = outcome.facts.peak_rate / replicas
    return percentile_seconds(variant.profile, rate, objective.percentile, pool.network_latency_seconds)


def _within_budget(outcome: Outcome) -> Finding:
    kind = "WithinBudget"
    hourly, ceiling = outcome.facts.budget_per_hour, outcome.facts.budget_per_thousand
    if hourly is None and ceiling is None:
        return Finding(kind, TRUE, Reason.NoBudget, "the workload states no budget")
    if outcome.option is None:
        if outcome.misfortune is not None and outcome.misfortune[0] == Reason.OverBudget:
            return Finding(kind, FALSE, *outcome.misfortune)
        return Finding(kind, UNKNOWN, Reason.NotServing, "nothing is placed")
    if hourly is not None and outcome.cost_per_hour > hourly:
        message = f"{format_money(outcome.cost_per_hour)} per hour; the budget is {format_money(hourly)}"
        return Finding(kind, FALSE, Reason.OverBudget, message)
    per_thousand = _per_thousand(outcome)
    if ceiling is not None and per_thousand is not None and per_thousand > ceiling:
        message = f"{format_money(per_thousand)} per thousand requests; the budget is {format_money(ceiling)}"
        return Finding(kind, FALSE, Reason.OverBudget, message)
    return Finding(kind, TRUE, Reason.WithinBudget, f"{format_money(outcome.cost_per_hour)} per hour")


def _degraded(outcome: Outcome) -> Finding | None:
    if outcome.option is not None and outcome.replicas < outcome.option.replicas:
        option = outcome.option
        message = f"pool {option.pool} has room for {outcome.replicas} of {option.replicas} replicas"
        return Finding("Degraded", TRUE, Reason.InsufficientCapacity, message)
    if outcome.objection:
        message = f"what serves stays, but would be refused today: {outcome.objection}"
        return Finding("Degraded", TRUE, Reason.PlacementOutdated, message)
    if outcome.option is None and outcome.serving_ready > 0 and outcome.misfortune is not None:
        message = f"track {outcome.serving_track} serves without a place in the plan: {outcome.misfortune[1]}"
        return Finding("Degraded", TRUE, Reason.PlacementOutdated, message)
    return None


def _reconciling(outcome: Outcome) -> Finding | None:
    if outcome.option is None or outcome.stall is not None:
        return None
    if outcome.wanted_track != outcome.serving_track:
        message = f"{outcome.wanted_track} takes over from {outcome.serving_track} when its pods are ready"
        return Finding("Reconciling", TRUE, Reason.Replacing, message)
    if outcome.wanted_ready < outcome.replicas:
        message = f"{outcome.wanted_ready} of {outcome.replicas} replicas ready"
        return Finding("Reconciling", TRUE, Reason.WaitingForPods, _append(message, outcome.waiting_for))
    return None


_AUTHOR_MUST_ACT = frozenset(
    {
        Reason.AcceleratorMismatch,
        Reason.AllocationUnit,
        Reason.InsufficientMemory,
        Reason.MaxReplicasExceeded,
        Reason.ObjectiveUnreachable,
        Reason.OverBudget,
        Reason.PodTemplateNotFound,
        Reason.PrecisionUnsupported,
        Reason.ProfileMissing,
        Reason.RuntimeUnsupported,
        Reason.UnknownAccelerator,
    }
)


def _stalled(outcome: Outcome) -> Finding | None:
    if outcome.stall is not None:
        return Finding("Stalled", TRUE, *outcome.stall)
    if (
        outcome.option is None
        and outcome.misfortune is not None
        and outcome.misfortune[0] in _AUTHOR_MUST_ACT
    ):
        return Finding("Stalled", TRUE, *outcome.misfortune)
    return None


def _append(message: str, more: str) -> str:
    return f"{message}: {more}" if more else message
