"""What holds in any world: rest after a change, no order that matters, an answer within seconds."""

from __future__ import annotations

import time
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.core.worlds import (
    apply,
    deployments,
    hold_traffic,
    lose_node,
    node,
    pool,
    settle,
    variant,
    workload,
    world,
)

from switchyard.api import InferenceWorkloadStatus, labels
from switchyard.core.decide import decide

BY_GATEWAY = {"gateway": {"parentRefs": [{"name": "public"}]}}
BY_ISTIO = {"istio": {"hosts": ["a.example"]}}


@st.composite
def worlds(draw):
    names = ("p0", "p1", "p2")
    things = [pool(name, str(draw(st.integers(1, 5)))) for name in names]
    things += [
        node(f"{name}-n{index}", name, draw(st.integers(0, 4)), is_ready=draw(st.integers(0, 5)) > 0)
        for name in names
        for index in range(draw(st.integers(0, 2)))
    ]
    tiers = ("customer-facing", "internal", "batch")
    for index in range(draw(st.integers(1, 5))):
        units = draw(st.sampled_from([1, 1, 2]))
        accelerators = [draw(st.sampled_from(["gpu", "tpu"]))] if draw(st.integers(0, 4)) == 0 else ["gpu"]
        made = variant(accelerators=accelerators, devicesPerReplica=units)
        spec = draw(st.sampled_from([{}, {}, {"exposure": BY_GATEWAY}, {"exposure": BY_ISTIO}]))
        tier = draw(st.sampled_from(tiers))
        things.append(workload(f"w{index}", draw(st.integers(1, 4)), tier=tier, variants=[made], **spec))
    return world(*things, route_kinds=draw(st.frozensets(st.sampled_from(["HTTPRoute", "VirtualService"]))))


@settings(max_examples=80, deadline=None)
@given(worlds())
def test_deciding_again_after_applying_changes_nothing(at):
    waiting = apply(at, decide(at), are_pods_starting=False)
    assert decide(waiting).objects == ()
    settled = settle(waiting)
    routes = {each.kind for each in settled.children} - {"Deployment", "Service", "PodDisruptionBudget"}
    assert routes <= at.route_kinds


@settings(max_examples=60, deadline=None)
@given(worlds(), st.data())
def test_any_lost_node_leads_to_a_state_that_is_at_rest(at, data):
    at = settle(at)
    if not at.nodes:
        return
    hurt = lose_node(at, data.draw(st.sampled_from(at.nodes)).name)
    settled = settle(hurt)
    for each in settled.workloads:
        wanted = each.status.replicas or 0
        held = [
            count for name, count in deployments(settled).items() if name.startswith(f"{each.meta.name}-")
        ]
        mine = [pod for pod in settled.pods if pod.labels.get(labels.WORKLOAD) == each.meta.name]
        lost = [pod for pod in mine if not pod.is_ready and pod.node_name]
        assert sum(held) == wanted + len(lost)


@settings(max_examples=60, deadline=None)
@given(worlds(), st.data())
def test_whoever_holds_traffic_loses_no_track_to_a_lost_node_and_the_world_comes_to_rest(at, data):
    at = settle(at)
    names = data.draw(st.sets(st.sampled_from([each.meta.name for each in at.workloads]), min_size=1))
    tracks = {each.meta.labels[labels.TRACK] for each in at.children if labels.TRACK in each.meta.labels}
    before = {name for name in tracks if name.split("-")[0] in names}
    at = hold_traffic(at, *names)
    if at.nodes:
        at = lose_node(at, data.draw(st.sampled_from(at.nodes)).name)
    for _ in range(12):
        decisions = decide(at)
        lost = {each.name for each in decisions.objects for child in each.deletes} & names
        assert all(_gave_way(decisions, name) for name in lost)
        before = {track for track in before if track.split("-")[0] not in lost}
        after = hold_traffic(apply(at, decisions), *names)
        if after == at and not decisions.objects:
            break
        at = after
    assert not decide(at).objects
    assert before <= set(deployments(at))


def _gave_way(decisions, name: str) -> bool:
    """True when the status says that a higher tier has the devices."""
    (found,) = [each for each in decisions.objects if each.name == name]
    assert found.status is not None
    return "Displaced" in {each["reason"] for each in found.status.status["conditions"]}


@settings(max_examples=60, deadline=None)
@given(worlds(), st.randoms())
def test_the_order_of_pods_and_nodes_changes_nothing(at, random):
    at = settle(at)
    nodes, pods = list(at.nodes), list(at.pods)
    random.shuffle(nodes)
    random.shuffle(pods)
    forgotten = tuple(replace(each, status=InferenceWorkloadStatus()) for each in at.workloads)
    assert decide(replace(at, workloads=forgotten, nodes=tuple(nodes), pods=tuple(pods))) == decide(
        replace(at, workloads=forgotten)
    )


def test_a_large_fleet_is_decided_in_seconds():
    """A bound against accidents, far above what it takes (about a second, most of it the first look at profiles)."""
    names = [f"p{index:02}" for index in range(20)]
    pools = [pool(name, f"{1 + index / 10:.2f}") for index, name in enumerate(names)]
    nodes = [node(f"n{index:03}", names[index % 20], 8) for index in range(500)]
    workloads = [workload(f"w{index:03}", 1 + index % 6) for index in range(200)]
    began = time.monotonic()
    decisions = decide(world(*pools, *nodes, *workloads))
    assert time.monotonic() - began < 20
    assert sum(1 for each in decisions.objects if each.applies) == 200
