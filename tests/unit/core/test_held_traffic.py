"""While somebody holds a workload's traffic: what placement leaves alone, and how it takes it back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from tests.unit.core.worlds import (
    apply,
    condition,
    decision,
    deployments,
    lose_node,
    node,
    pool,
    settle,
    status_of,
    workload,
    world,
)

from switchyard.api import labels
from switchyard.core.decide import decide
from switchyard.core.drift import differs
from switchyard.core.holding import TRAFFIC_FIELDS, find_holder, leave_out_traffic
from switchyard.core.world import Child, World

ROUTER = {"switchyard.dev/router": "chat"}


def stable(at: World) -> Child:
    return next(each for each in at.children if each.kind == "Service" and each.meta.name == "chat")


def with_stable(at: World, spec: Mapping[str, Any], annotations: Mapping[str, str]) -> World:
    """The world after another manager wrote these fields of the stable Service."""
    there = stable(at)
    metadata = {**there.body["metadata"], "annotations": annotations}
    changed = replace(
        there, body={**there.body, "metadata": metadata, "spec": {**there.body["spec"], **spec}}
    )
    return replace(at, children=tuple(changed if each is there else each for each in at.children))


def hold(at: World, selector: Mapping[str, str] = ROUTER) -> World:
    annotations = {**stable(at).body["metadata"]["annotations"], labels.TRAFFIC_HELD_BY: "move-to-l4"}
    return with_stable(at, {"selector": selector}, annotations)


def release(at: World) -> World:
    annotations = {**stable(at).body["metadata"]["annotations"]}
    del annotations[labels.TRAFFIC_HELD_BY]
    return with_stable(at, {}, annotations)


def settle_held(at: World) -> World:
    """As `settle`, where an apply of the Service leaves the holder's fields as they are."""
    for _ in range(8):
        after = hold(apply(at, decide(at)))
        if after == at:
            return at
        at = after
    raise AssertionError(f"still changing: {decide(at)}")


def serving() -> World:
    return settle(world(pool("l4"), node("n1", "l4"), workload("chat", 2)))


def applied_services(at: World) -> list[Mapping[str, Any]]:
    return [
        each.body
        for each in decision(decide(at), "chat").applies
        if each.body["kind"] == "Service" and each.body["metadata"]["name"] == "chat"
    ]


def test_the_selector_of_a_held_service_is_left_out_of_the_first_apply_and_then_nothing_is_written():
    at = hold(serving())
    (body,) = applied_services(at)
    assert set(body["spec"]) == {"type", "ports"}
    assert labels.TRAFFIC_HELD_BY not in body["metadata"]["annotations"]
    at = settle_held(at)
    assert not decide(at).objects
    assert stable(at).body["spec"]["selector"] == ROUTER


def test_a_holder_may_change_the_selector_as_often_as_it_likes():
    at = settle_held(hold(serving()))
    for selector in (ROUTER, {labels.TRACK: "chat-v-other"}, {"anything": "else"}):
        assert not decide(hold(at, selector)).objects


def test_the_other_fields_of_a_held_service_are_still_put_right():
    at = with_stable(hold(serving()), {"type": "NodePort"}, hold(serving()).children[0].body["metadata"])
    (body,) = applied_services(hold(at))
    assert body["spec"]["type"] == "ClusterIP"
    assert "selector" not in body["spec"]


def test_released_traffic_goes_to_the_serving_track_again():
    at = release(settle_held(hold(serving())))
    (body,) = applied_services(at)
    assert body["spec"]["selector"][labels.TRACK] == "chat-v-l4"
    at = settle(at)
    assert stable(at).body["spec"]["selector"][labels.TRACK] == "chat-v-l4"


def test_an_apply_that_could_take_traffic_from_a_holder_is_locked_to_what_it_was_decided_on():
    at = with_stable(serving(), {"type": "NodePort"}, stable(serving()).body["metadata"]["annotations"])
    versions = {
        (each.body["kind"], each.body["metadata"]["name"]): each.resource_version
        for each in decision(decide(at), "chat").applies
    }
    assert versions == {("Service", "chat"): stable(at).meta.resource_version}
    assert versions["Service", "chat"]


def test_a_router_behind_the_stable_service_changes_nothing_that_is_reported():
    before = serving()
    held = settle_held(hold(before))
    assert status_of(held, "chat") == status_of(before, "chat")
    assert condition(status_of(held, "chat"), "Ready")[0] == "True"


def test_a_holder_s_own_deployment_is_no_track():
    at = settle_held(hold(serving()))
    track = next(each for each in at.children if each.kind == "Deployment")
    marks = {labels.MANAGED_BY: labels.MANAGER, labels.WORKLOAD: "chat"}
    meta = replace(track.meta, name="chat-router", uid="uid-router", labels=marks)
    at = replace(at, children=(*at.children, replace(track, meta=meta)))
    assert not decide(at).objects


@pytest.mark.parametrize("mode", ["single", "mixed"])
def test_no_track_goes_while_the_traffic_is_held_and_the_unwanted_one_goes_after(mode: str):
    placement = {"mode": mode, "migration": "manual"}
    chat = workload("chat", 2, placement=placement)
    at = settle(world(pool("a"), node("n1", "a"), pool("b", "2.00"), node("n2", "b"), chat))
    assert deployments(at) == {"chat-v-a": 2}
    at = lose_node(hold(at), "n1")
    for _ in range(4):
        at = hold(apply(at, decide(at)))
        assert not decision(decide(at), "chat").deletes
    assert deployments(at) == {"chat-v-a": 2, "chat-v-b": 2}
    at = settle(release(at))
    assert deployments(at) == {"chat-v-b": 2}


def test_a_track_that_serves_stays_the_active_one_while_the_traffic_is_held():
    at = settle_held(hold(serving()))
    other = next(each for each in at.children if each.kind == "Deployment")
    marks = {**other.meta.labels, labels.TRACK: "chat-v-new", labels.POOL: "new"}
    meta = replace(other.meta, name="chat-v-new", uid="uid-new", labels=marks)
    at = replace(at, children=(*at.children, replace(other, meta=meta)))
    status = status_of(at, "chat")
    assert status["activeTrack"] == "chat-v-l4"
    assert not decision(decide(at), "chat").deletes


def test_a_higher_tier_takes_devices_from_a_workload_whose_traffic_is_held():
    at = settle(world(pool("a"), node("n1", "a", 2), workload("chat", 2, tier="batch")))
    at = settle_held(hold(at))
    urgent = workload("urgent", 2, tier="customer-facing")
    at = replace(at, workloads=tuple(sorted((*at.workloads, urgent), key=lambda each: each.key)))
    assert [each.child.meta.name for each in decision(decide(at), "chat").deletes] == ["chat-v-a", "chat-v-a"]


@pytest.mark.parametrize("kind", sorted(TRAFFIC_FIELDS))
def test_what_is_left_out_is_no_drift_whatever_stands_there(kind: str):
    body = {"kind": kind, "metadata": {}, "spec": {TRAFFIC_FIELDS[kind]: [1], "rest": 2}}
    wanted = leave_out_traffic(body)
    assert wanted["spec"] == {"rest": 2}
    assert differs(body, {**body, "spec": {TRAFFIC_FIELDS[kind]: ["theirs"], "rest": 2}})
    assert not differs(wanted, {**body, "spec": {TRAFFIC_FIELDS[kind]: ["theirs"], "rest": 2}})
    assert differs(wanted, {**body, "spec": {"rest": 3}})


@pytest.mark.parametrize("annotations", [None, {}, {labels.TRAFFIC_HELD_BY: ""}, {"other": "x"}])
def test_without_a_name_in_the_annotation_nobody_holds(annotations: Mapping[str, str] | None):
    assert not find_holder({"kind": "Service", "metadata": {"annotations": annotations}})


OURS = {"manager": "switchyard-placement", "fieldsV1": {"f:spec": {"f:selector": {}, "f:ports": {}}}}


@pytest.mark.parametrize(
    ("managers", "holder"),
    [
        ([OURS, {"manager": "kubectl-annotate", "fieldsV1": {"f:metadata": {}}}], ""),
        ([OURS, {"manager": "other", "fieldsV1": {"f:spec": {"f:type": {}}}}], ""),
        ([OURS, {"manager": "switchyard-cutover", "fieldsV1": {"f:spec": {"f:selector": {}}}}], "move"),
    ],
    ids=["an annotation by hand", "another field of another", "the selector of another"],
)
def test_the_annotation_holds_only_for_who_has_written_the_selector(managers: list[Any], holder: str):
    metadata = {"annotations": {labels.TRAFFIC_HELD_BY: "move"}, "managedFields": managers}
    assert find_holder({"kind": "Service", "metadata": metadata}) == holder
