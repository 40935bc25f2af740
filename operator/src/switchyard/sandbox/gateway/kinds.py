"""The route kinds: how the API addresses them, their definitions, and how they get into a cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from switchyard.sandbox.client import CRDS, ApiClient, ApiError, Resource
from switchyard.sandbox.gateway import gateway_schemas, http_route_schema, istio_schemas
from switchyard.sandbox.gateway.schema_terms import Json, column

CONTROLLER_NAME = "switchyard.dev/sandbox-gateway"
CLASS_NAME = "switchyard-sandbox"

_GATEWAY_GROUP = "gateway.networking.k8s.io"
_ISTIO_GROUP = "networking.istio.io"
GATEWAY_CLASSES = Resource(_GATEWAY_GROUP, "v1", "gatewayclasses", "GatewayClass", is_namespaced=False)
GATEWAYS = Resource(_GATEWAY_GROUP, "v1", "gateways", "Gateway")
HTTP_ROUTES = Resource(_GATEWAY_GROUP, "v1", "httproutes", "HTTPRoute")
REFERENCE_GRANTS = Resource(_GATEWAY_GROUP, "v1beta1", "referencegrants", "ReferenceGrant")
ISTIO_GATEWAYS = Resource(_ISTIO_GROUP, "v1", "gateways", "Gateway")
VIRTUAL_SERVICES = Resource(_ISTIO_GROUP, "v1", "virtualservices", "VirtualService")
DESTINATION_RULES = Resource(_ISTIO_GROUP, "v1", "destinationrules", "DestinationRule")

GATEWAY_API = "gateway-api"
ISTIO = "istio"
FAMILIES: Mapping[str, tuple[Resource, ...]] = {
    GATEWAY_API: (GATEWAY_CLASSES, GATEWAYS, HTTP_ROUTES, REFERENCE_GRANTS),
    ISTIO: (ISTIO_GATEWAYS, VIRTUAL_SERVICES, DESTINATION_RULES),
}
_ESTABLISHING_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class _Shape:
    """What a definition says beside its names."""

    schema: Json
    columns: tuple[Json, ...] = ()
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    has_status: bool = True
    more_versions: tuple[str, ...] = ()  # served with the same schema, not stored


_AGE = column("Age", ".metadata.creationTimestamp", "date")
_PROGRAMMED = '.status.conditions[?(@.type=="Programmed")].status'
_ACCEPTED = '.status.conditions[?(@.type=="Accepted")].status'
_ISTIO_NAMES = ("istio-io", "networking-istio-io")
_SHAPES: Mapping[Resource, _Shape] = {
    GATEWAY_CLASSES: _Shape(
        gateway_schemas.GATEWAY_CLASS,
        (column("Controller", ".spec.controllerName"), column("Accepted", _ACCEPTED), _AGE),
        ("gc",),
        ("gateway-api",),
        more_versions=("v1beta1",),
    ),
    GATEWAYS: _Shape(
        gateway_schemas.GATEWAY,
        (
            column("Class", ".spec.gatewayClassName"),
            column("Address", ".status.addresses[*].value"),
            column("Programmed", _PROGRAMMED),
            _AGE,
        ),
        ("gtw",),
        ("gateway-api",),
        more_versions=("v1beta1",),
    ),
    HTTP_ROUTES: _Shape(
        http_route_schema.HTTP_ROUTE,
        (column("Hostnames", ".spec.hostnames"), _AGE),
        (),
        ("gateway-api",),
        more_versions=("v1beta1",),
    ),
    REFERENCE_GRANTS: _Shape(
        gateway_schemas.REFERENCE_GRANT,
        (_AGE,),
        ("refgrant",),
        ("gateway-api",),
        has_status=False,
        more_versions=("v1",),
    ),
    ISTIO_GATEWAYS: _Shape(istio_schemas.ISTIO_GATEWAY, (), ("gw",), _ISTIO_NAMES),
    VIRTUAL_SERVICES: _Shape(
        istio_schemas.VIRTUAL_SERVICE,
        (column("Gateways", ".spec.gateways"), column("Hosts", ".spec.hosts"), _AGE),
        ("vs",),
        _ISTIO_NAMES,
        more_versions=("v1beta1",),
    ),
    DESTINATION_RULES: _Shape(
        istio_schemas.DESTINATION_RULE,
        (column("Host", ".spec.host"), _AGE),
        ("dr",),
        _ISTIO_NAMES,
        more_versions=("v1beta1",),
    ),
}


def parse_families(text: str) -> tuple[str, ...]:
    """The families that a comma-separated list names, in a fixed order. ValueError for another name."""
    names = {name.strip() for name in text.split(",")} - {"", "none"}
    unknown = sorted(names - set(FAMILIES))
    if unknown:
        raise ValueError(f"no routing {unknown[0]!r}; known are {', '.join(FAMILIES)}")
    return tuple(name for name in FAMILIES if name in names)


def build_definitions(families: Sequence[str]) -> Iterator[Json]:
    """The CustomResourceDefinitions of these families."""
    for family in families:
        for resource in FAMILIES[family]:
            yield _definition(resource, _SHAPES[resource])


def _definition(resource: Resource, shape: _Shape) -> Json:
    versions = [_version(resource.version, shape, is_stored=True)]
    versions += [_version(name, shape, is_stored=False) for name in shape.more_versions]
    annotations: dict[str, str] = {}
    if resource.group == _GATEWAY_GROUP:
        # *.k8s.io groups are protected: the API server wants to know who approved the definition.
        annotations["api-approved.kubernetes.io"] = "https://github.com/kubernetes-sigs/gateway-api"
        annotations["gateway.networking.k8s.io/channel"] = "standard"
    return {
        "apiVersion": CRDS.api_version,
        "kind": CRDS.kind,
        "metadata": {"name": f"{resource.plural}.{resource.group}", "annotations": annotations},
        "spec": {
            "group": resource.group,
            "scope": "Namespaced" if resource.is_namespaced else "Cluster",
            "names": {
                "plural": resource.plural,
                "singular": resource.kind.lower(),
                "kind": resource.kind,
                "listKind": f"{resource.kind}List",
                **({"shortNames": list(shape.short_names)} if shape.short_names else {}),
                "categories": list(shape.categories),
            },
            "versions": versions,
        },
    }


def _version(name: str, shape: _Shape, *, is_stored: bool) -> Json:
    head = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"}}
    schema = {**shape.schema, "properties": head | shape.schema["properties"]}
    version: dict[str, Any] = {
        "name": name,
        "served": True,
        "storage": is_stored,
        "schema": {"openAPIV3Schema": schema},
    }
    if shape.columns:
        version["additionalPrinterColumns"] = list(shape.columns)
    if shape.has_status:
        version["subresources"] = {"status": {}}
    return version


async def install(client: ApiClient, families: Sequence[str]) -> None:
    """Create the kinds that are missing, wait until they are served, and create the GatewayClass.

    Kinds that are there already, upstream's own among them, stay as they are. TimeoutError when one is not
    served in time.
    """
    for body in build_definitions(families):
        await _create(client, CRDS, body)
    async with asyncio.timeout(_ESTABLISHING_SECONDS):
        for family in families:
            for resource in FAMILIES[family]:
                while not await is_served(client, resource):  # noqa: ASYNC110  (the server has no event)
                    await asyncio.sleep(0.02)
    if GATEWAY_API in families:
        meta = {"name": CLASS_NAME}
        spec = {"controllerName": CONTROLLER_NAME, "description": "Real HTTP on loopback"}
        body = {"apiVersion": GATEWAY_CLASSES.api_version, "kind": GATEWAY_CLASSES.kind, "metadata": meta}
        await _create(client, GATEWAY_CLASSES, {**body, "spec": spec})


async def is_served(client: ApiClient, resource: Resource) -> bool:
    """Whether the API server serves a kind."""
    try:
        await client.list(resource, params={"limit": "1"})
    except ApiError as error:
        if not error.is_not_found:
            raise
        return False
    return True


async def _create(client: ApiClient, resource: Resource, body: Json) -> None:
    try:
        await client.create(resource, "", body)
    except ApiError as error:
        if error.reason != "AlreadyExists":
            raise
