"""Real kubectl against a running sandbox, with its controllers and a few nodes."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from tests.unit.core.cutover.told_plan import ToldPlan

from switchyard.sandbox.handle import SandboxProcess

_CRDS = Path(__file__).parents[2] / "crds"
_FLEET = {
    "pools": [
        {"name": "gpu", "nodes": 1, "cpu": "8", "memory": "32Gi", "devices": {"nvidia.com/gpu": 2}},
        {"name": "cpu", "nodes": 2, "cpu": "16", "memory": "64Gi"},
    ]
}


_NUMBERS = itertools.count(1)


class Kubectl:
    """kubectl with the sandbox's kubeconfig; answers with what it printed."""

    def __init__(self, environment: dict[str, str]) -> None:
        beside = Path(sys.executable).with_name("kubectl")
        self.path = str(beside) if beside.exists() else shutil.which("kubectl") or ""
        self.environment = environment

    def __call__(self, line: str, *, text: str | None = None, code: int | None = 0) -> str:
        done = subprocess.run(
            [self.path, *line.split()],
            input=text,
            capture_output=True,
            text=True,
            timeout=60,
            env=self.environment,
            check=False,
        )
        told = done.stdout + done.stderr
        assert code is None or done.returncode == code, told
        return told


@pytest.fixture(scope="module")
def kubectl(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubectl]:
    home = tmp_path_factory.mktemp("home")
    fleet = home / "fleet.yaml"
    fleet.write_text(yaml.safe_dump(_FLEET))
    with SandboxProcess.start(tmp_path_factory.mktemp("sandbox"), fleet=str(fleet)) as sandbox:
        yield Kubectl({**sandbox.environment, "HOME": str(home)})


@pytest.fixture
def namespace(kubectl: Kubectl) -> str:
    name = f"story-{next(_NUMBERS)}"
    kubectl(f"create namespace {name}")
    return name


# What is typed, and what must be printed; {ns} is a fresh namespace. Each line builds on those before it.
_STORIES = {
    "typed clients post protobuf": [
        ("create configmap c --from-literal=a=b -n {ns}", "configmap/c created"),
        ("get configmap c -n {ns} -o jsonpath={{.data.a}}", "b"),
        ("create secret generic s --from-literal=a=b -n {ns}", "secret/s created"),
        ("get secret s -n {ns} -o jsonpath={{.data.a}}", "Yg=="),
        ("create serviceaccount bot -n {ns}", "serviceaccount/bot created"),
        ("create token bot -n {ns}", "eyJ"),
        (
            "create role reader --verb=get,list --resource=pods,deployments.apps -n {ns}",
            "role.rbac.authorization.k8s.io/reader created",
        ),
        (
            "create rolebinding b --role=reader --serviceaccount={ns}:bot -n {ns}",
            "rolebinding.rbac.authorization.k8s.io/b created",
        ),
        ("create quota q --hard=pods=0 -n {ns}", "resourcequota/q created"),
        ("create priorityclass pc-{ns} --value=7", "created"),
        ("create service clusterip s --tcp=80:8080 -n {ns}", "service/s created"),
        ("get service s -n {ns} -o jsonpath={{.spec.ports[0].targetPort}}", "8080"),
        ("create ingress i --rule=h/p=s:80 -n {ns}", "ingress.networking.k8s.io/i created"),
        ("create job j --image=i:1 -n {ns} -- echo hi", "job.batch/j created"),
        ("create cronjob cj --image=i:1 -n {ns} --schedule=@daily -- echo hi", "cronjob.batch/cj created"),
        (
            "create poddisruptionbudget p --selector=a=b --min-available=1 -n {ns}",
            "poddisruptionbudget.policy/p created",
        ),
    ],
    "permissions are evaluated": [
        ("create serviceaccount bot -n {ns}", "created"),
        ("create role reader --verb=get --resource=pods -n {ns}", "created"),
        ("create rolebinding b --role=reader --serviceaccount={ns}:bot -n {ns}", "created"),
        ("auth can-i get pods -n {ns}", "yes"),
        ("auth can-i get pods -n {ns} --as system:serviceaccount:{ns}:bot", "yes"),
        ("!auth can-i delete pods -n {ns} --as system:serviceaccount:{ns}:bot", "no"),
        ("!auth can-i get pods -n default --as system:serviceaccount:{ns}:bot", "no"),
        ("auth can-i --list -n {ns} --as system:serviceaccount:{ns}:bot", "selfsubjectaccessreviews"),
        ("auth whoami", "kubernetes-admin"),
        ("auth whoami --as ann", "ann"),
        ("!get secrets -n {ns} --as ann", 'User "ann" cannot list resource "secrets"'),
        ("!get nodes --as ann", "at the cluster scope"),
    ],
    "the server is described": [
        ("version", "+sandbox"),
        ("api-resources --api-group=apps", "deployments"),
        ("api-versions", "coordination.k8s.io/v1"),
        ("explain deployment.spec.strategy", "rollingUpdate"),
        ("explain pod.spec.containers.resources.limits", "map[string]Quantity"),
        ("explain pod.spec.containers.ports", "<integer> -required-"),
        ("get --raw /readyz?verbose", "readyz check passed"),
        ("cluster-info", "control plane is running"),
        ("!top nodes", "Metrics API not available"),
        ("!get nopes", "the server doesn't have a resource type"),
    ],
    "a rollout is followed": [
        ("create deployment web --image=i:1 --replicas=2 -n {ns}", "deployment.apps/web created"),
        ("rollout status deploy/web -n {ns} --timeout=30s", "successfully rolled out"),
        ("get deploy web -n {ns}", "2/2"),
        ("get deploy web -n {ns} -o wide", "app=web"),
        ("expose deployment web --port=80 -n {ns}", "service/web exposed"),
        ("set image deployment/web i=i:2 -n {ns}", "image updated"),
        ("rollout status deploy/web -n {ns} --timeout=30s", "successfully rolled out"),
        ("rollout history deploy/web -n {ns}", "2"),
        ("rollout undo deploy/web -n {ns}", "rolled back"),
        ("rollout restart deploy/web -n {ns}", "restarted"),
        ("rollout status deploy/web -n {ns} --timeout=30s", "successfully rolled out"),
        ("scale deploy/web --replicas=1 -n {ns}", "scaled"),
        ("autoscale deploy/web --max=3 -n {ns}", "autoscaled"),
        ("get hpa web -n {ns}", "Deployment/web"),
        ("describe deploy web -n {ns}", "ScalingReplicaSet"),
        ("events -n {ns} --for deployment/web", "Scaled up replica set"),
        ("delete deploy web -n {ns}", "deleted"),
        ("wait --for=delete pod -l app=web -n {ns} --timeout=30s", ""),
    ],
    "a pod is looked at": [
        ("run p --image=i:1 -n {ns}", "pod/p created"),
        ("wait --for=condition=Ready pod/p -n {ns} --timeout=30s", "condition met"),
        ("get pod p -n {ns}", "1/1"),
        ("describe pod p -n {ns}", "QoS Class:"),
        ("logs p -n {ns}", ""),
        ("label pod p a=b -n {ns}", "labeled"),
        ("annotate pod p a=b -n {ns}", "annotated"),
        ("get pods -l a=b -n {ns} -o name", "pod/p"),
        ("get pods --field-selector=status.phase=Running -n {ns} -o name", "pod/p"),
        ('!patch pod p -n {ns} -p {{"spec":{{"nodeName":"x"}}}}', "pod updates may not change fields"),
        ("delete pod p -n {ns} --grace-period=0 --force", "deleted"),
    ],
    "a quota says no": [
        ("create quota q --hard=pods=1 -n {ns}", "created"),
        ("run one --image=i:1 -n {ns}", "created"),
        (
            "!run two --image=i:1 -n {ns}",
            "exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1",
        ),
    ],
}


@pytest.mark.parametrize("story", list(_STORIES))
def test_kubectl(kubectl: Kubectl, namespace: str, story: str) -> None:
    for line, printed in _STORIES[story]:
        wanted = 1 if line.startswith("!") else 0
        told = kubectl(line.removeprefix("!").format(ns=namespace), code=wanted)
        assert printed in told, line


def test_a_node_is_cordoned_drained_and_taken_back(kubectl: Kubectl, namespace: str) -> None:
    kubectl(f"create deployment web --image=i:1 -n {namespace}")
    kubectl(f"rollout status deploy/web -n {namespace} --timeout=30s")
    node = kubectl(f"get pods -l app=web -n {namespace} -o jsonpath={{.items[0].spec.nodeName}}")
    told = kubectl(f"drain {node} --ignore-daemonsets --force --pod-selector=app=web --timeout=30s")
    assert "evicted" in told
    assert "SchedulingDisabled" in kubectl(f"get node {node}")
    kubectl(f"uncordon {node}")
    kubectl(f"taint node {node} a=b:NoSchedule")
    assert "a=b:NoSchedule" in kubectl(f"describe node {node}")
    kubectl(f"taint node {node} a=b:NoSchedule-")


@pytest.mark.parametrize("mode", ["", "--server-side"], ids=["client-side", "server-side"])
def test_apply_diff_and_apply_again(kubectl: Kubectl, namespace: str, mode: str) -> None:
    container = {"name": "c", "image": "i:1", "resources": {"limits": {"nvidia.com/gpu": 1}}}
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [container]}}
    spec = {"replicas": 0, "selector": {"matchLabels": {"a": "b"}}, "template": template}
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": spec}
    kubectl(f"apply {mode} -n {namespace} -f -", text=yaml.safe_dump(body))
    container["image"] = "i:2"
    changed = yaml.safe_dump(body)
    assert "i:2" in kubectl(f"diff {mode} -n {namespace} -f -", text=changed, code=1)
    kubectl(f"apply {mode} -n {namespace} -f -", text=changed)
    assert kubectl(f"diff {mode} -n {namespace} -f -", text=changed) == ""
    live = json.loads(kubectl(f"get deploy d -n {namespace} -o json"))
    assert live["spec"]["template"]["spec"]["containers"][0]["image"] == "i:2"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"spec": {"nope": 1}}, 'unknown field "spec.nope"'),
        ({"spec": {"replicas": "many"}}, "cannot unmarshal string"),
        ({"spec": {"selector": None}}, "spec.selector: Required value"),
    ],
)
def test_a_mistake_in_a_manifest_is_told(kubectl: Kubectl, namespace: str, change: dict, told: str) -> None:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}}
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template, **change["spec"]}
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": spec}
    assert told in kubectl(f"create -n {namespace} -f -", text=yaml.safe_dump(body), code=1)


def test_a_service_accounts_token_works_as_a_credential(kubectl: Kubectl, namespace: str) -> None:
    kubectl(f"create serviceaccount bot -n {namespace}")
    kubectl(f"create role reader --verb=list --resource=configmaps -n {namespace}")
    kubectl(f"create rolebinding b --role=reader --serviceaccount={namespace}:bot -n {namespace}")
    token = kubectl(f"create token bot -n {namespace}").strip()
    kubectl(f"config set-credentials bot-{namespace} --token={token}")
    assert "kube-root-ca.crt" in kubectl(f"get configmaps -n {namespace} --user=bot-{namespace}")
    told = kubectl(f"get pods -n {namespace} --user=bot-{namespace}", code=1)
    assert f'User "system:serviceaccount:{namespace}:bot" cannot list resource "pods"' in told


def test_a_pipeline_waits_for_the_end_of_a_plan(kubectl: Kubectl, namespace: str) -> None:
    """An end without success is none: `wait` goes on until its timeout."""
    kubectl(f"apply --server-side -f {_CRDS / 'switchyard.dev_cutoverplans.yaml'}")
    kubectl("wait --for=condition=Established crd/cutoverplans.switchyard.dev --timeout=30s")
    wait = f"wait -n {namespace} --for=condition=Succeeded cutoverplan/move"
    plan = ToldPlan()
    told = plan.build_body()
    fresh = {key: told[key] for key in ("apiVersion", "kind", "spec")} | {"metadata": {"name": "move"}}
    kubectl(f"create -n {namespace} -f -", text=yaml.safe_dump(fresh))
    plan.run_to("Canary")
    _write_status(kubectl, namespace, plan)
    assert "timed out" in kubectl(f"{wait} --timeout=1s", code=1)
    plan.run_to("Completed")
    _write_status(kubectl, namespace, plan)
    assert "condition met" in kubectl(f"{wait} --timeout=30s")


def _write_status(kubectl: Kubectl, namespace: str, plan: ToldPlan) -> None:
    path = f"/apis/switchyard.dev/v1alpha1/namespaces/{namespace}/cutoverplans/move"
    body = json.loads(kubectl(f"get --raw {path}"))
    kubectl(f"replace --raw {path}/status -f -", text=json.dumps({**body, "status": plan.status}))
