"""VirtualServices that are bound to an Istio Gateway, read into entries of the table: pure.

Source: networking.istio.io/v1 VirtualService. Routes are tried in their order, the first that matches wins;
mirrored copies carry a host that ends in `-shadow`, as Envoy marks them. Routes for the mesh (a
VirtualService without `gateways`) have no effect here: there are no sidecars.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from switchyard.sandbox.client import Json
from switchyard.sandbox.cluster.informer import Key, key_of
from switchyard.sandbox.gateway.http_routes import parse_duration_seconds
from switchyard.sandbox.gateway.table import (
    Backend,
    Entry,
    HeaderChanges,
    Mirror,
    PathKind,
    PatternError,
    RequestTest,
    Rule,
    Target,
    TextTest,
    intersect,
    text_test,
)

SHADOW_SUFFIX = "-shadow"
# What changes where a request goes or what comes back, and is not simulated.
_NOT_HONOURED = ("redirect", "directResponse", "delegate", "rewrite", "fault")


@dataclass(frozen=True, slots=True)
class IstioWorld:
    """The objects that VirtualServices refer to."""

    gateways: Mapping[Key, Json]
    find_service: Callable[[str, str], Json | None]
    destination_rules: Sequence[Json]


def http_ports(gateway: Json) -> set[int]:
    """The ports on which an Istio Gateway wants plain HTTP."""
    return {
        int(server["port"]["number"])
        for server in gateway["spec"].get("servers") or []
        if str(server["port"].get("protocol", "")).upper() in {"HTTP", "HTTP2"}
    }


def read_virtual_service(body: Json, world: IstioWorld) -> Iterator[tuple[int, Entry]]:
    """(port, entry) for each host and port that its gateways open to it."""
    namespace = body["metadata"]["namespace"]
    age = (body["metadata"].get("creationTimestamp", ""), "/".join(key_of(body)))
    reader = _Reader(body, world)
    for gateway_name in body["spec"].get("gateways") or []:
        key = _gateway_key(gateway_name, namespace)
        gateway = world.gateways.get(key)
        for port, hostname in _find_hosts(gateway, namespace, body["spec"].get("hosts") or []):
            for index, route in enumerate(body["spec"].get("http") or []):
                for test in reader.read_tests(route, port, key):
                    yield port, Entry(hostname, test, reader.read_rule(route, index), (*age, index))


def _gateway_key(name: str, namespace: str) -> Key:
    head, slash, tail = name.partition("/")
    return (head, tail) if slash else (namespace, name)


def _find_hosts(gateway: Json | None, namespace: str, hosts: Sequence[str]) -> Iterator[tuple[int, str]]:
    """(port, host) for each host that a server of the gateway takes from this namespace."""
    for server in (gateway or {"spec": {}})["spec"].get("servers") or []:
        port = int(server["port"]["number"])
        if gateway is None or port not in http_ports(gateway):
            continue
        found: set[str] = set()
        for pattern in server.get("hosts") or []:
            place, slash, name = pattern.rpartition("/")
            if (
                slash
                and place not in ("*", namespace)
                and not (place == "." and gateway["metadata"]["namespace"] == namespace)
            ):
                continue
            found |= {host for wanted in hosts if (host := intersect(name, wanted)) is not None}
        for host in sorted(found):
            yield port, "" if host == "*" else host


class _Reader:
    """Reads the routes of one VirtualService."""

    def __init__(self, body: Json, world: IstioWorld) -> None:
        self._namespace: str = body["metadata"]["namespace"]
        self._name: str = body["metadata"]["name"]
        self._world = world

    def read_tests(self, route: Json, port: int, gateway: Key) -> Iterator[RequestTest]:
        """The tests of which a request must pass one; those for another port or gateway are left out."""
        matches = route.get("match") or [{}]
        for match in matches:
            if match.get("port") not in (None, 0, port):
                continue
            gateways = [_gateway_key(name, self._namespace) for name in match.get("gateways") or []]
            if (gateways and gateway not in gateways) or match.get("sourceLabels"):
                continue
            ignores_case = bool(match.get("ignoreUriCase"))
            try:
                yield RequestTest(
                    path=_read_test(match.get("uri"), ignores_case=ignores_case),
                    method=_read_test(match.get("method")),
                    authority=_read_test(match.get("authority")),
                    headers=_read_table(match.get("headers"), is_lower=True),
                    missing_headers=_read_table(match.get("withoutHeaders"), is_lower=True),
                    queries=_read_table(match.get("queryParams"), is_lower=False),
                )
            except PatternError:
                continue  # Istio's own validation refuses such an object

    def read_rule(self, route: Json, index: int) -> Rule:
        """The rule of a route; one that needs what is not honoured here has no backend and answers 500."""
        headers = route.get("headers") or {}
        is_honoured = not any(route.get(field) for field in _NOT_HONOURED)
        return Rule(
            name=f"VirtualService {self._namespace}/{self._name} {route.get('name') or index}",
            backends=tuple(self._read_backends(route.get("route") or [])) if is_honoured else (),
            mirrors=tuple(self._read_mirrors(route)),
            request_changes=_read_operations(headers.get("request")),
            response_changes=_read_operations(headers.get("response")),
            request_timeout_seconds=parse_duration_seconds(route.get("timeout") or "") or None,
        )

    def _read_backends(self, destinations: list[Json]) -> Iterator[Backend]:
        for entry in destinations:
            target = self._resolve(entry["destination"])
            headers = entry.get("headers") or {}
            yield Backend(
                name=target.name if target else str(entry["destination"]["host"]),
                target=target,
                # A lone destination takes everything, whatever its weight says.
                weight=1 if len(destinations) == 1 else int(entry.get("weight") or 0),
                request_changes=_read_operations(headers.get("request")),
                response_changes=_read_operations(headers.get("response")),
                status_without_target=503,  # Envoy's answer for a cluster that it does not know
            )

    def _read_mirrors(self, route: Json) -> Iterator[Mirror]:
        if route.get("mirror"):
            share = route.get("mirrorPercentage")
            percent = share.get("value", 0) if share is not None else route.get("mirrorPercent")
            yield from self._read_mirror(route["mirror"], 100 if percent is None else percent)
        for entry in route.get("mirrors") or []:
            share = entry.get("percentage")
            yield from self._read_mirror(
                entry["destination"], 100 if share is None else share.get("value", 0)
            )

    def _read_mirror(self, destination: Json, percent: float) -> Iterator[Mirror]:
        target = self._resolve(destination)
        if target is not None:
            yield Mirror(target, percent, 100, SHADOW_SUFFIX)

    def _resolve(self, destination: Json) -> Target | None:
        """The Service port of a destination, None when there is no such Service, port or subset."""
        parts = str(destination["host"]).split(".")
        namespace = parts[1] if len(parts) > 1 else self._namespace
        if parts[2:] not in ([], ["svc"], ["svc", "cluster", "local"]):
            return None
        service = self._world.find_service(namespace, parts[0])
        if service is None:
            return None
        ports = [int(entry["port"]) for entry in service["spec"].get("ports") or []]
        port = (destination.get("port") or {}).get("number") or (ports[0] if len(ports) == 1 else 0)
        if port not in ports:
            return None
        if not destination.get("subset"):
            return Target(namespace, parts[0], port)
        labels = self._find_subset(namespace, parts[0], destination["subset"])
        return None if labels is None else Target(namespace, parts[0], port, labels)

    def _find_subset(self, namespace: str, service: str, name: str) -> tuple[tuple[str, str], ...] | None:
        names = {f"{service}.{namespace}", f"{service}.{namespace}.svc"}
        names.add(f"{service}.{namespace}.svc.cluster.local")
        for rule in self._world.destination_rules:
            is_near = rule["metadata"]["namespace"] == namespace and rule["spec"]["host"] == service
            if not is_near and rule["spec"]["host"] not in names:
                continue
            for subset in rule["spec"].get("subsets") or []:
                if subset["name"] == name:
                    return tuple(sorted((subset.get("labels") or {}).items()))
        return None


def _read_test(match: Json | None, *, ignores_case: bool = False) -> TextTest | None:
    kinds: tuple[PathKind, ...] = ("exact", "prefix", "regex")
    for kind in kinds:
        if match and kind in match:
            return text_test(kind, match[kind], ignores_case=ignores_case)
    return None


def _read_table(matches: Mapping[str, Any] | None, *, is_lower: bool) -> tuple[tuple[str, TextTest], ...]:
    """Tests by name; an empty match asks only that the name is there."""
    return tuple(
        (name.lower() if is_lower else name, _read_test(match) or text_test("prefix", ""))
        for name, match in (matches or {}).items()
    )


def _read_operations(body: Json | None) -> HeaderChanges:
    body = body or {}
    return HeaderChanges(
        remove=tuple(body.get("remove") or ()),
        set=tuple((body.get("set") or {}).items()),
        add=tuple((body.get("add") or {}).items()),
    )
