"""Averages of e-values in log space, and the alternatives that are averaged over."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

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
