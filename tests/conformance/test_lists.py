"""Lists: selectors, pages that stay consistent, tables, and what a list says about its version."""

from __future__ import annotations

import pytest
from e2e.providers import Cluster
from tests.conformance.widgets import widget

TABLE = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}


def _names(answer) -> list[str]:
    return [item["metadata"]["name"] for item in answer.body["items"]]


@pytest.fixture
def labelled(http, widgets) -> str:
    """Widgets a (tier=web), b (tier=db), c (tier=db, gone=soon) and d without labels."""
    for name, labels in (
        ("a", {"tier": "web"}),
        ("b", {"tier": "db"}),
        ("c", {"tier": "db", "gone": "soon"}),
        ("d", {}),
    ):
        assert http.post(widgets, widget(name, labels)).code == 201
    return widgets


@pytest.mark.parametrize(
    ("selector", "want"),
    [
        ("tier=db", ["b", "c"]),
        ("tier==web", ["a"]),
        ("tier!=db", ["a", "d"]),
        ("tier in (web,db)", ["a", "b", "c"]),
        ("tier notin (web)", ["b", "c", "d"]),
        ("tier", ["a", "b", "c"]),
        ("!tier", ["d"]),
        ("tier=db,!gone", ["b"]),
    ],
)
def test_a_label_selector_selects(http, labelled, selector: str, want: list[str]) -> None:
    assert _names(http.get(labelled, labelSelector=selector)) == want


@pytest.mark.parametrize(
    ("selector", "want"),
    [
        ("metadata.name=b", ["b"]),
        ("metadata.name!=b", ["a", "c", "d"]),
        ("metadata.name=b,metadata.name=c", []),
    ],
)
def test_a_field_selector_selects_by_name(http, labelled, selector: str, want: list[str]) -> None:
    assert _names(http.get(labelled, fieldSelector=selector)) == want


@pytest.mark.parametrize(
    "query", [{"labelSelector": "a b"}, {"labelSelector": "tier in web"}, {"fieldSelector": "spec.size=5"}]
)
def test_a_selector_that_can_not_be_read_is_a_bad_request(http, labelled, query: dict) -> None:
    assert http.get(labelled, **query).code == 400


def test_pages_bring_every_object_once(http, labelled) -> None:
    first = http.get(labelled, limit=3)
    assert _names(first) == ["a", "b", "c"]
    assert first.body["metadata"]["remainingItemCount"] == 1
    rest = http.get(labelled, limit=3, **{"continue": first.body["metadata"]["continue"]})
    assert _names(rest) == ["d"]
    assert not rest.body["metadata"].get("continue")


def test_pages_show_the_state_of_the_first_one(http, labelled) -> None:
    first = http.get(labelled, limit=2)
    http.post(labelled, widget("bb"))
    http.post(labelled, widget("e"))
    http.delete(f"{labelled}/d")
    http.patch(f"{labelled}/c", {"spec": {"size": 9}})
    rest = http.get(labelled, limit=9, **{"continue": first.body["metadata"]["continue"]})
    assert _names(rest) == ["c", "d"]
    assert rest.body["items"][0]["spec"]["size"] == 5
    assert rest.body["metadata"]["resourceVersion"] == first.body["metadata"]["resourceVersion"]
    assert _names(http.get(labelled)) == ["a", "b", "bb", "c", "e"]


def test_pages_work_with_a_selector(http, labelled) -> None:
    first = http.get(labelled, limit=1, labelSelector="tier=db")
    token = first.body["metadata"]["continue"]
    rest = http.get(labelled, limit=9, labelSelector="tier=db", **{"continue": token})
    assert _names(first) + _names(rest) == ["b", "c"]


def test_a_continue_token_that_is_none_is_a_bad_request(http, labelled) -> None:
    assert http.get(labelled, limit=1, **{"continue": "nonsense"}).code == 400


def test_a_list_from_the_cache_is_no_older_than_asked(http, labelled) -> None:
    version = http.patch(f"{labelled}/a", {"spec": {"size": 9}}).body["metadata"]["resourceVersion"]
    listed = http.get(labelled, resourceVersion=version, resourceVersionMatch="NotOlderThan")
    assert listed.body["items"][0]["spec"]["size"] == 9
    assert int(listed.body["metadata"]["resourceVersion"]) >= int(version)


def test_a_version_from_the_future_is_refused_with_a_cause(http, labelled) -> None:
    future = str(int(http.get(labelled).body["metadata"]["resourceVersion"]) + 1_000_000)
    answer = http.get(labelled, resourceVersion=future)
    assert answer.code == 504
    assert answer.body["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"


def test_an_exact_version_shows_that_state(http, labelled) -> None:
    version = http.get(labelled).body["metadata"]["resourceVersion"]
    http.delete(f"{labelled}/a")
    exact = http.get(labelled, resourceVersion=version, resourceVersionMatch="Exact")
    assert _names(exact) == ["a", "b", "c", "d"]


def test_an_exact_version_that_history_no_longer_holds_answers_410(cluster: Cluster, http, labelled) -> None:
    cluster.forget_history()
    answer = http.get(labelled, resourceVersion="1", resourceVersionMatch="Exact")
    assert (answer.code, answer.body["reason"]) == (410, "Expired")


def test_a_table_has_the_printer_columns_with_their_priorities(http, labelled) -> None:
    http.patch(f"{labelled}/a/status", {"status": {"conditions": [{"type": "Ready", "status": "True"}]}})
    table = http.call("GET", labelled, headers=TABLE).body
    columns = {column["name"]: column["priority"] for column in table["columnDefinitions"]}
    assert columns == {"Name": 0, "Size": 0, "Ready": 0, "Age": 0, "Colour": 1}
    cells = table["rows"][0]["cells"]
    assert [cells[0], cells[1], cells[2], cells[4]] == ["a", 5, "True", "red"]
    assert cells[3].endswith("s")
    assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"


def test_a_table_row_can_carry_the_whole_object_or_nothing(http, labelled) -> None:
    whole = http.call("GET", labelled, query={"includeObject": "Object"}, headers=TABLE).body
    assert whole["rows"][0]["object"]["spec"]["size"] == 5
    none = http.call("GET", labelled, query={"includeObject": "None"}, headers=TABLE).body
    assert not none["rows"][0].get("object")


def test_metadata_can_be_asked_for_alone(http, labelled) -> None:
    accept = {"Accept": "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"}
    body = http.call("GET", labelled, headers=accept).body
    assert body["kind"] == "PartialObjectMetadataList"
    assert all("spec" not in item for item in body["items"])


def test_lists_over_all_namespaces_hold_each_of_them(http, widgets) -> None:
    http.post(widgets, widget("a"))
    namespace = widgets.split("/")[-2]
    listed = http.get("/apis/suite.example.com/v1/widgets", fieldSelector=f"metadata.namespace={namespace}")
    assert _names(listed) == ["a"]


def test_a_collection_is_deleted_by_selector(http, labelled) -> None:
    assert http.delete(labelled, labelSelector="tier=db").code == 200
    assert _names(http.get(labelled)) == ["a", "d"]
