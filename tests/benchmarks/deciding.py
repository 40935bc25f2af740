"""How long the pure `decide` takes on a large world, with nothing in place and with all of it."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

from tests.benchmarks.figures import Figure
from tests.benchmarks.scale import NAMESPACE, POOL_LABEL, Scale, make_nodes, make_pools, make_workloads
from tests.unit.core.worlds import apply

from switchyard.adapters.projection import project_pool, project_workload
from switchyard.api import labels
from switchyard.core.decide import decide
from switchyard.core.world import Child, Node, Pod, Pool, Workload, World

_DEVICE = "nvidia.com/gpu"
_MADE = {"uid": "made", "resourceVersion": "1", "generation": 1, "creationTimestamp": "2026-11-01T00:00:00Z"}
_ROUNDS = 10


def measure_decide(scale: Scale) -> list[Figure]:
    """Medians over the same empty world and over the same settled one."""
    empty = _make_world(scale)
    first, *others = [_time_decide(empty) for _ in range(scale.decisions + 1)]
    settled, rounds = _settle(empty)
    unchanged = [_time_decide(settled) for _ in range(scale.decisions)]
    size = f"{scale.workloads} workloads x {scale.pools} pools x {scale.nodes} nodes"
    return [
        Figure("decide", "first call in the process", first, "s", f"{size}; loads the catalog"),
        Figure("decide", "nothing placed yet", statistics.median(others), "s", f"median of {len(others)}"),
        Figure(
            "decide",
            "all in place",
            statistics.median(unchanged),
            "s",
            f"{len(settled.children)} children, {len(settled.pods)} pods",
        ),
        Figure("decide", "passes until one finds nothing to do", rounds, "", "that one included"),
    ]


def _time_decide(world: World) -> float:
    start = time.perf_counter()
    decide(world)
    return time.perf_counter() - start


def _make_world(scale: Scale) -> World:
    pools = [project_pool(_with_identity(body)) for body in make_pools(scale)]
    workloads = [project_workload(_with_identity(body)) for body in make_workloads(scale)]
    nodes = [
        Node(
            spec.name,
            spec.labels,
            (),
            {_DEVICE: int(spec.capacity[_DEVICE])},
            {_DEVICE: int(spec.capacity[_DEVICE])},
            is_ready=True,
            is_unschedulable=False,
        )
        for spec in make_nodes(scale)
    ]
    return World(
        now=datetime(2026, 11, 21, 12, 0, tzinfo=UTC),
        pools=tuple(sorted((p for p in pools if isinstance(p, Pool)), key=lambda each: each.meta.name)),
        workloads=tuple(sorted((w for w in workloads if isinstance(w, Workload)), key=lambda w: w.key)),
        nodes=tuple(sorted(nodes, key=lambda each: each.name)),
        namespaces={NAMESPACE: {}},
    )


def _with_identity(body: dict[str, object]) -> dict[str, object]:
    metadata = body["metadata"]
    assert isinstance(metadata, dict)
    return {**body, "metadata": {**metadata, **_MADE, "uid": f"uid-{body['kind']}-{metadata['name']}"}}


def _settle(world: World) -> tuple[World, int]:
    for passes in range(1, _ROUNDS + 1):
        decisions = decide(world)
        if not decisions.objects:
            return world, passes
        world = apply(world, decisions, are_pods_starting=False)
        world = replace(world, pods=tuple(sorted(_run_all(world), key=lambda pod: (pod.namespace, pod.name))))
    raise RuntimeError(f"the world still changes after {_ROUNDS} passes")


def _run_all(world: World) -> Iterator[Pod]:
    """Ready pods of every Deployment, packed onto the nodes of its pool."""
    places: dict[str, list[str]] = {}
    for node in world.nodes:
        places.setdefault(node.labels[POOL_LABEL], []).extend([node.name] * node.allocatable[_DEVICE])
    taken: Counter[str] = Counter()
    for child in world.children:
        if child.kind == "Deployment":
            yield from _run(child, places, taken)


def _run(child: Child, places: dict[str, list[str]], taken: Counter[str]) -> Iterator[Pod]:
    template = child.body["spec"]["template"]
    marks = template["metadata"]["labels"]
    devices = int(template["spec"]["containers"][0]["resources"]["limits"][_DEVICE])
    pool = marks[labels.POOL]
    for number in range(child.body["spec"]["replicas"]):
        name = f"{child.meta.name}-{number}"
        on = places[pool][taken[pool]]
        taken[pool] += devices
        yield Pod(child.meta.namespace, name, name, marks, on, "Running", True, False, {_DEVICE: devices})
