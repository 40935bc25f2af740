"""The pools and workloads of the scenarios, as a user would write them."""

from __future__ import annotations

import json
import os
from typing import Any

API_VERSION = "switchyard.dev/v1alpha1"
# simulated nodes run the command themselves; on real ones the image must be there
IMAGE = os.environ.get("SWITCHYARD_E2E_IMAGE", "switchyard:0.1.0")


def pool(name: str, node: str, price: str = "0.80", **spec: Any) -> dict[str, Any]:
    """A pool of the L4 devices of one node."""
    return {
        "apiVersion": API_VERSION,
        "kind": "AcceleratorPool",
        "metadata": {"name": name},
        "spec": {
            "accelerator": "nvidia-l4",
            "nodeSelector": {"kubernetes.io/hostname": node},
            "cost": {"devicePerHour": price, "asOf": "2026-11-01"},
            **spec,
        },
    }


def variant(name: str = "gpu", devices: int = 1, **fields: Any) -> dict[str, Any]:
    """A variant on L4 that serves 50 requests per second and replica in some 20 ms each."""
    return {
        "name": name,
        "accelerators": ["nvidia-l4"],
        "devicesPerReplica": devices,
        "container": {"image": IMAGE, "command": ["switchyard", "model-server"], "args": ["--base-ms=5"]},
        "profile": {
            "source": "estimate",
            "concurrency": {"slots": 4, "base": "20ms", "slope": "5ms", "cv2": "0.2"},
        },
        **fields,
    }


def workload(name: str, *, tier: str = "internal", **spec: Any) -> dict[str, Any]:
    """A small chat service with a p95 objective of 500 ms."""
    return {
        "apiVersion": API_VERSION,
        "kind": "InferenceWorkload",
        "metadata": {"name": name},
        "spec": {
            "tier": tier,
            "model": {"name": name, "memory": "8Gi"},
            "demand": {"requestsPerSecond": "5"},
            "objectives": [{"metric": "latency", "percentile": 95, "target": "500ms"}],
            "variants": [variant()],
            **spec,
        },
    }


def manifest(*documents: dict[str, Any]) -> str:
    """JSON is YAML: what kubectl takes on its standard input."""
    return "\n---\n".join(json.dumps(document) for document in documents)


def condition(document: dict[str, Any], kind: str) -> dict[str, Any]:
    """The condition of a type, empty when it is not there."""
    found = [each for each in document.get("status", {}).get("conditions", ()) if each["type"] == kind]
    return found[0] if found else {}
