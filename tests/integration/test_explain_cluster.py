"""`switchyard explain` on an API server, with the rights of whoever asks."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from e2e.providers import Cluster
from e2e.providers import start as start_cluster
from tests.integration.operator_process import API, OperatorProcess, install_definitions, wait_until
from tests.integration.what_if_files import node, options, pool, switchyard, workload


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """An API server with the kinds, two pools, and nodes that nobody simulates."""
    with start_cluster("sandbox", tmp_path_factory.mktemp("cluster"), has_fleet=False) as made:
        install_definitions(made)
        documents = [pool("small", "1.00"), pool("far", "0.50", cordoned=True)]
        documents += [node("s1", "small", 8), node("f1", "far", 8)]
        for document in documents:
            made.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(document))
            if document["kind"] == "Node":
                status = json.dumps({"status": document["status"]})
                name = document["metadata"]["name"]
                made.kubectl("patch", "node", name, "--subresource=status", "--type=merge", "-p", status)
        made.kubectl("create", "namespace", "team")
        made.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(workload("chat", "60")))
        yield made


def test_a_cluster_is_explained_through_the_kubeconfig(cluster: Cluster) -> None:
    environment = {"KUBECONFIG": str(cluster.kubeconfig)}
    ran = switchyard("explain", "iw/chat", "-n", "team", "-o", "json", environment=environment)
    assert (ran.code, ran.err) == (0, "")
    found = options(ran.document)
    assert found["v", "small"]["verdict"] == "chosen"
    assert found["v", "far"]["reason"] == "PoolCordoned"
    assert ran.document["notes"] == []


def test_a_cluster_is_explained_by_kubectl(cluster: Cluster) -> None:
    beside = str(Path(sys.executable).parent)
    done = subprocess.run(
        [str(cluster.kubectl_path), "switchyard", "explain", "iw/chat", "-n", "team"],
        capture_output=True,
        text=True,
        timeout=60,
        env={"KUBECONFIG": str(cluster.kubeconfig), "PATH": beside, "HOME": beside},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "small/v x2" in done.stdout


def test_what_serves_is_explained_as_it_stands(cluster: Cluster, tmp_path: Path) -> None:
    environment = {"KUBECONFIG": str(cluster.kubeconfig)}
    with OperatorProcess(cluster, tmp_path, "--no-leader-elect"):
        wait_until(
            "the operator placed chat",
            lambda: (
                cluster.http.get(f"{API}/namespaces/team/inferenceworkloads/chat")
                .body.get("status", {})
                .get("placements")
            ),
        )
    ran = switchyard("explain", "iw/chat", "-n", "team", "-o", "json", environment=environment)
    assert ran.code == 0, ran.err
    stored = cluster.http.get(f"{API}/namespaces/team/inferenceworkloads/chat").body["status"]
    told = [(each["pool"], each["replicas"]) for each in ran.document["placements"]]
    assert told == [(each["pool"], each["replicas"]) for each in stored["placements"]]


def test_missing_rights_are_named(cluster: Cluster, tmp_path: Path) -> None:
    cluster.kubectl("create", "serviceaccount", "reader", "-n", "team")
    token = cluster.kubectl("create", "token", "reader", "-n", "team").stdout.strip()
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": token}
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    command = ("explain", "iw/chat", "-n", "team", "--kubeconfig", path)
    ran = switchyard(*command)
    assert ran.code == 2
    assert "no right to list acceleratorpools" in ran.err
    assert "no right to list inferenceworkloads" in ran.err
    cluster.kubectl(
        *("create", "clusterrole", "reads-kinds", "--verb=get,list"),
        "--resource=acceleratorpools.switchyard.dev,inferenceworkloads.switchyard.dev",
    )
    cluster.kubectl(
        "create",
        "clusterrolebinding",
        "reads-kinds",
        "--clusterrole=reads-kinds",
        "--serviceaccount=team:reader",
    )
    ran = switchyard(*command)
    assert ran.code in {0, 1}, ran.err
    assert "no right to list nodes" in ran.err
    assert "no right to list pods" in ran.err
    assert "Traceback" not in ran.err


def test_a_cluster_that_is_not_there_is_told(tmp_path: Path) -> None:
    ran = switchyard(
        "explain", "iw/chat", environment={"KUBECONFIG": str(tmp_path / "none"), "HOME": "/nowhere"}
    )
    assert ran.code == 2
    assert "no cluster to work on" in ran.err
    assert "Traceback" not in ran.err
