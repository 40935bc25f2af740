"""A workload of two tracks on a sandbox's API server, and real routers where its pods would be.

No controllers run: what they do is done by `settle`, so that a test sees every state in between.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import itertools
import random
import socket
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tests.shipped_kinds import read_definitions

from switchyard.adapters.cluster import APPLY_PATCH
from switchyard.adapters.connection import Connection, connect
from switchyard.adapters.projection import project_workload
from switchyard.adapters.resources import DEPLOYMENTS, PODS, SERVICES, WORKLOADS, Resource
from switchyard.adapters.routing.builtin import BuiltinRouter
from switchyard.adapters.routing.objects_access import CONFIG_MAPS
from switchyard.adapters.routing.reachable import ENDPOINT_SLICES
from switchyard.adapters.routing.router_key import KEY_SECRET, SECRETS, RouterKey
from switchyard.core.desired import Track, build_stable_service, build_track_service
from switchyard.core.holding import PLACEMENT, find_holder
from switchyard.core.routing.document import Match, RoutingDocument, Segment, parse_routing_document
from switchyard.core.routing.plan import Target, TrafficPlan
from switchyard.core.routing.router_objects import DOCUMENT_KEY, RouterForm, select_routers
from switchyard.core.world import Workload
from switchyard.dataplane.control.service import RunningRouter
from switchyard.dataplane.router import start_router
from switchyard.engine.routing import Applied, RouteResult
from switchyard.sandbox.client import ApiError
from switchyard.sandbox.handle import Sandbox

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
BASELINE, CANDIDATE, ROUTER = "chat-gpu-l4", "chat-inf2-trn", "chat-router"
HOLDER, OPERATOR_NAMESPACE = "move-chat", "switchyard-system"
PORT = 8000
DEFAULT = Segment(name="default")
BATCH = Segment(name="batch", match=Match(tier="batch"))

Json = dict[str, Any]


def rest(candidate: float = 0, shadow: float = 0) -> Segment:
    return DEFAULT.model_copy(update={"candidate_percent": candidate, "shadow_percent": shadow})


def batch(candidate: float = 0, shadow: float = 0) -> Segment:
    return BATCH.model_copy(update={"candidate_percent": candidate, "shadow_percent": shadow})


@dataclass
class Rig:
    """One workload, shop/chat, and its cutover side."""

    sandbox: Sandbox
    connection: Connection
    workload: Workload
    admin_port: int
    routers: dict[str, RunningRouter] = field(default_factory=dict)  # by pod
    endpoints: dict[str, int] = field(default_factory=lambda: {BASELINE: 1, CANDIDATE: 1})
    _octets: Any = field(default_factory=lambda: itertools.count(1))
    _net: str = field(default_factory=lambda: f"127.{random.randint(100, 250)}.{random.randint(1, 250)}")

    @property
    def form(self) -> RouterForm:
        return RouterForm("switchyard:test", admin_port=self.admin_port)

    def adapter(self, connection: Any = None, **form: Any) -> BuiltinRouter:
        """The adapter as a process that has just started has it."""
        chosen = connection or self.connection
        return BuiltinRouter(chosen, RouterKey(chosen, OPERATOR_NAMESPACE), replace(self.form, **form))

    def plan(self, version: int = 1, *segments: Segment, **changes: Any) -> TrafficPlan:
        made = TrafficPlan(
            namespace="shop",
            workload="chat",
            workload_uid=self.workload.meta.uid,
            holder=HOLDER,
            version=version,
            baseline=Target(BASELINE, PORT),
            candidate=Target(CANDIDATE, PORT),
            segments=segments or (DEFAULT,),
        )
        return replace(made, **changes)

    # -- objects ---------------------------------------------------------------------------------

    async def find(self, resource: Resource, name: str, namespace: str = "shop") -> Json | None:
        try:
            return await self.sandbox.client.request("GET", resource.path(namespace, name))
        except ApiError as error:
            if error.is_not_found:
                return None
            raise

    async def get(self, resource: Resource, name: str) -> Json:
        found = await self.find(resource, name)
        assert found is not None, f"{resource.kind} {name} is absent"
        return found

    async def apply(self, body: Json, manager: str = PLACEMENT) -> Json:
        """Server-side apply with force."""
        kinds = {each.kind: each for each in (SERVICES, CONFIG_MAPS, DEPLOYMENTS, ENDPOINT_SLICES)}
        metadata = body["metadata"]
        return await self.sandbox.client.request(
            "PATCH",
            kinds[body["kind"]].path(metadata["namespace"], metadata["name"]),
            params={"fieldManager": manager, "force": "true"},
            body=body,
            content_type=APPLY_PATCH,
        )

    async def edit(self, resource: Resource, name: str, change: Callable[[Json], Any]) -> None:
        """An update by somebody else."""
        body = copy.deepcopy(await self.get(resource, name))
        change(body)
        path = resource.path("shop", name)
        await self.sandbox.client.request("PUT", path, params={"fieldManager": "kubectl-edit"}, body=body)

    async def delete(self, resource: Resource, name: str) -> None:
        await self.sandbox.client.request("DELETE", resource.path("shop", name))

    async def stable(self) -> tuple[dict[str, str], str]:
        """What the stable Service selects, and who holds it."""
        body = await self.get(SERVICES, "chat")
        return body["spec"]["selector"], find_holder(body)

    async def points_to(self) -> str:
        """The track that the stable Service selects, or that it selects the routers."""
        selector, _ = await self.stable()
        return ROUTER if selector == select_routers("chat") else selector["switchyard.dev/track"]

    async def document(self) -> RoutingDocument:
        """What routers are told to read."""
        return parse_routing_document((await self.get(CONFIG_MAPS, ROUTER))["data"][DOCUMENT_KEY])

    async def left(self) -> list[str]:
        """Which router objects there are."""
        found = [(each, await self.find(each, ROUTER)) for each in (CONFIG_MAPS, DEPLOYMENTS, SERVICES)]
        return [resource.kind for resource, body in found if body is not None]

    async def placement_passes(self) -> None:
        """What placement applies: the stable Service, without its selector where somebody holds it."""
        found = await self.find(SERVICES, "chat")
        is_held = bool(found and find_holder(found))
        await self.apply(build_stable_service(self.workload, BASELINE, is_held=is_held))

    # -- what controllers and nodes do -----------------------------------------------------------

    async def settle(self) -> None:
        """Pods follow the Deployment, endpoints follow the Services."""
        deployment = await self.find(DEPLOYMENTS, ROUTER)
        wanted = int(deployment["spec"]["replicas"]) if deployment else 0
        while len(self.routers) < wanted:
            assert deployment is not None
            await self._start_pod(deployment)
        while len(self.routers) > wanted:
            await self.kill_pod(next(iter(self.routers)))
        await self.follow()

    async def follow(self) -> None:
        """Endpoints follow the Services."""
        addresses = {
            track: [f"10.{index}.0.{number + 1}" for number in range(self.endpoints[track])]
            for index, track in enumerate((BASELINE, CANDIDATE), 1)
        }
        pods = (await self.sandbox.client.request("GET", PODS.path("shop")))["items"]
        addresses[ROUTER] = [
            each["status"]["podIP"]
            for each in pods
            if {"type": "Ready", "status": "True"}.items() <= each["status"]["conditions"][0].items()
        ]
        for service, shown in (
            (BASELINE, BASELINE),
            (CANDIDATE, CANDIDATE),
            ("chat", await self.points_to()),
        ):
            await self.place(service, addresses[shown])

    async def place(self, service: str, addresses: list[str]) -> None:
        """The endpoints behind a Service."""
        metadata = {
            "name": f"{service}-1",
            "namespace": "shop",
            "labels": {"kubernetes.io/service-name": service},
        }
        body = {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": metadata,
            "addressType": "IPv4",
            "endpoints": [{"addresses": [each], "conditions": {"ready": True}} for each in addresses],
            "ports": [{"name": "http", "port": PORT}],
        }
        await self.apply(body, manager="endpoints")

    async def _start_pod(self, deployment: Json) -> None:
        template = copy.deepcopy(deployment["spec"]["template"])
        number = next(self._octets)
        name, address = f"{ROUTER}-{number}", f"{self._net}.{number}"
        template["metadata"] = {**template["metadata"], "name": name, "namespace": "shop"}
        body = {"apiVersion": "v1", "kind": "Pod", **template}
        await self.sandbox.client.request("POST", PODS.path("shop"), body=body)
        await self.set_pod(name, address=address, is_ready=True)
        await self.restart_router(name)
        await self.read_files()

    async def read_files(self) -> None:
        """Every router looks at the file that its pod mounts."""
        config_map = await self.find(CONFIG_MAPS, ROUTER)
        data = (config_map or {}).get("data") or {}
        for router in self.routers.values() if DOCUMENT_KEY in data else ():
            await router.holder.take(data[DOCUMENT_KEY].encode(), "file")

    async def restart_router(self, name: str) -> RunningRouter:
        """A new life of a pod's router, without a document."""
        pod = await self.get(PODS, name)
        words = pod["spec"]["containers"][0]["args"]
        args = [each for each in words if not each.startswith("--config")]
        router = await start_router(args, {}, pod["status"]["podIP"], lambda _: None)
        self.routers[name] = router
        return router

    async def set_pod(self, name: str, *, address: str, is_ready: bool) -> None:
        path = PODS.path("shop", name, "status")
        body = await self.get(PODS, name)
        condition = {
            "type": "Ready",
            "status": "True" if is_ready else "False",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
        status = {
            "phase": "Running",
            "podIP": address,
            "podIPs": [{"ip": address}],
            "conditions": [condition],
        }
        await self.sandbox.client.request("PUT", path, body={**body, "status": status})

    async def kill_pod(self, name: str) -> None:
        """A pod ends at once."""
        await self.routers.pop(name).stop(0.0)
        await self.sandbox.client.request(
            "DELETE", PODS.path("shop", name), body={"kind": "DeleteOptions", "gracePeriodSeconds": 0}
        )

    # -- the cutover side ------------------------------------------------------------------------

    async def drive(
        self, step: Callable[[], Coroutine[Any, Any, RouteResult]], *, rounds: int = 8
    ) -> list[str]:
        """Call again until nothing is missing; what each call waited for. AssertionError if it never ends."""
        waits: list[str] = []
        for _ in range(rounds):
            result = await step()
            assert isinstance(result, Applied), result
            if not result.waiting_for:
                return waits
            waits.append(result.waiting_for)
            await self.settle()
        raise AssertionError(f"still waiting: {waits}")

    async def engage(self, plan: TrafficPlan) -> BuiltinRouter:
        """An adapter that has brought the plan into force."""
        adapter = self.adapter()
        await self.drive(lambda: adapter.apply(plan))
        return adapter


def with_rig(scenario: Callable[[Rig], Coroutine[Any, Any, None]]) -> None:
    """Run a scenario with a workload that is placed on its baseline, both tracks ready."""

    async def main() -> None:
        async with contextlib.AsyncExitStack() as stack:
            sandbox = await stack.enter_async_context(Sandbox(fleet=None, controllers=False))
            for document in read_definitions():
                await sandbox.client.request("POST", CRDS, body=document)
            for namespace in ("shop", OPERATOR_NAMESPACE):
                body = {"metadata": {"name": namespace}}
                await sandbox.client.request("POST", "/api/v1/namespaces", body=body)
            connection = await connect(str(sandbox.kubeconfig_path))
            stack.push_async_callback(connection.close)
            rig = Rig(sandbox, connection, await make_workload(sandbox), find_free_port())
            await rig.placement_passes()
            for name, variant, pool in ((BASELINE, "gpu", "l4"), (CANDIDATE, "inf2", "trn")):
                await rig.apply(build_track_service(rig.workload, Track(name, variant, pool, 1, 1)))
            await rig.settle()
            try:
                await scenario(rig)
            finally:
                await asyncio.gather(*(each.stop(0.0) for each in rig.routers.values()))

    asyncio.run(main())


async def make_workload(sandbox: Sandbox, **spec: Any) -> Workload:
    container = {"image": "chat:1"}
    body = {
        "apiVersion": WORKLOADS.api_version,
        "kind": WORKLOADS.kind,
        "metadata": {"name": "chat", "namespace": "shop"},
        "spec": {
            "model": {"name": "chat"},
            "port": PORT,
            "demand": {"requestsPerSecond": "1"},
            "variants": [{"name": "gpu", "accelerators": ["nvidia-l4"], "container": container}],
            **spec,
        },
    }
    made = await sandbox.client.request("POST", WORKLOADS.path("shop"), body=body)
    workload = project_workload(made)
    assert isinstance(workload, Workload), workload
    return workload


def find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def read_key(rig: Rig) -> Mapping[str, Any] | None:
    return await rig.find(SECRETS, KEY_SECRET, OPERATOR_NAMESPACE)
