"""Writes on the wire: whose objects are touched, with which preconditions, and what each answer means."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from switchyard.adapters.cluster import KubernetesWriter
from switchyard.adapters.connection import Answer, refusal_of
from switchyard.adapters.events import EventRecorder
from switchyard.adapters.observed import Entry
from switchyard.core.decisions import Apply, Delete, FinalizerWrite, StatusWrite
from switchyard.core.world import Child, Meta, Plan
from switchyard.engine.ports import Conflict, Denied, Failed, Written

from .operator_fakes import META, FakeApi, memory_with, run

PATH = "/api/v1/namespaces/shop/services/chat"
MANAGED = {"app.kubernetes.io/managed-by": "switchyard"}
OURS = [{"uid": "uid-1", "controller": True}]


def service(**metadata: Any) -> dict[str, Any]:
    base = {"name": "chat", "namespace": "shop", "labels": MANAGED, "ownerReferences": OURS}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {**base, **metadata}, "spec": {"ports": []}}


APPLY = Apply(("InferenceWorkload", "shop", "chat"), service())


def writer(api: FakeApi, **held: Any) -> KubernetesWriter:
    return KubernetesWriter(api, memory_with(api, **held), EventRecorder(api, "me"))  # type: ignore[arg-type]


def last(api: FakeApi) -> tuple[str, str, dict[str, str], Any]:
    return api.requests[-1]


def test_a_new_name_is_applied_without_force_in_one_request() -> None:
    api = FakeApi()
    result = run(writer(api).apply(APPLY))
    assert isinstance(result, Written)
    assert result.observed is not None
    assert [method for method, *_ in api.requests] == ["PATCH"]
    assert last(api)[2] == {"fieldManager": "switchyard-placement", "force": "false"}


def test_a_child_that_the_watch_shows_is_applied_with_force_to_exactly_that_object() -> None:
    api = FakeApi({PATH: service(uid="child-uid")})
    run(writer(api, services=[Entry("shop", "chat", "child-uid", "1", None)]).apply(APPLY))
    assert [method for method, *_ in api.requests] == ["PATCH"]
    _, _, query, body = last(api)
    assert query["force"] == "true"
    assert body["metadata"]["uid"] == "child-uid"


def test_an_apply_that_was_decided_on_one_version_names_it() -> None:
    api = FakeApi({PATH: service(uid="child-uid")})
    apply = replace(APPLY, resource_version="17")
    run(writer(api, services=[Entry("shop", "chat", "child-uid", "17", None)]).apply(apply))
    assert last(api)[3]["metadata"]["resourceVersion"] == "17"
    api = FakeApi()
    run(writer(api).apply(apply))  # what is not there yet has no version
    assert "resourceVersion" not in last(api)[3]["metadata"]


def test_traffic_that_is_held_is_not_taken_by_taking_up_what_the_watch_does_not_show_yet() -> None:
    theirs = service(uid="child-uid", annotations={"switchyard.dev/traffic-held-by": "move"})
    api = FakeApi({PATH: theirs})
    result = run(writer(api).apply(APPLY))
    assert result == Conflict("the traffic of Service shop/chat is held by move")
    assert api.objects == {PATH: theirs}


def test_a_child_of_an_earlier_life_that_the_watch_does_not_show_yet_is_taken_up() -> None:
    api = FakeApi({PATH: service(uid="child-uid")})
    assert isinstance(run(writer(api).apply(APPLY)), Written)
    assert [method for method, *_ in api.requests] == ["PATCH", "GET", "PATCH"]
    assert last(api)[3]["metadata"]["uid"] == "child-uid"
    assert last(api)[2]["force"] == "true"


@pytest.mark.parametrize(
    "theirs",
    [
        service(uid="x", labels={}, ownerReferences=[]),
        service(uid="x", labels={"app.kubernetes.io/managed-by": "Helm"}),
        service(uid="x", ownerReferences=[{"uid": "another-workload", "controller": True}]),
        service(uid="x", ownerReferences=[]),
    ],
    ids=["no labels", "managed by Helm", "of another workload", "ours by label only"],
)
def test_a_name_that_another_has_is_never_written(theirs: dict[str, Any]) -> None:
    api = FakeApi({PATH: theirs})
    result = run(writer(api).apply(APPLY))
    assert isinstance(result, Denied)
    assert result.is_name_taken
    assert "shop/chat exists and is not ours" in result.message
    assert api.objects == {PATH: theirs}


ROUTE_PATH = "/apis/networking.istio.io/v1/namespaces/shop/virtualservices/chat"


def route(**metadata: Any) -> dict[str, Any]:
    kind = {"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "spec": {"hosts": ["a"]}}
    return {**service(**metadata), **kind}


def test_a_route_is_looked_at_before_it_is_made_since_another_s_need_not_conflict() -> None:
    theirs = route(uid="x", labels={}, ownerReferences=[])
    api = FakeApi({ROUTE_PATH: theirs}, conflicts=False)
    result = run(writer(api).apply(replace(APPLY, body=route())))
    assert isinstance(result, Denied)
    assert result.is_name_taken
    assert api.objects == {ROUTE_PATH: theirs}


def test_a_new_route_is_made_without_force_and_one_of_an_earlier_life_is_taken_up() -> None:
    api = FakeApi()
    for force in ("false", "true"):
        assert isinstance(run(writer(api).apply(replace(APPLY, body=route()))), Written)
        assert last(api)[2]["force"] == force


def test_a_route_that_cannot_be_looked_at_is_not_made() -> None:
    api = FakeApi(refuse=lambda method, _: Answer(500, {"message": "no"}) if method == "GET" else None)
    assert isinstance(run(writer(api).apply(replace(APPLY, body=route()))), Failed)
    assert not api.objects


def test_a_status_is_replaced_whole_and_locked_to_the_version_that_was_looked_at() -> None:
    path = "/apis/switchyard.dev/v1alpha1/namespaces/shop/inferenceworkloads/chat/status"
    api = FakeApi(refuse=lambda method, p: Answer(409, {"message": "changed"}))
    result = run(writer(api).write_status(StatusWrite("InferenceWorkload", META, {"replicas": 1})))
    assert result == Conflict("changed")
    _, where, _, body = last(api)
    assert where == path
    assert body == [
        {"op": "replace", "path": "/metadata/resourceVersion", "value": "7"},
        {"op": "add", "path": "/status", "value": {"replicas": 1}},
    ]


def test_a_status_of_an_object_that_is_gone_is_dropped() -> None:
    write = StatusWrite("InferenceWorkload", META, {})
    assert run(writer(FakeApi()).write_status(write)) == Conflict("gone")


PLAN = {
    "apiVersion": "switchyard.dev/v1alpha1",
    "kind": "CutoverPlan",
    "metadata": {"name": "chat-to-b", "namespace": "shop", "labels": MANAGED, "ownerReferences": OURS},
    "spec": {"workloadRef": {"name": "chat"}, "target": {"variant": "b", "pool": "new"}},
}
PLANS_PATH = "/apis/switchyard.dev/v1alpha1/namespaces/shop/cutoverplans"
CREATION = Apply(("CutoverPlan", "shop", "chat-to-b"), PLAN, is_new=True)


def test_a_plan_is_made_by_one_request_and_known_at_once() -> None:
    api = FakeApi()
    result = run(writer(api).apply(CREATION))
    assert isinstance(result, Written)
    assert isinstance(result.observed, Plan)
    assert result.observed.spec.target.pool == "new"
    method, where, query, body = last(api)
    assert (method, where, query) == ("POST", PLANS_PATH, {"fieldManager": "switchyard-placement"})
    assert body == PLAN
    assert len(api.requests) == 1


@pytest.mark.parametrize("is_shown", [False, True])
def test_a_plan_that_is_there_is_left_as_it_is_whatever_the_watch_shows(*, is_shown: bool) -> None:
    api = FakeApi(refuse=lambda method, p: Answer(409, {"message": "exists"}))
    shown = [Entry("shop", "chat-to-b", "plan-uid", "1", None)] if is_shown else []
    assert run(writer(api, cutoverplans=shown).apply(CREATION)) == Conflict("exists")
    assert [method for method, *_ in api.requests] == ["POST"]


def test_a_plan_that_nobody_may_make_is_a_refusal() -> None:
    api = FakeApi(refuse=lambda method, p: Answer(403, {"message": "no right"}))
    assert isinstance(run(writer(api).apply(CREATION)), Denied)


def test_finalizers_are_replaced_whole_and_locked_to_the_version_that_was_looked_at() -> None:
    path = "/apis/switchyard.dev/v1alpha1/namespaces/shop/cutoverplans/chat"
    api = FakeApi(refuse=lambda method, p: Answer(409, {"message": "changed"}))
    write = FinalizerWrite("CutoverPlan", META, ("example.com/theirs", "switchyard.dev/traffic"))
    assert run(writer(api).write_finalizers(write)) == Conflict("changed")
    _, where, query, body = last(api)
    assert (where, query) == (path, {"fieldManager": "switchyard-cutover"})
    assert body == [
        {"op": "replace", "path": "/metadata/resourceVersion", "value": "7"},
        {
            "op": "add",
            "path": "/metadata/finalizers",
            "value": ["example.com/theirs", "switchyard.dev/traffic"],
        },
    ]


def test_what_is_gone_has_no_finalizers_left_to_take_off() -> None:
    assert run(writer(FakeApi()).write_finalizers(FinalizerWrite("CutoverPlan", META, ()))) == Written()


def child() -> Child:
    meta = Meta(name="chat", namespace="shop", uid="child-uid", resource_version="3", generation=1)
    return Child("v1", "Service", meta, "uid-1", {})


def test_a_delete_names_uid_and_version() -> None:
    api = FakeApi({PATH: service(uid="child-uid")})
    assert run(writer(api).delete(Delete(APPLY.owner, child()))) == Written()
    assert last(api)[3]["preconditions"] == {"uid": "child-uid", "resourceVersion": "3"}
    assert PATH not in api.objects


def test_deleting_what_is_gone_is_done() -> None:
    assert run(writer(FakeApi()).delete(Delete(APPLY.owner, child()))) == Written()


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (409, Conflict("m")),
        (403, Denied(403, "m")),
        (422, Denied(422, "m")),
        (401, Denied(401, "m")),
        (429, Failed("m", 7.0)),
        (500, Failed("m", 7.0)),
        (503, Failed("m", 7.0)),
    ],
)
def test_each_answer_has_one_meaning(status: int, expected: object) -> None:
    assert refusal_of(Answer(status, {"message": "m"}, retry_after_seconds=7.0)) == expected
