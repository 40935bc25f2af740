"""What pools are counted to have, and who holds it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from tests.unit.core.worlds import GPU, foreign_pod, node

from switchyard.api import labels
from switchyard.core.placement.capacity import PoolCapacity, round_up_to_unit, survey, tolerates
from switchyard.core.placement.facts import PoolFacts
from switchyard.core.placement.ledger import count_seats
from switchyard.core.world import Node, Pod, Taint

FACTS = PoolFacts("p", "nvidia-l4", "gpu", GPU, ({"pool": "p"},))
RESERVED = Taint("dedicated", "inference", "NoSchedule")


def count(*nodes: Node, pods: tuple[Pod, ...] = (), facts: PoolFacts = FACTS) -> PoolCapacity:
    fleet = survey([facts], {}, nodes, pods, frozenset({("team", "chat")}))
    return fleet.pools[facts.name]


def own_pod(name: str, node_name: str, devices: int = 1, **changes: object) -> Pod:
    marks = {labels.MANAGED_BY: "switchyard", labels.WORKLOAD: "chat", labels.TRACK: "chat-v-p"}
    made = Pod("team", name, name, marks, node_name, "Running", True, False, {GPU: devices})
    return replace(made, **changes)  # type: ignore[arg-type]


NODES = [
    ("a ready node", node("n", "p", 4), (4, 4, 0, 4)),
    ("a node that is not ready has nothing to give", node("n", "p", 4, is_ready=False), (4, 0, 0, 0)),
    ("a cordoned node has nothing to give", node("n", "p", 4, is_unschedulable=True), (4, 4, 0, 0)),
    ("a taint that is not tolerated keeps pods off", node("n", "p", 4, taints=(RESERVED,)), (4, 4, 0, 0)),
    (
        "a taint that only prefers keeps nobody off",
        node("n", "p", 4, taints=(replace(RESERVED, effect="PreferNoSchedule"),)),
        (4, 4, 0, 4),
    ),
    ("devices that are not allocatable are unhealthy", node("n", "p", 4, allocatable={GPU: 3}), (4, 3, 1, 3)),
    ("a node of another pool does not count", node("n", "q", 4), (0, 0, 0, 0)),
]


@pytest.mark.parametrize(
    ("the_node", "expected"), [case[1:] for case in NODES], ids=[case[0] for case in NODES]
)
def test_devices(the_node, expected):
    found = count(the_node)
    assert (
        found.devices_total,
        found.devices_allocatable,
        found.devices_unhealthy,
        found.devices_free,
    ) == expected


def test_a_pool_that_tolerates_the_taint_has_the_node():
    facts = replace(FACTS, tolerations=({"key": "dedicated", "operator": "Exists"},))
    assert count(node("n", "p", 4, taints=(RESERVED,)), facts=facts).devices_free == 4
    assert count(node("n", "p", 4, taints=(RESERVED,))).repelled_nodes == ("n",)


TOLERATIONS = [
    ("the same value", {"key": "dedicated", "value": "inference", "effect": "NoSchedule"}, True),
    ("another value", {"key": "dedicated", "value": "training", "effect": "NoSchedule"}, False),
    ("any value", {"key": "dedicated", "operator": "Exists"}, True),
    ("everything", {"operator": "Exists"}, True),
    ("another effect", {"key": "dedicated", "operator": "Exists", "effect": "NoExecute"}, False),
    ("another key", {"key": "other", "operator": "Exists"}, False),
]


@pytest.mark.parametrize(
    ("toleration", "expected"), [case[1:] for case in TOLERATIONS], ids=[case[0] for case in TOLERATIONS]
)
def test_toleration(toleration, expected):
    assert tolerates([toleration], RESERVED) is expected


def test_own_pods_are_used_but_stay_at_the_plan_s_disposal_and_others_do_not():
    found = count(node("n", "p", 8), pods=(own_pod("a", "n", 2), foreign_pod("b", "n", 3)))
    assert (found.devices_used, found.devices_foreign, found.devices_free) == (5, 3, 3)
    assert found.free_for_plan == (("n", 5),)


def test_pods_of_a_workload_that_is_gone_are_somebody_else_s():
    stray = own_pod("a", "n", 2)
    stray = replace(stray, labels={**stray.labels, labels.WORKLOAD: "gone"})
    assert count(node("n", "p", 8), pods=(stray,)).devices_foreign == 2


def test_finished_pods_hold_nothing():
    done = replace(foreign_pod("b", "n", 3), phase="Succeeded")
    assert count(node("n", "p", 4), pods=(done,)).devices_used == 0


def test_a_pod_that_is_leaving_serves_no_more_but_holds_its_devices():
    leaving = own_pod("a", "n", 2, is_deleting=True)
    fleet = survey([FACTS], {}, (node("n", "p", 4),), (leaving,), frozenset({("team", "chat")}))
    assert fleet.track(("team", "chat-v-p")).ready == 0
    assert fleet.pools["p"].devices_free == 2


def test_a_pod_on_a_node_that_does_not_answer_is_not_ready_whatever_it_says():
    nodes = (node("n", "p", 4, is_ready=False),)
    fleet = survey([FACTS], {}, nodes, (own_pod("a", "n"),), frozenset({("team", "chat")}))
    assert fleet.track(("team", "chat-v-p")).ready == 0


def test_the_older_pool_keeps_a_node_that_two_select_and_the_younger_says_so():
    pools = [replace(FACTS, name="a-young"), replace(FACTS, name="b-old")]
    created = {"a-young": datetime(2026, 2, 1, tzinfo=UTC), "b-old": datetime(2026, 1, 1, tzinfo=UTC)}
    fleet = survey(pools, created, (node("n", "p", 4),), (), frozenset())
    assert fleet.pools["b-old"].devices_total == 4
    assert fleet.pools["a-young"].devices_total == 0
    assert fleet.pools["a-young"].claimed_nodes == (("n", "b-old"),)


def test_one_node_may_serve_two_pools_of_different_resources():
    slices = replace(FACTS, name="mig", resource_name="example.com/slice")
    shared = node("n", "p", 4, allocatable={GPU: 4, "example.com/slice": 7})
    fleet = survey([FACTS, slices], {}, (shared,), (), frozenset())
    assert fleet.pools["mig"].devices_allocatable == 7
    assert fleet.pools["p"].devices_allocatable == 4


def test_a_node_matches_any_of_the_labels_that_identify_an_accelerator():
    facts = replace(FACTS, selectors=({"a": "1", "b": "2"}, {"c": "3"}))
    both = (
        node("n1", "p", 1, labels={"a": "1", "b": "2"}),
        node("n2", "p", 1, labels={"c": "3", "x": "y"}),
        node("n3", "p", 1, labels={"a": "1"}),
    )
    assert [name for name, _ in count(*both, facts=facts).free_for_plan] == ["n1", "n2"]


def test_a_pool_without_a_selector_takes_no_node():
    assert count(node("n", "p", 4), facts=replace(FACTS, selectors=({},))).nodes_total == 0


@pytest.mark.parametrize(
    ("devices", "units", "expected"),
    [(3, (), 3), (3, (1, 4, 8), 4), (4, (1, 4, 8), 4), (9, (1, 4, 8), None), (1, (2,), 2)],
)
def test_devices_are_rounded_up_to_what_is_allocated_together(devices, units, expected):
    assert round_up_to_unit(devices, units) == expected


def test_seats_are_counted_by_node_and_not_by_sum():
    assert count_seats((("a", 3), ("b", 3), ("c", 8)), 4) == 2


def test_pods_on_nodes_that_do_not_answer_or_are_gone_are_lost_and_need_successors():
    nodes = (node("n", "p", 4), node("dead", "p", 4, is_ready=False))
    pods = (own_pod("a", "n"), own_pod("b", "dead"), own_pod("c", "gone"), own_pod("d", "", is_ready=False))
    track = survey([FACTS], {}, nodes, pods, frozenset({("team", "chat")})).track(("team", "chat-v-p"))
    assert (track.ready, track.lost, track.leaving, track.to_succeed, track.total) == (1, 2, 0, 2, 4)


def test_pods_on_nodes_that_are_taken_back_serve_on_and_need_successors():
    notice = Taint("cloud.google.com/impending-node-termination", "", "NoSchedule")
    nodes = (node("n", "p", 4), node("going", "p", 4, taints=(notice,)))
    pods = (own_pod("a", "n"), own_pod("b", "going"), own_pod("c", "going", is_ready=False))
    track = survey([FACTS], {}, nodes, pods, frozenset({("team", "chat")})).track(("team", "chat-v-p"))
    assert (track.ready, track.ready_leaving, track.leaving, track.lost) == (2, 1, 2, 0)
    assert track.scheduled_by_node == {"n": 1}


def test_ready_pods_without_the_shared_label_are_counted():
    shared = own_pod("a", "n")
    shared = replace(shared, labels={**shared.labels, labels.SHARED: "true"})
    fleet = survey(
        [FACTS], {}, (node("n", "p", 4),), (shared, own_pod("b", "n")), frozenset({("team", "chat")})
    )
    assert fleet.track(("team", "chat-v-p")).unshared == 1
