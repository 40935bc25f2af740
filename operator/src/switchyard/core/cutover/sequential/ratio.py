"""RatioTest: whether requests go bad more often on the candidate, by windows of independent requests."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Self

from switchyard.core.cutover.sequential.hypergeometric import Contrast, compute_log_ratios
from switchyard.core.cutover.sequential.mixture import (
    LOG_FLOOR,
    LOG_ODDS_STEPS,
    LOG_ODDS_WEIGHTS,
    begin_again,
    log_mean,
    log_mean_of_begun,
)
from switchyard.core.cutover.sequential.persisted import Persisted, round_down

_ZEROS, _NOTHING = (0.0,) * len(LOG_ODDS_STEPS), (LOG_FLOOR,) * len(LOG_ODDS_STEPS)


@dataclass(frozen=True, slots=True)
class ContrastWindow:
    """What both arms did between two readings, by stratum. `index` grows from window to window."""

    index: int
    strata: tuple[Contrast, ...]


@dataclass(frozen=True, slots=True)
class RatioTest(Persisted):
    """Evidence on the odds ratio of candidate to baseline against `margin`.

    Harm's null: at most the margin in every window and stratum. Safe's null: at least. The baseline's rate
    and the arms' weights may change from window to window. Needs requests that go bad independently of one
    another; SelfNormalisedTest is the guard where they do not.

    Per side an average over odds ratios of the product of likelihood ratios (the method of mixtures) of
    Fisher's noncentral hypergeometric distribution, which has a monotone likelihood ratio: what holds at the
    margin holds beyond it. `harm_logs`, `safe_logs`: the log of each product; those of harm begin with every
    window (`begin_again`).
    """

    margin: float = 1.0
    last_index: int = -1
    windows: int = 0
    harm_logs: tuple[float, ...] = _NOTHING
    safe_logs: tuple[float, ...] = _ZEROS

    def update(self, window: ContrastWindow) -> Self:
        """The test with this window counted; the same where it has been."""
        if window.index <= self.last_index:
            return self
        log_margin = math.log(self.margin)
        windows = self.windows + 1
        harm, safe = begin_again(self.harm_logs, windows).tolist(), list(self.safe_logs)
        for contrast in window.strata:
            for sums, direction in ((harm, 1.0), (safe, -1.0)):
                alternatives = log_margin + direction * LOG_ODDS_STEPS
                for at, ratio in enumerate(compute_log_ratios(contrast, log_margin, alternatives.tolist())):
                    sums[at] += float(ratio)
        return replace(
            self,
            last_index=window.index,
            windows=windows,
            harm_logs=tuple(map(round_down, harm)),
            safe_logs=tuple(map(round_down, safe)),
        )

    @property
    def harm_log_e(self) -> float:
        """Log of the evidence that the odds ratio is above the margin."""
        return log_mean_of_begun(self.harm_logs, LOG_ODDS_WEIGHTS, self.windows)

    @property
    def safe_log_e(self) -> float:
        """Log of the evidence that the odds ratio is below the margin."""
        return log_mean(self.safe_logs, LOG_ODDS_WEIGHTS)
