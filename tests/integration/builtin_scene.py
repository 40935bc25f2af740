"""A sandbox with a workload of two tracks whose pods record what they are asked, and real router pods."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from multidict import CIMultiDict
from tests.shipped_kinds import read_definitions

from switchyard.adapters.connection import Connection, connect
from switchyard.adapters.resources import DEPLOYMENTS, PODS, SERVICES
from switchyard.adapters.routing.builtin import BuiltinRouter
from switchyard.adapters.routing.router_key import RouterKey
from switchyard.api import labels
from switchyard.core.desired import Track, build_stable_service, build_track_service, child_labels
from switchyard.core.holding import PLACEMENT
from switchyard.core.routing.document import Segment
from switchyard.core.routing.plan import RouteState, Target, TrafficPlan
from switchyard.core.routing.router_objects import RouterForm, select_routers
from switchyard.core.world import Workload
from switchyard.engine.routing import Applied, RouteResult
from switchyard.sandbox.cluster import programs
from switchyard.sandbox.cluster.conditions import is_pod_ready
from switchyard.sandbox.cluster.fleet import read_fleet
from switchyard.sandbox.cluster.programs import Launch, Program
from switchyard.sandbox.handle import Sandbox

from .builtin_rig import (
    BASELINE,
    CANDIDATE,
    CRDS,
    DEFAULT,
    HOLDER,
    OPERATOR_NAMESPACE,
    PORT,
    make_workload,
)
from .test_sandbox_cluster import until

FLEET = read_fleet([{"name": "cpu", "nodes": 2}])
VARIANTS = {BASELINE: ("gpu", "l4"), CANDIDATE: ("inf2", "trn")}

Json = dict[str, Any]
Answerer = Callable[[web.Request, bytes], Awaitable[web.StreamResponse]]


@dataclass
class Recorder:
    """What one track's pods were asked, and how they answer: by default with their name and the body."""

    name: str
    seen: list[CIMultiDict[str]] = field(default_factory=list)
    answer: Answerer | None = None

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.seen.append(CIMultiDict(request.headers))
        if self.answer is not None:
            return await self.answer(request, body)
        return web.Response(body=f"{self.name} says ".encode() + body)

    def count(self, shadow: str = "") -> int:
        """How many requests came: users' own, or copies of this kind."""
        return sum(each.get("x-switchyard-shadow", "") == shadow for each in self.seen)


class RecorderProgram:
    """A pod that answers as its track's recorder says."""

    def __init__(self, runner: web.AppRunner) -> None:
        self._runner = runner

    def set_latency_factor(self, factor: float) -> None: ...

    async def stop(self, *, grace_seconds: float) -> None:
        await self._runner.cleanup()


@dataclass
class Answers:
    """What callers got; `failures` in words."""

    bodies: list[bytes] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def count(self, track: str) -> int:
        return sum(body.startswith(f"{track} ".encode()) for body in self.bodies)


@dataclass
class Scene:
    """One workload, shop/chat, that callers reach at `url`."""

    sandbox: Sandbox
    connection: Connection
    workload: Workload
    recorders: Mapping[str, Recorder]
    url: str

    def adapter(self) -> BuiltinRouter:
        """The adapter as a process that has just started has it."""
        form = RouterForm("switchyard:test", drain_delay_seconds=1.0, grace_seconds=5.0)
        return BuiltinRouter(self.connection, RouterKey(self.connection, OPERATOR_NAMESPACE), form)

    def plan(self, version: int, *segments: Segment) -> TrafficPlan:
        return TrafficPlan(
            namespace="shop",
            workload="chat",
            workload_uid=self.workload.meta.uid,
            holder=HOLDER,
            version=version,
            baseline=Target(BASELINE, PORT),
            candidate=Target(CANDIDATE, PORT),
            segments=segments or (DEFAULT,),
        )

    async def drive(self, call: Callable[[BuiltinRouter], Awaitable[RouteResult]]) -> None:
        """Call again, each time as a new process, until nothing is missing."""

        async def is_done() -> bool:
            adapter = self.adapter()
            try:
                result = await call(adapter)
            finally:
                await adapter.close()
            assert isinstance(result, Applied), result
            assert result.waiting_for == ""
            return True

        await until(is_done, seconds=40.0)

    async def engage(self, plan: TrafficPlan) -> RouteState:
        """What every router says once the plan is in force."""
        await self.drive(lambda adapter: adapter.apply(plan))
        return await self.observe(plan)

    async def release(self, plan: TrafficPlan, service: str) -> None:
        await self.drive(lambda adapter: adapter.release(plan, service))

    async def observe(self, plan: TrafficPlan) -> RouteState:
        adapter = self.adapter()
        try:
            return await adapter.observe(plan)
        finally:
            await adapter.close()

    async def router_pods(self) -> list[Json]:
        """The ready ones."""
        text = ",".join(f"{key}={value}" for key, value in select_routers("chat").items())
        found = await self.sandbox.client.request("GET", PODS.path("shop"), params={"labelSelector": text})
        return [each for each in found["items"] if is_pod_ready(each)]

    async def has_no_router(self) -> bool:
        """True once the last one has ended."""
        return not await self.router_pods()

    async def ask(self, count: int, body: bytes = b"hi", **headers: str) -> Answers:
        """The answers to as many requests, over connections that are new: a kept one stays where it leads."""
        answers = Answers()
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=20)) as session:
            await asyncio.gather(*(self._ask_once(session, answers, body, headers) for _ in range(count)))
        return answers

    @contextlib.asynccontextmanager
    async def load(self, *, callers: int = 8) -> AsyncIterator[Answers]:
        """Callers who ask all the time, half of them over connections that they keep."""
        answers, is_over = Answers(), asyncio.Event()

        async def call(number: int) -> None:
            connector = aiohttp.TCPConnector(force_close=bool(number % 2))
            async with aiohttp.ClientSession(connector=connector) as session:
                while not is_over.is_set():
                    await self._ask_once(session, answers, f"caller {number}".encode(), {})
                    await asyncio.sleep(0.005)

        tasks = [asyncio.create_task(call(number)) for number in range(callers)]
        try:
            yield answers
        finally:
            is_over.set()
            await asyncio.gather(*tasks)

    async def _ask_once(
        self, session: aiohttp.ClientSession, answers: Answers, body: bytes, headers: Mapping[str, str]
    ) -> None:
        try:
            async with session.post(f"{self.url}/v1", data=body, headers=headers) as answer:
                text = await answer.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            answers.failures.append(f"{type(error).__name__}: {error}")
            return
        if answer.status != 200 or not text.endswith(b" says " + body):
            answers.failures.append(f"{answer.status} {text[:100]!r}")
        answers.bodies.append(text)


def play(scenario: Callable[[Scene], Awaitable[None]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a scenario with the workload placed on its baseline, both tracks ready."""
    recorders = {name: Recorder(name) for name in VARIANTS}

    async def start(launch: Launch) -> Program:
        app = web.Application(client_max_size=64 << 20)
        app.router.add_route("*", "/{tail:.*}", recorders[launch.args[0]].handle)
        runner = web.AppRunner(app, shutdown_timeout=1.0, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, launch.address, PORT).start()
        return RecorderProgram(runner)

    monkeypatch.setattr(programs, "PROGRAMS", {**programs.PROGRAMS, "recorder": start})

    async def main() -> None:
        async with contextlib.AsyncExitStack() as stack:
            sandbox = await stack.enter_async_context(Sandbox(FLEET, heartbeat_seconds=0.5))
            for document in read_definitions():
                await sandbox.client.request("POST", CRDS, body=document)
            for namespace in ("shop", OPERATOR_NAMESPACE):
                body = {"metadata": {"name": namespace}}
                await sandbox.client.request("POST", "/api/v1/namespaces", body=body)
            connection = await connect(str(sandbox.kubeconfig_path))
            stack.push_async_callback(connection.close)
            workload = await make_workload(sandbox)
            url = await _place(sandbox, workload)
            scene = Scene(sandbox, connection, workload, recorders, url)

            async def is_reachable() -> bool:
                return (await scene.ask(1)).failures == []

            await until(is_reachable)
            for recorder in recorders.values():
                recorder.seen.clear()
            await scenario(scene)

    asyncio.run(main())


async def _place(sandbox: Sandbox, workload: Workload) -> str:
    """The URL of the stable Service, once both tracks have a ready pod."""
    for name, (variant, pool) in VARIANTS.items():
        track = Track(name, variant, pool, 1, 1)
        await sandbox.client.request("POST", DEPLOYMENTS.path("shop"), body=_build_track(workload, track))
        await _apply(sandbox, build_track_service(workload, track))
    made = await _apply(sandbox, build_stable_service(workload, BASELINE))

    async def are_ready() -> bool:
        pods = (await sandbox.client.request("GET", PODS.path("shop")))["items"]
        return sum(map(is_pod_ready, pods)) == len(VARIANTS)

    await until(are_ready)
    return f"http://{made['spec']['clusterIP']}:{PORT}"


def _build_track(workload: Workload, track: Track) -> Json:
    marks = {**child_labels(workload, track), labels.SHARED: "true"}
    container = {
        "name": "server",
        "image": "recorder:1",
        "command": ["switchyard", "recorder", track.name],
        "ports": [{"containerPort": PORT}],
        "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": track.name, "namespace": "shop", "labels": marks},
        "spec": {
            "replicas": track.replicas,
            "selector": {"matchLabels": {labels.TRACK: track.name}},
            "template": {"metadata": {"labels": marks}, "spec": {"containers": [container]}},
        },
    }


async def _apply(sandbox: Sandbox, body: Json) -> Json:
    return await sandbox.client.request(
        "PATCH",
        SERVICES.path("shop", body["metadata"]["name"]),
        params={"fieldManager": PLACEMENT, "force": "true"},
        body=body,
        content_type="application/apply-patch+yaml",
    )
