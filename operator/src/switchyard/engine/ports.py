"""What the loop needs of the outside, as Protocols, and the values that come back.

Expected outcomes of a write are values: the loop treats each in its own way. Only bugs are exceptions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from switchyard.core.decisions import Apply, Decisions, Delete, EventNote, FinalizerWrite, StatusWrite
from switchyard.core.world import Child, Plan, Pool, Unreadable, Workload, World

ObjectKey = tuple[str, str, str]  # kind, namespace, name

Observed = Pool | Workload | Plan | Unreadable | Child


@dataclass(frozen=True, slots=True)
class NotSynced:
    """The snapshot can't be trusted yet; `missing` says what is still to be listed."""

    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Written:
    """The API server took it. `observed`: the object as stored; None after a delete or an event."""

    observed: Observed | None = None


@dataclass(frozen=True, slots=True)
class Conflict:
    """Somebody was faster (409, or gone): our picture is old. Dropped, decided again on a new one."""

    message: str


@dataclass(frozen=True, slots=True)
class Denied:
    """The API server refuses this content (403, 422, other 4xx): it will until something changes."""

    status: int
    message: str
    is_name_taken: bool = False  # the object exists and is somebody else's


@dataclass(frozen=True, slots=True)
class Failed:
    """No answer, or an answer that says try again (429, 5xx)."""

    message: str
    retry_after_seconds: float = 0.0


WriteResult = Written | Conflict | Denied | Failed


class ClusterReader(Protocol):
    def snapshot(self, now: datetime) -> World | NotSynced:
        """The cluster as the watches have it, sorted; or what is missing for a first decision."""
        ...


class ClusterWriter(Protocol):
    async def apply(self, apply: Apply) -> WriteResult: ...
    async def delete(self, delete: Delete) -> WriteResult: ...
    async def write_status(self, write: StatusWrite) -> WriteResult: ...
    async def write_finalizers(self, write: FinalizerWrite) -> WriteResult: ...
    async def record_event(self, note: EventNote) -> WriteResult: ...


class Clock(Protocol):
    def now(self) -> datetime:
        """Wall-clock time, aware, UTC."""
        ...

    def monotonic_seconds(self) -> float:
        """Seconds that never jump; comparable within this process only."""
        ...


class Decide(Protocol):
    def __call__(self, world: World) -> Decisions: ...


@dataclass(frozen=True, slots=True)
class LoopReport:
    """One finished pass: what it cost, what it wanted, how the writes went."""

    started_at: datetime
    duration_seconds: float
    world: World
    decisions: Decisions
    writes: Mapping[tuple[str, str, str], int] = field(default_factory=dict)  # kind, verb, result -> count
    failures: Mapping[ObjectKey, str] = field(default_factory=dict)

    @property
    def writes_total(self) -> int:
        """How many requests that change something were sent, whatever came of them."""
        return sum(self.writes.values())


class LoopObserver(Protocol):
    """Told after each pass; must not raise and must not block."""

    def loop_finished(self, report: LoopReport) -> None: ...
    def loop_failed(self, error: BaseException) -> None: ...
    def loop_waits(self, missing: tuple[str, ...]) -> None: ...
