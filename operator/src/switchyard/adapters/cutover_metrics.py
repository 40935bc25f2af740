"""What the metrics say of cutover plans: gauges from the statuses, counters of what happened on the way."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, get_args

from switchyard.adapters import cutover_metric_catalog as catalog
from switchyard.adapters.metric_spec import MetricSample
from switchyard.api import Duration, Reason
from switchyard.api.cutover_status import CutoverPlanStatus, HistoryEntry, Phase
from switchyard.core.cutover.traffic import HELD
from switchyard.core.cutover.types import TERMINAL
from switchyard.core.world import Plan, World

Key = tuple[str, str]  # namespace, name

# A counter that first appears with its first event has not risen for Prometheus: these begin with 0.
RETURN_REASONS = (
    Reason.GateFailed,
    Reason.CandidateLost,
    Reason.CandidateNotReady,
    Reason.RouteNotEffective,
    Reason.EvidenceMissing,
    Reason.StageOverdue,
    Reason.DualRunBudgetExceeded,
    Reason.DeadlineExceeded,
    Reason.TargetGone,
    Reason.InputsChanged,
    Reason.Aborted,
)
_GIVES_BACK = frozenset({"Completing", "RollingBack"})  # its own objects go then, one after another
_CONDITION_VALUES = {"True": 1.0, "False": 0.0}
_VERDICT_VALUES = {"Pass": 1.0, "Fail": 0.0}
_COSTS = (
    ("dualRun", catalog.DUAL_RUN_COST),
    ("dualRunPerHour", catalog.DUAL_RUN_RATE),
    ("savingPerHour", catalog.SAVING),
)
_PER_THOUSAND = (
    ("baselinePerThousand", "baseline"),
    ("candidatePerThousand", "candidate"),
    ("observedPerThousand", "observed"),
)


def plan_samples(plan: Plan, status: Mapping[str, Any], now: datetime) -> Iterator[MetricSample]:
    """Every gauge of a plan. `status`: as in YAML, as it was decided last."""
    key, machine = plan.key, status.get("machine") or {}
    yield from _place_samples(plan, status, machine)
    yield from _traffic_samples(key, status, machine)
    for gate in status.get("gates") or ():
        yield from _gate_samples((*key, str(gate.get("segment") or ""), str(gate["name"])), gate)
    acting = machine.get("resumePhase") if status.get("phase") == "Paused" else status.get("phase")
    last_at = machine.get("readingAt") or machine.get("stageSince")
    if acting in HELD and machine.get("stageSince") and last_at:
        yield catalog.EVIDENCE_AGE, key, (now - datetime.fromisoformat(last_at)).total_seconds()
    yield catalog.ANALYSIS_INTERVAL, key, plan.spec.analysis.interval.seconds
    yield from _cost_samples(plan, status.get("cost") or {})


def _place_samples(
    plan: Plan, status: Mapping[str, Any], machine: Mapping[str, Any]
) -> Iterator[MetricSample]:
    key, target = plan.key, plan.spec.target
    place = status.get("candidate") or {}
    pool = place.get("pool") or target.pool or ""
    router = status.get("router") or ""
    yield catalog.INFO, (*key, plan.spec.workload_ref.name, target.variant, pool, router), 1.0
    current = status.get("phase") or "Pending"
    for phase in get_args(Phase):
        yield catalog.PHASE, (*key, phase), float(phase == current)
    for condition in status.get("conditions") or ():
        value = _CONDITION_VALUES.get(str(condition["status"]), float("nan"))
        yield catalog.CONDITION, (*key, str(condition["type"])), value
    if machine.get("pauseReason"):
        yield catalog.WAITING, (*key, str(machine["pauseReason"])), 1.0
    if machine.get("deadline"):
        yield catalog.DEADLINE, key, datetime.fromisoformat(machine["deadline"]).timestamp()


def _traffic_samples(
    key: Key, status: Mapping[str, Any], machine: Mapping[str, Any]
) -> Iterator[MetricSample]:
    for segment in status.get("segments") or ():
        labels = (*key, str(segment["name"]))
        yield catalog.SEGMENT_WEIGHT, labels, (segment.get("weight") or 0) / 100
        if segment.get("observedWeight") is not None:
            yield catalog.SEGMENT_WEIGHT_OBSERVED, labels, segment["observedWeight"] / 100
    yield catalog.SHADOW, key, (machine.get("shadowPercent") or 0) / 100


def _gate_samples(labels: tuple[str, ...], gate: Mapping[str, Any]) -> Iterator[MetricSample]:
    yield catalog.GATE_VERDICT, labels, _VERDICT_VALUES.get(str(gate.get("verdict")), float("nan"))
    yield catalog.GATE_HARM, labels, (gate.get("harmPercent") or 0) / 100
    yield catalog.GATE_SAFE, labels, (gate.get("safePercent") or 0) / 100
    yield catalog.GATE_SAMPLES, labels, float(gate.get("samples") or 0)
    if gate.get("needed") is not None:
        yield catalog.SAMPLES_NEEDED, labels, float(gate["needed"])


def _cost_samples(plan: Plan, cost: Mapping[str, Any]) -> Iterator[MetricSample]:
    for name, spec in _COSTS:
        if cost.get(name) is not None:
            yield spec, plan.key, float(cost[name])
    for name, of in _PER_THOUSAND:
        if cost.get(name) is not None:
            yield catalog.COST_PER_THOUSAND, (*plan.key, of), float(cost[name])
    if cost.get("payback") is not None:
        yield catalog.PAYBACK, plan.key, Duration(cost["payback"]).seconds
    budget = plan.spec.budget
    if budget is not None and budget.max_dual_run_cost is not None:
        yield catalog.DUAL_RUN_BUDGET, plan.key, float(budget.max_dual_run_cost)


@dataclass
class _Course:
    """What was counted of one plan, up to which moment."""

    uid: str
    told_until: datetime | None = None  # moment of the last entry of the history
    returns: Tally[str] = field(default_factory=lambda: Tally(dict.fromkeys(RETURN_REASONS, 0)))
    looked_at: datetime | None = None
    drift: int = 0


@dataclass
class CutoverCounters:
    """What its status and the looks at its path say happened to each plan; a plan that goes is forgotten."""

    _courses: dict[Key, _Course] = field(default_factory=dict)

    def follow(self, world: World) -> None:
        """Count what is new in this world."""
        known = self._courses
        self._courses = {}
        for plan in world.plans:
            course = known.get(plan.key)
            if course is None or course.uid != plan.meta.uid:
                course = _Course(plan.meta.uid)
            self._courses[plan.key] = course
            _count_returns(course, plan.status)
            sight = world.sights.get(plan.key)
            if sight is not None and sight.at != course.looked_at and plan.status.phase not in _GIVES_BACK:
                course.looked_at = sight.at
                course.drift += len(sight.route.drift) if sight.route is not None else 0

    def samples(self) -> Iterator[MetricSample]:
        """The counters of every plan that was there in the last world."""
        for key, course in self._courses.items():
            for reason, count in course.returns.items():
                yield catalog.ROLLBACKS, (*key, reason), float(count)
            yield catalog.ROUTE_DRIFT, key, float(course.drift)


def _count_returns(course: _Course, status: CutoverPlanStatus) -> None:
    before: HistoryEntry | None = None
    known = course.told_until
    for entry in status.history:
        at = datetime.fromisoformat(entry.at)
        if (known is None or at > known) and _begins_return(entry, before):
            course.returns[entry.reason] += 1
        before, course.told_until = entry, at


def _begins_return(entry: HistoryEntry, before: HistoryEntry | None) -> bool:
    """True for the begin of a way back; a plan that has moved nothing yet is at its end at once."""
    ends: Collection[str] = TERMINAL - {"Completed"}
    return entry.phase == "RollingBack" or (
        entry.phase in ends and before is not None and before.phase not in {"RollingBack", *ends}
    )
