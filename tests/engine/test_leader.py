"""The lease state machine by itself, and two replicas that compete for one lease."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from switchyard.engine.leader import (
    Absent,
    LeaderElection,
    LeaseLost,
    LeaseRecord,
    LeaseTimes,
    Move,
    View,
    next_move,
    observe,
)
from switchyard.engine.ports import Conflict, Denied, Failed

from .fakes import FakeClock

TIMES = LeaseTimes()
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def record(holder: str, version: str = "1", duration: int = 15) -> LeaseRecord:
    return LeaseRecord(holder, duration, NOW, NOW, 0, version)


@pytest.mark.parametrize(
    ("what", "view", "at", "move"),
    [
        ("a standby that sees no lease creates it", View("me"), 0.0, Move.CREATE),
        ("a released lease is taken at once", View("me", record("")), 0.0, Move.TAKE),
        ("another's lease is left alone while it is fresh", View("me", record("you"), 0.0), 14.9, Move.WAIT),
        (
            "another's lease is taken when it stood still too long",
            View("me", record("you"), 0.0),
            15.0,
            Move.TAKE,
        ),
        ("its holder's longer duration counts", View("me", record("you", duration=60), 0.0), 59.0, Move.WAIT),
        (
            "its holder's shorter duration does not",
            View("me", record("you", duration=1), 0.0),
            14.0,
            Move.WAIT,
        ),
        ("a lease that an earlier life of ours held is ours", View("me", record("me"), 0.0), 0.0, Move.TAKE),
        ("a leader renews", View("me", record("me"), 0.0, 0.0), 2.0, Move.RENEW),
        ("a leader whose lease was deleted makes it anew", View("me", None, 0.0, 0.0), 2.0, Move.CREATE),
        (
            "a leader gives up when another took the lease",
            View("me", record("you"), 1.0, 0.0),
            1.0,
            Move.GIVE_UP,
        ),
        (
            "a leader cut off for long renews what is still its own",
            View("me", record("me"), 0.0, 0.0),
            99.0,
            Move.RENEW,
        ),
        ("a leader takes back what somebody emptied", View("me", record(""), 1.0, 0.0), 2.0, Move.RENEW),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_moves(what: str, view: View, at: float, move: Move) -> None:
    assert next_move(view, TIMES, at) is move, what


def test_only_a_change_restarts_the_holders_time() -> None:
    view = observe(View("me"), record("you", "1"), 5.0)
    assert observe(view, record("you", "1"), 9.0).seen_at == 5.0
    assert observe(view, record("you", "2"), 9.0).seen_at == 9.0


@pytest.mark.parametrize(
    "times", [(10.0, 15.0, 2.0), (15.0, 10.0, 10.0), (15.0, 10.0, 0.0)], ids=["deadline", "retry", "zero"]
)
def test_times_that_could_let_two_lead_are_refused(times: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="must fall"):
        LeaseTimes(*times)


@dataclass
class FakeLease:
    """One Lease with optimistic locking. `down` answers nothing; `clock_skew` only colours the record."""

    stored: LeaseRecord | None = None
    version: int = 0
    down: set[str] = field(default_factory=set)

    def store_for(self, identity: str) -> LeaseClient:
        return LeaseClient(self, identity)


@dataclass
class LeaseClient:
    lease: FakeLease
    identity: str

    async def read(self) -> LeaseRecord | Absent | Denied | Failed:
        if self.identity in self.lease.down:
            return Failed("no answer")
        return self.lease.stored or Absent()

    async def create(self, record: LeaseRecord) -> LeaseRecord | Conflict | Denied | Failed:
        if self.identity in self.lease.down:
            return Failed("no answer")
        if self.lease.stored is not None:
            return Conflict("exists")
        return self._store(record)

    async def replace(self, record: LeaseRecord) -> LeaseRecord | Conflict | Denied | Failed:
        if self.identity in self.lease.down:
            return Failed("no answer")
        if self.lease.stored is None or record.resource_version != self.lease.stored.resource_version:
            return Conflict("changed")
        return self._store(record)

    def _store(self, record: LeaseRecord) -> LeaseRecord:
        self.lease.version += 1
        self.lease.stored = replace(record, resource_version=str(self.lease.version))
        return self.lease.stored


@dataclass
class Replica:
    """A process: its own clock, which may run ahead or behind on the wall, never on the monotonic side."""

    lease: FakeLease
    name: str
    clock: FakeClock
    is_alive: bool = True

    def __post_init__(self) -> None:
        self.election = LeaderElection(self.lease.store_for(self.name), self.clock, self.name)

    def step(self) -> None:
        if self.is_alive:
            try:
                asyncio.run(self.election.step())
            except LeaseLost:
                self.is_alive = False

    @property
    def acts(self) -> bool:
        return self.is_alive and self.election.is_leading


def test_the_first_replica_leads_and_the_second_stands_by() -> None:
    lease, clock = FakeLease(), FakeClock()
    a, b = Replica(lease, "a", clock), Replica(lease, "b", clock)
    for _ in range(30):
        a.step(), b.step()
        clock.seconds += 2
        assert (a.acts, b.acts) == (True, False)


def test_a_standby_takes_over_after_a_kill_and_not_before_the_lease_ran_out() -> None:
    lease, clock = FakeLease(), FakeClock()
    a, b = Replica(lease, "a", clock), Replica(lease, "b", clock)
    a.step(), b.step()
    a.is_alive = False
    took_over_at = None
    while took_over_at is None and clock.seconds < 60:
        clock.seconds += 1
        b.step()
        if b.acts:
            took_over_at = clock.seconds
    assert took_over_at is not None
    assert 15 <= took_over_at <= 17


def test_a_released_lease_is_taken_at_the_next_look() -> None:
    lease, clock = FakeLease(), FakeClock()
    a, b = Replica(lease, "a", clock), Replica(lease, "b", clock)
    a.step(), b.step()
    asyncio.run(a.election.release())
    assert not a.acts
    b.step()
    assert b.acts


def test_a_leader_cut_off_from_the_api_stops_acting_before_another_may_start() -> None:
    lease, clock = FakeLease(), FakeClock()
    a, b = Replica(lease, "a", clock), Replica(lease, "b", clock)
    a.step(), b.step()
    lease.down.add("a")
    stopped = started = None
    for _ in range(40):
        clock.seconds += 1
        a.step(), b.step()
        stopped = clock.seconds if stopped is None and not a.acts else stopped
        started = clock.seconds if started is None and b.acts else started
    assert stopped is not None
    assert started is not None
    assert stopped < started


def test_an_outage_that_nobody_used_only_suspends_the_leader() -> None:
    lease, clock = FakeLease(), FakeClock()
    a = Replica(lease, "a", clock)
    a.step()
    lease.down.add("a")
    for _ in range(60):
        clock.seconds += 2
        a.step()
    assert a.is_alive
    assert a.election.is_cut_off
    assert not a.acts
    lease.down.clear()
    a.step()
    assert a.acts
    assert not a.election.is_cut_off


def test_a_leader_that_comes_back_to_find_another_ends() -> None:
    lease, clock = FakeLease(), FakeClock()
    a, b = Replica(lease, "a", clock), Replica(lease, "b", clock)
    a.step(), b.step()
    lease.down.add("a")
    for _ in range(20):
        clock.seconds += 2
        a.step(), b.step()
    assert b.acts
    lease.down.clear()
    a.step()
    assert not a.is_alive


def test_a_process_that_slept_through_its_lease_does_not_act_when_it_wakes() -> None:
    lease, clock = FakeLease(), FakeClock()
    a = Replica(lease, "a", clock)
    a.step()
    clock.seconds += 90  # stopped, then continued: no step ran in between
    assert not a.acts


def test_the_lease_is_made_again_after_it_was_deleted_by_hand() -> None:
    lease, clock = FakeLease(), FakeClock()
    a = Replica(lease, "a", clock)
    a.step()
    lease.stored = None
    a.step()
    assert lease.stored is not None
    assert a.acts


@settings(max_examples=200, deadline=None)
@given(
    script=st.lists(
        st.tuples(
            st.sampled_from(["step a", "step b", "cut a", "cut b", "mend", "revive", "release a"]),
            st.floats(0.0, 20.0),
        ),
        max_size=60,
    ),
    skew_seconds=st.floats(-1e6, 1e6),
)
def test_never_do_two_act_at_once_whatever_fails_and_however_wrong_a_wall_clock_is(
    script: list[tuple[str, float]], skew_seconds: float
) -> None:
    @dataclass
    class Skewed(FakeClock):
        def now(self) -> datetime:
            return datetime.fromtimestamp(NOW.timestamp() + self.seconds + skew_seconds, UTC)

    lease = FakeLease()
    clocks = {"a": FakeClock(), "b": Skewed()}
    replicas = {name: Replica(lease, name, clock) for name, clock in clocks.items()}
    for action, wait in script:
        for clock in clocks.values():
            clock.seconds += wait
        match action.split():
            case ["step", name]:
                replicas[name].step()
            case ["cut", name]:
                lease.down.add(name)
            case ["mend"]:
                lease.down.clear()
            case ["release", name]:
                asyncio.run(replicas[name].election.release())
            case _:
                for name, replica in list(replicas.items()):
                    if not replica.is_alive:  # another process, another identity
                        replicas[name] = Replica(lease, f"{replica.name}'", clocks[name])
        assert sum(replica.acts for replica in replicas.values()) <= 1
