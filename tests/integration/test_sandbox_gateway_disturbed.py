"""The sandbox's gateway while pods, the API server, ports and definitions come and go."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from typing import Any, Self

import aiohttp
from tests.integration.gateway_scene import Scene, run, to
from tests.integration.test_sandbox_cluster import deployment, pods_of, ready_pods, until

from switchyard.sandbox.client import CRDS, DEPLOYMENTS, SERVICES, STRATEGIC_PATCH
from switchyard.sandbox.cluster.conditions import find_condition
from switchyard.sandbox.gateway.kinds import GATEWAYS, HTTP_ROUTES, install


class Asker:
    """Asks without a pause, on two connections, and keeps what came back."""

    def __init__(self, scene: Scene, url: str) -> None:
        self._scene = scene
        self._url = url
        self._is_over = asyncio.Event()
        self.outcomes: Counter[str] = Counter()

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._ask()) for _ in range(2)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._is_over.set()
        await asyncio.gather(*self._tasks)

    async def _ask(self) -> None:
        while not self._is_over.is_set():
            try:
                status, _ = await self._scene.ask(self._url)
                self.outcomes[str(status)] += 1
            except aiohttp.ClientError as error:
                self.outcomes[repr(error)] += 1

    async def see(self, count: int) -> None:
        """Wait for so many more answers."""
        wanted = self.outcomes.total() + count

        async def has_enough() -> bool:
            return self.outcomes.total() >= wanted

        await until(has_enough)


async def serve_model(scene: Scene) -> str:
    """The URL of two model servers behind a Gateway."""
    body = deployment("web", 2, resources={})
    body["spec"]["template"]["spec"].pop("nodeSelector")
    await scene.client.create(DEPLOYMENTS, "default", body)
    await scene.make(
        SERVICES, "web", {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]}
    )
    await ready_pods(scene.client, 2)
    url = await scene.gateway()
    await scene.route("web", [{"backendRefs": [to("web")]}])

    async def is_there() -> bool:
        return (await scene.ask(f"{url}/v1/models"))[0] == 200

    await until(is_there)
    return f"{url}/v1/models"


def test_pods_are_replaced_behind_a_gateway_without_a_failed_request() -> None:
    async def scenario(scene: Scene) -> None:
        url = await serve_model(scene)
        async with Asker(scene, url) as asker:
            patch = {"spec": {"template": {"metadata": {"annotations": {"again": "1"}}}}}
            before = {pod["metadata"]["name"] for pod in await pods_of(scene.client)}
            await scene.client.patch(DEPLOYMENTS, "default", "web", patch, content_type=STRATEGIC_PATCH)

            async def are_replaced() -> Any:
                names = {pod["metadata"]["name"] for pod in await pods_of(scene.client)}
                return len(names) == 2 and not names & before

            await until(are_replaced)
            await asker.see(20)
        assert set(asker.outcomes) == {"200"}

    run(scenario, fleet="default")


def test_traffic_goes_on_while_the_api_server_is_down() -> None:
    async def scenario(scene: Scene) -> None:
        await scene.upstream("web")
        await scene.upstream("new")
        url = await scene.gateway()
        await scene.route("web", [{"backendRefs": [to("web")]}])
        async with Asker(scene, url) as asker:
            await scene.sandbox.faults.add("downtime", seconds=1.0)
            await asker.see(50)

            async def is_changed() -> bool:
                change = {"spec": {"rules": [{"backendRefs": [to("new")]}]}}
                await scene.client.patch(HTTP_ROUTES, "default", "web", change)
                return True

            await until(is_changed)
            await scene.judged("web")
        assert set(asker.outcomes) == {"200"}
        assert await scene.ask(url) == (200, b"new ")

    run(scenario)


def test_a_port_that_is_taken_is_reported_and_had_as_soon_as_it_is_free() -> None:
    async def scenario(scene: Scene) -> None:
        await scene.upstream("web")
        url = await scene.gateway()
        await scene.route("web", [{"backendRefs": [to("web")]}])
        address = url.removeprefix("http://").partition(":")[0]
        listeners = [
            {"name": "http", "port": 8080, "protocol": "HTTP"},
            {"name": "taken", "port": 8081, "protocol": "HTTP"},
        ]
        with socket.socket() as taken:
            taken.bind((address, 8081))
            taken.listen()
            await scene.client.patch(GATEWAYS, "default", "gw", {"spec": {"listeners": listeners}})

            async def is_reported() -> Any:
                body = await scene.client.get(GATEWAYS, "default", "gw")
                condition = find_condition(body, "Programmed")
                return body if condition["reason"] == "AddressNotUsable" else None

            body = await until(is_reported)
            assert f"{address}:8081" in find_condition(body, "Programmed")["message"]
            reasons = {
                listener["name"]: next(
                    entry["reason"] for entry in listener["conditions"] if entry["type"] == "Accepted"
                )
                for listener in body["status"]["listeners"]
            }
            assert reasons == {"http": "Accepted", "taken": "PortUnavailable"}
            assert (await scene.ask(url))[0] == 200
        later = await scene.sandbox.gateway_url("default", "gw", listener="taken")
        assert later == f"http://{address}:8081"
        assert await scene.ask(later) == (200, b"web ")

    run(scenario)


def test_routes_go_with_their_definition_and_come_back_with_it() -> None:
    async def scenario(scene: Scene) -> None:
        await scene.upstream("web")
        url = await scene.gateway()
        rules = [{"backendRefs": [to("web")]}]
        await scene.route("web", rules)
        assert (await scene.ask(url))[0] == 200
        await scene.client.delete(CRDS, "", "httproutes.gateway.networking.k8s.io")

        async def is_gone() -> bool:
            return (await scene.ask(url))[0] == 404

        await until(is_gone)
        await install(scene.client, ["gateway-api"])
        await scene.route("web", rules)
        assert (await scene.ask(url))[0] == 200

    run(scenario)
