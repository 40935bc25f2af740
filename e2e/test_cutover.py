"""Moves under callers who never stop asking: what ends on the new side, and what goes back by itself."""

from __future__ import annotations

import pytest
from e2e.installation import Operator
from e2e.marked_traffic import Caller
from e2e.move import ERRORS, MARGIN, is_true, moving, plan, verdicts
from e2e.scene import Scene
from e2e.way_back import measure_way_back

LONG = "60s"  # of a step that nobody passes
HALF = [{"weight": 50, "minDuration": LONG, "minSamples": 30}, {"weight": 100}]
PER_SECOND = 60


def test_a_move_without_a_difference_ends_on_the_new_side(scene: Scene, operator: Operator) -> None:
    del operator
    with moving(scene) as move:
        move.write(plan(target={"variant": "new", "pool": move.pools[1]}))
        move.wait_for("Shadowing")
        move.wait_for("Completed")
        move.assert_moved()
        assert is_true(scene.get("cutoverplan", "move"), "Succeeded")
        move.traffic.assert_no_failures()


@pytest.mark.parametrize("error_ratio", [0.9, 0.35])
def test_errors_of_the_candidate_return_its_users(
    scene: Scene, operator: Operator, error_ratio: float
) -> None:
    del operator
    with moving(scene) as move:
        move.write(plan(steps=HALF))
        move.wait_for_step("all", 50)
        move.traffic.assert_no_failures()
        began = move.disturb("new", error_ratio=error_ratio)
        status = move.wait_for("RolledBack")
        back = measure_way_back(status, move.traffic, began)
        back.assert_prompt()
        back.assert_bounded(PER_SECOND * 0.5 * error_ratio)
        assert verdicts(status)["errors"] == "Fail"
        assert ("hard stop" in status["message"]) == (error_ratio > 0.5)
        move.assert_stayed()


def test_a_candidate_that_becomes_slow_is_left_without_a_failure(scene: Scene, operator: Operator) -> None:
    del operator
    servers = ("--base-ms=60", "--slope-ms=0", "--cv2=0.05", "--slots=32")
    latency = {"name": "fast", "latency": {"target": "150ms", "margin": MARGIN}}
    with moving(scene, old_arguments=servers, new_arguments=servers) as move:
        move.write(plan(steps=HALF, gates=[ERRORS, latency]))
        move.wait_for_step("all", 50)
        began = move.disturb("new", latency_factor=2)
        status = move.wait_for("RolledBack")
        measure_way_back(status, move.traffic, began).assert_prompt()
        assert verdicts(status)["fast"] == "Fail"
        move.assert_stayed()
        move.traffic.assert_no_failures()


def test_wrong_answers_never_leave_the_shadow(scene: Scene, operator: Operator) -> None:
    del operator
    parity = {"name": "alike", "parity": {"comparator": "json", "margin": "0.02"}}
    with moving(scene, new_arguments=("--base-ms=5", "--wrong-ratio=0.3")) as move:
        move.write(plan(gates=[ERRORS, parity]))
        status = move.wait_for("RolledBack")
        assert verdicts(status)["alike"] == "Fail"
        assert "Canary" not in {each["phase"] for each in status["history"]}
        move.assert_stayed()
        move.traffic.assert_no_failures()


def test_a_candidate_that_runs_out_of_memory_is_not_waited_for(scene: Scene, operator: Operator) -> None:
    del operator
    stable = {"name": "stable", "stability": {"maxRestarts": 0}}
    leaking = ("--base-ms=5", f"--leak-bytes-per-request={2**22}")  # 64 copies
    limited = {"resources": {"limits": {"memory": "512Mi"}}}
    with moving(scene, new_arguments=leaking, new_container=limited) as move:
        move.write(plan(gates=[stable], shadow={"percent": 100, "minDuration": LONG}))
        status = move.wait_for("RolledBack")
        assert verdicts(status)["stable"] == "Fail"
        move.assert_stayed()
        move.traffic.assert_no_failures()


def test_a_dearer_candidate_is_left_in_canary(scene: Scene, operator: Operator) -> None:
    del operator
    cost = {"name": "cheap", "cost": {"maxIncreasePercent": 10}}
    with moving(scene) as move:
        move.write(plan(steps=HALF, gates=[ERRORS, cost], target={"variant": "new", "pool": move.pools[1]}))
        status = move.wait_for("RolledBack")
        assert verdicts(status)["cheap"] == "Fail"
        move.assert_stayed()
        move.traffic.assert_no_failures()


TIERS = tuple(
    Caller(name, 20, {"x-switchyard-tier": name}) for name in ("batch", "internal", "customer-facing")
)
SEGMENTS = [
    {"name": "batch", "match": {"tier": "batch"}},
    {"name": "internal", "match": {"tier": "internal"}},
    {"name": "rest"},
]
SMALL_STEPS = [{"weight": 50, "minDuration": "2s", "minSamples": 15}, {"weight": 100, "minDuration": "2s"}]


@pytest.mark.parametrize(("scope", "kept"), [("segment", {"batch": 100}), ("plan", {})])
def test_a_segment_that_fails_goes_back_and_the_others_stay(
    scene: Scene, operator: Operator, scope: str, kept: dict[str, int]
) -> None:
    del operator
    with moving(scene, callers=TIERS) as move:
        spec = {"segments": SEGMENTS, "steps": SMALL_STEPS}
        move.write(plan(**spec, rollback={"scope": scope, "retainBaseline": "3s"}))
        move.wait_for_step("internal", 50)
        began = move.disturb("new", error_ratio=0.9, tier="internal")
        status = move.wait_for("RolledBack")
        back = measure_way_back(status, move.traffic, began)
        back.assert_prompt()
        back.assert_bounded(20 * 0.5 * 0.9)
        move.traffic.assert_no_failures("batch")
        move.traffic.assert_no_failures("customer-facing")
        assert move.weights == {"batch": 0, "internal": 0, "rest": 0} | kept, status["message"]
        since = move.traffic.mark("the end of the plan")
        move.hold_still(3)
        assert move.traffic.failed_since(since + 1) == []
        assert move.weights == {"batch": 0, "internal": 0, "rest": 0} | kept
        if not kept:
            move.assert_stayed()
