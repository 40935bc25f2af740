"""Verdicts, hard stops, bands, shares of probability and figures for people."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.core.cutover.sequential.cases import contrasts
from tests.unit.core.cutover.sequential.streams import most_in_error

from switchyard.core.cutover.sequential.betting import BettingTest, ScoreWindow
from switchyard.core.cutover.sequential.difference import (
    DifferenceTest,
    grow_difference_harm,
    grow_difference_safe,
)
from switchyard.core.cutover.sequential.evidence import Evidence, Sides, guard, widen
from switchyard.core.cutover.sequential.hard_stop import FailureWindow, HardStop, find_run_threshold
from switchyard.core.cutover.sequential.hypergeometric import Contrast
from switchyard.core.cutover.sequential.needed import (
    LONGEST_SECONDS,
    MOST_SAMPLES,
    compute_eta_seconds,
    compute_needed,
    grow_betting_harm,
    grow_betting_safe,
    grow_paired_harm,
    grow_paired_safe,
    grow_ratio_harm,
    grow_ratio_safe,
)
from switchyard.core.cutover.sequential.paired import PairedTest, PairWindow
from switchyard.core.cutover.sequential.quantiles import (
    QuantileBand,
    bound_quantile,
    compare_quantiles,
    find_smallest_total,
)
from switchyard.core.cutover.sequential.ratio import ContrastWindow, RatioTest
from switchyard.core.cutover.sequential.sample_ratio import SampleRatioTest, ShareWindow
from switchyard.core.cutover.sequential.self_normalised import SelfNormalisedTest, grow_guarded_safe
from switchyard.core.cutover.sequential.split import share_of_attempt, split_promotion, split_rollback

EDGES = (0.1, 0.2, 0.4, 0.8)


def judge(harm=0.0, safe=0.0, samples=1000, min_samples=100):
    return Evidence(harm, safe, 0.01, 0.05, samples, min_samples)


@pytest.mark.parametrize(
    ("evidence", "verdict", "said"),
    [
        (judge(), "Inconclusive", "harm at 0 %"),
        (judge(harm=4.6), "Inconclusive", "harm at 99 %"),
        (judge(harm=4.61), "Fail", "at most 0.01"),
        (judge(harm=4.61, safe=9.0), "Fail", "worse than the margin"),
        (judge(safe=3.0), "Pass", "at most 0.05"),
        (judge(safe=3.0, samples=99), "Inconclusive", "99 of at least 100"),
        (judge(harm=-50.0, safe=1.5), "Inconclusive", "safety at 50 %"),
        (judge(harm=1000.0), "Fail", "at most 0.000001"),
    ],
)
def test_a_gate_says_what_it_found_and_why(evidence, verdict, said):
    assert evidence.verdict == verdict
    assert said in evidence.explain()


def test_what_is_guarded_needs_both_tests():
    window = ContrastWindow(0, (Contrast(500, 5, 500, 60),))
    plain, other = RatioTest().update(window), SelfNormalisedTest().update(window)
    assert plain.harm_log_e > other.harm_log_e
    assert guard(plain, other) == Sides(
        min(plain.harm_log_e, other.harm_log_e), min(plain.safe_log_e, other.safe_log_e)
    )


def test_the_wider_of_two_margins_counts():
    together = widen(Sides(5.0, 1.0), Sides(2.0, 9.0))
    assert together.harm_log_e == 2.0
    assert together.safe_log_e == pytest.approx(9.0 - math.log(2), abs=0.001)


# -- hard stop -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "windows", "cause"),
    [
        ("all fail", [(20, 0, 20, 20, 20)], "ratio"),
        ("too few", [(20, 0, 19, 19, 19)], ""),
        ("half fail", [(100, 0, 100, 50, 5)], ""),
        ("both arms fail", [(20, 15, 20, 20, 20)], ""),
        ("few per window", [(2, 0, 5, 5, 5)] * 4, "ratio"),
        ("no baseline", [(0, 0, 30, 30, 30)], "ratio"),
        ("after a long clean past", [(100, 1, 100, 1, 1)] * 50 + [(100, 1, 100, 95, 40)], "window ratio"),
        (
            "a run across windows after a clean past",
            [(100, 1, 100, 1, 1)] * 50 + [(10, 0, 10, 10, 60)],
            "run",
        ),
    ],
)
def test_a_disaster_of_the_candidate_alone_stops_at_once(name, windows, cause):
    stop = HardStop()
    for index, window in enumerate(windows):
        stop = stop.update(FailureWindow(index, *window))
    assert stop.cause == cause


def test_what_has_stopped_stays_stopped():
    stop = HardStop().update(FailureWindow(0, 20, 0, 20, 20, 20))
    assert stop.update(FailureWindow(1, 1000, 0, 1000, 0)).cause == "ratio"


def test_a_candidate_that_fails_exactly_as_often_as_is_allowed_is_stopped_no_more_often_than_promised():
    streams, windows = 300, 40
    failed = np.random.default_rng(61).random((streams, windows * 20)) < 0.5
    stopped = 0
    for stream in failed:
        stop, run = HardStop(alpha=0.05), 0
        for index, window in enumerate(stream.reshape(windows, 20)):
            longest = 0
            for has_failed in window:
                run = run + 1 if has_failed else 0
                longest = max(longest, run)
            stop = stop.update(FailureWindow(index, 20, 0, 20, int(window.sum()), longest))
        stopped += stop.cause != ""
    assert stopped <= most_in_error(0.05, streams)


@pytest.mark.parametrize("requests", [1, 20, 10_000])
def test_a_run_that_stops_is_rarer_than_its_level(requests):
    run = find_run_threshold(0.001, 0.5, requests)
    assert requests * 0.5**run <= 0.001 < requests * 0.5 ** (run - 1)


# -- bands ---------------------------------------------------------------------------------------


def test_a_band_says_nothing_below_the_sample_size_where_it_can():
    for probability in (0.5, 0.95, 0.99):
        fewest = find_smallest_total(probability, 0.05)
        assert bound_quantile(EDGES, (0, 0, fewest - 1, 0, 0), probability, 0.05).upper is None
        assert bound_quantile(EDGES, (0, 0, fewest, 0, 0), probability, 0.05).upper == 0.4
    assert 2_000 < find_smallest_total(0.99, 0.05) < 5_000


@pytest.mark.parametrize(
    ("counts", "band"),
    [
        ((0, 0, 0, 0, 0), QuantileBand(None, None)),
        ((0, 10_000, 0, 0, 0), QuantileBand(0.1, 0.2)),
        ((10_000, 0, 0, 0, 0), QuantileBand(0.0, 0.1)),
        ((0, 0, 0, 0, 10_000), QuantileBand(0.8, None)),
        ((5_000, 0, 0, 5_000, 0), QuantileBand(0.0, 0.8)),
    ],
)
def test_a_band_lies_at_the_edges_of_buckets(counts, band):
    assert bound_quantile(EDGES, counts, 0.5, 0.05) == band


def test_a_gap_is_bounded_by_both_bands_or_not_at_all():
    gap = compare_quantiles(EDGES, (0, 10_000, 0, 0, 0), (0, 0, 0, 10_000, 0), 0.5, 0.05)
    assert (gap.lower, gap.upper) == (pytest.approx(0.2), pytest.approx(0.7))
    assert compare_quantiles(EDGES, (0, 3, 0, 0, 0), (0, 0, 0, 9, 0), 0.5, 0.05).lower is None


@given(st.lists(st.integers(0, 5_000), min_size=5, max_size=5), st.sampled_from([0.5, 0.9, 0.99]))
def test_a_band_encloses_the_bucket_of_the_sample_quantile(counts, probability):
    band = bound_quantile(EDGES, counts, probability, 0.05)
    total, seen = sum(counts), 0
    for bucket, count in enumerate(counts):
        seen += count
        if total and seen >= probability * total:
            assert band.lower is None or band.lower <= (EDGES[bucket - 1] if bucket else 0.0)
            assert band.upper is None or (bucket < len(EDGES) and band.upper >= EDGES[bucket])
            break


# -- probabilities and figures -------------------------------------------------------------------


def test_shares_of_a_probability_never_exceed_it():
    share = split_rollback(0.01, gates=3, segments=4, stages=5)
    assert share * 3 * 4 * 5 == pytest.approx(0.01)
    assert split_promotion(0.05, segments=4, stages=5) == pytest.approx(0.0025)
    shares = math.fsum(share_of_attempt(0.01, attempt) for attempt in range(1, 100_000))
    assert 0.0099 < shares <= 0.01


@given(
    contrasts(),
    st.sampled_from([1.0, 1.5, 3.0]),
    st.floats(-1e6, 1e6),
    st.floats(0, 20),
    st.floats(0, 1e5),
)
def test_figures_are_never_negative_nor_infinite(totals, margin, log_e, threshold, per_second):
    bad = totals.candidate_bad, totals.baseline_bad
    pairs = sum(bad)
    for growth in (
        grow_ratio_safe(totals, margin),
        grow_ratio_harm(totals, margin),
        grow_difference_safe(totals, margin / 10),
        grow_guarded_safe(totals, 3, margin, margin / 10),
        grow_difference_harm(totals, margin / 10),
        grow_paired_safe(*bad, pairs, margin),
        grow_paired_harm(*bad, pairs, margin),
        grow_betting_safe(log_e / 1e6, threshold / 20, margin - 1),
        grow_betting_harm(log_e / 1e6, threshold / 20, margin - 1),
    ):
        needed = compute_needed(log_e, threshold, growth)
        assert 0 <= needed <= MOST_SAMPLES
        assert 0.0 <= compute_eta_seconds(needed, per_second) <= LONGEST_SECONDS


def test_requests_needed_are_close_to_what_it_takes():
    window = Contrast(250, 12, 250, 13)
    test, index = RatioTest(1.5), 0
    said = compute_needed(0.0, math.log(20), grow_ratio_safe(Contrast(2500, 125, 2500, 125), 1.5))
    while test.safe_log_e < math.log(20):
        test, index = test.update(ContrastWindow(index, (window,))), index + 1
    assert 0.5 < said / (index * 500) < 2.0


def test_pairs_and_scores_needed_are_close_to_what_it_takes():
    paired, bets, index = PairedTest(1.5), BettingTest(0.02), 0
    while paired.safe_log_e < math.log(20):
        paired, index = paired.update(PairWindow(index, 1, 1, 50)), index + 1
    said = compute_needed(0.0, math.log(20), grow_paired_safe(40, 40, 2000, 1.5))
    assert 0.5 < said / paired.pairs < 2.0
    index = 0
    while bets.safe_log_e < math.log(20):
        bets, index = bets.update(ScoreWindow(index, {0: 45, 20: 3, -20: 2})), index + 1
    said = compute_needed(0.0, math.log(20), grow_betting_safe(bets.mean, bets.variance, 0.02))
    assert 0.5 < said / bets.pairs < 2.0


def test_requests_needed_for_a_margin_in_shares_are_close_to_what_it_takes():
    test, index = DifferenceTest(0.01), 0
    while test.safe_log_e < math.log(20):
        window = ContrastWindow(index, (Contrast(100, 1, 100, 1),))
        test, index = test.update(window), index + 1
    said = compute_needed(0.0, math.log(20), grow_difference_safe(Contrast(2000, 20, 2000, 20), 0.01))
    assert 0.5 < said / (200 * index) < 2.0


@pytest.mark.parametrize("busy", [1, 100])
def test_requests_needed_by_the_guard_are_close_to_what_it_takes(busy):
    rng = np.random.default_rng(71)
    totals = Contrast(2000 * busy, 40 * busy, 2000 * busy, 40 * busy)
    said = compute_needed(0.0, math.log(100), grow_guarded_safe(totals, 20, 1.5))
    took = []
    for _ in range(20):
        test, index = SelfNormalisedTest(1.5), 0
        while test.safe_log_e < math.log(100):
            bad = rng.binomial(100 * busy, 0.02, 2).tolist()
            contrast = Contrast(100 * busy, bad[0], 100 * busy, bad[1])
            test, index = test.update(ContrastWindow(index, (contrast,))), index + 1
        took.append(200 * busy * index)
    assert 0.5 < said / np.median(took) < 2.0


def test_where_rates_speak_for_harm_the_figure_for_safety_is_that_of_an_equal_candidate():
    worse, equal = Contrast(1000, 20, 1000, 60), Contrast(1000, 40, 1000, 40)
    assert grow_ratio_safe(worse, 1.5) == pytest.approx(grow_ratio_safe(equal, 1.5))
    assert grow_ratio_harm(equal, 1.5) == 0.0 < grow_ratio_harm(worse, 1.5)


@pytest.mark.parametrize("numbers", [(-1, 0, 5, 0), (5, 6, 5, 0), (5, 0, 5, 6)])
def test_counts_that_cannot_be_are_refused(numbers):
    with pytest.raises(ValueError, match="give 0 to all of them"):
        Contrast(*numbers)


@pytest.mark.parametrize(("weight", "requests"), [(1.0, (0, 100_000)), (0.0, (100_000, 0))])
def test_all_requests_where_all_are_asked_for_are_no_wrong_share(weight, requests):
    test = SampleRatioTest()
    for index in range(1, 50):
        test = test.update(ShareWindow(index, *requests, weight))
    assert test.log_e <= 0


@pytest.mark.parametrize(("weight", "requests"), [(1.0, (100, 900)), (0.0, (900, 100))])
def test_a_tenth_of_the_requests_on_the_arm_that_is_to_have_none_is_noticed(weight, requests):
    assert SampleRatioTest().update(ShareWindow(1, *requests, weight)).log_e > math.log(1000)
