"""Service → EndpointSlices, by readiness of the pods that its selector finds."""

from __future__ import annotations

import json
from typing import Any

from switchyard.sandbox.client import ENDPOINT_SLICES, ApiClient, Json
from switchyard.sandbox.cluster.conditions import is_pod_over, is_pod_ready, own
from switchyard.sandbox.cluster.controller import WorkQueue
from switchyard.sandbox.cluster.informer import Informer, Key, key_of
from switchyard.sandbox.cluster.selectors import SelectorIndex, index_labels, select

_MANAGER = "endpointslice-controller.k8s.io"
_MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
_SERVICE = "kubernetes.io/service-name"
_HEADLESS = "service.kubernetes.io/headless"
_PER_SLICE = 100


class EndpointsController:
    """Keeps the slices of every Service with a selector."""

    def __init__(
        self, client: ApiClient, services: Informer, pods: Informer, slices: Informer, nodes: Informer
    ) -> None:
        self._client = client
        self._services = services
        self._pods = pods
        self._slices = slices
        self._nodes = nodes
        self._selectors = SelectorIndex()
        self.queue: WorkQueue[Key] = WorkQueue("endpoints", self._sync, workers=4, settle_seconds=0.05)
        index_labels(pods)
        slices.add_index("service", _service_entry)
        services.add_handler(self._service_changed)
        pods.add_handler(self._pod_changed)
        slices.add_handler(self._slice_changed)

    def _service_changed(self, old: Json | None, new: Json | None) -> None:
        body = new or old
        if body is None:
            return
        key = key_of(body)
        self._selectors.discard(key)
        if new is not None and new["spec"].get("selector"):
            self._selectors.put(key, {"matchLabels": new["spec"]["selector"]})
        self.queue.add(key)

    def _pod_changed(self, old: Json | None, new: Json | None) -> None:
        if old is not None and new is not None and _outline(old) == _outline(new):
            return
        for pod in (old, new):
            if pod is None:
                continue
            for key in self._selectors.matching(pod):
                self.queue.add(key)

    def _slice_changed(self, old: Json | None, new: Json | None) -> None:
        body = new or old
        if body is not None and (body["metadata"].get("labels") or {}).get(_MANAGED_BY) == _MANAGER:
            for entry in _service_entry(body):
                namespace, _, name = entry.partition("/")
                self.queue.add((namespace, name))

    async def _sync(self, key: Key) -> None:
        service = self._services.get(*key)
        present = self._slices.indexed("service", "/".join(key))
        if service is None or not service["spec"].get("selector"):
            return  # slices of a deleted Service go with it; those without a selector are someone else's
        pods = select(self._pods, key[0], {"matchLabels": service["spec"]["selector"]})
        wanted = build_slices(service, pods, self._zone)
        present.sort(key=lambda body: body["metadata"]["name"])
        for index, body in enumerate(wanted):
            if index < len(present):
                await self._adjust(present[index], body)
            else:
                made = await self._client.create(ENDPOINT_SLICES, key[0], body)
                self._slices.observe(made)
        for body in present[len(wanted) :]:
            await self._client.delete(
                ENDPOINT_SLICES, key[0], body["metadata"]["name"], uid=body["metadata"]["uid"]
            )
            self._slices.observe_deleted(body)

    async def _adjust(self, there: Json, wanted: Json) -> None:
        labels = there["metadata"].get("labels") or {}
        if (
            (there.get("endpoints") or []) == wanted["endpoints"]
            and (there.get("ports") or []) == wanted["ports"]
            and all(labels.get(k) == v for k, v in wanted["metadata"]["labels"].items())
        ):
            return
        body = {**there, "endpoints": wanted["endpoints"], "ports": wanted["ports"]}
        body["metadata"] = {**there["metadata"], "labels": {**labels, **wanted["metadata"]["labels"]}}
        self._slices.observe(await self._client.update(ENDPOINT_SLICES, body))

    def _zone(self, node_name: str) -> str:
        node = self._nodes.get("", node_name)
        labels: dict[str, str] = (node or {}).get("metadata", {}).get("labels") or {}
        return labels.get("topology.kubernetes.io/zone", "")


def build_slices(service: Json, pods: list[Json], zone_of: Any = lambda _name: "") -> list[Json]:
    """The slices of a Service: one per distinct set of port numbers and hundred endpoints, at least one."""
    is_published_early = bool(service["spec"].get("publishNotReadyAddresses"))
    groups: dict[str, tuple[list[Json], list[Json]]] = {}
    for pod in sorted(pods, key=lambda p: str(p["metadata"]["name"])):
        if is_pod_over(pod) or not (pod.get("status") or {}).get("podIP"):
            continue
        ports = _resolve_ports(service, pod)
        _, endpoints = groups.setdefault(json.dumps(ports), (ports, []))
        endpoints.append(_endpoint(pod, is_published_early=is_published_early, zone_of=zone_of))
    if not groups:
        groups[""] = ([], [])
    meta = service["metadata"]
    labels = {**(meta.get("labels") or {}), _SERVICE: meta["name"], _MANAGED_BY: _MANAGER}
    if service["spec"].get("clusterIP") == "None":
        labels[_HEADLESS] = ""
    head = {
        "generateName": f"{meta['name']}-",
        "namespace": meta["namespace"],
        "labels": labels,
        "ownerReferences": [own(service, "Service", "v1")],
    }
    return [
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": head,
            "addressType": "IPv4",
            "endpoints": endpoints[start : start + _PER_SLICE],
            "ports": ports,
        }
        for _, (ports, endpoints) in sorted(groups.items())
        for start in range(0, max(1, len(endpoints)), _PER_SLICE)
    ]


def _endpoint(pod: Json, *, is_published_early: bool, zone_of: Any) -> Json:
    is_terminating = bool(pod["metadata"].get("deletionTimestamp"))
    is_serving = is_pod_ready(pod) or is_published_early
    endpoint: Json = {
        "addresses": [pod["status"]["podIP"]],
        "conditions": {
            "ready": is_serving and (not is_terminating or is_published_early),
            "serving": is_serving,
            "terminating": is_terminating,
        },
        "targetRef": {
            "kind": "Pod",
            "namespace": pod["metadata"]["namespace"],
            "name": pod["metadata"]["name"],
            "uid": pod["metadata"]["uid"],
        },
    }
    node = pod["spec"].get("nodeName")
    if node:
        endpoint["nodeName"] = node
        if zone_of(node):
            endpoint["zone"] = zone_of(node)
    return endpoint


def _resolve_ports(service: Json, pod: Json) -> list[Json]:
    ports = []
    for port in service["spec"].get("ports") or []:
        protocol = port.get("protocol", "TCP")
        number = _find_port(pod, port.get("targetPort", port["port"]), protocol)
        if number is None:
            continue
        entry: Json = {"name": port.get("name", ""), "port": number, "protocol": protocol}
        if port.get("appProtocol"):
            entry["appProtocol"] = port["appProtocol"]
        ports.append(entry)
    return ports


def _find_port(pod: Json, target: int | str, protocol: str) -> int | None:
    if isinstance(target, int):
        return target
    if target.isdigit():
        return int(target)
    for container in [*(pod["spec"].get("containers") or []), *(pod["spec"].get("initContainers") or [])]:
        for port in container.get("ports") or []:
            if port.get("name") == target and port.get("protocol", "TCP") == protocol:
                return int(port["containerPort"])
    return None


def _service_entry(body: Json) -> list[str]:
    labels = body["metadata"].get("labels") or {}
    if labels.get(_MANAGED_BY) != _MANAGER or not labels.get(_SERVICE):
        return []
    return [f"{body['metadata']['namespace']}/{labels[_SERVICE]}"]


def _outline(pod: Json) -> tuple[Any, ...]:
    """What of a pod an endpoint depends on."""
    meta, status = pod["metadata"], pod.get("status") or {}
    return (
        meta.get("labels"),
        bool(meta.get("deletionTimestamp")),
        meta["uid"],
        pod["spec"].get("nodeName"),
        status.get("podIP"),
        status.get("phase"),
        is_pod_ready(pod),
    )
