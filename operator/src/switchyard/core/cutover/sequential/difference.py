"""DifferenceTest: whether the candidate's share of bad requests lies more than a margin above the baseline's.

Odds say nothing while nobody fails; a difference does: a thousand requests without a failure on either arm
speak against two in a thousand more on the candidate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from switchyard.core.cutover.sequential.hypergeometric import Contrast
from switchyard.core.cutover.sequential.mixture import log_mean
from switchyard.core.cutover.sequential.persisted import Persisted, round_down
from switchyard.core.cutover.sequential.ratio import ContrastWindow

# How far above the margin alternatives of harm lie, as parts of the room that is left up to 1.
HARM_STEPS = (0.001, 0.004, 0.015, 0.05, 0.15, 0.4, 0.8)
SAFE_STEPS = (1.0, 0.25)  # the pooled rate so far, and a quarter of it
_EDGE = 1e-9
_BISECTIONS = 50


@dataclass(frozen=True, slots=True)
class DifferenceTest(Persisted):
    """Evidence on the difference of shares, candidate less baseline, against `margin`.

    Harm's null: at most the margin in every window and stratum; safe's: at least. The baseline's share may
    change from window to window. Needs independent requests, as RatioTest does.

    Per alternative (q_b, q_c), chosen from earlier windows alone, the likelihood ratio to the (p_b, p_c) of
    the null that is nearest in Kullback-Leibler divergence, weighted by this window's requests (Turner and
    Gruenwald 2023, e-variables for two by two tables with convex nulls). With F(p) that divergence, the log
    of the mean of the ratio under any p' of the null is at most -F'(p)(p' - p), which is never above 0 as
    the null is convex and p is nearest. `baseline_*`, `candidate_*`: what alternatives are chosen from.
    """

    margin: float = 0.001
    last_index: int = -1
    harm_logs: tuple[float, ...] = (0.0,) * len(HARM_STEPS)
    safe_logs: tuple[float, ...] = (0.0,) * len(SAFE_STEPS)
    baseline_requests: int = 0
    baseline_bad: int = 0
    candidate_requests: int = 0
    candidate_bad: int = 0

    def update(self, window: ContrastWindow) -> Self:
        """The test with this window counted; the same where it has been."""
        if window.index <= self.last_index:
            return self
        harm, safe = list(self.harm_logs), list(self.safe_logs)
        for sums, alternatives, is_harm in (
            (harm, self._choose_harm(), True),
            (safe, self._choose_safe(), False),
        ):
            for at, (baseline, candidate) in enumerate(alternatives):
                sums[at] += sum(
                    compute_log_ratio(each, baseline, candidate, self.margin, is_harm=is_harm)
                    for each in window.strata
                )
        return replace(
            self,
            last_index=window.index,
            harm_logs=tuple(map(round_down, harm)),
            safe_logs=tuple(map(round_down, safe)),
            baseline_requests=self.baseline_requests + sum(each.baseline_requests for each in window.strata),
            baseline_bad=self.baseline_bad + sum(each.baseline_bad for each in window.strata),
            candidate_requests=self.candidate_requests
            + sum(each.candidate_requests for each in window.strata),
            candidate_bad=self.candidate_bad + sum(each.candidate_bad for each in window.strata),
        )

    @property
    def harm_log_e(self) -> float:
        """Log of the evidence that the difference is above the margin."""
        return log_mean(self.harm_logs, np.full(len(self.harm_logs), 1 / len(self.harm_logs)))

    @property
    def safe_log_e(self) -> float:
        """Log of the evidence that the difference is below the margin."""
        return log_mean(self.safe_logs, np.full(len(self.safe_logs), 1 / len(self.safe_logs)))

    def _choose_harm(self) -> list[tuple[float, float]]:
        baseline = _smooth(self.baseline_bad, self.baseline_requests, self.margin)
        room = max(0.0, 1.0 - baseline - self.margin)
        return [(baseline, baseline + self.margin + step * room) for step in HARM_STEPS]

    def _choose_safe(self) -> list[tuple[float, float]]:
        pooled = _smooth(
            self.baseline_bad + self.candidate_bad,
            self.baseline_requests + self.candidate_requests,
            self.margin,
        )
        return [(pooled * step, pooled * step) for step in SAFE_STEPS]


def compute_log_ratio(
    contrast: Contrast, baseline: float, candidate: float, margin: float, *, is_harm: bool
) -> float:
    """The log likelihood ratio of these shares to the nearest that the null allows; 0 where it allows them."""
    if (candidate <= baseline + margin) if is_harm else (candidate >= baseline + margin):
        return 0.0
    n_b, n_c = contrast.baseline_requests, contrast.candidate_requests
    if not n_b or not n_c:
        return 0.0
    q_b, q_c = _bound(baseline), _bound(candidate)
    p_b = _find_nearest(n_b, q_b, n_c, q_c, margin)
    return _log_likelihood_ratio(contrast.baseline_bad, n_b, q_b, p_b) + _log_likelihood_ratio(
        contrast.candidate_bad, n_c, q_c, p_b + margin
    )


def grow_difference_safe(totals: Contrast, margin: float) -> float:
    """Log evidence for safety per request of both arms, of DifferenceTest, at the pooled rate seen so far."""
    requests = totals.baseline_requests + totals.candidate_requests
    if not totals.baseline_requests or not totals.candidate_requests:
        return 0.0
    pooled = _bound(_smooth(totals.bad, requests, margin))
    return _compute_divergence(totals, pooled, pooled, margin) / requests


def _compute_divergence(totals: Contrast, q_b: float, q_c: float, margin: float) -> float:
    n_b, n_c = totals.baseline_requests, totals.candidate_requests
    p_b = _find_nearest(n_b, q_b, n_c, q_c, margin)
    return n_b * _diverge(q_b, p_b) + n_c * _diverge(q_c, p_b + margin)


def _find_nearest(n_b: int, q_b: float, n_c: int, q_c: float, margin: float) -> float:
    """The p_b at which n_b KL(q_b, p_b) + n_c KL(q_c, p_b + margin) is least: the root of its slope."""
    low, high = _EDGE, 1.0 - margin - _EDGE
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2.0
        above = middle + margin
        slope = n_b * (middle - q_b) / (middle * (1.0 - middle)) + n_c * (above - q_c) / (
            above * (1.0 - above)
        )
        low, high = (low, middle) if slope > 0.0 else (middle, high)
    return (low + high) / 2.0


def _log_likelihood_ratio(bad: int, requests: int, share: float, null: float) -> float:
    return bad * math.log(share / null) + (requests - bad) * math.log((1.0 - share) / (1.0 - null))


def _diverge(share: float, other: float) -> float:
    return share * math.log(share / other) + (1.0 - share) * math.log((1.0 - share) / (1.0 - other))


def _smooth(bad: int, requests: int, margin: float) -> float:
    """The share seen, begun with half a bad request at a share of half the margin."""
    return (bad + 0.5) / (requests + 1.0 / max(margin, 1e-6))


def _bound(share: float) -> float:
    return min(max(share, 10 * _EDGE), 1.0 - 10 * _EDGE)
