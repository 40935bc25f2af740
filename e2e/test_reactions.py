"""What happens around a service that runs: each change has one answer, and then it is quiet."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from e2e.objects import pool, workload
from e2e.providers.programs import switchyard
from e2e.scene import Scene

QUIET_SECONDS = 6  # more than a resync, an advice and a stabilisation of these scenarios
SOON = {"stabilisation": "2s", "minSavingPercent": 10}
SPOT_NOTICE = "aws-node-termination-handler/spot-itn"


def _placed(scene: Scene, name: str) -> list[tuple[str, int]]:
    """Pool and replicas of each placement."""
    placements = scene.get("iw", name).get("status", {}).get("placements", ())
    return [(each["pool"], each["replicas"]) for each in placements]


def _changes(scene: Scene) -> int:
    """How often the spec of any Deployment was written, its creation included."""
    return sum(each["metadata"]["generation"] for each in scene.get("deployments")["items"])


def _stays(scene: Scene, name: str) -> None:
    """Asserts that nothing is written to Deployments for a while, and that the service answers meanwhile."""
    before, end = _changes(scene), time.monotonic() + QUIET_SECONDS
    with scene.reach(name) as http:
        while time.monotonic() < end:
            assert http.post("/predict", {"input": "hello"}).code == 200
            assert _changes(scene) == before


def _price(scene: Scene, name: str, price: str) -> None:
    patch = json.dumps({"spec": {"cost": {"devicePerHour": price}}})
    scene.kubectl("patch", "apool", name, "--type=merge", "-p", patch)


def _recommendation(scene: Scene, name: str) -> dict[str, Any]:
    found: dict[str, Any] = scene.get("iw", name)["status"].get("recommendation", {})
    return found


def test_a_lower_price_elsewhere_is_recommended_and_moves_nothing(scene: Scene) -> None:
    (one, _), (other, _) = scene.nodes_with_l4(2)
    scene.apply(pool("e2e-home", one, "0.50"), pool("e2e-away", other, "9.00"))
    scene.apply(workload("settled", placement=SOON))
    scene.wait("Ready", "settled")
    home = _placed(scene, "settled")
    assert [name for name, _ in home] == ["e2e-home"]

    _price(scene, "e2e-home", "9.00")
    _price(scene, "e2e-away", "0.50")
    advised = scene.until(
        lambda: _recommendation(scene, "settled"), lambda seen: bool(seen.get("settled")), "a recommendation"
    )
    assert [each["pool"] for each in advised["placements"]] == ["e2e-away"]
    assert advised["savingPercent"] > 90
    assert float(advised["savingPerHour"]) == pytest.approx(8.5, rel=0.1)
    _stays(scene, "settled")
    assert _placed(scene, "settled") == home
    told = [
        each
        for each in scene.get("events")["items"]
        if each["reason"] == "RecommendationReady" and each["involvedObject"]["name"] == "settled"
    ]
    assert [each.get("count", 1) for each in told] == [1]

    _price(scene, "e2e-home", "0.50")
    _price(scene, "e2e-away", "9.00")
    scene.until(lambda: _recommendation(scene, "settled"), lambda seen: not seen, "it is withdrawn")
    assert _placed(scene, "settled") == home


def test_a_saving_below_the_threshold_is_not_worth_a_word(scene: Scene) -> None:
    (one, _), (other, _) = scene.nodes_with_l4(2)
    scene.apply(pool("e2e-near", one, "1.00"), pool("e2e-nearer", other, "9.00"))
    scene.apply(workload("content", placement=SOON))
    scene.wait("Ready", "content")
    _price(scene, "e2e-nearer", "0.95")
    _stays(scene, "content")
    assert _recommendation(scene, "content") == {}


def test_a_spot_notice_brings_a_replacement_before_the_node_goes(scene: Scene) -> None:
    (one, _), (other, _) = scene.nodes_with_l4(2)
    spot = {"capacityType": "spot", "spot": {"interruptionsPerDay": "0.1", "noticePeriod": "2m"}}
    scene.apply(pool("e2e-spot", one, "0.20", **spot), pool("e2e-firm", other, "0.80"))
    scene.apply(workload("agile"))
    scene.wait("Ready", "agile")
    assert [name for name, _ in _placed(scene, "agile")] == ["e2e-spot"]

    with _tainted(scene, one), scene.reach("agile") as http:
        deadline = time.monotonic() + 60
        while [name for name, _ in _placed(scene, "agile")] != ["e2e-firm"]:
            assert http.post("/predict", {"input": "hello"}).code == 200
            assert time.monotonic() < deadline, _placed(scene, "agile")
        scene.wait("Ready", "agile")
        scene.until(
            lambda: [each["metadata"]["name"] for each in scene.get("deployments")["items"]],
            lambda names: names == ["agile-gpu-e2e-firm"],
            "only the replacement is left",
        )
        assert http.post("/predict", {"input": "hello"}).code == 200
        back_off = scene.until(
            lambda: scene.get("apool", "e2e-spot")["status"].get("backOff", {}), bool, "spot backs off"
        )
        assert back_off["failures"] == 1
    _stays(scene, "agile")
    assert [name for name, _ in _placed(scene, "agile")] == ["e2e-firm"]


@contextmanager
def _tainted(scene: Scene, node: str) -> Iterator[None]:
    """The node has notice of its end, as the termination handlers of clouds mark it."""
    scene.kubectl("taint", "node", node, f"{SPOT_NOTICE}=true:NoSchedule")
    try:
        yield
    finally:
        scene.kubectl("taint", "node", node, f"{SPOT_NOTICE}-")


def test_a_lost_node_is_replaced_at_once_and_once(scene: Scene) -> None:
    if scene.cluster.provider != "sandbox":
        pytest.skip("only the sandbox's nodes can be switched off by command")
    (one, _), (other, _) = scene.nodes_with_l4(2)
    scene.apply(pool("e2e-frail", one, "0.50"), pool("e2e-spare", other, "5.00"), workload("tough"))
    scene.wait("Ready", "tough")
    assert [name for name, _ in _placed(scene, "tough")] == ["e2e-frail"]
    with _switched_off(scene, one):
        scene.until(
            lambda: [name for name, _ in _placed(scene, "tough")],
            lambda pools: pools == ["e2e-spare"],
            "placed on the node that is left",
        )
        scene.wait("Ready", "tough")
        _stays(scene, "tough")
    _stays(scene, "tough")
    assert [name for name, _ in _placed(scene, "tough")] == ["e2e-spare"]


@contextmanager
def _switched_off(scene: Scene, node: str) -> Iterator[None]:
    state = ("--state-dir", scene.cluster.kubeconfig.parent)
    subprocess.run(switchyard("sandbox", "kill-node", node, *state), check=True)
    try:
        yield
    finally:
        subprocess.run(switchyard("sandbox", "restore-node", node, *state), check=True)


def test_demand_goes_up_at_once_and_down_after_the_delay(scene: Scene) -> None:
    ((node, devices),) = scene.nodes_with_l4(1)
    assert devices >= 2, "the step needs a second replica"
    scene.apply(pool("e2e-step", node))
    scene.apply(workload("elastic", scaling={"scaleDownDelay": "4s", "headroomPercent": 0}))
    scene.wait("Ready", "elastic")
    assert [count for _, count in _placed(scene, "elastic")] == [1]
    before = _changes(scene)

    _demand(scene, "elastic", "100")
    scene.until(lambda: _placed(scene, "elastic"), lambda seen: seen[0][1] >= 2, "scaled up")
    raised_at = time.monotonic()
    _demand(scene, "elastic", "5")
    scene.until(lambda: _placed(scene, "elastic"), lambda seen: seen[0][1] == 1, "scaled down")
    assert time.monotonic() - raised_at >= 3.5
    _stays(scene, "elastic")
    assert _changes(scene) - before == 2


def _demand(scene: Scene, name: str, rate: str) -> None:
    patch = json.dumps({"spec": {"demand": {"requestsPerSecond": rate}}})
    scene.kubectl("patch", "iw", name, "--type=merge", "-p", patch)
