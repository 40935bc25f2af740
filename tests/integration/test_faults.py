"""Injected failures, as a client meets them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import aiohttp
import pytest

from switchyard.sandbox.apiserver.app import ApiServer, ServerOptions

_ADMIN = {"Authorization": "Bearer admin"}
_CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
Call = Callable[..., Coroutine[Any, Any, tuple[int, Any]]]


def run(scenario: Callable[[ApiServer, Call], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        options = ServerOptions(is_tls=False, admin_token="admin")
        async with ApiServer(options) as server, aiohttp.ClientSession(server.url, headers=_ADMIN) as session:

            async def call(method: str, path: str, **more: Any) -> tuple[int, Any]:
                async with session.request(method, path, **more) as answer:
                    return answer.status, await answer.json()

            await scenario(server, call)

    asyncio.run(main())


async def _set(call: Call, **fault: Any) -> int:
    code, body = await call("POST", "/sandbox/v1/faults", json=fault)
    assert code == 201, body
    return body.get("id", 0)


async def _put(call: Call, name: str) -> dict[str, Any]:
    code, body = await call("POST", _CONFIG_MAPS, json={"metadata": {"name": name}})
    assert code == 201, body
    return body


async def _watch(server: ApiServer, version: str, seconds: int = 1) -> AsyncIterator[str]:
    query = {"watch": "1", "resourceVersion": version, "timeoutSeconds": str(seconds)}
    async with (
        aiohttp.ClientSession(server.url, headers=_ADMIN) as session,
        session.get(_CONFIG_MAPS, params=query) as answer,
    ):
        async for line in answer.content:
            yield line.decode()


def test_the_next_requests_fail_and_then_no_more() -> None:
    async def scenario(server: ApiServer, call: Call) -> None:
        await _set(
            call, kind="fail", verb="list", resource="configmaps", code=503, count=2, retryAfterSeconds=1
        )
        codes = [(await call("GET", _CONFIG_MAPS))[0] for _ in range(3)]
        assert codes == [503, 503, 200]
        assert (await call("GET", "/api/v1/pods"))[0] == 200

    run(scenario)


def test_a_failure_is_a_status_with_its_reason() -> None:
    async def scenario(server: ApiServer, call: Call) -> None:
        await _set(call, kind="fail", resource="configmaps", code=409)
        code, body = await call("POST", _CONFIG_MAPS, json={"metadata": {"name": "a"}})
        assert (code, body["kind"], body["reason"]) == (409, "Status", "Conflict")

    run(scenario)


def test_latency_delays_what_it_names() -> None:
    async def scenario(server: ApiServer, call: Call) -> None:
        await _set(call, kind="latency", verb="list", resource="configmaps", seconds=0.3)
        began = time.monotonic()
        await call("GET", _CONFIG_MAPS)
        assert time.monotonic() - began >= 0.3

    run(scenario)


def test_a_dropped_event_never_arrives() -> None:
    async def scenario(server: ApiServer, call: Call) -> None:
        version = (await _put(call, "before"))["metadata"]["resourceVersion"]
        await _set(call, kind="drop-events", resource="configmaps", every=2, count=0)
        for name in ("one", "two", "three"):
            await _put(call, name)
        seen = "".join([line async for line in _watch(server, version)])
        assert '"one"' in seen
        assert '"two"' not in seen
        assert '"three"' in seen

    run(scenario)


def test_a_frozen_list_does_not_show_what_came_later() -> None:
    async def scenario(server: ApiServer, call: Call) -> None:
        await _put(call, "early")
        number = await _set(call, kind="stale-lists", resource="configmaps")
        await _put(call, "late")
        names = [item["metadata"]["name"] for item in (await call("GET", _CONFIG_MAPS))[1]["items"]]
        assert names == ["early"]
        await call("DELETE", f"/sandbox/v1/faults/{number}")
        names = [item["metadata"]["name"] for item in (await call("GET", _CONFIG_MAPS))[1]["items"]]
        assert names == ["early", "late"]

    run(scenario)


def test_compacted_history_answers_410() -> None:
    async def scenario(server: ApiServer, call: Call) -> None:
        version = (await _put(call, "a"))["metadata"]["resourceVersion"]
        await _put(call, "b")
        await _set(call, kind="compact-history")
        code, body = await call("GET", _CONFIG_MAPS, params={"watch": "1", "resourceVersion": version})
        assert body.get("code", code) == 410 or body["object"]["code"] == 410

    run(scenario)


def test_cut_watches_end_at_once() -> None:
    async def scenario(server: ApiServer, call: Call) -> None:
        version = (await _put(call, "a"))["metadata"]["resourceVersion"]

        async def drain() -> None:
            async for _ in _watch(server, version, seconds=60):
                pass

        watching = asyncio.create_task(drain())
        for _ in range(500):
            if server.handlers.watches:
                break
            await asyncio.sleep(0.01)
        _, body = await call("POST", "/sandbox/v1/faults", json={"kind": "cut-watches"})
        assert body == {"watches": 1}
        await asyncio.wait_for(watching, 5)

    run(scenario)


def test_a_server_that_is_down_gives_no_answer_until_it_is_back() -> None:
    async def scenario(server: ApiServer, call: Call) -> None:
        await _set(call, kind="downtime", seconds=0.3)
        with pytest.raises(aiohttp.ClientError):
            await call("GET", _CONFIG_MAPS)
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            try:
                assert (await call("GET", _CONFIG_MAPS))[0] == 200
            except aiohttp.ClientError:
                await asyncio.sleep(0.05)
            else:
                return
        pytest.fail("the server did not come back")

    run(scenario)


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "nope"},
        {"kind": "fail", "code": 200},
        {"kind": "latency", "seconds": -1},
        {"kind": "fail", "x": 1},
    ],
)
def test_a_fault_that_makes_no_sense_is_refused(fault: dict[str, Any]) -> None:
    async def scenario(server: ApiServer, call: Call) -> None:
        code, body = await call("POST", "/sandbox/v1/faults", json=fault)
        assert (code, body["reason"]) == (400, "BadRequest")
        assert (await call("GET", "/sandbox/v1/faults"))[1] == {"faults": []}

    run(scenario)


def test_faults_are_for_administrators() -> None:
    async def scenario(server: ApiServer, call: Call) -> None:
        code, _ = await call("GET", "/sandbox/v1/faults", headers={"Impersonate-User": "ann"})
        assert code == 403

    run(scenario)
