"""Which pools are believed: what closes one, for how long, and what opens it again."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchyard.api import (
    AcceleratorPoolSpec,
    AcceleratorPoolStatus,
    InferenceWorkloadSpec,
    InferenceWorkloadStatus,
    labels,
)
from switchyard.api.pool_status import BackOff
from switchyard.catalog import load_catalog
from switchyard.core.placement.reading import read_pool
from switchyard.core.stability.back_off import Sightings, Trust, back_off_seconds, judge_pool
from switchyard.core.stability.trust import judge_pools
from switchyard.core.world import Meta, Node, Pod, Pool, Taint, Workload, World

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
GPU = "example.com/gpu"
MARKS = {labels.MANAGED_BY: labels.MANAGER, labels.WORKLOAD: "chat", labels.POOL: "p"}


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def stuck(seconds: float, name: str = "chat-1", message: str = "0/3 nodes: 3 Insufficient gpu") -> Pod:
    return Pod(
        "team",
        name,
        f"uid-{name}",
        MARKS,
        "",
        "Pending",
        False,
        False,
        {GPU: 1},
        unschedulable_message=message,
        unschedulable_since=ago(seconds),
    )


def running(scheduled_seconds_ago: float, name: str = "chat-2", node: str = "n1") -> Pod:
    return Pod(
        "team",
        name,
        f"uid-{name}",
        MARKS,
        node,
        "Running",
        True,
        False,
        {GPU: 1},
        scheduled_at=ago(scheduled_seconds_ago),
    )


def state(failures: int, ends_in_seconds: float, reason: str = "PoolBackOff", since: float = 600) -> BackOff:
    return BackOff(
        reason=reason,
        failures=failures,
        since=ago(since).strftime("%Y-%m-%dT%H:%M:%SZ"),
        until=ago(-ends_in_seconds).strftime("%Y-%m-%dT%H:%M:%SZ"),
        message="1 pod found no node",
    )


def seen(*pods: Pod, **changes: Any) -> Sightings:
    return Sightings(pods, **changes)


CASES = [
    ("a pool that never failed is believed", seen(running(9999)), None, None, False),
    ("a pod may wait a minute", seen(stuck(59)), None, None, False),
    ("longer is a failure", seen(stuck(60)), None, 1, True),
    ("a pod that goes waits for nothing", seen(replace(stuck(99), is_deleting=True)), None, None, False),
    (
        "nodes that have to come may take their time",
        seen(stuck(350), is_elastic=True, provisioning_seconds=300),
        None,
        None,
        False,
    ),
    (
        "and no more than that",
        seen(stuck(360), is_elastic=True, provisioning_seconds=300),
        None,
        1,
        True,
    ),
    (
        "a pod whose own selectors fit nowhere is no fault of the pool",
        seen(stuck(999, message="0/3 nodes are available: 3 node(s) didn't match Pod's node affinity")),
        None,
        None,
        False,
    ),
    ("a spot node that goes closes the pool", seen(interrupted=("n1",)), None, 1, True),
    ("a failure while it backs off counts once", seen(stuck(400)), state(1, 100), 1, False),
    ("still failing when the wait is over doubles it", seen(stuck(400)), state(1, -1), 2, True),
    ("on trial it is believed", seen(), state(2, -1), 2, False),
    ("a pod that found a node since opens it early", seen(running(100)), state(2, 100), None, False),
    ("but not while another still waits", seen(running(100), stuck(30)), state(2, 100), 2, False),
    (
        "a pod that goes proves nothing",
        seen(replace(running(100), is_deleting=True)),
        state(2, 100),
        2,
        False,
    ),
    ("what ran before proves nothing", seen(running(900)), state(2, 100), 2, False),
    (
        "after an interruption what stayed elsewhere proves nothing",
        seen(running(100)),
        state(2, 100, "SpotInterruption"),
        2,
        False,
    ),
    ("a success on trial ends it", seen(running(5)), state(2, -10, "SpotInterruption"), None, False),
    ("an hour without a try is forgotten", seen(), state(5, -3600), None, False),
    (
        "a state that nobody can read is none",
        seen(),
        BackOff(reason="PoolBackOff", until="soon"),
        None,
        False,
    ),
]


@pytest.mark.parametrize(
    ("sightings", "before", "failures", "is_new"), [case[1:] for case in CASES], ids=[c[0] for c in CASES]
)
def test_whether_a_pool_is_believed(sightings, before, failures, is_new):
    trust = judge_pool(sightings, before, NOW)
    assert (trust.back_off.failures if trust.back_off else None) == failures
    assert trust.is_new_failure == is_new


def test_a_closed_pool_says_until_when_and_why():
    trust = judge_pool(seen(stuck(70), stuck(80, "chat-3")), None, NOW)
    assert trust.closed_because == (
        "takes nothing new until 2026-11-21T12:05:00Z: 2 pods found no node for 60 s: "
        "team/chat-1, team/chat-3"
    )
    assert trust.recheck_at == NOW + timedelta(minutes=5)
    again = judge_pool(seen(stuck(70)), trust.back_off, NOW + timedelta(minutes=4, seconds=59))
    assert again.closed_because == trust.closed_because


def test_a_pool_on_trial_is_open():
    assert judge_pool(seen(), state(2, -1), NOW).closed_because == ""


def test_a_waiting_pod_is_looked_at_when_patience_ends():
    assert judge_pool(seen(stuck(20)), None, NOW).recheck_at == NOW + timedelta(seconds=40)


def test_each_failure_doubles_the_time_up_to_an_hour():
    assert [back_off_seconds(n) / 60 for n in (1, 2, 3, 4, 5, 6, 60)] == [5, 10, 20, 40, 60, 60, 60]


@given(st.lists(st.booleans(), min_size=1, max_size=200))
def test_a_pool_that_fails_at_random_is_tried_ever_less_often(is_stuck):
    """One pass a minute; the state goes through its text as in a status."""
    before, tries = None, 0
    for minute, fails in enumerate(is_stuck):
        now = NOW + timedelta(minutes=minute)
        pods = (replace(stuck(0), unschedulable_since=now - timedelta(seconds=90)),) if fails else ()
        trust: Trust = judge_pool(Sightings(pods), before, now)
        tries += trust.is_new_failure
        if trust.back_off is not None:
            before = BackOff.model_validate(trust.back_off.model_dump(by_alias=True))
            assert (trust.closed_because == "") == (now >= datetime.fromisoformat(before.until))
    # 5 + 10 + 20 + 40 + 60 + 60 minutes
    assert tries <= 6 + len(is_stuck) // 60


# -- what the world shows of a pool


def spot_pool(capacity_type: str = "spot", back_off: BackOff | None = None) -> Pool:
    spec = AcceleratorPoolSpec.model_validate(
        {
            "device": {"family": "gpu", "resourceName": GPU},
            "nodeSelector": {"pool": "p"},
            "capacityType": capacity_type,
        }
    )
    return Pool(Meta("p", "", "u", "1", 1), spec, AcceleratorPoolStatus(back_off=back_off))


def node(name: str, *, taint: str = "", is_ready: bool = True) -> Node:
    taints = (Taint(taint, "", "NoSchedule"),) if taint else ()
    return Node(name, {"pool": "p"}, taints, {GPU: 4}, {GPU: 4}, is_ready, False)


def chat() -> Workload:
    spec = InferenceWorkloadSpec.model_validate(
        {
            "model": {"name": "m"},
            "demand": {"requestsPerSecond": "1"},
            "variants": [{"name": "v", "accelerators": ["gpu"]}],
        }
    )
    return Workload(Meta("chat", "team", "u2", "1", 1), spec, InferenceWorkloadStatus())


def trust_in(pool: Pool, *things: Node | Pod) -> Trust:
    world = World(
        NOW,
        pools=(pool,),
        workloads=(chat(),),
        nodes=tuple(each for each in things if isinstance(each, Node)),
        pods=tuple(each for each in things if isinstance(each, Pod)),
    )
    return judge_pools(world, {"p": read_pool(pool, load_catalog())})["p"]


NOTICE = "aws-node-termination-handler/spot-itn"
LOSSES = [
    ("a notice on a spot node", spot_pool(), (node("n1", taint=NOTICE),), "SpotInterruption"),
    ("a notice elsewhere", spot_pool("on-demand"), (node("n1", taint=NOTICE),), ""),
    ("another taint", spot_pool(), (node("n1", taint="team"),), ""),
    ("a lost node with our pod", spot_pool(), (node("n1", is_ready=False), running(999)), "SpotInterruption"),
    ("a lost node without one", spot_pool(), (node("n1", is_ready=False),), ""),
    ("a node that is gone", spot_pool(), (running(999, node="n9"),), "SpotInterruption"),
    ("a pod that is going as well", spot_pool(), (replace(running(999), is_deleting=True),), ""),
    ("a stuck pod of ours", spot_pool(), (node("n1"), stuck(99)), "PoolBackOff"),
    ("somebody else's stuck pod", spot_pool(), (replace(stuck(99), labels={}),), ""),
    (
        "a stuck pod that only says it is ours",
        spot_pool(),
        (replace(stuck(99), namespace="elsewhere"),),
        "",
    ),
]


@pytest.mark.parametrize(
    ("pool", "things", "reason"), [case[1:] for case in LOSSES], ids=[case[0] for case in LOSSES]
)
def test_what_of_a_world_closes_a_pool(pool, things, reason):
    trust = trust_in(pool, *things)
    assert (trust.back_off.reason if trust.back_off else "") == reason


def test_the_status_of_the_pool_is_its_memory():
    stored = state(2, 100)
    assert trust_in(spot_pool(back_off=stored)).back_off == stored
