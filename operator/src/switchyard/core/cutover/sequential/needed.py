"""How many requests or pairs a test still needs, and how long that takes, as figures for people.

Evidence grows by about the same per request: its rate is what the best alternative gains on the null at the
rates seen so far. Where these speak for neither side, the rate is that of an equal candidate. The figures
promise nothing; they are bounded, never negative, never infinite.
"""

from __future__ import annotations

import math

from switchyard.core.cutover.sequential.hypergeometric import Contrast, find_mean

MOST_SAMPLES = 1_000_000_000
LONGEST_SECONDS = 31_536_000.0  # a year: read it as a year or longer
_MIXTURE_COST = math.log(3.0)  # what averaging over alternatives costs, about


def compute_needed(log_e: float, threshold: float, growth: float) -> int:
    """The samples until log evidence reaches the threshold, at this growth per sample."""
    missing = threshold + _MIXTURE_COST - log_e
    if log_e >= threshold or missing <= 0.0:
        return 0
    if growth * MOST_SAMPLES <= missing:
        return MOST_SAMPLES
    return min(MOST_SAMPLES, max(1, math.ceil(missing / growth)))


def compute_eta_seconds(needed: int, samples_per_second: float) -> float:
    """How long that takes at today's rate; a year where it is a year or longer."""
    if needed <= 0:
        return 0.0
    if samples_per_second * LONGEST_SECONDS <= needed:
        return LONGEST_SECONDS
    return needed / samples_per_second


def grow_ratio_safe(totals: Contrast, margin: float) -> float:
    """Log evidence for safety per request of both arms, of RatioTest."""
    growth = _compute_ratio_growth(totals, margin, is_safe=True)
    return growth if growth > 0.0 else _compute_ratio_growth(equalise(totals), margin, is_safe=True)


def grow_ratio_harm(totals: Contrast, margin: float) -> float:
    """Log evidence for harm per request of both arms, of RatioTest; 0 where there is no sign of any."""
    return _compute_ratio_growth(totals, margin, is_safe=False)


def grow_paired_safe(candidate_only_bad: int, baseline_only_bad: int, pairs: int, margin: float) -> float:
    """Log evidence for safety per pair, of PairedTest."""
    tolerated = margin / (1.0 + margin)
    bad = candidate_only_bad + baseline_only_bad + 1.0
    share = (candidate_only_bad + 0.5) / bad
    if share >= tolerated:
        share = min(0.5, tolerated * 0.9)
    return bad / (pairs + 2.0) * diverge(share, tolerated)


def grow_paired_harm(candidate_only_bad: int, baseline_only_bad: int, pairs: int, margin: float) -> float:
    """Log evidence for harm per pair, of PairedTest; 0 where there is no sign of any."""
    tolerated = margin / (1.0 + margin)
    bad = candidate_only_bad + baseline_only_bad + 1.0
    share = (candidate_only_bad + 0.5) / bad
    return bad / (pairs + 2.0) * diverge(share, tolerated) if share > tolerated else 0.0


def grow_betting_safe(mean: float, variance: float, margin: float) -> float:
    """Log evidence for safety per pair, of BettingTest, about, to second order."""
    gap = margin - mean if margin > mean else margin
    return _compute_betting_growth(gap, variance)


def grow_betting_harm(mean: float, variance: float, margin: float) -> float:
    """Log evidence for harm per pair, of BettingTest; 0 where there is no sign of any."""
    return _compute_betting_growth(max(0.0, mean - margin), variance)


def _compute_betting_growth(gap: float, variance: float) -> float:
    if gap <= 0.0:
        return 0.0
    spread = variance + gap * gap
    bet = 1.0 if gap >= spread else gap / spread
    return bet * gap - bet * bet * spread / 2.0


def _compute_ratio_growth(totals: Contrast, margin: float, *, is_safe: bool) -> float:
    baseline, candidate = totals.baseline_requests, totals.candidate_requests
    if not baseline or not candidate:
        return 0.0
    baseline_rate = (totals.baseline_bad + 0.5) / (baseline + 1.0)
    candidate_rate = (totals.candidate_bad + 0.5) / (candidate + 1.0)
    odds_ratio = candidate_rate / (1.0 - candidate_rate) * (1.0 - baseline_rate) / baseline_rate
    if (odds_ratio < margin) is not is_safe:
        return 0.0
    bad = baseline * baseline_rate + candidate * candidate_rate
    mean = find_mean(baseline, candidate, bad, margin)
    gained = candidate * diverge(candidate_rate, mean / candidate)
    gained += baseline * diverge(baseline_rate, (bad - mean) / baseline)
    return gained / (baseline + candidate)


def equalise(totals: Contrast) -> Contrast:
    """The same requests, with the bad ones spread evenly over both arms."""
    requests = totals.baseline_requests + totals.candidate_requests
    share = totals.bad / requests if requests else 0.0
    return Contrast(
        totals.baseline_requests,
        round(share * totals.baseline_requests),
        totals.candidate_requests,
        round(share * totals.candidate_requests),
    )


def diverge(share: float, other: float) -> float:
    """The Kullback-Leibler divergence of two Bernoulli distributions."""
    if not 0.0 < other < 1.0 or not 0.0 < share < 1.0:
        return 0.0
    return max(0.0, share * math.log(share / other) + (1.0 - share) * math.log((1.0 - share) / (1.0 - other)))
