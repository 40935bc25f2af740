"""Whole passes over small worlds: what would be written, said and left alone."""

from __future__ import annotations

import json
from dataclasses import replace

from tests.unit.core.worlds import (
    GPU,
    NOW,
    apply,
    condition,
    decision,
    deployments,
    foreign_pod,
    lose_node,
    node,
    place_of,
    pool,
    settle,
    status_of,
    variant,
    workload,
    world,
)

from switchyard.api import InferenceWorkloadStatus, labels
from switchyard.core.decide import decide
from switchyard.core.world import PodTemplate, World


def stable_selector(at: World, name: str) -> str:
    service = next(each for each in at.children if each.kind == "Service" and each.meta.name == name)
    return service.body["spec"]["selector"][labels.TRACK]


def test_a_workload_gets_a_track_a_stable_service_and_a_disruption_budget():
    at = world(pool("l4"), node("n1", "l4"), workload("chat", 2))
    applied = [
        (each.body["kind"], each.body["metadata"]["name"]) for each in decision(decide(at), "chat").applies
    ]
    assert applied == [
        ("Deployment", "chat-v-l4"),
        ("Service", "chat-v-l4"),
        ("Service", "chat"),
        ("PodDisruptionBudget", "chat"),
    ]


def test_a_workload_is_ready_when_its_active_track_has_ready_pods():
    at = world(pool("l4"), node("n1", "l4"), workload("chat", 2))
    assert condition(status_of(at, "chat"), "Ready")[:2] == ("False", "WaitingForPods")
    at = settle(at)
    status = status_of(at, "chat")
    assert condition(status, "Ready") == ("True", "Serving", "2 of 2 replicas ready on track chat-v-l4")
    assert status["activeTrack"] == "chat-v-l4"
    assert condition(status, "Reconciling")[0] == ""


def test_two_want_the_cheapest_pool_that_fits_one_and_the_higher_tier_gets_it():
    at = world(
        pool("cheap", "1.00"),
        pool("dear", "3.00"),
        node("n1", "cheap", 2),
        node("n2", "dear", 2),
        workload("a-batch", 2, tier="batch"),
        workload("b-chat", 2, tier="customer-facing"),
    )
    assert place_of(at, "b-chat") == ("v", "cheap", 2)
    assert place_of(at, "a-batch") == ("v", "dear", 2)


def test_the_one_without_a_place_says_exactly_what_is_missing():
    at = world(
        pool("cheap"),
        node("n1", "cheap", 3),
        workload("a-batch", 2, tier="batch"),
        workload("b-chat", 2, tier="customer-facing"),
    )
    placed = condition(status_of(at, "a-batch"), "Placed")
    assert placed == ("False", "InsufficientCapacity", f"needs 2 x {GPU} units, 1 free in pool cheap")


def test_a_later_higher_tier_takes_the_place_of_a_batch_that_serves():
    at = settle(world(pool("p"), node("n1", "p", 2), workload("a-batch", 2, tier="batch")))
    chat = workload("b-chat", 2, tier="customer-facing")
    at = replace(at, workloads=(*at.workloads, chat))
    (note, *_) = decision(decide(at), "a-batch").events
    assert (note.type, note.reason) == ("Warning", "Displaced")
    assert "gave way to team/b-chat of a higher tier" in note.message
    at = settle(at)
    assert deployments(at) == {"b-chat-v-p": 2}
    assert condition(status_of(at, "a-batch"), "Placed")[:2] == ("False", "InsufficientCapacity")
    assert condition(status_of(at, "b-chat"), "Ready")[0] == "True"


def test_a_batch_that_gives_way_and_finds_another_place_leaves_at_once():
    at = settle(
        world(
            pool("p", "1", unitDevices=[1, 2]),
            pool("q", "2"),
            node("n1", "p", 2),
            node("n2", "q", 1),
            workload("a-batch", 1, tier="batch", variants=[variant(devicesPerReplica=1)]),
        )
    )
    chat = workload("b-chat", 1, tier="customer-facing", variants=[variant(devicesPerReplica=2)])
    at = apply(
        replace(at, workloads=(*at.workloads, chat)), decide(replace(at, workloads=(*at.workloads, chat)))
    )
    assert deployments(at) == {"a-batch-v-q": 1, "b-chat-v-p": 1}
    assert stable_selector(at, "a-batch") == "a-batch-v-q"
    assert condition(status_of(settle(at), "b-chat"), "Ready")[0] == "True"


def test_what_serves_stays_when_a_cheaper_pool_appears():
    at = settle(world(pool("dear", "3"), node("n1", "dear"), workload("chat")))
    cheaper = replace(at, pools=(pool("cheap", "1"), *at.pools), nodes=(node("n0", "cheap"), *at.nodes))
    assert place_of(cheaper, "chat") == ("v", "dear", 1)
    rejected = status_of(cheaper, "chat")["rejected"]
    assert [(each["pool"], each["reason"]) for each in rejected] == [("cheap", "Sticky")]


def test_what_is_being_started_stays_when_a_cheaper_pool_appears():
    at = world(pool("dear", "3"), node("n1", "dear"), workload("chat"))
    at = settle(at, are_pods_starting=False)
    cheaper = replace(at, pools=(pool("cheap", "1"), *at.pools), nodes=(node("n0", "cheap"), *at.nodes))
    (rejected,) = status_of(cheaper, "chat")["rejected"]
    assert (rejected["pool"], rejected["reason"]) == ("cheap", "Sticky")
    assert "what is being started stays" in rejected["message"]
    assert deployments(settle(cheaper)) == {"chat-v-dear": 1}


def test_a_pod_that_restarts_does_not_move_its_workload():
    at = settle(world(pool("dear", "3"), node("n1", "dear"), workload("chat")))
    at = replace(
        at,
        pools=(pool("cheap", "1"), *at.pools),
        nodes=(node("n0", "cheap"), *at.nodes),
        pods=tuple(replace(each, is_ready=False) for each in at.pods),
    )
    assert place_of(at, "chat") == ("v", "dear", 1)


def test_a_workload_whose_nodes_are_gone_is_placed_anew_at_once():
    at = settle(
        world(
            pool("cheap", "1"), pool("dear", "3"), node("n1", "cheap"), node("n2", "dear"), workload("chat")
        )
    )
    assert stable_selector(at, "chat") == "chat-v-cheap"
    hurt = lose_node(at, "n1")
    notes = [each.reason for each in decision(decide(hurt), "chat").events]
    at = settle(hurt)
    assert "Replacing" in notes
    assert stable_selector(at, "chat") == "chat-v-dear"
    assert deployments(at) == {"chat-v-dear": 1}


def test_a_pool_that_loses_one_of_two_nodes_keeps_what_fits_and_says_so():
    at = settle(world(pool("p"), node("n1", "p", 2), node("n2", "p", 2), workload("chat", 4)))
    at = lose_node(at, "n1")
    status = status_of(at, "chat")
    assert place_of(at, "chat") == ("v", "p", 2)
    assert condition(status, "Degraded")[:2] == ("True", "InsufficientCapacity")
    assert condition(status, "ObjectivesMet")[:2] == ("False", "InsufficientCapacity")
    assert condition(status, "Ready")[0] == "True"


def test_a_move_keeps_the_old_track_until_the_new_one_serves():
    at = settle(world(pool("a"), pool("b", "2"), node("n1", "a"), node("n2", "b"), workload("chat")))
    old = next(iter(at.workloads))
    narrowed = replace(
        old,
        spec=workload("chat", variants=[variant("other", ["gpu"])]).spec,
        meta=replace(old.meta, generation=2),
    )
    at = replace(at, workloads=(narrowed,))
    at = apply(at, decide(at), are_pods_starting=False)
    assert set(deployments(at)) == {"chat-v-a", "chat-other-a"}
    assert stable_selector(at, "chat") == "chat-v-a"
    at = settle(at)
    assert set(deployments(at)) == {"chat-other-a"}
    assert stable_selector(at, "chat") == "chat-other-a"


def test_a_service_always_selects_a_track_with_ready_pods_during_a_move():
    at = settle(world(pool("a"), node("n1", "a"), workload("chat")))
    spec = workload("chat", variants=[variant("other")]).spec
    at = replace(at, workloads=(replace(at.workloads[0], spec=spec),))
    for _ in range(5):
        at = apply(at, decide(at))
        ready = {
            each.labels[labels.TRACK] for each in at.pods if each.is_ready and labels.TRACK in each.labels
        }
        assert stable_selector(at, "chat") in ready


def test_a_child_edited_by_hand_is_repaired():
    at = settle(world(pool("p"), node("n1", "p"), workload("chat")))
    children = []
    for child in at.children:
        body = json.loads(json.dumps(child.body))
        if child.kind == "Deployment":
            body["spec"]["replicas"] = 7
        children.append(replace(child, body=body))
    edited = replace(at, children=tuple(children))
    assert [each.body["kind"] for each in decision(decide(edited), "chat").applies] == ["Deployment"]


def test_a_deleted_child_comes_back():
    at = settle(world(pool("p"), node("n1", "p"), workload("chat")))
    bereft = replace(at, children=tuple(each for each in at.children if each.kind != "PodDisruptionBudget"))
    assert [each.body["kind"] for each in decision(decide(bereft), "chat").applies] == ["PodDisruptionBudget"]


def test_an_object_that_is_being_deleted_is_left_alone_and_holds_nothing():
    leaving = workload("a-leaving", 2, tier="customer-facing")
    leaving = replace(leaving, meta=replace(leaving.meta, is_deleting=True))
    at = world(pool("p"), node("n1", "p", 2), leaving, workload("b-new", 2))
    assert decision(decide(at), "a-leaving").applies == ()
    assert place_of(at, "b-new") == ("v", "p", 2)


def test_a_pod_template_is_used_and_its_first_container_gets_the_devices():
    spec = {
        "containers": [{"name": "main", "image": "example.com/a"}, {"name": "side", "image": "example.com/b"}]
    }
    at = world(
        pool("p"),
        node("n1", "p"),
        workload(
            "chat", variants=[variant(container=None, podTemplateRef={"name": "tpl"}, devicesPerReplica=2)]
        ),
        pod_templates=(PodTemplate("team", "tpl", "1", {"metadata": {"labels": {"x": "y"}}, "spec": spec}),),
    )
    body = decision(decide(at), "chat").applies[0].body
    main, side = body["spec"]["template"]["spec"]["containers"]
    assert main["resources"]["limits"] == {GPU: "2"}
    assert "resources" not in side
    assert body["spec"]["template"]["metadata"]["labels"]["x"] == "y"


def test_foreign_pods_count_as_used_and_leave_less():
    at = world(pool("p"), node("n1", "p", 4), foreign_pod("other", "n1", 3), workload("chat", 2))
    assert status_of(at, "p")["devices"]["used"] == 3
    assert condition(status_of(at, "chat"), "Placed")[2] == f"needs 2 x {GPU} units, 1 free in pool p"


def test_a_workload_whose_pool_is_deleted_serves_on_and_says_so():
    at = settle(world(pool("p"), node("n1", "p"), workload("chat")))
    bereft = settle(replace(at, pools=()))
    status = status_of(bereft, "chat")
    assert deployments(bereft) == {"chat-v-p": 1}
    assert condition(status, "Placed")[:2] == ("False", "NoPools")
    assert condition(status, "Degraded")[:2] == ("True", "PlacementOutdated")
    assert condition(status, "Ready") == ("True", "Serving", "1 replicas ready on track chat-v-p")


def test_a_cordoned_pool_keeps_what_serves_and_takes_nothing_new():
    at = settle(world(pool("p"), node("n1", "p"), workload("a-old")))
    closed = replace(at, pools=(replace(at.pools[0], spec=pool("p", cordoned=True).spec),))
    closed = replace(closed, workloads=(*closed.workloads, workload("b-new")))
    assert place_of(closed, "a-old") == ("v", "p", 1)
    assert condition(status_of(closed, "a-old"), "Degraded")[0] == ""
    assert condition(status_of(closed, "b-new"), "Placed")[:2] == ("False", "PoolCordoned")


def test_what_serves_against_a_changed_constraint_stays_and_is_marked():
    at = settle(
        world(
            pool("p"),
            pool("eu", "9", location={"residency": ["eu"]}),
            node("n1", "p"),
            node("n2", "eu"),
            workload("chat"),
        )
    )
    spec = workload("chat", constraints={"residency": ["eu"]}).spec
    at = replace(at, workloads=(replace(at.workloads[0], spec=spec),))
    assert place_of(at, "chat") == ("v", "p", 1)
    degraded = condition(status_of(at, "chat"), "Degraded")
    assert degraded[:2] == ("True", "PlacementOutdated")
    assert "needs residency eu" in degraded[2]


def test_transition_times_move_only_with_the_status():
    at = settle(world(pool("p"), node("n1", "p"), workload("chat")))
    later = replace(at, now=NOW.replace(hour=18))
    assert decide(later).objects == ()
    hurt = lose_node(later, "n1")
    conditions = {each["type"]: each for each in status_of(hurt, "chat")["conditions"]}
    assert conditions["Ready"]["lastTransitionTime"] == "2026-11-21T18:00:00Z"
    assert conditions["WithinBudget"]["lastTransitionTime"] == "2026-11-21T12:00:00Z"


def test_events_are_told_on_transitions_only():
    at = world(pool("p"), node("n1", "p"), workload("chat"))
    assert [each.reason for each in decision(decide(at), "chat").events] == ["Placed"]
    at = apply(at, decide(at))
    assert [each.reason for each in decision(decide(at), "chat").events] == ["Serving"]
    at = apply(at, decide(at))
    assert decision(decide(at), "chat").events == ()


def test_the_operator_needs_no_memory_of_its_own():
    """A status that was lost (or never written) leads back to the same children."""
    at = settle(world(pool("a", "1"), pool("b", "2"), node("n1", "a"), node("n2", "b"), workload("chat")))
    forgotten = replace(
        at, workloads=tuple(replace(each, status=InferenceWorkloadStatus()) for each in at.workloads)
    )
    assert [each.applies + each.deletes for each in decide(forgotten).objects] == [()]
    assert status_of(forgotten, "chat")["activeTrack"] == "chat-v-a"


def test_what_is_lost_with_a_node_is_started_elsewhere_at_once_and_the_dead_pods_are_not_counted_for_it():
    at = settle(world(pool("p"), node("n1", "p", 2), node("n2", "p", 4), workload("chat", 2)))
    hurt = lose_node(at, "n1")
    (applied,) = [each.body for each in decision(decide(hurt), "chat").applies]
    assert applied["spec"]["replicas"] == 4
    at = settle(hurt)
    status = status_of(at, "chat")
    assert status["replicas"] == 2
    assert condition(status, "Ready")[2] == "2 of 2 replicas ready on track chat-v-p"
    evicted = replace(at, pods=tuple(each for each in at.pods if each.is_ready))
    assert deployments(settle(evicted)) == {"chat-v-p": 2}


def test_newcomers_of_the_same_tier_do_not_take_the_devices_of_what_is_being_started():
    at = settle(world(pool("p"), node("n1", "p", 3), workload("b-first", 2)), are_pods_starting=False)
    at = replace(at, workloads=(workload("a-later", 2), *at.workloads))
    assert place_of(at, "b-first") == ("v", "p", 2)
    assert place_of(at, "a-later") is None


def test_what_is_being_started_gives_way_to_a_higher_tier_only_where_that_has_no_other_place():
    at = settle(
        world(
            pool("p", "1"),
            pool("q", "2"),
            node("n1", "p", 2),
            node("n2", "q", 2),
            workload("a-batch", 2, tier="batch"),
        ),
        are_pods_starting=False,
    )
    top = workload("b-chat", 2, tier="customer-facing", constraints={"accelerators": ["gpu"]})
    only_p = replace(at, nodes=at.nodes[:1], workloads=(*at.workloads, top))
    assert place_of(only_p, "a-batch") is None
    both = replace(at, workloads=(*at.workloads, top))
    assert place_of(both, "b-chat") == ("v", "q", 2)
    assert place_of(both, "a-batch") == ("v", "p", 2)
