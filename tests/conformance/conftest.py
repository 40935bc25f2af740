"""One cluster for the suite, and a namespace and a kind of its own for each test that wants them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from e2e.providers import Cluster, PlainHttp
from e2e.providers.fixtures import cluster_fixture
from e2e.providers.plain_http import poll
from tests.conformance.widgets import CRD, CRD_PATH, CRDS_PATH, GROUP_PATH

cluster = cluster_fixture(has_fleet=False)


@pytest.fixture(scope="session")
def http(cluster: Cluster) -> PlainHttp:
    return cluster.http


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A fresh namespace, deleted in the background after the test."""
    name = f"suite-{uuid.uuid4().hex[:10]}"
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    assert cluster.http.post("/api/v1/namespaces", body).code == 201
    if cluster.provider in {"kind", "current"}:  # their admission wants the service account of a pod
        account = f"/api/v1/namespaces/{name}/serviceaccounts/default"
        poll(lambda: cluster.http.get(account).code, lambda code: code == 200)
    yield name
    cluster.http.delete(f"/api/v1/namespaces/{name}")


@pytest.fixture(scope="session")
def widget_kind(cluster: Cluster) -> Iterator[None]:
    """The suite's own CRD, served."""
    answer = cluster.http.post(CRDS_PATH, CRD)
    assert answer.code in {201, 409}, answer.text
    served = poll(lambda: cluster.http.get(f"{GROUP_PATH}/widgets").code, lambda code: code == 200)
    assert served == 200
    yield
    cluster.http.delete(CRD_PATH)


@pytest.fixture
def widgets(widget_kind: None, namespace: str) -> str:
    """The path of the widgets of a fresh namespace."""
    del widget_kind
    return f"{GROUP_PATH}/namespaces/{namespace}/widgets"
