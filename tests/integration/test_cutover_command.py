"""`cutover` on an API server that holds plans to their definition, with the rights of whoever asks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from e2e.providers import Cluster
from e2e.providers import start as start_cluster
from tests.integration.operator_process import API, CRDS, install_definitions, wait_until
from tests.integration.what_if_files import pool, variant, workload

from switchyard.api.crd import CUTOVER_PLAN, build_definition
from switchyard.cli.cutover import command
from switchyard.cli.cutover_change import Change, build_patch
from switchyard.cli.cutover_cluster import PLANS as PLANS_KIND
from switchyard.cli.cutover_cluster import Outdated, find_plan, reach_cluster

PLANS = f"{API}/namespaces/team/cutoverplans"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """An API server that knows plans, with a workload of two variants and nobody who acts on anything."""
    with start_cluster("sandbox", tmp_path_factory.mktemp("cluster"), has_fleet=False) as made:
        install_definitions(made)
        answer = made.http.post(CRDS, build_definition(CUTOVER_PLAN))
        assert answer.code in (201, 409), answer.text
        wait_until("plans are served", lambda: made.http.get(f"{API}/cutoverplans").code == 200)
        made.kubectl("create", "namespace", "team")
        variants = [variant("gpu"), variant("neuron")]
        for document in (pool("l4"), pool("inf2"), workload("chat", variants=variants)):
            made.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(document))
        yield made


@pytest.fixture(autouse=True)
def no_plans_before(cluster: Cluster) -> None:
    cluster.kubectl("delete", "cutoverplans", "--all", "-n", "team")


def run(cluster: Cluster, *arguments: str, kubeconfig: Path | None = None) -> Result:
    options = ["--kubeconfig", str(kubeconfig or cluster.kubeconfig), "-n", "team"]
    result = CliRunner().invoke(command, [*arguments, *options])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def create(cluster: Cluster, *words: str) -> None:
    result = run(cluster, "create", "chat", "--to", "neuron@inf2", "--name", "move", "--apply", *words)
    assert result.exit_code == 0, result.output


def stored(cluster: Cluster, name: str = "move") -> dict[str, Any]:
    body = cluster.http.get(f"{PLANS}/{name}").body
    assert body["kind"] == "CutoverPlan", body
    return body


def tell(cluster: Cluster, phase: str, **status: Any) -> None:
    """Write the status as the operator would."""
    generation = stored(cluster)["metadata"]["generation"]
    patch = json.dumps({"status": {"phase": phase, "observedGeneration": generation, **status}})
    cluster.kubectl(
        *("patch", "cutoverplan", "move", "-n", "team"), "--subresource=status", "--type=merge", "-p", patch
    )


def test_what_create_writes_is_what_kubectl_applies(cluster: Cluster) -> None:
    words = (
        "--segment",
        "batch=tier:batch",
        "--segment",
        "rest",
        "--approval",
        "canary",
        "--router",
        "builtin",
    )
    written = run(cluster, "create", "chat", "--to", "neuron@inf2", "--name", "move", *words)
    assert written.exit_code == 0, written.stderr
    cluster.kubectl("apply", "-f", "-", stdin=written.stdout)
    by_kubectl = stored(cluster)["spec"]
    cluster.kubectl("delete", "cutoverplan", "move", "-n", "team")
    create(cluster, *words)
    assert stored(cluster)["spec"] == by_kubectl


def test_create_applies_once(cluster: Cluster) -> None:
    create(cluster)
    before = stored(cluster)
    again = run(cluster, "create", "chat", "--to", "gpu", "--name", "move", "--apply")
    assert again.exit_code == 1
    assert "is there already" in again.stderr
    assert stored(cluster) == before


def test_create_tells_what_the_server_has_against_a_plan(cluster: Cluster) -> None:
    result = run(cluster, "create", "chat", "--to", "neuron", "--name", "Big_Name", "--apply")
    assert result.exit_code == 1
    assert "CutoverPlan Big_Name: not created" in result.stderr
    assert "metadata.name" in result.stderr


def test_names_that_are_not_there(cluster: Cluster) -> None:
    create(cluster)
    told = run(cluster, "create", "chats", "--to", "neuron").stderr
    assert "InferenceWorkload 'chats' is not in namespace team; did you mean chat?; there are: chat" in told
    assert "there are inf2, l4" in run(cluster, "create", "chat", "--to", "neuron@inf3").stderr
    assert "there are: move" in run(cluster, "pause", "other").stderr


def test_a_plan_is_seen_through_to_its_end(cluster: Cluster) -> None:
    create(cluster, "--approval", "canary")
    assert run(cluster, "status", "move").exit_code == 4
    asked = [{"stage": "canary", "requestedAt": "2026-11-21T12:00:00Z"}]
    tell(cluster, "AwaitingApproval", approvals=asked)
    document = json.loads(run(cluster, "status", "move", "-o", "json").stdout)
    assert (document["exitCode"], document["waitsForApproval"]) == (4, ["canary"])
    approved = run(cluster, "approve", "move")
    assert (approved.exit_code, approved.stdout) == (0, "move: approved canary\n")
    assert stored(cluster)["spec"]["approved"] == ["canary"]
    tell(cluster, "Canary", segment="all", weight=25)
    assert run(cluster, "pause", "move").exit_code == 0
    assert stored(cluster)["spec"]["suspend"] is True
    assert run(cluster, "resume", "move").exit_code == 0
    assert not stored(cluster)["spec"].get("suspend")
    assert run(cluster, "abort", "move").exit_code == 0
    tell(cluster, "Aborted", machine={"rollbackReason": "Aborted"})
    assert run(cluster, "watch", "move").exit_code == 2
    assert run(cluster, "abort", "move").exit_code == 0, "an abort made twice is no error"
    assert run(cluster, "retry", "move").exit_code == 0
    spec = stored(cluster)["spec"]
    assert spec["restartToken"]
    assert not spec.get("abort")
    assert not spec.get("approved")
    assert run(cluster, "status", "move").exit_code == 4, "the end of the last attempt does not count"
    tell(cluster, "Completed", machine={"restartToken": spec["restartToken"]})
    assert run(cluster, "status", "move", "--wait").exit_code == 0
    assert "make another plan" in run(cluster, "retry", "move").stderr


def test_a_change_decided_on_an_old_version_is_refused_by_the_server(cluster: Cluster) -> None:
    create(cluster)
    with reach_cluster(str(cluster.kubeconfig), None) as server:
        body = find_plan(server, "team", "move")
        tell(cluster, "Canary")
        with pytest.raises(Outdated, match="CutoverPlan move: not changed"):
            server.patch(PLANS_KIND, "team", "move", build_patch(body, Change("", (("suspend", True),))))
    assert not stored(cluster)["spec"].get("suspend")


def test_changes_bear_the_name_of_the_command(cluster: Cluster) -> None:
    create(cluster)
    run(cluster, "pause", "move")
    managers = {
        entry["manager"]
        for entry in stored(cluster)["metadata"]["managedFields"]
        if "f:suspend" in entry["fieldsV1"].get("f:spec", {})
    }
    assert managers == {"kubectl-switchyard"}


def test_a_list_is_what_kubectl_lists(cluster: Cluster) -> None:
    create(cluster)
    tell(cluster, "Canary", segment="all", weight=25)
    (row,) = run(cluster, "list").stdout.splitlines()[1:]
    assert row.split()[:5] == ["move", "chat", "neuron", "on", "inf2"]
    assert run(cluster, "list", "-A").exit_code == 0


def test_missing_rights_are_named_with_what_was_not_done(cluster: Cluster, tmp_path: Path) -> None:
    create(cluster)
    cluster.kubectl("create", "serviceaccount", "onlooker", "-n", "team")
    token = cluster.kubectl("create", "token", "onlooker", "-n", "team").stdout.strip()
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": token}
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    result = run(cluster, "status", "move", kubeconfig=path)
    assert result.exit_code == 1
    assert "CutoverPlan move: can't be read" in result.stderr
    resource = "--resource=cutoverplans.switchyard.dev,inferenceworkloads.switchyard.dev"
    cluster.kubectl("create", "clusterrole", "looks", "--verb=get,list", resource)
    cluster.kubectl(
        "create", "clusterrolebinding", "looks", "--clusterrole=looks", "--serviceaccount=team:onlooker"
    )
    assert run(cluster, "status", "move", kubeconfig=path).exit_code == 4
    result = run(cluster, "pause", "move", kubeconfig=path)
    assert result.exit_code == 1
    assert "CutoverPlan move: not changed" in result.stderr
    bundle = json.loads(run(cluster, "report", "move", kubeconfig=path).stdout)
    assert bundle["plan"]["metadata"]["name"] == "move"
    assert any("events can't be listed" in note for note in bundle["notes"])


def test_a_report_has_the_events_of_the_plan_alone(cluster: Cluster) -> None:
    create(cluster)
    for name, uid in (("ours", stored(cluster)["metadata"]["uid"]), ("theirs", "another")):
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"move.{name}", "namespace": "team"},
            "involvedObject": {"kind": "CutoverPlan", "namespace": "team", "name": "move", "uid": uid},
            "reason": "StepPassed",
            "message": name,
            "type": "Normal",
        }
        assert cluster.http.post("/api/v1/namespaces/team/events", event).code == 201
    bundle = json.loads(run(cluster, "report", "move").stdout)
    assert [each["message"] for each in bundle["events"]] == ["ours"]
    assert bundle["workload"]["metadata"]["name"] == "chat"


def test_a_cluster_without_the_kind_is_told(tmp_path: Path) -> None:
    with start_cluster("sandbox", tmp_path, has_fleet=False) as bare:
        result = run(bare, "list")
    assert result.exit_code == 1
    assert result.stderr == "error: the cluster knows no cutoverplans: install Switchyard's CRDs first\n"


def test_a_cluster_that_is_not_there_is_told(tmp_path: Path) -> None:
    result = CliRunner().invoke(command, ["list", "--kubeconfig", str(tmp_path / "none")])
    assert result.exit_code == 1
    assert "no cluster to work on" in result.stderr
