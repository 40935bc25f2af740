"""Server-side apply: who owns which field, and what happens when two want the same one."""

from __future__ import annotations

from e2e.providers.plain_http import STRATEGIC
from tests.conformance.widgets import widget


def _owners(body) -> dict[str, dict]:
    """Owned fields by manager, main resource only."""
    return {
        entry["manager"]: entry["fieldsV1"]
        for entry in body["metadata"]["managedFields"]
        if entry["operation"] == "Apply" and not entry.get("subresource")
    }


def test_apply_creates_what_is_missing_and_records_its_fields(http, widgets) -> None:
    answer = http.apply(f"{widgets}/a", widget("a"), "one")
    assert answer.code == 201
    assert _owners(answer.body) == {"one": {"f:spec": {"f:size": {}}}}


def test_a_field_of_another_manager_conflicts_and_names_the_manager(http, widgets) -> None:
    http.apply(f"{widgets}/a", widget("a", size=5), "one")
    answer = http.apply(f"{widgets}/a", widget("a", size=6), "two")
    assert (answer.code, answer.body["reason"]) == (409, "Conflict")
    cause = answer.body["details"]["causes"][0]
    assert (cause["reason"], cause["field"]) == ("FieldManagerConflict", ".spec.size")
    assert '"one"' in cause["message"]
    assert http.get(f"{widgets}/a").body["spec"]["size"] == 5


def test_force_takes_the_field_from_the_other_manager(http, widgets) -> None:
    http.apply(f"{widgets}/a", widget("a", size=5), "one")
    body = http.apply(f"{widgets}/a", widget("a", size=6), "two", force="true").body
    assert body["spec"]["size"] == 6
    assert list(_owners(body)) == ["two"]


def test_the_same_value_is_shared_without_conflict(http, widgets) -> None:
    http.apply(f"{widgets}/a", widget("a"), "one")
    body = http.apply(f"{widgets}/a", widget("a"), "two").body
    assert set(_owners(body)) == {"one", "two"}


def test_a_field_left_out_is_removed_when_nobody_else_owns_it(http, widgets) -> None:
    http.apply(f"{widgets}/a", widget("a", {"mine": "1"}, owner="me", tags=["x"]), "one")
    body = http.apply(f"{widgets}/a", widget("a"), "one").body
    assert "owner" not in body["spec"]
    assert "tags" not in body["spec"]
    assert "labels" not in body["metadata"]


def test_a_field_left_out_stays_when_another_manager_owns_it(http, widgets) -> None:
    http.apply(f"{widgets}/a", widget("a", owner="me"), "one")
    http.apply(f"{widgets}/a", widget("a", owner="me"), "two")
    assert http.apply(f"{widgets}/a", widget("a"), "one").body["spec"]["owner"] == "me"


def test_map_lists_and_sets_are_owned_item_by_item(http, widgets) -> None:
    http.apply(f"{widgets}/a", widget("a", tags=["x"], parts=[{"name": "p", "weight": 2}]), "one")
    body = http.apply(f"{widgets}/a", widget("a", tags=["y"], parts=[{"name": "q"}]), "two").body
    assert body["spec"]["tags"] == ["x", "y"]
    assert [(part["name"], part["weight"]) for part in body["spec"]["parts"]] == [("p", 2), ("q", 1)]
    body = http.apply(f"{widgets}/a", widget("a"), "one").body
    assert body["spec"]["tags"] == ["y"]
    assert [part["name"] for part in body["spec"]["parts"]] == ["q"]


def test_an_update_by_another_client_takes_ownership_of_what_it_changes(http, widgets) -> None:
    http.apply(f"{widgets}/a", widget("a", size=5), "one")
    http.patch(f"{widgets}/a", {"spec": {"size": 6}}, fieldManager="editor")
    answer = http.apply(f"{widgets}/a", widget("a", size=5), "one")
    assert answer.code == 409
    assert '"editor"' in answer.body["details"]["causes"][0]["message"]


def test_apply_of_the_status_owns_only_status(http, widgets) -> None:
    http.apply(f"{widgets}/a", widget("a"), "one")
    status = {"apiVersion": "suite.example.com/v1", "kind": "Widget", "metadata": {"name": "a"}}
    answer = http.apply(f"{widgets}/a/status", {**status, "status": {"phase": "Up"}}, "controller")
    assert answer.body["status"]["phase"] == "Up"
    entry = next(e for e in answer.body["metadata"]["managedFields"] if e["manager"] == "controller")
    assert (entry["subresource"], entry["fieldsV1"]) == ("status", {"f:status": {"f:phase": {}}})


def test_apply_without_a_field_manager_is_a_bad_request(http, widgets) -> None:
    answer = http.call(
        "PATCH", f"{widgets}/a", widget("a"), headers={"Content-Type": "application/apply-patch+yaml"}
    )
    assert answer.code in {400, 422}
    assert "fieldManager" in answer.body["message"]


def test_apply_with_managed_fields_in_the_body_is_refused(http, widgets) -> None:
    body = http.apply(f"{widgets}/a", widget("a"), "one").body
    assert http.apply(f"{widgets}/a", body, "one").code == 400


def test_apply_dry_run_shows_the_result_and_stores_nothing(http, widgets) -> None:
    assert http.apply(f"{widgets}/a", widget("a"), "one", dryRun="All").code == 201
    assert http.get(f"{widgets}/a").code == 404


def test_two_managers_share_a_deployment(http, namespace) -> None:
    """As the operator and an autoscaler do: one owns the template, the other the replicas."""
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments/d"
    template = {
        "metadata": {"labels": {"app": "d"}},
        "spec": {"containers": [{"name": "c", "image": "i:1", "ports": [{"containerPort": 8080}]}]},
    }
    metadata = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}}
    mine = {**metadata, "spec": {"selector": {"matchLabels": {"app": "d"}}, "template": template}}
    assert http.apply(path, {**mine, "spec": {**mine["spec"], "replicas": 0}}, "operator").code == 201
    scaled = http.patch(
        path, {"spec": {"replicas": 0, "minReadySeconds": 1}}, STRATEGIC, fieldManager="scaler"
    )
    assert scaled.code == 200
    body = http.apply(path, mine, "operator").body
    assert body["spec"]["minReadySeconds"] == 1
    # nobody owned the replicas any more, so they fall back to their default
    assert body["spec"]["replicas"] == 1
    container = body["spec"]["template"]["spec"]["containers"][0]
    assert container["ports"] == [{"containerPort": 8080, "protocol": "TCP"}]


def test_applying_the_same_object_again_keeps_everything_but_perhaps_the_version(http, widgets) -> None:
    def bare(body) -> dict:
        metadata = {
            k: v for k, v in body["metadata"].items() if k not in {"resourceVersion", "managedFields"}
        }
        return {**body, "metadata": metadata}

    first = http.apply(f"{widgets}/a", widget("a"), "one").body
    again = http.apply(f"{widgets}/a", widget("a"), "one").body
    assert bare(again) == bare(first)
    assert _owners(again) == _owners(first)
