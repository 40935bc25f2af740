"""What persons and pipelines do to a plan under way: hold it, release it, end it, edit it, delete it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from e2e.installation import Operator
from e2e.marked_traffic import Caller
from e2e.move import NAME, PLAN, Move, moving, plan
from e2e.objects import condition
from e2e.scene import Scene

CALLERS = (Caller("all", 30),)
LONG = "5m"
HELD_STEPS = [{"weight": 50, "minDuration": LONG}, {"weight": 100}]
HELD_SHADOW = {"percent": 100, "minDuration": LONG, "minSamples": 30}


def switchyard(move: Move, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`kubectl switchyard cutover …` as a person types it."""
    program = str(Path(sys.executable).parent / "switchyard")
    return subprocess.run(
        [program, "cutover", *arguments, "-n", move.scene.namespace],
        env={**os.environ, "KUBECONFIG": str(move.scene.cluster.kubeconfig)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def told(scene: Scene, reason: str) -> list[str]:
    """The messages of the plan's events with that reason."""
    return [
        each["message"]
        for each in scene.get("events")["items"]
        if each["reason"] == reason and each["involvedObject"]["kind"] == "CutoverPlan"
    ]


def wait_for_pause(move: Move, reason: str) -> dict[str, Any]:
    """The status once the plan is held for that reason."""
    found: dict[str, Any] = move.scene.until(
        lambda: move.status,
        lambda seen: (seen.get("machine") or {}).get("pauseReason") == reason,
        f"the plan is held: {reason}",
    )
    return found


def wait_for_message(move: Move, words: str) -> dict[str, Any]:
    """The status once its message has these words."""
    found: dict[str, Any] = move.scene.until(
        lambda: move.status, lambda seen: words in seen.get("message", ""), f"the plan says {words}"
    )
    return found


# -- held and let go


def test_a_plan_is_suspended_and_resumed_in_each_phase_and_ends_all_the_same(
    scene: Scene, operator: Operator
) -> None:
    del operator
    with moving(scene, callers=CALLERS) as move:
        move.write(plan(suspend=True, rollback={"retainBaseline": "6s"}))
        for phase, weight in (("Shadowing", 0), ("Canary", 50), ("Soaking", 100)):
            wait_for_pause(move, "Suspended")
            move.hold_still(2)
            before = move.status
            assert before["phase"] == "Paused"
            move.change(suspend=False)
            move.wait_for(phase)
            if phase != "Shadowing":
                assert move.weights == {"all": weight}
            move.change(suspend=True)
        wait_for_pause(move, "Suspended")
        assert move.weights == {"all": 100}
        move.change(suspend=False)
        move.wait_for("Completed")
        move.assert_moved()
        move.traffic.assert_no_failures()


@pytest.mark.parametrize(
    ("phase", "spec"),
    [
        ("AwaitingApproval", {"approvals": ["shadow"]}),
        ("Shadowing", {"shadow": HELD_SHADOW}),
        ("Paused", {"shadow": HELD_SHADOW, "suspend": True}),
        ("Canary", {"steps": HELD_STEPS}),
        ("Soaking", {"rollback": {"retainBaseline": LONG}}),
    ],
)
def test_an_abort_in_any_phase_returns_everything(
    scene: Scene, operator: Operator, phase: str, spec: dict[str, Any]
) -> None:
    del operator
    with moving(scene, callers=CALLERS) as move:
        move.write(plan(**spec))
        move.wait_for(phase)
        move.hold_still(1)
        move.change(abort=True)
        status = move.wait_for("Aborted")
        assert set(move.weights.values()) <= {0}, status
        move.assert_stayed()
        document = scene.get("cutoverplan", PLAN)
        assert (condition(document, "Ready")["status"], condition(document, "Stalled")["reason"]) == (
            "False",
            "Aborted",
        )
        move.traffic.assert_no_failures()


# -- persons


def test_stages_wait_for_persons_who_release_them_by_git_or_by_command(
    scene: Scene, operator: Operator
) -> None:
    with moving(scene, callers=CALLERS) as move:
        move.write(plan(approvals=["shadow", "canary", "promote"]))
        move.wait_for("AwaitingApproval")
        assert [each["metadata"]["name"] for each in scene.get("deployments")["items"]] == [
            scene.get("service", NAME)["spec"]["selector"]["switchyard.dev/track"]
        ], "nothing is spent before somebody says yes"
        assert switchyard(move, "status", PLAN).returncode == 4
        move.change(approved=["shadow"])
        wait_for_message(move, "waits for approval of canary")
        done = switchyard(move, "approve", PLAN)
        assert done.returncode == 0, done.stderr
        operator.kill()  # an approval outlives the process that saw it
        operator.start()
        wait_for_message(move, "waits for approval of promote")
        assert move.weights == {"all": 100}
        assert switchyard(move, "approve", PLAN, "promote").returncode == 0
        assert switchyard(move, "status", PLAN, "--wait", "--timeout", "60s").returncode == 0
        move.assert_moved()
        move.traffic.assert_no_failures()


def test_commands_hold_end_and_repeat_a_plan_and_tell_pipelines_by_their_exit(
    scene: Scene, operator: Operator
) -> None:
    del operator
    with moving(scene, callers=CALLERS) as move:
        move.write(plan(steps=HELD_STEPS))
        move.wait_for("Canary")
        assert switchyard(move, "pause", PLAN).returncode == 0
        wait_for_pause(move, "Suspended")
        assert switchyard(move, "status", PLAN, "--wait", "--timeout", "1s").returncode == 3
        assert switchyard(move, "resume", PLAN).returncode == 0
        move.wait_for("Canary")
        assert switchyard(move, "abort", PLAN).returncode == 0
        move.wait_for("Aborted")
        assert switchyard(move, "status", PLAN, "--wait", "--timeout", "60s").returncode == 2
        before = [each["reason"] for each in move.status["history"]]
        move.change(steps=[{"weight": 100, "minDuration": "2s", "minSamples": 30}])
        assert switchyard(move, "retry", PLAN).returncode == 0
        scene.until(
            lambda: move.status["machine"]["attempt"], lambda attempt: attempt == 2, "the plan begins anew"
        )
        status = move.wait_for("Completed")
        assert [each["reason"] for each in status["history"]][: len(before)] == before
        assert status["machine"]["attempt"] == 2
        assert switchyard(move, "status", "nothing").returncode == 1
        move.assert_moved()
        move.traffic.assert_no_failures()


# -- the clock and the money


def test_shares_rise_within_windows_only_and_the_way_back_needs_none(
    scene: Scene, operator: Operator
) -> None:
    del operator
    never = [{"days": ["mon"], "start": "03:00", "end": "03:01"}]
    with moving(scene, callers=CALLERS) as move:
        move.write(plan(windows=never))
        wait_for_pause(move, "OutsideWindow")
        assert move.weights == {"all": 0}
        move.change(windows=[], steps=HELD_STEPS)
        move.wait_for_step("all", 50)
        move.change(windows=never)
        move.disturb("new", error_ratio=0.9)
        move.wait_for("RolledBack")
        move.assert_stayed()


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"windows": [{"start": "00:00", "end": "23:59", "timeZone": "Europe/Nowhere"}]}, "Europe/Nowhere"),
        ({"budget": {"maxDualRunCost": "0.0000001"}}, "budget.maxDualRunCost is"),
        ({"economics": {"requirePaybackWithin": "1h"}}, "wanted is payback within 1h"),
        ({"target": {"variant": "other"}}, "no variant other"),
        ({"traffic": {"router": "istio"}}, "router istio can't do what the plan asks"),
    ],
)
def test_what_can_not_be_or_does_not_pay_never_begins_and_says_why(
    scene: Scene, operator: Operator, spec: dict[str, Any], words: str
) -> None:
    del operator
    with moving(scene, callers=CALLERS) as move:
        move.write(plan(**{"target": {"variant": "new", "pool": move.pools[1]}, **spec}))
        status = wait_for_message(move, words)
        assert status["phase"] == "Validating"
        assert condition(scene.get("cutoverplan", PLAN), "Ready")["status"] != "True"
        assert len(scene.get("deployments")["items"]) == 1
        move.traffic.assert_no_failures()


def test_a_plan_that_takes_longer_than_its_deadline_goes_back(scene: Scene, operator: Operator) -> None:
    del operator
    with moving(scene, callers=CALLERS) as move:
        move.write(plan(steps=HELD_STEPS, budget={"deadline": "1m"}))
        move.wait_for_step("all", 50)
        status = move.wait_for("RolledBack")
        assert status["machine"]["rollbackReason"] == "DeadlineExceeded"
        move.assert_stayed()
        move.traffic.assert_no_failures()


# -- edits and deletions


def test_an_edit_amid_a_stage_begins_it_again_without_its_evidence(scene: Scene, operator: Operator) -> None:
    del operator
    with moving(scene, callers=CALLERS) as move:
        move.write(plan(shadow=HELD_SHADOW))
        scene.until(
            lambda: move.status, lambda seen: (seen.get("machine") or {}).get("windowIndex", 0) > 3, "windows"
        )
        wide = {"name": "errors", "errors": {"margin": {"oddsRatio": "4", "absolute": "0.2"}}}
        move.change(gates=[wide])
        scene.until(lambda: told(scene, "InputsChanged"), bool, "an event")
        move.change(shadow={"percent": 100, "minDuration": "2s", "minSamples": 30})
        move.wait_for("Completed")
        move.assert_moved()
        move.traffic.assert_no_failures()


def test_a_target_that_changes_is_started_anew_and_judged_anew(scene: Scene, operator: Operator) -> None:
    del operator
    with moving(scene, callers=CALLERS) as move:
        move.write(plan(shadow=HELD_SHADOW))
        move.wait_for("Shadowing")
        move.traffic.mark("another server on the candidate")
        body = scene.get("iw", NAME)
        (new,) = [each for each in body["spec"]["variants"] if each["name"] == "new"]
        new["container"]["args"] = ["--base-ms=6"]
        patch = json.dumps({"spec": {"variants": body["spec"]["variants"]}})
        scene.kubectl("patch", "iw", NAME, "--type=merge", "-p", patch)
        scene.until(lambda: told(scene, "InputsChanged"), bool, "an event")
        move.change(shadow={"percent": 100, "minDuration": "2s", "minSamples": 30})
        move.wait_for("Completed")
        assert "--base-ms=6" in json.dumps(scene.get("deployments"))
        move.assert_moved()
        move.traffic.assert_no_failures()


def test_a_plan_that_is_deleted_returns_its_traffic_first(scene: Scene, operator: Operator) -> None:
    del operator
    with moving(scene, callers=CALLERS) as move:
        move.write(plan(steps=HELD_STEPS))
        move.wait_for_step("all", 50)
        move.traffic.mark("deletion")
        scene.kubectl("delete", "cutoverplan", PLAN, "--timeout=60s")
        move.assert_stayed()
        move.traffic.assert_no_failures()


def test_a_workload_that_is_deleted_amid_a_move_takes_everything_with_it(
    scene: Scene, operator: Operator
) -> None:
    with moving(scene, callers=CALLERS) as move:
        move.write(plan(steps=HELD_STEPS))
        move.wait_for_step("all", 50)
        scene.kubectl("delete", "iw", NAME, "--timeout=60s")
        scene.until(
            lambda: scene.get(
                "deployments,services,configmaps", "-l", "app.kubernetes.io/managed-by=switchyard"
            )["items"],
            lambda left: left == [],
            "all children go",
        )
        status = move.wait_for("Aborted")
        assert status["machine"]["rollbackReason"] == "WorkloadNotFound"
        scene.kubectl("delete", "cutoverplan", PLAN, "--timeout=30s")
    assert operator.probes.get("/readyz").code == 200


def test_a_namespace_that_is_deleted_amid_a_move_goes_with_all_that_is_in_it(
    scene: Scene, operator: Operator
) -> None:
    with moving(scene, callers=CALLERS) as move:
        move.write(plan(steps=HELD_STEPS))
        move.wait_for_step("all", 50)
        scene.cluster.kubectl("delete", "namespace", scene.namespace, "--timeout=60s")
    assert operator.probes.get("/readyz").code == 200


def test_a_second_plan_of_the_workload_waits_until_the_first_has_ended(
    scene: Scene, operator: Operator
) -> None:
    del operator
    with moving(scene, callers=CALLERS) as move:
        move.write(plan(shadow=HELD_SHADOW))
        move.wait_for("Shadowing")
        second = plan()
        second["metadata"]["name"] = "later"
        scene.apply(second)
        scene.until(
            lambda: scene.get("cutoverplan", "later").get("status", {}),
            lambda seen: (
                seen.get("phase") == "Pending" and "plan move moves workload" in seen.get("message", "")
            ),
            "the second waits",
        )
        move.change(abort=True)
        move.wait_for("Aborted")
        scene.kubectl("wait", "cutoverplan/later", "--for=condition=Succeeded", "--timeout=90s")
        move.assert_moved()
        move.traffic.assert_no_failures()


def test_a_selector_that_somebody_changes_is_told_with_who_did_it_and_put_back(
    scene: Scene, operator: Operator
) -> None:
    del operator
    with moving(scene, callers=CALLERS) as move:
        move.write(plan(steps=HELD_STEPS))
        move.wait_for_step("all", 50)
        wanted = scene.get("service", NAME)["spec"]["selector"]
        track = move.status["baseline"]["track"]
        move.traffic.mark("an edit of the Service")
        patch = [{"op": "replace", "path": "/spec/selector", "value": {"switchyard.dev/track": track}}]
        scene.kubectl("patch", "service", NAME, "--type=json", "-p", json.dumps(patch))
        scene.until(
            lambda: scene.get("service", NAME)["spec"]["selector"],
            lambda seen: seen == wanted,
            "the routers are in the way again",
        )
        (message, *_) = scene.until(lambda: told(scene, "RouteDrifted"), bool, "an event")
        assert "kubectl" in message
        assert move.status["phase"] == "Canary"
        move.traffic.assert_no_failures()


def test_a_plan_under_way_keeps_its_target(scene: Scene, operator: Operator) -> None:
    del operator
    with moving(scene, callers=CALLERS) as move:
        move.write(plan(shadow=HELD_SHADOW))
        move.wait_for("Shadowing")
        patch = json.dumps({"spec": {"target": {"variant": "old"}}})
        refusal = scene.kubectl("patch", "cutoverplan", PLAN, "--type=merge", "-p", patch, expect=1)
        assert "the plan is under way: abort it first" in refusal
        steps = json.dumps({"spec": {"steps": [{"weight": 50}, {"weight": 20}]}})
        assert "weights must rise" in scene.kubectl(
            "patch", "cutoverplan", PLAN, "--type=merge", "-p", steps, expect=1
        )
