"""The main job with kubectl alone: apply a pool and a workload, wait, use it, look at it, delete it."""

from __future__ import annotations

from e2e.objects import condition, pool, variant, workload
from e2e.scene import Scene


def test_a_workload_is_placed_served_explained_and_deleted(scene: Scene) -> None:
    ((node, devices),) = scene.nodes_with_l4(1)
    scene.apply(pool("e2e-l4", node), workload("chat"))
    scene.wait("Placed", "chat")
    scene.wait("Ready", "chat")
    assert scene.serves("chat")

    header, row = scene.kubectl("get", "iw").splitlines()
    assert header.split()[:2] == ["NAME", "TIER"]
    assert row.split()[:2] == ["chat", "internal"]
    assert "e2e-l4" in row
    wide = scene.kubectl("get", "apool,iw", "-o", "wide")
    assert "acceleratorpool.switchyard.dev/e2e-l4" in wide
    assert "inferenceworkload.switchyard.dev/chat" in wide
    told = scene.kubectl("describe", "iw/chat")
    assert "Placed" in told
    assert "e2e-l4" in told

    status = scene.get("iw", "chat")["status"]
    (placement,) = status["placements"]
    assert (placement["pool"], placement["variant"]) == ("e2e-l4", "gpu")
    assert status["observedGeneration"] == 1
    used = scene.until(
        lambda: scene.get("apool", "e2e-l4").get("status", {}),
        lambda seen: seen.get("devices", {}).get("used") == placement["devices"],
        "the pool counts the devices in use",
    )
    assert used["devices"]["total"] == devices

    scene.kubectl("delete", "iw", "chat", "--timeout=60s")
    scene.until(scene.children, lambda left: left == [], "everything that the workload owned goes")


def test_what_a_user_wrote_is_never_changed(scene: Scene) -> None:
    """GitOps tools compare: no field, label, annotation or finalizer of ours on objects of users."""
    ((node, _),) = scene.nodes_with_l4(1)
    written = {"apool": pool("e2e-mine", node), "iw": workload("mine")}
    scene.apply(*written.values())
    before = {kind: scene.get(kind, body["metadata"]["name"]) for kind, body in written.items()}
    scene.wait("Ready", "mine")
    for kind, body in written.items():
        after = scene.get(kind, body["metadata"]["name"])
        assert after["spec"] == before[kind]["spec"]
        assert after["metadata"]["generation"] == 1
        assert "finalizers" not in after["metadata"]
        assert "labels" not in after["metadata"]
        ours = set(after["metadata"]["annotations"]) - {"kubectl.kubernetes.io/last-applied-configuration"}
        assert ours == set()
    assert scene.kubectl("diff", "-f", "-", stdin=_manifest(written), expect=None) == ""


def _manifest(written: dict[str, dict]) -> str:
    from e2e.objects import manifest

    return manifest(*written.values())


def test_more_demand_takes_more_replicas_in_place(scene: Scene) -> None:
    ((node, _),) = scene.nodes_with_l4(1)
    scene.apply(pool("e2e-grow", node), workload("grow"))
    scene.wait("Ready", "grow")
    before = scene.children()
    scene.kubectl("patch", "iw", "grow", "--type=merge", "-p", '{"spec":{"scaling":{"minReplicas":2}}}')
    scene.until(
        lambda: scene.get("iw", "grow")["status"].get("readyReplicas"),
        lambda ready: ready == 2,
        "two replicas",
    )
    assert scene.children() == before


def test_the_cheaper_of_two_pools_is_taken_and_the_other_has_a_reason(scene: Scene) -> None:
    (one, _), (other, _) = scene.nodes_with_l4(2)
    scene.apply(pool("e2e-dear", one, "9.00"), pool("e2e-cheap", other, "0.50"), workload("thrifty"))
    scene.wait("Placed", "thrifty")
    status = scene.get("iw", "thrifty")["status"]
    assert [each["pool"] for each in status["placements"]] == ["e2e-cheap"]
    reasons = {each["pool"]: each["reason"] for each in status["rejected"]}
    assert reasons["e2e-dear"] == "CostHigher"


def test_the_higher_tier_gets_the_cheap_pool_when_it_fits_only_one(scene: Scene) -> None:
    (one, devices), (other, others) = scene.nodes_with_l4(2)
    assert others >= devices
    spec = {"variants": [variant(devices=devices)]}
    scene.apply(pool("e2e-scarce", one, "0.50"), pool("e2e-plenty", other, "5.00"))
    scene.apply(workload("batch", tier="batch", **spec))
    scene.apply(workload("front", tier="customer-facing", **spec))
    for name in ("front", "batch"):
        scene.wait("Placed", name)
    placed = {name: scene.get("iw", name)["status"] for name in ("front", "batch")}
    pools = {name: [each["pool"] for each in status["placements"]] for name, status in placed.items()}
    assert sorted(pools.values()) == [["e2e-plenty"], ["e2e-scarce"]]


def test_of_two_that_come_together_the_higher_tier_is_served_first(scene: Scene) -> None:
    ((node, devices),) = scene.nodes_with_l4(1)
    spec = {"variants": [variant(devices=devices)]}
    scene.apply(workload("batch", tier="batch", **spec), workload("front", tier="customer-facing", **spec))
    scene.apply(pool("e2e-single", node))
    scene.wait("Ready", "front")
    batch = scene.get("iw", "batch")
    assert condition(batch, "Placed")["status"] == "False"
    assert condition(batch, "Placed")["reason"] == "InsufficientCapacity"
    assert str(devices) in condition(batch, "Placed")["message"]


def test_a_lost_pool_moves_the_workload_to_the_next_best(scene: Scene) -> None:
    (one, _), (other, _) = scene.nodes_with_l4(2)
    scene.apply(pool("e2e-first", one, "0.50"), pool("e2e-second", other, "5.00"), workload("mover"))
    scene.wait("Ready", "mover")
    scene.kubectl("delete", "apool", "e2e-first")
    scene.until(
        lambda: [each["pool"] for each in scene.get("iw", "mover")["status"].get("placements", ())],
        lambda pools: "e2e-second" in pools,
        "placed in the pool that is left",
    )
    scene.wait("Ready", "mover")
    assert scene.serves("mover")
