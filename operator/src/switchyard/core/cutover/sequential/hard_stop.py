"""HardStop: whether the candidate alone fails so often that no comparison is needed."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, Self

from switchyard.core.cutover.sequential.paired import log_above
from switchyard.core.cutover.sequential.persisted import Persisted
from switchyard.core.cutover.sequential.split import share_of_attempt

_ROUTES = 3

Cause = Literal["", "ratio", "window ratio", "run"]


@dataclass(frozen=True, slots=True)
class FailureWindow:
    """Failures of both arms in one window, and the longest run of them on the candidate, as it is known."""

    index: int
    baseline_requests: int
    baseline_failed: int
    candidate_requests: int
    candidate_failed: int
    longest_run: int = 0


@dataclass(frozen=True, slots=True)
class HardStop(Persisted):
    """Whether to stop at once: more than `ratio` of the candidate's requests fail, and not the baseline's.

    Null: each request fails on the candidate with a probability of at most `ratio`, independently. Three ways
    share alpha evenly: the share since the stage began (`ratio`); that of one window (`window ratio`), at a
    level of 6 / (pi w)^2 in the w-th, so that a long clean past hides nothing; a run, at the same levels.
    None stops before `min_requests` requests or a run of as many. A span in which half as large a share of
    the baseline's requests failed, or more, stops nothing: what both suffer is not the candidate's fault.
    """

    alpha: float = 0.001
    ratio: float = 0.5
    min_requests: int = 20
    last_index: int = -1
    windows: int = 0
    baseline_requests: int = 0
    baseline_failed: int = 0
    candidate_requests: int = 0
    candidate_failed: int = 0
    stopped_by: int = 0

    def update(self, window: FailureWindow) -> Self:
        """The test with this window counted; the same where it has been, or it has stopped."""
        if window.index <= self.last_index or self.stopped_by:
            return self
        grown = replace(
            self,
            last_index=window.index,
            windows=self.windows + 1,
            baseline_requests=self.baseline_requests + window.baseline_requests,
            baseline_failed=self.baseline_failed + window.baseline_failed,
            candidate_requests=self.candidate_requests + window.candidate_requests,
            candidate_failed=self.candidate_failed + window.candidate_failed,
        )
        return replace(grown, stopped_by=_find_cause(grown, window))

    @property
    def cause(self) -> Cause:
        """What stopped it; empty while nothing has."""
        causes: tuple[Cause, ...] = ("", "ratio", "window ratio", "run")
        return causes[self.stopped_by]


def _find_cause(stop: HardStop, window: FailureWindow) -> int:
    level = stop.alpha / _ROUTES
    window_level = share_of_attempt(level, stop.windows)
    whole = FailureWindow(
        window.index,
        stop.baseline_requests,
        stop.baseline_failed,
        stop.candidate_requests,
        stop.candidate_failed,
    )
    for cause, span, share in ((1, whole, level), (2, window, window_level)):
        if _fails_alone(stop, span) and _exceeds_ratio(stop, span, share):
            return cause
    run = max(stop.min_requests, find_run_threshold(window_level, stop.ratio, window.candidate_requests))
    return 3 if window.longest_run >= run and _fails_alone(stop, window) else 0


def _fails_alone(stop: HardStop, span: FailureWindow) -> bool:
    return span.baseline_failed <= stop.ratio / 2.0 * span.baseline_requests


def _exceeds_ratio(stop: HardStop, span: FailureWindow, level: float) -> bool:
    if span.candidate_requests < stop.min_requests or stop.ratio >= 1.0:
        return False
    succeeded = span.candidate_requests - span.candidate_failed
    return float(log_above(span.candidate_failed, succeeded, stop.ratio)) >= -math.log(level)


def find_run_threshold(level: float, ratio: float, requests: int) -> int:
    """The length of a run of failures that ends among so many requests with at most this probability.

    Each request ends a run of k or more with a probability of at most ratio^k.
    """
    if ratio >= 1.0:
        return max(requests, 1) + 1_000_000_000
    return max(1, math.ceil(math.log(max(requests, 1) / level) / -math.log(ratio)))
