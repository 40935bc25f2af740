"""What a plan asks for, with every default filled in: also those that depend on the workload."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from switchyard.api.cutover import CutoverPlanSpec
from switchyard.api.cutover_gates import ErrorsGate, Gate, LatencyGate, Margin, ParityGate, StabilityGate
from switchyard.api.cutover_limits import Window
from switchyard.api.cutover_traffic import (
    REST_SEGMENT,
    Segment,
    SegmentMatch,
    Shadow,
    Step,
    Sticky,
)
from switchyard.api.values import Duration
from switchyard.api.workload import InferenceWorkloadSpec
from switchyard.core.cutover.types import (
    GateFacts,
    GateKind,
    GateStage,
    Metric,
    PlanFacts,
    SegmentFacts,
    ShadowFacts,
    StepFacts,
    WindowFacts,
)
from switchyard.core.errors import PlanError
from switchyard.core.routing.document import Comparator, Exclusion, Match, Stickiness

WHOLE_SEGMENT = "all"
_FULL_PERCENT = 100

_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_EVERYWHERE: frozenset[GateStage] = frozenset({"shadow", "canary", "soak"})
_STAGES: dict[GateKind, frozenset[GateStage]] = {
    "errors": _EVERYWHERE,
    "latency": _EVERYWHERE,
    "parity": frozenset({"shadow"}),
    "stability": _EVERYWHERE,
    "cost": frozenset({"canary", "soak"}),
    "signal": _EVERYWHERE,
}
_METRICS: tuple[Metric, ...] = ("latency", "ttft", "tpot")


def read_plan(
    spec: CutoverPlanSpec,
    workload: InferenceWorkloadSpec | None,
    *,
    namespace: str,
    name: str,
    uid: str,
    generation: int,
    is_deleting: bool = False,
) -> PlanFacts:
    """The facts of a plan. A threshold that its workload doesn't say either is 0, and one of `find_gaps`.

    Raises PlanError for a plan that the schema would not have taken.
    """
    segments = spec.segments or ()
    asked = {*spec.approvals, *(f"segment:{each.name}" for each in segments if each.approval)}
    budget, economics = spec.budget, spec.economics
    return PlanFacts(
        namespace=namespace,
        name=name,
        uid=uid,
        generation=generation,
        workload=spec.workload_ref.name,
        variant=spec.target.variant,
        pool=spec.target.pool,
        router=spec.traffic.router,
        shadow=_read_shadow(spec.shadow),
        segments=_read_segments(spec),
        gates=_read_gates(spec.gates, workload),
        interval_seconds=spec.analysis.interval.seconds,
        false_rollback_probability=float(spec.analysis.false_rollback_probability),
        false_promotion_probability=float(spec.analysis.false_promotion_probability),
        on_inconclusive=spec.analysis.on_inconclusive,
        inconclusive_seconds=spec.analysis.inconclusive_after.seconds,
        is_automatic=spec.rollback.automatic,
        retain_seconds=spec.rollback.retain_baseline.seconds,
        approvals=frozenset(asked),
        approved=frozenset(spec.approved),
        windows=tuple(_read_window(each) for each in spec.windows),
        max_dual_run_cost=budget.max_dual_run_cost if budget else None,
        deadline_seconds=_seconds(budget.deadline if budget else None),
        payback_seconds=_seconds(economics.require_payback_within if economics else None),
        engineering_cost=economics.engineering_cost if economics else Decimal(0),
        is_suspended=spec.suspend,
        is_aborted=spec.abort,
        is_deleting=is_deleting,
        restart_token=spec.restart_token or "",
    )


def list_comparators(gates: Iterable[GateFacts]) -> tuple[Comparator, ...]:
    """The comparators that a router must have for these gates, in the order that gives them their names."""
    return tuple(gate.comparator for gate in gates if gate.comparator is not None)


def find_gaps(facts: PlanFacts) -> tuple[str, ...]:
    """What a plan leaves open, its workload too, and what no gate would ever judge: a sentence each."""
    untold = [
        f"gate {gate.name}: the workload has no objective for {gate.metric}; give latency.target, or the "
        "workload an objective"
        for gate in facts.gates
        if gate.kind == "latency" and not gate.threshold_seconds
    ]
    unjudged = [
        f"gate {gate.name}: segment {segment.name} has no step below 100 %, and at 100 % there is nothing to "
        "copy; begin with a smaller weight, or judge the gate in shadow, too"
        for gate in facts.gates
        if gate.kind == "parity" and gate.stages == {"canary"}
        for segment in facts.segments
        if not segment.stays and all(step.weight_percent >= _FULL_PERCENT for step in segment.steps)
    ]
    return (*untold, *unjudged)


# -- traffic


def _read_segments(spec: CutoverPlanSpec) -> tuple[SegmentFacts, ...]:
    whole = Segment(name=WHOLE_SEGMENT)
    segments = spec.segments or (whole,)
    read = tuple(_read_segment(each, spec) for each in segments)
    if read[-1].match is None:
        return read
    return (*read, SegmentFacts(name=REST_SEGMENT, match=None, steps=(), stays=True))


def _read_segment(segment: Segment, spec: CutoverPlanSpec) -> SegmentFacts:
    if segment.stay:
        return SegmentFacts(name=segment.name, match=_read_match(segment.match), steps=(), stays=True)
    on_failure = segment.on_failure or (
        "rollbackPlan" if spec.rollback.scope == "plan" else "rollbackSegment"
    )
    return SegmentFacts(
        name=segment.name,
        match=_read_match(segment.match),
        steps=tuple(_read_step(each) for each in segment.steps or spec.steps),
        sticky=_read_sticky(segment.sticky or spec.traffic.sticky),
        rolls_back_plan=on_failure == "rollbackPlan",
    )


def _read_step(step: Step) -> StepFacts:
    return StepFacts(
        weight_percent=step.weight,
        min_seconds=step.min_duration.seconds,
        min_samples=step.min_samples,
        max_seconds=step.max_duration.seconds,
    )


def _read_match(match: SegmentMatch | None) -> Match | None:
    if match is None:
        return None
    return Match(
        headers={each.name: each.value for each in match.headers or ()},
        path_prefix=match.path_prefix,
        tier=match.tier,
    )


def _read_sticky(sticky: Sticky | None) -> Stickiness | None:
    return None if sticky is None else Stickiness(header=sticky.header, cookie=sticky.cookie)


def _read_shadow(shadow: Shadow) -> ShadowFacts:
    return ShadowFacts(
        percent=shadow.percent,
        min_seconds=shadow.min_duration.seconds,
        min_samples=shadow.min_samples,
        max_seconds=shadow.max_duration.seconds,
        max_concurrency=shadow.max_concurrency,
        max_utilisation_ratio=float(shadow.max_candidate_utilisation),
        noise_percent=shadow.noise_arm_percent,
        replay_percent=shadow.replay_percent,
        exclude=tuple(Exclusion(method=each.method, path_prefix=each.path_prefix) for each in shadow.exclude),
    )


def _read_window(window: Window) -> WindowFacts:
    return WindowFacts(
        days=frozenset(_WEEKDAYS.index(day) for day in window.days),
        start_minute=_minute(window.start),
        end_minute=_minute(window.end),
        time_zone=window.time_zone,
    )


def _minute(time_of_day: str) -> int:
    hours, minutes = time_of_day.split(":")
    return int(hours) * 60 + int(minutes)


def _seconds(duration: Duration | None) -> float | None:
    return None if duration is None else duration.seconds


# -- gates


def _read_gates(gates: Sequence[Gate], workload: InferenceWorkloadSpec | None) -> tuple[GateFacts, ...]:
    thresholds = _find_thresholds(workload)
    read = [_read_gate(each, thresholds) for each in gates or _default_gates(thresholds)]
    return _name_comparators(read)


def _find_thresholds(workload: InferenceWorkloadSpec | None) -> dict[Metric, float]:
    """The target, in seconds, of the highest percentile that the workload wants kept, by metric."""
    wanted = sorted(workload.objectives if workload else (), key=lambda each: each.percentile)
    latest = {each.metric: each.target.seconds for each in wanted}
    return {metric: latest[metric] for metric in _METRICS if metric in latest}


def _default_gates(thresholds: Iterable[Metric]) -> tuple[Gate, ...]:
    return (
        Gate(name="errors", errors=ErrorsGate()),
        *(Gate(name=metric, latency=LatencyGate(metric=metric)) for metric in thresholds),
        Gate(name="stability", stability=StabilityGate()),
    )


def _read_gate(gate: Gate, thresholds: Mapping[Metric, float]) -> GateFacts:
    kind, told = _read_kind(gate, thresholds)
    stages = frozenset(gate.stages) if gate.stages else _STAGES[kind]
    return GateFacts(name=gate.name, kind=kind, stages=stages, **told)


def _read_kind(gate: Gate, thresholds: Mapping[Metric, float]) -> tuple[GateKind, dict[str, Any]]:
    """The kind of a gate, and what it says of it as fields of GateFacts."""
    if gate.errors is not None:
        hard_stop_ratio = float(gate.errors.hard_stop_ratio)
        return "errors", {**_read_margin(gate.errors.margin), "hard_stop_ratio": hard_stop_ratio}
    if (latency := gate.latency) is not None:
        own = latency.target.seconds if latency.target else thresholds.get(latency.metric, 0.0)
        return "latency", {
            **_read_margin(latency.margin),
            "metric": latency.metric,
            "threshold_seconds": own,
        }
    if gate.parity is not None:
        margin_ratio = float(gate.parity.margin)
        return "parity", {"comparator": _read_comparator(gate.parity), "margin_ratio": margin_ratio}
    if gate.stability is not None:
        return "stability", {"max_restarts": gate.stability.max_restarts}
    if gate.cost is not None:
        return "cost", {"max_increase_ratio": gate.cost.max_increase_percent / 100}
    if (signal := gate.signal) is not None:
        return "signal", {
            "source": signal.source,
            "template": signal.template,
            "max_value": float(signal.max),
        }
    raise PlanError(f"gate {gate.name}: give exactly one of {', '.join(_STAGES)}")


def _read_margin(margin: Margin) -> dict[str, float]:
    return {"odds_ratio": float(margin.odds_ratio), "absolute_ratio": float(margin.absolute)}


def _read_comparator(parity: ParityGate) -> Comparator:
    """The comparator as a routing document asks for it; what is not stated is left to its defaults."""
    options: dict[str, Any] = {
        "threshold": None if parity.threshold is None else float(parity.threshold),
        "pointer": parity.pointer,
        "ignoredPaths": list(parity.ignored_paths) or None,
        "numericTolerance": None if parity.numeric_tolerance is None else float(parity.numeric_tolerance),
        "k": parity.k,
    }
    stated = {name: value for name, value in options.items() if value is not None}
    return Comparator(type=parity.comparator, options=stated)


def _name_comparators(gates: Iterable[GateFacts]) -> tuple[GateFacts, ...]:
    """The gates with the names that their comparators bear in samples: `json`, `json-2`, and so on."""
    named: list[GateFacts] = []
    seen: Counter[str] = Counter()
    for gate in gates:
        if gate.comparator is None:
            named.append(gate)
            continue
        kind = gate.comparator.type
        seen[kind] += 1
        named.append(replace(gate, comparator_name=kind if seen[kind] == 1 else f"{kind}-{seen[kind]}"))
    return tuple(named)
