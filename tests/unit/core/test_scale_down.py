"""When replicas are taken away: after a while, if fewer would carry the load, and never in a hurry."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchyard.api.workload_status import ScaleDown
from switchyard.core.stability.scale_down import (
    ReplicaPlan,
    Shrinkage,
    count_safe_replicas,
    plan_replicas,
)

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
DELAY_SECONDS = 300.0


def found(current: int, wanted: int, **changes: object) -> Shrinkage:
    plain = Shrinkage(current, wanted, 10.0, 10.0 * (wanted - 0.5) / 1.2, 100, DELAY_SECONDS)
    return replace(plain, **changes)  # type: ignore[arg-type]


def waiting(seconds_ago: float, replicas: int) -> ScaleDown:
    since = NOW - timedelta(seconds=seconds_ago)
    return ScaleDown(since=since.strftime("%Y-%m-%dT%H:%M:%SZ"), replicas=replicas)


CASES = [
    ("more come at once", found(2, 5), None, 5, None),
    ("more come at once, whatever waited", found(2, 5), waiting(200, 1), 5, None),
    ("as many as there are stay", found(3, 3), waiting(200, 2), 3, None),
    ("fewer wait", found(5, 2), None, 5, waiting(0, 2)),
    ("the wait goes on", found(5, 2), waiting(200, 2), 5, waiting(200, 2)),
    ("the most wanted meanwhile is kept", found(5, 2), waiting(200, 4), 5, waiting(200, 4)),
    ("what is wanted now counts too", found(5, 4), waiting(200, 2), 5, waiting(200, 4)),
    ("after the wait the most wanted stay", found(5, 2), waiting(300, 4), 4, None),
    ("a wait from the future begins anew", found(5, 2), waiting(-60, 2), 5, waiting(0, 2)),
    ("a wait for nothing fewer begins anew", found(5, 2), waiting(400, 5), 5, waiting(0, 2)),
    ("without a signal none goes", found(5, 2, is_frozen=True), None, 5, None),
    ("and the wait is kept", found(5, 2, is_frozen=True), waiting(200, 2), 5, waiting(200, 2)),
    ("for a while after its end", found(5, 2, is_frozen=True), waiting(599, 2), 5, waiting(599, 2)),
    ("and not for ever", found(5, 2, is_frozen=True), waiting(600, 2), 5, None),
    ("no delay, no wait", found(5, 2, delay_seconds=0.0), None, 2, None),
    ("the author's limit holds at once", found(9, 8, most_replicas=4), None, 4, None),
    ("nobody gets more than the author allows", found(2, 8, most_replicas=4), None, 4, None),
    ("fewer that could not carry the peak stay away", found(5, 4, peak_rate=40.0), waiting(900, 4), 5, None),
    ("as many go as can", found(6, 4, peak_rate=40.0), waiting(900, 4), 5, None),
    ("where no rate is known only the wait counts", found(5, 1, carried_rate=0.0), waiting(900, 1), 1, None),
]


@pytest.mark.parametrize(
    ("shrinkage", "before", "replicas", "state"), [case[1:] for case in CASES], ids=[c[0] for c in CASES]
)
def test_how_many_stay(shrinkage, before, replicas, state):
    planned = plan_replicas(shrinkage, before, NOW)
    assert (planned.replicas, planned.waiting) == (replicas, state)
    assert (planned.recheck_at is not None) == (state is not None and not shrinkage.is_frozen)


def test_it_looks_again_when_the_wait_is_over():
    planned = plan_replicas(found(5, 2), waiting(200, 2), NOW)
    assert planned.recheck_at == NOW + timedelta(seconds=100)
    assert plan_replicas(found(5, 2), planned.waiting, planned.recheck_at).replicas == 2


def test_headroom_of_ten_percent_and_more_makes_the_check_free():
    for demand in range(1, 400):
        wanted = math.ceil(1.1 * demand / 7.0)
        assert count_safe_replicas(demand, 7.0) <= wanted


def replay(
    demands: list[float], delay_seconds: float, headroom: float = 1.2, step_seconds: float = 30.0
) -> list[int]:
    """Replicas after each pass; the state goes through its text as in a status."""
    current, state, counts = 1, None, []
    for number, demand in enumerate(demands):
        wanted = max(1, math.ceil(demand * headroom / 10.0))
        now = NOW + timedelta(seconds=step_seconds * number)
        planned: ReplicaPlan = plan_replicas(
            Shrinkage(current, wanted, 10.0, demand, 1000, delay_seconds), state, now
        )
        stored = planned.waiting
        state = ScaleDown.model_validate(stored.model_dump(by_alias=True)) if stored else None
        current = planned.replicas
        counts.append(current)
        assert current >= wanted
    return counts


@given(
    st.lists(st.floats(0, 500), min_size=2, max_size=120),
    st.sampled_from([60.0, 300.0, 900.0]),
)
def test_between_two_reductions_lies_the_delay_whatever_the_demand_does(demands, delay_seconds):
    counts = replay(demands, delay_seconds)
    downs = [i for i in range(1, len(counts)) if counts[i] < counts[i - 1]]
    assert all((later - earlier) * 30 >= delay_seconds for earlier, later in itertools.pairwise(downs))
    assert len(downs) <= len(demands) * 30 / delay_seconds + 1


@given(st.floats(1, 400), st.lists(st.floats(-0.3, 0.3), min_size=10, max_size=120))
def test_a_demand_that_swings_faster_than_the_delay_moves_replicas_up_only(base, swings):
    counts = replay([base * (1 + swings[i % 7]) for i in range(len(swings))], delay_seconds=7 * 30.0)
    first_cycle = max(counts[:7])
    assert all(count >= previous for count, previous in zip(counts[1:7], counts[:6], strict=True))
    assert set(counts[14:]) <= {first_cycle}


@given(st.floats(1, 400))
def test_a_steady_demand_settles_and_stays(demand):
    counts = replay([500.0] + [demand] * 60, delay_seconds=300.0)
    wanted = max(1, math.ceil(demand * 1.2 / 10.0))
    assert set(counts[30:]) == {wanted}
