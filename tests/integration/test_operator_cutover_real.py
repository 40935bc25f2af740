"""Counts by track through a real Prometheus that scrapes simulated servers: exact, and told when lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import aiohttp

from switchyard.core.cutover.orders import SignalQuery, SignalValue
from switchyard.engine.ports import Failed

from .operator_fakes import run
from .test_operator_cutover_evidence import BY_SERIES, KEY, NEW, OLD, Scene, Told, at_work, track_pod
from .test_operator_signals_real import PATIENCE_SECONDS, prometheus, pytestmark, server

__all__ = ["pytestmark"]
OLD_POD, NEW_POD = f"{OLD}-aaaaa-2", f"{NEW}-aaaaa-3"


class WallClock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic_seconds(self) -> float:
        return asyncio.get_running_loop().time()


async def ask_models(port: int, count: int) -> None:
    """That many answers of about a tenth of a second."""
    url, body = f"http://127.0.0.1:{port}/v1/completions", {"prompt": "x" * 40, "max_tokens": 4}

    async def send(session: aiohttp.ClientSession) -> None:
        async with session.post(url, json=body) as response:
            await response.read()

    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as tasks:
        for _ in range(count):
            tasks.create_task(send(session))


async def look_until(scene: Scene, is_so: Callable[[Told], object]) -> Told:
    """The first reading for which it is so. AssertionError with the last one."""
    deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
    while True:
        found = await scene.reader.count_tracks(BY_SERIES)
        if is_so(found):
            return found
        assert asyncio.get_running_loop().time() < deadline, found
        await asyncio.sleep(0.2)


def sums(found: Told) -> tuple[int, ...]:
    return () if isinstance(found, Failed) else tuple(each.requests for each in found.values())


def test_every_answer_is_counted_once_and_a_lost_side_is_told(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with server(1) as old, server(2) as new:
            await ask_models(old.port, 30)
            await ask_models(new.port, 20)
            begun = datetime.now(UTC)
            async with prometheus(tmp_path, {OLD_POD: old.port, NEW_POD: new.port}) as url:
                scene = Scene(at_work(track_pod(2), track_pod(3, NEW)), url=url)
                scene.reader.clock = WallClock()
                first = await look_until(scene, lambda found: sums(found) == (30, 20))
                assert isinstance(first, dict)
                assert all(begun < each.at <= datetime.now(UTC) for each in first.values())
                assert {arm: each.within for arm, each in first.items()} == {
                    "baseline": {KEY: 30},
                    "candidate": {KEY: 20},
                }
                await ask_models(new.port, 7)
                second = await look_until(scene, lambda found: sums(found) == (30, 27))
                assert isinstance(second, dict)
                assert {arm: each.epoch for arm, each in first.items()} == {
                    arm: each.epoch for arm, each in second.items()
                }
                query = SignalQuery("main", "answered", ("shop", "chat"), NEW, 60.0)
                values = await scene.reader.ask_signals(
                    {"all": query, "none": replace(query, template="refused")}
                )
                assert values["all"] == SignalValue(27.0)
                assert values["none"].problem == "source main: template refused: an empty answer"
                await new.stop()
                lost = await look_until(scene, lambda found: isinstance(found, Failed))
                assert isinstance(lost, Failed)
                assert f"of the candidate can't be counted: pod {NEW_POD}: there is no" in lost.message

    run(scenario())
