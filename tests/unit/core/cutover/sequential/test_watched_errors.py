"""Errors of both arms over thousands of streams, looked at after every window."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special
from tests.unit.core.cutover.sequential.streams import (
    ALPHA,
    FEW,
    STREAMS,
    THRESHOLD,
    Errors,
    add_up,
    count_ever,
    fixed_horizon_log_odds,
    fixed_horizon_two_rates,
    median_first,
    most_in_error,
    report,
)

from switchyard.core.cutover.sequential.bound import compute_bound_logs
from switchyard.core.cutover.sequential.difference import DifferenceTest
from switchyard.core.cutover.sequential.ratio import ContrastWindow, RatioTest
from switchyard.core.cutover.sequential.self_normalised import SelfNormalisedTest, compute_deviation_logs

WINDOWS = 120
# The way of a cutover: 200 requests per window, at 5, 10, 25 and 50 % on the candidate.
CANDIDATE = np.repeat([10, 20, 50, 100], WINDOWS // 4)
BASELINE = 200 - CANDIDATE
EVEN = np.full(WINDOWS, 100)
# A baseline whose rate moves through the day.
MOVING = 0.02 * (1 + 0.5 * np.sin(np.arange(WINDOWS) / 10))


def test_one_stream_says_what_the_arrays_say():
    errors = Errors.draw(1, BASELINE, CANDIDATE, 0.05, odds_ratio=1.4, streams=5)
    harm, safe = errors.ratio_logs(1.5)[3], errors.ratio_logs(1.5, is_safe=True)[3]
    guard = errors.self_normalised_logs(1.5)[3]
    plain, normalised = RatioTest(1.5), SelfNormalisedTest(1.5)
    for index, contrast in enumerate(errors.windows(3)):
        window = ContrastWindow(index, (contrast,))
        plain, normalised = plain.update(window), normalised.update(window)
        assert plain.harm_log_e == pytest.approx(harm[index], abs=0.02)
        assert plain.safe_log_e == pytest.approx(safe[index], abs=0.02)
        assert normalised.harm_log_e == pytest.approx(guard[index], abs=0.02)


def test_one_stream_of_differences_says_what_the_arrays_say():
    errors = Errors.draw(2, BASELINE, CANDIDATE, 0.01, odds_ratio=1.4, streams=5)
    harm, safe = errors.difference_logs(0.01)[3], errors.difference_logs(0.01, is_safe=True)[3]
    test = DifferenceTest(0.01)
    for index, contrast in enumerate(errors.windows(3)):
        test = test.update(ContrastWindow(index, (contrast,)))
        assert test.harm_log_e == pytest.approx(harm[index], abs=0.02)
        assert test.safe_log_e == pytest.approx(safe[index], abs=0.02)


@pytest.mark.parametrize(
    ("name", "baseline", "candidate", "rate"),
    [
        ("equal arms, even split", EVEN, EVEN, 0.02),
        ("equal arms, growing weight, moving load", BASELINE, CANDIDATE, MOVING),
        ("equal arms, ten requests per window", np.full(WINDOWS, 5), np.full(WINDOWS, 5), 0.02),
        ("equal arms, slow share 5 %", EVEN, EVEN, 0.05),
    ],
)
def test_equal_arms_are_rolled_back_no_more_often_than_promised(name, baseline, candidate, rate):
    errors = Errors.draw(11, baseline, candidate, rate)
    ours = count_ever(errors.ratio_logs(1.0) >= THRESHOLD)
    guarded = count_ever(np.minimum(errors.ratio_logs(1.0), errors.self_normalised_logs(1.0)) >= THRESHOLD)
    naive = count_ever(errors.naive_p_values(1.0) <= ALPHA)
    report(name, ours=ours / STREAMS, guarded=guarded / STREAMS, naive=naive / STREAMS)
    assert guarded <= ours <= most_in_error()
    assert naive > 3 * ALPHA * STREAMS


def test_arms_at_the_margin_are_rolled_back_and_passed_no_more_often_than_promised():
    errors = Errors.draw(12, BASELINE, CANDIDATE, MOVING, odds_ratio=1.5)
    harm = count_ever(errors.ratio_logs(1.5) >= THRESHOLD)
    safe = count_ever(errors.ratio_logs(1.5, is_safe=True) >= THRESHOLD)
    report("at the margin of 1.5", rolled_back=harm / STREAMS, passed=safe / STREAMS)
    assert 0 < harm <= most_in_error()
    assert 0 < safe <= most_in_error()


@pytest.mark.parametrize("concentration", [50, 20])
@pytest.mark.parametrize(
    ("name", "baseline", "candidate"),
    [("growing weight", BASELINE, CANDIDATE), ("weight from 95 %", CANDIDATE, BASELINE)],
)
def test_failures_that_come_together_break_the_plain_test_and_not_the_guarded_one(
    name, baseline, candidate, concentration
):
    errors = Errors.draw(13, baseline, candidate, MOVING, concentration=concentration)
    plain = errors.ratio_logs(1.0) >= THRESHOLD
    guard = errors.self_normalised_logs(1.0) >= THRESHOLD
    naive = count_ever(errors.naive_p_values(1.0) <= ALPHA)
    report(
        f"failures together, {name}, concentration {concentration}",
        plain=count_ever(plain) / STREAMS,
        guarded=count_ever(plain & guard) / STREAMS,
        naive=naive / STREAMS,
    )
    assert count_ever(plain) > most_in_error()
    assert count_ever(plain & guard) <= most_in_error()


@pytest.mark.parametrize("concentration", [50, 20])
@pytest.mark.parametrize(("margin", "absolute"), [(1.5, 0.0), (1.0, 0.01)])
def test_failures_that_come_together_at_the_margin_break_neither_guarded_side(
    concentration, margin, absolute
):
    worse = MOVING + absolute
    odds_ratio = margin * worse / (1 - worse) * (1 - MOVING) / MOVING
    errors = Errors.draw(18, BASELINE, CANDIDATE, MOVING, odds_ratio=odds_ratio, concentration=concentration)
    told = {}
    for side, is_safe in (("rolled back", False), ("passed", True)):
        logs = (
            errors.difference_logs(absolute, is_safe=is_safe)
            if absolute
            else errors.ratio_logs(margin, is_safe=is_safe)
        )
        plain = logs >= THRESHOLD
        guard = errors.self_normalised_logs(margin, absolute, is_safe=is_safe) >= THRESHOLD
        told |= {side: count_ever(plain) / STREAMS, f"{side} guarded": count_ever(plain & guard) / STREAMS}
        assert count_ever(plain) > most_in_error()
        assert count_ever(plain & guard) <= most_in_error()
    report(f"together, concentration {concentration}, at {margin} and {absolute}", **told)


@pytest.mark.parametrize("concentration", [50, 20])
def test_failures_that_come_together_under_much_traffic_leave_it_to_the_guard(concentration):
    """So many requests that every window is beyond the margin, on one side or on the other, as chance has it."""
    odds_ratio = (MOVING + 0.01) / (0.99 - MOVING) * (1 - MOVING) / MOVING
    errors = Errors.draw(
        19, BASELINE * 100, CANDIDATE * 100, MOVING, odds_ratio=odds_ratio, concentration=concentration
    )
    told = {}
    for side, is_safe in (("rolled back", False), ("passed", True)):
        plain = errors.difference_logs(0.01, is_safe=is_safe) >= THRESHOLD
        guard = errors.self_normalised_logs(1.0, 0.01, is_safe=is_safe) >= THRESHOLD
        told |= {side: count_ever(plain) / STREAMS, f"{side} guarded": count_ever(plain & guard) / STREAMS}
        assert count_ever(plain) > 0.5 * STREAMS
        # Beta rates at a margin lean to one side themselves: a little more than promised is passed.
        assert count_ever(plain & guard) <= most_in_error(0.08 if is_safe else ALPHA)
    report(f"together, 20,000 per window, concentration {concentration}, at 0.01", **told)


@pytest.mark.parametrize("alpha", [0.05, 0.0004])
def test_a_large_regression_under_much_traffic_is_found_in_few_windows(alpha):
    windows = np.full(20, 15_000)
    errors = Errors.draw(20, windows, windows, 0.002, odds_ratio=0.05 / 0.95 * 0.998 / 0.002, streams=FEW)
    guarded = np.minimum(errors.difference_logs(0.002), errors.self_normalised_logs(1.5, 0.002))
    found = median_first(guarded >= -np.log(alpha), 1)
    report(f"0.2 % to 5 %, 30,000 per window, alpha {alpha}", windows=found)
    assert found <= 2 + np.ceil(-np.log2(alpha))


@pytest.mark.parametrize(
    ("rate", "odds_ratio", "plain_bound", "guarded_bound"),
    [(0.02, 2.0, 2.0, 2.0), (0.02, 3.0, 2.0, 3.0), (0.05, 2.0, 2.0, 2.5)],
)
def test_a_worse_candidate_is_found(rate, odds_ratio, plain_bound, guarded_bound):
    errors = Errors.draw(14, EVEN, EVEN, rate, odds_ratio=odds_ratio, streams=FEW)
    odds = odds_ratio * rate / (1 - rate)
    optimum = fixed_horizon_two_rates(rate, odds / (1 + odds))
    plain = errors.ratio_logs(1.0) >= THRESHOLD
    guarded = plain & (errors.self_normalised_logs(1.0) >= THRESHOLD)
    ours, both = median_first(plain, 200), median_first(guarded, 200)
    report(
        f"{rate:.0%}, odds x{odds_ratio}",
        plain=ours,
        guarded=both,
        optimum=round(optimum),
        ratio=round(ours / optimum, 2),
        guarded_ratio=round(both / optimum, 2),
        found=count_ever(plain) / FEW,
    )
    assert ours < plain_bound * optimum
    assert both < guarded_bound * optimum


def test_an_equal_candidate_is_passed():
    windows = np.full(WINDOWS, 250)
    errors = Errors.draw(15, windows, windows, 0.05, streams=FEW)
    passed = errors.ratio_logs(1.5, is_safe=True) >= THRESHOLD
    optimum = fixed_horizon_log_odds(0.05, np.log(1.5))
    ours = median_first(passed, 500)
    guard = errors.self_normalised_logs(1.5, is_safe=True) >= THRESHOLD
    report(
        "5 %, equal, margin 1.5",
        median=ours,
        guarded=median_first(passed & guard, 500),
        optimum=round(optimum),
        ratio=round(ours / optimum, 2),
        guarded_ratio=round(median_first(passed & guard, 500) / optimum, 2),
    )
    assert ours < 2 * optimum
    assert median_first(passed & guard, 500) < 2.5 * optimum


# -- a margin in shares of requests ----------------------------------------------------------------


@pytest.mark.parametrize(("rate", "margin"), [(1e-9, 0.002), (0.001, 0.005), (MOVING, 0.01), (0.2, 0.05)])
def test_arms_at_a_margin_in_shares_err_no_more_often_than_promised(rate, margin):
    worse = rate + margin
    odds_ratio = worse / (1 - worse) * (1 - rate) / rate
    errors = Errors.draw(16, BASELINE, CANDIDATE, rate, odds_ratio=odds_ratio)
    harm = count_ever(errors.difference_logs(margin) >= THRESHOLD)
    safe = count_ever(errors.difference_logs(margin, is_safe=True) >= THRESHOLD)
    report(
        f"a share of {margin} above {np.mean(rate):.3f}", rolled_back=harm / STREAMS, passed=safe / STREAMS
    )
    assert harm <= most_in_error()
    assert safe <= most_in_error()


@pytest.mark.parametrize(
    ("rate", "worse", "margin"),
    [(0.001, 0.02, 0.002), (0.01, 0.03, 0.002), (0.001, 0.001, 0.005), (0.01, 0.01, 0.01)],
)
def test_shares_away_from_the_margin_are_told(rate, worse, margin):
    is_safe = worse < rate + margin
    odds_ratio = worse / (1 - worse) * (1 - rate) / rate
    errors = Errors.draw(17, EVEN, EVEN, rate, odds_ratio=odds_ratio, streams=FEW)
    plain = errors.difference_logs(margin, is_safe=is_safe) >= THRESHOLD
    ours = median_first(plain, 200)
    guard = errors.self_normalised_logs(1.0, margin, is_safe=is_safe) >= THRESHOLD
    optimum = fixed_horizon_two_rates(rate, worse, margin)
    report(
        f"{worse:.1%} to {rate:.1%}, share of {margin}",
        median=ours,
        guarded=median_first(plain & guard, 200),
        optimum=round(optimum),
        ratio=round(ours / optimum, 2),
    )
    assert ours < 4 * optimum


# -- the candidate alone ---------------------------------------------------------------------------


@pytest.mark.parametrize("concentration", [None, 50, 20])
def test_a_candidate_alone_that_is_as_good_as_the_baseline_was_is_rolled_back_as_seldom_as_promised(
    concentration,
):
    """Held to the most that 20 windows of the baseline allow, without any margin."""
    rng = np.random.default_rng(23)
    rate = (
        0.02
        if concentration is None
        else rng.beta(0.02 * concentration, 0.98 * concentration, (STREAMS, 140))
    )
    bad = rng.binomial(200, rate, (STREAMS, 140))
    reference, bad = bad[:, :20].sum(axis=1), bad[:, 20:]
    bound = special.betaincinv(reference + 1, 4000 - reference, 1 - ALPHA / 2)
    plain = add_up(compute_bound_logs(200, bad, bound[:, None])) >= -np.log(ALPHA / 2)
    spread = np.sqrt(200 * bound * (1 - bound))[:, None]
    z = (bad - 200 * bound[:, None]) / spread
    skewness = np.broadcast_to((1 - 2 * bound)[:, None] / spread, z.shape)
    guarded = plain & (add_up(compute_deviation_logs(z, skewness)) >= -np.log(ALPHA / 2))
    report(
        f"alone, concentration {concentration}",
        plain=count_ever(plain) / STREAMS,
        guarded=count_ever(guarded) / STREAMS,
    )
    assert count_ever(guarded) <= most_in_error()
    assert (count_ever(plain) <= most_in_error()) == (concentration is None)


def test_a_candidate_that_goes_bad_after_hours_alone_is_found():
    rng = np.random.default_rng(24)
    rates = np.repeat([0.02, 0.08], [240, 60])
    bad = rng.binomial(200, rates, (FEW, 300))
    plain = add_up(compute_bound_logs(200, bad, np.full(bad.shape, 0.03)))
    spread = np.sqrt(200 * 0.03 * 0.97)
    guard = add_up(compute_deviation_logs((bad - 6) / spread, np.full(bad.shape, 0.94 / spread)))
    found = median_first((np.minimum(plain, guard) >= THRESHOLD)[:, 240:], 1)
    report("2 % for 240 windows, then 8 %, bound 3 %", windows=found)
    assert count_ever(np.minimum(plain, guard)[:, :240] >= THRESHOLD) <= most_in_error(streams=FEW)
    assert found <= 30
