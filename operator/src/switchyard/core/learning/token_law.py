"""A tokens profile from what was seen of iterations and first tokens.

The law is that of core/placement/tokens.py: an iteration with n sequences, p prompt tokens and k cached
tokens takes `a + b n + c p + g k` seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from switchyard.core.learning.regression import Fit, Mask, Prior, Rows, fit_rows
from switchyard.core.placement.latency import TokensProfile

PARAMETERS = ("iteration", "perSequence", "perPrefillToken", "perCachedToken")
ORDER = (0, 1, 2, 3)  # what the data can't tell apart goes to the first of these that can take it
_FOLDS = 5
_DIGITS = 4


@dataclass(frozen=True, slots=True)
class Seen:
    """One observation: seconds of `iterations` iterations that held, on average, this content.

    `prefill_tokens`: of all these iterations together; sequences and cached tokens: of each.
    """

    seconds: float
    sequences: float
    prefill_tokens: float = 0.0
    cached_tokens: float = 0.0
    iterations: float = 1.0
    weight: float = 1.0
    looseness: float = 1.0

    @property
    def coefficients(self) -> tuple[float, ...]:
        """Of the parameters, in the order of PARAMETERS."""
        return (
            self.iterations,
            self.iterations * self.sequences,
            self.prefill_tokens,
            self.iterations * self.cached_tokens,
        )


def stack(seen: Sequence[Seen]) -> Rows:
    """The observations as rows."""
    return Rows(
        np.array([each.coefficients for each in seen], dtype=np.float64).reshape(-1, len(PARAMETERS)),
        np.array([each.seconds for each in seen], dtype=np.float64),
        np.array([each.weight for each in seen], dtype=np.float64),
        np.array([each.looseness for each in seen], dtype=np.float64),
    )


def list_parameters(profile: TokensProfile) -> tuple[float, ...]:
    """The profile's parameters, in the order of PARAMETERS."""
    return (
        profile.iteration_seconds,
        profile.per_sequence_seconds,
        profile.per_prefill_token_seconds,
        profile.per_cached_token_seconds,
    )


def apply_parameters(profile: TokensProfile, parameters: Sequence[float]) -> TokensProfile:
    """The profile with these parameters, to four significant digits.

    ProfileError when an iteration takes no time.
    """
    a, b, c, g = (float(f"{value:.{_DIGITS}g}") for value in parameters)
    return replace(
        profile,
        iteration_seconds=a,
        per_sequence_seconds=b,
        per_prefill_token_seconds=c,
        per_cached_token_seconds=g,
    )


def fit_law(seen: Sequence[Seen], prior: Prior | None) -> Fit:
    """The law that these observations show."""
    return fit_rows(stack(seen), prior, ORDER)


def measure_error(seen: Sequence[Seen], prior: Prior | None, accepted: Mask) -> float:
    """The root mean square of relative errors on observations that the fit was not told.

    Of each fifth of the accepted ones in turn, contiguous as given: neighbours in time are alike, and would
    tell each other.
    """
    kept = [each for each, is_kept in zip(seen, accepted, strict=True) if is_kept]
    if len(kept) < 2 * _FOLDS:
        return float("inf")
    rows = stack(kept)
    fold = np.arange(len(kept)) * _FOLDS // len(kept)
    squares = np.empty(len(kept))
    for number in range(_FOLDS):
        held_out = fold == number
        fit = fit_rows(rows.pick(~held_out), prior, ORDER)
        tested = rows.pick(held_out)
        fitted = tested.coefficients @ np.asarray(fit.parameters)
        squares[held_out] = ((tested.seconds - fitted) / np.maximum(fitted, 1e-12) / tested.looseness) ** 2
    return float(np.sqrt(np.average(squares, weights=rows.weights)))
