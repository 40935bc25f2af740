"""The leader's Lease on an API server: read, create, replace, locked by its resourceVersion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from switchyard.adapters.connection import Answer, Connection, refusal_of
from switchyard.adapters.resources import LEASES
from switchyard.engine.leader import Absent, LeaseRecord
from switchyard.engine.ports import Conflict, Denied, Failed


@dataclass(frozen=True, slots=True)
class KubernetesLease:
    """`timeout_seconds` must leave room for another try within the renew deadline."""

    connection: Connection
    namespace: str
    name: str
    timeout_seconds: float = 4.0

    async def read(self) -> LeaseRecord | Absent | Denied | Failed:
        answer = await self._request("GET", LEASES.path(self.namespace, self.name))
        if isinstance(answer, Answer) and answer.status == 404:
            return Absent()
        record = _record_or_refusal(answer)
        return Failed(record.message) if isinstance(record, Conflict) else record

    async def create(self, record: LeaseRecord) -> LeaseRecord | Conflict | Denied | Failed:
        body = self._body(record)
        return _record_or_refusal(await self._request("POST", LEASES.path(self.namespace), body))

    async def replace(self, record: LeaseRecord) -> LeaseRecord | Conflict | Denied | Failed:
        body = self._body(record)
        answer = await self._request("PUT", LEASES.path(self.namespace, self.name), body)
        if isinstance(answer, Answer) and answer.status == 404:
            return Conflict("the lease was deleted")
        return _record_or_refusal(answer)

    async def _request(self, method: str, path: str, body: Any = None) -> Answer | Failed:
        return await self.connection.request(method, path, body=body, timeout_seconds=self.timeout_seconds)

    def _body(self, record: LeaseRecord) -> dict[str, Any]:
        metadata = {"name": self.name, "namespace": self.namespace}
        if record.resource_version:
            metadata["resourceVersion"] = record.resource_version
        return {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": metadata,
            "spec": {
                "holderIdentity": record.holder,
                "leaseDurationSeconds": record.duration_seconds,
                "acquireTime": _micro_time(record.acquired_at),
                "renewTime": _micro_time(record.renewed_at),
                "leaseTransitions": record.transitions,
            },
        }


def read_record(body: Mapping[str, Any]) -> LeaseRecord:
    """The record in a Lease object; what it lacks is taken as released."""
    spec = body.get("spec") or {}
    return LeaseRecord(
        holder=spec.get("holderIdentity") or "",
        duration_seconds=int(spec.get("leaseDurationSeconds") or 0),
        acquired_at=_time(spec.get("acquireTime")),
        renewed_at=_time(spec.get("renewTime")),
        transitions=int(spec.get("leaseTransitions") or 0),
        resource_version=body["metadata"]["resourceVersion"],
    )


def _record_or_refusal(answer: Answer | Failed) -> LeaseRecord | Conflict | Denied | Failed:
    if not isinstance(answer, Answer):
        return answer
    return read_record(answer.body) if answer.is_success else refusal_of(answer)


def _micro_time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _time(text: Any) -> datetime | None:
    return datetime.fromisoformat(text) if isinstance(text, str) else None
