"""Workloads on several pools at once: their tracks, their Service, and how they grow, shrink and lose pools."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.core.worlds import (
    NOW,
    apply,
    condition,
    decision,
    node,
    pool,
    settle,
    status_of,
    variant,
    workload,
    world,
)

from switchyard.api import InferenceWorkloadStatus, labels
from switchyard.core.decide import decide
from switchyard.core.world import Taint, World

MIXED = {"placement": {"mode": "mixed"}}
SPOT: dict[str, Any] = {"capacityType": "spot", "spot": {"interruptionsPerDay": "1", "noticePeriod": "2m"}}
NOTICE = Taint("aws-node-termination-handler/spot-itn", "true", "NoSchedule")


def mixed(name: str, replicas: int = 1, **spec: Any):
    return workload(name, replicas, **{**MIXED, **spec})


def places(at: World, name: str) -> dict[str, int]:
    """Replicas by pool."""
    return {each["pool"]: each["replicas"] for each in status_of(at, name)["placements"]}


def deployments(at: World) -> dict[str, int]:
    return {
        child.meta.name: child.body["spec"]["replicas"] for child in at.children if child.kind == "Deployment"
    }


def stable_selector(at: World, name: str) -> dict[str, str]:
    service = next(each for each in at.children if each.kind == "Service" and each.meta.name == name)
    return service.body["spec"]["selector"]


def with_spec(at: World, name: str, replicas: int, **spec: Any) -> World:
    """The world after its author changed what is asked."""
    new = workload(name, replicas, **spec)
    return replace(
        at,
        workloads=tuple(
            replace(each, spec=new.spec) if each.meta.name == name else each for each in at.workloads
        ),
    )


@pytest.fixture
def split() -> World:
    """Six replicas on two pools, neither of which has room for all."""
    return settle(
        world(pool("a", "1"), pool("b", "2"), node("n1", "a", 4), node("n2", "b", 4), mixed("chat", 6))
    )


def test_a_mix_takes_the_cheap_pool_and_the_rest_elsewhere(split):
    assert places(split, "chat") == {"a": 4, "b": 2}
    assert deployments(split) == {"chat-v-a": 4, "chat-v-b": 2}
    status = status_of(split, "chat")
    assert status["summary"]["placement"] == "a/v +1"
    assert status["replicas"] == 6
    assert status["readyReplicas"] == 6
    assert status["costPerHour"] == "8.00"
    assert condition(status, "Ready") == ("True", "Serving", "6 of 6 replicas ready on 2 tracks")
    assert condition(status, "Placed")[2] == (
        "variant v on pool a: 4 replicas; variant v on pool b: 2 replicas, 8.00 per hour"
    )


def test_the_service_of_a_mix_reaches_the_pods_of_all_tracks(split):
    selector = stable_selector(split, "chat")
    assert selector == {labels.WORKLOAD: "chat", labels.SHARED: "true"}
    assert all(selector.items() <= pod.labels.items() for pod in split.pods)


def test_each_track_of_a_mix_has_a_service_of_its_own(split):
    names = {child.meta.name for child in split.children if child.kind == "Service"}
    assert names == {"chat", "chat-v-a", "chat-v-b"}


def test_a_mix_grows_without_touching_what_serves(split):
    cheaper = replace(
        split, pools=(*split.pools, pool("c", "0.10")), nodes=(*split.nodes, node("n3", "c", 8))
    )
    assert places(cheaper, "chat") == {"a": 4, "b": 2}
    grown = settle(with_spec(cheaper, "chat", 8, **MIXED))
    assert places(grown, "chat") == {"a": 4, "b": 2, "c": 2}


def test_a_mix_shrinks_where_it_is_dear_and_only_after_the_delay(split):
    less = settle(with_spec(split, "chat", 3, **MIXED))
    assert places(less, "chat") == {"a": 4, "b": 2}
    assert status_of(less, "chat")["scaleDown"]["replicas"] == 3
    assert decide(less).recheck_at == NOW + timedelta(minutes=5)
    later = settle(replace(less, now=NOW + timedelta(minutes=5)))
    assert places(later, "chat") == {"a": 3}
    assert deployments(later) == {"chat-v-a": 3}


def test_a_mix_that_loses_a_pool_grows_in_the_other(split):
    roomy = replace(split, nodes=(split.nodes[0], node("n2", "b", 8)))
    hurt = replace(
        roomy,
        nodes=(replace(roomy.nodes[0], is_ready=False), roomy.nodes[1]),
        pods=tuple(replace(each, is_ready=False) if each.node_name == "n1" else each for each in roomy.pods),
    )
    assert places(settle(hurt), "chat") == {"b": 6}


def test_a_mix_stays_within_what_may_depend_on_one_pool():
    spread = {"constraints": {"spread": {"maxPercentPerPool": 50}}}
    at = settle(
        world(
            pool("a", "1"), pool("b", "2"), node("n1", "a", 8), node("n2", "b", 8), mixed("chat", 4, **spread)
        )
    )
    assert places(at, "chat") == {"a": 2, "b": 2}


def test_a_mix_survives_the_loss_of_a_spot_pool():
    survive = {"constraints": {"spot": {"survivalPercent": 50, "minFirmReplicas": 1}}}
    at = settle(
        world(
            pool("firm", "3"), pool("spot", "1", **SPOT), node("n1", "firm", 8), node("n2", "spot", 8),
            mixed("chat", 4, **survive),
        )
    )  # fmt: skip
    assert places(at, "chat") == {"firm": 2, "spot": 2}


def test_a_pool_that_may_not_carry_a_mix_alone_says_why_before_and_after_the_start():
    asked = mixed("chat", constraints={"spot": {"survivalPercent": 50}})
    nodes = node("n1", "firm", 1), node("n2", "spot", 1)
    new = world(pool("firm", "2"), pool("spot", "1", **SPOT), *nodes, asked)
    for at in (new, apply(new, decide(new), are_pods_starting=False), settle(new)):
        (refused,) = status_of(at, "chat")["rejected"]
        assert (refused["pool"], refused["reason"]) == ("spot", "SpotNotSurvivable")
        assert refused["message"] == (
            "as the only pool of a mix: losing spot pool spot leaves 0% of the demand; "
            "constraints.spot.survivalPercent is 50%"
        )


IMPOSSIBLE = [
    (
        "one spot pool alone",
        {"constraints": {"spot": {"survivalPercent": 50}}},
        "SpotNotSurvivable",
        "spot pool spot, and losing it leaves 0% of the demand; constraints.spot.survivalPercent is 50%",
    ),
    (
        "no firm pool",
        {"constraints": {"spot": {"minFirmReplicas": 2}}},
        "FirmFloorUnreachable",
        "all pools that it may use are spot (spot); constraints.spot.minFirmReplicas is 2",
    ),
    (
        "too few pools",
        {"constraints": {"spread": {"maxPercentPerPool": 40}}},
        "SpreadUnreachable",
        "1 pool may be used (spot), each for at most 40% of the demand",
    ),
]


@pytest.mark.parametrize(
    ("spec", "reason", "words"), [case[1:] for case in IMPOSSIBLE], ids=[case[0] for case in IMPOSSIBLE]
)
def test_what_no_mix_can_keep_is_said_with_its_numbers(spec, reason, words):
    at = world(pool("spot", "1", **SPOT), node("n1", "spot", 8), mixed("chat", 2, **spec))
    status = status_of(at, "chat")
    placed = condition(status, "Placed")
    assert placed[:2] == ("False", reason)
    assert words in placed[2]
    assert condition(status, "Stalled")[1] == reason


def test_a_mix_without_room_for_all_is_served_in_part_and_says_so():
    at = settle(world(pool("a"), node("n1", "a", 2), mixed("chat", 4)))
    status = status_of(at, "chat")
    assert places(at, "chat") == {"a": 2}
    assert condition(status, "Degraded")[:2] == ("True", "InsufficientCapacity")
    assert condition(status, "ObjectivesMet")[:2] == ("False", "InsufficientCapacity")


def test_from_single_to_mixed_and_back_the_service_never_selects_nothing():
    at = settle(
        world(pool("a", "1"), pool("b", "2"), node("n1", "a", 4), node("n2", "b", 8), workload("chat", 3))
    )
    for mode, replicas in (("mixed", 6), ("single", 4)):
        at = with_spec(
            at,
            "chat",
            replicas,
            placement={"mode": mode},
            scaling={"headroomPercent": 0, "scaleDownDelay": "0s"},
        )
        for _ in range(6):
            at = apply(at, decide(at))
            selector = stable_selector(at, "chat").items()
            assert any(pod.is_ready and selector <= pod.labels.items() for pod in at.pods)
        assert decide(at).objects == ()
    assert labels.TRACK in stable_selector(at, "chat")


def test_pods_from_before_the_shared_label_keep_the_service_on_their_track():
    at = settle(world(pool("a"), node("n1", "a", 8), workload("chat", 2)))
    old = tuple(
        replace(pod, labels={key: value for key, value in pod.labels.items() if key != labels.SHARED})
        for pod in at.pods
    )
    at = with_spec(replace(at, pods=old), "chat", 2, **MIXED)
    assert all(
        labels.SHARED not in each.body["spec"]["selector"]
        for each in decision(decide(at), "chat").applies
        if each.body["kind"] == "Service"
    )


def test_replicas_on_a_node_that_is_taken_back_get_successors_before_it_goes():
    at = settle(
        world(pool("spot", "1", **SPOT), node("n1", "spot", 2), node("n2", "spot", 4), workload("chat", 2))
    )
    at = replace(at, nodes=(replace(at.nodes[0], taints=(NOTICE,)), at.nodes[1]))
    decided = decision(decide(at), "chat")
    (applied,) = [each.body for each in decided.applies if each.body["kind"] == "Deployment"]
    assert applied["spec"]["replicas"] == 4
    assert [each.reason for each in decided.events] == ["SpotInterruption"]
    assert decided.events[0].message == (
        "2 replicas are on nodes that the provider takes back: as many are started elsewhere before their "
        "node goes (track chat-v-spot)"
    )
    at = settle(at)
    assert status_of(at, "chat")["replicas"] == 2
    gone = replace(at, nodes=at.nodes[1:], pods=tuple(pod for pod in at.pods if pod.node_name != "n1"))
    assert deployments(settle(gone)) == {"chat-v-spot": 2}


@st.composite
def worlds_of_mixes(draw):
    names = ("p0", "p1", "p2")
    things: list[Any] = [
        pool(name, str(draw(st.integers(1, 5))), **(SPOT if draw(st.integers(0, 2)) == 0 else {}))
        for name in names
    ]
    things += [
        node(f"{name}-n{index}", name, draw(st.integers(1, 4)))
        for name in names
        for index in range(draw(st.integers(0, 2)))
    ]
    for index in range(draw(st.integers(1, 3))):
        tier = draw(st.sampled_from(("customer-facing", "internal", "batch")))
        spec: dict[str, Any] = {}
        if draw(st.booleans()):
            spec = {"constraints": {"spot": {"survivalPercent": draw(st.sampled_from([0, 50]))}}}
        mode = draw(st.sampled_from(("mixed", "mixed", "single")))
        units = draw(st.sampled_from([1, 1, 2]))
        made = variant(devicesPerReplica=units)
        things.append(
            workload(
                f"w{index}",
                draw(st.integers(1, 5)),
                tier=tier,
                variants=[made],
                placement={"mode": mode},
                **spec,
            )
        )
    return world(*things)


@settings(max_examples=60, deadline=None)
@given(worlds_of_mixes())
def test_deciding_again_after_applying_changes_nothing(at):
    waiting = apply(at, decide(at), are_pods_starting=False)
    assert decide(waiting).objects == ()
    settled = settle(waiting)
    assert decide(settled).objects == ()


@settings(max_examples=40, deadline=None)
@given(worlds_of_mixes(), st.data())
def test_any_lost_node_leads_to_a_state_that_is_at_rest(at, data):
    at = settle(at)
    if not at.nodes:
        return
    name = data.draw(st.sampled_from(at.nodes)).name
    hurt = replace(
        at,
        nodes=tuple(replace(each, is_ready=False) if each.name == name else each for each in at.nodes),
        pods=tuple(replace(each, is_ready=False) if each.node_name == name else each for each in at.pods),
    )
    settle(hurt, rounds=12)


@settings(max_examples=40, deadline=None)
@given(worlds_of_mixes(), st.randoms())
def test_the_order_of_pods_nodes_and_children_changes_nothing(at, random):
    at = settle(at)
    nodes, pods, children = list(at.nodes), list(at.pods), list(at.children)
    for each in (nodes, pods, children):
        random.shuffle(each)
    forgotten = replace(
        at, workloads=tuple(replace(each, status=InferenceWorkloadStatus()) for each in at.workloads)
    )
    shuffled = replace(forgotten, nodes=tuple(nodes), pods=tuple(pods), children=tuple(children))
    assert decide(shuffled) == decide(forgotten)
