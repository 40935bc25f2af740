"""`python -m tests.benchmarks.http_load`: requests at a fixed rate, or as many as go, and what they took.

Open loop: requests are due at instants that don't wait for answers, and each is timed from the instant it
was due, so that a server that stalls can't hide it (coordinated omission). A process of its own, so that it
takes nothing from what it measures but a core.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import deque
from urllib.parse import urlsplit

import click
import httptools
import numpy as np
import uvloop

_BODY = b'{"prompt": "' + b"x" * 480 + b'", "max_tokens": 16}'


class _Caller(asyncio.Protocol):
    """One connection with one request under way at most."""

    def __init__(self, load: _Load) -> None:
        self._load = load
        self._transport: asyncio.Transport | None = None
        self._due_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._load.free(self)

    def ask(self, due_at: float) -> None:
        self._due_at = due_at
        self._parser = httptools.HttpResponseParser(self)
        self._transport.write(self._load.request)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        self._load.answered(self, self._parser.get_status_code(), self._due_at)

    def connection_lost(self, exc: Exception | None) -> None:
        self._load.lost()


class _Load:
    def __init__(self, url: str, rate: float, seconds: float, connections: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._rate, self._seconds, self._connections = rate, seconds, connections
        parts = urlsplit(url)
        self._host, self._port = parts.hostname, parts.port
        self.request = (
            f"POST {parts.path or '/'} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(_BODY)}\r\n\r\n"
        ).encode() + _BODY
        self._idle: deque[_Caller] = deque()
        self._waiting: deque[float] = deque()
        self._latencies: list[float] = []
        self._failed = 0
        self._stop_at = 0.0

    def free(self, caller: _Caller) -> None:
        if self._waiting:
            caller.ask(self._waiting.popleft())
        elif not self._rate and self._stop_at and time.monotonic() < self._stop_at:
            caller.ask(time.monotonic())
        else:
            self._idle.append(caller)

    def answered(self, caller: _Caller, status: int, due_at: float) -> None:
        if status == 200:
            self._latencies.append(time.monotonic() - due_at)
        else:
            self._failed += 1
        self.free(caller)

    def lost(self) -> None:
        self._failed += bool(self._stop_at) and time.monotonic() < self._stop_at

    async def run(self) -> dict[str, float]:
        for _ in range(self._connections):
            await self._loop.create_connection(lambda: _Caller(self), self._host, self._port)
        start = time.monotonic()
        self._stop_at = start + self._seconds
        if self._rate:
            for number in range(int(self._rate * self._seconds)):
                due_at = start + number / self._rate
                if (ahead := due_at - time.monotonic()) > 0:
                    await asyncio.sleep(ahead)
                if self._idle:
                    self._idle.popleft().ask(due_at)
                else:
                    self._waiting.append(due_at)
        else:
            while self._idle:
                self._idle.popleft().ask(time.monotonic())
            await asyncio.sleep(self._seconds)
        await asyncio.sleep(0.5)
        took = np.array(self._latencies or [float("nan")]) * 1000
        return {
            "answered": len(self._latencies),
            "failed": self._failed,
            "unanswered": len(self._waiting),
            "per_second": len(self._latencies) / self._seconds,
            "p50_ms": float(np.percentile(took, 50)),
            "p99_ms": float(np.percentile(took, 99)),
            "max_ms": float(took.max()),
        }


@click.command()
@click.option("--url", required=True)
@click.option("--rate", type=float, default=0.0, help="Requests per second; 0 sends as many as go.")
@click.option("--seconds", type=float, default=10.0)
@click.option("--connections", type=int, default=32)
def main(url: str, rate: float, seconds: float, connections: int) -> None:
    """Print what the requests took, as JSON."""

    async def run() -> dict[str, float]:
        return await _Load(url, rate, seconds, connections).run()

    json.dump(uvloop.run(run()), sys.stdout)


if __name__ == "__main__":
    main()
