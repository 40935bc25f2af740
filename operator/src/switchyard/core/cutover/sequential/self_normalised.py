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
    bounds). `total`, `square_total`: the sums.
    """

    margin: float = 1.0
    last_index: int = -1
    total: float = 0.0
    square_total: float = 0.0

    def update(self, window: ContrastWindow) -> Self:
        """The test with this window counted; the same where it has been."""
        return self.update_deviation(window.index, compute_deviation(window.strata, self.margin))

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


def compute_deviation(strata: tuple[Contrast, ...], margin: float) -> float:
    """The candidate's bad requests above what the margin lets expect, in standard deviations.

    Over all strata together. Mean and variance are those given the totals (the statistic of Mantel and
    Haenszel, at an odds ratio of `margin`). 0 where no stratum says anything.
    """
    excess = variance = 0.0
    for contrast in strata:
        if contrast.says_nothing:
            continue
        mean, spread = compute_moments(
            contrast.baseline_requests, contrast.candidate_requests, contrast.bad, math.log(margin)
        )
        excess += contrast.candidate_bad - mean
        variance += spread
    return excess / math.sqrt(variance) if variance > 0.0 else 0.0
