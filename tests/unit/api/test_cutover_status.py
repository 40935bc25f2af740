"""The status of a cutover plan has a place for all that its machine remembers, in the machine's own words."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchyard.api.crd import CUTOVER_PLAN, build_schema
from switchyard.api.cutover_status import CutoverPlanStatus
from switchyard.core.cutover import types

SCHEMA = build_schema(CUTOVER_PLAN)["properties"]["status"]
SPEC = build_schema(CUTOVER_PLAN)["properties"]["spec"]

HOMES = {
    "phase": "phase",
    "attempt": "machine.attempt",
    "restart_token": "machine.restartToken",
    "generation": "observedGeneration",
    "inputs_hash": "machine.inputsHash",
    "router": "router",
    "baseline": "baseline",
    "candidate": "candidate",
    "segments": "segments",
    "segment_index": "machine.segmentIndex",
    "step_index": "machine.stepIndex",
    "shadow_percent": "machine.shadowPercent",
    "traffic_version": "machine.trafficVersion",
    "candidate_replicas": "machine.candidateReplicas",
    "phase_since": "machine.phaseSince",
    "stage_since": "machine.stageSince",
    "deadline": "machine.deadline",
    "started_at": "startedAt",
    "completed_at": "completedAt",
    "inconclusive_since": "machine.inconclusiveSince",
    "resume_phase": "machine.resumePhase",
    "pause_reason": "machine.pauseReason",
    "rollback_reason": "machine.rollbackReason",
    "rollback_message": "machine.rollbackMessage",
    "rollback_to": "machine.rollbackTo",
    "rollback_scope": "machine.rollbackScope",
    "requested": "approvals",
    "approved": "approvals",
    "window_index": "machine.windowIndex",
    "reading_at": "machine.readingAt",
    "reading": "machine.reading",
    "evidence": "evidence",
    "restarts_before": "machine.restartsBefore",
    "drift": "machine.drift",
    "dual_run_cost": "cost.dualRun",
    "cost_at": "machine.costAt",
    "history": "history",
    "message": "message",
}
PARTS = {
    "baseline": (types.Side, {"variant": "variant", "pool": "pool", "track": "track"}),
    "candidate": (types.Side, {"variant": "variant", "pool": "pool", "track": "track"}),
    "segments": (types.SegmentState, {"name": "name", "place": "state", "weight_percent": "weight"}),
    "history": (
        types.Transition,
        {
            "at": "at",
            "phase": "phase",
            "reason": "reason",
            "message": "message",
            "segment": "segment",
            "weight_percent": "weight",
        },
    ),
}


def find(path: str) -> dict[str, Any] | None:
    """The schema of a field of the status, by its path."""
    here: dict[str, Any] | None = SCHEMA
    for name in path.split("."):
        here = (here or {}).get("properties", {}).get(name)
    return here


def names_of(kind: Any) -> set[str]:
    return {field.name for field in dataclasses.fields(kind)}


def test_each_thing_that_the_machine_remembers_has_a_field() -> None:
    assert set(HOMES) == names_of(types.State)
    assert {name for name, path in HOMES.items() if find(path) is None} == set()


@pytest.mark.parametrize("field", PARTS)
def test_each_part_of_a_thing_has_a_field(field: str) -> None:
    kind, homes = PARTS[field]
    schema = find(HOMES[field])
    assert schema is not None
    properties = schema["items"]["properties"] if schema["type"] == "array" else schema["properties"]
    assert set(homes) == names_of(kind)
    assert set(homes.values()) <= set(properties)


def test_the_machine_remembers_nothing_that_is_not_its_state() -> None:
    machine = find("machine")
    assert machine is not None
    assert {f"machine.{name}" for name in machine["properties"]} <= set(HOMES.values())


def test_the_words_of_the_status_are_those_of_the_machine() -> None:
    def words(path: str) -> set[str]:
        schema = find(path)
        assert schema is not None
        return set(schema["enum"])

    assert words("phase") == words("machine.resumePhase") == set(get_args(types.Phase))
    assert words("router") == set(get_args(types.Router))
    assert words("machine.rollbackTo") == {"", "RolledBack", "Aborted"}
    assert words("machine.rollbackScope") == {"", "segment", "plan"}
    items = {
        name: SCHEMA["properties"][name]["items"]["properties"] for name in ("segments", "gates", "history")
    }
    assert set(items["segments"]["state"]["enum"]) == set(get_args(types.SegmentPlace))
    assert set(items["gates"]["verdict"]["enum"]) == set(get_args(types.Verdict))
    assert set(items["history"]["phase"]["enum"]) == set(get_args(types.Phase))


def test_the_words_of_gates_are_those_of_the_machine() -> None:
    gate = SPEC["properties"]["gates"]["items"]["properties"]
    assert set(gate) - {"name", "stages"} == set(get_args(types.GateKind))
    assert set(gate["stages"]["items"]["enum"]) == set(get_args(types.GateStage))
    assert set(gate["latency"]["properties"]["metric"]["enum"]) == set(get_args(types.Metric))


def test_each_figure_of_a_report_has_a_field() -> None:
    assert names_of(types.GateReport) == {
        "name",
        "verdict",
        "segment",
        "observed",
        "margin",
        "samples",
        "harm_ratio",  # harmPercent
        "safe_ratio",  # safePercent
        "needed",
        "eta_seconds",  # eta
        "missing",
        "message",
        "false_rollback_probability",
        "false_promotion_probability",
    }
    shown = set(SCHEMA["properties"]["gates"]["items"]["properties"])
    assert shown == {
        "name",
        "verdict",
        "segment",
        "observed",
        "margin",
        "samples",
        "harmPercent",
        "safePercent",
        "needed",
        "eta",
        "missing",
        "message",
        "falseRollbackProbability",
        "falsePromotionProbability",
    }


def test_the_largest_plan_fits() -> None:
    """All of its segments and what is left, all of its gates in each of them, all of its stages."""
    segments = SPEC["properties"]["segments"]["maxItems"]
    status: Mapping[str, Any] = SCHEMA["properties"]
    assert status["segments"]["maxItems"] == segments + 1
    assert status["gates"]["maxItems"] == SPEC["properties"]["gates"]["maxItems"] * (segments + 1)
    assert status["evidence"]["maxItems"] >= status["gates"]["maxItems"]
    assert status["approvals"]["maxItems"] >= segments + len(("shadow", "canary", "promote"))


def test_the_largest_status_is_one_that_a_cluster_stores() -> None:
    """etcd takes 1.5 MiB in a request; the rest of the object has to fit beside reading and evidence."""
    entry = SCHEMA["properties"]["evidence"]["items"]["properties"]
    evidence = SCHEMA["properties"]["evidence"]["maxItems"] * sum(
        each["maxLength"] for each in entry.values()
    )
    reading = find("machine.reading")
    assert reading is not None
    assert evidence + reading["maxLength"] < 1024 * 1024


@given(moment=st.datetimes(timezones=st.just(UTC), min_value=datetime(2000, 1, 1)))  # noqa: DTZ001  (Hypothesis adds the zone)
def test_a_moment_comes_back_to_the_microsecond(moment: datetime) -> None:
    status = CutoverPlanStatus.model_validate({"startedAt": moment.isoformat()})
    written = status.model_dump(mode="json", by_alias=True, exclude_none=True)
    assert datetime.fromisoformat(written["startedAt"]) == moment


def test_a_status_without_anything_is_that_of_a_plan_not_looked_at() -> None:
    status = CutoverPlanStatus.model_validate({"observedGeneration": -1})
    assert status == CutoverPlanStatus()
    assert status.model_dump(mode="json", by_alias=True, exclude_defaults=True) == {}
