"""Which nodes there are: read from a fleet file, or generated for benchmarks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from switchyard.sandbox.cluster.quantities import parse_quantity

_PODS_PER_NODE = "110"
_FIELDS = frozenset(
    (
        "name",
        "nodes",
        "instanceType",
        "region",
        "zones",
        "arch",
        "cpu",
        "memory",
        "devices",
        "labels",
        "taints",
    )
)


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """One simulated node. `capacity` holds quantities as strings, devices included."""

    name: str
    labels: Mapping[str, str]
    capacity: Mapping[str, str]
    taints: tuple[Mapping[str, str], ...] = ()
    architecture: str = "amd64"
    devices: frozenset[str] = field(default_factory=frozenset)  # the extended resources among `capacity`


def load_fleet(name: str) -> tuple[NodeSpec, ...]:
    """The nodes of a fleet: `default`, `none`, or the path of a file. ValueError says what is wrong in it."""
    if name == "none":
        return ()
    if name == "default":
        text = resources.files(__package__).joinpath("fleets/default.yaml").read_text()
    else:
        path = Path(name).expanduser()
        if not path.is_file():
            raise ValueError(f"no such fleet: {name!r} is neither `default`, `none` nor a file")
        text = path.read_text()
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"{name}: not YAML: {error}") from error
    if not isinstance(document, dict) or not isinstance(document.get("pools"), list):
        raise ValueError(  # noqa: TRY004  (the file's content is wrong, not an argument's type)
            f"{name}: a fleet is a mapping with a list `pools`"
        )
    return read_fleet(document["pools"])


def read_fleet(pools: list[dict[str, Any]]) -> tuple[NodeSpec, ...]:
    """The nodes of these pools, in order. ValueError names pool and field."""
    nodes: list[NodeSpec] = []
    for number, pool in enumerate(pools, start=1):
        if not isinstance(pool, dict) or not pool.get("name"):
            raise ValueError(f"pool {number}: a pool is a mapping with a name")
        strange = set(pool) - _FIELDS
        if strange:
            raise ValueError(f"pool {pool['name']}: unknown {', '.join(sorted(strange))}")
        nodes.extend(_read_pool(pool))
    names = [node.name for node in nodes]
    twice = sorted({name for name in names if names.count(name) > 1}) if len(names) < 2000 else []
    if twice:
        raise ValueError(f"node names occur twice: {', '.join(twice)}")
    return tuple(nodes)


def _read_pool(pool: dict[str, Any]) -> list[NodeSpec]:
    name = pool["name"]
    count = pool.get("nodes", 1)
    if not isinstance(count, int) or count < 1:
        raise ValueError(f"pool {name}: nodes must be a whole number of at least 1, not {count!r}")
    devices = {str(key): str(value) for key, value in (pool.get("devices") or {}).items()}
    capacity = {
        "cpu": str(pool.get("cpu", "8")),
        "memory": str(pool.get("memory", "32Gi")),
        "ephemeral-storage": "100Gi",
        "pods": _PODS_PER_NODE,
        **devices,
    }
    for resource, amount in capacity.items():
        try:
            parse_quantity(amount)
        except ValueError as error:
            raise ValueError(f"pool {name}: {resource}: {error}") from error
    zones = [str(zone) for zone in pool.get("zones") or []]
    architecture = pool.get("arch", "amd64")
    nodes = []
    for index in range(count):
        node = f"{name}-{index + 1}"
        labels = {
            "kubernetes.io/hostname": node,
            "kubernetes.io/os": "linux",
            "kubernetes.io/arch": architecture,
        }
        if pool.get("instanceType"):
            labels["node.kubernetes.io/instance-type"] = str(pool["instanceType"])
        if pool.get("region"):
            labels["topology.kubernetes.io/region"] = str(pool["region"])
        if zones:
            labels["topology.kubernetes.io/zone"] = zones[index % len(zones)]
        labels |= {str(key): str(value) for key, value in (pool.get("labels") or {}).items()}
        taints = tuple(
            {str(key): str(value) for key, value in taint.items()} for taint in pool.get("taints") or []
        )
        nodes.append(NodeSpec(node, labels, capacity, taints, architecture, frozenset(devices)))
    return nodes


def generate_fleet(nodes: int, pools: int) -> tuple[NodeSpec, ...]:
    """`nodes` nodes with eight devices each, spread over `pools` pools: for benchmarks.

    Every node carries `example.com/bench-pool: bench-<pool>`, its devices are `nvidia.com/gpu`.
    """
    sizes = [nodes // pools + (1 if index < nodes % pools else 0) for index in range(pools)]
    return read_fleet(
        [
            {
                "name": f"bench-{index}",
                "nodes": size,
                "cpu": "96",
                "memory": "768Gi",
                "region": "us-east-1" if index % 2 == 0 else "eu-west-1",
                "zones": ["a", "b", "c"],
                "devices": {"nvidia.com/gpu": 8},
                "labels": {"example.com/bench-pool": f"bench-{index}"},
            }
            for index, size in enumerate(sizes)
            if size
        ]
    )
