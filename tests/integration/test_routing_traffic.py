"""Real requests through the routes that a cutover writes, on the sandbox's gateway: both APIs alike."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from tests.shipped_kinds import read_definitions

from switchyard.adapters.connection import Connection, connect
from switchyard.adapters.projection import project_workload
from switchyard.adapters.resources import GATEWAY_CLASSES, HTTP_ROUTES, VIRTUAL_SERVICES, WORKLOADS
from switchyard.adapters.routing.gateway_api import GatewayApiRouter
from switchyard.adapters.routing.held_route import HeldRoute
from switchyard.adapters.routing.istio import IstioRouter
from switchyard.core.exposure import build_routes
from switchyard.core.holding import find_holder
from switchyard.core.routing.document import Match, Segment
from switchyard.core.routing.plan import Feature, RouteState, Target, TrafficPlan
from switchyard.core.world import Workload
from switchyard.engine.ports import Denied
from switchyard.engine.routing import Applied
from switchyard.sandbox.gateway.gateways import WITHOUT_FEATURES
from switchyard.sandbox.gateway.kinds import CONTROLLER_NAME, ISTIO_GATEWAYS

from .gateway_scene import Scene, Upstream, is_plausible, run
from .route_rig import BASELINE, CANDIDATE, COMPARATOR, CRDS, HOLDER, PLACEMENT, FakeComparator
from .test_sandbox_cluster import until

HOST = {"Host": "chat.example.com"}
BATCH = {**HOST, "x-switchyard-tier": "batch"}
WAYS: Mapping[str, type[HeldRoute]] = {"gateway-api": GatewayApiRouter, "istio": IstioRouter}
EXPOSURES: Mapping[str, Mapping[str, Any]] = {
    "gateway-api": {"gateway": {"parentRefs": [{"name": "gw"}], "hostnames": ["chat.example.com"]}},
    "istio": {"istio": {"hosts": ["chat.example.com"], "gateways": ["gw"]}},
}
by_every_way = pytest.mark.parametrize("way", WAYS)

Answers = list[tuple[int, bytes]]


class PortEightyComparator(FakeComparator):
    """Its Service is served by the test."""

    def target(self, plan: TrafficPlan) -> Target:
        return replace(super().target(plan), port=80)


@dataclass
class Stage:
    """A workload behind a gateway, with an upstream for each Service that can be reached."""

    scene: Scene
    way: str
    url: str
    connection: Connection
    workload: Workload
    upstreams: Mapping[str, Upstream]
    comparator: PortEightyComparator = field(default_factory=PortEightyComparator)

    @property
    def router(self) -> HeldRoute:
        return WAYS[self.way](self.connection, self.comparator)  # type: ignore[call-arg]

    def plan(self, version: int, batch: tuple[float, float], rest: tuple[float, float]) -> TrafficPlan:
        """Candidate's and shadow's percent of the segment `batch` and of all others."""
        segments = (
            Segment(
                name="batch", match=Match(tier="batch"), candidate_percent=batch[0], shadow_percent=batch[1]
            ),
            Segment(name="default", candidate_percent=rest[0], shadow_percent=rest[1]),
        )
        return TrafficPlan(
            namespace="default",
            workload="chat",
            workload_uid=self.workload.meta.uid,
            holder=HOLDER,
            version=version,
            baseline=Target(BASELINE, 80),
            candidate=Target(CANDIDATE, 80),
            segments=segments,
        )

    async def apply(self, plan: TrafficPlan) -> None:
        """Write the plan and wait until the gateway does what it says."""
        assert await self.router.apply(plan) == Applied()
        await self.confirmed(plan)

    async def confirmed(self, plan: TrafficPlan) -> RouteState:
        async def is_in_force() -> RouteState | None:
            state = await self.router.observe(plan)
            return state if state.version == plan.version and not state.waiting_for else None

        state: RouteState = await until(is_in_force)
        if self.way == "istio":  # which confirms nothing
            await until(self.is_in_table)
        return state

    async def is_in_table(self) -> bool:
        """Whether the gateway has the routes of the VirtualService as it is now."""
        body = await self.scene.client.get(VIRTUAL_SERVICES, "default", "chat")
        wanted = {
            each["name"]: ([one["weight"] for one in each["route"]], "mirror" in each)
            for each in body["spec"]["http"]
        }
        listeners = self.scene.sandbox.gateway.proxy.table.listeners.values()
        rules = [entry.rule for tables in listeners for table in tables for entry in table.entries]
        return wanted == {
            rule.name.split()[-1]: ([one.weight for one in rule.backends], bool(rule.mirrors))
            for rule in rules
        }

    async def copies(self) -> int:
        """How many copies have arrived, once all that were sent are answered."""

        async def is_settled() -> bool:
            rules = self.scene.counts.show()["rules"].values()
            outcomes = [each for rule in rules for each in rule["mirrors"].values()]
            return all(each["sent"] == each.get("answered") for each in outcomes)

        await until(is_settled)
        return self.seen(COMPARATOR)

    async def placement_passes(self) -> None:
        resource = HTTP_ROUTES if self.way == "gateway-api" else VIRTUAL_SERVICES
        found = await self.scene.client.list(resource, "default")
        is_held = any(find_holder(each) for each in found["items"])
        for body in build_routes(self.workload, is_held=is_held):
            await self.scene.client.apply(resource, body, manager=PLACEMENT)

    async def ask(self, count: int, headers: Mapping[str, str] = HOST) -> Answers:
        return await self.scene.ask_often(f"{self.url}/v1", count, method="POST", data=b"hi", headers=headers)

    def seen(self, name: str) -> int:
        return len(self.upstreams[name].seen)

    @contextlib.asynccontextmanager
    async def load(self) -> AsyncIterator[Answers]:
        """Callers who ask all the time; what they got."""
        answers: Answers = []
        is_over = asyncio.Event()

        async def call(headers: Mapping[str, str]) -> None:
            while not is_over.is_set():
                got = await self.scene.ask(f"{self.url}/v1", method="POST", data=b"hi", headers=headers)
                answers.append(got)

        async with asyncio.TaskGroup() as group:
            for headers in (HOST, BATCH) * 4:
                group.create_task(call(headers))
            try:
                yield answers
            finally:
                is_over.set()


def play(
    way: str, scenario: Callable[[Stage], Awaitable[None]], *, without: str = "", fleet: Any = None
) -> None:
    """Run a scenario. `without`: features that the gateway's class does not have."""

    async def main(scene: Scene) -> None:
        for document in read_definitions():
            await scene.client.request("POST", CRDS, body=document)
        upstreams = {name: await scene.upstream(name) for name in ("chat", BASELINE, CANDIDATE, COMPARATOR)}
        workload = await make_workload(scene, EXPOSURES[way])
        url = await open_gateway(scene, way, without)
        connection = await connect(str(scene.sandbox.kubeconfig_path))
        stage = Stage(scene, way, url, connection, workload, upstreams)
        await stage.placement_passes()

        async def is_served() -> bool:
            return (await stage.ask(1))[0][0] == 200

        try:
            await until(is_served)
            await scenario(stage)
        finally:
            await connection.close()

    run(main, way, fleet=fleet)


async def open_gateway(scene: Scene, way: str, without: str) -> str:
    if way == "gateway-api":
        if not without:
            return await scene.gateway()
        metadata = {"name": "poorer", "annotations": {WITHOUT_FEATURES: without}}
        body = {"apiVersion": GATEWAY_CLASSES.api_version, "kind": GATEWAY_CLASSES.kind, "metadata": metadata}
        spec = {"controllerName": CONTROLLER_NAME}
        await scene.client.request("POST", GATEWAY_CLASSES.path(), body={**body, "spec": spec})
        return await scene.gateway(class_name="poorer")
    server = {"port": {"number": 8080, "protocol": "HTTP", "name": "http"}, "hosts": ["*"]}
    await scene.make(ISTIO_GATEWAYS, "gw", {"selector": {"istio": "ingress"}, "servers": [server]})

    async def find_address() -> str:
        return scene.sandbox.gateway.istio_address

    return f"http://{await until(find_address)}:8080"


async def make_workload(scene: Scene, exposure: Mapping[str, Any]) -> Workload:
    spec = {
        "model": {"name": "chat"},
        "port": 80,
        "exposure": exposure,
        "demand": {"requestsPerSecond": "1"},
        "variants": [{"name": "gpu", "accelerators": ["nvidia-l4"], "container": {"image": "chat:1"}}],
    }
    metadata = {"name": "chat", "namespace": "default"}
    body = {"apiVersion": WORKLOADS.api_version, "kind": WORKLOADS.kind, "metadata": metadata, "spec": spec}
    made = await scene.client.request("POST", WORKLOADS.path("default"), body=body)
    workload = project_workload(made)
    assert isinstance(workload, Workload), workload
    return workload


@by_every_way
def test_weights_hold_within_binomial_bounds_and_segments_are_told_apart(way: str) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.apply(stage.plan(1, (30, 0), (5, 0)))
        batch = await stage.ask(600, BATCH)
        assert {status for status, _ in batch} == {200}
        assert is_plausible(stage.seen(CANDIDATE), 600, 0.3)
        assert all(
            entry.headers.get("x-switchyard-tier") == "batch" for entry in stage.upstreams[CANDIDATE].seen
        )
        before = stage.seen(CANDIDATE)
        await stage.ask(600)
        assert is_plausible(stage.seen(CANDIDATE) - before, 600, 0.05)
        await stage.apply(stage.plan(2, (100, 0), (0, 0)))
        before = stage.seen(CANDIDATE)
        assert {body for _, body in await stage.ask(50, BATCH)} == {f"{CANDIDATE} hi".encode()}
        assert {body for _, body in await stage.ask(50)} == {f"{BASELINE} hi".encode()}
        assert stage.seen(CANDIDATE) - before == 50

    play(way, scenario)


@by_every_way
def test_copies_arrive_at_the_asked_percent_and_users_see_the_baseline_byte_for_byte(way: str) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.apply(stage.plan(1, (0, 0), (0, 20)))
        answers = await stage.ask(800)
        assert set(answers) == {(200, f"{BASELINE} hi".encode())}
        assert set(await stage.ask(100, BATCH)) == {(200, f"{BASELINE} hi".encode())}
        assert is_plausible(await stage.copies(), 800, 0.2)
        assert stage.seen(CANDIDATE) == 0
        assert all("x-switchyard-tier" not in entry.headers for entry in stage.upstreams[COMPARATOR].seen)
        await stage.apply(stage.plan(2, (0, 0), (0, 0)))
        before = await stage.copies()
        await stage.ask(100)
        assert await stage.copies() == before

    play(way, scenario)


@by_every_way
def test_no_request_fails_while_traffic_is_taken_over_moved_and_given_back(way: str) -> None:
    async def scenario(stage: Stage) -> None:
        async with stage.load() as answers:
            await stage.apply(stage.plan(1, (0, 0), (0, 10)))
            await stage.apply(stage.plan(2, (50, 0), (0, 0)))
            await stage.apply(stage.plan(3, (100, 0), (100, 0)))
            last = stage.plan(4, (100, 0), (100, 0))

            async def is_released() -> bool:
                return await stage.router.release(last, CANDIDATE) == Applied()

            await until(is_released)
            await stage.scene.place("chat", [stage.upstreams[CANDIDATE].port])
            before = len(answers)
            await stage.placement_passes()

            async def is_served_on() -> bool:
                return len(answers) > before + 100

            await until(is_served_on)
        assert {status for status, _ in answers} == {200}
        assert {body for _, body in answers} <= {
            f"{each} hi".encode() for each in ("chat", BASELINE, CANDIDATE)
        }
        assert answers[-1][1] == f"{CANDIDATE} hi".encode()

    play(way, scenario)


@by_every_way
def test_a_candidate_that_lost_its_pods_gets_no_request_after_the_way_back(way: str) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.apply(stage.plan(1, (60, 0), (60, 0)))
        await stage.scene.place(CANDIDATE, [])
        back = stage.plan(2, (0, 0), (0, 0))
        await stage.apply(back)
        assert set(await stage.ask(100)) == {(200, f"{BASELINE} hi".encode())}
        again = await stage.router.apply(stage.plan(3, (10, 0), (0, 0)))
        assert isinstance(again, Applied)
        assert f"a ready endpoint of Service default/{CANDIDATE} (candidate)" in again.waiting_for
        assert set(await stage.ask(100, BATCH)) == {(200, f"{BASELINE} hi".encode())}

    play(way, scenario)


@by_every_way
def test_a_weight_that_somebody_changed_shows_in_the_shares_and_is_taken_back(way: str) -> None:
    async def scenario(stage: Stage) -> None:
        plan = stage.plan(1, (0, 0), (0, 0))
        await stage.apply(plan)
        resource, field_name = (HTTP_ROUTES, "rules") if way == "gateway-api" else (VIRTUAL_SERVICES, "http")
        body = await stage.scene.client.get(resource, "default", "chat")
        for rule in body["spec"][field_name]:
            baseline, candidate = rule["backendRefs" if way == "gateway-api" else "route"]
            baseline["weight"], candidate["weight"] = 0, 100
        await stage.scene.client.update(resource, body)

        async def is_noticed() -> RouteState | None:
            state = await stage.router.observe(plan)
            return state if state.drift and state.shares else None

        state: RouteState = await until(is_noticed)
        assert state.shares["default"].candidate_percent == 100
        assert state.drift[0].found == "batch 100 %, default 100 %"
        assert "(Update at " in state.drift[0].by
        assert state.version is None
        await stage.apply(plan)
        assert {body for _, body in await stage.ask(50)} == {f"{BASELINE} hi".encode()}

    play(way, scenario)


def test_a_class_that_copies_everything_or_nothing_is_refused_before_a_request_is_copied() -> None:
    async def scenario(stage: Stage) -> None:
        plan = stage.plan(1, (0, 0), (0, 10))

        async def is_classified() -> bool:
            return Feature.MIRROR_PERCENT not in (await stage.router.supports(plan)).features

        await until(is_classified)
        support = await stage.router.supports(plan)
        assert Feature.MIRROR in support.features
        assert "GatewayClass poorer does not list" in support.reasons[Feature.MIRROR_PERCENT]
        assert isinstance(await stage.router.apply(plan), Denied)
        await stage.ask(50)
        assert await stage.copies() == 0
        await stage.apply(stage.plan(2, (0, 0), (0, 100)))
        await stage.ask(50)
        assert await stage.copies() == 50

    play("gateway-api", scenario, without="HTTPRouteRequestPercentageMirror")
