"""The gateway's controller: follows the route kinds, keeps the data path in step, reports in their status.

Every change leads to one pass over everything: a table is built, put in force as a whole, and only then the
statuses say so. What the cluster does not serve (no CRDs, or one family alone) is waited for.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from switchyard.sandbox.client import (
    CRDS,
    ENDPOINT_SLICES,
    NAMESPACES,
    PODS,
    SERVICES,
    ApiClient,
    Json,
    Resource,
)
from switchyard.sandbox.cluster.addresses import AddressBook
from switchyard.sandbox.cluster.conditions import stamp
from switchyard.sandbox.cluster.controller import WorkQueue
from switchyard.sandbox.cluster.forwarder import read_backends
from switchyard.sandbox.cluster.informer import Caches, Informer, Key, key_of
from switchyard.sandbox.gateway.attaching import ListenerState, ParentReading, attach
from switchyard.sandbox.gateway.gateways import (
    class_status,
    gateway_status,
    is_granted,
    listener_ports,
    read_listeners,
    route_parents,
    select_classes,
)
from switchyard.sandbox.gateway.http_routes import RouteReading, Surroundings, read_route
from switchyard.sandbox.gateway.kinds import (
    DESTINATION_RULES,
    FAMILIES,
    GATEWAY_CLASSES,
    GATEWAYS,
    HTTP_ROUTES,
    ISTIO_GATEWAYS,
    REFERENCE_GRANTS,
    VIRTUAL_SERVICES,
)
from switchyard.sandbox.gateway.mirroring import Endpoint
from switchyard.sandbox.gateway.proxy import GatewayProxy, Place
from switchyard.sandbox.gateway.table import (
    Entry,
    ListenerTable,
    Table,
    Target,
    build_listener,
    rank_listeners,
)
from switchyard.sandbox.gateway.virtual_services import IstioWorld, http_ports, read_virtual_service

log = logging.getLogger(__name__)

_SETTLE_SECONDS = 0.02
_RETRY_SECONDS = 1.0  # after a port could not be had
_KINDS = {
    f"{resource.plural}.{resource.group}": resource for kinds in FAMILIES.values() for resource in kinds
}


@dataclass(frozen=True, slots=True)
class _Ours:
    """The Gateways of this controller in one pass."""

    gateways: Mapping[Key, Json]
    features: Mapping[Key, frozenset[str]]
    listeners: Mapping[Key, list[ListenerState]]


class GatewayController:
    """One gateway for all Gateways of its classes, and one ingress for all Istio Gateways."""

    def __init__(
        self, client: ApiClient, caches: Caches, book: AddressBook, *, seed: int | None = None
    ) -> None:
        self._client = client.as_agent("switchyard-sandbox-gateway")
        self._book = book
        self._shared = caches
        # The garbage collector follows these kinds by their metadata alone, in the shared caches.
        self._own = Caches(self._client)
        self._informers: dict[Resource, Informer] = {}
        self._addresses: dict[Key, str] = {}
        self._istio_address = ""
        self._istio_ports: set[int] = set()
        self.proxy = GatewayProxy(self._find_endpoints, seed=seed)
        self.queue: WorkQueue[str] = WorkQueue(
            "gateway", self._sync, workers=1, settle_seconds=_SETTLE_SECONDS
        )
        caches.of(ENDPOINT_SLICES).add_index("of-gateway-target", _service_of_slice)
        for resource in (SERVICES, NAMESPACES):
            caches.of(resource).add_handler(self._changed)
        caches.of(PODS)
        caches.of(CRDS).add_handler(self._definition_changed)

    @property
    def istio_address(self) -> str:
        """Where Istio Gateways are served; empty while there are none."""
        return self._istio_address

    def list_places(self) -> list[Json]:
        """Kind, namespace, name and URLs of everything that is served, as JSON."""
        found = [
            {
                "kind": "Gateway",
                "namespace": key[0],
                "name": key[1],
                "urls": [
                    f"http://{address}:{port}"
                    for port in sorted({entry["port"] for entry in body["spec"]["listeners"]})
                ],
            }
            for key, address in sorted(self._addresses.items())
            if (body := self._of(GATEWAYS, key)) is not None
        ]
        if self._istio_address:
            urls = [f"http://{self._istio_address}:{port}" for port in sorted(self._istio_ports)]
            found.append({"kind": "Istio Gateways", "namespace": "", "name": "", "urls": urls})
        return found

    async def close(self) -> None:
        """Stop serving and following."""
        await self.proxy.close()
        await self._own.close()

    # -- following -------------------------------------------------------------------------------

    def _changed(self, _old: Json | None, _new: Json | None) -> None:
        self.queue.add("")

    def _definition_changed(self, old: Json | None, new: Json | None) -> None:
        resource = _KINDS.get((new or old or {"metadata": {"name": ""}})["metadata"]["name"])
        if resource is None:
            return
        if new is None and self._informers.pop(resource, None) is not None:
            self._own.drop(resource)
            self.queue.add("")
        if new is None or resource in self._informers:
            return
        versions = {version["name"] for version in new["spec"]["versions"] if version["served"]}
        if resource.version in versions and _is_established(new):
            informer = self._own.of(resource)
            informer.add_handler(self._changed)
            self._informers[resource] = informer
            self.queue.add("")

    def _values(self, resource: Resource) -> list[Json]:
        """The objects of a kind, without those that Istio's schemas let pass though they say nothing."""
        informer = self._informers.get(resource)
        return [body for body in informer.values() if "spec" in body] if informer is not None else []

    def _of(self, resource: Resource, key: Key) -> Json | None:
        informer = self._informers.get(resource)
        return informer.get(*key) if informer is not None else None

    def _find_service(self, namespace: str, name: str) -> Json | None:
        return self._shared.of(SERVICES).get(namespace, name)

    def _labels_of(self, namespace: str) -> Mapping[str, str]:
        body = self._shared.of(NAMESPACES).get("", namespace) or {"metadata": {}}
        return body["metadata"].get("labels") or {}

    def _find_endpoints(self, target: Target) -> Sequence[Endpoint]:
        """The ready endpoints of a target at this moment."""
        service = self._find_service(target.namespace, target.service)
        ports = (service or {"spec": {}})["spec"].get("ports") or []
        port_name = next((p.get("name", "") for p in ports if p["port"] == target.port), None)
        if port_name is None:
            return ()
        slices = self._shared.of(ENDPOINT_SLICES).indexed(
            "of-gateway-target", f"{target.namespace}/{target.service}"
        )
        if target.labels:
            slices = [self._narrow(body, dict(target.labels)) for body in slices]
        return read_backends(slices, port_name)

    def _narrow(self, body: Json, labels: Mapping[str, str]) -> Json:
        """The slice with the endpoints whose pods have these labels."""

        def is_meant(endpoint: Json) -> bool:
            reference = endpoint.get("targetRef") or {}
            pod = self._shared.of(PODS).get(reference.get("namespace", ""), reference.get("name", ""))
            found = ((pod or {}).get("metadata") or {}).get("labels") or {}
            return found.items() >= labels.items()

        return {**body, "endpoints": [e for e in body.get("endpoints") or [] if is_meant(e)]}

    # -- one pass --------------------------------------------------------------------------------

    async def _sync(self, _key: str) -> float | None:
        await self._own.synced()
        ours = self._read_gateways()
        readings = self._attach_routes(ours)
        istio_entries = self._read_istio()
        places = self._assign_addresses(ours, istio_entries)
        self.proxy.table = self._build_table(ours, istio_entries)
        errors = await self.proxy.listen(places)
        await self._report(ours, readings, errors)
        return _RETRY_SECONDS if errors else None

    def _read_gateways(self) -> _Ours:
        classes = select_classes(self._values(GATEWAY_CLASSES))
        gateways = {
            key_of(body): body
            for body in self._values(GATEWAYS)
            if body["spec"]["gatewayClassName"] in classes and not body["metadata"].get("deletionTimestamp")
        }
        return _Ours(
            gateways,
            {key: classes[body["spec"]["gatewayClassName"]] for key, body in gateways.items()},
            {key: read_listeners(body) for key, body in gateways.items()},
        )

    def _attach_routes(self, ours: _Ours) -> list[tuple[Json, list[ParentReading]]]:
        """Each route with what its parents came to; the entries stand in the listeners afterwards."""
        grants = self._values(REFERENCE_GRANTS)

        def reader(route: Json) -> Callable[[Key], RouteReading]:
            def read(gateway: Key) -> RouteReading:
                around = Surroundings(
                    self._find_service,
                    lambda source, namespace, name: is_granted(grants, source, namespace, name),
                    ours.features[gateway],
                )
                return read_route(route, around)

            return read

        routes = [body for body in self._values(HTTP_ROUTES) if not body["metadata"].get("deletionTimestamp")]
        return [
            (route, list(attach(route, ours.listeners, reader(route), self._labels_of))) for route in routes
        ]

    def _read_istio(self) -> dict[int, list[Entry]]:
        gateways = {key_of(body): body for body in self._values(ISTIO_GATEWAYS)}
        entries: dict[int, list[Entry]] = {
            port: [] for body in gateways.values() for port in http_ports(body)
        }
        world = IstioWorld(gateways, self._find_service, self._values(DESTINATION_RULES))
        for body in self._values(VIRTUAL_SERVICES):
            for port, entry in read_virtual_service(body, world):
                entries[port].append(entry)
        return entries

    def _assign_addresses(self, ours: _Ours, istio_entries: Mapping[int, object]) -> set[Place]:
        """The places to listen at; every Gateway keeps its address as long as it lives."""
        for key in set(self._addresses) - set(ours.gateways):
            self._book.give_back(self._addresses.pop(key))
        for key in set(ours.gateways) - set(self._addresses):
            self._addresses[key] = self._book.take()
        self._istio_ports = set(istio_entries)
        if istio_entries and not self._istio_address:
            self._istio_address = self._book.take()
        places = {(self._addresses[key], port) for key, port in listener_ports(ours.listeners)}
        return places | {(self._istio_address, port) for port in istio_entries}

    def _build_table(self, ours: _Ours, istio_entries: Mapping[int, list[Entry]]) -> Table:
        listeners: dict[Place, tuple[ListenerTable, ...]] = {}
        for key, states in ours.listeners.items():
            by_port: dict[int, list[ListenerTable]] = {}
            for state in states:
                table = build_listener(state.spec.get("hostname", ""), state.entries)
                by_port.setdefault(int(state.spec["port"]), []).append(table)
            for port, tables in by_port.items():
                listeners[self._addresses[key], port] = rank_listeners(tables)
        for port, entries in istio_entries.items():
            listeners[self._istio_address, port] = (build_listener("", entries, is_host_final=True),)
        return Table(listeners)

    # -- reports ---------------------------------------------------------------------------------

    async def _report(
        self,
        ours: _Ours,
        readings: Sequence[tuple[Json, Sequence[ParentReading]]],
        errors: Mapping[Place, OSError],
    ) -> None:
        now = stamp()
        classes = select_classes(self._values(GATEWAY_CLASSES))
        for body in self._values(GATEWAY_CLASSES):
            if body["metadata"]["name"] in classes:
                await self._write(GATEWAY_CLASSES, body, class_status(body, now))
        for key, body in ours.gateways.items():
            address = self._addresses[key]
            own_errors = {
                port: _explain(place, port, error)
                for (place, port), error in errors.items()
                if place == address
            }
            status = gateway_status(body, ours.listeners[key], address, own_errors, now)
            await self._write(GATEWAYS, body, status)
        for route, parents in readings:
            wanted = [(reading.parent, reading.conditions) for reading in parents]
            entries = route_parents(route, wanted, now)
            if entries or route.get("status"):
                await self._write(HTTP_ROUTES, route, {**(route.get("status") or {}), "parents": entries})

    async def _write(self, resource: Resource, body: Json, status: Json) -> None:
        """Write a status that differs; the version that was read is the precondition."""
        if status == (body.get("status") or {}):
            return
        changed = await self._client.update(resource, {**body, "status": status}, "status")
        self._informers[resource].observe(changed)


def _explain(address: str, port: int, error: OSError) -> str:
    hint = "; ports below 1024 need a privilege" if isinstance(error, PermissionError) else ""
    return f"can't listen on {address}:{port}: {error.strerror}{hint}"


def _is_established(definition: Json) -> bool:
    conditions = (definition.get("status") or {}).get("conditions") or []
    return any(entry["type"] == "Established" and entry["status"] == "True" for entry in conditions)


def _service_of_slice(body: Json) -> list[str]:
    name = (body["metadata"].get("labels") or {}).get("kubernetes.io/service-name")
    return [f"{body['metadata']['namespace']}/{name}"] if name else []
