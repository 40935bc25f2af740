"""The operator killed at any moment, and a world that does not change."""

from __future__ import annotations

import time

from e2e.installation import Operator
from e2e.objects import pool, workload
from e2e.scene import Scene

QUIET_SECONDS = 20  # four passes of the loop at the resync of the tests


def test_killed_and_started_again_it_comes_to_the_same_end(scene: Scene, operator: Operator) -> None:
    ((node, _),) = scene.nodes_with_l4(1)
    scene.apply(pool("e2e-kill", node), workload("steady"))
    scene.wait("Ready", "steady")
    before = scene.children()
    placements = scene.get("iw", "steady")["status"]["placements"]
    operator.kill()
    try:
        assert scene.serves("steady")
    finally:
        operator.start()
    scene.apply(workload("later"))
    scene.wait("Ready", "later")
    assert [child for child in scene.children() if child[1].startswith("steady")] == before
    assert scene.get("iw", "steady")["status"]["placements"] == placements
    assert scene.serves("steady")


def test_killed_in_the_middle_of_its_writes_it_leaves_no_duplicates(scene: Scene, operator: Operator) -> None:
    ((node, _),) = scene.nodes_with_l4(1)
    scene.apply(pool("e2e-middle", node))
    for number in range(3):
        scene.apply(workload(f"w{number}"))
        operator.kill()  # wherever it is
        operator.start()
    for number in range(3):
        scene.wait("Placed", f"w{number}")
    expected = scene.until(
        scene.children, lambda found: len(found) >= 3 * 4, "each has Deployment, two Services and a budget"
    )
    assert len({(kind, name) for kind, name, _ in expected}) == len(expected) == 3 * 4


def test_an_unchanged_world_costs_no_write(scene: Scene, operator: Operator) -> None:
    ((node, _),) = scene.nodes_with_l4(1)
    scene.apply(pool("e2e-quiet", node), workload("quiet"))
    scene.wait("Ready", "quiet")
    before = scene.until(_Settled(scene), lambda versions: versions is not None, "the world settles")
    deadline = time.monotonic() + QUIET_SECONDS
    while time.monotonic() < deadline:
        assert operator.probes.get("/readyz").code == 200
        time.sleep(1)
    assert _versions(scene) == before


def _versions(scene: Scene) -> dict[str, str]:
    """resourceVersion of everything that the operator may write, but its Lease."""
    kinds = "deployments,services,poddisruptionbudgets,inferenceworkloads,acceleratorpools,events"
    return {
        f"{each['kind']}/{each['metadata']['name']}": each["metadata"]["resourceVersion"]
        for each in scene.get(kinds)["items"]
    }


class _Settled:
    """Versions that stood still since the last look, else None."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._last: dict[str, str] = {}

    def __call__(self) -> dict[str, str] | None:
        now = _versions(self._scene)
        if now == self._last:
            return now
        self._last = now
        time.sleep(2)
        return None
