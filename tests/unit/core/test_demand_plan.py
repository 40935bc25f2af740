"""Which demand is planned with: measured, last known, planned, or none; and when it changes."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchyard.api import InferenceWorkloadSpec, InferenceWorkloadStatus
from switchyard.api.demand import Demand
from switchyard.api.workload_status import DemandStatus
from switchyard.core.placement.reading import read_workload
from switchyard.core.stability.demand import DemandPlan, describe_demand, plan_demand
from switchyard.core.world import Meta, SignalReading, Workload

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
JUST_NOW = NOW - timedelta(seconds=10)
LONG_AGO = NOW - timedelta(seconds=301)
SIGNAL = {"signal": {"source": "prometheus"}}


def reading(rate: float | None, at: datetime | None = JUST_NOW, **changes: Any) -> SignalReading:
    return SignalReading(at, rate, **changes)


def stored(rate: str, source: str = "Signal", **changes: Any) -> DemandStatus:
    return DemandStatus(
        requests_per_second=rate, source=source, observed_at="2026-11-21T11:00:00Z", **changes
    )  # type: ignore[arg-type]


def plan(
    demand: dict[str, Any], signal: SignalReading | None, before: DemandStatus | None = None
) -> DemandPlan:
    return plan_demand(Demand.model_validate(demand), signal, before, NOW)


def status_of(demand: dict[str, Any], planned: DemandPlan) -> DemandStatus:
    """What a pass would store."""
    spec = InferenceWorkloadSpec.model_validate(
        {"model": {"name": "m"}, "demand": demand, "variants": [{"name": "v", "accelerators": ["gpu"]}]}
    )
    workload = Workload(Meta("w", "team", "u", "1", 1), spec, InferenceWorkloadStatus())
    return DemandStatus.model_validate(describe_demand(read_workload(workload, planned.reading), planned))


SILENT = reading(None, None, problem="source prometheus: HTTP 503")

CASES = [
    ("a plan is a plan", {"requestsPerSecond": "5"}, None, None, "Planned", None, ""),
    ("what was measured counts", SIGNAL, reading(18.34), None, "Signal", 18.3, "SignalCurrent"),
    ("zero is a measurement", SIGNAL, reading(0.0), stored("18.3"), "Signal", 0.0, "SignalCurrent"),
    (
        "one failed query is not an outage",
        SIGNAL,
        reading(18.3, problem="prometheus: HTTP 503"),
        None,
        "Signal",
        18.3,
        "SignalCurrent",
    ),
    ("no value is not zero", SIGNAL, reading(None), stored("18.3"), "LastKnown", 18.3, "DemandFrozen"),
    ("NaN is not zero", SIGNAL, reading(math.nan), stored("18.3"), "LastKnown", 18.3, "DemandFrozen"),
    ("less than nothing is no rate", SIGNAL, reading(-1.0), stored("9"), "LastKnown", 9.0, "DemandFrozen"),
    ("no end is no rate", SIGNAL, reading(math.inf), stored("9"), "LastKnown", 9.0, "DemandFrozen"),
    (
        "after five minutes a value is missing",
        SIGNAL,
        reading(3.0, NOW - timedelta(seconds=300)),
        stored("9"),
        "LastKnown",
        9.0,
        "DemandFrozen",
    ),
    (
        "an old value is missing",
        SIGNAL,
        reading(3.0, LONG_AGO),
        stored("9"),
        "LastKnown",
        9.0,
        "DemandFrozen",
    ),
    (
        "an old value is the last known one where nothing is stored",
        SIGNAL,
        reading(3.0, LONG_AGO),
        None,
        "LastKnown",
        3.0,
        "DemandFrozen",
    ),
    (
        "what was last known stays so",
        SIGNAL,
        SILENT,
        stored("9", "LastKnown"),
        "LastKnown",
        9.0,
        "DemandFrozen",
    ),
    (
        "never measured: the plan",
        {**SIGNAL, "requestsPerSecond": "5"},
        SILENT,
        stored("5", "Planned"),
        "Planned",
        None,
        "SignalNever",
    ),
    (
        "measured once, the plan counts no more",
        {**SIGNAL, "requestsPerSecond": "5"},
        SILENT,
        stored("9"),
        "LastKnown",
        9.0,
        "DemandFrozen",
    ),
    ("never measured and no plan", SIGNAL, reading(None), stored("0", "None"), "None", None, "SignalNever"),
]


@pytest.mark.parametrize(
    "case",
    [case[1:] for case in CASES],
    ids=[case[0] for case in CASES],
)
def test_which_demand_counts(case):
    demand, signal, before, source, rate, reason = case
    planned = plan(demand, signal, before)
    assert planned.source == source
    assert (planned.reading.mean_rate if planned.reading else None) == rate
    assert (planned.finding.reason.value if planned.finding else "") == reason
    assert planned.is_frozen == (reason in {"DemandFrozen", "SignalNever"})
    assert status_of(demand, planned).source == source


def test_a_missing_signal_says_which_query_failed_and_what_counts_instead():
    planned = plan(SIGNAL, reading(None, problem="source prometheus: HTTP 503"), stored("18.3"))
    assert planned.finding is not None
    assert (planned.finding.type, planned.finding.status) == ("SignalsAvailable", "False")
    assert planned.finding.message == (
        "source prometheus: HTTP 503; the last known 18.3 requests/s of 2026-11-21T11:00:00Z stay in force, "
        "and nothing is scaled down"
    )


AFTER_RESTART = [
    ("what was measured stays measured", stored("18.3"), "Signal", 18.3, ("True", "SignalCurrent")),
    ("what was missing stays so", stored("9", "LastKnown"), "LastKnown", 9.0, ("False", "DemandFrozen")),
    ("what was never known stays so", stored("0", "None"), "None", None, ("Unknown", "SignalNever")),
    ("a new workload", None, "None", None, ("Unknown", "SignalNever")),
]


@pytest.mark.parametrize(
    ("before", "source", "rate", "condition"),
    [case[1:] for case in AFTER_RESTART],
    ids=[case[0] for case in AFTER_RESTART],
)
def test_before_the_first_answer_what_is_stored_stays_and_nothing_goes(before, source, rate, condition):
    planned = plan(SIGNAL, None, before)
    assert (planned.source, planned.is_frozen) == (source, True)
    assert (planned.reading.mean_rate if planned.reading else None) == rate
    assert planned.finding is not None
    assert (planned.finding.status, planned.finding.reason.value) == condition


MOMENTS = [
    ("the same figure is as old as it was", stored("18.3"), 18.4, "2026-11-21T11:00:00Z"),
    ("another figure is new", stored("18.3"), 25.0, "2026-11-21T11:59:50Z"),
    ("the same figure after an outage is new", stored("18.3", "LastKnown"), 18.3, "2026-11-21T11:59:50Z"),
]


@pytest.mark.parametrize(
    ("before", "rate", "moment"), [case[1:] for case in MOMENTS], ids=[case[0] for case in MOMENTS]
)
def test_when_the_figure_in_force_was_measured(before, rate, moment):
    assert plan(SIGNAL, reading(rate), before).observed_at == moment


def test_a_restart_writes_no_status_while_the_signal_is_well():
    before = status_of(SIGNAL, plan(SIGNAL, reading(18.34)))
    condition = plan(SIGNAL, reading(18.34), before).finding
    restarted = plan(SIGNAL, None, before)
    assert (status_of(SIGNAL, restarted), restarted.finding) == (before, condition)


def test_without_any_figure_only_the_least_replicas_are_planned():
    planned = plan(SIGNAL, SILENT)
    assert status_of(SIGNAL, planned).requests_per_second == "0"
    assert planned.finding is not None
    assert "scaling.minReplicas" in planned.finding.message


def test_what_is_current_is_looked_at_again_when_it_would_be_missing():
    assert plan(SIGNAL, reading(3.0)).recheck_at == JUST_NOW + timedelta(seconds=300)


def test_the_peak_follows_the_measured_rate():
    demand = {**SIGNAL, "peakFactor": "1.5"}
    assert status_of(demand, plan(demand, reading(20.0))).peak_requests_per_second == "30"


SIZES = {"inputTokens": {"mean": "800", "cv": "0.5"}, "outputTokens": {"mean": "200", "cv": "0.7"}}
TRAFFIC = [
    ("nothing measured: as the spec says", SIZES, (None, None), None, None),
    ("measured means, the spread of the spec", SIZES, (412.0, 99.0), None, (412, 0.5, 99, 0.7)),
    ("one measured, the other of the spec", SIZES, (412.0, None), None, (412, 0.5, 200, 0.7)),
    ("a size of zero is none", SIZES, (412.0, 0.0), None, (412, 0.5, 200, 0.7)),
    ("no spread known", {}, (412.0, 99.0), None, (412, 1.0, 99, 1.0)),
    ("one size is no size", {}, (412.0, None), None, None),
    ("the last known size stays", {}, (None, None), ("412", "99"), (412, 1.0, 99, 1.0)),
]


@pytest.mark.parametrize(
    ("sizes", "measured", "before", "expected"), [case[1:] for case in TRAFFIC], ids=[c[0] for c in TRAFFIC]
)
def test_sizes_of_requests_are_measured_too(sizes, measured, before, expected):
    signal = reading(5.0, input_tokens=measured[0], output_tokens=measured[1])
    known = stored("5", input_tokens=before[0], output_tokens=before[1]) if before else None
    planned = plan({**SIGNAL, **sizes}, signal, known)
    assert planned.reading is not None
    traffic = planned.reading.traffic
    found = traffic and (traffic.input_mean, traffic.input_cv, traffic.output_mean, traffic.output_cv)
    assert found == expected


@given(
    st.floats(0.001, 1e6),
    st.lists(st.floats(-0.019, 0.019), min_size=1, max_size=20),
    st.booleans(),
)
def test_jitter_changes_nothing_that_is_stored(rate, noise, has_sizes):
    size = 500.0 if has_sizes else None
    before = status_of(SIGNAL, plan(SIGNAL, reading(rate, input_tokens=size, output_tokens=size)))
    first = before
    for minute, share in enumerate(noise):
        signal = reading(
            rate * (1 + share),
            NOW + timedelta(minutes=minute) - timedelta(seconds=5),
            input_tokens=size and size * (1 - share),
            output_tokens=size,
        )
        now = NOW + timedelta(minutes=minute)
        planned = plan_demand(Demand.model_validate(SIGNAL), signal, before, now)
        before = status_of(SIGNAL, planned)
    assert before == first


@given(st.floats(0.01, 1e6), st.floats(0.01, 1e6))
def test_what_is_planned_is_never_far_from_what_was_measured(earlier, later):
    before = status_of(SIGNAL, plan(SIGNAL, reading(earlier)))
    planned = plan(SIGNAL, reading(later), before)
    assert planned.reading is not None
    larger = max(planned.reading.mean_rate, later)
    assert abs(planned.reading.mean_rate - later) <= max(0.06 * larger, 1.01 * math.sqrt(larger / 300))


def test_what_chance_does_to_a_handful_of_requests_changes_nothing():
    """20 requests in five minutes, then 16: one standard deviation of such a count is 4."""
    before = stored("0.0667")
    planned = plan(SIGNAL, reading(16 / 300), before)
    assert status_of(SIGNAL, planned) == before.model_copy(
        update={"peak_requests_per_second": before.requests_per_second}
    )
    assert plan(SIGNAL, reading(12 / 300), before).reading.mean_rate == 0.04


@given(st.lists(st.one_of(st.none(), st.just(math.nan), st.floats(0, 1e6)), min_size=1, max_size=30))
def test_a_missing_signal_never_lowers_the_demand(figures):
    before = None
    for minute, figure in enumerate(figures):
        now = NOW + timedelta(minutes=10 * minute)
        planned = plan_demand(Demand.model_validate(SIGNAL), reading(figure, now), before, now)
        if before is not None and before.source != "None" and (figure is None or math.isnan(figure)):
            assert planned.is_frozen
            assert planned.reading is not None
            assert planned.reading.mean_rate == float(before.requests_per_second)
        before = status_of(SIGNAL, planned)
