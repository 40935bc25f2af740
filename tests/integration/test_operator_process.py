"""The real process against a real (embedded) API server: outages, kills, rivals, wrong settings."""

from __future__ import annotations

import os
import random
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from e2e.objects import pool, workload
from e2e.providers import Cluster
from e2e.providers.fixtures import cluster_fixture
from e2e.providers.plain_http import MERGE

from .operator_process import API, COMMAND, OperatorProcess, children, install_definitions, wait_until, wake

SHORT_LEASE = ("--lease-seconds", "6")

cluster = cluster_fixture(has_fleet=True, scope="module")


@pytest.fixture(scope="module", autouse=True)
def definitions(cluster: Cluster) -> None:
    install_definitions(cluster)
    nodes = cluster.http.get("/api/v1/nodes?labelSelector=nvidia.com/gpu.product%3DNVIDIA-L4").body["items"]
    node = min(each["metadata"]["name"] for each in nodes)
    assert cluster.http.post(f"{API}/acceleratorpools", pool("l4", node)).code in (201, 409)


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A namespace of its own for the lease as well: replicas of other tests don't matter."""
    name = f"op-{uuid.uuid4().hex[:8]}"
    assert cluster.http.post("/api/v1/namespaces", {"metadata": {"name": name}}).code == 201
    yield name
    for item in cluster.http.get(f"{API}/namespaces/{name}/inferenceworkloads").body["items"]:
        cluster.http.delete(f"{API}/namespaces/{name}/inferenceworkloads/{item['metadata']['name']}")
    cluster.http.delete(f"/api/v1/namespaces/{name}")
    cluster.http.delete("/sandbox/v1/faults")


def create(cluster: Cluster, namespace: str, name: str, **spec: Any) -> None:
    answer = cluster.http.post(f"{API}/namespaces/{namespace}/inferenceworkloads", workload(name, **spec))
    assert answer.code == 201, answer.text


def read(cluster: Cluster, namespace: str, name: str) -> dict[str, Any]:
    return cluster.http.get(f"{API}/namespaces/{namespace}/inferenceworkloads/{name}").body


def read_status(cluster: Cluster, namespace: str, name: str) -> dict[str, Any]:
    return read(cluster, namespace, name).get("status") or {}


def is_settled(cluster: Cluster, namespace: str, name: str) -> bool:
    """True when the status speaks of the newest spec and all children are there."""
    body = read(cluster, namespace, name)
    is_current = (body.get("status") or {}).get("observedGeneration") == body["metadata"]["generation"]
    return is_current and len([1 for _, child in children(cluster, namespace) if child.startswith(name)]) >= 4


def test_users_objects_are_left_as_users_wrote_them(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    with OperatorProcess(cluster, tmp_path, "--namespace", namespace):
        create(cluster, namespace, "chat")
        before = read(cluster, namespace, "chat")
        wait_until("chat is placed", lambda: is_settled(cluster, namespace, "chat"))
    after = read(cluster, namespace, "chat")
    assert after["spec"] == before["spec"]
    assert after["metadata"]["generation"] == 1
    for field in ("finalizers", "annotations", "labels"):
        assert after["metadata"].get(field) == before["metadata"].get(field)
    ours = [
        entry for entry in after["metadata"]["managedFields"] if entry["manager"].startswith("switchyard")
    ]
    assert {entry.get("subresource") for entry in ours} == {"status"}


def test_an_unchanged_world_costs_no_writes_whatever_wakes_the_loop(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    with OperatorProcess(cluster, tmp_path, "--namespace", namespace) as operator:
        create(cluster, namespace, "chat")
        wait_until("chat serves", lambda: read_status(cluster, namespace, "chat").get("readyReplicas"))
        settled: list[float] = []

        def stands_still() -> bool:
            settled.append(operator.metric("switchyard_writes_total"))
            return len(settled) > 20 and len(set(settled[-20:])) == 1

        wait_until("writes stop", stands_still, seconds=60)
        wake(operator, cluster, 10)
        assert operator.metric("switchyard_writes_total") == settled[-1]


def test_killed_at_any_moment_it_ends_with_the_same_children(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    dice = random.Random(7)
    names = ["a", "b", "c"]
    for name in names:
        create(cluster, namespace, name)
        with OperatorProcess(cluster, tmp_path, "--namespace", namespace, pod="op-0") as operator:
            wait_until("leading", operator.leads)
            # somewhere between the first list and the last write
            try:
                operator.process.wait(dice.uniform(0.0, 0.8))
            except subprocess.TimeoutExpired:
                operator.kill()
    uids = {key: child["metadata"]["uid"] for key, child in children(cluster, namespace).items()}
    with OperatorProcess(cluster, tmp_path, "--namespace", namespace, pod="op-0"):
        for name in names:
            wait_until(f"{name} is placed", lambda n=name: is_settled(cluster, namespace, n))
        found = children(cluster, namespace)
    assert len(found) == 4 * len(names)  # a Deployment, two Services and a budget each
    assert {key: found[key]["metadata"]["uid"] for key in uids} == uids  # none was made anew


def test_an_outage_of_the_api_is_ridden_out_by_the_same_process(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    with OperatorProcess(cluster, tmp_path, "--namespace", namespace, *SHORT_LEASE) as operator:
        wait_until("the first loop", operator.has_looped)
        assert cluster.http.post("/sandbox/v1/faults", {"kind": "downtime", "seconds": 6}).code < 300
        wait_until("it may not act any more", lambda: not operator.leads())
        assert operator.http.get("/healthz").code == 200
        assert operator.http.get("/readyz").code == 503
        wait_until("the API is back", lambda: cluster.http.get("/readyz").code == 200)
        create(cluster, namespace, "later")
        wait_until("later is placed", lambda: is_settled(cluster, namespace, "later"), seconds=60)
        assert operator.process.poll() is None


def test_refusals_of_lists_and_watches_do_not_end_the_process(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    with OperatorProcess(cluster, tmp_path, "--namespace", namespace) as operator:
        wait_until("the first loop", operator.has_looped)
        for fault in (
            {"kind": "fail", "verb": "list", "code": 503, "count": 12},
            {"kind": "fail", "verb": "watch", "code": 403, "count": 6},
            {"kind": "compact-history"},
            {"kind": "cut-watches"},
        ):
            assert cluster.http.post("/sandbox/v1/faults", fault).code < 300
        create(cluster, namespace, "later")
        wait_until("later is placed", lambda: is_settled(cluster, namespace, "later"), seconds=60)
        assert operator.process.poll() is None


def test_of_two_replicas_one_leads_and_the_other_takes_over(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    with (
        OperatorProcess(cluster, tmp_path, "--namespace", namespace) as first,
        OperatorProcess(cluster, tmp_path, "--namespace", namespace) as second,
    ):
        wait_until("one leads", lambda: first.leads() or second.leads())
        leader, standby = (first, second) if first.leads() else (second, first)
        assert not standby.leads()
        assert standby.http.get("/readyz").text == "[+] lease: standby\n"
        assert standby.metric("switchyard_writes_total") == 0
        assert leader.stop() == 0
        wait_until("the standby leads once the lease is released", standby.leads, seconds=10)
        create(cluster, namespace, "chat")
        wait_until("chat is placed", lambda: is_settled(cluster, namespace, "chat"))


def test_a_standby_takes_over_from_a_killed_leader_when_its_lease_ran_out(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    with OperatorProcess(cluster, tmp_path, "--namespace", namespace, *SHORT_LEASE) as leader:
        wait_until("leading", leader.leads)
        with OperatorProcess(cluster, tmp_path, "--namespace", namespace, *SHORT_LEASE) as standby:
            wait_until("standing by", lambda: standby.http.get("/readyz").code == 200)
            leader.kill()
            assert not standby.leads()
            wait_until("taken over", standby.leads, seconds=25)


def test_a_leader_whose_lease_another_took_ends(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    lease = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/switchyard-operator"
    with OperatorProcess(cluster, tmp_path, "--namespace", namespace) as operator:
        wait_until("leading", operator.leads)
        assert cluster.http.patch(lease, {"spec": {"holderIdentity": "another"}}, MERGE).code == 200
        assert operator.process.wait(20) == 1
        assert operator.lines("leadership lost; ending so that only one acts")


def test_a_name_that_another_object_has_is_told_and_never_overwritten(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    theirs = {"metadata": {"name": "chat"}, "spec": {"selector": {"app": "theirs"}, "ports": [{"port": 81}]}}
    services = f"/api/v1/namespaces/{namespace}/services"
    assert cluster.http.post(services, theirs).code == 201
    before = cluster.http.get(f"{services}/chat").body
    with OperatorProcess(cluster, tmp_path, "--namespace", namespace):
        create(cluster, namespace, "chat")
        wait_until(
            "the condition names it",
            lambda: "exists and is not ours" in str(read_status(cluster, namespace, "chat")),
        )
        assert cluster.http.get(f"{services}/chat").body == before
        cluster.http.delete(f"{services}/chat")
        wait_until("chat is placed once the name is free", lambda: is_settled(cluster, namespace, "chat"), 60)
        wait_until(
            "and no longer tells of it",
            lambda: "exists and is not ours" not in str(read_status(cluster, namespace, "chat")),
        )


def test_no_token_stands_in_the_log(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    with OperatorProcess(cluster, tmp_path, "--namespace", namespace, "--verbose") as operator:
        wait_until("the first loop", operator.has_looped)
        operator.stop()
        assert cluster.token not in operator.log_path.read_text()


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ("currency: euros\n", "currency: 'euros'"),
        ("metricSources: [{name: a, url: 'http://169.254.169.254'}]\n", "metricSources[0].url"),
        ("{", "not YAML"),
    ],
)
def test_wrong_settings_end_it_at_once_and_say_why(
    cluster: Cluster, tmp_path: Path, settings: str, told: str
) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(settings)
    command = [
        *COMMAND,
        "--kubeconfig",
        str(cluster.kubeconfig),
        "--config",
        str(file),
        "--listen",
        "127.0.0.1:0",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert told in done.stderr


def test_without_a_cluster_it_says_how_to_name_one(tmp_path: Path) -> None:
    command = [*COMMAND, "--kubeconfig", str(tmp_path / "none"), "--listen", "127.0.0.1:0"]
    environment = {**os.environ, "HOME": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)
    assert done.returncode == 2
    assert "--kubeconfig" in done.stderr
