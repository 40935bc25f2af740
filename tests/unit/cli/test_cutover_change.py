"""What approve, pause, resume, abort and retry write into a plan, and what they refuse."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import jsonpatch
import pytest
from tests.unit.cli.cutover_objects import AT, in_phase, plan, plan_body

from switchyard.cli.cutover_change import Change, abort, approve, build_patch, pause, resume, retry
from switchyard.cli.cutover_plan import CutoverError, Plan, read_plan

NOW = datetime(2026, 11, 21, 12, 30, tzinfo=UTC)
WAITS = in_phase(
    "AwaitingApproval",
    approvals=[
        {"stage": "canary", "requestedAt": AT},
        {"stage": "shadow", "requestedAt": AT, "approvedAt": AT},
    ],
)
STEPS = {"approvals": ["shadow", "canary", "promote"]}
ENDED = in_phase("RolledBack", segments=[{"name": "all", "state": "RolledBack", "weight": 0}])
HELD = in_phase("RolledBack", segments=[{"name": "batch", "state": "Candidate", "weight": 100}])


def try_again(given: Plan) -> Change:
    return retry(given, NOW)


def release(*stages: str) -> Callable[[Plan], Change]:
    return lambda given: approve(given, stages)


WRITES: dict[str, tuple[Callable[[Plan], Change], Plan, dict[str, Any]]] = {
    "approve releases what waits": (release(), plan(WAITS, **STEPS), {"approved": ["canary"]}),
    "approve keeps what was released": (
        release(),
        plan(WAITS, **STEPS, approved=["shadow"]),
        {"approved": ["shadow", "canary"]},
    ),
    "approve of a stage ahead": (
        release("promote"),
        plan(in_phase("Shadowing"), **STEPS),
        {"approved": ["promote"]},
    ),
    "approve of a segment that asks by itself": (
        release("segment:vip"),
        plan(in_phase("Canary"), segments=[{"name": "vip", "approval": True}]),
        {"approved": ["segment:vip"]},
    ),
    "approve again": (release("canary"), plan(WAITS, **STEPS, approved=["canary"]), {}),
    "pause": (pause, plan(in_phase("Canary")), {"suspend": True}),
    "pause before the operator saw the plan": (pause, plan({"observedGeneration": -1}), {"suspend": True}),
    "pause again": (pause, plan(in_phase("Paused"), suspend=True), {}),
    "resume": (resume, plan(in_phase("Paused"), suspend=True), {"suspend": None}),
    "abort": (abort, plan(in_phase("Canary")), {"abort": True}),
    "abort of a paused plan": (abort, plan(in_phase("Paused"), suspend=True), {"abort": True}),
    "abort again": (abort, plan(in_phase("RollingBack"), abort=True), {}),
    "abort of a plan that ended and still holds traffic": (abort, plan(HELD), {"abort": True}),
    "retry": (try_again, plan(ENDED), {"restartToken": "20261121T123000Z"}),
    "retry forgets abort and approvals": (
        try_again,
        plan(in_phase("Aborted"), abort=True, approvals=["canary"], approved=["canary"]),
        {"restartToken": "20261121T123000Z", "abort": None, "approved": None},
    ),
    "retry of a completed plan whose target was changed": (
        try_again,
        plan(in_phase("Completed", candidate={"variant": "gpu", "pool": "l4"})),
        {"restartToken": "20261121T123000Z"},
    ),
    "retry within the same second": (
        try_again,
        plan(
            {**ENDED, "machine": {"restartToken": "20261121T123000Z"}},
            restartToken="20261121T123000Z",
        ),
        {"restartToken": "20261121T123000Z-2"},
    ),
}


@pytest.mark.parametrize("case", WRITES)
def test_a_change_writes(case: str) -> None:
    change, given, fields = WRITES[case]
    assert dict(change(given).fields) == fields


REFUSES: dict[str, tuple[Callable[[Plan], Change], Plan, str]] = {
    "approve of a plan that asks for none": (release(), plan(in_phase("Canary")), "asks for no approval"),
    "approve while nothing waits": (
        release(),
        plan(in_phase("Shadowing"), **STEPS),
        "waits for no approval now (phase Shadowing); shadow, canary, promote can be approved ahead",
    ),
    "approve of a stage that nobody asked for": (
        release("segment:x"),
        plan(WAITS, **STEPS),
        "'segment:x': chat-to-neuron asks for no such approval; it asks for shadow, canary, promote",
    ),
    "approve of an ended plan": (release(), plan(ENDED, **STEPS), "has ended (RolledBack)"),
    "pause of a completed plan": (pause, plan(in_phase("Completed")), "has ended (Completed)"),
    "pause of a rolled back plan": (pause, plan(ENDED), "cutover retry chat-to-neuron"),
    "resume of a plan that nobody paused": (resume, plan(in_phase("Canary")), "is not paused (phase Canary)"),
    "resume of a plan that waits for approval": (
        resume,
        plan(WAITS, **STEPS),
        "waits for approval of canary: `kubectl switchyard cutover approve chat-to-neuron`",
    ),
    "pause on the way back": (pause, plan(in_phase("RollingBack")), "phase RollingBack, which can't be held"),
    "pause at the very end": (pause, plan(in_phase("Completing")), "phase Completing, which can't be held"),
    "resume of a plan whose gate failed": (
        resume,
        plan(in_phase("Paused", machine={"pauseReason": "GateFailed"})),
        "`pause` and then `resume` tries the stage again",
    ),
    "resume of a plan that paused by itself": (
        resume,
        plan(in_phase("Paused", message="no request reached the candidate")),
        "goes on by itself when its reason is gone: no request reached the candidate",
    ),
    "abort of a completed plan": (
        abort,
        plan(in_phase("Completed", baseline={"variant": "gpu", "pool": "l4"})),
        "make a plan to gpu",
    ),
    "abort of an ended plan": (abort, plan(ENDED), "all traffic is on the baseline"),
    "retry under way": (try_again, plan(in_phase("Canary")), "is under way (phase Canary)"),
    "retry of a completed plan": (try_again, plan(in_phase("Completed")), "is Completed"),
    "retry of a completed plan whose target names no pool": (
        try_again,
        plan(in_phase("Completed", candidate={"variant": "neuron", "pool": "inf2"})),
        "change spec.target, or make another plan",
    ),
    "retry twice before the operator looked": (
        try_again,
        plan({**ENDED, "machine": {"restartToken": ""}}, restartToken="a"),
        "has not read it yet",
    ),
}


@pytest.mark.parametrize("case", REFUSES)
def test_a_change_is_refused(case: str) -> None:
    change, given, told = REFUSES[case]
    with pytest.raises(CutoverError) as caught:
        change(given)
    assert told in str(caught.value)


def test_retry_says_that_traffic_returns_first() -> None:
    assert "once all traffic is back on the baseline" in retry(plan(HELD), NOW).told
    assert "once" not in retry(plan(ENDED), NOW).told


def test_a_plan_with_a_token_is_seen_before_its_attempt_begins() -> None:
    assert plan(in_phase("Pending", machine={}), restartToken="a").is_seen
    assert not plan(in_phase("RolledBack", machine={}), restartToken="a").is_seen


def test_a_patch_holds_for_one_version_only() -> None:
    body = plan_body(suspend=True)
    patch = build_patch(body, Change("", (("suspend", None), ("abort", True), ("approved", None))))
    changed = jsonpatch.apply_patch(body, patch)
    assert changed["spec"] == {**plan_body()["spec"], "abort": True}
    body["metadata"]["resourceVersion"] = "8"
    with pytest.raises(jsonpatch.JsonPatchTestFailed):
        jsonpatch.apply_patch(body, patch)


@pytest.mark.parametrize(
    ("status", "spec", "code"),
    [
        (in_phase("Completed"), {}, 0),
        (in_phase("RolledBack"), {}, 2),
        (in_phase("Aborted"), {}, 2),
        (in_phase("RollingBack"), {}, 4),
        (in_phase("Paused"), {}, 4),
        ({}, {}, 4),
        (in_phase("Completed", observedGeneration=1), {}, 4),
        (in_phase("RolledBack", machine={"restartToken": "a"}), {"restartToken": "b"}, 4),
        (in_phase("RolledBack", machine={"restartToken": "b"}), {"restartToken": "b"}, 2),
    ],
)
def test_an_end_counts_only_for_what_the_plan_asks_for_now(
    status: dict[str, Any], spec: dict[str, Any], code: int
) -> None:
    assert plan(status, **spec).exit_code == code


def test_a_plan_that_cannot_be_read_names_the_field() -> None:
    with pytest.raises(
        CutoverError, match=r"CutoverPlan chat-to-neuron can't be read: spec\.analysis\.interval"
    ):
        read_plan(plan_body(analysis={"interval": "soon"}))
