"""Moves under callers who never stop asking: what ends on the new side, and what goes back by itself."""

from __future__ import annotations

import math

import pytest
from e2e.installation import Operator
from e2e.marked_traffic import Caller
from e2e.move import ANALYSIS, ERRORS, MARGIN, is_true, moving, plan, verdicts
from e2e.scene import Scene
from e2e.way_back import measure_way_back

pytestmark = pytest.mark.timeout(400)  # on a machine that is busy with other things

LONG = "60s"  # of a step that nobody passes
HALF = [{"weight": 50, "minDuration": LONG, "minSamples": 30}, {"weight": 100}]
PER_SECOND = 60
TIERS = tuple(
    Caller(name, 20, {"x-switchyard-tier": name}) for name in ("batch", "internal", "customer-facing")
)
SEGMENTS = [
    {"name": "batch", "match": {"tier": "batch"}},
    {"name": "internal", "match": {"tier": "internal"}},
    {"name": "rest"},
]
SMALL_STEPS = [{"weight": 50, "minDuration": "2s", "minSamples": 15}, {"weight": 100, "minDuration": "2s"}]


def test_a_move_without_a_difference_ends_on_the_new_side(scene: Scene, operator: Operator) -> None:
    del operator
    with moving(scene) as move:
        move.write(plan(target={"variant": "new", "pool": move.pools[1]}))
        move.wait_for("Shadowing")
        move.wait_for("Completed")
        move.assert_moved()
        assert is_true(scene.get("cutoverplan", "move"), "Succeeded")
        move.traffic.assert_no_failures()


def test_segments_move_one_after_the_other_least_risk_first(scene: Scene, operator: Operator) -> None:
    del operator
    with moving(scene, callers=TIERS) as move:
        move.write(plan(segments=SEGMENTS, steps=SMALL_STEPS))
        status = move.wait_for("Completed", seconds=300)
        steps = [(each["segment"], each["weight"]) for each in status["history"] if each["phase"] == "Canary"]
        assert steps == [(name, weight) for name in ("batch", "internal", "rest") for weight in (50, 100)]
        move.assert_moved()
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


def test_silence_is_no_pass_and_the_plan_goes_on_when_somebody_asks(scene: Scene, operator: Operator) -> None:
    del operator
    analysis = {**ANALYSIS, "inconclusiveAfter": "10m"}
    with moving(scene) as move:
        move.traffic.hush()
        move.write(plan(analysis=analysis))
        held = move.wait_for("Paused")
        assert (held["machine"]["pauseReason"], move.weights) == ("EvidenceMissing", {"all": 0}), held
        move.hold_still(5)
        assert move.status["phase"] == "Paused"
        assert move.weights == {"all": 0}
        move.traffic.speak()
        move.wait_for("Completed")
        move.assert_moved()
        move.traffic.assert_no_failures()


def test_silence_in_canary_goes_back_at_its_deadline_where_the_plan_says_so(
    scene: Scene, operator: Operator
) -> None:
    del operator
    analysis = {**ANALYSIS, "inconclusiveAfter": "6s", "onInconclusive": "rollback"}
    with moving(scene) as move:
        move.write(plan(steps=HALF, analysis=analysis))
        move.wait_for_step("all", 50)
        move.traffic.hush()
        status = move.wait_for("RolledBack")
        assert status["machine"]["rollbackReason"] == "EvidenceMissing", move.tell(status)
        move.traffic.speak()
        move.assert_stayed()
        move.traffic.assert_no_failures()


def test_fewer_requests_are_copied_to_a_candidate_that_is_too_busy(scene: Scene, operator: Operator) -> None:
    del operator
    shadow = {"percent": 100, "minDuration": "8s", "minSamples": 30, "maxCandidateUtilisation": "0.015"}
    with moving(scene) as move:  # 5 requests of 20 ms per second keep 4 slots busy by 0.025
        move.write(plan(shadow=shadow))
        move.wait_for("Shadowing")
        fitted = scene.until(
            lambda: move.status["machine"]["shadowPercent"], lambda share: share < 100, "less is copied"
        )
        assert 30 <= fitted <= 70
        assert move.wait_for("Completed")["machine"]["shadowPercent"] == 0
        reasons = {each["reason"] for each in scene.get("events")["items"]}
        assert "ShadowFitted" in reasons
        move.traffic.assert_no_failures()


def test_failures_that_both_sides_have_at_once_return_nobody(scene: Scene, operator: Operator) -> None:
    del operator
    steps = [{"weight": 50, "minDuration": "15s", "minSamples": 30}, {"weight": 100, "minDuration": "2s"}]
    with moving(scene) as move:
        move.write(plan(steps=steps))
        move.wait_for_step("all", 50)
        move.traffic.assert_no_failures()
        began = move.disturb("old", "new", error_ratio=0.6)
        move.hold_still(4)
        ended = move.disturb("old", "new", error_ratio=0)
        move.wait_for("Completed", seconds=200)
        assert len(move.traffic.failed_since(began)) > 50, "the burst reached nobody"
        assert move.traffic.failed_since(ended + 1) == []
        move.assert_moved()


def test_users_and_copies_reach_the_new_side_in_the_shares_asked_for(
    scene: Scene, operator: Operator
) -> None:
    del operator
    shadow = {"percent": 40, "minDuration": "15s", "minSamples": 30}
    steps = [{"weight": 25, "minDuration": "15s", "minSamples": 30}, {"weight": 100}]
    servers = ("--base-ms=5", "--model=old"), ("--base-ms=5", "--model=new")
    with moving(scene, old_arguments=servers[0], new_arguments=servers[1]) as move:
        move.write(plan(shadow=shadow, steps=steps))
        scene.until(lambda: move.status, lambda seen: "stageSince" in seen.get("machine", {}), "it copies")
        before = move.traffic.sent, move.count_answers("new")
        move.hold_still(10)
        copied = move.count_answers("new") - before[1]
        assert_share(copied, move.traffic.sent - before[0], 0.40)
        assert move.traffic.served["all", "new"] == 0, "copies are no answers"
        move.wait_for_step("all", 25)
        before = move.traffic.served["all", "new"], move.traffic.served["all", "old"]
        move.hold_still(12)
        new, old = (
            move.traffic.served["all", "new"] - before[0],
            move.traffic.served["all", "old"] - before[1],
        )
        assert_share(new, new + old, 0.25)
        move.traffic.assert_no_failures()


def assert_share(part: int, whole: int, share: float) -> None:
    """The part lies within four standard deviations of that share, and what is under way at the edges."""
    deviation = math.sqrt(whole * share * (1 - share))
    print(f"{part} of {whole}, {part / whole:.3f} for {share}, deviation {deviation:.0f}")
    assert whole > 400, "too few to tell"
    assert abs(part - whole * share) <= 4 * deviation + 5, (part, whole, share)


def test_answers_that_stream_are_whole_whatever_moves_meanwhile(scene: Scene, operator: Operator) -> None:
    del operator
    slow = ("--base-ms=3000", "--slope-ms=0", "--cv2=0", "--slots=64")
    question = {
        "model": "any",
        "messages": [{"role": "user", "content": "hello"}],
        "stream": True,
        "max_tokens": 30,
    }
    asked = {"path": "/v1/chat/completions", "body": question, "ending": b"data: [DONE]\n\n"}
    with moving(
        scene,
        callers=(Caller("all", 8),),  # some 24 under way at any moment
        old_arguments=(*slow, "--model=old"),
        new_arguments=(*slow, "--model=new"),
        asked=asked,
    ) as move:
        move.write(plan(shadow={"percent": 50, "minDuration": "2s", "minSamples": 20}))
        move.wait_for("Completed", seconds=200)
        move.assert_moved()
        move.traffic.assert_no_failures()
        assert min(move.traffic.served["all", name] for name in ("old", "new")) > 20
