"""A sandbox's API server with a workload of two tracks and its route, and what stands in for a comparator."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tests.shipped_kinds import read_definitions

from switchyard.adapters.cluster import APPLY_PATCH
from switchyard.adapters.connection import Connection, connect
from switchyard.adapters.projection import project_workload
from switchyard.adapters.resources import HTTP_ROUTES, SERVICES, VIRTUAL_SERVICES, WORKLOADS, Resource
from switchyard.adapters.routing.held_route import HeldRoute
from switchyard.adapters.routing.reachable import ENDPOINT_SLICES
from switchyard.adapters.routing.route_form import MirrorState
from switchyard.api.labels import TRAFFIC_HELD_BY
from switchyard.core.exposure import build_routes
from switchyard.core.holding import find_holder
from switchyard.core.routing.document import Match, Segment
from switchyard.core.routing.plan import Target, TrafficPlan
from switchyard.core.routing.samples import Samples
from switchyard.core.world import Workload
from switchyard.engine.ports import Failed
from switchyard.engine.routing import Applied, RouteResult
from switchyard.sandbox.client import ApiError
from switchyard.sandbox.handle import Sandbox

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
BASELINE, CANDIDATE, COMPARATOR = "chat-gpu", "chat-inf2", "chat-comparator"
HOLDER = "move-chat"
PLACEMENT, CUTOVER = "switchyard-placement", "switchyard-cutover"

DEFAULT = Segment(name="default")
BATCH = Segment(name="batch", match=Match(tier="batch"))

Json = dict[str, Any]


@dataclass
class FakeComparator:
    """Takes no copies, but says what it was asked."""

    state: MirrorState = field(default_factory=MirrorState)
    answer: RouteResult = field(default_factory=Applied)
    applied: list[TrafficPlan] = field(default_factory=list)
    is_there: bool = False

    def target(self, plan: TrafficPlan) -> Target:
        return Target(f"{plan.workload}-comparator", 8080)

    async def apply(self, plan: TrafficPlan) -> RouteResult:
        self.applied.append(plan)
        self.is_there = True
        return self.answer

    async def observe(self, plan: TrafficPlan) -> MirrorState:
        return replace(self.state, version=self.applied[-1].version if self.applied else None)

    async def remove(self, plan: TrafficPlan) -> RouteResult:
        self.is_there = False
        return Applied()

    async def read_samples(self, plan: TrafficPlan) -> tuple[Samples, ...] | Failed:
        return (Samples(epoch="0" * 16, version=plan.version),)


@dataclass
class Rig:
    """One workload, shop/chat, in a sandbox without controllers: what they do is done by hand."""

    sandbox: Sandbox
    connection: Connection
    workload: Workload
    resource: Resource
    comparator: FakeComparator = field(default_factory=FakeComparator)

    def plan(self, version: int = 1, *segments: Segment, **changes: Any) -> TrafficPlan:
        made = TrafficPlan(
            namespace="shop",
            workload="chat",
            workload_uid=self.workload.meta.uid,
            holder=HOLDER,
            version=version,
            baseline=Target(BASELINE, 8000),
            candidate=Target(CANDIDATE, 8000),
            segments=segments or (DEFAULT,),
        )
        return replace(made, **changes)

    def router(self, kind: type[HeldRoute]) -> HeldRoute:
        return kind(self.connection, self.comparator)  # type: ignore[call-arg]

    async def route(self) -> Json:
        return await self.sandbox.client.request("GET", self.resource.path("shop", "chat"))

    async def rules(self) -> list[Json]:
        return list((await self.route())["spec"]["rules" if self.resource is HTTP_ROUTES else "http"])

    async def marks(self) -> dict[str, str]:
        annotations = (await self.route())["metadata"].get("annotations") or {}
        return {key: value for key, value in annotations.items() if "/traffic-" in key}

    async def apply(self, body: Json, manager: str = PLACEMENT) -> Json:
        """Server-side apply with force."""
        metadata = body["metadata"]
        resource = {each.kind: each for each in (HTTP_ROUTES, VIRTUAL_SERVICES, SERVICES)}[body["kind"]]
        return await self.sandbox.client.request(
            "PATCH",
            resource.path(metadata["namespace"], metadata["name"]),
            params={"fieldManager": manager, "force": "true"},
            body=body,
            content_type=APPLY_PATCH,
        )

    async def placement_passes(self) -> None:
        """What placement writes, with or without the rules."""
        try:
            is_held = bool(find_holder(await self.route()))
        except ApiError:
            is_held = False
        for body in build_routes(self.workload, is_held=is_held):
            await self.apply(body)

    async def edit_route(self, change: Callable[[Json], None], manager: str = "kubectl-edit") -> None:
        """An update by somebody else."""
        body = copy.deepcopy(await self.route())
        change(body)
        path = self.resource.path("shop", "chat")
        await self.sandbox.client.request("PUT", path, params={"fieldManager": manager}, body=body)

    async def answer_as_gateway(self, **conditions: tuple[str, str]) -> None:
        """The gateway's controller reports on the route as it is now: type=(status, message)."""
        route = await self.route()
        told = {"Accepted": ("True", ""), "ResolvedRefs": ("True", ""), **conditions}
        parents = [
            {
                "parentRef": parent,
                "controllerName": "example.com/gateway",
                "conditions": [
                    {
                        "type": kind,
                        "status": status,
                        "reason": kind,
                        "message": message,
                        "observedGeneration": route["metadata"]["generation"],
                        "lastTransitionTime": "2026-01-01T00:00:00Z",
                    }
                    for kind, (status, message) in told.items()
                ],
            }
            for parent in route["spec"]["parentRefs"]
        ]
        await self.write_status({"parents": parents})

    async def write_status(self, status: Json) -> None:
        route = await self.route()
        path = self.resource.path("shop", "chat", "status")
        params = {"fieldManager": "gateway"}
        await self.sandbox.client.request("PUT", path, params=params, body={**route, "status": status})

    async def set_ready(self, service: str, count: int) -> None:
        """The endpoints behind a Service: so many ready ones and one that is not."""
        endpoints = [
            {"addresses": [f"10.0.0.{index + 1}"], "conditions": {"ready": index < count}}
            for index in range(count + 1)
        ]
        body = {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": f"{service}-1",
                "namespace": "shop",
                "labels": {"kubernetes.io/service-name": service},
            },
            "addressType": "IPv4",
            "endpoints": endpoints,
            "ports": [{"port": 8000}],
        }
        await self.sandbox.client.request(
            "PATCH",
            ENDPOINT_SLICES.path("shop", f"{service}-1"),
            params={"fieldManager": "endpoints", "force": "true"},
            body=body,
            content_type=APPLY_PATCH,
        )

    async def stable_track(self) -> tuple[str, str]:
        """The track that the stable Service selects, and who holds it."""
        body = await self.sandbox.client.request("GET", SERVICES.path("shop", "chat"))
        return body["spec"]["selector"]["track"], find_holder(body)


def with_rig(exposure: Mapping[str, Any], scenario: Callable[[Rig], Coroutine[Any, Any, None]]) -> None:
    """Run a scenario with a workload that is exposed and placed on its baseline, both tracks ready."""

    async def main() -> None:
        async with Sandbox(fleet=None, controllers=False, routing=("gateway-api", "istio")) as sandbox:
            client = sandbox.client
            for document in read_definitions():
                await client.request("POST", CRDS, body=document)
            await client.request("POST", "/api/v1/namespaces", body={"metadata": {"name": "shop"}})
            workload = await make_workload(sandbox, exposure)
            connection = await connect(str(sandbox.kubeconfig_path))
            resource = HTTP_ROUTES if "gateway" in exposure else VIRTUAL_SERVICES
            rig = Rig(sandbox, connection, workload, resource)
            for name, track in (("chat", BASELINE), (BASELINE, BASELINE), (CANDIDATE, CANDIDATE)):
                await rig.apply(service(name, track))
                await rig.set_ready(name, 1)
            await rig.placement_passes()
            try:
                await scenario(rig)
            finally:
                await connection.close()

    asyncio.run(main())


async def make_workload(sandbox: Sandbox, exposure: Mapping[str, Any]) -> Workload:
    body = {
        "apiVersion": WORKLOADS.api_version,
        "kind": WORKLOADS.kind,
        "metadata": {"name": "chat", "namespace": "shop"},
        "spec": {
            "model": {"name": "chat"},
            "port": 8000,
            "exposure": exposure,
            "demand": {"requestsPerSecond": "1"},
            "variants": [{"name": "gpu", "accelerators": ["nvidia-l4"], "container": {"image": "chat:1"}}],
        },
    }
    made = await sandbox.client.request("POST", WORKLOADS.path("shop"), body=body)
    workload = project_workload(made)
    assert isinstance(workload, Workload), workload
    return workload


def service(name: str, track: str) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {
            "selector": {"track": track},
            "ports": [{"name": "http", "port": 8000, "targetPort": 8000, "protocol": "TCP"}],
        },
    }


HELD = {TRAFFIC_HELD_BY: HOLDER}
