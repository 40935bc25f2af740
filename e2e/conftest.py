"""A cluster with a fleet, the chart, the operator, and a namespace for each scenario."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from e2e.audit import audit
from e2e.installation import Operator, install
from e2e.providers import Cluster
from e2e.providers.fixtures import cluster_fixture
from e2e.scene import Scene

cluster = cluster_fixture(has_fleet=True)


@pytest.fixture(scope="session")
def operator(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    with install(cluster), audit(cluster.url, str(cluster.ca_path)) as requests:
        running = Operator(cluster, tmp_path_factory.mktemp("operator"), requests)
        running.start()
        yield running
        running.stop()


@pytest.fixture
def scene(cluster: Cluster, operator: Operator, request: pytest.FixtureRequest) -> Iterator[Scene]:
    """An empty namespace and the nodes with free L4 devices; pools and workloads go with the test."""
    namespace = f"e2e-{uuid.uuid4().hex[:8]}"
    cluster.kubectl("create", "namespace", namespace)
    staged = Scene(cluster, namespace)
    yield staged
    failed = getattr(request.node, "outcome_failed", False)
    if failed:
        print(staged.report())
        print(operator.logs())
    staged.clear()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = yield
    if call.when == "call" and report.failed:
        item.outcome_failed = True
    return report
