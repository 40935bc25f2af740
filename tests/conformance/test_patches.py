"""The three forms of patch, and what each does to lists, to null and to what it may not touch."""

from __future__ import annotations

import pytest
from e2e.providers.plain_http import JSON_PATCH, MERGE, STRATEGIC
from tests.conformance.widgets import widget


def test_a_merge_patch_replaces_lists_and_removes_what_is_null(http, widgets) -> None:
    http.post(widgets, widget("a", {"keep": "1", "drop": "1"}, tags=["x", "y"]))
    patch = {"metadata": {"labels": {"drop": None}}, "spec": {"tags": ["z"]}}
    got = http.patch(f"{widgets}/a", patch, MERGE).body
    assert got["metadata"]["labels"] == {"keep": "1"}
    assert got["spec"]["tags"] == ["z"]


def test_a_field_removed_by_a_merge_patch_gets_its_default_again(http, widgets) -> None:
    http.post(widgets, widget("a", colour="green"))
    assert http.patch(f"{widgets}/a", {"spec": {"colour": None}}, MERGE).body["spec"]["colour"] == "red"


@pytest.mark.parametrize(
    ("operations", "want"),
    [
        ([{"op": "replace", "path": "/spec/size", "value": 8}], {"size": 8}),
        ([{"op": "add", "path": "/spec/tags/-", "value": "z"}], {"tags": ["x", "z"]}),
        ([{"op": "add", "path": "/spec/tags/0", "value": "z"}], {"tags": ["z", "x"]}),
        ([{"op": "remove", "path": "/spec/tags/0"}], {"tags": []}),
        (
            [
                {"op": "test", "path": "/spec/size", "value": 5},
                {"op": "copy", "from": "/spec/colour", "path": "/spec/owner"},
            ],
            {"owner": "red"},
        ),
    ],
    ids=["replace", "append", "insert", "remove", "test and copy"],
)
def test_a_json_patch_does_what_its_operations_say(http, widgets, operations, want) -> None:
    http.post(widgets, widget("a", tags=["x"]))
    spec = http.patch(f"{widgets}/a", operations, JSON_PATCH).body["spec"]
    assert {name: spec[name] for name in want} == want


def test_a_json_patch_whose_test_fails_changes_nothing(http, widgets) -> None:
    created = http.post(widgets, widget("a")).body
    operations = [
        {"op": "replace", "path": "/spec/size", "value": 8},
        {"op": "test", "path": "/spec/colour", "value": "green"},
    ]
    assert http.patch(f"{widgets}/a", operations, JSON_PATCH).code == 422
    assert http.get(f"{widgets}/a").body == created


def test_a_json_patch_to_a_path_that_is_missing_is_refused(http, widgets) -> None:
    http.post(widgets, widget("a"))
    answer = http.patch(f"{widgets}/a", [{"op": "remove", "path": "/spec/tags"}], JSON_PATCH)
    assert answer.code == 422


def test_a_strategic_patch_of_a_custom_kind_is_an_unsupported_media_type(http, widgets) -> None:
    http.post(widgets, widget("a"))
    assert http.patch(f"{widgets}/a", {"spec": {"size": 6}}, STRATEGIC).code == 415


def _deployment(http, namespace: str) -> str:
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    containers = [{"name": "one", "image": "i:1", "env": [{"name": "A", "value": "1"}]}]
    template = {"metadata": {"labels": {"app": "d"}}, "spec": {"containers": containers}}
    spec = {"replicas": 0, "selector": {"matchLabels": {"app": "d"}}, "template": template}
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": spec}
    assert http.post(path, body).code == 201
    return f"{path}/d"


def _containers(answer) -> list:
    return answer.body["spec"]["template"]["spec"]["containers"]


def _pod_patch(pod_spec: dict) -> dict:
    return {"spec": {"template": {"spec": pod_spec}}}


def test_a_strategic_patch_merges_lists_by_their_key(http, namespace) -> None:
    path = _deployment(http, namespace)
    changes = [
        {"name": "one", "image": "i:2", "env": [{"name": "B", "value": "2"}]},
        {"name": "two", "image": "j:1"},
    ]
    got = {
        each["name"]: each
        for each in _containers(http.patch(path, _pod_patch({"containers": changes}), STRATEGIC))
    }
    assert (got["one"]["image"], got["two"]["image"]) == ("i:2", "j:1")
    assert {env["name"]: env["value"] for env in got["one"]["env"]} == {"A": "1", "B": "2"}


def test_a_strategic_patch_deletes_a_list_item_by_directive(http, namespace) -> None:
    path = _deployment(http, namespace)
    http.patch(path, _pod_patch({"containers": [{"name": "two", "image": "j:1"}]}), STRATEGIC)
    directive = [{"name": "one", "$patch": "delete"}]
    got = _containers(http.patch(path, _pod_patch({"containers": directive}), STRATEGIC))
    assert [each["name"] for each in got] == ["two"]


def test_a_merge_patch_of_a_built_in_kind_replaces_its_lists(http, namespace) -> None:
    path = _deployment(http, namespace)
    got = _containers(http.patch(path, _pod_patch({"containers": [{"name": "two", "image": "j:1"}]}), MERGE))
    assert [each["name"] for each in got] == ["two"]


@pytest.mark.parametrize("body", ["{", "[1", ""], ids=["half an object", "half a list", "nothing"])
def test_a_patch_that_is_no_json_is_a_bad_request(http, widgets, body: str) -> None:
    http.post(widgets, widget("a"))
    assert http.patch(f"{widgets}/a", body, MERGE).code == 400


def test_a_patch_of_what_is_missing_is_not_found(http, widgets) -> None:
    assert http.patch(f"{widgets}/nope", {"spec": {"size": 6}}).code == 404


def test_a_dry_run_patch_answers_with_the_result_and_stores_nothing(http, widgets) -> None:
    created = http.post(widgets, widget("a")).body
    answer = http.patch(f"{widgets}/a", {"spec": {"size": 6}}, dryRun="All")
    assert (answer.code, answer.body["spec"]["size"]) == (200, 6)
    assert http.get(f"{widgets}/a").body == created


def test_a_patch_can_not_rename_or_move_an_object(http, widgets) -> None:
    http.post(widgets, widget("a"))
    for field, value in (("name", "b"), ("namespace", "default")):
        assert http.patch(f"{widgets}/a", {"metadata": {field: value}}).code in {400, 422}
