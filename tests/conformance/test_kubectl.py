"""What people do by hand: real kubectl against the server."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from e2e.providers import Cluster
from e2e.providers.cluster import environment_without_proxies
from e2e.providers.plain_http import poll
from tests.conformance.widgets import widget


class Here:
    """kubectl in one namespace, with manifests in one folder."""

    def __init__(self, cluster: Cluster, namespace: str, folder: Path) -> None:
        self.cluster, self.namespace, self.folder = cluster, namespace, folder

    def __call__(self, *arguments: str, expect: int | None = 0) -> str:
        done = self.cluster.kubectl("-n", self.namespace, *arguments, expect=expect)
        return done.stdout + done.stderr

    def file(self, body: dict) -> str:
        path = self.folder / f"{body['kind']}-{body['metadata']['name']}.yaml"
        path.write_text(yaml.safe_dump(body))
        return str(path)


@pytest.fixture
def kubectl(cluster: Cluster, namespace: str, widgets: str, tmp_path: Path) -> Here:
    del widgets
    return Here(cluster, namespace, tmp_path)


def _deployment(replicas: int = 0) -> dict:
    pod = {"containers": [{"name": "c", "image": "i:1"}], "nodeSelector": {"suite.example.com/none": ""}}
    template = {"metadata": {"labels": {"app": "web"}}, "spec": pod}
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec}


@pytest.mark.parametrize("mode", [(), ("--server-side",)], ids=["client-side", "server-side"])
def test_apply_creates_then_changes_then_has_nothing_to_do(kubectl: Here, mode: tuple[str, ...]) -> None:
    done = "serverside-applied" if mode else "created"
    assert f"widget.suite.example.com/a {done}" in kubectl("apply", *mode, "-f", kubectl.file(widget("a")))
    changed = kubectl("apply", *mode, "-f", kubectl.file(widget("a", size=6, tags=["x"])))
    assert ("serverside-applied" if mode else "configured") in changed
    again = kubectl("apply", *mode, "-f", kubectl.file(widget("a", size=6, tags=["x"])))
    assert ("serverside-applied" if mode else "unchanged") in again
    assert kubectl("get", "widget", "a", "-o", "jsonpath={.spec.size} {.spec.tags}") == '6 ["x"]'


@pytest.mark.parametrize("mode", [(), ("--server-side",)], ids=["client-side", "server-side"])
def test_apply_works_for_a_deployment_and_merges_its_lists(kubectl: Here, mode: tuple[str, ...]) -> None:
    kubectl("apply", *mode, "-f", kubectl.file(_deployment()))
    body = _deployment()
    body["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "A", "value": "1"}]
    kubectl("apply", *mode, "-f", kubectl.file(body))
    env = "{.spec.template.spec.containers[0].env}"
    assert json.loads(kubectl("get", "deployment", "web", "-o", f"jsonpath={env}")) == [
        {"name": "A", "value": "1"}
    ]


def test_apply_refuses_an_unknown_field(kubectl: Here) -> None:
    told = kubectl("apply", "-f", kubectl.file(widget("a", bogus=1)), expect=1)
    assert 'unknown field "spec.bogus"' in told


def test_a_server_side_conflict_names_the_manager_and_the_field(kubectl: Here) -> None:
    kubectl("apply", "--server-side", "--field-manager=one", "-f", kubectl.file(widget("a", size=5)))
    told = kubectl(
        *("apply", "--server-side", "--field-manager=two", "-f", kubectl.file(widget("a", size=6))), expect=1
    )
    assert 'conflict with "one"' in told
    assert ".spec.size" in told


def test_diff_shows_the_change_and_makes_none(kubectl: Here) -> None:
    kubectl("apply", "-f", kubectl.file(widget("a")))
    assert kubectl("diff", "-f", kubectl.file(widget("a"))) == ""
    told = kubectl("diff", "-f", kubectl.file(widget("a", size=6)), expect=1)
    assert "-  size: 5" in told
    assert "+  size: 6" in told
    assert kubectl("get", "widget", "a", "-o", "jsonpath={.spec.size}") == "5"


def test_get_prints_the_columns_and_wide_prints_more(kubectl: Here) -> None:
    kubectl("apply", "-f", kubectl.file(widget("a")))
    header, row = kubectl("get", "wd").splitlines()
    assert header.split() == ["NAME", "SIZE", "READY", "AGE"]
    assert row.split()[:2] == ["a", "5"]
    assert kubectl("get", "wd", "-o", "wide").splitlines()[0].split()[-1] == "COLOUR"


def test_get_finds_kinds_by_short_name_category_and_full_name(kubectl: Here) -> None:
    kubectl("apply", "-f", kubectl.file(widget("a")))
    for name in ("wd", "suite", "widget", "widgets.suite.example.com", "widgets.v1.suite.example.com"):
        assert "widget.suite.example.com/a" in kubectl("get", name, "-o", "name")


def test_get_watch_prints_rows_as_objects_change(kubectl: Here, cluster: Cluster) -> None:
    kubectl("apply", "-f", kubectl.file(widget("a")))
    command = [str(cluster.kubectl_path), "--kubeconfig", str(cluster.kubeconfig), "-n", kubectl.namespace]
    with subprocess.Popen(
        [*command, "get", "wd", "-w", "--no-headers"],
        stdout=subprocess.PIPE,
        text=True,
        env=environment_without_proxies(),
    ) as watching:
        try:
            assert watching.stdout.readline().split()[:2] == ["a", "5"]
            kubectl("patch", "widget", "a", "--type=merge", "-p", '{"spec":{"size":7}}')
            assert watching.stdout.readline().split()[:2] == ["a", "7"]
        finally:
            watching.kill()


def test_describe_shows_the_object_and_its_events(kubectl: Here) -> None:
    kubectl("apply", "-f", kubectl.file(widget("a", size=7)))
    uid = kubectl("get", "widget", "a", "-o", "jsonpath={.metadata.uid}")
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "a.1"},
        "involvedObject": {
            "apiVersion": "suite.example.com/v1",
            "kind": "Widget",
            "name": "a",
            "namespace": kubectl.namespace,
            "uid": uid,
        },
        "reason": "Painted",
        "message": "It is red now",
        "type": "Normal",
        "count": 1,
        "firstTimestamp": "2026-01-01T00:00:00Z",
        "lastTimestamp": "2026-01-01T00:00:00Z",
        "source": {"component": "suite"},
    }
    kubectl("apply", "-f", kubectl.file(event))
    told = kubectl("describe", "widget", "a")
    assert "Size:" in told
    assert "Painted" in told
    assert "It is red now" in told
    assert "Painted" in kubectl("events", "--for", "widget/a")
    assert "Painted" in kubectl("get", "events")


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("widget", "KIND:       Widget"),
        ("widget.spec", "size"),
        ("widget.spec.parts", "weight"),
        ("deployment.spec.strategy", "rollingUpdate"),
        ("pod.spec.containers", "resources"),
    ],
)
def test_explain_teaches_custom_and_built_in_kinds(kubectl: Here, path: str, told: str) -> None:
    def ask() -> subprocess.CompletedProcess[str]:
        return kubectl.cluster.kubectl("explain", path, expect=None)

    # a server publishes the schema of a new kind a moment after it serves the kind
    done = poll(ask, lambda done: done.returncode == 0, seconds=20, every=0.5)
    assert told in done.stdout, done.stderr


def test_wait_returns_when_a_condition_holds_and_fails_when_it_does_not(kubectl: Here) -> None:
    kubectl("apply", "-f", kubectl.file(widget("a")))
    late = kubectl("wait", "--for=condition=Ready", "wd/a", "--timeout=1s", expect=1)
    assert "timed out" in late
    condition = '"conditions":[{"type":"Ready","status":"True"}]'
    set_status = ("patch", "widget", "a", "--subresource=status", "--type=merge", "-p")
    kubectl(*set_status, f'{{"status":{{{condition}}}}}')
    # the default observedGeneration of -1 says that nobody has looked at this generation yet
    assert "timed out" in kubectl("wait", "--for=condition=Ready", "wd/a", "--timeout=1s", expect=1)
    kubectl(*set_status, '{"status":{"observedGeneration":1}}')
    assert "condition met" in kubectl("wait", "--for=condition=Ready", "wd/a", "--timeout=10s")
    assert "condition met" in kubectl("wait", "--for=jsonpath={.spec.size}=5", "wd/a", "--timeout=10s")


def test_wait_for_delete_sees_the_object_go(kubectl: Here) -> None:
    body = widget("a")
    body["metadata"]["finalizers"] = ["suite.example.com/hold"]
    kubectl("apply", "-f", kubectl.file(body))
    kubectl("delete", "wd/a", "--wait=false")
    kubectl("wait", "--for=delete", "wd/a", "--timeout=1s", expect=1)
    kubectl("patch", "wd", "a", "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
    kubectl("wait", "--for=delete", "wd/a", "--timeout=10s")


@pytest.mark.parametrize(
    ("kind", "patch"),
    [
        ("merge", '{"spec":{"replicas":2}}'),
        ("json", '[{"op":"replace","path":"/spec/replicas","value":2}]'),
        ("strategic", '{"spec":{"replicas":2}}'),
    ],
)
def test_patch_works_in_all_three_forms(kubectl: Here, kind: str, patch: str) -> None:
    kubectl("apply", "-f", kubectl.file(_deployment()))
    assert "patched" in kubectl("patch", "deployment", "web", f"--type={kind}", "-p", patch)
    assert kubectl("get", "deployment", "web", "-o", "jsonpath={.spec.replicas}") == "2"


def test_scale_works_for_deployments_and_custom_kinds(kubectl: Here) -> None:
    kubectl("apply", "-f", kubectl.file(_deployment()))
    kubectl("apply", "-f", kubectl.file(widget("a")))
    for name in ("deployment/web", "widget/a"):
        assert "scaled" in kubectl("scale", name, "--replicas=3")
        assert kubectl("get", name, "-o", "jsonpath={.spec.replicas}") == "3"


def test_label_and_annotate_add_and_remove(kubectl: Here) -> None:
    kubectl("apply", "-f", kubectl.file(widget("a")))
    kubectl("label", "wd", "a", "colour=red")
    kubectl("annotate", "wd", "a", "note=hello")
    assert "a" in kubectl("get", "wd", "-l", "colour=red")
    metadata = json.loads(kubectl("get", "wd", "a", "-o", "json"))["metadata"]
    assert metadata["annotations"]["note"] == "hello"
    kubectl("label", "wd", "a", "colour-")
    assert "No resources found" in kubectl("get", "wd", "-l", "colour=red")


def test_delete_cascades(kubectl: Here, cluster: Cluster) -> None:
    kubectl("apply", "-f", kubectl.file(_deployment(replicas=1)))
    poll(lambda: kubectl("get", "pods", "-o", "name"), lambda names: names.startswith("pod/"))
    kubectl("delete", "deployment", "web", "--cascade=foreground", "--timeout=60s")
    gone = poll(lambda: kubectl("get", "rs,pods", "-o", "name"), lambda names: not names.strip(), seconds=30)
    assert gone.strip() == ""
    assert cluster.capabilities.controllers


def test_rollout_status_waits_for_the_rollout(kubectl: Here) -> None:
    kubectl("apply", "-f", kubectl.file(_deployment()))
    assert "successfully rolled out" in kubectl("rollout", "status", "deployment/web", "--timeout=30s")
    kubectl("rollout", "restart", "deployment/web")
    annotations = "{.spec.template.metadata.annotations}"
    assert "restartedAt" in kubectl("get", "deployment", "web", "-o", f"jsonpath={annotations}")


def test_auth_can_i_answers_for_oneself_and_for_others(kubectl: Here) -> None:
    assert kubectl("auth", "can-i", "create", "widgets").strip() == "yes"
    other = f"--as=system:serviceaccount:{kubectl.namespace}:nobody"
    assert kubectl("auth", "can-i", "create", "widgets", other, expect=1).strip() == "no"
    assert "kubernetes-admin" in kubectl("auth", "whoami") or kubectl.cluster.provider != "sandbox"


def test_created_things_are_there(kubectl: Here) -> None:
    """kubectl sends these as protobuf."""
    kubectl("create", "configmap", "m", "--from-literal=k=v")
    kubectl("create", "secret", "generic", "s", "--from-literal=p=q")
    kubectl("create", "serviceaccount", "sa")
    kubectl("create", "deployment", "d", "--image=i:1", "--replicas=0")
    kubectl("create", "role", "r", "--verb=get", "--resource=configmaps")
    kubectl("create", "rolebinding", "b", "--role=r", f"--serviceaccount={kubectl.namespace}:sa")
    kubectl("expose", "deployment", "d", "--port=80")
    assert kubectl("get", "configmap", "m", "-o", "jsonpath={.data.k}") == "v"
    assert kubectl("get", "secret", "s", "-o", "jsonpath={.data.p}") == "cQ=="
    assert kubectl("get", "service", "d", "-o", "jsonpath={.spec.ports[0].port}") == "80"
    token = kubectl("create", "token", "sa").strip()
    assert token.count(".") == 2
    account = f"--as=system:serviceaccount:{kubectl.namespace}:sa"
    assert kubectl("auth", "can-i", "get", "configmaps", account).strip() == "yes"


def test_edit_and_replace_change_the_object(kubectl: Here) -> None:
    kubectl("apply", "-f", kubectl.file(widget("a")))
    body = json.loads(kubectl("get", "wd", "a", "-o", "json"))
    body["spec"]["size"] = 8
    assert "replaced" in kubectl("replace", "-f", kubectl.file(body))
    assert kubectl("get", "wd", "a", "-o", "jsonpath={.spec.size}") == "8"


def test_api_resources_and_cluster_info_know_the_kinds(kubectl: Here) -> None:
    told = kubectl("api-resources", "--api-group=suite.example.com", "-o", "wide")
    assert "wd" in told
    assert "Widget" in told
    assert "v1" in kubectl("api-versions")
    assert "Server Version: v1." in kubectl("version")


def test_an_error_is_printed_as_the_server_says_it(kubectl: Here) -> None:
    told = kubectl("get", "widget", "nope", expect=1)
    assert 'widgets.suite.example.com "nope" not found' in told
    refused = kubectl("apply", "-f", kubectl.file(widget("a", size=0)), expect=1)
    assert "spec.size" in refused
    assert "greater than or equal to 1" in refused


def test_kubectl_stays_quick(kubectl: Here) -> None:
    """Discovery is cached by kubectl; a server whose answers can't be cached would be asked every time."""
    kubectl("get", "wd")
    begin = time.monotonic()
    for _ in range(3):
        kubectl("get", "wd")
    assert time.monotonic() - begin < 30
