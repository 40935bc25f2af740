"""What carries the traffic, as the configuration and the admin port see it: one worker or several."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from switchyard.core.routing.document import RoutingDocument
from switchyard.core.routing.samples import Samples
from switchyard.dataplane.options import RouterOptions

_CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")


class Engine(Protocol):
    """One event loop's router: what a worker runs."""

    @property
    def port(self) -> int:
        """The port that is listened on, once started."""
        ...

    def configure(self, document: RoutingDocument) -> None:
        """Bring the document into force, whole, for requests from now on. Never fails for a valid one."""
        ...

    def samples(self) -> Samples:
        """All that was counted since the engine was made."""
        ...

    async def start(self) -> None:
        """Listen. Raises OSError where that is impossible."""
        ...

    def drain(self) -> None:
        """Ask callers to leave with their next answer, while new connections are still taken."""
        ...

    async def stop(self, grace_seconds: float) -> None:
        """Take no more connections, let requests end within the grace period, then cut them off."""
        ...


EngineFactory = Callable[[RouterOptions], Engine]


@dataclass(frozen=True, slots=True)
class WorkerState:
    """One worker. `version`: of the document that it confirmed. `problem`: why it can't serve, or empty."""

    name: str
    is_listening: bool = False
    version: int | None = None
    restarts: int = 0
    problem: str = ""


class NotConfirmed(Exception):  # noqa: N818 - says what is not so
    """A document is not in force on every worker. `problems`: one line per worker."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class SamplesMissing(Exception):  # noqa: N818 - says what is not so
    """The samples of at least one worker could not be had, so there is no whole reading."""


class Fleet(Protocol):
    """All workers of a router."""

    @property
    def port(self) -> int:
        """The port that all listen on, once started."""
        ...

    def workers(self) -> tuple[WorkerState, ...]:
        """Each worker as it is now."""
        ...

    async def configure(self, document: RoutingDocument) -> None:
        """Bring the document into force on every worker, also on those that start later.

        Raises NotConfirmed where one has not confirmed it in time; it stays wanted.
        """
        ...

    async def read_samples(self) -> Samples:
        """What all have counted. Raises SamplesMissing rather than leaving a worker out."""
        ...

    async def start(self) -> None:
        """Start every worker. Raises OSError where the port can't be had."""
        ...

    def drain(self) -> None:
        """Have every worker ask its callers to leave."""
        ...

    async def stop(self, grace_seconds: float) -> None:
        """Stop every worker. Returns at the end of the grace period at the latest."""
        ...


class LoneWorker:
    """A fleet of one, in the caller's event loop."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._is_listening = False
        self._version: int | None = None
        self._problem = "not started"
        self._is_stopped = False

    @property
    def port(self) -> int:
        """The engine's port."""
        return self._engine.port

    def workers(self) -> tuple[WorkerState, ...]:
        """The one worker."""
        return (WorkerState("0", self._is_listening, self._version, 0, self._problem),)

    async def configure(self, document: RoutingDocument) -> None:
        """Bring the document into force. Raises NotConfirmed where the engine fails, which is a bug of it."""
        try:
            self._engine.configure(document)
        except Exception as error:
            raise NotConfirmed((f"worker 0: {type(error).__name__}: {error}",)) from error
        self._version = document.version

    async def read_samples(self) -> Samples:
        """The engine's samples."""
        return self._engine.samples()

    async def start(self) -> None:
        """Start the engine."""
        await self._engine.start()
        self._is_listening, self._problem = True, ""

    def drain(self) -> None:
        """Drain the engine."""
        self._engine.drain()

    async def stop(self, grace_seconds: float) -> None:
        """Stop the engine."""
        self._is_listening, self._problem = False, "stopped"
        if not self._is_stopped:
            await self._engine.stop(grace_seconds)
            self._is_stopped = True


def find_lowest_version(workers: tuple[WorkerState, ...]) -> int | None:
    """The version that every worker has at least. None while one has none."""
    versions = [worker.version for worker in workers]
    return min((v for v in versions if v is not None), default=None) if None not in versions else None


def count_cpus(quota_file: Path = _CPU_QUOTA) -> int:
    """The CPUs that this process may use: its affinity, and its cgroup's quota rounded up."""
    cpus = len(os.sched_getaffinity(0))
    try:
        quota, period = quota_file.read_text(encoding="ascii").split()
        return max(1, min(cpus, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):  # no cgroup v2, or "max" where there is no quota
        return cpus
