"""How objects end: finalizers, owners, propagation, namespaces."""

from __future__ import annotations

import pytest
from e2e.providers.plain_http import JSON_PATCH, poll
from tests.conformance.widgets import widget

COLLECTION_SECONDS = 45  # the garbage collector discovers new kinds every 30 s


def _owned(name: str, owner: dict, *, blocks: bool = True) -> dict:
    reference = {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": blocks,
    }
    body = {"apiVersion": "v1", "kind": "ConfigMap", "data": {"k": "v"}}
    return {**body, "metadata": {"name": name, "ownerReferences": [reference]}}


def _code_becomes(http, path: str, code: int) -> None:
    assert poll(lambda: http.get(path).code, lambda seen: seen == code, seconds=COLLECTION_SECONDS) == code


@pytest.fixture
def maps(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/configmaps"


@pytest.fixture
def owner(http, maps) -> dict:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "owner"}}
    return http.post(maps, body).body


def test_a_finalizer_holds_an_object_until_it_is_removed(http, widgets) -> None:
    body = widget("a")
    body["metadata"]["finalizers"] = ["suite.example.com/hold"]
    http.post(widgets, body)
    assert http.delete(f"{widgets}/a").code == 200
    held = http.get(f"{widgets}/a").body["metadata"]
    assert held["deletionTimestamp"]
    assert held["deletionGracePeriodSeconds"] == 0
    assert http.patch(f"{widgets}/a", {"spec": {"size": 6}}).code == 200
    assert http.patch(f"{widgets}/a", {"metadata": {"finalizers": []}}).code == 200
    assert http.get(f"{widgets}/a").code == 404


def test_an_object_that_is_going_takes_no_new_finalizer(http, widgets) -> None:
    body = widget("a")
    body["metadata"]["finalizers"] = ["suite.example.com/hold"]
    http.post(widgets, body)
    http.delete(f"{widgets}/a")
    patch = [{"op": "add", "path": "/metadata/finalizers/-", "value": "suite.example.com/more"}]
    assert http.patch(f"{widgets}/a", patch, JSON_PATCH).code == 422
    http.patch(f"{widgets}/a", {"metadata": {"finalizers": None}})


def test_a_second_delete_of_a_held_object_changes_nothing(http, widgets) -> None:
    body = widget("a")
    body["metadata"]["finalizers"] = ["suite.example.com/hold"]
    http.post(widgets, body)
    http.delete(f"{widgets}/a")
    first = http.get(f"{widgets}/a").body
    assert http.delete(f"{widgets}/a").code == 200
    assert http.get(f"{widgets}/a").body == first
    http.patch(f"{widgets}/a", {"metadata": {"finalizers": None}})


def test_a_name_is_free_again_after_deletion_with_a_new_uid(http, widgets) -> None:
    first = http.post(widgets, widget("a")).body["metadata"]["uid"]
    http.delete(f"{widgets}/a")
    assert http.post(widgets, widget("a")).body["metadata"]["uid"] != first


def test_children_go_with_their_owner(http, maps, owner) -> None:
    http.post(maps, _owned("child", owner))
    http.post(maps, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "stranger"}})
    http.delete(f"{maps}/owner")
    _code_becomes(http, f"{maps}/child", 404)
    assert http.get(f"{maps}/stranger").code == 200


def test_children_of_a_custom_kind_go_with_it(http, maps, widgets) -> None:
    """What deleting a workload relies on."""
    owner = http.post(widgets, widget("a")).body
    http.post(maps, _owned("child", owner))
    http.delete(f"{widgets}/a")
    _code_becomes(http, f"{maps}/child", 404)


def test_grandchildren_go_too(http, maps, owner) -> None:
    child = http.post(maps, _owned("child", owner)).body
    http.post(maps, _owned("grandchild", child))
    http.delete(f"{maps}/owner")
    _code_becomes(http, f"{maps}/grandchild", 404)


def test_a_child_whose_owner_never_existed_is_collected(http, maps, owner) -> None:
    ghost = {**owner, "metadata": {"name": "ghost", "uid": "00000000-0000-0000-0000-000000000000"}}
    http.post(maps, _owned("child", ghost))
    _code_becomes(http, f"{maps}/child", 404)


def test_foreground_deletion_waits_for_blocking_children(http, maps, owner) -> None:
    body = _owned("child", owner)
    body["metadata"]["finalizers"] = ["suite.example.com/hold"]
    http.post(maps, body)
    answer = http.delete(f"{maps}/owner", propagationPolicy="Foreground")
    assert answer.body["metadata"]["finalizers"] == ["foregroundDeletion"]
    going = poll(
        lambda: http.get(f"{maps}/child").body["metadata"],
        lambda metadata: "deletionTimestamp" in metadata,
        seconds=COLLECTION_SECONDS,
    )
    assert "deletionTimestamp" in going
    assert http.get(f"{maps}/owner").code == 200
    http.patch(f"{maps}/child", {"metadata": {"finalizers": None}})
    _code_becomes(http, f"{maps}/owner", 404)


def test_orphaned_children_stay_and_lose_their_reference(http, maps, owner) -> None:
    http.post(maps, _owned("child", owner))
    http.delete(f"{maps}/owner", propagationPolicy="Orphan")
    _code_becomes(http, f"{maps}/owner", 404)
    assert "ownerReferences" not in http.get(f"{maps}/child").body["metadata"]


def test_a_deployment_takes_its_replica_sets_and_pods_along(http, namespace) -> None:
    base = f"/apis/apps/v1/namespaces/{namespace}"
    pod = {"containers": [{"name": "c", "image": "i:1"}], "nodeSelector": {"suite.example.com/none": ""}}
    template = {"metadata": {"labels": {"app": "d"}}, "spec": pod}
    spec = {"replicas": 2, "selector": {"matchLabels": {"app": "d"}}, "template": template}
    http.post(
        f"{base}/deployments",
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": spec},
    )
    pods = f"/api/v1/namespaces/{namespace}/pods"
    made = poll(lambda: http.get(pods).body["items"], lambda items: len(items) == 2)
    assert len(made) == 2
    http.delete(f"{base}/deployments/d")
    for path in (f"{base}/replicasets", pods):
        left = poll(
            lambda path=path: http.get(path).body["items"],
            lambda items: not items,
            seconds=COLLECTION_SECONDS,
        )
        assert left == []


def test_a_namespace_takes_everything_in_it_along(http, widgets, maps, namespace) -> None:
    http.post(widgets, widget("a"))
    http.post(maps, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}})
    assert http.delete(f"/api/v1/namespaces/{namespace}").body["status"]["phase"] == "Terminating"
    assert http.post(widgets, widget("b")).code in {403, 404}
    _code_becomes(http, f"/api/v1/namespaces/{namespace}", 404)
    assert http.get(f"{widgets}/a").code == 404
