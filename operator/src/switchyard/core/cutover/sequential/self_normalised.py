"""SelfNormalisedTest: the guard for failures that come together, as when a pod or a node fails."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from switchyard.core.cutover.sequential.difference import estimate_rate, fade
from switchyard.core.cutover.sequential.mixture import Floats, log_mean
from switchyard.core.cutover.sequential.persisted import Persisted
from switchyard.core.cutover.sequential.ratio import ContrastWindow

RATES = np.array([0.06, 0.12, 0.25, 0.5, 1.0])
_WEIGHTS = np.full(len(RATES), 1 / len(RATES))


@dataclass(frozen=True, slots=True)
class SelfNormalisedTest(Persisted):
    """Evidence from one signed deviation z per window, whatever its spread.

    Needs z to lie symmetrically about 0, or about something below (harm) or above (safe), given the past; not
    that requests are independent within a window. Mean over rates l of exp(l sum z - l^2 sum z^2 / 2), an
    e-process as cosh(l z) <= exp(l^2 z^2 / 2) (de la Pena 1999; Howard et al. 2020, time-uniform Chernoff
    bounds). One window adds at most 1/2, so that nothing is told in a few windows. `total`, `square_total`:
    the sums.

    The margin is an odds ratio or, where it is wider, a difference of shares, `absolute`. Where the baseline
    lies is learned from earlier windows: `baseline_requests`, `baseline_bad`, fading. The first window only
    teaches.
    """

    margin: float = 1.0
    absolute: float = 0.0
    last_index: int = -1
    baseline_requests: float = 0.0
    baseline_bad: float = 0.0
    total: float = 0.0
    square_total: float = 0.0

    def update(self, window: ContrastWindow) -> Self:
        """The test with this window counted; the same where it has been."""
        if window.index <= self.last_index:
            return self
        both = [each for each in window.strata if each.baseline_requests and each.candidate_requests]
        deviation = 0.0
        if both and self.baseline_requests > 0.0:
            deviation = round(
                float(
                    compute_deviation(
                        np.array([(each.baseline_requests, each.candidate_requests) for each in both]),
                        np.array([(each.baseline_bad, each.candidate_bad) for each in both]),
                        estimate_rate(self.baseline_requests, self.baseline_bad),
                        self.margin,
                        self.absolute,
                    )
                ),
                4,
            )
        requests = sum(each.baseline_requests for each in window.strata)
        bad = sum(each.baseline_bad for each in window.strata)
        return replace(
            self,
            last_index=window.index,
            baseline_requests=fade(self.baseline_requests, requests),
            baseline_bad=fade(self.baseline_bad, bad),
            total=round(self.total + deviation, 4),
            square_total=round(self.square_total + deviation * deviation, 8),
        )

    @property
    def harm_log_e(self) -> float:
        """Log of the evidence that deviations are above 0."""
        return log_mean(_compute_logs(self.total, self.square_total), _WEIGHTS)

    @property
    def safe_log_e(self) -> float:
        """Log of the evidence that deviations are below 0."""
        return log_mean(_compute_logs(-self.total, self.square_total), _WEIGHTS)


def compute_deviation(
    requests: ArrayLike, bad: ArrayLike, rate: ArrayLike, margin: float, absolute: float = 0.0
) -> Floats:
    """The candidate's share of bad requests above what the margin allows, in standard deviations.

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
    spread = allowed * (1.0 - allowed) / candidate + slope**2 * at * (1.0 - at) / baseline
    deviation: Floats = (weights * excess).sum(axis=-1) / np.sqrt((weights**2 * spread).sum(axis=-1))
    return deviation


def _compute_logs(total: float, square_total: float) -> Floats:
    logs: Floats = RATES * total - RATES * RATES * square_total / 2.0
    return logs
