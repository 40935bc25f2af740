"""Demand, replicas and restarts together: passes every 15 seconds whose only memory is the status."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from switchyard.api import InferenceWorkloadSpec, InferenceWorkloadStatus
from switchyard.core.placement.reading import read_workload
from switchyard.core.stability.demand import describe_demand, plan_demand
from switchyard.core.stability.scale_down import Shrinkage, plan_replicas
from switchyard.core.world import Meta, SignalReading, Workload

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
STEP_SECONDS = 15.0
DELAY_SECONDS = 300.0
CARRIED_RATE = 10.0
SPEC = InferenceWorkloadSpec.model_validate(
    {
        "model": {"name": "m"},
        "demand": {"signal": {"source": "main"}},
        "variants": [{"name": "v", "accelerators": ["gpu"]}],
        "scaling": {"headroomPercent": 20},
    }
)


@dataclass
class Service:
    """One workload; `status` is a document, as the API server keeps it."""

    status: dict[str, Any] = field(default_factory=dict)
    replicas: int = 1
    counts: list[int] = field(default_factory=list)
    writes: int = 0

    def turn(self, step: int, reading: SignalReading | None) -> None:
        """One pass."""
        now = NOW + timedelta(seconds=STEP_SECONDS * step)
        status = InferenceWorkloadStatus.model_validate(self.status)
        workload = Workload(Meta("w", "team", "u", "1", 1), SPEC, status)
        demand = plan_demand(SPEC.demand, reading, status.demand, now)
        facts = read_workload(workload, demand.reading)
        wanted = max(1, math.ceil(facts.peak_rate * 1.2 / CARRIED_RATE - 1e-9))
        shrinkage = Shrinkage(
            self.replicas, wanted, CARRIED_RATE, facts.peak_rate, 1000, DELAY_SECONDS, demand.is_frozen
        )
        plan = plan_replicas(shrinkage, status.scale_down, now)
        after: dict[str, Any] = {"demand": describe_demand(facts, demand)}
        if plan.waiting is not None:
            after["scaleDown"] = plan.waiting.model_dump(mode="json", by_alias=True)
        self.writes += after != self.status
        self.status, self.replicas = after, plan.replicas
        self.counts.append(plan.replicas)


def read_at(step: int, rate: float | None) -> SignalReading:
    """What the signal says at a step; None: its query fails."""
    at = NOW + timedelta(seconds=STEP_SECONDS * step)
    return SignalReading(at, rate) if rate is not None else SignalReading(None, None, problem="HTTP 503")


def replay(rates: list[float | None], restarts: frozenset[int] = frozenset()) -> Service:
    """A service after all steps. A restart costs one pass in which nothing was asked yet."""
    service = Service()
    for step, rate in enumerate(rates):
        service.turn(step, None if step in restarts else read_at(step, rate))
    return service


steps = st.lists(st.sampled_from([5.0, 40.0, 42.0, 80.0, 200.0]), min_size=4, max_size=8)


@given(steps, st.sets(st.integers(1, 38), max_size=6))
def test_restarts_at_any_point_end_in_the_same_plan(levels, restarts):
    # levels that last for 75 s each, and a calm end that is longer than the delay
    rates: list[float | None] = [level for level in levels for _ in range(5)] + [levels[-1]] * 30
    calm, restarted = replay(rates), replay(rates, frozenset(restarts))
    assert restarted.replicas == calm.replicas
    assert restarted.status["demand"]["requestsPerSecond"] == calm.status["demand"]["requestsPerSecond"]


@given(st.floats(1, 300), st.sets(st.integers(30, 99), max_size=10))
def test_restarts_of_a_steady_service_write_nothing(rate, restarts):
    calm, restarted = replay([rate] * 100), replay([rate] * 100, frozenset(restarts))
    assert (restarted.counts, restarted.status, restarted.writes) == (calm.counts, calm.status, calm.writes)


@given(st.floats(20, 300), st.lists(st.floats(-0.02, 0.02), min_size=60, max_size=60))
def test_noise_moves_no_replica_and_writes_no_status_once_it_is_settled(rate, noise):
    service = Service()
    for step in range(20):
        service.turn(step, read_at(step, rate))
    settled = service.writes
    for step, share in enumerate(noise, start=20):
        service.turn(step, read_at(step, rate * (1 + share)))
    assert service.writes == settled
    assert len(set(service.counts[20:])) == 1


@given(st.lists(st.one_of(st.none(), st.floats(0, 500)), min_size=2, max_size=200))
def test_whatever_the_signal_does_replicas_fall_at_most_once_per_delay(rates):
    service = replay(rates)
    counts = service.counts
    falls = [i for i in range(1, len(counts)) if counts[i] < counts[i - 1]]
    assert len(falls) <= len(rates) * STEP_SECONDS / DELAY_SECONDS + 1
    assert not [i for i in falls if rates[i] is None]


@given(st.floats(50, 400), st.integers(21, 120))
def test_an_outage_of_the_signal_keeps_every_replica(rate, length):
    rates: list[float | None] = [rate] * 20 + [None] * length
    service = replay(rates)
    assert set(service.counts[20:]) == {service.counts[19]}
    assert service.status["demand"]["source"] == "LastKnown"
