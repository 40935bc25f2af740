"""Objects of one workload's traffic on the API server: read, applied and deleted as the cutover side does it.

What stands in the way ends the whole call: it is raised as `Halt` and becomes the call's result.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from switchyard.adapters.cluster import APPLY_PATCH
from switchyard.adapters.connection import Answer, Connection, refusal_of
from switchyard.adapters.projection import controller_uid
from switchyard.adapters.resources import DEPLOYMENTS, PODS, SERVICES, Resource
from switchyard.adapters.routing.ownership import CUTOVER_MANAGER
from switchyard.adapters.routing.reachable import find_ready_addresses
from switchyard.api.labels import MANAGED_BY, MANAGER
from switchyard.core.routing.plan import TrafficPlan
from switchyard.engine.ports import Denied, Failed
from switchyard.engine.routing import Applied, RouteResult

CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap")
_BY_KIND = {each.kind: each for each in (CONFIG_MAPS, DEPLOYMENTS, SERVICES)}

Json = Mapping[str, Any]


class Halt(Exception):  # noqa: N818 - the end of a call, expected as often as not
    """The call ends here with this result."""

    def __init__(self, result: RouteResult) -> None:
        super().__init__(result)
        self.result = result

    @property
    def message(self) -> str:
        """Why, in a sentence."""
        return self.result.waiting_for if isinstance(self.result, Applied) else self.result.message


@dataclass(frozen=True, slots=True)
class ObjectsAccess:
    """Reads are of the API server itself, never of a cache: each call goes on from what is really there."""

    connection: Connection

    async def find(self, resource: Resource, namespace: str, name: str) -> Json | None:
        """The object; None when there is none. Raises Halt."""
        answer = await self.connection.request("GET", resource.path(namespace, name))
        if isinstance(answer, Answer) and answer.status == 404:
            return None
        return _body_of(answer)

    async def find_own(self, resource: Resource, plan: TrafficPlan, name: str) -> Json | None:
        """The object that we made for the plan's workload; None when there is none.

        Raises Halt with Denied where the name is somebody else's.
        """
        found = await self.find(resource, plan.namespace, name)
        if found is None or _is_own(found, plan):
            return found
        raise Halt(
            Denied(
                409,
                f"{resource.kind} {plan.namespace}/{name} exists and is not that of InferenceWorkload "
                f"{plan.namespace}/{plan.workload}; rename or delete it, or rename the workload",
                is_name_taken=True,
            )
        )

    async def list_pods(self, namespace: str, selector: Mapping[str, str]) -> list[Json]:
        """The pods with these labels. Raises Halt."""
        text = ",".join(f"{key}={value}" for key, value in selector.items())
        answer = await self.connection.request("GET", PODS.path(namespace), query={"labelSelector": text})
        return list(_body_of(answer).get("items") or ())

    async def find_endpoints(self, namespace: str, service: str) -> frozenset[str]:
        """The addresses behind a Service that take new requests. Raises Halt."""
        found = await find_ready_addresses(self.connection, namespace, service)
        if not isinstance(found, frozenset):
            raise Halt(found)
        return found

    async def apply(self, body: Json, found: Json | None, *, is_version_locked: bool = False) -> Json:
        """`body` applied to exactly the object that was found, or made where none was. Raises Halt.

        Without force where none was found: what came in between is not taken from whom it belongs to.
        `is_version_locked`: a Conflict where anything has written the object since.
        """
        resource, metadata = _BY_KIND[str(body["kind"])], dict(body["metadata"])
        if found is not None:
            metadata["uid"] = found["metadata"]["uid"]
            if is_version_locked:
                metadata["resourceVersion"] = found["metadata"]["resourceVersion"]
        answer = await self.connection.request(
            "PATCH",
            resource.path(metadata["namespace"], metadata["name"]),
            query={"fieldManager": CUTOVER_MANAGER, "force": "false" if found is None else "true"},
            body={**body, "metadata": metadata},
            content_type=APPLY_PATCH,
        )
        return _body_of(answer)

    async def delete(self, resource: Resource, found: Json, *, is_version_locked: bool = False) -> None:
        """Delete exactly this object, and in the background what it owns. Raises Halt.

        `is_version_locked`: a Conflict where anything has written the object since.
        """
        metadata = found["metadata"]
        locks = ("uid", "resourceVersion") if is_version_locked else ("uid",)
        answer = await self.connection.request(
            "DELETE",
            resource.path(metadata["namespace"], metadata["name"]),
            body={
                "apiVersion": "v1",
                "kind": "DeleteOptions",
                "propagationPolicy": "Background",
                "preconditions": {key: metadata[key] for key in locks},
            },
        )
        if not (isinstance(answer, Answer) and answer.status == 404):
            _body_of(answer)


def _body_of(answer: Answer | Failed) -> Json:
    if not isinstance(answer, Answer):
        raise Halt(answer)
    if not answer.is_success:
        raise Halt(refusal_of(answer))
    return answer.body


def _is_own(found: Json, plan: TrafficPlan) -> bool:
    marks = found["metadata"].get("labels") or {}
    return marks.get(MANAGED_BY) == MANAGER and controller_uid(found) == plan.workload_uid
