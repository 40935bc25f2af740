"""The cluster of the current kubeconfig context, when its name was given as permission."""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from e2e.providers.cluster import (
    Capabilities,
    Cluster,
    ClusterUnavailableError,
    find_kubectl,
    write_kubeconfig,
)
from e2e.providers.plain_http import PlainHttp

PERMISSION = "SWITCHYARD_E2E_ALLOW"
NAMESPACE = "switchyard-e2e-admin"
TOKEN_SECONDS = 4 * 3600


@contextmanager
def start(directory: Path, *, has_fleet: bool) -> Iterator[Cluster]:
    """The current context's cluster; `has_fleet` changes nothing, its nodes are what they are."""
    del has_fleet
    source = Path(os.environ.get("KUBECONFIG") or Path.home() / ".kube/config")
    if not source.is_file():
        raise ClusterUnavailableError(f"CLUSTER=current needs a kubeconfig: {source} is not there")
    context = yaml.safe_load(source.read_text()).get("current-context") or ""
    if os.environ.get(PERMISSION) != context or not context:
        raise ClusterUnavailableError(
            f"CLUSTER=current would create, change and delete objects in the context {context!r} "
            f"of {source}; set {PERMISSION}={context or '<context>'} if that is what you want"
        )
    with administer(source, context, directory) as cluster:
        yield cluster


@contextmanager
def administer(
    source: Path, context: str, directory: Path, *, own_nodes: bool = False, provider: str = "current"
) -> Iterator[Cluster]:
    """The cluster of a context, with a bearer token of an administrator that is removed at the end.

    Contexts authenticate in many ways (certificates, plugins); plain HTTP wants one token.
    """
    directory.mkdir(parents=True, exist_ok=True)
    kubectl = find_kubectl()
    reached = Cluster(provider, "", "", source, source, kubectl, Capabilities(True, True, own_nodes, True))
    view = yaml.safe_load(
        reached.kubectl("config", "view", "--raw", "--minify", "--flatten", "--context", context).stdout
    )["clusters"][0]["cluster"]
    if "certificate-authority-data" not in view:
        raise ClusterUnavailableError(f"the cluster of {context!r} gives no certificate authority")
    ca_pem = base64.b64decode(view["certificate-authority-data"])
    (directory / "ca.pem").write_bytes(ca_pem)
    reached.kubectl("--context", context, "apply", "-f", "-", stdin=yaml.safe_dump_all(_administrator()))
    try:
        token = reached.kubectl(
            *("--context", context, "-n", NAMESPACE, "create", "token", "tester"),
            f"--duration={TOKEN_SECONDS}s",
        ).stdout.strip()
        cluster = Cluster(
            provider=provider,
            url=view["server"],
            token=token,
            ca_path=directory / "ca.pem",
            kubeconfig=write_kubeconfig(directory / "kubeconfig", view["server"], token, ca_pem),
            kubectl_path=kubectl,
            capabilities=reached.capabilities,
        )
        _wait_for_rights(cluster.http)
        yield cluster
    finally:
        reached.kubectl(
            "--context", context, "delete", "--ignore-not-found", "--wait=false", "-f", "-",
            stdin=yaml.safe_dump_all(_administrator()),
        )  # fmt: skip


def _wait_for_rights(http: PlainHttp) -> None:
    deadline = time.monotonic() + 10
    while http.get("/api/v1/nodes").code != 200:
        if time.monotonic() > deadline:
            raise ClusterUnavailableError(f"{http.url} did not accept the administrator made for the tests")
        time.sleep(0.1)


def _administrator() -> list[dict[str, Any]]:
    subject = {"kind": "ServiceAccount", "name": "tester", "namespace": NAMESPACE}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": "tester", "namespace": NAMESPACE},
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": NAMESPACE},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": "cluster-admin",
            },
            "subjects": [subject],
        },
    ]
