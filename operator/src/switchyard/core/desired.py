"""The children that a placed workload should have: pure builders, one per kind.

Per track a Deployment and a Service; per workload a stable Service, whose selector names the track that
serves, or in a mix takes the pods of all tracks, a PodDisruptionBudget, and the route that its exposure asks
for. All are owned by the workload: deleting it deletes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from switchyard.api import labels
from switchyard.api.exposure import GatewayExposure, IstioExposure
from switchyard.core.drift import seal
from switchyard.core.holding import leave_out_traffic
from switchyard.core.naming import label_value, track_name
from switchyard.core.owned import build_owned_metadata
from switchyard.core.placement.facts import PoolFacts
from switchyard.core.pods import build_pod_spec
from switchyard.core.routing.objects import Backends, build_http_route_rules, build_virtual_service_http
from switchyard.core.routing.plan import Target
from switchyard.core.tracks import SHARED
from switchyard.core.world import PodTemplate, Workload

_REVISIONS_KEPT = 3


@dataclass(frozen=True, slots=True)
class Track:
    """One way of serving that a workload has or should have."""

    name: str
    variant: str
    pool: str
    replicas: int
    unit_devices: int


def name_track(workload: Workload, variant: str, pool: str) -> str:
    """The name of the Deployment and Service of that variant in that pool."""
    return track_name(workload.meta.name, variant, pool)


def child_labels(workload: Workload, track: Track | None = None) -> dict[str, str]:
    """Labels of a child; with a track also those that tell tracks apart."""
    found = {labels.MANAGED_BY: labels.MANAGER, labels.WORKLOAD: label_value(workload.meta.name)}
    if track is not None:
        found[labels.TRACK] = track.name
        found[labels.VARIANT] = label_value(track.variant)
        found[labels.POOL] = label_value(track.pool)
    return found


def build_deployment(
    workload: Workload, track: Track, pool: PoolFacts, template: PodTemplate | None
) -> dict[str, Any]:
    """The Deployment of a track. Raises TemplateError when no pod can be built from the variant."""
    marks = child_labels(workload, track)
    pod_spec, template_labels, annotations = build_pod_spec(
        workload, track.variant, pool, track.unit_devices, template
    )
    pod_metadata: dict[str, Any] = {"labels": {**template_labels, **marks, labels.SHARED: "true"}}
    if annotations:
        pod_metadata["annotations"] = annotations
    return seal(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": _metadata(workload, track.name, marks),
            "spec": {
                "replicas": track.replicas,
                "revisionHistoryLimit": _REVISIONS_KEPT,
                "selector": {"matchLabels": _track_selector(workload, track.name)},
                "strategy": choose_strategy(track.replicas),
                "template": {"metadata": pod_metadata, "spec": pod_spec},
            },
        }
    )


def choose_strategy(replicas: int) -> dict[str, Any]:
    """How pods are exchanged when their template changes, without ever leaving the Service without a pod.

    From two replicas on, one at a time makes room for its successor: no spare device is needed, and all
    others serve meanwhile. A single replica is only replaced by one that is ready already: that needs a
    spare unit, and where the pool has none the change waits while the old pod serves on.
    """
    surge, unavailable = (0, 1) if replicas >= 2 else (1, 0)
    return {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}


def build_track_service(workload: Workload, track: Track) -> dict[str, Any]:
    """The Service of one track: reaches it whatever the stable Service points to."""
    selector = _track_selector(workload, track.name)
    return seal(_build_service(workload, track.name, child_labels(workload, track), selector))


def build_stable_service(workload: Workload, serving_track: str, *, is_held: bool = False) -> dict[str, Any]:
    """The Service that callers use; `serving_track` is the one it sends them to, SHARED stands for all.

    `is_held`: somebody else says where it sends them; the selector is left to that.
    """
    if serving_track == SHARED:
        selector = {labels.WORKLOAD: label_value(workload.meta.name), labels.SHARED: "true"}
    else:
        selector = _track_selector(workload, serving_track)
    body = _build_service(workload, workload.meta.name, child_labels(workload), selector)
    return seal(leave_out_traffic(body) if is_held else body)


def build_disruption_budget(workload: Workload) -> dict[str, Any]:
    """One pod may be evicted at a time; a pod that isn't ready may always go, so no drain hangs on it."""
    return seal(
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": _metadata(workload, workload.meta.name, child_labels(workload)),
            "spec": {
                "maxUnavailable": 1,
                "selector": {"matchLabels": {labels.WORKLOAD: label_value(workload.meta.name)}},
                "unhealthyPodEvictionPolicy": "AlwaysAllow",
            },
        }
    )


def build_http_route(
    workload: Workload, exposure: GatewayExposure, *, is_held: bool = False
) -> dict[str, Any]:
    """The HTTPRoute to the stable Service. `is_held`: its rules are left to somebody else."""
    spec: dict[str, Any] = {
        "parentRefs": [
            each.model_dump(mode="json", by_alias=True, exclude_none=True) for each in exposure.parent_refs
        ],
        "rules": build_http_route_rules(exposure, Backends(_find_stable_target(workload)), is_named=False),
    }
    if exposure.hostnames:
        spec["hostnames"] = list(exposure.hostnames)
    return _build_route("gateway.networking.k8s.io/v1", "HTTPRoute", workload, spec, is_held=is_held)


def build_virtual_service(
    workload: Workload, exposure: IstioExposure, *, is_held: bool = False
) -> dict[str, Any]:
    """The VirtualService to the stable Service. `is_held`: its routes are left to somebody else."""
    spec = {
        "hosts": list(exposure.hosts),
        "gateways": list(exposure.gateways),
        "http": build_virtual_service_http(Backends(_find_stable_target(workload))),
    }
    return _build_route("networking.istio.io/v1", "VirtualService", workload, spec, is_held=is_held)


def _build_route(
    api_version: str, kind: str, workload: Workload, spec: Mapping[str, Any], *, is_held: bool
) -> dict[str, Any]:
    metadata = _metadata(workload, workload.meta.name, child_labels(workload))
    body = {"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec}
    return seal(leave_out_traffic(body) if is_held else body)


def _find_stable_target(workload: Workload) -> Target:
    return Target(workload.meta.name, workload.spec.port)


def _build_service(
    workload: Workload, name: str, marks: Mapping[str, str], selector: Mapping[str, str]
) -> dict[str, Any]:
    port = workload.spec.port
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(workload, name, marks),
        "spec": {
            "type": "ClusterIP",
            "selector": dict(selector),
            "ports": [{"name": "http", "port": port, "targetPort": port, "protocol": "TCP"}],
        },
    }


def _track_selector(workload: Workload, track: str) -> dict[str, str]:
    return {labels.WORKLOAD: label_value(workload.meta.name), labels.TRACK: track}


def _metadata(workload: Workload, name: str, marks: Mapping[str, str]) -> dict[str, Any]:
    meta = workload.meta
    return build_owned_metadata(meta.namespace, meta.name, meta.uid, name, marks)
