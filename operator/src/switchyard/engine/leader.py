"""At most one replica acts: a Lease held and renewed, judged by what this process itself has seen.

                  absent, released or expired: create/take            renewed: stays
    standby ---------------------------------------------> leading ------------------+
       ^  another's, fresh: wait                            ^ |  ^-------------------+
       |                                  renewed after all | | no answer for renew_deadline_seconds
       |                                                    | v
       +-- (a new process) <-- lost <-- another took it --- suspended: holds the lease, acts no more

An outage of the API server only suspends: whoever comes back and finds the lease untouched knows that
nobody acted meanwhile. A process that finds another in its place ends.

Expiry is measured on this process's monotonic clock from the moment it *saw* the record change; the
times inside the record are for people. So the clocks of two machines may differ by any amount
(the rule of client-go's leaderelection package, which also gives the 15/10/2 seconds).

kubernetes.aio.leaderelection is not used: it measures by the wall clock, sends requests whose time
limit is longer than the lease, ends on any error that is not an API answer, and never releases.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum
from typing import Protocol

from switchyard.engine.ports import Clock, Conflict, Denied, Failed

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LeaseRecord:
    """What a coordination.k8s.io/v1 Lease says. An empty holder means released."""

    holder: str
    duration_seconds: int
    acquired_at: datetime | None
    renewed_at: datetime | None
    transitions: int
    resource_version: str = ""  # empty for one that is to be created


@dataclass(frozen=True, slots=True)
class Absent:
    """There is no such Lease."""


class LeaseStore(Protocol):
    """One named Lease. Each call ends within the time limit it was built with."""

    async def read(self) -> LeaseRecord | Absent | Denied | Failed: ...
    async def create(self, record: LeaseRecord) -> LeaseRecord | Conflict | Denied | Failed: ...
    async def replace(self, record: LeaseRecord) -> LeaseRecord | Conflict | Denied | Failed: ...


@dataclass(frozen=True, slots=True)
class LeaseTimes:
    duration_seconds: float = 15.0  # how long others wait for us
    renew_deadline_seconds: float = 10.0  # after this without a renewal we stop acting
    retry_seconds: float = 2.0  # between two looks

    def __post_init__(self) -> None:
        if not self.duration_seconds > self.renew_deadline_seconds > self.retry_seconds > 0:
            raise ValueError("lease times must fall: duration > renew deadline > retry > 0")

    @classmethod
    def lasting(cls, duration_seconds: float) -> LeaseTimes:
        """The default times, longer or shorter all alike."""
        ratio = duration_seconds / cls().duration_seconds
        return cls(duration_seconds, cls().renew_deadline_seconds * ratio, cls().retry_seconds * ratio)


class Move(Enum):
    CREATE = "create"
    TAKE = "take"
    RENEW = "renew"
    WAIT = "wait"
    GIVE_UP = "give up"


@dataclass(frozen=True, slots=True)
class View:
    """What this process knows of the lease. Times are its own monotonic seconds."""

    identity: str
    record: LeaseRecord | None = None  # as last read; None when absent or never read
    seen_at: float = 0.0  # when `record` last changed before our eyes
    renewed_at: float | None = None  # when our last accepted write was *sent*; None while standby

    @property
    def has_led(self) -> bool:
        return self.renewed_at is not None


def observe(view: View, record: LeaseRecord | None, now_seconds: float) -> View:
    """The view after reading `record`: only a change restarts the holder's time."""
    if record == view.record:
        return view
    return replace(view, record=record, seen_at=now_seconds)


def holds_until(view: View, times: LeaseTimes) -> float:
    """Until when, in monotonic seconds, nobody else can rightfully act; -inf while standby."""
    return float("-inf") if view.renewed_at is None else view.renewed_at + times.renew_deadline_seconds


def next_move(view: View, times: LeaseTimes, now_seconds: float) -> Move:
    """What to do about the lease now."""
    record = view.record
    if record is None:
        return Move.CREATE
    if view.has_led:
        return Move.RENEW if record.holder in ("", view.identity) else Move.GIVE_UP
    if record.holder in ("", view.identity):
        return Move.TAKE
    # the holder's own duration counts: it may run with other settings than ours
    patience = max(times.duration_seconds, float(record.duration_seconds))
    return Move.TAKE if now_seconds >= view.seen_at + patience else Move.WAIT


def written_record(view: View, times: LeaseTimes, now: datetime) -> LeaseRecord:
    """The record that makes or keeps us the holder."""
    old = view.record
    keeps = old is not None and old.holder == view.identity and view.has_led
    return LeaseRecord(
        holder=view.identity,
        duration_seconds=round(times.duration_seconds),
        acquired_at=old.acquired_at if keeps and old is not None else now,
        renewed_at=now,
        transitions=0 if old is None else old.transitions + (0 if keeps else 1),
        resource_version="" if old is None else old.resource_version,
    )


class LeaseLost(RuntimeError):  # noqa: N818 - reads as what happened
    """This process must not act any more: it ends, and starts anew as a standby."""


@dataclass
class LeaderElection:
    """Runs the state machine against a store. `is_leading` is true only while nobody else can be."""

    store: LeaseStore
    clock: Clock
    identity: str
    times: LeaseTimes = field(default_factory=LeaseTimes)
    elected: asyncio.Event = field(default_factory=asyncio.Event)
    last_look_at: float = field(init=False)  # monotonic seconds of the last answer, whatever it was
    is_cut_off: bool = False  # the last request for the lease got no answer
    _view: View = field(init=False)
    _problem: str = ""

    def __post_init__(self) -> None:
        self._view = View(self.identity)
        self.last_look_at = self.clock.monotonic_seconds()

    @property
    def is_leading(self) -> bool:
        """True while the lease is surely ours: asked before each write, so a stalled process stops itself."""
        return self.clock.monotonic_seconds() < holds_until(self._view, self.times)

    @property
    def holder(self) -> str:
        """Who holds the lease as last seen, empty when nobody does."""
        return "" if self._view.record is None else self._view.record.holder

    async def run(self) -> None:
        """Stand by, lead, renew; raises LeaseLost when another leads in our place."""
        while True:
            await self.step()
            await asyncio.sleep(self.times.retry_seconds)

    async def step(self) -> None:
        """One look and at most one write."""
        seen = await self.store.read()
        now_seconds = self.last_look_at = self.clock.monotonic_seconds()
        match seen:
            case LeaseRecord():
                self._view = observe(self._view, seen, now_seconds)
            case Absent():
                self._view = observe(self._view, None, now_seconds)
            case Denied() | Failed():
                self._tell("the lease can't be read", seen)
                return
        move = next_move(self._view, self.times, now_seconds)
        if move is Move.GIVE_UP:
            raise LeaseLost(f"the lease is held by {self.holder!r}")
        if move is not Move.WAIT:
            await self._write(move)

    async def _write(self, move: Move) -> None:
        record = written_record(self._view, self.times, self.clock.now())
        sent_at = self.clock.monotonic_seconds()
        answer = await (self.store.create if move is Move.CREATE else self.store.replace)(record)
        if not isinstance(answer, LeaseRecord):
            if not isinstance(answer, Conflict):
                self._tell("the lease can't be written", answer)
            return
        self._problem, self.is_cut_off = "", False
        was_leading = self._view.has_led
        self._view = replace(self._view, record=answer, seen_at=sent_at, renewed_at=sent_at)
        if not was_leading:
            logger.info("leading", extra={"identity": self.identity, "transitions": answer.transitions})
            self.elected.set()

    def _tell(self, what: str, refusal: Denied | Failed) -> None:
        self.is_cut_off = isinstance(refusal, Failed)
        if refusal.message != self._problem:
            logger.warning(what, extra={"problem": refusal.message})
        self._problem = refusal.message

    async def release(self) -> None:
        """Give the lease back so that a standby need not wait for it to expire. Best effort."""
        if not self.is_leading:
            return
        self._view = replace(self._view, renewed_at=None)
        # read again: a renewal that was cut short by the stop may have been accepted
        answer: LeaseRecord | Absent | Conflict | Denied | Failed = await self.store.read()
        if isinstance(answer, LeaseRecord) and answer.holder == self.identity:
            answer = await self.store.replace(
                replace(answer, holder="", duration_seconds=1, renewed_at=self.clock.now())
            )
        if isinstance(answer, LeaseRecord | Absent):
            logger.info("lease released")
        else:
            logger.warning("lease not released; it will expire", extra={"problem": answer.message})
