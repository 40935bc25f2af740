"""What persons, crashes and poor gateways do to moves by an HTTPRoute and by a VirtualService."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from e2e.behind import PER_SECOND, ROUTERS, ROUTES, SIGNALS, assert_let_go, gateway, moving_behind, read_split
from e2e.installation import Operator
from e2e.marked_traffic import Caller
from e2e.move import NAME, PLAN, Move, moving, plan
from e2e.scene import Scene

LONG = "5m"
HELD_STEPS = [{"weight": 50, "minDuration": LONG}, {"weight": 100}]
EDITS = 5
MENDED_SECONDS = 5.0  # what is promised: a resync of these settings
SLACK_SECONDS = 5.0  # for a machine that is busy with other things
MIRROR_PERCENT = "HTTPRouteRequestPercentageMirror"


@pytest.mark.parametrize("router", ROUTERS)
def test_a_canary_is_suspended_resumed_and_aborted(scene: Scene, operator: Operator, router: str) -> None:
    del operator
    with moving_behind(scene, router) as move:
        move.write(plan(steps=HELD_STEPS))
        move.wait_for_step("all", 50)
        move.change(suspend=True)
        move.wait_for("Paused")
        split = read_split(scene, router)
        move.hold_still(2)
        assert (move.weights, read_split(scene, router)) == ({"all": 50}, split)
        move.change(suspend=False)
        move.wait_for("Canary")
        move.change(abort=True)
        move.wait_for("Aborted")
        move.assert_stayed()
        assert_let_go(scene, router)
        move.traffic.assert_no_failures()


@pytest.mark.parametrize("router", ROUTERS)
def test_a_plan_that_is_deleted_returns_its_traffic_first(
    scene: Scene, operator: Operator, router: str
) -> None:
    del operator
    with moving_behind(scene, router) as move:
        move.write(plan(steps=HELD_STEPS))
        move.wait_for_step("all", 50)
        move.traffic.mark("deletion")
        scene.kubectl("delete", "cutoverplan", PLAN, "--timeout=60s")
        move.assert_stayed()
        assert_let_go(scene, router)
        move.traffic.assert_no_failures()


@pytest.mark.parametrize("router", ROUTERS)
def test_an_operator_that_is_killed_in_canary_is_followed_by_one_that_ends_it(
    scene: Scene, operator: Operator, router: str
) -> None:
    steps = [{"weight": 50, "minDuration": "8s", "minSamples": 30}, {"weight": 100, "minDuration": "2s"}]
    with moving_behind(scene, router) as move:
        move.write(plan(steps=steps))
        move.wait_for_step("all", 50)
        split = read_split(scene, router)
        move.traffic.mark("kill -9")
        operator.kill()
        move.hold_still(2)
        assert read_split(scene, router) == split
        operator.start()
        move.traffic.mark("the next operator")
        move.wait_for("Completed")
        move.assert_moved()
        assert_let_go(scene, router)
        move.traffic.assert_no_failures()


@pytest.mark.parametrize("router", ROUTERS)
def test_weights_that_somebody_edits_again_and_again_are_put_back_and_told_with_who_did_it(
    scene: Scene, operator: Operator, router: str
) -> None:
    with moving_behind(scene, router) as move:
        move.write(plan(steps=HELD_STEPS))
        move.wait_for_step("all", 50)
        wanted = read_split(scene, router)
        before = count_writes(operator, router)
        took = [edit_and_wait(move, router, wanted) for _ in range(EDITS)]
        print(f"put back after {', '.join(f'{each:.1f} s' for each in took)}")
        assert max(took) <= MENDED_SECONDS + SLACK_SECONDS
        messages = scene.until(lambda: list(tell_drift(scene)), bool, "an event")
        assert any("kubectl-patch" in each for each in messages), messages
        # one answer for each edit, and none without
        generation = scene.get(ROUTES[router], NAME)["metadata"]["generation"]
        move.hold_still(6)
        assert scene.get(ROUTES[router], NAME)["metadata"]["generation"] == generation
        written = count_writes(operator, router) - before
        assert EDITS <= written <= 2 * EDITS, f"{written} writes for {EDITS} edits"
        assert (move.status["phase"], move.weights) == ("Canary", {"all": 50})
        move.change(abort=True)
        move.wait_for("Aborted")
        move.assert_stayed()
        assert_let_go(scene, router)
        move.traffic.assert_no_failures()


def edit_and_wait(move: Move, router: str, wanted: dict[str, dict[str, int]]) -> float:
    """Seconds until weights that a person turns around are what the plan wants."""
    path = "/spec/rules/0/backendRefs" if router == "gatewayAPI" else "/spec/http/0/route"
    patch = [{"op": "add", "path": f"{path}/{n}/weight", "value": weight} for n, weight in ((0, 10), (1, 90))]
    move.traffic.mark("an edit of the route")
    move.scene.kubectl("patch", ROUTES[router], NAME, "--type=json", "-p", json.dumps(patch))
    began = time.monotonic()
    move.scene.until(
        lambda: read_split(move.scene, router), lambda split: split == wanted, "the plan's weights are back"
    )
    return time.monotonic() - began


def tell_drift(scene: Scene) -> Iterator[str]:
    """The messages of events that tell of another's edit."""
    for each in scene.get("events")["items"]:
        if each["reason"] == "RouteDrifted" and each["involvedObject"]["kind"] == "CutoverPlan":
            yield each["message"]


def count_writes(operator: Operator, router: str) -> int:
    """Writes of the operator to routes of this kind that were taken."""
    return sum(
        right.resource == f"{ROUTES[router]}s" and right.verb in {"patch", "update"} and status < 300
        for right, status, _ in operator.audit.seen
    )


# -- what can't do it


def assert_refused(move: Move, *words: str) -> None:
    """The plan stays in Validating, says these words, and nothing is touched."""
    status = move.scene.until(
        lambda: move.status,
        lambda seen: all(word in seen.get("message", "") for word in words),
        f"the plan says {', '.join(words)}",
    )
    assert status["phase"] == "Validating"
    assert len(move.scene.get("deployments")["items"]) == 1
    move.traffic.assert_no_failures()


def test_a_gateway_that_copies_no_share_is_refused_by_name_until_the_plan_asks_for_less(
    scene: Scene, operator: Operator
) -> None:
    del operator
    name = f"poor-{scene.namespace}"
    poor = gateway_class(name, without=MIRROR_PERCENT)
    scene.apply(poor)
    try:
        with moving_behind(scene, "gatewayAPI", class_name=name) as move:
            move.write(plan(shadow={"percent": 20, "minDuration": "2s", "minSamples": 30}))
            assert_refused(move, MIRROR_PERCENT, name, "shadow 100 %")
            move.change(shadow={"percent": 100, "minDuration": "2s", "minSamples": 30})
            move.wait_for("Shadowing")
            move.change(abort=True)
            move.wait_for("Aborted")
            move.traffic.assert_no_failures()
    finally:
        scene.cluster.kubectl("delete", "gatewayclass", name)


def gateway_class(name: str, *, without: str) -> dict[str, Any]:
    """A class of the sandbox's gateway that lacks a feature."""
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "GatewayClass",
        "metadata": {"name": name, "annotations": {"sandbox.switchyard.dev/without-features": without}},
        "spec": {"controllerName": "switchyard.dev/sandbox-gateway"},
    }


@pytest.mark.parametrize(
    ("router", "field"), [("gatewayAPI", "spec.exposure.gateway"), ("istio", "spec.exposure.istio")]
)
def test_a_workload_without_an_exposure_is_refused_with_what_to_give_it(
    scene: Scene, operator: Operator, router: str, field: str
) -> None:
    del operator
    scene.apply(gateway(router))
    with moving(scene, callers=(Caller("all", PER_SECOND),), signals=SIGNALS) as move:
        move.write(plan(traffic={"router": router}))
        assert_refused(move, router, field)


def test_callers_can_not_be_kept_on_a_side_by_an_http_route_and_the_plan_says_so(
    scene: Scene, operator: Operator
) -> None:
    del operator
    with moving_behind(scene, "gatewayAPI") as move:
        move.write(plan(traffic={"sticky": {"header": "x-user"}}))
        assert_refused(move, "sticky", "router: builtin")
