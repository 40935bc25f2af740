"""Which Services have somebody behind them that answers: read from their EndpointSlices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from switchyard.adapters.connection import Answer, Connection, refusal_of
from switchyard.adapters.resources import Resource
from switchyard.engine.ports import Conflict, Denied, Failed

ENDPOINT_SLICES = Resource("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice")
_SERVICE_NAME = "kubernetes.io/service-name"


async def count_ready_endpoints(
    connection: Connection, namespace: str, service: str
) -> int | Conflict | Denied | Failed:
    """How many endpoints of the Service take new requests."""
    found = await _list_ready_endpoints(connection, namespace, service)
    return len(found) if isinstance(found, list) else found


async def find_ready_addresses(
    connection: Connection, namespace: str, service: str
) -> frozenset[str] | Conflict | Denied | Failed:
    """The addresses of the endpoints of the Service that take new requests."""
    found = await _list_ready_endpoints(connection, namespace, service)
    if not isinstance(found, list):
        return found
    return frozenset(str(address) for each in found for address in each.get("addresses") or ())


async def _list_ready_endpoints(
    connection: Connection, namespace: str, service: str
) -> list[Mapping[str, Any]] | Conflict | Denied | Failed:
    answer = await connection.request(
        "GET",
        ENDPOINT_SLICES.path(namespace),
        query={"labelSelector": f"{_SERVICE_NAME}={service}"},
    )
    if not isinstance(answer, Answer):
        return answer
    if not answer.is_success:
        return refusal_of(answer)
    pieces = answer.body.get("items") or ()
    return [each for piece in pieces for each in _endpoints(piece) if _takes_requests(each)]


def _endpoints(piece: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list(piece.get("endpoints") or ())


def _takes_requests(endpoint: Mapping[str, Any]) -> bool:
    # discovery.k8s.io/v1, EndpointConditions.ready: no value is to be read as true
    conditions = endpoint.get("conditions") or {}
    return conditions.get("ready") is not False
