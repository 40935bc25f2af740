"""The embedded cluster as its own process: what `switchyard sandbox up` gives to anyone."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml
from e2e.providers.cluster import Capabilities, Cluster, ClusterUnavailableError, find_kubectl
from e2e.providers.plain_http import PlainHttp
from e2e.providers.programs import Programs, switchyard

START_SECONDS = 60


@contextmanager
def start(directory: Path, *, has_fleet: bool) -> Iterator[Cluster]:
    """A sandbox of its own, with nothing kept."""
    directory.mkdir(parents=True, exist_ok=True)
    programs = Programs(directory)
    try:
        programs.start(
            "sandbox",
            switchyard(
                *("sandbox", "up", "--port", "0", "--state-dir", directory),
                *("--fleet", "default" if has_fleet else "none"),
                *("--routing", "gateway-api,istio" if has_fleet else "none"),
            ),
        )
        kubeconfig = directory / "kubeconfig"
        programs.wait_until("sandbox up", kubeconfig.is_file, seconds=START_SECONDS)
        cluster = _read(kubeconfig, directory, has_fleet=has_fleet)
        programs.wait_until(
            "sandbox ready", lambda: cluster.http.get("/readyz").code == 200, seconds=START_SECONDS
        )
        if has_fleet:
            programs.wait_until(
                "nodes registered", lambda: bool(cluster.http.get("/api/v1/nodes").body["items"]), seconds=30
            )
        yield cluster
    finally:
        programs.stop()


def _read(kubeconfig: Path, directory: Path, *, has_fleet: bool) -> Cluster:
    """The cluster that a kubeconfig of the sandbox describes."""
    document = yaml.safe_load(kubeconfig.read_text())
    server, user = document["clusters"][0]["cluster"], document["users"][0]["user"]
    ca_path = directory / "suite-ca.pem"
    if "certificate-authority-data" in server:
        ca_path.write_bytes(base64.b64decode(server["certificate-authority-data"]))
    else:
        ca_path.write_bytes(Path(server["certificate-authority"]).read_bytes())
    return Cluster(
        provider="sandbox",
        url=server["server"],
        token=user["token"],
        ca_path=ca_path,
        kubeconfig=kubeconfig,
        kubectl_path=find_kubectl(),
        capabilities=Capabilities(controllers=True, nodes=has_fleet, own_nodes=True, real_apiserver=False),
        forget_history=lambda: _compact(PlainHttp(server["server"], user["token"], str(ca_path))),
    )


def _compact(http: PlainHttp) -> None:
    answer = http.post("/sandbox/v1/faults", {"kind": "compact-history"})
    if answer.code >= 300:
        raise ClusterUnavailableError(f"the sandbox did not compact its history: {answer.text}")
