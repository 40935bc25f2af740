"""What an author may store: defaults, pruning, field validation, rules with and without the old state."""

from __future__ import annotations

import pytest
from tests.conformance.widgets import CRDS_PATH, causes, widget


def test_defaults_are_filled_in_at_every_depth(http, widgets) -> None:
    body = http.post(widgets, widget("a", parts=[{"name": "p"}])).body
    assert body["spec"] == {
        "size": 5,
        "colour": "red",
        "replicas": 1,
        "nested": {"depth": 3},
        "parts": [{"name": "p", "weight": 1}],
    }
    assert body["status"] == {"observedGeneration": -1}


def test_unknown_fields_are_pruned_and_free_form_ones_are_kept(http, widgets) -> None:
    body = http.post(widgets, widget("a", bogus=1, free={"any": {"thing": [1]}})).body
    assert "bogus" not in body["spec"]
    assert body["spec"]["free"] == {"any": {"thing": [1]}}


def test_strict_validation_refuses_an_unknown_field_by_name(http, widgets) -> None:
    answer = http.post(widgets, widget("a", bogus=1), fieldValidation="Strict")
    assert answer.code == 400
    assert 'unknown field "spec.bogus"' in answer.body["message"]
    assert http.get(f"{widgets}/a").code == 404


def test_strict_validation_refuses_a_key_given_twice(http, widgets) -> None:
    text = (
        '{"apiVersion":"suite.example.com/v1","kind":"Widget","metadata":{"name":"a"},'
        '"spec":{"size":1,"size":2}}'
    )
    answer = http.post(widgets, text, fieldValidation="Strict")
    assert answer.code == 400
    assert "duplicate field" in answer.body["message"]


def test_warn_validation_stores_and_warns(http, widgets) -> None:
    answer = http.post(widgets, widget("a", bogus=1), fieldValidation="Warn")
    assert answer.code == 201
    assert 'unknown field \\"spec.bogus\\"' in answer.headers.get("Warning", "")


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"size": 0}, "spec.size"),
        ({"size": 101}, "spec.size"),
        ({"size": "five"}, "spec.size"),
        ({"size": None}, "spec.size"),
        ({"colour": "blue"}, "spec.colour"),
        ({"owner": "x" * 21}, "spec.owner"),
        ({"tags": ["a", "b", "c", "d", "e"]}, "spec.tags"),
        ({"tags": ["a" * 11]}, "spec.tags[0]"),
        ({"tags": ["a", "a"]}, "spec.tags[1]"),
        ({"parts": [{"weight": 1}]}, "spec.parts[0].name"),
        ({"parts": [{"name": "p"}, {"name": "p"}]}, "spec.parts[1]"),
        ({"limit": 1.5}, "spec.limit"),
        ({"size": 1, "tags": ["a", "b"]}, "spec.tags"),
    ],
    ids=[
        "below the minimum",
        "above the maximum",
        "of the wrong type",
        "required but null",
        "not in the enum",
        "too long",
        "too many items",
        "an item too long",
        "twice in a set",
        "an item without its key",
        "a key twice in a map list",
        "neither integer nor string",
        "a rule over two fields",
    ],
)
def test_a_bad_value_is_refused_with_its_field(http, widgets, spec: dict, field: str) -> None:
    answer = http.post(widgets, widget("a", **spec))
    assert (answer.code, answer.body["reason"]) == (422, "Invalid")
    assert field in [name for name, _ in causes(answer.body)]
    assert http.get(f"{widgets}/a").code == 404


def test_a_rule_tells_its_own_message(http, widgets) -> None:
    answer = http.post(widgets, widget("a", size=1, tags=["a", "b"]))
    assert any("no more tags than size" in message for _, message in causes(answer.body))


def test_transition_rules_compare_with_the_old_state(http, widgets) -> None:
    http.post(widgets, widget("a", size=5, owner="me"))
    assert http.patch(f"{widgets}/a", {"spec": {"size": 6}}).code == 200
    shrunk = http.patch(f"{widgets}/a", {"spec": {"size": 4}})
    assert any("never shrinks" in message for _, message in causes(shrunk.body))
    renamed = http.patch(f"{widgets}/a", {"spec": {"owner": "you"}})
    assert ("spec.owner", "owner is immutable") in [
        (field, message.split(": ")[-1]) for field, message in causes(renamed.body)
    ]


def test_a_transition_rule_is_silent_where_there_is_no_old_value(http, widgets) -> None:
    http.post(widgets, widget("a"))
    assert http.patch(f"{widgets}/a", {"spec": {"owner": "me"}}).code == 200


def test_a_write_to_spec_does_not_touch_status_and_the_other_way_round(http, widgets) -> None:
    http.post(widgets, widget("a"))
    http.patch(f"{widgets}/a/status", {"status": {"phase": "Up"}, "spec": {"size": 9}})
    body = http.patch(f"{widgets}/a", {"spec": {"size": 6}, "status": {"phase": "Down"}}).body
    assert (body["spec"]["size"], body["status"]["phase"]) == (6, "Up")


def test_generation_counts_changes_of_spec_only(http, widgets) -> None:
    def generation(answer) -> int:
        return answer.body["metadata"]["generation"]

    assert generation(http.post(widgets, widget("a"))) == 1
    assert generation(http.patch(f"{widgets}/a", {"metadata": {"labels": {"k": "v"}}})) == 1
    assert generation(http.patch(f"{widgets}/a/status", {"status": {"phase": "Up"}})) == 1
    assert generation(http.patch(f"{widgets}/a", {"spec": {"size": 6}})) == 2


def test_the_scale_subresource_reads_and_writes_replicas(http, widgets) -> None:
    http.post(widgets, widget("a"))
    scale = http.get(f"{widgets}/a/scale").body
    assert (scale["kind"], scale["spec"]["replicas"]) == ("Scale", 1)
    assert http.put(f"{widgets}/a/scale", {**scale, "spec": {"replicas": 3}}).code == 200
    assert http.get(f"{widgets}/a").body["spec"]["replicas"] == 3


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda crd: crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].pop("type"), "type"),
        (lambda crd: crd["spec"]["versions"][0].update(storage=False), "storage"),
        (lambda crd: crd["spec"]["names"].update(kind="lower case"), "kind"),
        (lambda crd: crd["spec"].update(scope="Sometimes"), "scope"),
    ],
    ids=["no structural schema", "no storage version", "a kind that is no name", "an unknown scope"],
)
def test_a_crd_that_makes_no_sense_is_refused(http, widgets, spoil, told: str) -> None:
    del widgets
    crd = http.get(f"{CRDS_PATH}/widgets.suite.example.com").body
    crd = {key: crd[key] for key in ("apiVersion", "kind", "spec")} | {
        "metadata": {"name": "broken.suite.example.com"}
    }
    crd["spec"]["names"] = {"plural": "broken", "kind": "Broken"}
    spoil(crd)
    answer = http.post(CRDS_PATH, crd)
    assert answer.code == 422
    assert told in answer.body["message"]


def test_an_object_is_read_in_the_version_asked_for(http, widgets) -> None:
    assert http.get(widgets.replace("/v1/", "/v2/")).code == 404
    http.post(widgets, widget("a"))
    assert http.get(f"{widgets}/a").body["apiVersion"] == "suite.example.com/v1"


def test_annotations_count_as_a_generation_of_deployments_and_are_open_to_its_status(http, namespace) -> None:
    """How a controller notes the revision without a new generation."""
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = {"replicas": 0, "selector": {"matchLabels": {"a": "b"}}, "template": template}
    http.post(path, {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": spec})
    noted = http.patch(f"{path}/d/status", {"metadata": {"annotations": {"noted": "1"}}}).body["metadata"]
    assert (noted["annotations"]["noted"], noted["generation"]) == ("1", 1)
    changed = http.patch(f"{path}/d", {"metadata": {"annotations": {"changed": "1"}}}).body["metadata"]
    assert changed["generation"] == 2
