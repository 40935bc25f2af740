"""The sandbox's gateway: HTTPRoutes and VirtualServices over real HTTP, and what their status says."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web
from tests.integration.test_sandbox_cluster import until

from switchyard.sandbox.client import ENDPOINT_SLICES, SERVICES, ApiClient, Resource
from switchyard.sandbox.gateway.kinds import (
    CLASS_NAME,
    GATEWAYS,
    HTTP_ROUTES,
)
from switchyard.sandbox.handle import Sandbox

RULE = "HTTPRoute default/web 0"


@dataclass
class Upstream:
    """A backend outside of any pod: an endpoint that the test writes itself, and what it has seen."""

    name: str
    seen: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    port: int = 0
    answer: Callable[[web.Request], Awaitable[web.StreamResponse]] | None = None
    gone: asyncio.Event = field(default_factory=asyncio.Event)  # a client left before the end

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read() if self.answer is None else b""
        self.seen.append((request.method, request.raw_path, dict(request.headers), body))
        if self.answer is not None:
            try:
                return await self.answer(request)
            except (asyncio.CancelledError, ConnectionError):
                self.gone.set()
                raise
        return web.Response(body=self.name.encode() + b" " + body, headers={"X-Backend": self.name})


class Scene:
    """A sandbox with its gateway, and the upstreams that a test asks for."""

    def __init__(self, sandbox: Sandbox, stack: contextlib.AsyncExitStack) -> None:
        self.sandbox = sandbox
        self.client: ApiClient = sandbox.client
        self._stack = stack
        self.session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=50))
        stack.push_async_callback(self.session.close)

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
        await self.set_endpoints(made, namespace)
        return made

    async def set_endpoints(self, upstream: Upstream, namespace: str = "default", port: int = 0) -> None:
        body = {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": upstream.name,
                "namespace": namespace,
                "labels": {"kubernetes.io/service-name": upstream.name},
            },
            "addressType": "IPv4",
            "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": True}}],
            "ports": [{"name": "http", "port": port or upstream.port, "protocol": "TCP"}],
        }
        await self.client.apply(ENDPOINT_SLICES, body, manager="test")

    async def make(self, resource: Resource, name: str, spec: Any, namespace: str = "default") -> dict:
        meta = {"name": name, **({"namespace": namespace} if resource.is_namespaced else {})}
        body = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": meta, "spec": spec}
        return await self.client.create(resource, namespace, body)

    async def gateway(self, name: str = "gw", **listener: Any) -> str:
        """The URL of a new Gateway with one listener on port 8080."""
        listeners = [{"name": "http", "port": 8080, "protocol": "HTTP", **listener}]
        await self.make(GATEWAYS, name, {"gatewayClassName": CLASS_NAME, "listeners": listeners})
        return await self.sandbox.gateway_url("default", name)

    async def route(self, name: str, rules: list[dict], *, namespace: str = "default", **spec: Any) -> dict:
        """A new HTTPRoute, once the gateway has judged it."""
        spec = {"parentRefs": [{"name": "gw", "namespace": "default"}], "rules": rules, **spec}
        await self.make(HTTP_ROUTES, name, spec, namespace)
        return await self.judged(name, namespace)

    async def change(self, name: str, spec: dict) -> dict:
        """An HTTPRoute after a change of its spec, once the gateway has judged it."""
        await self.client.patch(HTTP_ROUTES, "default", name, {"spec": spec})
        return await self.judged(name)

    async def judged(self, name: str, namespace: str = "default") -> dict:
        """{condition type: condition} of the route's first parent, for its present generation."""

        async def is_judged() -> Any:
            body = await self.client.get(HTTP_ROUTES, namespace, name)
            parents = (body.get("status") or {}).get("parents") or []
            entries = {entry["type"]: entry for entry in parents[0]["conditions"]} if parents else {}
            generation = body["metadata"]["generation"]
            return entries if all(e["observedGeneration"] == generation for e in entries.values()) else None

        return await until(is_judged)

    async def ask(self, url: str, *, method: str = "GET", **more: Any) -> tuple[int, bytes]:
        async with self.session.request(method, url, **more) as answer:
            return answer.status, await answer.read()


def run(scenario: Callable[[Scene], Awaitable[None]], *families: str) -> None:
    async def play() -> None:
        routing = families or ("gateway-api",)
        async with contextlib.AsyncExitStack() as stack:
            sandbox = await stack.enter_async_context(Sandbox(None, routing=routing, gateway_seed=7))
            await scenario(Scene(sandbox, stack))

    asyncio.run(play())


def to(name: str, weight: int = 1, **more: Any) -> dict:
    return {"name": name, "port": 80, "weight": weight, **more}


def mirror_to(name: str, **share: Any) -> dict:
    return {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": name, "port": 80}, **share}}


def is_plausible(hits: int, draws: int, share: float) -> bool:
    """Whether a count lies within five standard deviations of its binomial mean."""
    return abs(hits - draws * share) <= 5 * math.sqrt(draws * share * (1 - share)) + 1e-9


# -- requests ----------------------------------------------------------------------------------------


def test_a_route_carries_requests_and_answers_through_unchanged() -> None:
    async def scenario(scene: Scene) -> None:
        web_ = await scene.upstream("web")
        url = await scene.gateway()
        assert await scene.ask(url) == (404, b"no route takes this request\n")
        conditions = await scene.route("web", [{"backendRefs": [to("web")]}])
        assert {kind: entry["reason"] for kind, entry in conditions.items()} == {
            "Accepted": "Accepted",
            "ResolvedRefs": "ResolvedRefs",
        }
        body = bytes(range(256)) * 4000
        assert await scene.ask(
            f"{url}/a%2Fb/../c?q=%20x&q=2",
            method="PUT",
            data=body,
            headers={"X-Forwarded-For": "10.0.0.1", "Connection": "X-Private", "X-Private": "1"},
        ) == (200, b"web " + body)
        method, path, headers, received = web_.seen[-1]
        assert (method, received) == ("PUT", body)
        assert headers["Host"] == url.removeprefix("http://")
        assert headers["X-Forwarded-For"] == "10.0.0.1, 127.0.0.1"
        assert headers["X-Forwarded-Proto"] == "http"
        assert "X-Private" not in headers
        assert scene.sandbox.gateway.proxy.counts.statuses(RULE) == {200: 1}
        assert path.endswith("?q=%20x&q=2")

    run(scenario)
