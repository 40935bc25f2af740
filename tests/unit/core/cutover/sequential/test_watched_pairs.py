"""Pairs, scores, shares and latencies over thousands of streams, looked at after every window."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from tests.unit.core.cutover.sequential.streams import (
    ALPHA,
    FEW,
    STREAMS,
    THRESHOLD,
    Errors,
    betting_logs,
    count_ever,
    fixed_horizon_two_rates,
    mean_exp,
    median_first,
    most_in_error,
    report,
)

from switchyard.core.cutover.sequential.betting import BettingTest, ScoreWindow
from switchyard.core.cutover.sequential.mixture import LOG_ODDS_STEPS, LOG_ODDS_WEIGHTS
from switchyard.core.cutover.sequential.paired import log_above
from switchyard.core.cutover.sequential.quantiles import bound_quantile
from switchyard.core.cutover.sequential.sample_ratio import compute_share_logs

WINDOWS = 120
PER_WINDOW = 50
LOSSES = np.arange(-100, 101) / 100


# -- pairs ---------------------------------------------------------------------------------------


def draw_pairs(seed, candidate_only, baseline_only, streams=STREAMS):
    """Cumulative counts of pairs that disagree, by side, (streams, windows)."""
    rng = np.random.default_rng(seed)
    chances = [candidate_only, baseline_only, 1 - candidate_only - baseline_only]
    drawn = np.cumsum(rng.multinomial(PER_WINDOW, chances, (streams, WINDOWS)), axis=1)
    return drawn[..., 0], drawn[..., 1]


@pytest.mark.parametrize(
    ("candidate_only", "baseline_only", "margin"), [(0.02, 0.02, 1.0), (0.03, 0.02, 1.5)]
)
def test_pairs_at_the_margin_err_no_more_often_than_promised(candidate_only, baseline_only, margin):
    bad, good = draw_pairs(21, candidate_only, baseline_only)
    tolerated = margin / (1 + margin)
    harm = count_ever(log_above(bad, good, tolerated) >= THRESHOLD)
    safe = count_ever(log_above(good, bad, 1 - tolerated) >= THRESHOLD)
    spread = np.sqrt(np.maximum((bad + good) * tolerated * (1 - tolerated), 1e-9))
    naive = count_ever(stats.norm.sf((bad - (bad + good) * tolerated) / spread) <= ALPHA)
    report(f"pairs at {margin}", harm=harm / STREAMS, safe=safe / STREAMS, naive=naive / STREAMS)
    assert 0 < harm <= most_in_error()
    assert 0 < safe <= most_in_error()
    assert naive > 3 * ALPHA * STREAMS


@pytest.mark.parametrize(("candidate_only", "baseline_only"), [(0.02, 0.01), (0.01, 0.001), (0.04, 0.01)])
def test_a_worse_candidate_is_found_in_pairs(candidate_only, baseline_only):
    bad, good = draw_pairs(22, candidate_only, baseline_only, FEW)
    ours = median_first(log_above(bad, good, 0.5) >= THRESHOLD, PER_WINDOW)
    total, gap = candidate_only + baseline_only, candidate_only - baseline_only
    factor = stats.norm.isf(ALPHA) * math.sqrt(total) + stats.norm.ppf(0.8) * math.sqrt(total - gap**2)
    optimum = (factor / gap) ** 2
    unpaired = fixed_horizon_two_rates(baseline_only, candidate_only)
    report(
        f"pairs {candidate_only:.1%} to {baseline_only:.1%}",
        median=ours,
        optimum=round(optimum),
        ratio=round(ours / optimum, 2),
        unpaired_optimum=round(unpaired),
    )
    assert ours < 2 * optimum


# -- scores --------------------------------------------------------------------------------------


def draw_losses(seed, candidate_loss, noise_loss, windows=WINDOWS, streams=STREAMS):
    """Counts per loss in hundredths, (streams, windows, 201): most answers alike, some by far not.

    A loss of an arm is 0, or uniform between 0 and 1 with twice the mean as its probability. Rounded as the
    router does: the candidate's score down, the noise score up, the difference up.
    """
    rng = np.random.default_rng(seed)
    is_lossy = 2 * candidate_loss, 2 * noise_loss
    chances = [is_lossy[0] * is_lossy[1], is_lossy[0] * (1 - is_lossy[1]), (1 - is_lossy[0]) * is_lossy[1]]
    drawn = rng.multinomial(PER_WINDOW, [*chances, 1 - sum(chances)], streams * windows)
    counts = np.zeros(streams * windows * 201, np.int64)
    counts[100::201] = drawn[:, 3]
    for how, signs in enumerate([(1, -1), (1, 0), (0, -1)]):
        at = np.repeat(np.arange(streams * windows), drawn[:, how])
        losses = sum(sign * rng.random(len(at)) for sign in signs if sign)
        hundredths = np.ceil(np.round(losses * 100, 3)).astype(np.int64)
        counts += np.bincount(at * 201 + hundredths + 100, minlength=len(counts))
    return counts.reshape(streams, windows, 201).astype(np.float64)


def test_one_stream_of_scores_says_what_the_arrays_say():
    counts = draw_losses(30, 0.03, 0.02, 20, 3)
    harm = betting_logs(counts, LOSSES, 0.01, -1.0, 0.01)[2]
    safe = betting_logs(counts, LOSSES, 0.01, -1.0, is_safe=True)[2]
    test = BettingTest(0.01)
    for index, row in enumerate(counts[2]):
        seen = {int(at) - 100: int(row[at]) for at in np.flatnonzero(row)}
        test = test.update(ScoreWindow(index, seen))
        assert test.harm_log_e == pytest.approx(harm[index], abs=0.02)
        assert test.safe_log_e == pytest.approx(safe[index], abs=0.02)


def test_scores_at_the_margin_err_no_more_often_than_promised():
    counts = draw_losses(31, 0.04, 0.02)
    # exactly at the margin once rounded, so that neither side has slack
    margin = float((counts.sum(axis=(0, 1)) / counts.sum()) @ LOSSES)
    harm = count_ever(betting_logs(counts, LOSSES, margin, -1.0) >= THRESHOLD)
    allowing = count_ever(betting_logs(counts, LOSSES, margin, -1.0, 0.01) >= THRESHOLD)
    safe = count_ever(betting_logs(counts, LOSSES, margin, -1.0, is_safe=True) >= THRESHOLD)
    pairs = np.arange(1, WINDOWS + 1) * PER_WINDOW
    total, square = np.cumsum(counts @ LOSSES, axis=1), np.cumsum(counts @ LOSSES**2, axis=1)
    deviation = np.sqrt(np.maximum(square / pairs - (total / pairs) ** 2, 1e-12))
    naive = count_ever(stats.norm.sf((total / pairs - margin) * np.sqrt(pairs) / deviation) <= ALPHA)
    report(
        "scores at the margin",
        harm=harm / STREAMS,
        harm_allowing_for_rounding=allowing / STREAMS,
        safe=safe / STREAMS,
        naive=naive / STREAMS,
    )
    assert 0 < harm <= most_in_error()
    assert allowing <= harm
    assert 0 < safe <= most_in_error()
    assert naive > 3 * ALPHA * STREAMS


@pytest.mark.parametrize(
    ("candidate_loss", "noise_loss", "margin", "is_safe"),
    [(0.10, 0.02, 0.02, False), (0.02, 0.02, 0.02, True), (0.005, 0.005, 0.02, True)],
)
def test_scores_away_from_the_margin_are_told(candidate_loss, noise_loss, margin, is_safe):
    counts = draw_losses(32, candidate_loss, noise_loss, 50, FEW)
    rounded_up = 0.0 if is_safe else 0.01
    ours = median_first(
        betting_logs(counts, LOSSES, margin, -1.0, rounded_up, is_safe=is_safe) >= THRESHOLD, PER_WINDOW
    )
    # The optimum knows the losses before they were rounded, and their spread. A mean of 0 must be told from one
    # loss of 1 among 1 / margin zeros, which no test of bounded scores does with fewer than `fewest`.
    fewest = math.log(ALPHA) / math.log1p(-margin) if is_safe else 0.0
    variance = sum(2 * each / 3 - each**2 for each in (candidate_loss, noise_loss))
    factor = (stats.norm.isf(ALPHA) + stats.norm.ppf(0.8)) ** 2
    optimum = max(fewest, factor * variance / (candidate_loss - noise_loss - margin) ** 2)
    report(
        f"scores {candidate_loss} to {noise_loss}, margin {margin}",
        median=ours,
        optimum=round(optimum),
        ratio=round(ours / optimum, 2),
    )
    assert ours < 3 * optimum


# -- latency -------------------------------------------------------------------------------------

EDGES = tuple(np.round(np.geomspace(0.02, 5.0, 20), 4).tolist())


def draw_latencies(seed, slower=1.0, streams=STREAMS):
    """Lognormal latencies in buckets, (streams, windows, buckets); median 0.2 s times `slower`."""
    rng = np.random.default_rng(seed)
    chances = np.diff([0.0, *stats.lognorm.cdf(np.array(EDGES), 0.6, scale=0.2 * slower).tolist(), 1.0])
    return rng.multinomial(100, chances, (streams, WINDOWS))


def count_slow(counts, edge):
    return counts[..., EDGES.index(edge) + 1 :].sum(axis=-1)


def test_slow_shares_err_no_more_often_than_promised_and_find_a_slower_candidate():
    edge = EDGES[int(np.searchsorted(EDGES, stats.lognorm.ppf(0.95, 0.6, scale=0.2)))]
    requests = np.full(WINDOWS, 100)
    baseline, slower = draw_latencies(41), draw_latencies(43, 1.25, FEW)
    equal = Errors(requests, count_slow(baseline, edge), requests, count_slow(draw_latencies(42), edge))
    worse = Errors(requests, count_slow(baseline[:FEW], edge), requests, count_slow(slower, edge))
    ours = count_ever(equal.ratio_logs(1.0) >= THRESHOLD)
    naive = count_ever(equal.naive_p_values(1.0) <= ALPHA)
    found = median_first(worse.ratio_logs(1.0) >= THRESHOLD, 200)
    rates = stats.lognorm.sf(edge, 0.6, scale=np.array([0.2, 0.25]))
    optimum = fixed_horizon_two_rates(*rates)
    report(
        f"slower than {edge} s",
        ours=ours / STREAMS,
        naive=naive / STREAMS,
        median=found,
        optimum=round(optimum),
        ratio=round(found / optimum, 2),
    )
    assert ours <= most_in_error()
    assert naive > 3 * ALPHA * STREAMS
    assert found < 2 * optimum


def test_bands_hold_the_quantile_at_every_moment_at_once():
    looks = draw_latencies(44, streams=FEW).cumsum(axis=1)
    for probability in (0.5, 0.95):
        truth = stats.lognorm.ppf(probability, 0.6, scale=0.2)
        missed = 0
        for stream in looks:
            bands = [bound_quantile(EDGES, row.tolist(), probability, ALPHA) for row in stream[::4]]
            missed += any(
                (band.lower or 0) > truth or (band.upper is not None and band.upper < truth) for band in bands
            )
        report(f"band of p{probability * 100:g}", missed=missed / len(looks))
        assert missed <= most_in_error(ALPHA, len(looks))


# -- shares --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("share", "is_wrong"), [(0.1, False), (0.12, False), (0.2, True), (0.05, True)])
def test_a_share_far_from_its_weight_is_found_and_a_fair_one_left_alone(share, is_wrong):
    rng = np.random.default_rng(51)
    received = rng.binomial(100, share, (STREAMS, 60))
    tables = [
        np.array(
            [
                compute_share_logs(100 - count, count, 0.1, side * math.log(1.25), side * LOG_ODDS_STEPS)
                for count in range(101)
            ]
        )
        for side in (1.0, -1.0)
    ]
    sides = [mean_exp(np.cumsum(table[received], axis=1), LOG_ODDS_WEIGHTS) for table in tables]
    crossed = np.logaddexp(*sides) - math.log(2) >= THRESHOLD
    report(
        f"share {share} at weight 0.1",
        told=count_ever(crossed) / STREAMS,
        median=median_first(crossed, 100),
    )
    if is_wrong:
        assert count_ever(crossed) >= 0.99 * STREAMS
    else:
        assert count_ever(crossed) <= most_in_error()
