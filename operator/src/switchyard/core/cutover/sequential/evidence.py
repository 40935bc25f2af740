"""Evidence: what a gate knows, against what it needs, and why it says what it says."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal, Protocol

import numpy as np

from switchyard.core.cutover.sequential.mixture import log_mean
from switchyard.core.cutover.sequential.split import to_threshold

Verdict = Literal["Pass", "Fail", "Inconclusive"]


class TwoSided(Protocol):
    """A test with both sides."""

    @property
    def harm_log_e(self) -> float:
        """Log of the evidence for harm."""

    @property
    def safe_log_e(self) -> float:
        """Log of the evidence for safety."""


@dataclass(frozen=True, slots=True)
class Sides:
    """The evidence of tests that are taken together."""

    harm_log_e: float
    safe_log_e: float


@dataclass(frozen=True, slots=True)
class Evidence:
    """Both sides of a gate in logs, the probabilities of error granted to it, and its minima.

    `samples`: requests, or pairs, that count towards `min_samples`.
    """

    harm_log_e: float
    safe_log_e: float
    rollback_probability: float
    promotion_probability: float
    samples: int = 0
    min_samples: int = 0

    @property
    def verdict(self) -> Verdict:
        """Fail as soon as harm is shown, Pass when safety is and the minima are met, else Inconclusive."""
        if self.harm_log_e >= to_threshold(self.rollback_probability):
            return "Fail"
        if self.safe_log_e >= to_threshold(self.promotion_probability) and self.samples >= self.min_samples:
            return "Pass"
        return "Inconclusive"

    @property
    def harm_percent(self) -> int:
        """How far harm's evidence is on its way, 0 to 100, on a log scale; 100 only where it is there."""
        return _to_percent(self.harm_log_e, to_threshold(self.rollback_probability))

    @property
    def safe_percent(self) -> int:
        """How far safety's evidence is on its way, 0 to 100, on a log scale; 100 only where it is there."""
        return _to_percent(self.safe_log_e, to_threshold(self.promotion_probability))

    def explain(self) -> str:
        """Why it says so, as part of a sentence."""
        if self.verdict == "Fail":
            return (
                "the candidate is worse than the margin allows (such evidence, if it were not, has a "
                f"probability of at most {_show_probability(self.harm_log_e)})"
            )
        if self.verdict == "Pass":
            return (
                "the candidate is within the margin (such evidence, if it were not, has a probability of at "
                f"most {_show_probability(self.safe_log_e)})"
            )
        if self.safe_percent == 100:
            return (
                f"the candidate is within the margin, after {self.samples} of at least "
                f"{self.min_samples} samples"
            )
        return (
            f"undecided, with evidence of harm at {self.harm_percent} % of what a rollback needs, and of "
            f"safety at {self.safe_percent} % of what a pass needs"
        )


def guard(plain: TwoSided, self_normalised: TwoSided) -> Sides:
    """The evidence of a test and its guard: both must cross, so the lesser counts.

    The bounds hold where either test's assumptions do.
    """
    return Sides(
        min(plain.harm_log_e, self_normalised.harm_log_e), min(plain.safe_log_e, self_normalised.safe_log_e)
    )


def widen(ratio: TwoSided, difference: TwoSided) -> Sides:
    """The evidence where the wider of two margins counts, of odds and of shares.

    Harm has to go beyond both margins, so the lesser counts. Worse than both is worse than each, so evidence
    against either speaks for safety, and their average is evidence.
    """
    safe = log_mean((ratio.safe_log_e, difference.safe_log_e), np.array([0.5, 0.5]))
    return Sides(min(ratio.harm_log_e, difference.harm_log_e), safe)


def _to_percent(log_e: float, threshold: float) -> int:
    return min(100, max(0, math.floor(100.0 * log_e / threshold))) if threshold > 0.0 else 100


def _show_probability(log_e: float) -> str:
    return format(Decimal(f"{math.exp(-log_e):.2g}"), "f") if log_e < 13.8 else "0.000001"
