"""Rates and percentiles against known formulas, an independent simulation, and measured curves."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.core.queue_simulation import percentile, simulate

from switchyard.core.errors import ProfileError
from switchyard.core.placement.latency import (
    Objective,
    format_seconds,
    max_rate,
    percentile_seconds,
    predict,
)
from switchyard.core.placement.load_curve import LoadPoint, PointsProfile
from switchyard.core.placement.queueing import ConcurrencyProfile, exceed_probability, occupy

L4 = ConcurrencyProfile(8, 0.110, 0.004, 0.25)
CURVE = PointsProfile(
    (
        LoadPoint(10, 0.050, 0.080, 0.120),
        LoadPoint(20, 0.060, 0.100, 0.160, 0.01),
        LoadPoint(40, 0.090, 0.200, 0.400, 0.05),
    )
)


@pytest.mark.parametrize(
    ("slots", "offered", "erlang_c"),
    [(1, 0.5, 0.5), (2, 1.0, 1 / 3), (3, 2.0, 4 / 9), (10, 5.0, 0.036105)],
)
def test_the_chance_to_wait_is_erlang_c_when_service_does_not_slow_down(slots, offered, erlang_c):
    assert occupy(ConcurrencyProfile(slots, 1.0), offered).waits == pytest.approx(erlang_c, rel=1e-4)


def test_the_mean_wait_of_one_slot_is_that_of_pollaczek_and_khinchine():
    profile, rate = ConcurrencyProfile(1, 0.1, 0, 0.4), 8.0
    state = occupy(profile, rate)
    expected = rate * 0.1**2 * (1 + 0.4) / (2 * (1 - 0.8))
    assert state.waits / state.wait_decay == pytest.approx(expected)


def test_hundreds_of_slots_overflow_nothing():
    profile = ConcurrencyProfile(1000, 0.2, 0.001, 0.5)
    assert 0 < occupy(profile, 0.9 * profile.saturation_rate).waits < 1


SIMULATED = [
    (slots, slope, cv2, load)
    for slots, slope, cv2 in [
        (1, 0, 0.25),
        (1, 0, 1.0),
        (4, 0.02, 0.1),
        (4, 0.004, 1.0),
        (8, 0.01, 0.25),
        (32, 0.004, 0.5),
    ]
    for load in (0.3, 0.6, 0.8, 0.9)
]


@pytest.mark.parametrize(("slots", "slope", "cv2", "load"), SIMULATED)
def test_the_p95_is_close_to_a_simulation(slots, slope, cv2, load):
    """Within 10 percent up to 80 percent of saturation, within 15 at 90. Fixed seeds."""
    profile = ConcurrencyProfile(slots, 0.1, slope, cv2)
    rate = load * profile.saturation_rate
    observed = []
    for seed in range(3 if load > 0.8 else 1):
        observed += simulate(
            slots=slots,
            base_seconds=0.1,
            slope_seconds=slope,
            cv2=cv2,
            rate=rate,
            requests=60_000,
            seed=seed,
        )
    expected = percentile(sorted(observed), 95)
    assert percentile_seconds(profile, rate, 95) == pytest.approx(expected, rel=0.10 if load <= 0.8 else 0.15)


def test_the_promised_rate_keeps_its_objective_in_a_simulation():
    capacity = max_rate(L4, (Objective(95, 0.3),))
    observed = simulate(
        slots=8,
        base_seconds=0.110,
        slope_seconds=0.004,
        cv2=0.25,
        rate=capacity.rate,
        requests=60_000,
        seed=1,
    )
    assert percentile(observed, 95) <= 0.3


def test_without_objectives_saturation_binds_and_headroom_is_left():
    capacity = max_rate(L4)
    assert capacity.binding is None
    assert capacity.rate == pytest.approx(L4.saturation_rate * 0.95 * 0.90, rel=1e-5)


@pytest.mark.parametrize(
    ("source", "ratio"), [("benchmark", 1.0), ("vendor", 0.7 / 0.9), ("estimate", 0.7 / 0.9)]
)
def test_what_nobody_measured_is_trusted_less(source, ratio):
    assert max_rate(L4, (), 0.0, source).rate == pytest.approx(max_rate(L4).rate * ratio, rel=1e-5)


def test_the_tightest_objective_binds():
    capacity = max_rate(L4, (Objective(50, 0.2), Objective(95, 0.25), Objective(99, 2.0)))
    assert capacity.binding == Objective(95, 0.25)


def test_network_latency_is_taken_from_the_target():
    near, far = (max_rate(L4, (Objective(95, 0.3),), seconds).rate for seconds in (0.0, 0.050))
    assert far < near
    assert max_rate(L4, (Objective(95, 0.25),)).rate == far


def test_an_objective_that_one_request_misses_gives_nothing_and_the_best_that_can_be_promised():
    capacity = max_rate(L4, (Objective(95, 0.1),), 0.02)
    assert capacity.rate == 0
    assert capacity.best_seconds == pytest.approx(percentile_seconds(L4, 0.0, 95) + 0.02)
    assert max_rate(L4, (Objective(95, capacity.best_seconds + 0.001),), 0.02).rate > 0


def test_constant_service_times_are_met_exactly():
    profile = ConcurrencyProfile(2, 0.1, 0, 0)
    assert percentile_seconds(profile, 0.0, 99) == pytest.approx(0.1, rel=1e-3)
    assert max_rate(profile, (Objective(99, 0.099),)).rate == 0
    assert max_rate(profile, (Objective(99, 0.101),)).rate > 0


def test_nothing_finite_is_predicted_past_saturation():
    assert predict(L4, L4.saturation_rate * 1.01).p95_seconds == math.inf
    assert predict(L4, L4.saturation_rate * 1.01).utilisation_ratio == 1.0


POINTS = [
    ("a measured point is met exactly", 20, 95, 0.100),
    ("between points it is linear", 30, 95, 0.150),
    ("below the first point its figures hold", 1, 95, 0.080),
    ("past the last point nothing is claimed", 40.1, 95, math.inf),
    ("a percentile that was not measured takes the next higher", 20, 90, 0.100),
    ("p99 has its own curve", 20, 99, 0.160),
]


@pytest.mark.parametrize(
    ("rate", "percent", "seconds"), [case[1:] for case in POINTS], ids=[case[0] for case in POINTS]
)
def test_curve(rate, percent, seconds):
    assert percentile_seconds(CURVE, rate, percent) == pytest.approx(seconds)


def test_a_noisy_curve_is_read_as_rising():
    noisy = PointsProfile(
        (LoadPoint(1, 0.1, 0.2, 0.3), LoadPoint(2, 0.09, 0.15, 0.2), LoadPoint(3, 0.2, 0.3, 0.4))
    )
    assert percentile_seconds(noisy, 2, 95) == pytest.approx(0.2)


def test_a_curve_is_inverted_at_its_objective_and_never_past_its_end():
    assert max_rate(CURVE, (Objective(95, 0.150),)).rate == pytest.approx(30 * 0.9, rel=2e-3)
    assert max_rate(CURVE, (Objective(95, 9.0),)).rate == pytest.approx(40 * 0.9)


def test_errors_of_a_curve_are_interpolated():
    assert predict(CURVE, 30).error_ratio == pytest.approx(0.03)


@pytest.mark.parametrize(
    "make",
    [
        lambda: ConcurrencyProfile(0, 0.1),
        lambda: ConcurrencyProfile(1, 0.0),
        lambda: ConcurrencyProfile(1, 0.1, -0.1),
        lambda: ConcurrencyProfile(1, 0.1, 0, math.nan),
        lambda: PointsProfile(()),
        lambda: PointsProfile((LoadPoint(2, 1, 1, 1), LoadPoint(1, 1, 1, 1))),
        lambda: PointsProfile((LoadPoint(0, 1, 1, 1),)),
    ],
)
def test_numbers_that_no_server_has_are_refused(make):
    with pytest.raises(ProfileError):
        make()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.00025, "250us"),
        (0.0123, "12.3ms"),
        (0.1824, "182ms"),
        (1.25, "1.25s"),
        (125.4, "125s"),
        (math.inf, "unbounded"),
    ],
)
def test_durations_read_as_people_write_them(seconds, text):
    assert format_seconds(seconds) == text


profiles = st.builds(
    ConcurrencyProfile,
    st.integers(1, 40),
    st.floats(0.001, 1.0),
    st.floats(0.0, 0.05),
    st.floats(0.0, 2.0),
)


@settings(max_examples=100, deadline=None)
@given(profiles, st.floats(0.05, 0.9), st.floats(0.01, 3.0))
def test_more_load_never_answers_sooner(profile, load, seconds):
    rate = load * profile.saturation_rate
    assert (
        exceed_probability(profile, rate, seconds) <= exceed_probability(profile, rate * 1.05, seconds) + 1e-6
    )


@settings(max_examples=100, deadline=None)
@given(profiles, st.sampled_from([50, 90, 95, 99]), st.floats(0.001, 5.0))
def test_the_promised_rate_is_predicted_to_keep_its_objective(profile, percent, target):
    capacity = max_rate(profile, (Objective(percent, target),))
    if capacity.rate > 0:
        assert percentile_seconds(profile, capacity.rate, percent) <= target * 1.002
        assert capacity.rate <= 0.95 * profile.saturation_rate
    else:
        assert capacity.best_seconds > target * 0.998
