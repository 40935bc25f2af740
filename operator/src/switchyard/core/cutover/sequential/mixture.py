"""Averages of e-values in log space, and the alternatives that are averaged over."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import polygamma

from switchyard.core.cutover.sequential.split import share_of_attempt

Floats: TypeAlias = NDArray[np.float64]

# How far alternatives lie from the margin, as differences of log odds: from 1.1 times to 64 times the odds.
LOG_ODDS_STEPS = np.geomspace(math.log(1.1), math.log(64.0), 12)
LOG_ODDS_WEIGHTS = np.full(12, 1 / 12)

LOG_FLOOR = -1e6  # stands for an e-value of 0, which JSON has no logarithm of


def log_mean(logs: Sequence[float] | Floats, weights: Floats) -> float:
    """The log of the weighted mean of exp(logs); an average of e-values is an e-value."""
    values = np.asarray(logs, dtype=np.float64)
    top = float(values.max())
    return max(LOG_FLOOR, top + math.log(float(weights @ np.exp(values - top))))


def begin_again(logs: ArrayLike, window: int) -> Floats:
    """Logs of products over windows up to this one, of which from here on some more leave out all before it.

    Harm may begin late, and a long clean past must not hide it. So a product begins with each window, the
    first, second, ..., j-th of them with the weight 6 / (pi j)^2; these sum to 1, so that their average is
    evidence. To be called with each window, counted from 1, before its factors are multiplied in.
    """
    summed: Floats = np.logaddexp(np.asarray(logs, dtype=np.float64), math.log(share_of_attempt(1.0, window)))
    return summed


def log_mean_of_begun(logs: Sequence[float] | Floats, weights: Floats, windows: int) -> float:
    """As log_mean, with the products that begin behind so many windows and stand at 1 until then."""
    waiting = float(polygamma(1, windows + 1)) * share_of_attempt(1.0, 1)
    return float(np.logaddexp(log_mean(logs, weights), math.log(waiting)))
