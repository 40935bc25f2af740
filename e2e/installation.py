"""Switchyard in a cluster under test: the chart installed, the operator run here under the chart's rights."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import helm_python
import yaml
from e2e.audit import Audit
from e2e.objects import IMAGE
from e2e.providers import Cluster, PlainHttp
from e2e.providers.cluster import REPOSITORY, write_kubeconfig
from e2e.providers.plain_http import poll
from e2e.providers.programs import Programs, free_port, switchyard

CHART = REPOSITORY / "charts" / "switchyard"
NAMESPACE = "switchyard-e2e"
RELEASE = "switchyard"
READY_SECONDS = 60
# so that an idle loop shows itself within seconds, and demand is known as soon
SETTINGS = f"""
resync: 5s
signalInterval: 1s
router: {{image: {IMAGE}, replicas: 1, drainDelay: 1s, grace: 10s}}
"""


class Operator:
    """The operator as a process of its own, with a token of the chart's service account."""

    def __init__(self, cluster: Cluster, directory: Path, audit: Audit) -> None:
        """`audit` notes what it asks for: it sits between the operator and the API server."""
        self._cluster = cluster
        self.audit = audit
        self._programs = Programs(directory)
        self._kubeconfig = directory / "operator.kubeconfig"
        self._starts = 0
        self._settings = directory / "settings.yaml"
        self._settings.write_text(SETTINGS)
        self.probes = PlainHttp("http://127.0.0.1:0")

    def start(self) -> None:
        """Returns when the operator says that it is ready."""
        account = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{RELEASE}/token"
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": 7200},
        }
        token = self._cluster.http.post(account, request).body["status"]["token"]
        ca_pem = self._cluster.ca_path.read_bytes()
        write_kubeconfig(self._kubeconfig, self.audit.url, token, ca_pem, namespace=NAMESPACE)
        self._starts += 1
        port = free_port()
        self.probes = PlainHttp(f"http://127.0.0.1:{port}")
        self._programs.start(
            f"operator-{self._starts}",
            switchyard(
                *("operator", "--kubeconfig", self._kubeconfig, "--namespace", NAMESPACE),
                *("--config", self._settings, "--listen", f"127.0.0.1:{port}"),
            ),
        )
        self._programs.wait_until(
            "operator ready", lambda: self.probes.get("/readyz").code == 200, seconds=READY_SECONDS
        )

    def configure(self, more_settings: str = "") -> None:
        """Stop, and start again with these settings on top of the usual ones."""
        self.stop()
        self._settings.write_text(SETTINGS + more_settings)
        self.start()

    def kill(self) -> None:
        """SIGKILL: no chance to tidy up."""
        _, process = self._programs.running.pop()
        process.send_signal(signal.SIGKILL)
        process.wait()

    def stop(self) -> None:
        self._programs.stop()

    def logs(self) -> str:
        return "\n".join(self._programs.tail(f"operator-{number + 1}") for number in range(self._starts))


@contextmanager
def install(cluster: Cluster) -> Iterator[None]:
    """The chart's definitions, account and rights; the Deployment has no replicas, the operator runs here."""
    helm = helm_python.Config(kubeconfig_path=cluster.kubeconfig, namespace=NAMESPACE)
    helm.install(CHART, RELEASE, {"replicaCount": 0}, namespace=NAMESPACE, create_namespace=True)
    try:
        kinds = "/apis/switchyard.dev/v1alpha1/acceleratorpools"
        assert poll(lambda: cluster.http.get(kinds).code, lambda code: code == 200) == 200
        yield
    finally:
        helm.uninstall(RELEASE, ignore_not_found=True)
        helm.close()
        cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false", "--ignore-not-found")


def rendered(kind: str) -> dict[str, Any]:
    """The chart's object of a kind as it is installed here; of several, the one named like the release."""
    with helm_python.Chart.load(CHART) as chart:
        texts = chart.render(name=RELEASE, namespace=NAMESPACE).values()
    documents = [each for text in texts if "kind:" in text for each in yaml.safe_load_all(text) if each]
    (found,) = [
        each
        for each in documents
        if each.get("kind") == kind and each["metadata"]["name"] in {RELEASE, f"{NAMESPACE}-{RELEASE}"}
    ]
    return found
