"""PairedTest: the same request on both arms, where only pairs that disagree say anything."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import betaincc, betaln, xlog1py, xlogy

from switchyard.core.cutover.sequential.mixture import LOG_FLOOR, Floats
from switchyard.core.cutover.sequential.persisted import Persisted


@dataclass(frozen=True, slots=True)
class PairWindow:
    """Pairs of one window that disagree, by which side was bad, and all pairs."""

    index: int
    candidate_only_bad: int
    baseline_only_bad: int
    pairs: int = 0


@dataclass(frozen=True, slots=True)
class PairedTest(Persisted):
    """Evidence on how the pairs that disagree fall: McNemar's test, to be watched all the time.

    Of those, the candidate is the bad one with probability t. `margin` m is the tolerated ratio of
    candidate-only to baseline-only, t0 = m / (1 + m). Harm's null: t <= t0; safe's: t >= t0. For errors,
    requests beyond a latency bound and answers that do not match.
    """

    margin: float = 1.0
    last_index: int = -1
    candidate_only_bad: int = 0
    baseline_only_bad: int = 0
    pairs: int = 0

    def update(self, window: PairWindow) -> Self:
        """The test with this window counted; the same where it has been."""
        if window.index <= self.last_index:
            return self
        return replace(
            self,
            last_index=window.index,
            candidate_only_bad=self.candidate_only_bad + window.candidate_only_bad,
            baseline_only_bad=self.baseline_only_bad + window.baseline_only_bad,
            pairs=self.pairs + window.pairs,
        )

    @property
    def harm_log_e(self) -> float:
        """Log of the evidence that the candidate is the bad one too often."""
        return float(log_above(self.candidate_only_bad, self.baseline_only_bad, self._tolerated))

    @property
    def safe_log_e(self) -> float:
        """Log of the evidence that it is not."""
        return float(log_above(self.baseline_only_bad, self.candidate_only_bad, 1.0 - self._tolerated))

    @property
    def _tolerated(self) -> float:
        return self.margin / (1.0 + self.margin)


def log_above(hits: ArrayLike, misses: ArrayLike, tolerated: float) -> Floats:
    """Log of the evidence that hits come with a probability above the tolerated one, element by element.

    The likelihood averaged evenly over probabilities t from t0 to 1, against that at t0:
    int_t0^1 t^b (1-t)^c dt / ((1 - t0) t0^b (1 - t0)^c), in closed form by the incomplete beta function.
    """
    up, down = np.asarray(hits, dtype=np.float64), np.asarray(misses, dtype=np.float64)
    with np.errstate(divide="ignore"):
        tail = np.log(betaincc(up + 1.0, down + 1.0, tolerated))
    logs = (
        betaln(up + 1.0, down + 1.0)
        + tail
        - np.log1p(-tolerated)
        - xlogy(up, tolerated)
        - xlog1py(down, -tolerated)
    )
    bounded: Floats = np.maximum(logs, LOG_FLOOR)
    return bounded
