"""The pod of one replica: what the author wrote, the devices of the pool, and safe defaults."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from switchyard.core.errors import TemplateError
from switchyard.core.placement.facts import PoolFacts
from switchyard.core.world import PodTemplate, Workload

_SERVER = "server"


def build_pod_spec(
    workload: Workload,
    variant_name: str,
    pool: PoolFacts,
    devices: int,
    template: PodTemplate | None,
) -> tuple[dict[str, Any], dict[str, str], dict[str, str]]:
    """The pod spec, and the labels and annotations that its template brings.

    The first container is the server: it gets the devices. Raises TemplateError when there is none.
    """
    variant = next(each for each in workload.spec.variants if each.name == variant_name)
    if variant.container is not None:
        spec = _spec_of_container(variant.container.model_dump(mode="json", by_alias=True, exclude_none=True))
        marks, annotations = {}, {}
    elif template is not None:
        spec = copy.deepcopy(dict(template.template.get("spec") or {}))
        metadata = template.template.get("metadata") or {}
        marks, annotations = dict(metadata.get("labels") or {}), dict(metadata.get("annotations") or {})
    else:
        raise TemplateError(f"variant {variant_name} has neither a container nor a pod template that exists")
    containers = spec.get("containers") or []
    if not containers:
        raise TemplateError(f"variant {variant_name}: its pod template has no container")
    _equip(containers[0], workload, variant_name, pool, devices)
    for container in [*containers, *(spec.get("initContainers") or [])]:
        _restrict(container)
    _send_to_pool(spec, pool)
    security = spec.setdefault("securityContext", {})
    security.setdefault("runAsNonRoot", True)
    security.setdefault("seccompProfile", {"type": "RuntimeDefault"})
    return spec, marks, annotations


def _spec_of_container(container: dict[str, Any]) -> dict[str, Any]:
    volumes = container.pop("volumes", None)
    container = {key: value for key, value in container.items() if value not in ([], {})}
    spec: dict[str, Any] = {"containers": [{"name": _SERVER, **container}]}
    if volumes:
        spec["volumes"] = volumes
    return spec


def _equip(
    container: dict[str, Any], workload: Workload, variant: str, pool: PoolFacts, devices: int
) -> None:
    port = workload.spec.port
    container.setdefault("ports", [{"name": "http", "containerPort": port, "protocol": "TCP"}])
    container.setdefault("readinessProbe", {"tcpSocket": {"port": port}, "periodSeconds": 2})
    resources = container.setdefault("resources", {})
    for side in ("requests", "limits"):
        resources[side] = {**(resources.get(side) or {}), pool.resource_name: str(devices)}
    known = {
        "SWITCHYARD_ACCELERATOR": pool.accelerator or pool.family,
        "SWITCHYARD_POOL": pool.name,
        "SWITCHYARD_VARIANT": variant,
        "SWITCHYARD_WORKLOAD": workload.meta.name,
    }
    given = [item for item in container.get("env") or [] if item.get("name") not in known]
    container["env"] = [*({"name": name, "value": value} for name, value in known.items()), *given]


def _restrict(container: dict[str, Any]) -> None:
    security = container.setdefault("securityContext", {})
    security.setdefault("allowPrivilegeEscalation", False)
    security.setdefault("capabilities", {"drop": ["ALL"]})


def _send_to_pool(spec: dict[str, Any], pool: PoolFacts) -> None:
    if len(pool.selectors) == 1:
        spec["nodeSelector"] = {**(spec.get("nodeSelector") or {}), **pool.selectors[0]}
    else:
        affinity = spec.setdefault("affinity", {}).setdefault("nodeAffinity", {})
        affinity["requiredDuringSchedulingIgnoredDuringExecution"] = {
            "nodeSelectorTerms": [_term(selector) for selector in pool.selectors]
        }
    tolerations: list[Mapping[str, Any]] = list(spec.get("tolerations") or [])
    tolerations += [dict(each) for each in pool.tolerations if each not in tolerations]
    if tolerations:
        spec["tolerations"] = tolerations


def _term(selector: Mapping[str, str]) -> dict[str, Any]:
    return {
        "matchExpressions": [
            {"key": key, "operator": "In", "values": [value]} for key, value in sorted(selector.items())
        ]
    }
