"""A sandbox with its gateway, and upstreams that tests answer for themselves."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from tests.integration.test_sandbox_cluster import until

from switchyard.sandbox.client import ENDPOINT_SLICES, SERVICES, ApiClient, Resource
from switchyard.sandbox.gateway.counters import GatewayCounts
from switchyard.sandbox.gateway.kinds import CLASS_NAME, GATEWAYS, HTTP_ROUTES
from switchyard.sandbox.handle import Sandbox


@dataclass
class Seen:
    """A request as it came in at an upstream."""

    method: str
    path: str
    headers: CIMultiDict[str]
    body: bytes


@dataclass
class Upstream:
    """A Service whose one endpoint is served by the test. `answer` takes the place of an echo."""

    name: str
    seen: list[Seen] = field(default_factory=list)
    port: int = 0
    answer: Callable[[web.Request], Awaitable[web.StreamResponse]] | None = None
    was_left: asyncio.Event = field(default_factory=asyncio.Event)  # a client went before the end

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read() if self.answer is None else b""
        self.seen.append(Seen(request.method, request.raw_path, CIMultiDict(request.headers), body))
        if self.answer is None:
            return web.Response(body=self.name.encode() + b" " + body, headers={"X-Backend": self.name})
        try:
            return await self.answer(request)
        except (asyncio.CancelledError, ConnectionError):
            self.was_left.set()
            raise


class Scene:
    """What tests of the gateway do."""

    def __init__(self, sandbox: Sandbox, stack: contextlib.AsyncExitStack) -> None:
        self.sandbox = sandbox
        self.client: ApiClient = sandbox.client
        self.session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=50))
        self._stack = stack
        stack.push_async_callback(self.session.close)

    @property
    def counts(self) -> GatewayCounts:
        """What the gateway has counted."""
        return self.sandbox.gateway.proxy.counts

    async def upstream(self, name: str, namespace: str = "default") -> Upstream:
        """A Service with one endpoint, served by this process."""
        made = Upstream(name)
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{tail:.*}", made.handle)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.05)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        made.port = runner.addresses[0][1]
        await self.make(SERVICES, name, {"ports": [{"name": "http", "port": 80}]}, namespace)
        await self.place(name, [made.port], namespace)
        return made

    async def place(self, service: str, ports: list[int], namespace: str = "default") -> None:
        """Give a Service these endpoints, none for an empty list."""
        body = {
            "apiVersion": ENDPOINT_SLICES.api_version,
            "kind": ENDPOINT_SLICES.kind,
            "metadata": {
                "name": service,
                "namespace": namespace,
                "labels": {"kubernetes.io/service-name": service},
            },
            "addressType": "IPv4",
            "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": True}}] if ports else [],
            "ports": [{"name": "http", "port": ports[0] if ports else 1, "protocol": "TCP"}],
        }
        await self.client.apply(ENDPOINT_SLICES, body, manager="test")

    async def make(self, resource: Resource, name: str, spec: Any, namespace: str = "default") -> dict:
        """An object as created."""
        meta = {"name": name, **({"namespace": namespace} if resource.is_namespaced else {})}
        body = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": meta, "spec": spec}
        return await self.client.create(resource, namespace, body)

    async def gateway(self, name: str = "gw", *, class_name: str = CLASS_NAME, **listener: Any) -> str:
        """The URL of a new Gateway with one listener on port 8080."""
        listeners = [{"name": "http", "port": 8080, "protocol": "HTTP", **listener}]
        await self.make(GATEWAYS, name, {"gatewayClassName": class_name, "listeners": listeners})
        return await self.sandbox.gateway_url("default", name)

    async def route(
        self, name: str, rules: list[dict], *, namespace: str = "default", **spec: Any
    ) -> dict[str, dict]:
        """A new HTTPRoute's conditions, once the gateway has judged it."""
        spec = {"parentRefs": [{"name": "gw", "namespace": "default"}], "rules": rules, **spec}
        await self.make(HTTP_ROUTES, name, spec, namespace)
        return await self.judged(name, namespace)

    async def change(self, name: str, spec: dict) -> dict[str, dict]:
        """An HTTPRoute's conditions after a change of its spec."""
        await self.client.patch(HTTP_ROUTES, "default", name, {"spec": spec})
        return await self.judged(name)

    async def judged(self, name: str, namespace: str = "default") -> dict[str, dict]:
        """{condition type: condition} of the route's first parent, for its present generation."""

        async def is_judged() -> Any:
            body = await self.client.get(HTTP_ROUTES, namespace, name)
            parents = (body.get("status") or {}).get("parents") or []
            entries = {entry["type"]: entry for entry in parents[0]["conditions"]} if parents else {}
            generation = body["metadata"]["generation"]
            return entries if all(e["observedGeneration"] == generation for e in entries.values()) else None

        return await until(is_judged)

    async def ask(self, url: str, *, method: str = "GET", **more: Any) -> tuple[int, bytes]:
        """(status, body)."""
        async with self.session.request(method, url, **more) as answer:
            return answer.status, await answer.read()

    async def ask_often(self, url: str, count: int, **more: Any) -> list[tuple[int, bytes]]:
        """The answers to as many requests, some of them at the same time."""
        gate = asyncio.Semaphore(20)

        async def one() -> tuple[int, bytes]:
            async with gate:
                return await self.ask(url, **more)

        return await asyncio.gather(*(one() for _ in range(count)))


def run(scenario: Callable[[Scene], Awaitable[None]], *families: str, fleet: str | None = None) -> None:
    """Play a scenario on a fresh sandbox whose gateway draws the same every time."""

    async def play() -> None:
        async with contextlib.AsyncExitStack() as stack:
            sandbox = Sandbox(fleet, routing=families or ("gateway-api",), gateway_seed=7)
            await stack.enter_async_context(sandbox)
            await scenario(Scene(sandbox, stack))

    asyncio.run(play())


def to(name: str, weight: int = 1, **more: Any) -> dict:
    """A backendRef."""
    return {"name": name, "port": 80, "weight": weight, **more}


def mirror_to(name: str, **share: Any) -> dict:
    """A RequestMirror filter."""
    return {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": name, "port": 80}, **share}}


def is_plausible(hits: int, draws: int, share: float) -> bool:
    """Whether a count lies within five standard deviations of its binomial mean."""
    return abs(hits - draws * share) <= 5 * math.sqrt(draws * share * (1 - share)) + 1e-9
