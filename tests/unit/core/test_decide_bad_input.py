"""What is wrong with one object is its own condition, and nobody else's."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.core.worlds import (
    condition,
    decision,
    node,
    place_of,
    pool,
    settle,
    status_of,
    variant,
    workload,
    world,
)

from switchyard.core.decide import decide
from switchyard.core.world import Meta, Refusal, Unreadable

BAD_INPUT = [
    (
        "an accelerator that nobody knows",
        {"variants": [variant(accelerators=["nvidia-l5"])]},
        ("UnknownAccelerator", "nvidia-l5"),
    ),
    (
        "an accelerator that no pool has",
        {"variants": [variant(accelerators=["tpu"])]},
        ("AcceleratorMismatch", "no pool has any of the accelerators tpu"),
    ),
    (
        "a missing profile",
        {"variants": [variant(profile=None)]},
        ("ProfileMissing", "states no profile"),
    ),
    (
        "an objective out of reach",
        {"objectives": [{"metric": "latency", "percentile": 95, "target": "50ms"}]},
        ("ObjectiveUnreachable", "p95 ≤ 50ms is out of reach: p95 is 184ms at best"),
    ),
    (
        "more replicas than allowed",
        {"demand": {"requestsPerSecond": "300000"}},
        ("MaxReplicasExceeded", "maxReplicas is 100"),
    ),
    (
        "a pod template that does not exist",
        {"variants": [variant(container=None, podTemplateRef={"name": "absent"})]},
        ("PodTemplateNotFound", "PodTemplate absent does not exist in namespace team"),
    ),
    (
        "a budget below every option",
        {"budget": {"perHour": "0.50"}},
        ("OverBudget", "1 replicas cost 1.00 per hour; the budget is 0.50"),
    ),
    (
        "a model that does not fit",
        {"model": {"name": "m", "memory": "40Gi"}},
        ("InsufficientMemory", "the model needs 40Gi; 1 device of 24Gi hold 24Gi"),
    ),
    (
        "a residency that no pool has",
        {"constraints": {"residency": ["eu"]}},
        ("ResidencyMismatch", "needs residency eu; the pool states none"),
    ),
    (
        "more devices in one replica than any node has",
        {"variants": [variant(devicesPerReplica=8)]},
        ("AllocationUnit", "a replica needs 8 devices on one node; the largest open node has 4"),
    ),
]


@pytest.mark.parametrize(
    ("spec", "expected"), [case[1:] for case in BAD_INPUT], ids=[case[0] for case in BAD_INPUT]
)
def test_bad_input_gets_its_own_message_and_the_others_go_on(spec, expected):
    at = world(pool("p"), node("n1", "p", 4), workload("a-bad", **spec), workload("b-good"))
    status = status_of(at, "a-bad")
    placed = condition(status, "Placed")
    assert placed[:2] == ("False", expected[0])
    assert expected[1] in placed[2]
    assert condition(status, "Ready")[0] == "False"
    assert status["rejected"][0]["reason"] in {expected[0], "AcceleratorMismatch"}
    assert place_of(at, "b-good") == ("v", "p", 1)


BAD_POOLS = [
    ("a pool with no nodes", {}, (), "NoNodes", "no node carries pool=bad"),
    (
        "a pool whose nodes are not ready",
        {},
        (node("n9", "bad", is_ready=False),),
        "NodesNotReady",
        "none of 1 nodes is ready",
    ),
    (
        "a pool whose nodes offer no devices",
        {},
        (node("n9", "bad", capacity={}, allocatable={}),),
        "NoDevices",
        "is its device plugin running?",
    ),
    (
        "a pool of an accelerator that is in no catalog",
        {"device": None, "accelerator": "nvidia-l5"},
        (),
        "UnknownAccelerator",
        "accelerator nvidia-l5 is not in the catalog",
    ),
]


@pytest.mark.parametrize(
    ("spec", "nodes", "reason", "words"),
    [case[1:] for case in BAD_POOLS],
    ids=[case[0] for case in BAD_POOLS],
)
def test_a_pool_that_can_take_nothing_says_why_and_the_others_go_on(spec, nodes, reason, words):
    at = world(pool("bad", "0.01", **spec), *nodes, pool("good"), node("n1", "good"), workload("chat"))
    ready = condition(status_of(at, "bad"), "Ready")
    assert ready[:2] == ("False", reason)
    assert words in ready[2]
    assert place_of(at, "chat") == ("v", "good", 1)


def test_a_node_that_two_pools_select_counts_once_and_the_later_pool_says_so():
    at = world(
        pool("first", created=1),
        pool("second", "0.10", created=2, nodeSelector={"pool": "first"}),
        node("n1", "first", 2),
        workload("chat", 2),
    )
    assert condition(status_of(at, "second"), "Ready") == (
        "False",
        "NodesClaimed",
        "n1 counted for the earlier pool first",
    )
    assert status_of(at, "second")["devices"]["total"] == 0
    assert place_of(at, "chat") == ("v", "first", 2)


def test_an_object_that_cannot_be_read_gets_a_condition_and_stops_nobody():
    broken = Unreadable(
        "InferenceWorkload", Meta("a-odd", "team", "u", "1", 3), "spec.tier is 7: use internal"
    )
    at = replace(world(pool("p"), node("n1", "p"), workload("chat")), unreadable=(broken,))
    status = decision(decide(at), "a-odd").status.status
    assert status["observedGeneration"] == 3
    assert condition(status, "Stalled") == ("True", "InvalidSpec", "spec.tier is 7: use internal")
    assert condition(status, "Ready")[0] == "False"
    assert place_of(at, "chat") == ("v", "p", 1)
    assert decision(decide(replace(at, unreadable=(replace(broken, status=status),))), "a-odd").status is None


def test_a_poison_object_stops_nobody():
    class Poison:
        def __getattr__(self, name):
            raise RuntimeError(f"no {name} here")

    bad = replace(workload("a-poison"), spec=Poison())
    at = world(pool("p"), node("n1", "p"), bad, workload("chat"))
    status = decision(decide(at), "a-poison").status.status
    assert condition(status, "Stalled")[:2] == ("True", "InvalidSpec")
    assert place_of(at, "chat") == ("v", "p", 1)


def test_two_workloads_whose_tracks_would_have_one_name_do_not_fight():
    at = world(
        pool("p"),
        node("n1", "p"),
        workload("chat", variants=[variant("fast-v")]),
        workload("chat-fast", variants=[variant("v")]),
    )
    assert len(decision(decide(at), "chat").applies) == 4
    assert decision(decide(at), "chat-fast").applies == ()
    assert condition(status_of(at, "chat-fast"), "Stalled")[:2] == ("True", "NameConflict")


def test_a_refusal_of_the_api_server_is_told_and_tried_again():
    at = world(pool("p"), node("n1", "p"), workload("chat"))
    key = ("InferenceWorkload", "team", "chat")
    taken = replace(at, refusals={key: Refusal("Service chat is somebody else's", is_name_taken=True)})
    assert condition(status_of(taken, "chat"), "Stalled")[1:] == (
        "NameConflict",
        "Service chat is somebody else's",
    )
    assert len(decision(decide(taken), "chat").applies) == 4


def test_a_workload_whose_own_address_is_taken_is_not_ready_however_many_pods_are():
    settled = settle(world(pool("p"), node("n1", "p"), workload("chat")))
    key = ("InferenceWorkload", "team", "chat")
    refused = replace(settled, refusals={key: Refusal("Service chat is somebody else's", is_name_taken=True)})
    assert condition(status_of(refused, "chat"), "Ready")[:2] == ("True", "Serving")
    without = tuple(
        child for child in refused.children if (child.kind, child.meta.name) != ("Service", "chat")
    )
    unreachable = replace(refused, children=without)
    assert condition(status_of(unreachable, "chat"), "Ready")[:2] == ("False", "NameConflict")
