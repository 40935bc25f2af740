"""`switchyard router` as it is started in a pod, with a real backend behind it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import re
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from switchyard.core.routing.samples import Samples, parse_samples

from .test_router_workers import until

TOKEN = "correct-horse"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
COMMAND = (sys.executable, "-m", "switchyard", "router")
LOOPBACK = ("--host=127.0.0.1", "--port=0", "--admin-host=127.0.0.1", "--admin-port=0")


class Rig:
    def __init__(self, process: asyncio.subprocess.Process, port: str, admin_port: str) -> None:
        self.process = process
        self.url = f"http://127.0.0.1:{port}"
        self.admin = f"http://127.0.0.1:{admin_port}"

    async def ask(self, url: str, method: str = "GET", **given: Any) -> tuple[int, str]:
        async with aiohttp.ClientSession() as http, http.request(method, url, **given) as answer:
            return answer.status, await answer.text()

    async def put(self, document: dict[str, Any]) -> tuple[int, str]:
        return await self.ask(f"{self.admin}/v1/config", "PUT", headers=BEARER, data=json.dumps(document))

    async def push(self, document: dict[str, Any]) -> tuple[int, str]:
        """What it says once its workers have started: until then it answers 503, which asks for another try."""

        async def decided() -> tuple[int, str] | None:
            status, text = await self.put(document)
            return None if status == 503 else (status, text)

        answer: tuple[int, str] = await until("the workers have the document", decided)
        return answer

    async def read_samples(self) -> Samples:
        status, text = await self.ask(f"{self.admin}/v1/samples", headers=BEARER)
        assert status == 200
        return parse_samples(text)

    async def is_ready(self) -> bool:
        return (await self.ask(f"{self.admin}/readyz"))[0] == 200


def play(story: Callable[[Rig, int], Awaitable[None]], *arguments: str) -> None:
    async def run() -> None:
        async def answer(request: web.Request) -> web.Response:
            return web.Response(text=f"echo {request.path}")

        app = web.Application()
        app.router.add_route("*", "/{path:.*}", answer)
        backend = web.AppRunner(app, access_log=None)
        await backend.setup()
        await web.TCPSite(backend, "127.0.0.1", 0).start()
        token = hashlib.sha256(TOKEN.encode()).hexdigest()
        process = await asyncio.create_subprocess_exec(
            *COMMAND,
            *LOOPBACK,
            f"--admin-token-sha256={token}",
            "--drain-delay=100ms",
            *arguments,
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(60):
                assert process.stdout is not None
                line = (await process.stdout.readline()).decode()
                await story(Rig(process, *re.findall(r"127\.0\.0\.1:(\d+)", line)), backend.addresses[0][1])
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            await backend.cleanup()

    asyncio.run(run())


def document(version: int, port: int) -> dict[str, Any]:
    return {"version": version, "arms": {"baseline": {"url": f"http://127.0.0.1:{port}"}}}


@pytest.mark.parametrize("workers", [1, 2])
def test_a_pushed_document_is_confirmed_carries_requests_and_every_one_is_counted(workers: int) -> None:
    async def story(rig: Rig, port: int) -> None:
        assert (await rig.ask(f"{rig.admin}/readyz"))[0] == 503
        status, text = await rig.push(document(1, port))
        assert (status, text) == (200, '{"version": 1}')
        await until("the router is ready", rig.is_ready)
        for number in range(20):
            assert await rig.ask(f"{rig.url}/{number}") == (200, f"echo /{number}")
        samples = await rig.read_samples()
        assert samples.version == 1
        assert samples.segments["default"].started == {"baseline": 20}
        status, text = await rig.put({**document(2, port), "comparators": [{"type": "telepathy"}]})
        assert status == 422
        assert "telepathy" in text
        assert (
            'switchyard_router_requests_total{segment="default",arm="baseline",outcome="good"} 20'
            in (await rig.ask(f"{rig.admin}/metrics"))[1]
        )
        rig.process.terminate()
        assert await rig.process.wait() == 0

    play(story, f"--workers={workers}")


def test_a_document_in_a_file_is_in_force_before_the_first_request(tmp_path: Path) -> None:
    path = tmp_path / "routing.json"
    path.write_text(json.dumps(document(1, 9)))

    async def story(rig: Rig, port: int) -> None:
        assert await rig.is_ready()
        path.write_text(json.dumps(document(2, port)))

        async def is_taken() -> bool:
            return (await rig.ask(f"{rig.url}/x"))[0] == 200

        await until("the file's next version is taken", is_taken)

    play(story, f"--config={path}")


def test_a_port_in_use_ends_the_command_with_a_sentence() -> None:
    async def run() -> tuple[int | None, str]:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            arguments = (*LOOPBACK, f"--port={taken.getsockname()[1]}", "--workers=2")
            process = await asyncio.create_subprocess_exec(
                *COMMAND, *arguments, stderr=asyncio.subprocess.PIPE, env={**os.environ}
            )
            _, text = await process.communicate()
            return process.returncode, text.decode()

    code, text = asyncio.run(run())
    assert code == 1
    assert "can't listen on 127.0.0.1:" in text
    assert "Traceback" not in text


def test_a_worker_that_is_killed_costs_no_request_that_comes_after_and_begins_a_new_epoch() -> None:
    async def story(rig: Rig, port: int) -> None:
        await until("the workers listen", lambda: count_children(rig.process.pid) == 2)
        assert (await rig.push(document(1, port)))[0] == 200
        await until("the router is ready", rig.is_ready)
        for _ in range(10):
            assert (await rig.ask(f"{rig.url}/x"))[0] == 200
        before = await rig.read_samples()
        os.kill(find_children(rig.process.pid)[0], signal.SIGKILL)
        await until("the death is noticed", lambda: restarts(rig))
        for _ in range(20):
            assert (await rig.ask(f"{rig.url}/x"))[0] == 200
        await until("the router is ready again", rig.is_ready)
        after = await rig.read_samples()
        assert after.epoch != before.epoch
        assert after.segments["default"].started == {"baseline": 30}
        assert after.version == 1

    play(story, "--workers=2")


@pytest.mark.parametrize("workers", [1, 2])
def test_no_request_fails_of_callers_who_leave_when_the_router_is_not_ready_any_more(workers: int) -> None:
    async def story(rig: Rig, port: int) -> None:
        assert (await rig.push(document(1, port)))[0] == 200
        await until("the router is ready", rig.is_ready)
        has_left = asyncio.Event()
        answered = 0

        async def keep_asking() -> None:
            nonlocal answered
            async with aiohttp.ClientSession() as http:
                while not has_left.is_set():
                    # POST: the client repeats no POST by itself where a connection broke
                    async with http.post(rig.url, data=b"x" * 1000) as answer:
                        assert (answer.status, await answer.text()) == (200, "echo /")
                        answered += 1

        callers = [asyncio.create_task(keep_asking()) for _ in range(8)]
        await until("requests are answered", lambda: answered > 100)
        rig.process.terminate()

        async def is_unready() -> bool:
            return not await rig.is_ready()

        await until("the router is not ready", is_unready)
        before = answered
        await until("requests are answered all the same", lambda: answered > before + 20)
        has_left.set()
        await asyncio.gather(*callers)
        assert await rig.process.wait() == 0

    play(story, f"--workers={workers}", "--drain-delay=3s")


async def restarts(rig: Rig) -> int:
    _, text = await rig.ask(f"{rig.admin}/v1/config", headers=BEARER)
    return sum(each["restarts"] for each in json.loads(text)["workers"])


def find_children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def count_children(pid: int) -> int:
    return len(find_children(pid))
