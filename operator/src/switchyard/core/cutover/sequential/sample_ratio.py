"""SampleRatioTest: whether an arm receives a share of requests that is far from its weight."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from scipy.special import expit, logit

from switchyard.core.cutover.sequential.mixture import (
    LOG_ODDS_STEPS,
    LOG_ODDS_WEIGHTS,
    Floats,
    log_mean,
)
from switchyard.core.cutover.sequential.persisted import Persisted, round_down

_ZEROS = (0.0,) * len(LOG_ODDS_STEPS)
_CERTAIN = 0.005  # a weight of 0 or 100 % allows for that share of requests on the other arm


@dataclass(frozen=True, slots=True)
class ShareWindow:
    """Requests of one window by the arm that received them, and the candidate's weight throughout."""

    index: int
    baseline_requests: int
    candidate_requests: int
    weight_ratio: float


@dataclass(frozen=True, slots=True)
class SampleRatioTest(Persisted):
    """Evidence that the odds of reaching the candidate are not those of its weight.

    Null: in every window within a factor `tolerance` of them, requests drawn independently. An average over
    odds ratios on both sides of binomial likelihood ratios; the weight may change between windows. Where
    sessions stick to an arm count sessions, or allow for more.
    """

    tolerance: float = 1.25
    last_index: int = -1
    above_logs: tuple[float, ...] = _ZEROS
    below_logs: tuple[float, ...] = _ZEROS

    def update(self, window: ShareWindow) -> Self:
        """The test with this window counted; the same where it has been."""
        if window.index <= self.last_index:
            return self
        sums = []
        for logs, direction in ((self.above_logs, 1.0), (self.below_logs, -1.0)):
            increments = compute_share_logs(
                window.baseline_requests,
                window.candidate_requests,
                window.weight_ratio,
                direction * math.log(self.tolerance),
                direction * LOG_ODDS_STEPS,
            )
            sums.append(tuple(round_down(log + each) for log, each in zip(logs, increments, strict=True)))
        return replace(self, last_index=window.index, above_logs=sums[0], below_logs=sums[1])

    @property
    def log_e(self) -> float:
        """Log of the evidence that the share is too high or too low."""
        sides = [log_mean(logs, LOG_ODDS_WEIGHTS) for logs in (self.above_logs, self.below_logs)]
        return log_mean(sides, np.array([0.5, 0.5]))

    @property
    def is_above(self) -> bool:
        """Whether there is more evidence for too high a share than for too low a one."""
        return log_mean(self.above_logs, LOG_ODDS_WEIGHTS) > log_mean(self.below_logs, LOG_ODDS_WEIGHTS)


def compute_share_logs(
    baseline_requests: int, candidate_requests: int, weight_ratio: float, shift: float, steps: Floats
) -> list[float]:
    """Binomial log likelihood ratios of log odds shifted by `shift` and each step, to those shifted alone.

    No share is too high for a weight of 100 %, and none too low for 0 %: zeros there.
    """
    edge = weight_ratio if shift > 0 else 1.0 - weight_ratio
    if edge > 1.0 - _CERTAIN:
        return list(_ZEROS)
    log_odds = float(logit(min(max(weight_ratio, _CERTAIN), 1.0 - _CERTAIN))) + shift
    null, others = expit(log_odds), expit(log_odds + steps)
    logs = candidate_requests * np.log(others / null) + baseline_requests * np.log((1 - others) / (1 - null))
    return [float(each) for each in logs]
