"""The operator as a process of its own beside an embedded API server, as its tests need both."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self, TypeVar

from e2e.providers import Cluster, PlainHttp
from e2e.providers.plain_http import MERGE
from prometheus_client.parser import text_string_to_metric_families
from tests.shipped_kinds import read_definitions

COMMAND = [sys.executable, "-m", "switchyard", "operator"]
API = "/apis/switchyard.dev/v1alpha1"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
MANAGED = "labelSelector=app.kubernetes.io/managed-by%3Dswitchyard"
CHILD_PATHS = (
    ("apis/apps/v1", "deployments"),
    ("api/v1", "services"),
    ("apis/policy/v1", "poddisruptionbudgets"),
)


T = TypeVar("T")


def wait_until(what: str, ask: Callable[[], T], seconds: float = 30.0) -> T:
    """The first answer that is true. AssertionError names what was waited for."""
    deadline = time.monotonic() + seconds
    while True:
        answer = ask()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}; last answer {answer!r}"
        time.sleep(0.1)


class OperatorProcess:
    """One replica. Use as a context: it is killed at the end."""

    def __init__(self, cluster: Cluster, directory: Path, *arguments: str, pod: str = "") -> None:
        self.log_path = directory / f"operator-{time.monotonic_ns()}.log"
        settings = directory / "settings.yaml"
        settings.write_text("resync: 5s\n")
        command = [*COMMAND, "--kubeconfig", str(cluster.kubeconfig), "--config", str(settings)]
        command += ["--listen", "127.0.0.1:0", "--log-format", "json", *arguments]
        # a pod's name and uid stay over a restart of its container, and so does the lease
        identity = {"POD_NAME": pod, "POD_UID": pod} if pod else {}
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(command, stderr=log, stdout=log, env={**os.environ, **identity})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def lines(self, message: str = "") -> list[dict[str, Any]]:
        """The log lines with this message, or all."""
        lines = [json.loads(line) for line in self.log_path.read_text().splitlines() if line.startswith("{")]
        return [line for line in lines if not message or line["message"] == message]

    @property
    def http(self) -> PlainHttp:
        served = wait_until("the probes' address is logged", lambda: self.lines("serving probes and metrics"))
        return PlainHttp(f"http://{served[0]['address']}")

    def metric(self, name: str) -> float:
        """The sum over all series of a sample name; 0 when there is none."""
        families = text_string_to_metric_families(self.http.get("/metrics").text)
        return sum(s.value for family in families for s in family.samples if s.name == name)

    def leads(self) -> bool:
        return self.process.poll() is None and self.metric("switchyard_leader") == 1

    def has_looped(self) -> bool:
        return self.metric("switchyard_loop_duration_seconds_count") > 0

    def kill(self) -> None:
        """SIGKILL: no chance to tidy up."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


def install_definitions(cluster: Cluster) -> None:
    """The kinds as they ship."""
    for document in read_definitions():
        answer = cluster.http.post(CRDS, document)
        assert answer.code in (201, 409), answer.text
    wait_until("the kinds are served", lambda: cluster.http.get(f"{API}/inferenceworkloads").code == 200)


def wake(operator: OperatorProcess, cluster: Cluster, times: int) -> None:
    """Returns when the loop has run so often, woken by what is nobody's business: a label elsewhere."""
    loops = operator.metric("switchyard_loop_duration_seconds_count")
    for number in range(times):
        patch = {"metadata": {"labels": {"poke": f"{time.monotonic_ns()}"}}}
        cluster.http.patch("/api/v1/namespaces/default", patch, MERGE)
        wait_until(
            "the loop ran",
            lambda n=number: operator.metric("switchyard_loop_duration_seconds_count") > loops + n,
        )


def children(cluster: Cluster, namespace: str) -> dict[tuple[str, str], dict[str, Any]]:
    """What the operator made in a namespace: kind and name -> object."""
    found = {}
    for root, plural in CHILD_PATHS:
        for item in cluster.http.get(f"/{root}/namespaces/{namespace}/{plural}?{MANAGED}").body["items"]:
            found[plural, item["metadata"]["name"]] = item
    return found
