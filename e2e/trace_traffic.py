"""Requests that come as in a recorded trace, faster and smaller, sent from a thread of their own."""

from __future__ import annotations

import asyncio
import csv
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

AZURE = Path(__file__).parents[1] / "tests" / "data" / "azure" / "conversation-sample.csv"
_TOKENS_SHARE = 8  # sizes are divided by this
_CHARACTERS_PER_TOKEN = 4


@dataclass(frozen=True, slots=True)
class Arrival:
    at_seconds: float
    prompt_tokens: int
    answer_tokens: int


def read_trace(speed: float) -> list[Arrival]:
    """The recorded requests in order, their time divided by `speed`, their sizes made small."""
    with AZURE.open(encoding="utf-8") as file:
        return [
            Arrival(
                float(row["seconds"]) / speed,
                max(1, int(row["context_tokens"]) // _TOKENS_SHARE),
                max(1, int(row["generated_tokens"]) // _TOKENS_SHARE),
            )
            for row in csv.DictReader(file)
        ]


def steady(rate: float, seconds: float) -> list[Arrival]:
    """Equal requests at an even pace."""
    return [Arrival(number / rate, 100, 20) for number in range(int(rate * seconds))]


@dataclass
class Traffic:
    """What became of the requests of one run."""

    sent: int = 0
    answers: dict[int, int] = field(default_factory=dict)  # status -> how many; 0: no answer
    _stopping: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    @property
    def is_over(self) -> bool:
        return self._thread is None or not self._thread.is_alive()

    def start(self, url: str, arrivals: list[Arrival]) -> None:
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._send_all(url, arrivals)), daemon=True
        )
        self._thread.start()

    def _run(self, url: str, arrivals: list[Arrival]) -> None:
        asyncio.run(self._send_all(url, arrivals))

    def stop(self) -> None:
        """Send no more, and wait for the answers that are under way."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout=30)

    async def _send_all(self, url: str, arrivals: list[Arrival]) -> None:
        loop = asyncio.get_running_loop()
        start = loop.time()
        # a new connection for each request: callers are many, and a Service spreads connections
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        timeout = aiohttp.ClientTimeout(total=30)
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout, trust_env=False) as session,
            asyncio.TaskGroup() as tasks,
        ):
            for arrival in arrivals:
                await asyncio.sleep(max(0.0, start + arrival.at_seconds - loop.time()))
                if self._stopping.is_set():
                    return
                tasks.create_task(self._send(session, url, arrival))

    async def _send(self, session: aiohttp.ClientSession, url: str, arrival: Arrival) -> None:
        self.sent += 1
        body = {
            "model": "sim",
            "prompt": "x" * (arrival.prompt_tokens * _CHARACTERS_PER_TOKEN),
            "max_tokens": arrival.answer_tokens,
        }
        try:
            async with session.post(f"{url}/v1/completions", json=body) as response:
                await response.read()
                status = response.status
        except (aiohttp.ClientError, TimeoutError, OSError):
            status = 0
        self.answers[status] = self.answers.get(status, 0) + 1


@contextmanager
def driven(url: str, arrivals: list[Arrival]) -> Iterator[Traffic]:
    """Traffic that comes while the body runs."""
    traffic = Traffic()
    traffic.start(url, arrivals)
    try:
        yield traffic
    finally:
        traffic.stop()
