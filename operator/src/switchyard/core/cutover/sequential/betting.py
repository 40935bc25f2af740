"""BettingTest: whether the mean of bounded scores lies above or below a margin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from switchyard.core.cutover.sequential.mixture import Floats, log_mean
from switchyard.core.cutover.sequential.persisted import Persisted, round_down

# Bets as parts of the largest one that cannot lose everything.
BET_RATIOS = np.array([0.01, 0.03, 0.07, 0.15, 0.3, 0.5, 0.75, 0.97])
_WEIGHTS = np.full(len(BET_RATIOS), 1 / len(BET_RATIOS))
_ZEROS = (0.0,) * len(BET_RATIOS)


@dataclass(frozen=True, slots=True)
class ScoreWindow:
    """How many pairs of one window had a loss of so many hundredths.

    The loss is noise score less candidate score, -100 to 100; without a noise arm 100 less the candidate's
    score, 0 to 100 (`count_losses`).
    """

    index: int
    counts: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class BettingTest(Persisted):
    """Evidence on the mean loss d per pair against `margin`, whatever the distribution of d.

    Harm's null: the mean is at most the margin; safe's: at least. `lowest`: the least that a loss can be, -1
    with a noise arm, 0 without. `rounded_up`: by how much a loss may have been rounded up, which only harm's
    side has to allow for. Per side an average over fixed bets l of the product of 1 + l (d - margin)
    (Waudby-Smith and Ramdas 2023, capital of a grid of bets). `total`, `square_total`: of losses, in
    hundredths and their squares, for estimates alone.
    """

    margin: float = 0.0
    lowest: float = -1.0
    rounded_up: float = 0.01
    last_index: int = -1
    harm_logs: tuple[float, ...] = _ZEROS
    safe_logs: tuple[float, ...] = _ZEROS
    pairs: int = 0
    total: int = 0
    square_total: int = 0

    def update(self, window: ScoreWindow) -> Self:
        """The test with this window counted; the same where it has been."""
        if window.index <= self.last_index:
            return self
        hundredths = np.array(list(window.counts.keys()), dtype=np.int64)
        counts = np.array(list(window.counts.values()), dtype=np.int64)
        harm, safe = compute_log_factors(hundredths / 100.0, self.margin, self.lowest, self.rounded_up)
        return replace(
            self,
            last_index=window.index,
            harm_logs=_add(self.harm_logs, counts @ harm),
            safe_logs=_add(self.safe_logs, counts @ safe),
            pairs=self.pairs + int(counts.sum()),
            total=self.total + int(counts @ hundredths),
            square_total=self.square_total + int(counts @ (hundredths * hundredths)),
        )

    @property
    def harm_log_e(self) -> float:
        """Log of the evidence that the mean loss is above the margin."""
        return log_mean(self.harm_logs, _WEIGHTS)

    @property
    def safe_log_e(self) -> float:
        """Log of the evidence that the mean loss is below the margin."""
        return log_mean(self.safe_logs, _WEIGHTS)

    @property
    def mean(self) -> float:
        """The mean loss so far; 0 without pairs."""
        return self.total / self.pairs / 100.0 if self.pairs else 0.0

    @property
    def variance(self) -> float:
        """The variance of the loss so far; 0 without pairs."""
        return max(0.0, self.square_total / self.pairs / 1e4 - self.mean**2) if self.pairs else 0.0


def count_losses(scores: Mapping[int, int]) -> dict[int, int]:
    """The losses of plain scores in hundredths, for a bound without a noise arm."""
    return {100 - score: count for score, count in scores.items()}


def compute_log_factors(
    losses: Floats, margin: float, lowest: float, rounded_up: float = 0.0
) -> tuple[Floats, Floats]:
    """Per loss and bet the log of the factor of harm's and of safe's evidence."""
    least = np.maximum(losses - rounded_up, lowest)
    harm_bets = BET_RATIOS / (margin - lowest) if margin > lowest else BET_RATIOS
    safe_bets = BET_RATIOS / (1.0 - margin)
    return np.log1p(np.outer(least - margin, harm_bets)), np.log1p(np.outer(margin - losses, safe_bets))


def _add(logs: tuple[float, ...], increments: Floats) -> tuple[float, ...]:
    return tuple(round_down(log + float(each)) for log, each in zip(logs, increments, strict=True))
