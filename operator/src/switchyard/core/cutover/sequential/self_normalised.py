"""SelfNormalisedTest: the guard for failures that come together, as when a pod or a node fails."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from switchyard.core.cutover.sequential.difference import estimate_rate, fade
from switchyard.core.cutover.sequential.hypergeometric import Contrast
from switchyard.core.cutover.sequential.mixture import (
    LOG_FLOOR,
    Floats,
    begin_again,
    log_mean,
    log_mean_of_begun,
)
from switchyard.core.cutover.sequential.needed import equalise
from switchyard.core.cutover.sequential.persisted import Persisted, round_down
from switchyard.core.cutover.sequential.ratio import ContrastWindow

RATES = np.array([0.15, 0.4, 1.0, 3.0])
_WEIGHTS = np.full(len(RATES), 1 / len(RATES))
_ZEROS, _NOTHING = (0.0,) * len(RATES), (LOG_FLOOR,) * len(RATES)
# What of a skewness moves the mean of tanh(l z) back to 0, to first order (Edgeworth): l^2 / 3 for small
# rates, and for large ones, which see signs alone, the 1/6 between median and mean.
_SHIFTS = RATES**2 / (3.0 + 6.0 * RATES**2)


@dataclass(frozen=True, slots=True)
class SelfNormalisedTest(Persisted):
    """Evidence from one signed deviation z per window, whatever its spread.

    Needs z to lie symmetrically about 0, or about something below (harm) or above (safe), given the past; not
    that requests are independent within a window. Mean over rates l of the product over windows of
    exp(l z) / cosh(l z) = 1 + tanh(l z), which averages 1 where z and -z are as likely, and less where z lies
    lower, as it rises with z. A window at most doubles the evidence, and does so for any large z: for large l
    this is a test of signs. `harm_logs`, `safe_logs`: the log of each product; those of harm begin with every
    window (`begin_again`).

    The margin is an odds ratio or, where it is wider, a difference of shares, `absolute`. Where the baseline
    lies is learned from earlier windows: `baseline_requests`, `baseline_bad`, fading. The first window only
    teaches.
    """

    margin: float = 1.0
    absolute: float = 0.0
    last_index: int = -1
    baseline_requests: float = 0.0
    baseline_bad: float = 0.0
    windows: int = 0
    harm_logs: tuple[float, ...] = _NOTHING
    safe_logs: tuple[float, ...] = _ZEROS

    def update(self, window: ContrastWindow) -> Self:
        """The test with this window counted; the same where it has been."""
        if window.index <= self.last_index:
            return self
        both = [each for each in window.strata if each.baseline_requests and each.candidate_requests]
        deviation = skewness = 0.0
        if both and self.baseline_requests > 0.0:
            deviation, skewness = map(
                float,
                compute_deviation(
                    np.array([(each.baseline_requests, each.candidate_requests) for each in both]),
                    np.array([(each.baseline_bad, each.candidate_bad) for each in both]),
                    estimate_rate(self.baseline_requests, self.baseline_bad),
                    self.margin,
                    self.absolute,
                ),
            )
        requests = sum(each.baseline_requests for each in window.strata)
        bad = sum(each.baseline_bad for each in window.strata)
        return replace(
            self.count(window.index, deviation, skewness),
            baseline_requests=fade(self.baseline_requests, requests),
            baseline_bad=fade(self.baseline_bad, bad),
        )

    def count(self, index: int, deviation: float, skewness: float) -> Self:
        """The test with one deviation counted that was measured in a scale known beforehand."""
        if index <= self.last_index:
            return self
        windows = self.windows + 1
        harm = begin_again(self.harm_logs, windows) + compute_deviation_logs(deviation, skewness)
        safe = np.array(self.safe_logs) + compute_deviation_logs(-deviation, -skewness)
        return replace(
            self,
            last_index=index,
            windows=windows,
            harm_logs=tuple(round_down(float(log)) for log in harm),
            safe_logs=tuple(round_down(float(log)) for log in safe),
        )

    @property
    def harm_log_e(self) -> float:
        """Log of the evidence that deviations are above 0."""
        return log_mean_of_begun(self.harm_logs, _WEIGHTS, self.windows)

    @property
    def safe_log_e(self) -> float:
        """Log of the evidence that deviations are below 0."""
        return log_mean(self.safe_logs, _WEIGHTS)


def grow_guarded_safe(totals: Contrast, windows: int, margin: float, absolute: float = 0.0) -> float:
    """Log evidence for safety per request of both arms, of SelfNormalisedTest, in windows like those so far.

    About z^2 / 2 per window for a small deviation z, log 2 for a large one.
    """
    if not windows or not totals.baseline_requests or not totals.candidate_requests:
        return 0.0
    below = _find_mean_deviation(totals, windows, margin, absolute)
    if below <= 0.0:
        below = max(0.0, _find_mean_deviation(equalise(totals), windows, margin, absolute))
    per_window = math.log(2.0) * -math.expm1(-(below**2) / (2.0 * math.log(2.0)))
    return per_window * windows / (totals.baseline_requests + totals.candidate_requests)


def _find_mean_deviation(totals: Contrast, windows: int, margin: float, absolute: float) -> float:
    """How far the candidate is below what the margin allows, in one of so many windows."""
    deviation, _ = compute_deviation(
        np.array([(totals.baseline_requests, totals.candidate_requests)]) / windows,
        np.array([(totals.baseline_bad, totals.candidate_bad)]) / windows,
        estimate_rate(totals.baseline_requests, totals.baseline_bad),
        margin,
        absolute,
    )
    return -float(deviation)


def compute_deviation_logs(deviation: ArrayLike, skewness: ArrayLike) -> Floats:
    """Per rate, along the last axis, the log of 1 + tanh(l z).

    Skewness to the left, where the mean of z is 0, means that more than half of all z lie above 0: by as much
    z is taken lower first. To the right it makes evidence weaker, and nothing has to be done.
    """
    against = np.maximum(0.0, -np.asarray(skewness, dtype=np.float64))[..., None]
    lower = np.asarray(deviation, dtype=np.float64)[..., None] - against * _SHIFTS
    logs: Floats = math.log(2.0) - np.logaddexp(0.0, -2.0 * RATES * lower)
    return logs


def compute_deviation(
    requests: ArrayLike, bad: ArrayLike, rate: ArrayLike, margin: float, absolute: float = 0.0
) -> tuple[Floats, Floats]:
    """The candidate's share of bad requests beyond what is allowed, in standard deviations, and its skewness.

    `requests`, `bad`: (..., strata, arms), none of the requests 0. `rate`: where the baseline is thought to
    lie, from earlier windows alone. What the margin allows is a line in the baseline's share: the tangent of
    the odds ratio at `rate` or, if that lies lower there, the line of the difference. So, and by a scale that
    is known before the window, deviations average 0 at the margin and less within it; the curve of an odds
    ratio lies below its tangents. Strata weigh by n_b n_c / (n_b + n_c), as with Mantel and Haenszel.
    """
    at = np.asarray(rate, dtype=np.float64)[..., None]
    odds_scale = 1.0 + (margin - 1.0) * at
    is_absolute = at + absolute > margin * at / odds_scale
    allowed = np.where(is_absolute, np.minimum(at + absolute, 1.0), margin * at / odds_scale)
    slope = np.where(is_absolute, 1.0, margin / odds_scale**2)
    sizes = np.asarray(requests, dtype=np.float64)
    baseline, candidate = sizes[..., 0], sizes[..., 1]
    shares = np.asarray(bad, dtype=np.float64) / sizes
    weights = baseline * candidate / (baseline + candidate)
    excess = shares[..., 1] - allowed - slope * (shares[..., 0] - at)
    # A rate of 0 is never learned, so the scale is never 0 (estimate_rate).
    noise = allowed * (1.0 - allowed) / candidate, slope**2 * at * (1.0 - at) / baseline
    third = noise[0] * (1.0 - 2.0 * allowed) / candidate - slope * noise[1] * (1.0 - 2.0 * at) / baseline
    spread = np.sqrt((weights**2 * (noise[0] + noise[1])).sum(axis=-1))
    deviation: Floats = (weights * excess).sum(axis=-1) / spread
    skewness: Floats = (weights**3 * third).sum(axis=-1) / spread**3
    return deviation, skewness
