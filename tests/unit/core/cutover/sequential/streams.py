"""Many streams at once, watched after every window: the arithmetic of the tests over arrays.

`test_one_stream` in test_watched_errors.py and its like hold that the tests themselves say the same.
"""

from __future__ import annotations

import math
import os

import numpy as np
from scipy import special, stats

from switchyard.core.cutover.sequential.betting import BET_RATIOS, compute_log_factors
from switchyard.core.cutover.sequential.difference import (
    HARM_STEPS,
    SAFE_RATIOS,
    compute_difference_logs,
    estimate_rate,
    guess_rate,
)
from switchyard.core.cutover.sequential.hypergeometric import (
    Contrast,
    compute_log_ratios,
    compute_log_terms,
)
from switchyard.core.cutover.sequential.mixture import LOG_ODDS_STEPS, begin_again
from switchyard.core.cutover.sequential.self_normalised import (
    RATES,
    compute_deviation,
    compute_deviation_logs,
)

STREAMS = int(os.environ.get("SWITCHYARD_STREAMS", "2000"))
FEW = min(STREAMS, 500)  # streams where only a median is asked for
ALPHA = 0.05
THRESHOLD = -math.log(ALPHA)


def most_in_error(alpha: float = ALPHA, streams: int = STREAMS) -> int:
    """How many streams may err: more come up in one of 1,000 runs where each errs with exactly alpha."""
    return int(stats.binom.ppf(0.999, streams, alpha))


def report(what: str, **figures: object) -> None:
    print(f"\n{what}: " + ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in figures.items()))


def mean_exp(logs, weights):
    top = logs.max(axis=-1)
    return top + np.log(np.exp(logs - top[..., None]) @ weights)


def add_up(logs, *, is_safe=False):
    """The log of products over windows, (streams, windows, alternatives); of harm they begin with each window."""
    weights = np.full(logs.shape[-1], 1 / logs.shape[-1])
    if is_safe:
        return mean_exp(np.cumsum(logs, axis=1), weights)
    evidence, sums = np.empty(logs.shape[:2]), np.full_like(logs[:, 0], -np.inf)
    for window in range(logs.shape[1]):
        sums = begin_again(sums, window + 1) + logs[:, window]
        waiting = special.polygamma(1, window + 2) * 6 / math.pi**2
        evidence[:, window] = np.logaddexp(mean_exp(sums, weights), math.log(waiting))
    return evidence


def compute_moments(baseline_requests, candidate_requests, bad, log_odds_ratio):
    """Mean and variance of the candidate's bad requests, given all."""
    counts, logs = compute_log_terms(baseline_requests, candidate_requests, bad, log_odds_ratio)
    chances = np.exp(logs - logs.max())
    chances /= chances.sum()
    mean = float(chances @ counts)
    return mean, float(chances @ np.square(counts - mean))


class Errors:
    """Streams of windows: requests per arm and window, and the bad ones per stream, arm and window."""

    def __init__(self, baseline_requests, baseline_bad, candidate_requests, candidate_bad):
        self.baseline_requests, self.candidate_requests = baseline_requests, candidate_requests
        self.baseline_bad, self.candidate_bad = baseline_bad, candidate_bad

    @classmethod
    def draw(
        cls,
        seed,
        baseline_requests,
        candidate_requests,
        rate,
        *,
        odds_ratio=1.0,
        concentration=None,
        streams=STREAMS,
    ):
        """Binomial counts; with `concentration`, each arm's rate is drawn anew (beta) in every window."""
        rng = np.random.default_rng(seed)
        odds = odds_ratio * rate / (1 - rate)
        rates = []
        for mean in (rate, odds / (1 + odds)):
            whole = np.broadcast_to(mean, (streams, len(baseline_requests)))
            rates.append(
                whole
                if concentration is None
                else rng.beta(whole * concentration, (1 - whole) * concentration)
            )
        return cls(
            baseline_requests,
            rng.binomial(baseline_requests, rates[0]),
            candidate_requests,
            rng.binomial(candidate_requests, rates[1]),
        )

    def _per_total(self, compute, width):
        """`compute(n_b, n_c, x)`, `width` numbers, for every stream and window; once per distinct total."""
        streams, windows = self.candidate_bad.shape
        found = np.empty((streams, windows, width))
        known = {}
        for window in range(windows):
            sizes = int(self.baseline_requests[window]), int(self.candidate_requests[window])
            totals = self.baseline_bad[:, window] + self.candidate_bad[:, window]
            distinct, back = np.unique(totals, return_inverse=True)
            rows = []
            for total in distinct:
                key = (*sizes, int(total))
                if key not in known:
                    known[key] = compute(*key)
                rows.append(known[key])
            found[:, window] = np.array(rows)[back]
        return found

    def ratio_logs(self, margin, *, is_safe=False):
        """RatioTest's log evidence after every window, (streams, windows)."""
        direction = -1.0 if is_safe else 1.0
        log_margin = math.log(margin)
        alternatives = (log_margin + direction * LOG_ODDS_STEPS).tolist()

        def at_fewest(baseline, candidate, bad):
            fewest = max(0, bad - baseline)
            return compute_log_ratios(
                Contrast(baseline, bad - fewest, candidate, fewest), log_margin, alternatives
            )

        def fewest(baseline, candidate, bad):
            is_free = max(0, bad - baseline) < min(candidate, bad)
            return [float(max(0, bad - baseline)), float(is_free)]

        logs = self._per_total(at_fewest, len(alternatives))
        lowest = self._per_total(fewest, 2)
        beyond = (self.candidate_bad - lowest[..., 0]) * lowest[..., 1]
        logs += beyond[..., None] * direction * LOG_ODDS_STEPS
        return add_up(logs, is_safe=is_safe)

    def difference_logs(self, margin, *, is_safe=False):
        """DifferenceTest's log evidence after every window."""
        streams, windows = self.candidate_bad.shape
        requests, bad = np.zeros(streams), np.zeros(streams)
        width = len(SAFE_RATIOS) if is_safe else HARM_STEPS
        logs = np.zeros((streams, windows, width))
        for window in range(windows):
            sizes = float(self.baseline_requests[window]), float(self.candidate_requests[window])
            counts = self.baseline_bad[:, window], self.candidate_bad[:, window]
            if window:
                rate = estimate_rate(requests, bad, guess_rate(margin))
                logs[:, window] = compute_difference_logs(sizes, counts, rate, margin, is_safe=is_safe)
            requests, bad = 0.95 * requests + sizes[0], 0.95 * bad + counts[0]
        return add_up(logs, is_safe=is_safe)

    def _moments(self, margin):
        def moments(baseline, candidate, bad):
            if max(0, bad - baseline) == min(candidate, bad):
                return 0.0, 0.0
            return compute_moments(baseline, candidate, bad, math.log(margin))

        both = self._per_total(moments, 2)
        is_free = both[..., 1] > 0
        return np.where(is_free, self.candidate_bad - both[..., 0], 0.0), both[..., 1]

    def self_normalised_logs(self, margin, absolute=0.0, *, is_safe=False):
        """SelfNormalisedTest's log evidence after every window."""
        streams, windows = self.candidate_bad.shape
        requests, bad = np.zeros(streams), np.zeros(streams)
        logs = np.zeros((streams, windows, len(RATES)))
        direction = -1.0 if is_safe else 1.0
        for window in range(windows):
            sizes = self.baseline_requests[window], self.candidate_requests[window]
            counts = np.stack([self.baseline_bad[:, window], self.candidate_bad[:, window]], axis=-1)
            if window:
                rate = estimate_rate(requests, bad)
                z, skewness = compute_deviation(np.array([sizes]), counts[:, None, :], rate, margin, absolute)
                logs[:, window] = compute_deviation_logs(direction * z, direction * skewness)
            requests, bad = 0.95 * requests + sizes[0], 0.95 * bad + counts[:, 0]
        return add_up(logs, is_safe=is_safe)

    def naive_p_values(self, margin):
        """What a fixed-sample one-sided test of all counts so far (Mantel and Haenszel) says at every window."""
        excess, variance = self._moments(margin)
        scale = np.sqrt(np.maximum(np.cumsum(variance, axis=1), 1e-12))
        return stats.norm.sf(np.cumsum(excess, axis=1) / scale)

    def windows(self, stream):
        """One stream as the tests read it."""
        return [
            Contrast(*map(int, each))
            for each in zip(
                self.baseline_requests,
                self.baseline_bad[stream],
                self.candidate_requests,
                self.candidate_bad[stream],
                strict=True,
            )
        ]


def betting_logs(counts, losses, margin, lowest, rounded_up=0.0, *, is_safe=False):
    """BettingTest's log evidence after every window; `counts` (streams, windows, losses)."""
    factors = compute_log_factors(losses, margin, lowest, rounded_up)[1 if is_safe else 0]
    logs = np.cumsum(counts @ factors, axis=1)
    return mean_exp(logs, np.full(len(BET_RATIOS), 1 / len(BET_RATIOS)))


def count_ever(crossed) -> int:
    """How many streams ever crossed."""
    return int(crossed.any(axis=1).sum())


def median_first(crossed, per_window) -> float:
    """The median over streams of the samples until the first crossing, inf where half never do."""
    first = np.where(crossed.any(axis=1), (crossed.argmax(axis=1) + 1) * per_window, np.inf)
    return float(np.median(first))


def fixed_horizon_two_rates(baseline, candidate, difference=0.0, alpha=ALPHA, power=0.8) -> float:
    """Requests of both arms, half each, that a one-sided z-test needs when looked at once."""
    spread = baseline * (1 - baseline) + candidate * (1 - candidate)
    factor = (stats.norm.isf(alpha) + stats.norm.ppf(power)) ** 2
    return 2 * factor * spread / (candidate - baseline - difference) ** 2


def fixed_horizon_log_odds(rate, log_ratio, alpha=ALPHA, power=0.8) -> float:
    """Requests of both arms, half each and at one rate, to tell equal odds from a ratio, looked at once."""
    factor = (stats.norm.isf(alpha) + stats.norm.ppf(power)) ** 2
    return 4 * factor / (rate * (1 - rate) * log_ratio**2)
