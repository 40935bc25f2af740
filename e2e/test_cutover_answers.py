"""Answers compared while users are on both sides: in a canary what the baseline answers is copied."""

from __future__ import annotations

from typing import Any

from e2e.installation import Operator
from e2e.move import ERRORS, moving, plan, verdicts
from e2e.scene import Scene

ALIKE = {
    "name": "alike",
    "parity": {"comparator": "json", "margin": "0.02"},
    "stages": ["shadow", "canary"],
}
GATES: list[dict[str, Any]] = [ERRORS, ALIKE]
# every copy is compared with what the baseline answers a second time, so that seconds are enough
COPIES = {"percent": 100, "noiseArmPercent": 100, "minDuration": "2s", "minSamples": 30}


def test_answers_are_compared_at_every_step_that_leaves_users_on_the_baseline(
    scene: Scene, operator: Operator
) -> None:
    del operator
    with moving(scene) as move:
        move.write(plan(gates=GATES, shadow=COPIES))
        at_half = move.wait_for_step("all", 50)
        assert at_half["machine"]["shadowPercent"] == 100
        at_whole = move.wait_for_step("all", 100)
        assert at_whole["machine"]["shadowPercent"] == 0
        status = move.wait_for("Completed")
        passed = [each["message"] for each in status["history"] if each["phase"] in {"Canary", "Soaking"}]
        assert ["gate alike" in each for each in passed] == [True, True, False], passed
        move.assert_moved()
        move.traffic.assert_no_failures()


def test_answers_that_go_wrong_with_users_on_both_sides_return_them(scene: Scene, operator: Operator) -> None:
    del operator
    steps = [{"weight": 50, "minDuration": "60s", "minSamples": 30}, {"weight": 100}]
    with moving(scene) as move:
        move.write(plan(gates=GATES, shadow=COPIES, steps=steps))
        move.wait_for_step("all", 50)
        move.disturb("new", wrong_ratio=0.3)
        status = move.wait_for("RolledBack")
        assert verdicts(status)["alike"] == "Fail"
        assert "gate alike" in status["machine"]["rollbackMessage"]
        move.assert_stayed()
        move.traffic.assert_no_failures()
