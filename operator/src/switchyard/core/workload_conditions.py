"""The conditions of a workload: whether it serves, has a place, meets its objectives and keeps its budget."""

from __future__ import annotations

from switchyard.api import Reason
from switchyard.core.conditions import FALSE, TRUE, UNKNOWN, Finding
from switchyard.core.outcome import Outcome, objective_seconds, predict_entry
from switchyard.core.placement.cost import cost_per_thousand, format_money
from switchyard.core.placement.latency import Objective, format_rate, format_seconds

_AUTHOR_MUST_ACT = frozenset(
    {
        Reason.AcceleratorMismatch,
        Reason.AllocationUnit,
        Reason.FirmFloorUnreachable,
        Reason.InsufficientMemory,
        Reason.MaxReplicasExceeded,
        Reason.ObjectiveUnreachable,
        Reason.OverBudget,
        Reason.PodTemplateNotFound,
        Reason.PrecisionUnsupported,
        Reason.ProfileMissing,
        Reason.RuntimeUnsupported,
        Reason.SpotNotSurvivable,
        Reason.SpreadUnreachable,
        Reason.UnknownAccelerator,
    }
)


def find_conditions(outcome: Outcome) -> list[Finding]:
    """All findings, the abnormal ones only while they hold."""
    found = [_ready(outcome), _placed(outcome), _objectives_met(outcome), _within_budget(outcome)]
    found += [each for each in (outcome.exposed, outcome.demand.finding) if each is not None]
    return found + [each for each in (_degraded(outcome), _reconciling(outcome), _stalled(outcome)) if each]


def _ready(outcome: Outcome) -> Finding:
    if outcome.stall is not None and (outcome.serving_ready == 0 or not outcome.is_reachable):
        return Finding("Ready", FALSE, *outcome.stall)
    if outcome.serving_ready > 0:
        return Finding("Ready", TRUE, Reason.Serving, _count_ready(outcome))
    if not outcome.entries and outcome.misfortune is not None:
        return Finding("Ready", FALSE, *outcome.misfortune)
    message = f"0 of {outcome.replicas} replicas ready on {_name_tracks(outcome)}"
    return Finding("Ready", FALSE, Reason.WaitingForPods, _append(message, outcome.waiting_for))


def _count_ready(outcome: Outcome) -> str:
    tracks = {each.track for each in outcome.entries}
    if outcome.is_shared and outcome.entries and outcome.ready:
        return f"{outcome.ready} of {outcome.replicas} replicas ready on {_name_tracks(outcome)}"
    if outcome.serving_track in tracks:
        return f"{outcome.ready} of {outcome.replicas} replicas ready on track {outcome.serving_track}"
    return f"{outcome.serving_ready} replicas ready on track {outcome.serving_track}"


def _name_tracks(outcome: Outcome) -> str:
    names = [each.track for each in outcome.entries]
    return f"track {names[0]}" if len(names) == 1 else f"{len(names)} tracks"


def _placed(outcome: Outcome) -> Finding:
    if not outcome.entries and outcome.misfortune is not None:
        return Finding("Placed", FALSE, *outcome.misfortune)
    if not outcome.entries:
        return Finding("Placed", UNKNOWN, Reason.InvalidSpec, "not considered")
    parts = [
        f"variant {each.option.variant} on pool {each.option.pool}: {each.replicas} replicas"
        for each in outcome.entries
    ]
    message = f"{'; '.join(parts)}, {format_money(outcome.cost_per_hour)} per hour"
    guessed = sorted({each.option.variant for each in outcome.entries if each.option.evidence.is_estimate})
    if guessed:
        message = f"{message}; what {', '.join(guessed)} carries is estimated from data sheets"
        return Finding("Placed", TRUE, Reason.ProfileEstimated, message)
    return Finding("Placed", TRUE, Reason.Placed, message)


def _objectives_met(outcome: Outcome) -> Finding:
    kind, objectives = "ObjectivesMet", outcome.facts.objectives
    if not outcome.entries:
        return Finding(kind, UNKNOWN, Reason.NotServing, "nothing is placed")
    if outcome.is_short and not outcome.degradation:
        return Finding(kind, FALSE, _shortage(outcome), _describe_room(outcome))
    if not objectives:
        return Finding(kind, TRUE, Reason.NoObjectives, "the workload states no objectives")
    if any(objective_seconds(outcome, each, outcome.replicas) is None for each in objectives):
        return Finding(kind, UNKNOWN, Reason.ProfileMissing, "without a profile nothing can be predicted")
    missed = _missed(outcome, outcome.replicas)
    if missed:
        reason = Reason.FallbackInUse if outcome.degradation else Reason.ObjectiveUnreachable
        return Finding(kind, FALSE, reason, missed)
    if outcome.ready < outcome.replicas and _missed(outcome, outcome.ready):
        message = f"{outcome.ready} of {outcome.replicas} replicas ready: too few for the peak demand yet"
        return Finding(kind, UNKNOWN, Reason.WaitingForPods, message)
    return Finding(kind, TRUE, Reason.PredictedWithinTargets, _kept(outcome))


def _describe_room(outcome: Outcome) -> str:
    rate = format_rate(outcome.facts.peak_rate)
    if outcome.replicas >= outcome.wanted:
        share = f"{100 * (1 - outcome.unserved_ratio):.4g}%"
        message = f"there is room for {outcome.replicas} replicas, which carry {share} of {rate} requests/s"
    else:
        message = (
            f"{outcome.wanted} replicas are wanted at {rate} requests/s; there is room for {outcome.replicas}"
        )
    return _append(message, outcome.limit[1] if outcome.limit else "")


def _shortage(outcome: Outcome) -> Reason:
    return outcome.limit[0] if outcome.limit else Reason.InsufficientCapacity


def _missed(outcome: Outcome, replicas: int) -> str:
    """The first objective missed at peak demand over that many replicas, in words; empty when none is."""
    for objective in outcome.facts.objectives:
        seconds = objective_seconds(outcome, objective, replicas)
        if seconds is None:
            seconds = float("inf")
        if seconds > objective.target_seconds:
            target = format_seconds(objective.target_seconds)
            return f"{_name(objective)} {format_seconds(seconds)} predicted, target {target}"
    return ""


def _kept(outcome: Outcome) -> str:
    parts = []
    for each in outcome.facts.objectives:
        seconds = objective_seconds(outcome, each, outcome.replicas) or 0.0
        parts.append(f"{_name(each)} {format_seconds(seconds)} of {format_seconds(each.target_seconds)}")
    return f"predicted at {format_rate(outcome.facts.peak_rate)} requests/s: {', '.join(parts)}"


def _name(objective: Objective) -> str:
    metric = "" if objective.metric == "latency" else f"{objective.metric} "
    return f"{metric}p{objective.percentile}"


def _within_budget(outcome: Outcome) -> Finding:
    kind, cost = "WithinBudget", outcome.cost_per_hour
    hourly, ceiling = outcome.facts.budget_per_hour, outcome.facts.budget_per_thousand
    if hourly is None and ceiling is None:
        return Finding(kind, TRUE, Reason.NoBudget, "the workload states no budget")
    if not outcome.entries:
        if outcome.misfortune is not None and outcome.misfortune[0] == Reason.OverBudget:
            return Finding(kind, FALSE, *outcome.misfortune)
        return Finding(kind, UNKNOWN, Reason.NotServing, "nothing is placed")
    if hourly is not None and cost > hourly:
        message = f"{format_money(cost)} per hour; the budget is {format_money(hourly)}"
        return Finding(kind, FALSE, Reason.OverBudget, message)
    errors = sum(each.option.error_ratio * each.replicas for each in outcome.entries)
    per_thousand = cost_per_thousand(cost, outcome.facts.mean_rate, errors / max(1, outcome.replicas))
    if ceiling is not None and per_thousand is not None and per_thousand > ceiling:
        message = f"{format_money(per_thousand)} per thousand requests; the budget is {format_money(ceiling)}"
        return Finding(kind, FALSE, Reason.OverBudget, message)
    return Finding(kind, TRUE, Reason.WithinBudget, f"{format_money(cost)} per hour")


def _degraded(outcome: Outcome) -> Finding | None:
    if outcome.entries and outcome.degradation:
        return Finding("Degraded", TRUE, Reason.FallbackInUse, _describe_fallback(outcome))
    if outcome.entries and outcome.is_short:
        first = outcome.entries[0]
        if len(outcome.entries) > 1 or outcome.replicas >= outcome.wanted or outcome.limit:
            message = _describe_room(outcome)
        else:
            message = f"pool {first.option.pool} has room for {first.replicas} of {first.wanted} replicas"
        return Finding("Degraded", TRUE, _shortage(outcome), message)
    if outcome.objection:
        message = f"what serves stays, but would be refused today: {outcome.objection}"
        return Finding("Degraded", TRUE, Reason.PlacementOutdated, message)
    if not outcome.entries and outcome.serving_ready > 0 and outcome.misfortune is not None:
        message = f"track {outcome.serving_track} serves without a place in the plan: {outcome.misfortune[1]}"
        return Finding("Degraded", TRUE, Reason.PlacementOutdated, message)
    return None


def _describe_fallback(outcome: Outcome) -> str:
    """Which fallback serves, how good it is, and by what it is judged."""
    entry = max(outcome.entries, key=lambda each: each.degradation)
    variant = outcome.facts.variant(entry.option.variant)
    fallback = outcome.facts.fallbacks[entry.degradation - 1]
    quality = variant.quality if variant else None
    good = f"quality {quality:.4g} of the best variant" if quality is not None else "quality not stated"
    judged = "no latency objective"
    if fallback.objectives:
        judged = ", ".join(str(each) for each in fallback.objectives)
    message = (
        f"variant {entry.option.variant} on pool {entry.option.pool} serves as fallback {entry.degradation}: "
        f"{good}, judged by {judged}"
    )
    prediction = predict_entry(outcome, entry, outcome.replicas)
    if prediction is not None and prediction.p95_seconds < float("inf"):
        message = f"{message}; p95 {format_seconds(prediction.p95_seconds)} predicted"
    return message


def _reconciling(outcome: Outcome) -> Finding | None:
    if not outcome.entries or outcome.stall is not None:
        return None
    tracks = [each.track for each in outcome.entries]
    if outcome.serving_track not in tracks and outcome.serving_track:
        message = f"{tracks[0]} takes over from {outcome.serving_track} when its pods are ready"
        return Finding("Reconciling", TRUE, Reason.Replacing, message)
    if outcome.ready < outcome.replicas:
        message = f"{outcome.ready} of {outcome.replicas} replicas ready"
        return Finding("Reconciling", TRUE, Reason.WaitingForPods, _append(message, outcome.waiting_for))
    return None


def _stalled(outcome: Outcome) -> Finding | None:
    if outcome.stall is not None:
        return Finding("Stalled", TRUE, *outcome.stall)
    misfortune = outcome.misfortune
    if not outcome.entries and misfortune is not None and misfortune[0] in _AUTHOR_MUST_ACT:
        return Finding("Stalled", TRUE, *misfortune)
    return None


def _append(message: str, more: str) -> str:
    return f"{message}: {more}" if more else message
