"""A workload that may move by itself: a price changes, a plan appears, and what comes of it."""

from __future__ import annotations

import json
import time
from typing import Any

from e2e.installation import Operator
from e2e.move import ANALYSIS, ERRORS, NAME, STEPS, TERMINAL, Move, moving
from e2e.scene import Scene

QUIET_SECONDS = 8  # more than an advice, a stabilisation and a resync of this scenario
AUTO = {"migration": "auto", "stabilisation": "2s", "minSavingPercent": 10}
# what a user may do with a plan that is there: the operator writes it once
SHORT = {
    "shadow": {"percent": 100, "minDuration": "2s", "minSamples": 30},
    "steps": STEPS,
    "gates": [ERRORS],
    "analysis": ANALYSIS,
    "rollback": {"retainBaseline": "3s"},
}


def _plans(scene: Scene) -> list[dict[str, Any]]:
    return scene.get("cutoverplans")["items"]  # type: ignore[no-any-return]


def _plan(scene: Scene, name: str) -> dict[str, Any]:
    found: dict[str, Any] = scene.get("cutoverplan", name)
    return found


def _phase(scene: Scene, name: str) -> str:
    return str(_plan(scene, name).get("status", {}).get("phase", ""))


def _change(scene: Scene, name: str, **spec: Any) -> None:
    scene.kubectl("patch", "cutoverplan", name, "--type=merge", "-p", json.dumps({"spec": spec}))


def _price(move: Move, old: str, new: str) -> None:
    move.traffic.mark(f"prices {old} and {new}")
    for name, price in zip(move.pools, (old, new), strict=True):
        patch = json.dumps({"spec": {"cost": {"devicePerHour": price}}})
        move.scene.kubectl("patch", "apool", name, "--type=merge", "-p", patch)


def _served_in(scene: Scene) -> str:
    return str(scene.get("iw", NAME)["status"]["placements"][0]["pool"])


def _told(scene: Scene, reason: str) -> list[dict[str, Any]]:
    return [each for each in scene.get("events")["items"] if each["reason"] == reason]


def test_a_price_change_becomes_a_plan_that_moves_the_workload_and_one_aborted_is_not_made_again(
    scene: Scene, operator: Operator
) -> None:
    del operator
    with moving(scene, placement=AUTO) as move:
        assert _plans(scene) == []
        _price(move, "9.00", "0.50")
        (made,) = scene.until(
            lambda: _plans(scene), lambda seen: len(seen) == 1, "a plan for the cheaper pool"
        )
        name = made["metadata"]["name"]
        workload = scene.get("iw", NAME)
        assert made["spec"]["target"]["pool"] == move.pools[1]
        assert [each["name"] for each in made["spec"]["gates"]] == [
            "errors",
            "latency-p95",
            "stability",
            "cost",
        ]
        assert [each["uid"] for each in made["metadata"]["ownerReferences"]] == [workload["metadata"]["uid"]]
        (told,) = _told(scene, "CutoverProposed")
        assert told["involvedObject"]["name"] == NAME
        assert name in told["message"]

        _change(scene, name, **SHORT)
        move.traffic.mark("the plan is made shorter")
        scene.until(lambda: _phase(scene, name), lambda phase: phase in TERMINAL, "the plan ends")
        assert _phase(scene, name) == "Completed", _plan(scene, name)["status"]
        assert [each["name"] for each in _plan(scene, name)["spec"]["gates"]] == ["errors"], (
            "as users left it"
        )
        scene.until(
            lambda: _served_in(scene), lambda pool: pool == move.pools[1], "it serves in the cheaper pool"
        )

        _price(move, "0.50", "9.00")
        names = scene.until(
            lambda: sorted(each["metadata"]["name"] for each in _plans(scene)),
            lambda seen: len(seen) == 2,
            "a plan for the way back",
        )
        (back,) = [each for each in names if each != name]
        _change(scene, back, abort=True)
        scene.until(lambda: _phase(scene, back), lambda phase: phase == "Aborted", "the way back is aborted")
        scene.until(
            lambda: scene.get("iw", NAME)["status"].get("recommendation", {}),
            lambda seen: str(seen.get("waitsFor", "")).startswith("TargetBackOff: "),
            "it is recommended still, and says why no plan is made of it",
        )
        end = time.monotonic() + QUIET_SECONDS
        while time.monotonic() < end:
            assert sorted(each["metadata"]["name"] for each in _plans(scene)) == names
            time.sleep(0.5)
        assert _served_in(scene) == move.pools[1]
        move.traffic.assert_no_failures()
