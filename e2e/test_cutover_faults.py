"""Moves while parts of the cluster fail: pods, room on the nodes, the API server, the operator itself."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from e2e.installation import Operator
from e2e.move import Move, moving, plan
from e2e.providers.plain_http import poll
from e2e.providers.programs import switchyard
from e2e.scene import Scene
from e2e.way_back import measure_way_back

pytestmark = pytest.mark.timeout(400)  # on a machine that is busy with other things

LONG = "60s"  # of a step that nobody passes
HALF = [{"weight": 50, "minDuration": LONG, "minSamples": 30}, {"weight": 100}]
PER_SECOND = 60
GONE = 1e6  # seconds of a cold start that never ends
BY_HEALTH = {"readinessProbe": {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1}}


def test_users_leave_a_candidate_whose_pods_are_all_deleted(scene: Scene, operator: Operator) -> None:
    del operator
    cold = ("--base-ms=5", "--cold-start-seconds=5")
    with moving(scene, new_arguments=cold, container=BY_HEALTH) as move:
        move.write(plan(steps=HALF))
        move.wait_for_step("all", 50)
        move.traffic.assert_no_failures()
        began = move.traffic.mark("deletion of all pods of new")
        selector = "switchyard.dev/workload=moved,switchyard.dev/variant=new"
        scene.kubectl("delete", "pods", "-l", selector, "--force", "--grace-period=0", "--wait=false")
        status = move.wait_for("RolledBack")
        assert status["machine"]["rollbackReason"] == "CandidateLost", move.tell(status)
        back = measure_way_back(status, move.traffic, began)
        back.assert_prompt()
        back.assert_bounded(PER_SECOND * 0.5)
        assert back.detected_seconds < 5, back
        move.assert_stayed()


def test_the_way_back_halts_while_the_baseline_can_not_answer(scene: Scene, operator: Operator) -> None:
    del operator
    steps = [{"weight": 100, "minDuration": "1s", "minSamples": 10}]
    with moving(scene, container=BY_HEALTH) as move:
        move.write(plan(steps=steps, rollback={"retainBaseline": LONG}))
        move.wait_for("Soaking")
        move.disturb("old", cold_start_seconds=GONE)
        held = move.wait_for("Paused")
        assert held["machine"]["pauseReason"] == "BaselineLost", move.tell(held)
        move.change(abort=True)
        move.wait_for("RollingBack")
        _until(move, lambda: move.status["machine"]["pauseReason"] == "RollbackHalted")
        move.hold_still(3)
        assert (move.status["phase"], move.weights) == ("RollingBack", {"all": 100})
        move.disturb("old", cold_start_seconds=0)
        move.wait_for("Aborted")
        move.assert_stayed()
        move.traffic.assert_no_failures()


def test_without_a_baseline_nothing_is_copied_until_it_is_back(scene: Scene, operator: Operator) -> None:
    del operator
    shadow = {"percent": 100, "minDuration": "10s", "minSamples": 30}
    with moving(scene, container=BY_HEALTH) as move:
        move.write(plan(shadow=shadow))
        move.wait_for("Shadowing")
        move.traffic.assert_no_failures()
        began = move.disturb("old", cold_start_seconds=GONE)
        held = move.wait_for("Paused")
        assert (held["machine"]["pauseReason"], held["machine"]["shadowPercent"]) == ("BaselineLost", 0)
        ended = move.disturb("old", cold_start_seconds=0)
        move.wait_for("Completed")
        move.assert_moved()
        others = [each for each in move.traffic.failures if not began <= each.at <= ended + 5]
        assert not others, move.traffic.tell(others)


def test_a_candidate_without_room_on_its_nodes_is_given_up_and_nobody_sent_there(
    scene: Scene, operator: Operator
) -> None:
    del operator
    huge = {"resources": {"requests": {"cpu": "4000"}}}
    with moving(scene, new_container=huge) as move:
        move.write(plan(budget={"deadline": "1m"}))
        move.wait_for("Provisioning")
        assert "switchyard.dev/traffic-held-by" not in scene.get("service", "moved")["metadata"].get(
            "annotations", {}
        )
        status = move.wait_for("RolledBack", seconds=200)
        assert status["machine"]["rollbackReason"] == "DeadlineExceeded", move.tell(status)
        assert {each["phase"] for each in status["history"]} == {"Validating", "Provisioning", "RolledBack"}
        move.assert_stayed()
        move.traffic.assert_no_failures()


def test_an_operator_killed_in_each_phase_comes_to_the_same_end(scene: Scene, operator: Operator) -> None:
    stage = {"minDuration": "6s", "minSamples": 30}
    steps = [{"weight": 50, **stage}, {"weight": 100, **stage}]
    with moving(scene) as move:
        move.write(plan(shadow={"percent": 100, **stage}, steps=steps, rollback={"retainBaseline": "6s"}))
        for phase in ("Shadowing", "Canary", "Soaking"):
            move.wait_for(phase)
            _restart(move, operator)
        status = move.wait_for("Completed", seconds=200)
        phases = [each["phase"] for each in status["history"] if each["phase"] != "Paused"]
        assert [each for number, each in enumerate(phases) if phases[:number].count(each) == 0] == [
            *("Validating", "Provisioning", "Shadowing", "Canary", "Soaking", "Completing", "Completed"),
        ], move.tell(status)
        move.assert_moved()
        move.traffic.assert_no_failures()


def test_an_operator_killed_on_the_way_back_ends_there(scene: Scene, operator: Operator) -> None:
    with moving(scene) as move:
        move.write(plan(steps=HALF))
        move.wait_for_step("all", 50)
        move.change(abort=True)
        _until(move, lambda: move.status["phase"] != "Canary")
        assert _restart(move, operator) == "RollingBack"
        status = move.wait_for("Aborted")
        assert [each["phase"] for each in status["history"]][-2:] == ["RollingBack", "Aborted"]
        move.assert_stayed()
        move.traffic.assert_no_failures()


def test_another_leader_carries_a_move_on(
    scene: Scene, operator: Operator, tmp_path_factory: pytest.TempPathFactory
) -> None:
    standby = Operator(scene.cluster, tmp_path_factory.mktemp("standby"), operator.audit)
    standby.start()
    try:
        with moving(scene) as move:
            move.write(
                plan(
                    steps=[
                        {"weight": 50, "minDuration": "6s", "minSamples": 30},
                        {"weight": 100, "minDuration": "2s"},
                    ]
                )
            )
            move.wait_for_step("all", 50)
            move.traffic.mark("end of the leader")
            operator.stop()
            move.wait_for("Completed", seconds=200)
            move.assert_moved()
            move.traffic.assert_no_failures()
    finally:
        operator.start()
        standby.stop()


def test_shares_stand_still_while_the_api_server_is_away(scene: Scene, operator: Operator) -> None:
    del operator
    servers = ("--base-ms=5", "--model=old"), ("--base-ms=5", "--model=new")
    steps = [{"weight": 50, "minDuration": "12s", "minSamples": 30}, {"weight": 100, "minDuration": "2s"}]
    with moving(scene, old_arguments=servers[0], new_arguments=servers[1]) as move:
        move.write(plan(steps=steps))
        before = move.wait_for_step("all", 50)
        served = move.traffic.served.copy()
        move.traffic.mark("the API server goes away")
        state = ("--state-dir", scene.cluster.kubeconfig.parent)
        subprocess.run(switchyard("sandbox", "faults", "downtime", "seconds=15", *state), check=True)
        move.hold_still(14)
        shares = move.traffic.served - served
        after = _until(move, lambda: move.status)
        assert len(after["history"]) - len(before["history"]) <= 1, move.tell(after)  # a pause at most
        assert move.weights == {"all": 50}
        assert 0.35 < shares["all", "new"] / shares.total() < 0.65, shares
        move.wait_for("Completed", seconds=200)
        move.assert_moved()
        move.traffic.assert_no_failures()


def _restart(move: Move, operator: Operator) -> str:
    """Kill the operator and start another; returns the plan's phase meanwhile."""
    move.traffic.mark("kill of the operator")
    operator.kill()
    try:
        return str(move.status["phase"])
    finally:
        operator.start()


def _until(move: Move, ask: Callable[[], Any]) -> Any:
    got = poll(ask, bool, seconds=30, every=0.05)
    assert got, move.tell(move.status)
    return got
