"""Recorded answers of a real API server, replayed group by group."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from e2e.providers import Cluster
from e2e.providers.plain_http import poll
from tests.conformance.replay import load, replay

RECORDINGS = load()
KIND_GROUP = "crd"  # its kind is what the others work with


def _clear(cluster: Cluster) -> None:
    """Removes what an earlier replay on the same cluster left: its names are fixed."""
    http = cluster.http
    leftovers = ["/apis/apiextensions.k8s.io/v1/customresourcedefinitions/gadgets.conf.example.com"]
    leftovers += [f"/api/v1/namespaces/conf-{group}" for group in RECORDINGS]
    leftovers += ["/api/v1/nodes/conf-node", "/api/v1/nodes/conf-gpu"]
    there = [path for path in leftovers if http.delete(path).code != 404]
    for path in there:
        code = poll(lambda path=path: http.get(path).code, lambda code: code == 404, seconds=60)
        assert code == 404, f"{path} of an earlier replay does not go away"


@pytest.fixture(scope="session")
def kind_differences(cluster: Cluster) -> Iterator[dict[str, list[str]]]:
    """How the server answered to the recorded CRD's creation, by title."""
    _clear(cluster)
    yield {
        f"{recording.level} {recording.title}": found
        for recording, found in replay(cluster.http, RECORDINGS[KIND_GROUP])
    }
    if cluster.provider in {"kind", "current"}:
        _clear(cluster)


def test_recorded_kind_is_served_as_on_the_real_server(kind_differences, subtests) -> None:
    assert len(kind_differences) == sum(recording.is_compared for recording in RECORDINGS[KIND_GROUP])
    for title, found in kind_differences.items():
        with subtests.test(title):
            assert not found, "\n".join(found)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("group", [name for name in RECORDINGS if name != KIND_GROUP])
def test_recorded_group_is_answered_as_on_the_real_server(
    cluster: Cluster, kind_differences, group: str, subtests
) -> None:
    del kind_differences
    compared = 0
    for recording, found in replay(cluster.http, RECORDINGS[group]):
        compared += 1
        with subtests.test(f"{recording.level} {recording.title}"):
            if found and recording.level == "should":
                pytest.xfail("\n".join(found))
            assert not found, "\n".join(found)
    assert compared == sum(recording.is_compared for recording in RECORDINGS[group])
