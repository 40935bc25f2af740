"""Metrics of plans: what their statuses say, what happened to them, and nothing of plans that are gone."""

from __future__ import annotations

import math
import shutil
import subprocess
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.unit.core.cutover.cutover_world import fail_when, make_facts, report
from tests.unit.core.cutover.told_plan import ToldPlan

from switchyard.adapters import cutover_metric_catalog as catalog
from switchyard.adapters.cutover_metrics import RETURN_REASONS
from switchyard.adapters.metrics import Metrics
from switchyard.api.cutover import CutoverPlanSpec
from switchyard.api.cutover_status import CutoverPlanStatus, Phase
from switchyard.core.decisions import Decisions, ObjectDecision, StatusWrite
from switchyard.core.routing.plan import Drift, RouteState
from switchyard.core.world import Meta, Plan, Sight, World
from switchyard.engine.ports import LoopReport

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
PLAN = {"namespace": "shop", "name": "move"}
CANARY = {
    "phase": "Canary",
    "router": "builtin",
    "candidate": {"variant": "inferentia", "pool": "inf2-east", "track": "chat-inferentia"},
    "segments": [
        {"name": "batch", "state": "Candidate", "weight": 100, "observedWeight": 100},
        {"name": "rest", "state": "Moving", "weight": 25},
    ],
    "gates": [
        {"name": "errors", "segment": "rest", "verdict": "Pass", "samples": 1830, "safePercent": 100},
        {"name": "latency", "segment": "rest", "samples": 830, "needed": 970, "harmPercent": 12},
        {"name": "stability", "verdict": "Fail"},
    ],
    "cost": {
        "dualRun": "3.10",
        "dualRunPerHour": "1.20",
        "baselinePerThousand": "0.031",
        "candidatePerThousand": "0.019",
        "savingPerHour": "0.90",
        "payback": "2h",
    },
    "machine": {
        "deadline": "2026-11-21T13:00:00Z",
        "stageSince": "2026-11-21T11:50:00.5Z",
        "readingAt": "2026-11-21T11:59:30Z",
        "shadowPercent": 20,
    },
    "conditions": [
        {"type": "Ready", "status": "Unknown", "reason": "StepStarted", "lastTransitionTime": "2026-11-21T11:50:00Z"},
        {"type": "Reconciling", "status": "True", "reason": "x", "lastTransitionTime": "2026-11-21T11:50:00Z"},
    ],
}  # fmt: skip


def make_plan(status: Any = None, *, uid: str = "uid-1", **spec: Any) -> Plan:
    told = {"workloadRef": {"name": "chat"}, "target": {"variant": "inferentia"}, **spec}
    meta = Meta(name="move", namespace="shop", uid=uid, resource_version="1", generation=1)
    return Plan(meta, CutoverPlanSpec.model_validate(told), CutoverPlanStatus.model_validate(status or {}))


def show(
    metrics: Metrics, *plans: Plan, sight: Sight | None = None, now: datetime = NOW, **rest: Any
) -> None:
    sights = {plan.key: sight for plan in plans} if sight is not None else {}
    world = World(now=now, plans=plans, sights=sights)
    metrics.loop_finished(LoopReport(now, 0.05, world, **{"decisions": Decisions(), **rest}))


def samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(metrics.render().decode())
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for f in families for s in f.samples}


def value(metrics: Metrics, metric: str, /, **labels: str) -> float | None:
    return samples(metrics).get((metric, tuple(sorted({**PLAN, **labels}.items()))))


@pytest.mark.parametrize(
    ("metric", "labels", "expected"),
    [
        ("segment_weight_ratio", {"segment": "batch"}, 1.0),
        ("segment_weight_ratio", {"segment": "rest"}, 0.25),
        ("segment_weight_observed_ratio", {"segment": "batch"}, 1.0),
        ("segment_weight_observed_ratio", {"segment": "rest"}, None),
        ("shadow_ratio", {}, 0.2),
        ("gate_verdict", {"segment": "rest", "gate": "errors"}, 1.0),
        ("gate_verdict", {"segment": "rest", "gate": "latency"}, math.nan),
        ("gate_verdict", {"segment": "", "gate": "stability"}, 0.0),
        ("gate_harm_evidence_ratio", {"segment": "rest", "gate": "latency"}, 0.12),
        ("gate_safe_evidence_ratio", {"segment": "rest", "gate": "errors"}, 1.0),
        ("gate_samples", {"segment": "rest", "gate": "errors"}, 1830.0),
        ("samples_needed", {"segment": "rest", "gate": "latency"}, 970.0),
        ("samples_needed", {"segment": "rest", "gate": "errors"}, None),
        ("dual_run_cost", {}, 3.1),
        ("dual_run_cost_per_hour", {}, 1.2),
        ("dual_run_budget", {}, 250.0),
        ("cost_per_thousand_requests", {"of": "candidate"}, 0.019),
        ("cost_per_thousand_requests", {"of": "observed"}, None),
        ("saving_per_hour", {}, 0.9),
        ("payback_seconds", {}, 7200.0),
        ("evidence_age_seconds", {}, 30.0),
        ("analysis_interval_seconds", {}, 60.0),
        ("deadline_timestamp_seconds", {}, datetime(2026, 11, 21, 13, tzinfo=UTC).timestamp()),
        ("condition", {"condition": "Ready"}, math.nan),
        ("condition", {"condition": "Reconciling"}, 1.0),
        ("condition", {"condition": "Stalled"}, None),
        (
            "info",
            {"workload": "chat", "variant": "inferentia", "pool": "inf2-east", "router": "builtin"},
            1.0,
        ),
        ("waiting", {"reason": ""}, None),
    ],
)
def test_a_plan_is_shown_as_its_status_says(metric: str, labels: dict, expected: float | None) -> None:
    metrics = Metrics(now_seconds=lambda: 0.0)
    show(metrics, make_plan(CANARY, analysis={"interval": "60s"}, budget={"maxDualRunCost": "250.00"}))
    found = value(metrics, f"switchyard_cutover_{metric}", **labels)
    assert found == (expected if expected is None else pytest.approx(expected, nan_ok=True))


@pytest.mark.parametrize("phase", get_args(Phase))
def test_a_plan_is_in_one_phase_at_a_time(phase: str) -> None:
    metrics = Metrics()
    show(metrics, make_plan({"phase": phase}))
    ones = {each: value(metrics, "switchyard_cutover_phase", phase=each) for each in get_args(Phase)}
    assert ones == {each: float(each == phase) for each in get_args(Phase)}


def test_a_plan_that_nobody_looked_at_yet_is_pending_and_breaks_nothing() -> None:
    metrics = Metrics()
    show(metrics, make_plan())
    assert value(metrics, "switchyard_cutover_phase", phase="Pending") == 1
    unknown = {"workload": "chat", "variant": "inferentia", "pool": "", "router": ""}
    assert value(metrics, "switchyard_cutover_info", **unknown) == 1
    for absent in ("evidence_age_seconds", "deadline_timestamp_seconds", "dual_run_budget"):
        assert value(metrics, f"switchyard_cutover_{absent}") is None


def test_the_age_of_evidence_grows_between_passes() -> None:
    clock = [100.0]
    metrics = Metrics(now_seconds=lambda: clock[0])
    show(metrics, make_plan(CANARY))
    clock[0] += 45
    assert value(metrics, "switchyard_cutover_evidence_age_seconds") == pytest.approx(75)


@pytest.mark.parametrize(
    ("change", "machine", "age_seconds"),
    [
        ({}, {"readingAt": None}, 599.5),  # from the begin of the stage
        ({}, {"readingAt": None, "stageSince": None}, None),  # its traffic is not confirmed
        ({"phase": "Paused"}, {"resumePhase": "Canary"}, 30.0),
        ({"phase": "Paused"}, {"resumePhase": "Provisioning"}, None),
        ({"phase": "RolledBack"}, {}, None),
        ({"phase": "Completing"}, {}, None),
    ],
)
def test_evidence_has_an_age_while_gates_are_judged(
    change: dict, machine: dict, age_seconds: float | None
) -> None:
    metrics = Metrics(now_seconds=lambda: 0.0)
    show(metrics, make_plan({**CANARY, **change, "machine": {**CANARY["machine"], **machine}}))
    assert value(metrics, "switchyard_cutover_evidence_age_seconds") == age_seconds


def test_a_status_that_was_just_decided_counts_before_the_watch_shows_it() -> None:
    metrics = Metrics()
    plan = make_plan(CANARY)
    write = StatusWrite("CutoverPlan", plan.meta, {**CANARY, "phase": "Soaking"})
    decision = ObjectDecision("CutoverPlan", "shop", "move", status=write)
    show(metrics, plan, decisions=Decisions((decision,)))
    assert value(metrics, "switchyard_cutover_phase", phase="Soaking") == 1


def test_series_disappear_with_their_plan() -> None:
    metrics = Metrics()
    drift = Sight(NOW, RouteState(drift=(Drift("selector", "kubectl", "a", "b"),)))
    show(metrics, make_plan(CANARY), sight=drift)
    assert [name for name, _ in samples(metrics) if name.startswith("switchyard_cutover")]
    show(metrics)
    assert not [name for name, _ in samples(metrics) if name.startswith("switchyard_cutover")]


def test_changes_of_the_path_by_others_are_counted_once_per_look() -> None:
    metrics = Metrics()
    plan = make_plan(CANARY)
    route = RouteState(drift=(Drift("selector", "kubectl", "a", "b"), Drift("port", "kubectl", "1", "2")))

    def drift() -> float | None:
        return value(metrics, "switchyard_cutover_route_drift_total")

    show(metrics, plan)
    assert drift() == 0
    for _ in range(3):  # passes without a new look
        show(metrics, plan, sight=Sight(NOW, route))
    assert drift() == 2
    show(metrics, plan, sight=Sight(NOW + timedelta(seconds=5), RouteState()))
    show(metrics, plan, sight=Sight(NOW + timedelta(seconds=10), None, problem="no answer"))
    assert drift() == 2
    show(metrics, plan, sight=Sight(NOW + timedelta(seconds=15), route))
    assert drift() == 4
    for phase in ("Completing", "RollingBack"):  # the plan itself takes its objects away
        later = Sight(NOW + timedelta(seconds=20), route)
        show(metrics, make_plan({**CANARY, "phase": phase}), sight=later)
    assert drift() == 4
    show(metrics, make_plan(CANARY, uid="uid-2"))
    assert drift() == 0


@dataclass
class Course(ToldPlan):
    """A plan carried out by the real machine, and its metrics after each look."""

    metrics: Metrics = field(default_factory=Metrics)

    def look(self) -> str:
        now = self.world.now
        phase = super().look()
        show(self.metrics, make_plan(self.status), now=now)
        return phase

    def rollbacks(self) -> dict[str, float]:
        return {
            dict(labels)["reason"]: number
            for (name, labels), number in samples(self.metrics).items()
            if name == "switchyard_cutover_rollbacks_total" and number
        }


def test_a_whole_cutover_is_told_by_its_metrics() -> None:
    course = Course()
    seen = []
    while (phase := course.look()) != "Completed":
        seen.append(phase)
        assert (
            sum(
                number
                for (name, _), number in samples(course.metrics).items()
                if name == "switchyard_cutover_phase"
            )
            == 1
        )
        assert value(course.metrics, "switchyard_cutover_phase", phase=phase) == 1
        for segment in course.status.get("segments", ()):
            shown = value(course.metrics, "switchyard_cutover_segment_weight_ratio", segment=segment["name"])
            assert shown == segment["weight"] / 100
    assert {"Provisioning", "Shadowing", "Canary", "Soaking"} <= set(seen)
    assert value(course.metrics, "switchyard_cutover_condition", condition="Succeeded") == 1
    assert value(course.metrics, "switchyard_cutover_segment_weight_ratio", segment="rest") == 1
    assert value(course.metrics, "switchyard_cutover_deadline_timestamp_seconds") is None
    assert course.rollbacks() == {}


def test_a_way_back_is_counted_once_by_its_reason_and_again_in_the_next_attempt() -> None:
    course = Course()
    course.run_to("Canary")
    assert value(course.metrics, "switchyard_cutover_rollbacks_total", reason="GateFailed") == 0
    course.world.judge = fail_when(lambda _: True)
    course.run_to("RolledBack")
    assert value(course.metrics, "switchyard_cutover_gate_verdict", segment="", gate="errors") == 0
    assert value(course.metrics, "switchyard_cutover_condition", condition="Stalled") == 1
    for _ in range(3):
        course.look()
    assert course.rollbacks() == {"GateFailed": 1}
    course.world.edit(restart_token="again")
    course.run_to("RolledBack")
    assert course.rollbacks() == {"GateFailed": 2}


def test_an_abort_before_any_traffic_moved_counts_as_well() -> None:
    course = Course()
    course.run_to("Provisioning")
    course.world.edit(is_aborted=True)
    course.run_to("Aborted")
    assert course.rollbacks() == {"Aborted": 1}


def test_the_count_outlives_a_restart_of_the_operator_and_a_history_that_forgets() -> None:
    course = Course()
    course.run_to("Canary")
    course.world.judge = fail_when(lambda _: True)
    course.run_to("RolledBack")
    other = Metrics()
    show(other, make_plan(course.status))
    assert value(other, "switchyard_cutover_rollbacks_total", reason="GateFailed") == 1
    shorter = {**course.status, "history": course.status["history"][-1:]}
    show(course.metrics, make_plan(shorter))
    assert course.rollbacks() == {"GateFailed": 1}


def test_a_wait_is_shown_with_its_reason_while_it_lasts() -> None:
    course = Course()
    course.run_to("Canary")
    course.world.edit(is_suspended=True)
    course.run_to("Paused")
    assert value(course.metrics, "switchyard_cutover_waiting", reason="Suspended") == 1
    course.world.edit(is_suspended=False)
    course.run_to("Canary")
    assert value(course.metrics, "switchyard_cutover_waiting", reason="Suspended") is None


@pytest.mark.parametrize("reason", RETURN_REASONS)
def test_every_reason_to_return_is_there_from_the_start(reason: str) -> None:
    metrics = Metrics()
    show(metrics, make_plan())
    assert value(metrics, "switchyard_cutover_rollbacks_total", reason=reason) == 0


def test_the_number_of_series_of_a_plan_is_bounded() -> None:
    """By its segments and gates, whatever their reports say."""
    metrics = Metrics()
    course = Course(metrics=metrics)
    gates = [report(f"g{number}", "Inconclusive", "batch", message=f"m{number}") for number in range(12)]
    course.world.facts = replace(make_facts())
    course.world.judge = lambda _: tuple(gates)
    course.run_to("Shadowing")
    for _ in range(20):
        course.look()
    series = [labels for name, labels in samples(metrics) if name.startswith("switchyard_cutover")]
    assert len(series) <= 60 + 5 * len(gates)
    known = {"namespace", "name", "segment", "gate", "phase", "reason", "condition", "of"}
    known |= {"workload", "variant", "pool", "router"}
    assert {label for labels in series for label, _ in labels} <= known


def every_plan_metric() -> Metrics:
    metrics = Metrics()
    waiting = {**CANARY["machine"], "pauseReason": "EvidenceMissing"}
    show(metrics, make_plan({**CANARY, "machine": waiting}, budget={"maxDualRunCost": "250.00"}))
    return metrics


def test_every_documented_metric_of_plans_is_served() -> None:
    families = text_string_to_metric_families(every_plan_metric().render().decode())
    served = {family.name for family in families if family.samples}
    assert {spec.name.removesuffix("_total") for spec in catalog.CUTOVER_METRICS} <= served


@pytest.mark.real
@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_finds_nothing_to_say() -> None:
    told = subprocess.run(
        ["promtool", "check", "metrics"],
        input=every_plan_metric().render(),
        capture_output=True,
        check=False,
    )
    assert (told.returncode, told.stdout, told.stderr) == (0, b"", b"")
