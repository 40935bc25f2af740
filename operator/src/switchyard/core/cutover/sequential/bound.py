"""BoundTest: whether more requests go bad than a bound allows that was known beforehand."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, logit

from switchyard.core.cutover.sequential.mixture import (
    LOG_FLOOR,
    LOG_ODDS_STEPS,
    LOG_ODDS_WEIGHTS,
    Floats,
    begin_again,
    log_mean_of_begun,
)
from switchyard.core.cutover.sequential.persisted import Persisted, round_down

_LEAST = 1e-9


@dataclass(frozen=True, slots=True)
class BoundTest(Persisted):
    """Evidence that the share of bad requests is above `bound_ratio`, of one arm alone.

    Null: at most that share in every window, of requests that go bad independently. An average over odds of
    the product of binomial likelihood ratios; products begin with every window (`begin_again`), so that a
    candidate that was good for days is not spared for it.
    """

    bound_ratio: float = 0.5
    last_index: int = -1
    windows: int = 0
    harm_logs: tuple[float, ...] = (LOG_FLOOR,) * len(LOG_ODDS_STEPS)

    def update(self, index: int, requests: int, bad: int) -> Self:
        """The test with this window counted; the same where it has been."""
        if index <= self.last_index:
            return self
        windows = self.windows + 1
        harm = begin_again(self.harm_logs, windows) + compute_bound_logs(requests, bad, self.bound_ratio)
        return replace(
            self,
            last_index=index,
            windows=windows,
            harm_logs=tuple(round_down(float(log)) for log in harm),
        )

    @property
    def harm_log_e(self) -> float:
        """Log of the evidence that the share is above the bound."""
        return log_mean_of_begun(self.harm_logs, LOG_ODDS_WEIGHTS, self.windows)


def compute_bound_logs(requests: ArrayLike, bad: ArrayLike, bound_ratio: ArrayLike) -> Floats:
    """Binomial log likelihood ratios of odds further and further above the bound, along the last axis."""
    bound = np.clip(np.asarray(bound_ratio, dtype=np.float64), _LEAST, 1.0 - _LEAST)[..., None]
    log_odds = logit(bound) + LOG_ODDS_STEPS
    worse = np.asarray(bad, dtype=np.float64)[..., None]
    good = np.asarray(requests, dtype=np.float64)[..., None] - worse
    bad_logs = np.log(expit(log_odds)) - np.log(bound)
    good_logs = -np.logaddexp(0.0, log_odds) - np.log1p(-bound)
    logs: Floats = worse * bad_logs + good * good_logs
    return logs
