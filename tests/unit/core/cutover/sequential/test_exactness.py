"""Single windows against scipy, closed forms, numerical integration and brute force."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats
from tests.unit.core.cutover.sequential.cases import contrasts
from tests.unit.core.cutover.sequential.streams import compute_moments

from switchyard.core.cutover.sequential.betting import BettingTest, ScoreWindow, compute_log_factors
from switchyard.core.cutover.sequential.difference import (
    HARM_STEPS,
    SAFE_RATIOS,
    compute_difference_logs,
    find_nearest,
)
from switchyard.core.cutover.sequential.hypergeometric import (
    Contrast,
    compute_log_ratios,
)
from switchyard.core.cutover.sequential.mixture import LOG_ODDS_STEPS, LOG_ODDS_WEIGHTS
from switchyard.core.cutover.sequential.paired import PairedTest, PairWindow, log_above
from switchyard.core.cutover.sequential.sample_ratio import compute_share_logs
from switchyard.core.cutover.sequential.self_normalised import (
    RATES,
    SelfNormalisedTest,
    compute_deviation,
    compute_deviation_logs,
)


@settings(deadline=None)
@given(contrasts(200), st.sampled_from([0.5, 1.0, 1.5, 4.0]), st.sampled_from([0.1, 0.9, 2.0, 30.0]))
def test_likelihood_ratios_are_those_of_scipy(contrast, null, alternative):
    ours = compute_log_ratios(contrast, math.log(null), [math.log(alternative)])[0]
    total = contrast.baseline_requests + contrast.candidate_requests
    theirs = [
        stats.nchypergeom_fisher.logpmf(
            contrast.candidate_bad, total, contrast.bad, contrast.candidate_requests, psi
        )
        for psi in (alternative, null)
    ]
    if all(map(math.isfinite, theirs)) and not contrast.says_nothing:
        assert ours == pytest.approx(theirs[0] - theirs[1], abs=1e-6, rel=1e-6)


@given(contrasts(12), st.floats(-2, 2), st.floats(-4, 4))
def test_the_mean_of_a_likelihood_ratio_under_its_null_is_one(contrast, log_null, log_alternative):
    lowest = max(0, contrast.bad - contrast.baseline_requests)
    outcomes = range(lowest, min(contrast.candidate_requests, contrast.bad) + 1)
    chances, ratios = [], []
    for outcome in outcomes:
        case = Contrast(
            contrast.baseline_requests, contrast.bad - outcome, contrast.candidate_requests, outcome
        )
        chances.append(
            math.comb(case.candidate_requests, outcome)
            * math.comb(case.baseline_requests, contrast.bad - outcome)
            * math.exp(outcome * log_null)
        )
        ratios.append(math.exp(compute_log_ratios(case, log_null, [log_alternative])[0]))
    assert np.average(ratios, weights=chances) == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize(
    "contrast",
    [
        Contrast(1_000_000, 300_000, 1_000_000, 310_000),
        Contrast(950_000, 20, 50_000, 4),
        Contrast(1_000_000, 999_000, 1_000, 999),
        Contrast(20_000, 5_000, 400_000, 90_000),
    ],
)
def test_large_windows_are_summed_near_the_mode_and_stay_below_the_exact_ratio(contrast):
    log_null, steps = math.log(1.5), [math.log(1.1), math.log(1.6), math.log(20)]
    ours = compute_log_ratios(contrast, log_null, steps)
    lowest = max(0, contrast.bad - contrast.baseline_requests)
    counts = np.arange(lowest, min(contrast.candidate_requests, contrast.bad) + 1, dtype=float)
    from scipy.special import gammaln, logsumexp

    def choose(total, chosen):
        return gammaln(total + 1.0) - gammaln(chosen + 1.0) - gammaln(total - chosen + 1.0)

    terms = choose(contrast.candidate_requests, counts) + choose(
        contrast.baseline_requests, contrast.bad - counts
    )
    normalisers = [logsumexp(terms + counts * each) for each in [*steps, log_null]]
    exact = [
        contrast.candidate_bad * (step - log_null) - normalisers[at] + normalisers[-1]
        for at, step in enumerate(steps)
    ]
    assert ours == pytest.approx(exact, abs=1e-6)


def test_moments_of_the_naive_test_are_those_of_scipy():
    theirs = stats.nchypergeom_fisher(300, 40, 100, 1.7)
    mean, variance = compute_moments(200, 100, 40, math.log(1.7))
    assert mean == pytest.approx(theirs.mean())
    assert variance == pytest.approx(theirs.var())


@pytest.mark.parametrize(("failures", "alpha"), [(7, 0.05), (9, 0.01), (13, 0.001)])
def test_a_run_of_failures_of_the_candidate_alone_reaches_the_known_thresholds(failures, alpha):
    evidence = [PairedTest().update(PairWindow(0, run, 0)).harm_log_e for run in (failures - 1, failures)]
    assert evidence[0] < -math.log(alpha) <= evidence[1]


@given(st.integers(0, 60), st.integers(0, 60), st.sampled_from([0.5, 0.6, 0.75]))
def test_evidence_of_pairs_is_the_integral_that_it_stands_for(hits, misses, tolerated):
    area, _ = integrate.quad(
        lambda t: (t / tolerated) ** hits * ((1 - t) / (1 - tolerated)) ** misses, tolerated, 1
    )
    assert float(log_above(hits, misses, tolerated)) == pytest.approx(
        math.log(area / (1 - tolerated)), abs=1e-6, rel=1e-6
    )


@pytest.mark.parametrize(("bad", "good"), [(0, 0), (0, 9), (7, 0), (31, 33), (120, 180), (200, 90)])
def test_both_sides_of_pairs_together_are_the_two_sided_test_of_a_library(bad, good):
    """savvi (Lindon and Malek): Dirichlet mixture, here the uniform one."""
    savvi = pytest.importorskip("savvi.multinomial", reason="savvi is not installed")
    oracle = savvi.Multinomial(0.05, np.array([0.5, 0.5]), k=2)
    oracle.update(np.array([bad, good]))
    test = PairedTest().update(PairWindow(0, bad, good))
    ours = np.logaddexp(test.harm_log_e, test.safe_log_e) - math.log(2)
    assert ours == pytest.approx(math.log(oracle.odds), abs=1e-6)


def test_the_mean_of_a_betting_factor_at_the_margin_is_one():
    losses, chances = np.array([-0.5, 0.0, 0.3, 1.0]), np.array([0.1, 0.6, 0.2, 0.1])
    margin = float(losses @ chances)
    for factors in compute_log_factors(losses, margin, -1.0):
        assert chances @ np.exp(factors) == pytest.approx(np.ones(factors.shape[1]))


@pytest.mark.parametrize("margin", [0.0, 0.02, 0.5, 0.99])
@pytest.mark.parametrize("lowest", [-1.0, 0.0])
def test_no_loss_that_can_be_costs_a_bet_everything(margin, lowest):
    for factors in compute_log_factors(np.array([lowest, 0.0, 1.0]), margin, lowest, 0.01):
        assert np.isfinite(factors).all()


def test_scores_that_were_rounded_up_do_not_harm_a_candidate_within_the_margin():
    test = BettingTest(0.0)
    for index in range(50):
        test = test.update(ScoreWindow(index, {1: 100}))
    assert test.harm_log_e <= 0.0


def test_likelihood_ratios_of_shares_are_those_of_scipy():
    ours = compute_share_logs(70, 30, 0.2, math.log(1.25), LOG_ODDS_STEPS)
    odds = 0.25 * 1.25 * np.exp(np.array([0.0, *LOG_ODDS_STEPS]))
    theirs = stats.binom.logpmf(30, 100, odds / (1 + odds))
    assert ours == pytest.approx(theirs[1:] - theirs[0])


def test_the_mean_of_a_whole_mixture_over_two_windows_is_one():
    """By enumeration of all outcomes of two windows with the same totals."""
    totals = (9, 7, 6)  # baseline requests, candidate requests, bad
    outcomes = range(7)
    chances = [math.comb(7, each) * math.comb(9, 6 - each) * 1.5**each for each in outcomes]
    logs = [
        compute_log_ratios(
            Contrast(totals[0], totals[2] - each, totals[1], each),
            math.log(1.5),
            (math.log(1.5) + LOG_ODDS_STEPS).tolist(),
        )
        for each in outcomes
    ]
    whole = sum(
        chances[one] * chances[two] * float(LOG_ODDS_WEIGHTS @ np.exp(logs[one] + logs[two]))
        for one, two in itertools.product(outcomes, outcomes)
    )
    assert whole / sum(chances) ** 2 == pytest.approx(1.0)


@settings(deadline=None, max_examples=60)
@given(
    st.tuples(st.integers(1, 8), st.integers(1, 8)),
    st.sampled_from([0.0, 0.002, 0.1, 0.4]),
    st.floats(0.001, 0.99),
    st.tuples(st.floats(0.0, 1.0), st.floats(0.0, 1.0)),
    st.booleans(),
)
def test_the_mean_of_a_difference_factor_is_at_most_one_all_over_its_null(
    sizes, margin, rate, place, is_safe
):
    """By enumeration of all outcomes of one window, at random points of the null and on its edge."""
    baseline, candidate = sizes
    share = place[0] * (1 - margin)
    edge = share + margin
    other = edge + place[1] * (1 - edge if is_safe else -edge)
    mean = np.zeros(len(SAFE_RATIOS) if is_safe else HARM_STEPS)
    for bad, worse in itertools.product(range(baseline + 1), range(candidate + 1)):
        logs = compute_difference_logs(sizes, (bad, worse), rate, margin, is_safe=is_safe)
        chance = stats.binom.pmf(bad, baseline, share) * stats.binom.pmf(worse, candidate, other)
        mean += chance * np.exp(logs)
    assert mean.max() <= 1.0 + 1e-6


def test_the_nearest_point_of_the_null_is_that_of_a_search():
    from scipy.optimize import minimize_scalar

    def distance(share):
        return sum(
            size * (p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q)))
            for size, p, q in ((300, 0.02, share), (50, 0.2, share + 0.03))
        )

    found = minimize_scalar(distance, bounds=(0.001, 0.9), method="bounded", options={"xatol": 1e-10})
    ours = find_nearest((np.array([300.0]), np.array([50.0])), np.array([0.02]), np.array([0.2]), 0.03)
    assert ours[0] == pytest.approx(found.x, abs=1e-6)


@pytest.mark.parametrize(("margin", "absolute"), [(1.0, 0.0), (1.5, 0.0), (1.0, 0.02), (1.5, 0.001)])
def test_deviations_average_zero_at_the_margin_and_one_in_square_and_lean_as_said(margin, absolute):
    """By enumeration, at the rate that was learned."""
    sizes, rate = (40, 12), 0.1
    odds = margin * rate / (1 - rate)
    worse = max(odds / (1 + odds), rate + absolute)
    moments = np.zeros(3)
    for counts in itertools.product(range(sizes[0] + 1), range(sizes[1] + 1)):
        chance = stats.binom.pmf(counts[0], sizes[0], rate) * stats.binom.pmf(counts[1], sizes[1], worse)
        z, skewness = map(float, compute_deviation([sizes], [counts], rate, margin, absolute))
        moments += chance * np.array([z, z**2, z**3])
    assert moments == pytest.approx([0.0, 1.0, skewness], abs=1e-9)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=4))
def test_the_mean_of_the_guards_factors_over_all_signs_is_one(sizes):
    """However large the deviations are, and whatever their spread."""
    factors = [
        np.exp(sum(compute_deviation_logs(sign * size, 0.0) for sign, size in zip(signs, sizes, strict=True)))
        for signs in itertools.product((1.0, -1.0), repeat=len(sizes))
    ]
    assert np.mean(factors, axis=0) == pytest.approx(np.ones(len(RATES)))


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.floats(-5, 5))
def test_a_lower_deviation_is_never_more_evidence_of_harm(one, other, skewness):
    lower, higher = (compute_deviation_logs(each, skewness) for each in sorted((one, other)))
    assert (lower <= higher).all()


@pytest.mark.parametrize("expected_bad", [1.0, 4.0, 20.0])
def test_a_deviation_that_leans_to_the_left_speaks_for_harm_no_more_than_by_chance(expected_bad):
    """A baseline with few bad requests against a candidate of which everything is known."""
    bad = np.arange(200)
    z = -(bad - expected_bad) / math.sqrt(expected_bad)
    chances = stats.poisson.pmf(bad, expected_bad)
    skewness = -1 / math.sqrt(expected_bad)
    plain = chances @ np.exp(compute_deviation_logs(z, 0.0))
    lowered = chances @ np.exp(compute_deviation_logs(z, np.full(len(z), skewness)))
    assert plain.max() > 1.01
    assert lowered.max() <= 1.01


@pytest.mark.parametrize("size", [3.0, 50.0, 1e6])
def test_a_large_deviation_doubles_the_evidence_however_large_it_is(size):
    test, windows = SelfNormalisedTest(), 30
    for index in range(windows):
        test = test.count(index, size, 0.0)
    assert test.harm_log_e == pytest.approx(windows * math.log(2), abs=1.5)
    assert test.safe_log_e < -5
