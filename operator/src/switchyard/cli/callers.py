"""Callers that go on asking while something is changed, and what they got."""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import aiohttp

_TIMEOUT_SECONDS = 10.0
_QUESTIONS = 20  # different ones of a caller, so that each answer can soon be compared with an earlier one
_OK = 200


@dataclass(frozen=True, slots=True)
class Caller:
    """One kind of user: how often it asks, and its n-th question."""

    name: str
    requests_per_second: float
    path: str
    body: Callable[[int], Mapping[str, Any]]
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Count:
    """Requests that have come to an end. `changed`: answered otherwise than the same question was before."""

    asked: int = 0
    failed: int = 0
    changed: int = 0

    def since(self, before: Count) -> Count:
        """What came after an earlier count."""
        return Count(self.asked - before.asked, self.failed - before.failed, self.changed - before.changed)

    def plus(self, other: Count) -> Count:
        """Both together."""
        return Count(self.asked + other.asked, self.failed + other.failed, self.changed + other.changed)


class Callers:
    """Open-loop callers, each request on a connection of its own, as of many users."""

    def __init__(self, url: str, callers: Sequence[Caller]) -> None:
        self._url = url
        self._callers = tuple(callers)
        self._stopping = threading.Event()
        self._known: dict[str, bytes] = {}
        self._count = Count()
        self.problems: dict[str, int] = {}

    @property
    def count(self) -> Count:
        """What they got up to now."""
        return self._count

    @contextmanager
    def asking(self) -> Iterator[Callers]:
        """They ask while the body runs."""
        thread = threading.Thread(target=lambda: asyncio.run(self._ask_all()), name="callers", daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._stopping.set()
            thread.join(timeout=3 * _TIMEOUT_SECONDS)

    async def _ask_all(self) -> None:
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT_SECONDS)
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout, trust_env=False) as session,
            asyncio.TaskGroup() as tasks,
        ):
            for caller in self._callers:
                tasks.create_task(self._keep_asking(session, caller, tasks))

    async def _keep_asking(
        self, session: aiohttp.ClientSession, caller: Caller, tasks: asyncio.TaskGroup
    ) -> None:
        begun, number = time.monotonic(), 0
        while not self._stopping.is_set():
            due = begun + number / caller.requests_per_second
            await asyncio.sleep(min(1.0, max(0.0, due - time.monotonic())))
            if time.monotonic() >= due:
                tasks.create_task(self._ask(session, caller, number % _QUESTIONS))
                number += 1

    async def _ask(self, session: aiohttp.ClientSession, caller: Caller, number: int) -> None:
        body = json.dumps(caller.body(number)).encode()
        headers = {"Content-Type": "application/json", **caller.headers}
        text, problem = b"", ""
        try:
            async with session.post(self._url + caller.path, data=body, headers=headers) as answer:
                text = await answer.read()
                problem = "" if answer.status == _OK else f"HTTP {answer.status}"
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            problem = type(error).__name__
        count = replace(self._count, asked=self._count.asked + 1)
        if problem:
            count = replace(count, failed=count.failed + 1)
            self.problems[problem] = self.problems.get(problem, 0) + 1
        else:
            digest = hashlib.blake2b(text, digest_size=16).digest()
            if self._known.setdefault(f"{caller.name}/{number}", digest) != digest:
                count = replace(count, changed=count.changed + 1)
        self._count = count
