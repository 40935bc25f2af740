"""What a watcher is told: every change once, in order, from where it left off, or that it is too late."""

from __future__ import annotations

import pytest
from e2e.providers import Cluster
from e2e.providers.plain_http import poll
from tests.conformance.widgets import GROUP_PATH, widget


def _named(event: dict) -> tuple[str, str]:
    return event["type"], event["object"]["metadata"]["name"]


def _version(answer) -> str:
    return answer.body["metadata"]["resourceVersion"]


def test_a_watch_from_a_list_brings_each_later_change_once_and_in_order(http, widgets) -> None:
    http.post(widgets, widget("before"))
    start = _version(http.get(widgets))
    http.post(widgets, widget("a"))
    http.patch(f"{widgets}/a", {"spec": {"size": 6}})
    http.patch(f"{widgets}/a/status", {"status": {"phase": "Up"}})
    http.delete(f"{widgets}/a")
    with http.watch(widgets, resourceVersion=start) as watch:
        watch.until(lambda event: event["type"] == "DELETED")
        assert [event["type"] for event in watch.seen] == ["ADDED", "MODIFIED", "MODIFIED", "DELETED"]
        versions = [int(event["object"]["metadata"]["resourceVersion"]) for event in watch.seen]
    assert versions == sorted(set(versions))
    assert versions[0] > int(start)


def test_a_deleted_event_carries_the_last_state_and_the_version_of_the_deletion(http, widgets) -> None:
    created = http.post(widgets, widget("a", size=9)).body
    with http.watch(widgets, resourceVersion=created["metadata"]["resourceVersion"]) as watch:
        http.delete(f"{widgets}/a")
        gone = watch.until(lambda event: event["type"] == "DELETED")["object"]
    assert gone["spec"] == created["spec"]
    assert int(gone["metadata"]["resourceVersion"]) > int(created["metadata"]["resourceVersion"])


def test_an_open_watch_sees_changes_as_they_happen(http, widgets) -> None:
    with http.watch(widgets, resourceVersion=_version(http.get(widgets))) as watch:
        for number in range(3):
            http.post(widgets, widget(f"w{number}"))
            assert _named(watch.until(lambda event: True)) == ("ADDED", f"w{number}")


def test_initial_events_end_with_a_marked_bookmark(http, widgets) -> None:
    names = {f"w{number}" for number in range(3)}
    for name in names:
        http.post(widgets, widget(name))
    query = {
        "sendInitialEvents": "true",
        "resourceVersionMatch": "NotOlderThan",
        "allowWatchBookmarks": "true",
    }
    with http.watch(widgets, **query) as watch:
        mark = watch.until(lambda event: event["type"] == "BOOKMARK")["object"]["metadata"]
        assert {_named(event) for event in watch.seen[:-1]} == {("ADDED", name) for name in names}
        assert mark["annotations"] == {"k8s.io/initial-events-end": "true"}
        newest = max(int(event["object"]["metadata"]["resourceVersion"]) for event in watch.seen[:-1])
        assert int(mark["resourceVersion"]) >= newest


def test_a_watch_continues_from_a_bookmark_without_loss_or_repetition(http, widgets) -> None:
    http.post(widgets, widget("a"))
    query = {
        "sendInitialEvents": "true",
        "resourceVersionMatch": "NotOlderThan",
        "allowWatchBookmarks": "true",
    }
    with http.watch(widgets, **query) as watch:
        mark = watch.until(lambda event: event["type"] == "BOOKMARK")["object"]["metadata"]["resourceVersion"]
    http.post(widgets, widget("b"))
    with http.watch(widgets, resourceVersion=mark) as watch:
        assert _named(watch.until(lambda event: True)) == ("ADDED", "b")


def test_a_selector_turns_label_changes_into_additions_and_deletions(http, widgets) -> None:
    start = _version(http.get(widgets))
    http.post(widgets, widget("a"))
    http.patch(f"{widgets}/a", {"metadata": {"labels": {"in": "yes"}}})
    http.patch(f"{widgets}/a", {"spec": {"size": 6}})
    http.patch(f"{widgets}/a", {"metadata": {"labels": {"in": None}}})
    with http.watch(widgets, resourceVersion=start, labelSelector="in=yes") as watch:
        watch.until(lambda event: event["type"] == "DELETED")
        assert [event["type"] for event in watch.seen] == ["ADDED", "MODIFIED", "DELETED"]


def test_a_version_that_history_no_longer_holds_answers_410(cluster: Cluster, http, widgets) -> None:
    http.post(widgets, widget("a"))
    http.patch(f"{widgets}/a", {"spec": {"size": 6}})
    cluster.forget_history()
    with http.watch(widgets, resourceVersion="1") as watch:
        event = watch.until(lambda event: True)
    assert event["type"] == "ERROR"
    assert (event["object"]["code"], event["object"]["reason"]) == (410, "Expired")


def test_after_410_a_list_and_a_watch_from_it_work(cluster: Cluster, http, widgets) -> None:
    http.post(widgets, widget("a"))
    cluster.forget_history()
    listed = http.get(widgets)
    assert [item["metadata"]["name"] for item in listed.body["items"]] == ["a"]
    http.post(widgets, widget("b"))
    with http.watch(widgets, resourceVersion=_version(listed)) as watch:
        assert _named(watch.until(lambda event: True)) == ("ADDED", "b")


def test_a_watch_over_all_namespaces_sees_every_one(http, widgets) -> None:
    start = _version(http.get(f"{GROUP_PATH}/widgets"))
    http.post(widgets, widget("a"))
    namespace = widgets.split("/")[-2]
    with http.watch(f"{GROUP_PATH}/widgets", resourceVersion=start) as watch:
        event = watch.until(lambda event: event["object"]["metadata"]["namespace"] == namespace)
    assert _named(event) == ("ADDED", "a")


def test_a_watch_ends_by_itself_after_its_timeout(http, widgets) -> None:
    with http.watch(widgets, resourceVersion=_version(http.get(widgets)), timeoutSeconds="1") as watch:
        assert [event for event in watch if event["type"] != "BOOKMARK"] == []


def test_a_watched_table_carries_columns_once(http, widgets) -> None:
    http.post(widgets, widget("a", size=7))
    table = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    answer = http.call(
        "GET", widgets, query={"watch": "1", "resourceVersion": "0", "timeoutSeconds": "1"}, headers=table
    )
    tables = [event["object"] for event in answer.events]
    assert [column["name"] for column in tables[0]["columnDefinitions"]] == [
        "Name",
        "Size",
        "Ready",
        "Age",
        "Colour",
    ]
    assert tables[0]["rows"][0]["cells"][:2] == ["a", 7]
    assert all(not later["columnDefinitions"] for later in tables[1:])


def test_deleting_the_kind_ends_its_objects_watches_with_deletions(http, widgets) -> None:
    """A CRD that goes takes its objects along, and watchers see them go."""
    crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    name = "passing.suite.example.com"
    body = http.get(f"{crds}/widgets.suite.example.com").body
    spec = {**body["spec"], "names": {"plural": "passing", "kind": "Passing"}}
    spec["versions"] = [{**spec["versions"][0], "subresources": {}}]
    crd = {"apiVersion": body["apiVersion"], "kind": body["kind"], "metadata": {"name": name}, "spec": spec}
    assert http.post(crds, crd).code == 201
    path = widgets.replace("/widgets", "/passing")
    assert poll(lambda: http.get(path).code, lambda code: code == 200) == 200
    passing = {**widget("a"), "kind": "Passing"}
    version = _version(poll(lambda: http.post(path, passing), lambda answer: answer.code != 404))
    with http.watch(path, resourceVersion=version) as watch:
        assert http.delete(f"{crds}/{name}").code == 200
        watch.until(lambda event: _named(event) == ("DELETED", "a"))
    assert poll(lambda: http.get(path).code, lambda code: code == 404) == 404


@pytest.mark.parametrize("version", ["abc", "-1"])
def test_a_version_that_is_no_number_is_refused(http, widgets, version: str) -> None:
    assert http.get(widgets, watch="1", resourceVersion=version, timeoutSeconds="1").code >= 400
