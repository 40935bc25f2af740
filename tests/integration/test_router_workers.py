"""Several worker processes on one port: documents, samples, deaths, hangs, drain."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from switchyard.core.routing.document import RoutingDocument, parse_routing_document
from switchyard.core.routing.samples import Samples, subtract_samples
from switchyard.dataplane.control.fleet import NotConfirmed, SamplesMissing
from switchyard.dataplane.control.supervisor import Supervisor, reserve_port
from switchyard.dataplane.control.worker_process import Patience
from switchyard.dataplane.options import RouterOptions

WORKER = Path(__file__).with_name("router_worker.py")
QUICK = Patience(
    ping_seconds=0.1,
    ping_answer_seconds=0.2,
    missed_pings=3,
    samples_seconds=1.0,
    configure_seconds=20.0,
    first_pause_seconds=0.02,
)


def document(version: int, **fields: Any) -> RoutingDocument:
    plain = {"version": version, "arms": {"baseline": {"url": "http://127.0.0.1:9"}}, **fields}
    return parse_routing_document(json.dumps(plain))


async def until(what: str, ask: Callable[[], Any], seconds: float = 30.0) -> Any:
    """The first answer that is true."""
    deadline = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < deadline:
        answer = ask()
        if asyncio.iscoroutine(answer):
            answer = await answer
        if answer:
            return answer
        await asyncio.sleep(0.02)
    raise AssertionError(f"not within {seconds:.0f} s: {what}")


class Rig:
    def __init__(self, directory: Path, patience: Patience, count: int) -> None:
        self.release = directory / "release"
        self.broken = directory / "broken"
        self.fleet = Supervisor(
            RouterOptions(host="127.0.0.1", port=0, grace_seconds=20.0),
            count,
            (sys.executable, str(WORKER), str(self.release)),
            patience,
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.fleet.port}"

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self.fleet.processes if process.pid is not None]

    def all_listen(self) -> bool:
        return all(state.is_listening for state in self.fleet.workers())

    async def ask(self, path: str = "/") -> dict[str, Any]:
        async with aiohttp.ClientSession() as http, http.get(self.url + path) as answer:
            return json.loads(await answer.text())

    async def find_workers(self, count: int) -> dict[int, int | None]:
        """The version that each process answers with, once so many have answered."""
        found: dict[int, int | None] = {}

        async def more() -> bool:
            answer = await self.ask()
            found[answer["pid"]] = answer["version"]
            return len(found) >= count

        await until(f"{count} workers take connections", more)
        return found


@contextlib.asynccontextmanager
async def started(directory: Path, patience: Patience, count: int) -> AsyncIterator[Rig]:
    rig = Rig(directory, patience, count)
    await rig.fleet.configure(document(1))
    await rig.fleet.start()
    try:
        await until("all workers listen", rig.all_listen)
        yield rig
    finally:
        await rig.fleet.stop(0.0)


def play(
    story: Callable[[Rig], Awaitable[None]], directory: Path, patience: Patience = QUICK, count: int = 2
) -> None:
    async def run() -> None:
        async with asyncio.timeout(90), started(directory, patience, count) as rig:
            await story(rig)

    asyncio.run(run())


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def count(samples: Samples) -> int:
    return samples.segments["default"].started["baseline"]


def test_all_workers_share_the_port_and_have_the_document_before_they_listen(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        assert await rig.find_workers(2) == dict.fromkeys(rig.pids, 1)
        await rig.fleet.configure(document(2))
        assert await rig.find_workers(2) == dict.fromkeys(rig.pids, 2)
        assert [state.version for state in rig.fleet.workers()] == [2, 2]

    play(story, tmp_path)


def test_samples_are_the_sum_of_all_workers(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        before = await rig.fleet.read_samples()
        for _ in range(20):
            await rig.ask()
        after = await rig.fleet.read_samples()
        window = subtract_samples(after, before)
        assert window is not None
        assert count(window) == 20
        assert after.version == 1

    play(story, tmp_path)


def test_a_worker_that_is_killed_comes_back_with_the_document_and_no_window_mixes_its_lives(
    tmp_path: Path,
) -> None:
    async def story(rig: Rig) -> None:
        for _ in range(20):
            await rig.ask()
        before = await rig.fleet.read_samples()
        await rig.fleet.configure(document(2))
        killed = rig.pids[0]
        os.kill(killed, signal.SIGKILL)
        await until("the death is noticed", lambda: rig.fleet.workers()[0].restarts == 1)
        between = await rig.fleet.read_samples()
        await until("the worker is back", rig.all_listen)
        after = await rig.fleet.read_samples()
        assert len({before.epoch, between.epoch, after.epoch}) == 3
        assert subtract_samples(after, before) is None
        assert (count(before), count(between), count(after)) == (20, 20, 20)
        assert killed not in rig.pids
        assert await rig.find_workers(2) == dict.fromkeys(rig.pids, 2)

    play(story, tmp_path)


def test_a_document_that_comes_while_a_worker_is_away_is_confirmed_when_it_is_back(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        os.kill(rig.pids[1], signal.SIGKILL)
        await rig.fleet.configure(document(2))
        assert [state.version for state in rig.fleet.workers()] == [2, 2]

    play(story, tmp_path)


def test_a_worker_that_hangs_makes_samples_fail_rather_than_short_and_is_replaced(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        hung = (await rig.ask())["pid"]
        name = rig.pids.index(hung)
        os.kill(hung, signal.SIGSTOP)
        with pytest.raises(SamplesMissing, match=rf"worker {name}\b"):
            await rig.fleet.read_samples()
        await until("it is replaced", lambda: rig.all_listen() and hung not in rig.pids)
        assert rig.fleet.workers()[name].restarts == 1
        assert not is_alive(hung)
        await rig.fleet.read_samples()

    play(story, tmp_path)


def test_a_document_is_not_confirmed_while_a_worker_hangs_and_the_message_names_it(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        os.kill(rig.pids[1], signal.SIGSTOP)
        with pytest.raises(NotConfirmed) as refusal:
            await rig.fleet.configure(document(2))
        assert [line.partition(":")[0] for line in refusal.value.problems] == ["worker 1"]
        assert [state.version for state in rig.fleet.workers()] == [2, 1]
        os.kill(rig.pids[1], signal.SIGCONT)
        await rig.fleet.configure(document(2))
        assert [state.version for state in rig.fleet.workers()] == [2, 2]

    patience = Patience(configure_seconds=0.5, ping_answer_seconds=20.0)
    play(story, tmp_path, patience)


def test_a_document_that_an_engine_fails_on_is_reported_with_its_reason(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        with pytest.raises(NotConfirmed) as refusal:
            await rig.fleet.configure(document(2, workload="unbearable"))
        assert [line for line in refusal.value.problems if "can't bear it" in line] == list(
            refusal.value.problems
        )
        assert len(refusal.value.problems) == 2
        await rig.fleet.configure(document(3))
        assert [state.problem for state in rig.fleet.workers()] == ["", ""]

    play(story, tmp_path)


def test_a_worker_that_can_not_start_is_tried_again_at_growing_intervals(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        rig.broken.touch()
        os.kill(rig.pids[0], signal.SIGKILL)
        state = await until(
            "the pause has grown twice",
            lambda: next((s for s in rig.fleet.workers() if s.restarts >= 3), None),
        )
        assert "starts again within 0.08 s" in state.problem
        assert not state.is_listening
        assert (await rig.ask())["pid"] == rig.pids[-1]  # the other one serves
        rig.broken.unlink()
        await until("the worker is back", rig.all_listen)

    play(story, tmp_path)


def test_stopping_lets_streams_end_and_takes_no_more_connections(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        pids = rig.pids
        async with aiohttp.ClientSession() as http, http.get(f"{rig.url}/stream") as answer:
            assert await answer.content.readline() == b"first\n"
            stopping = asyncio.create_task(rig.fleet.stop(20.0))

            async def is_refused() -> bool:
                try:
                    await rig.ask()
                except aiohttp.ClientConnectorError:
                    return True
                except aiohttp.ClientError:
                    return False
                return False

            await until("connections are refused", is_refused)
            assert not stopping.done()
            rig.release.touch()
            lines = (await answer.content.read()).splitlines()
            assert lines[-1] == b"last"
            await stopping
        assert [pid for pid in pids if is_alive(pid)] == []

    play(story, tmp_path)


def test_what_does_not_end_within_the_grace_period_is_ended(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        pids = rig.pids
        async with aiohttp.ClientSession() as http, http.get(f"{rig.url}/stream") as answer:
            assert await answer.content.readline() == b"first\n"
            # the kernel gives connections to a stopped process too, so the one that has none is stopped
            (idle,) = set(pids) - {int(answer.headers["X-Pid"])}
            os.kill(idle, signal.SIGSTOP)
            with contextlib.suppress(aiohttp.ClientError):
                await rig.fleet.stop(0.2)
                await answer.content.read()
        assert [pid for pid in pids if is_alive(pid)] == []

    patience = Patience(ping_answer_seconds=60.0, exit_seconds=0.2)
    play(story, tmp_path, patience)


def test_a_port_that_somebody_listens_on_is_refused_even_where_it_would_be_shared() -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(OSError, match="in use"):
            reserve_port("127.0.0.1", other.getsockname()[1])


def test_a_reserved_port_can_be_shared_with_those_who_ask_for_it_alone() -> None:
    with reserve_port("127.0.0.1", 0) as reserved, socket.socket() as plain, socket.socket() as sharing:
        address = reserved.getsockname()
        with pytest.raises(OSError, match="in use"):
            plain.bind(address)
        sharing.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sharing.bind(address)
        sharing.listen()
        with socket.create_connection(address) as connection:
            assert connection.getpeername() == address
