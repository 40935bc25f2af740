"""The worlds that are measured: how many objects, and what stands in them. The same on every run."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import Any

from switchyard.sandbox.cluster.fleet import NodeSpec, generate_fleet

NAMESPACE = "bench"
POOL_LABEL = "example.com/bench-pool"
_API_VERSION = "switchyard.dev/v1alpha1"
# From slow and cheap to fast and dear. The profiles are made up; only their order matters here.
_KINDS = (
    ("nvidia-t4", "0.53", {"slots": 4, "base": "90ms", "slope": "12ms"}),
    ("nvidia-l4", "1.15", {"slots": 8, "base": "60ms", "slope": "4ms"}),
    ("nvidia-a100-80gb", "3.40", {"slots": 16, "base": "45ms", "slope": "2ms"}),
    ("nvidia-h100", "6.88", {"slots": 24, "base": "30ms", "slope": "1ms"}),
)
_TIERS = ("customer-facing", "internal", "batch")


@dataclass(frozen=True, slots=True)
class Scale:
    """Size of the large world, and how often and how long things are measured."""

    workloads: int = 200
    pools: int = 20
    nodes: int = 500
    starts: int = 3
    decisions: int = 5
    quiet_seconds: float = 60.0
    client_concurrency: int = 16  # the operator's own default for its writes


SMALL = Scale(workloads=20, pools=4, nodes=40, starts=1, decisions=3, quiet_seconds=12.0)


def make_nodes(scale: Scale) -> tuple[NodeSpec, ...]:
    """Nodes with eight devices each, evenly over the pools."""
    return generate_fleet(scale.nodes, scale.pools)


def make_fleet(scale: Scale) -> dict[str, Any]:
    """The same nodes as the document that `switchyard sandbox up --fleet FILE` reads."""
    documents = []
    for name, members in groupby(make_nodes(scale), key=lambda node: node.labels[POOL_LABEL]):
        nodes = list(members)
        first = nodes[0]
        documents.append(
            {
                "name": name,
                "nodes": len(nodes),
                "region": first.labels["topology.kubernetes.io/region"],
                "zones": sorted({node.labels["topology.kubernetes.io/zone"] for node in nodes}),
                "cpu": first.capacity["cpu"],
                "memory": first.capacity["memory"],
                "devices": {resource: int(first.capacity[resource]) for resource in first.devices},
                "labels": {POOL_LABEL: name},
            }
        )
    return {"pools": documents}


def make_pools(scale: Scale) -> list[dict[str, Any]]:
    """One AcceleratorPool per node group, four kinds of accelerator in turn, each at its own price."""
    pools = []
    for index in range(scale.pools):
        accelerator, price, _ = _KINDS[index % len(_KINDS)]
        dearer = 1 + index // len(_KINDS) / 20
        pools.append(
            {
                "apiVersion": _API_VERSION,
                "kind": "AcceleratorPool",
                "metadata": {"name": f"bench-{index}"},
                "spec": {
                    "accelerator": accelerator,
                    "nodeSelector": {POOL_LABEL: f"bench-{index}"},
                    "location": {"region": "us-east-1" if index % 2 == 0 else "eu-west-1"},
                    "cost": {"devicePerHour": f"{float(price) * dearer:.4f}", "asOf": "2026-11-01"},
                },
            }
        )
    return pools


def make_workloads(scale: Scale) -> list[dict[str, Any]]:
    """InferenceWorkloads of some one to four replicas that may go to every kind of accelerator."""
    return [_make_workload(index) for index in range(scale.workloads)]


def _make_workload(index: int) -> dict[str, Any]:
    name = f"model-{index:03}"
    return {
        "apiVersion": _API_VERSION,
        "kind": "InferenceWorkload",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "tier": _TIERS[index % len(_TIERS)],
            "model": {"name": name, "memory": "8Gi"},
            "demand": {"requestsPerSecond": str(20 + 15 * (index % 7))},
            "objectives": [{"metric": "latency", "percentile": 95, "target": f"{200 + 100 * (index % 5)}ms"}],
            "variants": [_make_variant(*kind) for kind in _KINDS],
        },
    }


def _make_variant(accelerator: str, _price: str, curve: dict[str, Any]) -> dict[str, Any]:
    # a container that nodes simulate, and whose readiness costs no connection: not the model is measured
    return {
        "name": accelerator.removeprefix("nvidia-"),
        "accelerators": [accelerator],
        "container": {
            "image": "example.com/model:1",
            "readinessProbe": {"exec": {"command": ["true"]}, "periodSeconds": 60},
        },
        "profile": {"source": "estimate", "concurrency": {**curve, "cv2": "0.2"}},
    }
