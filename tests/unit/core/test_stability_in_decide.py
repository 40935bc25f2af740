"""The whole decision over time: signals that fail, demand that swings, pools that fail, restarts."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.core.worlds import (
    NOW,
    apply,
    condition,
    decision,
    node,
    pool,
    settle,
    status_of,
    workload,
    world,
)

from switchyard.core.decide import decide
from switchyard.core.world import SignalReading, Taint, World

KEY = ("team", "chat")
MEASURED: dict[str, Any] = {"demand": {"signal": {"source": "main"}}}
ELASTIC = {"mode": "elastic", "maxDevices": 8, "provisioningTime": "2m"}
NOTICE = Taint("aws-node-termination-handler/spot-itn", "true", "NoSchedule")


def with_signal(at: World, rate: float | None) -> World:
    """The world with a fresh answer of the signal; None: its query fails and nothing was known."""
    reading = SignalReading(at.now, rate) if rate is not None else SignalReading(problem="main: HTTP 503")
    return replace(at, signals={KEY: reading})


def later(at: World, seconds: float) -> World:
    return replace(at, now=at.now + timedelta(seconds=seconds))


def replicas(at: World) -> int:
    """What the only Deployment asks for."""
    return sum(int(child.body["spec"]["replicas"]) for child in at.children if child.kind == "Deployment")


def tracks(at: World) -> dict[str, int]:
    return {
        child.meta.name: int(child.body["spec"]["replicas"])
        for child in at.children
        if child.kind == "Deployment"
    }


@pytest.fixture
def serving() -> World:
    """A workload that was measured at 120 requests/s, which four replicas carry."""
    at = world(pool("p"), node("n1", "p", 8), workload("chat", **MEASURED))
    return settle(with_signal(at, 120.0))


def test_a_measured_demand_is_planned_for_and_shown(serving: World) -> None:
    assert replicas(serving) == 4
    status = status_of(serving, "chat")
    assert status["demand"] == {
        "requestsPerSecond": "120",
        "peakRequestsPerSecond": "120",
        "source": "Signal",
        "observedAt": "2026-11-21T12:00:00Z",
    }
    assert condition(status, "SignalsAvailable") == ("True", "SignalCurrent", "120 requests/s were measured")


def test_a_signal_that_fails_keeps_every_replica_and_says_so_once(serving: World) -> None:
    lost = later(serving, 600)
    lost = with_signal(lost, None)
    decided = decide(lost)
    assert [each.reason for each in decision(decided, "chat").events] == ["DemandFrozen"]
    lost = settle(lost)
    assert replicas(lost) == 4
    assert condition(status_of(lost, "chat"), "SignalsAvailable")[:2] == ("False", "DemandFrozen")
    assert "main: HTTP 503" in condition(status_of(lost, "chat"), "SignalsAvailable")[2]
    assert replicas(settle(with_signal(later(lost, 3600), None))) == 4


def test_a_restart_of_the_operator_writes_nothing(serving: World) -> None:
    assert decide(replace(serving, signals={})).objects == ()


def test_fewer_replicas_wait_and_the_decision_says_until_when(serving: World) -> None:
    quieter = with_signal(later(serving, 60), 30.0)
    decided = decide(quieter)
    assert decided.recheck_at is not None
    waiting = settle(quieter)
    assert replicas(waiting) == 4
    assert status_of(waiting, "chat")["scaleDown"] == {"since": "2026-11-21T12:01:00Z", "replicas": 1}
    almost = settle(with_signal(later(waiting, 299), 30.0))
    assert replicas(almost) == 4
    assert decide(almost).recheck_at == NOW + timedelta(seconds=360)
    over = settle(with_signal(later(waiting, 300), 30.0))
    assert replicas(over) == 1
    assert "scaleDown" not in status_of(over, "chat")


def test_more_replicas_come_at_once(serving: World) -> None:
    assert replicas(settle(with_signal(later(serving, 15), 200.0))) == 6


def test_what_was_never_measured_runs_the_least_replicas() -> None:
    at = world(pool("p"), node("n1", "p", 8), workload("chat", **MEASURED, scaling={"minReplicas": 2}))
    at = settle(with_signal(at, None))
    assert replicas(at) == 2
    assert condition(status_of(at, "chat"), "SignalsAvailable")[:2] == ("False", "SignalNever")


def stuck(at: World, seconds: float) -> World:
    """All pods without a node have been waiting for that long."""
    since = at.now - timedelta(seconds=seconds)
    pods = tuple(each if each.node_name else replace(each, unschedulable_since=since) for each in at.pods)
    return replace(at, pods=pods)


def test_a_pool_whose_nodes_never_come_is_left_for_another_and_told() -> None:
    at = world(pool("cheap", "1", capacity=ELASTIC), pool("dear", "5"), node("n1", "dear"), workload("chat"))
    at = settle(at)
    assert tracks(at) == {"chat-v-cheap": 1}
    failing = stuck(later(at, 181), 181)
    told = decision(decide(failing), "cheap")
    assert [each.reason for each in told.events if each.type == "Warning"] == ["PoolBackOff"]
    at = settle(failing)
    assert tracks(at) == {"chat-v-dear": 1}
    assert status_of(at, "cheap")["backOff"]["failures"] == 1
    assert condition(status_of(at, "cheap"), "CapacityAvailable")[:2] == ("False", "PoolBackOff")


def test_a_pool_that_backs_off_keeps_what_runs_in_it() -> None:
    at = settle(world(pool("cheap", "1", capacity=ELASTIC), node("n1", "cheap", 2), workload("chat", 2)))
    grown = replace(at, workloads=(replace(workload("chat", 4), status=at.workloads[0].status),))
    grown = settle(grown)
    failing = settle(stuck(later(grown, 300), 300))
    assert status_of(failing, "cheap")["backOff"]["reason"] == "PoolBackOff"
    assert sum(1 for each in failing.pods if each.node_name) == 2
    assert tracks(failing).keys() == {"chat-v-cheap"}


def test_a_notice_on_a_spot_node_closes_its_pool_to_newcomers_for_a_while() -> None:
    spot = pool("spot", "1", capacityType="spot")
    at = world(spot, pool("firm", "5"), node("s1", "spot"), node("s2", "spot"), node("f1", "firm"))
    noticed = settle(
        replace(at, nodes=tuple(replace(n, taints=(NOTICE,)) if n.name == "s1" else n for n in at.nodes))
    )
    assert status_of(noticed, "spot")["backOff"]["reason"] == "SpotInterruption"
    gone = replace(noticed, nodes=tuple(n for n in noticed.nodes if n.name != "s1"))
    late = replace(gone, workloads=(workload("late"),))
    assert tracks(settle(later(late, 120))) == {"late-v-firm": 1}
    assert tracks(settle(later(late, 301))) == {"late-v-spot": 1}


RATES = st.lists(st.sampled_from([None, 5.0, 28.0, 30.0, 60.0, 66.0, 120.0]), min_size=10, max_size=40)


@settings(max_examples=20, deadline=None)
@given(RATES)
def test_whatever_the_signal_does_the_service_does_not_flap(rates: list[float | None]) -> None:
    """A pass a minute, the delay five: falls at least five minutes apart, and no other track."""
    at = settle(
        with_signal(
            world(
                pool("p"),
                pool("q", "1.01"),
                node("n1", "p", 8),
                node("n2", "q", 8),
                workload("chat", **MEASURED),
            ),
            30.0,
        )
    )
    counts = [replicas(at)]
    for rate in rates:
        at = later(at, 60)
        at = with_signal(at, rate) if rate is not None else at
        at = apply(at, decide(at))
        assert tracks(at).keys() == {"chat-v-p"}
        counts.append(replicas(at))
    falls = [i for i in range(1, len(counts)) if counts[i] < counts[i - 1]]
    assert all(after - before >= 5 for before, after in itertools.pairwise(falls))


@settings(max_examples=20, deadline=None)
@given(st.lists(st.sampled_from([28.0, 30.0, 60.0, 120.0]), min_size=6, max_size=12), st.data())
def test_a_restart_at_any_point_repeats_the_same_plan(rates: list[float], data: st.DataObject) -> None:
    """A pass a minute; the new process sees a world without answers first."""
    restart_at = data.draw(st.integers(0, len(rates) - 1))
    start = settle(with_signal(world(pool("p"), node("n1", "p", 8), workload("chat", **MEASURED)), 60.0))
    calm = restarted = start
    for minute, rate in enumerate(rates):
        calm, restarted = later(calm, 60), later(restarted, 60)
        if minute == restart_at:
            blind = replace(restarted, signals={})
            restarted = replace(apply(blind, decide(blind)), signals=restarted.signals)
        calm = settle(with_signal(calm, rate))
        restarted = settle(with_signal(restarted, rate))
    assert restarted == calm
