"""DifferenceTest: whether more requests go bad on the candidate, by a margin in shares of requests.

For baselines that hardly fail: an odds ratio to almost nothing would ask for millions of requests.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from switchyard.core.cutover.sequential.hypergeometric import Contrast
from switchyard.core.cutover.sequential.mixture import (
    LOG_FLOOR,
    Floats,
    begin_again,
    log_mean,
    log_mean_of_begun,
)
from switchyard.core.cutover.sequential.needed import diverge, equalise
from switchyard.core.cutover.sequential.persisted import Persisted, round_down
from switchyard.core.cutover.sequential.ratio import ContrastWindow

SAFE_RATIOS = np.array([0.7, 0.4, 0.0, -0.5])  # of the margin, that the candidate is worse by
HARM_STEPS = 6
_SAFE_WEIGHTS = np.full(len(SAFE_RATIOS), 1 / len(SAFE_RATIOS))
_HARM_WEIGHTS = np.full(HARM_STEPS, 1 / HARM_STEPS)
_SMALLEST_GAP = 0.001
_KEPT_RATIO = 0.95  # of what earlier windows told, from window to window
_LEAST = 1e-9
_HALVINGS = 45


@dataclass(frozen=True, slots=True)
class DifferenceTest(Persisted):
    """Evidence on the candidate's share of bad requests less the baseline's, against `margin`.

    Harm's null: at most the margin in every window and stratum. Safe's null: at least. Needs requests that go
    bad independently; rates may change from window to window, and from request to request as long as their
    means over a window and stratum keep to the null.

    Per side an average over alternatives of the product of likelihood ratios of both arms' counts, of an
    alternative to the point of the null nearest to it in Kullback-Leibler divergence, which makes it an
    e-variable as the null is convex (Turner, Ly and Gruenwald 2024; Turner and Gruenwald 2023). Where the
    baseline lies is learned from earlier windows: `baseline_requests`, `baseline_bad`, fading. The first
    window only teaches.
    """

    margin: float = 0.0
    last_index: int = -1
    baseline_requests: float = 0.0
    baseline_bad: float = 0.0
    windows: int = 0
    harm_logs: tuple[float, ...] = (LOG_FLOOR,) * HARM_STEPS
    safe_logs: tuple[float, ...] = (0.0,) * len(SAFE_RATIOS)

    def update(self, window: ContrastWindow) -> Self:
        """The test with this window counted; the same where it has been."""
        if window.index <= self.last_index:
            return self
        windows = self.windows + 1
        harm, safe = begin_again(self.harm_logs, windows), np.array(self.safe_logs)
        if self.baseline_requests > 0.0:
            rate = estimate_rate(self.baseline_requests, self.baseline_bad, guess_rate(self.margin))
            for each in window.strata:
                requests = each.baseline_requests, each.candidate_requests
                bad = each.baseline_bad, each.candidate_bad
                harm += compute_difference_logs(requests, bad, rate, self.margin)
                safe += compute_difference_logs(requests, bad, rate, self.margin, is_safe=True)
        return replace(
            self,
            last_index=window.index,
            windows=windows,
            baseline_requests=fade(
                self.baseline_requests, sum(each.baseline_requests for each in window.strata)
            ),
            baseline_bad=fade(self.baseline_bad, sum(each.baseline_bad for each in window.strata)),
            harm_logs=tuple(round_down(float(log)) for log in harm),
            safe_logs=tuple(round_down(float(log)) for log in safe),
        )

    @property
    def harm_log_e(self) -> float:
        """Log of the evidence that the candidate is worse by more than the margin."""
        return log_mean_of_begun(self.harm_logs, _HARM_WEIGHTS, self.windows)

    @property
    def safe_log_e(self) -> float:
        """Log of the evidence that it is worse by less."""
        return log_mean(self.safe_logs, _SAFE_WEIGHTS)


def fade(earlier: float, count: int) -> float:
    """What is remembered of counts, the latest most, in thousandths."""
    return round(earlier * _KEPT_RATIO + count, 3)


def estimate_rate(requests: ArrayLike, bad: ArrayLike, guess: float = 0.5) -> Floats:
    """The share of bad requests, begun with half a bad one at the guess; never 0."""
    rate: Floats = (np.asarray(bad, dtype=np.float64) + 0.5) / (np.asarray(requests) + 0.5 / guess)
    return rate


def guess_rate(margin: float) -> float:
    """Where a baseline may lie for which somebody chose this margin: at half of it."""
    return max(margin, _SMALLEST_GAP) / 2.0


def compute_difference_logs(
    requests: tuple[ArrayLike, ArrayLike],
    bad: tuple[ArrayLike, ArrayLike],
    rate: ArrayLike,
    margin: float,
    *,
    is_safe: bool = False,
) -> Floats:
    """Per alternative, along the last axis, the log likelihood ratio to the nearest point of the null.

    `requests`, `bad`: of baseline and candidate. `rate`: where the baseline is thought to lie, from earlier
    windows alone.
    """
    baseline = np.clip(np.asarray(rate, dtype=np.float64)[..., None], _LEAST, 1.0 - margin - _LEAST)
    if is_safe:
        candidate = np.maximum(baseline + margin * SAFE_RATIOS, baseline / 2.0)
    else:
        gaps = np.geomspace(max(margin, _SMALLEST_GAP) / 2.0, 0.5, HARM_STEPS)
        candidate = np.minimum(baseline + margin + gaps, (1.0 + baseline + margin) / 2.0)
    sizes = np.asarray(requests[0], np.float64)[..., None], np.asarray(requests[1], np.float64)[..., None]
    counts = np.asarray(bad[0], np.float64)[..., None], np.asarray(bad[1], np.float64)[..., None]
    nearest = find_nearest(sizes, baseline, candidate, margin)
    return _compare(sizes[0], counts[0], baseline, nearest) + _compare(
        sizes[1], counts[1], candidate, nearest + margin
    )


def find_nearest(
    requests: tuple[Floats, Floats], baseline: Floats, candidate: Floats, margin: float
) -> Floats:
    """The baseline's share q that, with q + margin, is nearest to both shares: the root of a rising slope."""
    low = np.clip(np.minimum(baseline, candidate - margin), _LEAST, 1.0 - margin - _LEAST)
    high = np.clip(np.maximum(baseline, candidate - margin), _LEAST, 1.0 - margin - _LEAST)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2.0
        other = middle + margin
        slope = requests[0] * (middle - baseline) / (middle * (1.0 - middle))
        slope = slope + requests[1] * (other - candidate) / (other * (1.0 - other))
        low, high = np.where(slope < 0.0, middle, low), np.where(slope < 0.0, high, middle)
    nearest: Floats = (low + high) / 2.0
    return nearest


def grow_difference_safe(totals: Contrast, margin: float) -> float:
    """Log evidence for safety per request of both arms, of DifferenceTest."""
    growth = _compute_difference_growth(totals, margin, is_safe=True)
    return growth if growth > 0.0 else _compute_difference_growth(equalise(totals), margin, is_safe=True)


def grow_difference_harm(totals: Contrast, margin: float) -> float:
    """Log evidence for harm per request of both arms, of DifferenceTest; 0 where there is no sign of any."""
    return _compute_difference_growth(totals, margin, is_safe=False)


def _compute_difference_growth(totals: Contrast, margin: float, *, is_safe: bool) -> float:
    baseline, candidate = totals.baseline_requests, totals.candidate_requests
    if not baseline or not candidate:
        return 0.0
    shares = (
        (totals.baseline_bad + 0.5) / (baseline + 1.0),
        (totals.candidate_bad + 0.5) / (candidate + 1.0),
    )
    if (shares[1] < shares[0] + margin) is not is_safe:
        return 0.0
    sizes = np.array([float(baseline)]), np.array([float(candidate)])
    nearest = float(find_nearest(sizes, np.array([shares[0]]), np.array([shares[1]]), margin)[0])
    gained = baseline * diverge(shares[0], nearest) + candidate * diverge(shares[1], nearest + margin)
    return gained / (baseline + candidate)


def _compare(requests: Floats, bad: Floats, share: Floats, other: Floats) -> Floats:
    logs: Floats = bad * np.log(share / other) + (requests - bad) * np.log((1.0 - share) / (1.0 - other))
    return logs
