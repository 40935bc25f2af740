"""A kind cluster, made for the run and deleted after it, whose workers play accelerator nodes."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from e2e.providers.cluster import REPOSITORY, Cluster, ClusterUnavailableError
from e2e.providers.current import administer

CONFIG = REPOSITORY / "e2e" / "kind.yaml"
# what the device plugin of each worker would report: label that identifies it -> resources and taint
DEVICES = {
    ("nvidia.com/gpu.product", "NVIDIA-L4"): ("nvidia.com/gpu", 2),
    ("node.kubernetes.io/instance-type", "inf2.xlarge"): ("aws.amazon.com/neuron", 1),
}


@contextmanager
def start(directory: Path, *, has_fleet: bool) -> Iterator[Cluster]:
    """A fresh kind cluster; SWITCHYARD_KIND_IMAGE chooses the node image, so the Kubernetes version."""
    kind = shutil.which("kind")
    if not kind:
        raise ClusterUnavailableError(
            "CLUSTER=kind needs the kind binary and a container engine: no kind on PATH"
        )
    directory.mkdir(parents=True, exist_ok=True)
    kubeconfig = directory / "kind.kubeconfig"
    name = f"switchyard-{os.getpid()}{'-fleet' if has_fleet else ''}"
    image = os.environ.get("SWITCHYARD_KIND_IMAGE")
    command = [kind, "create", "cluster", "--name", name, "--kubeconfig", str(kubeconfig), "--wait", "180s"]
    created = subprocess.run(
        [*command, "--config", str(CONFIG), *(["--image", image] if image else [])],
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        if created.returncode:
            raise ClusterUnavailableError(f"kind could not create a cluster:\n{created.stderr}")
        with administer(kubeconfig, f"kind-{name}", directory, own_nodes=True, provider="kind") as cluster:
            if has_fleet:
                _plug_in_devices(cluster)
            yield cluster
    finally:
        subprocess.run(
            [kind, "delete", "cluster", "--name", name, "--kubeconfig", str(kubeconfig)],
            capture_output=True,
            check=False,
        )


def _plug_in_devices(cluster: Cluster) -> None:
    for node in cluster.http.get("/api/v1/nodes").body["items"]:
        labels, path = node["metadata"]["labels"], f"/api/v1/nodes/{node['metadata']['name']}"
        for (key, value), (resource, count) in DEVICES.items():
            if labels.get(key) == value:
                # the kubelet computes allocatable from capacity
                cluster.http.patch(f"{path}/status", {"status": {"capacity": {resource: str(count)}}})
                taint = {"key": resource, "value": "present", "effect": "NoSchedule"}
                cluster.http.patch(path, {"spec": {"taints": [taint]}})
