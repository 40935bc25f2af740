"""Two writers of one object: who wins, and what the other one is told."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from tests.conformance.widgets import widget


def test_an_update_with_the_version_read_wins_and_a_second_one_with_it_conflicts(http, widgets) -> None:
    read = http.post(widgets, widget("a")).body
    won = http.put(f"{widgets}/a", {**read, "spec": {"size": 6}})
    lost = http.put(f"{widgets}/a", {**read, "spec": {"size": 7}})
    assert won.code == 200
    assert (lost.code, lost.body["reason"]) == (409, "Conflict")
    assert "has been modified" in lost.body["message"]
    assert http.get(f"{widgets}/a").body["spec"]["size"] == 6


def test_an_update_without_a_version_is_refused_for_custom_kinds(http, widgets) -> None:
    http.post(widgets, widget("a"))
    answer = http.put(f"{widgets}/a", widget("a", size=6))
    assert answer.code == 422
    assert answer.body["details"]["causes"][0]["field"] == "metadata.resourceVersion"


def test_an_update_without_a_version_replaces_a_built_in_object(http, namespace) -> None:
    maps = f"/api/v1/namespaces/{namespace}/configmaps"
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}
    http.post(maps, {**body, "data": {"k": "1"}})
    assert http.put(f"{maps}/a", {**body, "data": {"k": "2"}}).body["data"] == {"k": "2"}


def test_of_many_writers_with_the_same_version_exactly_one_succeeds(http, widgets) -> None:
    read = http.post(widgets, widget("a")).body
    with ThreadPoolExecutor(8) as pool:
        codes = list(
            pool.map(lambda n: http.put(f"{widgets}/a", {**read, "spec": {"size": n}}).code, range(10, 18))
        )
    assert sorted(codes) == [200] + [409] * 7


def test_a_patch_that_carries_a_stale_version_conflicts_and_changes_nothing(http, widgets) -> None:
    stale = http.post(widgets, widget("a")).body["metadata"]["resourceVersion"]
    current = http.patch(f"{widgets}/a", {"spec": {"size": 6}}).body
    answer = http.patch(f"{widgets}/a", {"metadata": {"resourceVersion": stale}, "spec": {"size": 9}})
    assert (answer.code, answer.body["reason"]) == (409, "Conflict")
    assert http.get(f"{widgets}/a").body == current


def test_a_status_patch_that_carries_a_stale_version_conflicts(http, widgets) -> None:
    stale = http.post(widgets, widget("a")).body["metadata"]["resourceVersion"]
    http.patch(f"{widgets}/a", {"spec": {"size": 6}})
    answer = http.patch(
        f"{widgets}/a/status", {"metadata": {"resourceVersion": stale}, "status": {"phase": "Old"}}
    )
    assert answer.code == 409
    assert "phase" not in http.get(f"{widgets}/a").body["status"]


def test_a_delete_with_a_foreign_uid_or_version_conflicts_and_keeps_the_object(http, widgets) -> None:
    created = http.post(widgets, widget("a")).body["metadata"]
    for precondition in ({"uid": "another"}, {"resourceVersion": "1"}):
        options = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": precondition}
        assert http.delete(f"{widgets}/a", options).code == 409
    options = {"preconditions": {"uid": created["uid"], "resourceVersion": created["resourceVersion"]}}
    assert http.delete(f"{widgets}/a", {"apiVersion": "v1", "kind": "DeleteOptions", **options}).code == 200
    assert http.get(f"{widgets}/a").code == 404


def test_a_write_that_changes_nothing_keeps_the_version(http, widgets) -> None:
    created = http.post(widgets, widget("a")).body
    # the first write stores the defaults of status, which creation leaves out, and may count as a change
    settled = http.put(f"{widgets}/a", created).body
    assert http.put(f"{widgets}/a", settled).body == settled
    assert http.patch(f"{widgets}/a", {"spec": {"size": 5}}).body == settled
    assert http.patch(f"{widgets}/a/status", {"status": {"observedGeneration": -1}}).body == settled


def test_versions_grow_over_all_kinds(http, widgets, namespace) -> None:
    first = int(http.post(widgets, widget("a")).body["metadata"]["resourceVersion"])
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}}
    second = int(
        http.post(f"/api/v1/namespaces/{namespace}/configmaps", body).body["metadata"]["resourceVersion"]
    )
    third = int(http.patch(f"{widgets}/a", {"spec": {"size": 6}}).body["metadata"]["resourceVersion"])
    assert first < second < third


def test_a_lease_is_taken_by_one_of_many(http, namespace) -> None:
    leases = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
    spec = {"holderIdentity": "", "leaseDurationSeconds": 15}
    body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "l"}, "spec": spec}
    read = http.post(leases, body).body

    def take(holder: int) -> int:
        return http.put(f"{leases}/l", {**read, "spec": {**spec, "holderIdentity": f"holder-{holder}"}}).code

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(take, range(6))) == [200] + [409] * 5
