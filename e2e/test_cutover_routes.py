"""Moves where a Gateway or a mesh splits the traffic: what ends on the new side, what goes back by itself."""

from __future__ import annotations

from typing import Any

import pytest
from e2e.behind import PER_SECOND, ROUTERS, assert_let_go, moving_behind
from e2e.installation import Operator
from e2e.marked_traffic import Caller
from e2e.move import ERRORS, MARGIN, is_true, plan, verdicts
from e2e.scene import Scene
from e2e.way_back import measure_way_back

LONG = "60s"  # of a step that nobody passes
HALF = [{"weight": 50, "minDuration": LONG, "minSamples": 30}, {"weight": 100}]
PARITY = {"name": "alike", "parity": {"comparator": "json", "margin": "0.02"}}
STABLE = {"name": "stable", "stability": {"maxRestarts": 0}}
COST = {"name": "cheap", "cost": {"maxIncreasePercent": 10}}

pytestmark = pytest.mark.parametrize("router", ROUTERS)


def test_a_move_without_a_difference_ends_on_the_new_side(
    scene: Scene, operator: Operator, router: str
) -> None:
    del operator
    with moving_behind(scene, router) as move:
        move.write(plan(target={"variant": "new", "pool": move.pools[1]}))
        move.wait_for("Completed")
        move.assert_moved()
        assert_let_go(scene, router)
        assert is_true(scene.get("cutoverplan", "move"), "Succeeded")
        move.traffic.assert_no_failures()


def test_errors_of_the_candidate_return_its_users(scene: Scene, operator: Operator, router: str) -> None:
    del operator
    error_ratio = 0.4
    with moving_behind(scene, router) as move:
        move.write(plan(steps=HALF))
        move.wait_for_step("all", 50)
        move.traffic.assert_no_failures()
        began = move.disturb("new", error_ratio=error_ratio)
        status = move.wait_for("RolledBack")
        back = measure_way_back(status, move.traffic, began)
        back.assert_prompt()
        back.assert_bounded(PER_SECOND * 0.5 * error_ratio)
        assert verdicts(status)["errors"] == "Fail"
        move.assert_stayed()
        assert_let_go(scene, router)


def test_a_candidate_that_becomes_slow_is_left_without_a_failure(
    scene: Scene, operator: Operator, router: str
) -> None:
    del operator
    servers = ("--base-ms=60", "--slope-ms=0", "--cv2=0.05", "--slots=32")
    slow = {"name": "fast", "latency": {"target": "300ms", "margin": MARGIN}}  # an edge of vLLM's buckets
    with moving_behind(scene, router, old_arguments=servers, new_arguments=servers) as move:
        move.write(plan(steps=HALF, gates=[ERRORS, slow]))
        move.wait_for_step("all", 50)
        began = move.disturb("new", latency_factor=10)
        status = move.wait_for("RolledBack")
        measure_way_back(status, move.traffic, began).assert_prompt()
        assert verdicts(status)["fast"] == "Fail"
        move.assert_stayed()
        move.traffic.assert_no_failures()


@pytest.mark.parametrize(
    ("gate", "fault"),
    [(PARITY, "--wrong-ratio=0.3"), (STABLE, f"--leak-bytes-per-request={2**22}")],
    ids=["parity", "restarts"],
)
def test_what_copies_show_is_wrong_never_gets_a_user(
    scene: Scene, operator: Operator, router: str, gate: dict[str, Any], fault: str
) -> None:
    del operator
    limits = {"resources": {"limits": {"memory": "512Mi"}}}  # what leaks fills it with 64 copies
    with moving_behind(scene, router, new_arguments=("--base-ms=5", fault), new_container=limits) as move:
        # half of the copies are compared here: of all those the baseline's own noise is wanted
        told = {"replayPercent": 50, "noiseArmPercent": 100}
        shadow = {"percent": 100, **told, "minDuration": LONG, "minSamples": 200}
        move.write(plan(gates=[gate], shadow=shadow))
        status = move.wait_for("RolledBack")
        assert verdicts(status)[gate["name"]] == "Fail"
        assert "Canary" not in {each["phase"] for each in status["history"]}
        move.assert_stayed()
        assert_let_go(scene, router)
        move.traffic.assert_no_failures()


def test_a_dearer_candidate_is_left_in_canary(scene: Scene, operator: Operator, router: str) -> None:
    del operator
    with moving_behind(scene, router) as move:
        move.write(plan(steps=HALF, gates=[ERRORS, COST], target={"variant": "new", "pool": move.pools[1]}))
        status = move.wait_for("RolledBack")
        assert verdicts(status)["cheap"] == "Fail"
        move.assert_stayed()
        move.traffic.assert_no_failures()


TIERS = tuple(
    Caller(name, 12, {"x-switchyard-tier": name}) for name in ("batch", "internal", "customer-facing")
)
SEGMENTS = [
    {"name": "batch", "match": {"tier": "batch"}},
    {"name": "internal", "match": {"headers": [{"name": "x-switchyard-tier", "value": "internal"}]}},
    {"name": "rest"},
]
SMALL_STEPS = [{"weight": 50, "minDuration": "2s", "minSamples": 15}, {"weight": 100, "minDuration": "2s"}]


def segments_of_tiers(**rollback: str) -> dict[str, Any]:
    """A plan whose second segment stays at half; the first has moved by then.

    In shadow only a tenth of so few requests would be compared, for each segment by itself.
    """
    held = {**SEGMENTS[1], "steps": HALF}
    return plan(
        segments=[SEGMENTS[0], held, SEGMENTS[2]],
        steps=SMALL_STEPS,
        shadow={"percent": 0},
        rollback={"retainBaseline": "3s", **rollback},
    )


@pytest.mark.parametrize("guilty", ["internal", "batch"])
def test_the_segment_that_moves_goes_back_and_the_earlier_one_stays_whoever_has_the_errors(
    scene: Scene, operator: Operator, router: str, guilty: str
) -> None:
    del operator
    with moving_behind(scene, router, callers=TIERS) as move:
        move.write(segments_of_tiers())
        move.wait_for_step("internal", 50)
        move.traffic.assert_no_failures()
        began = move.disturb("new", error_ratio=0.9, tier=guilty)
        status = move.wait_for("RolledBack")
        back = measure_way_back(status, move.traffic, began)
        # metrics of tracks know no segments: what moves goes back, and what had passed stays
        assert move.weights == {"batch": 100, "internal": 0, "rest": 0}, status["message"]
        move.traffic.assert_no_failures("customer-facing")
        since = move.traffic.mark("the end of the plan")
        move.hold_still(3)
        failing = {each.caller for each in move.traffic.failed_since(since + 1)}
        if guilty == "internal":
            back.assert_prompt()
            back.assert_bounded(12 * 0.5 * 0.9)
            move.traffic.assert_no_failures("batch")
            assert failing == set()
        else:
            move.traffic.assert_no_failures("internal")
            assert failing == {"batch"}
            move.change(abort=True)  # what a person does then
            scene.until(lambda: move.weights["batch"], lambda weight: weight == 0, "batch is back, too")
            since = move.traffic.mark("batch is back")
            move.hold_still(2)
            assert move.traffic.failed_since(since + 1) == []


def test_errors_of_the_earlier_segment_return_both_where_the_whole_plan_goes_back(
    scene: Scene, operator: Operator, router: str
) -> None:
    del operator
    with moving_behind(scene, router, callers=TIERS) as move:
        move.write(segments_of_tiers(scope="plan"))
        move.wait_for_step("internal", 50)
        began = move.disturb("new", error_ratio=0.9, tier="batch")
        status = move.wait_for("RolledBack")
        back = measure_way_back(status, move.traffic, began)
        back.assert_prompt()
        back.assert_bounded(12 * 0.9)
        assert set(move.weights.values()) == {0}
        move.assert_stayed()
        assert_let_go(scene, router)
        move.traffic.assert_no_failures("internal")
        move.traffic.assert_no_failures("customer-facing")
