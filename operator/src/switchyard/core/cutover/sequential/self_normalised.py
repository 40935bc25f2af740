"""SelfNormalisedTest: the guard for failures that come together, as when a pod or a node fails."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from switchyard.core.cutover.sequential.hypergeometric import Contrast, compute_moments
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
    the sums. The margin is an odds ratio or, where it is wider, a difference of shares, `absolute`.
    """

    margin: float = 1.0
    absolute: float = 0.0
    last_index: int = -1
    total: float = 0.0
    square_total: float = 0.0

    def update(self, window: ContrastWindow) -> Self:
        """The test with this window counted; the same where it has been."""
        return self.update_deviation(
            window.index, compute_deviation(window.strata, self.margin, self.absolute)
        )

    def update_deviation(self, index: int, deviation: float) -> Self:
        """The test with one deviation of any other making counted, positive where the candidate is worse."""
        if index <= self.last_index:
            return self
        rounded = round(deviation, 4)
        return replace(
            self,
            last_index=index,
            total=round(self.total + rounded, 4),
            square_total=round(self.square_total + rounded * rounded, 8),
        )

    @property
    def harm_log_e(self) -> float:
        """Log of the evidence that deviations are above 0."""
        return log_mean(_compute_logs(self.total, self.square_total), _WEIGHTS)

    @property
    def safe_log_e(self) -> float:
        """Log of the evidence that deviations are below 0."""
        return log_mean(_compute_logs(-self.total, self.square_total), _WEIGHTS)


def _compute_logs(total: float, square_total: float) -> Floats:
    logs: Floats = RATES * total - RATES * RATES * square_total / 2.0
    return logs


def compute_deviation(strata: tuple[Contrast, ...], margin: float, absolute: float = 0.0) -> float:
    """The candidate's bad requests above what the margin lets expect, in standard deviations.

    Over all strata together. Mean and variance are those given the totals (the statistic of Mantel and
    Haenszel, at an odds ratio of `margin`), or those of a share of `absolute` above the baseline's where it
    lets expect more. 0 where no stratum says anything.
    """
    excess = variance = 0.0
    for contrast in strata:
        mean, spread = _expect_ratio(contrast, margin)
        if absolute > 0.0:
            mean, spread = max((mean, spread), _expect_difference(contrast, absolute))
        if spread > 0.0:
            excess += contrast.candidate_bad - mean
            variance += spread
    return excess / math.sqrt(variance) if variance > 0.0 else 0.0


def _expect_ratio(contrast: Contrast, margin: float) -> tuple[float, float]:
    if contrast.says_nothing:
        return float(contrast.candidate_bad), 0.0
    return compute_moments(
        contrast.baseline_requests, contrast.candidate_requests, contrast.bad, math.log(margin)
    )


def _expect_difference(contrast: Contrast, absolute: float) -> tuple[float, float]:
    """Mean n_c (x + n_b d) / N and variance where the candidate's share is d above the baseline's."""
    baseline, candidate = contrast.baseline_requests, contrast.candidate_requests
    if not baseline or not candidate:
        return float(contrast.candidate_bad), 0.0
    share = min((contrast.bad + baseline * absolute) / (baseline + candidate), 1.0)
    other = max(share - absolute, 0.0)
    spread = baseline * share * (1.0 - share) + candidate * other * (1.0 - other)
    return candidate * share, spread * baseline * candidate / (baseline + candidate) ** 2
