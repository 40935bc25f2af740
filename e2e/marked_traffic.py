"""Callers that never stop asking, and marks of what was changed: what failed around which change."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp

_TIMEOUT_SECONDS = 10.0
_MODEL = re.compile(rb'"model":\s*"([^"]*)"')


@dataclass(frozen=True, slots=True)
class Caller:
    """A kind of caller: its headers, and how many requests per second come of it."""

    name: str
    per_second: float
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Failure:
    """A request that was not answered with 200."""

    at: float  # monotonic seconds
    caller: str
    problem: str


@dataclass
class MarkedTraffic:
    """What callers saw. `path`, `body`: what everybody asks; `ending`: what a whole answer ends with.

    `served`: answers by caller and the model that they name. `slowest_seconds`: of all answers.
    `late_seconds`: how long the callers themselves stood still at most; what fails then says nothing.
    """

    url: str
    callers: Sequence[Caller]
    host: str = ""
    path: str = "/predict"
    body: Mapping[str, Any] | None = None
    ending: bytes = b""
    answered: Counter[str] = field(default_factory=Counter)
    served: Counter[tuple[str, str]] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)
    marks: list[tuple[float, str]] = field(default_factory=list)
    slowest_seconds: float = 0.0
    late_seconds: float = 0.0
    _stopping: threading.Event = field(default_factory=threading.Event)
    _silent: threading.Event = field(default_factory=threading.Event)

    @property
    def sent(self) -> int:
        """Requests that have come to an end."""
        return self.answered.total() + len(self.failures)

    def mark(self, what: str) -> float:
        """Note that something is changed now; returns when that is, on the monotonic clock."""
        now = time.monotonic()
        self.marks.append((now, what))
        return now

    def tell(self, failures: Sequence[Failure] | None = None) -> str:
        """The failures, each with the mark before it, for a person."""
        told = [
            f"{each.caller}: {each.problem}, {each.at - at:.2f} s after {what}"
            for each in (self.failures if failures is None else failures)[:20]
            for at, what in [max((m for m in self.marks if m[0] <= each.at), default=(each.at, "the start"))]
        ]
        return (
            f"{len(self.failures)} of {self.sent} requests failed, the slowest answer took "
            f"{self.slowest_seconds:.1f} s, the callers were late by {self.late_seconds:.1f} s at most\n"
        ) + "\n".join(told)

    def assert_no_failures(self, caller: str | None = None) -> None:
        """No request failed: of this kind of caller, or of all."""
        found = [each for each in self.failures if caller in {None, each.caller}]
        assert not found, self.tell(found)
        assert self.answered[caller] if caller else self.answered.total(), "nobody asked"

    async def run(self) -> None:
        """Ask until told to stop; a new connection for each request, as of many callers."""
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        # without a threshold beyond it, aiohttp lets timeouts end at whole seconds, many at one moment
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT_SECONDS, ceil_threshold=2 * _TIMEOUT_SECONDS)
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout, trust_env=False) as session,
            asyncio.TaskGroup() as tasks,
        ):
            for caller in self.callers:
                tasks.create_task(self._call(session, caller, tasks))

    async def _call(self, session: aiohttp.ClientSession, caller: Caller, tasks: asyncio.TaskGroup) -> None:
        loop = asyncio.get_running_loop()
        start, number = loop.time(), 0
        while not self._stopping.is_set():
            due = max(loop.time(), start + number / caller.per_second)
            await asyncio.sleep(due - loop.time())
            self.late_seconds = max(self.late_seconds, loop.time() - due)
            if not self._silent.is_set():
                tasks.create_task(self._ask(session, caller, number))
            number += 1

    async def _ask(self, session: aiohttp.ClientSession, caller: Caller, number: int) -> None:
        headers = {**caller.headers, **({"Host": self.host} if self.host else {})}
        body, content = self.body or {"instances": [[number % 50]]}, b""
        began = time.monotonic()
        try:
            async with session.post(f"{self.url}{self.path}", json=body, headers=headers) as answer:
                content = await answer.read()
                problem = "" if answer.status == 200 else f"HTTP {answer.status}"
                if not problem and not content.endswith(self.ending):
                    problem = f"the answer ends after {len(content)} bytes"
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            problem = f"{type(error).__name__}: {error}"
        if problem:
            self.failures.append(Failure(time.monotonic(), caller.name, problem))
        else:
            model = _MODEL.search(content)
            self.slowest_seconds = max(self.slowest_seconds, time.monotonic() - began)
            self.answered[caller.name] += 1
            self.served[caller.name, model[1].decode() if model else ""] += 1

    def hush(self) -> None:
        """Ask nothing until `speak`."""
        self.mark("silence")
        self._silent.set()

    def speak(self) -> None:
        """Ask again."""
        self.mark("end of the silence")
        self._silent.clear()

    def failed_since(self, moment: float) -> list[Failure]:
        """Requests that failed at or after a moment of the monotonic clock."""
        return [each for each in self.failures if each.at >= moment]

    def stop(self) -> None:
        """Ask no more."""
        self._stopping.set()


@contextmanager
def asking(traffic: MarkedTraffic) -> Iterator[MarkedTraffic]:
    """Callers that ask while the body runs."""
    thread = threading.Thread(target=lambda: asyncio.run(traffic.run()), daemon=True)
    thread.start()
    try:
        yield traffic
    finally:
        traffic.stop()
        thread.join(timeout=3 * _TIMEOUT_SECONDS)
