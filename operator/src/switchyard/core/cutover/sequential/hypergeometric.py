"""Fisher's noncentral hypergeometric distribution: bad requests of the candidate, given those of both arms.

Given n_b and n_c requests of which x = x_b + x_c were bad, and an odds ratio psi of candidate to baseline,

    P(x_c | n_b, n_c, x; psi) = C(n_c, x_c) C(n_b, x - x_c) psi^x_c / Z(psi),
    Z(psi) = sum over u from max(0, x - n_b) to min(n_c, x) of C(n_c, u) C(n_b, x - u) psi^u.

The baseline's own rate is conditioned away, so that it may be another one in every window.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.special import gammaln

from switchyard.core.cutover.sequential.mixture import Floats

_WIDTH_SIGMAS = 9.0
_WIDTH_TERMS = 60.0


@dataclass(frozen=True, slots=True)
class Contrast:
    """Requests and bad ones among them, of both arms in one window and stratum."""

    baseline_requests: int
    baseline_bad: int
    candidate_requests: int
    candidate_bad: int

    def __post_init__(self) -> None:
        for arm, bad, requests in (
            ("baseline", self.baseline_bad, self.baseline_requests),
            ("candidate", self.candidate_bad, self.candidate_requests),
        ):
            if not 0 <= bad <= requests:
                raise ValueError(f"{arm}: {bad} bad of {requests} requests; give 0 to all of them")

    @property
    def bad(self) -> int:
        """Bad requests of both arms."""
        return self.baseline_bad + self.candidate_bad

    @property
    def says_nothing(self) -> bool:
        """Whether only one split of the bad requests was possible."""
        lowest = max(0, self.bad - self.baseline_requests)
        return lowest == min(self.candidate_requests, self.bad)


def compute_log_ratios(contrast: Contrast, log_null: float, log_alternatives: Sequence[float]) -> Floats:
    """Log likelihood ratios of alternatives to the null, never above the exact ones.

    Null and alternatives are log odds ratios. 0 where the totals allow only one outcome.
    """
    if contrast.says_nothing:
        return np.zeros(len(log_alternatives))
    totals = (contrast.baseline_requests, contrast.candidate_requests, contrast.bad)
    null_floor, _ = _bound_log_normaliser(*totals, log_null)
    ceilings = np.array([_bound_log_normaliser(*totals, each)[1] for each in log_alternatives])
    shifts = np.asarray(log_alternatives) - log_null
    ratios: Floats = contrast.candidate_bad * shifts - ceilings + null_floor
    return ratios


@lru_cache(maxsize=65_536)
def _bound_log_normaliser(
    baseline_requests: int, candidate_requests: int, bad: int, log_odds_ratio: float
) -> tuple[float, float]:
    """A lower and an upper bound of log Z. They differ by rounding where all terms are summed.

    Terms are log-concave in u. Those near the mode are summed; what lies beyond an edge is at most the edge's
    term times r / (1 - r), r the ratio of the first two terms outside.
    """
    counts, logs = compute_log_terms(baseline_requests, candidate_requests, bad, log_odds_ratio)
    top = float(logs.max())
    floor = top + math.log(float(np.exp(logs - top).sum()))
    lowest, highest = max(0, bad - baseline_requests), min(candidate_requests, bad)
    outside = 0.0
    for edge, is_last, step in (
        (0, counts[0] == lowest, _log_ratio_down),
        (-1, counts[-1] == highest, _log_ratio_up),
    ):
        if not is_last:
            log_step = step(int(counts[edge]), baseline_requests, candidate_requests, bad, log_odds_ratio)
            ratio = math.exp(log_step)
            outside += math.exp(float(logs[edge]) - floor) * ratio / (1.0 - ratio)
    return floor, floor + math.log1p(outside)


def compute_log_terms(
    baseline_requests: int, candidate_requests: int, bad: int, log_odds_ratio: float
) -> tuple[Floats, Floats]:
    """The counts u around the mode, and the log of each one's term of Z."""
    lowest, highest = max(0, bad - baseline_requests), min(candidate_requests, bad)
    mode = find_mean(baseline_requests, candidate_requests, bad, math.exp(log_odds_ratio))
    spread = math.sqrt(compute_variance(baseline_requests, candidate_requests, bad, mode))
    reach = _WIDTH_SIGMAS * spread + _WIDTH_TERMS
    first, last = max(lowest, math.floor(mode - reach)), min(highest, math.ceil(mode + reach))
    counts = np.arange(first, last + 1, dtype=np.float64)
    logs = (
        log_choose(candidate_requests, counts)
        + log_choose(baseline_requests, bad - counts)
        + counts * log_odds_ratio
    )
    return counts, logs


def log_choose(total: int, chosen: Floats) -> Floats:
    """The log of the binomial coefficient."""
    logs: Floats = gammaln(total + 1.0) - gammaln(chosen + 1.0) - gammaln(total - chosen + 1.0)
    return logs


def find_mean(baseline_requests: float, candidate_requests: float, bad: float, odds_ratio: float) -> float:
    """The candidate's bad requests at which the table of counts has just this odds ratio (Cornfield 1956).

    The root of mu (n_b - x + mu) = psi (n_c - mu)(x - mu), near both mean and mode.
    """
    quadratic = odds_ratio - 1.0
    linear = odds_ratio * (candidate_requests + bad) + baseline_requests - bad
    constant = odds_ratio * candidate_requests * bad
    root = math.sqrt(max(0.0, linear * linear - 4.0 * quadratic * constant))
    mean = 2.0 * constant / (linear + root) if linear + root > 0.0 else 0.0
    return min(max(mean, 0.0, bad - baseline_requests), candidate_requests, bad)


def compute_variance(baseline_requests: float, candidate_requests: float, bad: float, mean: float) -> float:
    """The variance of the candidate's bad requests near that mean (Cornfield 1956); 0 at the ends."""
    cells = (mean, candidate_requests - mean, bad - mean, baseline_requests - bad + mean)
    if min(cells) <= 0.0:
        return 0.0
    return 1.0 / sum(1.0 / cell for cell in cells)


def _log_ratio_up(
    count: int, baseline_requests: int, candidate_requests: int, bad: int, log_odds_ratio: float
) -> float:
    above = (candidate_requests - count) * (bad - count)
    below = (count + 1) * (baseline_requests - bad + count + 1)
    return math.log(above) - math.log(below) + log_odds_ratio


def _log_ratio_down(
    count: int, baseline_requests: int, candidate_requests: int, bad: int, log_odds_ratio: float
) -> float:
    return -_log_ratio_up(count - 1, baseline_requests, candidate_requests, bad, log_odds_ratio)
