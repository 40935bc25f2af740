"""What is answered over HTTP: logs to the API server, faults and gateways to whoever has the token."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

import trustme
from aiohttp import web

from switchyard.sandbox.cluster.containers import ContainerRun
from switchyard.sandbox.cluster.nodes import NodeAgents
from switchyard.sandbox.gateway.controller import GatewayController


class AgentServer:
    """Logs on the agents' address, faults on a loopback port of their own."""

    def __init__(self, agents: NodeAgents, gateway: GatewayController, token: str) -> None:
        self._agents = agents
        self._gateway = gateway
        self._token = token
        self._runners: list[web.AppRunner] = []
        self.admin_url = ""

    async def start(self, agent_socket: socket.socket, *, is_tls: bool = False) -> None:
        """Serve both. `is_tls`: real API servers ask kubelets by HTTPS and do not check the certificate."""
        logs = web.Application()
        logs.router.add_get("/containerLogs/{namespace}/{pod}/{container}", self._logs)
        logs.router.add_get("/healthz", _healthz)
        runner = await self._run(logs)
        await web.SockSite(runner, agent_socket, ssl_context=_tls() if is_tls else None).start()
        admin = web.Application(middlewares=[self._check_token])
        admin.router.add_get("/nodes", self._list)
        admin.router.add_get("/gateways", self._list_gateways)
        admin.router.add_post("/nodes/{name}/{action}", self._act)
        runner = await self._run(admin)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.admin_url = f"http://127.0.0.1:{runner.addresses[0][1]}"

    async def _run(self, app: web.Application) -> web.AppRunner:
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        self._runners.append(runner)
        return runner

    async def close(self) -> None:
        """Stop serving."""
        await asyncio.gather(*(runner.cleanup() for runner in self._runners))
        self._runners.clear()

    # -- logs ------------------------------------------------------------------------------------

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        info = request.match_info
        run = self._agents.run_of(info["namespace"], info["pod"])
        container = next((c for c in run.containers if c.name == info["container"]), None) if run else None
        if container is None:
            text = f'container "{info["container"]}" in pod "{info["pod"]}" is not running here'
            return web.Response(status=404, text=text)
        query = request.query
        has_times = query.get("timestamps") == "true"
        lines = list(container.lines)
        if query.get("tailLines", "").isdigit():
            lines = lines[len(lines) - min(len(lines), int(query["tailLines"])) :]
        response = web.StreamResponse(headers={"Content-Type": "text/plain; charset=utf-8"})
        await response.prepare(request)
        await response.write(_format(lines, has_times=has_times))
        if query.get("follow") == "true":
            with contextlib.suppress(ConnectionError):
                await self._follow(response, container, lines[-1:], has_times=has_times)
        await response.write_eof()
        return response

    async def _follow(
        self, response: web.StreamResponse, container: ContainerRun, last: list[Any], *, has_times: bool
    ) -> None:
        seen = last[0] if last else None
        while True:
            container.has_new_line.clear()
            fresh = list(container.lines)
            if seen in fresh:
                fresh = fresh[len(fresh) - fresh[::-1].index(seen) :]
            if fresh:
                await response.write(_format(fresh, has_times=has_times))
                seen = fresh[-1]
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(container.has_new_line.wait(), 1.0)
            if container.program is None and not container.is_running:
                return

    # -- faults ----------------------------------------------------------------------------------

    @web.middleware
    async def _check_token(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(given.encode(), self._token.encode()):
            return web.json_response({"error": "a token is needed"}, status=401)
        return await handler(request)

    async def _list(self, _request: web.Request) -> web.Response:
        nodes = [
            {
                "name": name,
                "alive": state.is_alive,
                "gone": state.is_gone,
                "unhealthy": {k: v for k, v in state.unhealthy.items() if v},
                "latencyFactor": state.latency_factor,
                "devices": {name: state.spec.capacity[name] for name in sorted(state.spec.devices)},
            }
            for name, state in self._agents.states.items()
        ]
        return web.json_response({"nodes": nodes})

    async def _list_gateways(self, _request: web.Request) -> web.Response:
        gateway = self._gateway
        return web.json_response({"gateways": gateway.list_places(), "counts": gateway.proxy.counts.show()})

    async def _act(self, request: web.Request) -> web.Response:
        name, action = request.match_info["name"], request.match_info["action"]
        try:
            body = await request.json() if request.can_read_body else {}
            await act(self._agents, name, action, body)
        except KeyError as error:
            return web.json_response({"error": str(error.args[0])}, status=404)
        except (ValueError, TypeError, json.JSONDecodeError) as error:
            return web.json_response({"error": str(error)}, status=400)
        return web.json_response({"done": f"{action} {name}"})


async def act(agents: NodeAgents, name: str, action: str, body: dict[str, Any]) -> None:
    """Carry out a fault by name. KeyError for an unknown node, ValueError for anything else that is wrong."""
    if action == "kill":
        await agents.kill(name)
    elif action == "restore":
        await agents.restore(name)
    elif action == "unhealthy":
        resource = body.get("resource") or _only_resource(agents, name)
        await agents.mark_unhealthy(name, resource, int(body.get("devices", 1)))
    elif action == "reclaim":
        await agents.reclaim(name, float(body.get("noticeSeconds", 10.0)))
    elif action == "slow":
        await agents.slow(name, float(body.get("factor", 2.0)))
    else:
        raise ValueError(f"unknown action {action!r}; known are kill, restore, unhealthy, reclaim, slow")


def _only_resource(agents: NodeAgents, name: str) -> str:
    state = agents.states.get(name)
    if state is None:
        raise KeyError(f"no node {name!r}; there are {', '.join(sorted(agents.states))}")
    # Neuron nodes have devices and cores; the device is what a person means.
    devices = sorted(state.spec.devices, key=len)
    if not devices:
        raise ValueError(f"{name} has no devices")
    return devices[0]


def _tls() -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("kubelet.sandbox").configure_cert(context)
    return context


async def _healthz(_request: web.Request) -> web.Response:
    return web.Response(text="ok")


def _format(lines: list[Any], *, has_times: bool) -> bytes:
    return "".join(f"{at} {line}\n" if has_times else f"{line}\n" for at, line in lines).encode()
