"""Programs on simulated nodes: what they are started with, and files that follow their ConfigMap."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from tests.integration.test_sandbox_cluster import until

from switchyard.sandbox.client import CONFIG_MAPS, EVENTS, PODS, ApiClient
from switchyard.sandbox.cluster import programs
from switchyard.sandbox.cluster.conditions import is_pod_ready
from switchyard.sandbox.cluster.fleet import read_fleet
from switchyard.sandbox.cluster.programs import Launch, Program
from switchyard.sandbox.handle import Sandbox

FLEET = read_fleet([{"name": "cpu", "nodes": 1}])


class FileServer:
    """A program that answers with the file that `--config` names; GET /exit ends it with code 3."""

    def __init__(self, launch: Launch) -> None:
        self._launch = launch
        self.config_path = Path(dict(zip(launch.args[::2], launch.args[1::2], strict=True))["--config"])
        self.grace_seconds: float | None = None
        self._runner: web.AppRunner | None = None

    async def start(self) -> FileServer:
        app = web.Application()
        app.router.add_get("/", self._answer)
        app.router.add_get("/exit", self._exit)
        self._runner = web.AppRunner(app, shutdown_timeout=0.05)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._launch.address, 8080).start()
        self._launch.log(f"shows {self._launch.env['WHAT']}")
        return self

    async def _answer(self, _request: web.Request) -> web.Response:
        return web.Response(body=self.config_path.read_bytes())

    async def _exit(self, _request: web.Request) -> web.Response:
        self._launch.on_exit(3, "Error")
        return web.Response()

    def set_latency_factor(self, factor: float) -> None: ...

    async def stop(self, *, grace_seconds: float) -> None:
        self.grace_seconds = grace_seconds
        if self._runner is not None:
            await self._runner.cleanup()


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[FileServer]:
    """Every program that was started, in order."""
    servers: list[FileServer] = []

    async def start(launch: Launch) -> Program:
        servers.append(await FileServer(launch).start())
        return servers[-1]

    monkeypatch.setattr(programs, "PROGRAMS", {**programs.PROGRAMS, "router": start})
    return servers


def run_in_sandbox(scenario: Callable[[ApiClient], Awaitable[None]]) -> None:
    async def run() -> None:
        async with Sandbox(FLEET, heartbeat_seconds=0.3) as sandbox:
            await scenario(sandbox.client)

    asyncio.run(run())


def config_map(text: str) -> dict:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "settings", "namespace": "default"},
        "data": {"routing.json": text},
    }


def pod() -> dict:
    container = {
        "name": "router",
        "image": "switchyard:1",
        "args": ["router", "--config", "/etc/switchyard/routing.json"],
        "env": [{"name": "WHAT", "value": "/etc/switchyard"}],
        "ports": [{"name": "http", "containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 1},
        "volumeMounts": [{"name": "config", "mountPath": "/etc/switchyard"}],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "router", "namespace": "default"},
        "spec": {
            "containers": [container],
            "volumes": [{"name": "config", "configMap": {"name": "settings"}}],
            "terminationGracePeriodSeconds": 2,
        },
    }


async def ready_pod(client: ApiClient) -> dict:
    async def is_ready() -> Any:
        body = await client.get(PODS, "default", "router")
        return body if is_pod_ready(body) else None

    return await until(is_ready)


async def get(body: dict, path: str = "/") -> str:
    url = f"http://{body['status']['podIP']}:8080{path}"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return await answer.text()


def test_a_program_reads_its_config_map_as_a_file_and_sees_its_changes(started: list[FileServer]) -> None:
    async def scenario(client: ApiClient) -> None:
        await client.create(CONFIG_MAPS, "default", config_map("one"))
        await client.create(PODS, "default", pod())
        body = await ready_pod(client)
        assert await get(body) == "one"
        await client.patch(CONFIG_MAPS, "default", "settings", {"data": {"routing.json": "two"}})

        async def has_changed() -> bool:
            return await get(body) == "two"

        await until(has_changed)
        (server,) = started
        folder = server.config_path.parent
        await client.delete(PODS, "default", "router")

        async def is_gone() -> bool:
            return not (await client.list(PODS, "default"))["items"] and not folder.exists()

        await until(is_gone)
        assert server.grace_seconds == 2.0

    run_in_sandbox(scenario)


def test_a_program_waits_for_its_config_map_and_an_event_says_so(started: list[FileServer]) -> None:
    async def scenario(client: ApiClient) -> None:
        await client.create(PODS, "default", pod())

        async def is_told() -> bool:
            found = await client.list(EVENTS, "default", params={"fieldSelector": "reason=FailedMount"})
            return any('configmap "settings" not found' in event["message"] for event in found["items"])

        await until(is_told)
        waiting = (await client.get(PODS, "default", "router"))["status"]
        assert waiting["phase"] == "Pending"
        assert waiting["containerStatuses"][0]["state"]["waiting"]["reason"] == "ContainerCreating"
        await client.create(CONFIG_MAPS, "default", config_map("late"))
        body = await ready_pod(client)
        assert await get(body) == "late"
        assert body["status"]["containerStatuses"][0]["restartCount"] == 0

    run_in_sandbox(scenario)


def test_a_program_that_ends_by_itself_is_restarted_with_its_files(started: list[FileServer]) -> None:
    async def scenario(client: ApiClient) -> None:
        await client.create(CONFIG_MAPS, "default", config_map("one"))
        await client.create(PODS, "default", pod())
        body = await ready_pod(client)
        with contextlib.suppress(aiohttp.ClientError):
            await get(body, "/exit")

        async def is_back() -> Any:
            current = await ready_pod(client)
            status = current["status"]["containerStatuses"][0]
            return status if status["restartCount"] == 1 else None

        status = await until(is_back)
        assert status["lastState"]["terminated"]["exitCode"] == 3
        assert await get(body) == "one"
        assert len(started) == 2

    run_in_sandbox(scenario)


def test_a_router_passes_traffic_and_follows_its_config_map() -> None:
    async def scenario(client: ApiClient) -> None:
        def answering(text: str) -> Callable[[web.Request], Awaitable[web.Response]]:
            async def answer(_request: web.Request) -> web.Response:
                return web.Response(text=text)

            return answer

        backends = []
        for name in ("first", "second"):
            app = web.Application()
            app.router.add_get("/{tail:.*}", answering(name))
            runner = web.AppRunner(app, shutdown_timeout=0.05)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            backends.append(runner)
        ports = [runner.addresses[0][1] for runner in backends]

        def write(version: int, port: int) -> str:
            document = {"version": version, "arms": {"baseline": {"url": f"http://127.0.0.1:{port}"}}}
            return json.dumps(document)

        await client.create(CONFIG_MAPS, "default", config_map(write(1, ports[0])))
        body = pod()
        body["spec"]["containers"][0]["readinessProbe"]["httpGet"] = {"path": "/readyz", "port": 8081}
        await client.create(PODS, "default", body)
        shown = await ready_pod(client)
        assert await get(shown) == "first"
        change = {"data": {"routing.json": write(2, ports[1])}}
        await client.patch(CONFIG_MAPS, "default", "settings", change)

        async def has_moved() -> bool:
            return await get(shown) == "second"

        await until(has_moved)
        await client.delete(PODS, "default", "router")

        async def is_gone() -> bool:
            return not (await client.list(PODS, "default"))["items"]

        await until(is_gone)
        for runner in backends:
            await runner.cleanup()

    run_in_sandbox(scenario)
