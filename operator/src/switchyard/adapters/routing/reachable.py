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
    answer = await connection.request(
        "GET",
        ENDPOINT_SLICES.path(namespace),
        query={"labelSelector": f"{_SERVICE_NAME}={service}"},
    )
    if not isinstance(answer, Answer):
        return answer
    if not answer.is_success:
        return refusal_of(answer)
    return sum(
        _takes_requests(each) for piece in answer.body.get("items") or () for each in _endpoints(piece)
    )


def _endpoints(piece: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list(piece.get("endpoints") or ())


def _takes_requests(endpoint: Mapping[str, Any]) -> bool:
    # discovery.k8s.io/v1, EndpointConditions.ready: no value is to be read as true
    conditions = endpoint.get("conditions") or {}
    return conditions.get("ready") is not False
