"""How a router ends: asked to, killed, or orphaned, with one worker in its own process and with two more."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest

from .test_router_workers import is_alive, until

PROCESS = Path(__file__).with_name("router_process.py")
REPOSITORY = Path(__file__).parents[2]


class Rig:
    def __init__(
        self, process: asyncio.subprocess.Process, release: Path, port: str, admin_port: str
    ) -> None:
        self.process = process
        self.release = release
        self.url = f"http://127.0.0.1:{port}"
        self.admin = f"http://127.0.0.1:{admin_port}"

    async def is_ready(self) -> bool:
        async with aiohttp.ClientSession() as http, http.get(f"{self.admin}/readyz") as answer:
            return answer.status == 200

    async def ask(self) -> int:
        """The process that answers."""
        async with aiohttp.ClientSession() as http, http.get(self.url) as answer:
            return int(json.loads(await answer.text())["pid"])

    async def is_refused(self) -> bool:
        try:
            await self.ask()
        except aiohttp.ClientConnectorError:
            return True
        except aiohttp.ClientError:
            return False
        return False

    async def find_workers(self, count: int) -> set[int]:
        found: set[int] = set()

        async def more() -> bool:
            found.add(await self.ask())
            return len(found) >= count

        await until(f"{count} workers answer", more)
        return found

    @contextlib.asynccontextmanager
    async def stream(self) -> AsyncIterator[aiohttp.StreamReader]:
        async with aiohttp.ClientSession() as http, http.get(f"{self.url}/stream") as answer:
            assert await answer.content.readline() == b"first\n"
            yield answer.content


def play(story: Callable[[Rig], Awaitable[None]], directory: Path, *arguments: str) -> None:
    config = directory / "routing.json"
    config.write_text(json.dumps({"version": 1, "arms": {"baseline": {"url": "http://127.0.0.1:9"}}}))
    release = directory / "release"
    usual = ("--host=127.0.0.1", "--port=0", "--admin-host=127.0.0.1", "--admin-port=0", "--config", config)

    async def run() -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(PROCESS),
            str(release),
            *map(str, usual),
            *arguments,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        )
        try:
            async with asyncio.timeout(60):
                assert process.stdout is not None
                line = (await process.stdout.readline()).decode()
                port, admin_port = re.findall(r"127\.0\.0\.1:(\d+)", line)
                rig = Rig(process, release, port, admin_port)
                await until("the router is ready", rig.is_ready)
                await story(rig)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    asyncio.run(run())


WORKERS = pytest.mark.parametrize("workers", [1, 2])


@WORKERS
def test_a_router_that_is_told_to_end_turns_unready_then_deaf_and_lets_streams_end(
    tmp_path: Path, workers: int
) -> None:
    async def story(rig: Rig) -> None:
        pids = await rig.find_workers(workers)
        async with rig.stream() as lines:
            rig.process.terminate()

            async def is_unready() -> bool:
                return not await rig.is_ready()

            await until("it is not ready", is_unready)
            assert await rig.ask() in pids  # those who have not heard are still served
            await until("connections are refused", rig.is_refused)
            assert rig.process.returncode is None
            rig.release.touch()
            assert (await lines.read()).splitlines()[-1] == b"last"
        assert await rig.process.wait() == 0
        assert [pid for pid in pids if is_alive(pid)] == []

    play(story, tmp_path, f"--workers={workers}", "--drain-delay=1s", "--grace=30s")


@WORKERS
def test_a_stream_without_end_is_cut_when_the_grace_period_is_over(tmp_path: Path, workers: int) -> None:
    async def story(rig: Rig) -> None:
        async with rig.stream() as lines:
            rig.process.terminate()
            with contextlib.suppress(aiohttp.ClientError):
                assert b"last" not in await lines.read()
        assert await rig.process.wait() == 0

    play(story, tmp_path, f"--workers={workers}", "--drain-delay=0s", "--grace=200ms")


@WORKERS
def test_a_second_signal_cuts_the_drain_short(tmp_path: Path, workers: int) -> None:
    async def story(rig: Rig) -> None:
        async with rig.stream() as lines:
            rig.process.terminate()

            async def is_unready() -> bool:
                return not await rig.is_ready()

            await until("it is not ready", is_unready)
            rig.process.terminate()
            with contextlib.suppress(aiohttp.ClientError):
                await lines.read()
        assert await rig.process.wait() == 0

    play(story, tmp_path, f"--workers={workers}", "--drain-delay=1h", "--grace=1h")


def test_workers_of_a_supervisor_that_was_killed_take_no_more_and_end_with_their_last_request(
    tmp_path: Path,
) -> None:
    async def story(rig: Rig) -> None:
        pids = await rig.find_workers(2)
        async with rig.stream() as lines:
            rig.process.send_signal(signal.SIGKILL)
            await until("connections are refused", rig.is_refused)
            await until("only the worker with the stream is left", lambda: sum(map(is_alive, pids)) == 1)
            rig.release.touch()
            assert (await lines.read()).splitlines()[-1] == b"last"
        await until("all workers have ended", lambda: not any(map(is_alive, pids)))

    play(story, tmp_path, "--workers=2", "--grace=30s")


def test_signals_to_the_whole_group_do_not_end_workers_before_the_supervisor_says_so(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        pids = await rig.find_workers(2)
        for pid in pids:
            os.kill(pid, signal.SIGTERM)
            os.kill(pid, signal.SIGINT)
        assert await rig.find_workers(2) == pids
        assert await rig.is_ready()

    play(story, tmp_path, "--workers=2")
