"""Nonnegative parameters of a linear law of time, from rows that may be noisy, few, and partly wrong.

The law is `seconds = coefficients x parameters`. Errors are taken as relative: each row is divided by what
the fit says of it, so that a slow window weighs no more than a quick one.

Steps: columns that the data can't tell apart stay at their prior value (condition number of the columns at
unit length: Belsley, Kuh and Welsch, "Regression Diagnostics", 1980, where 30 marks strong collinearity).
The others are fitted by nonnegative least squares on the data stacked with prior rows, a ridge around the
prior (Lawson and Hanson, "Solving Least Squares Problems", chapter 23), first with Huber weights. Then rows
whose normalised innovation squared exceeds the gate leave, and the rest is fitted again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

CONDITION_LIMIT = 30.0
INNOVATION_GATE = 7.378  # of e^2 / variance; a sound row passes in 99.3 of 100 cases
LEAST_NOISE_RATIO = 0.03  # no engine keeps a linear law more closely, and a slow drift must not be gated out
_HUBER = 1.345  # 95 percent as efficient as least squares on clean data
_ROUNDS = 12
_MAD_TO_DEVIATION = 1.4826  # of a normal distribution


@dataclass(frozen=True, slots=True)
class Rows:
    """The data: one row of coefficients and seconds for each observation."""

    coefficients: Array  # rows x parameters
    seconds: Array
    weights: Array
    looseness: Array  # how many times noisier than the best rows

    def pick(self, mask: Mask) -> Rows:
        """The rows for which the mask holds."""
        return Rows(self.coefficients[mask], self.seconds[mask], self.weights[mask], self.looseness[mask])


@dataclass(frozen=True, slots=True)
class Prior:
    """What is believed before the data, and how many rows it counts as."""

    parameters: tuple[float, ...]
    rows: float


@dataclass(frozen=True, slots=True)
class Fit:
    """The parameters, and what is known of how well they hold."""

    parameters: tuple[float, ...]
    is_free: tuple[bool, ...]  # False: the data can't tell this parameter, it is the prior's
    is_accepted: Mask  # of each row: it passed the gate
    residual_ratios: Array  # (seen - fitted) / fitted, of each row
    noise_ratio: float  # standard deviation of the accepted residuals

    def predict_seconds(self, coefficients: Array) -> Array:
        """What the law says of these rows."""
        return np.asarray(coefficients @ np.asarray(self.parameters))


def choose_free(coefficients: Array, order: tuple[int, ...]) -> tuple[bool, ...]:
    """Which columns the rows can tell apart, taken in this order as long as the condition number allows."""
    lengths = np.linalg.norm(coefficients, axis=0)
    chosen: list[int] = []
    for column in order:
        if not 0 < lengths[column] < np.inf:  # an overflow tells nothing apart
            continue
        trial = [*chosen, column]
        unit = coefficients[:, trial] / lengths[trial]
        singular = np.linalg.svd(unit, compute_uv=False)
        if len(unit) >= len(trial) and singular[-1] * CONDITION_LIMIT >= singular[0]:
            chosen.append(column)
    return tuple(column in chosen for column in range(coefficients.shape[1]))


def fit_rows(
    rows: Rows, prior: Prior | None, order: tuple[int, ...], *, gate: float = INNOVATION_GATE
) -> Fit:
    """The fit of these rows; of permuted rows the same up to rounding.

    `order`: the columns by importance. A column that is told by nothing, without a prior, gets 0.
    """
    prior = prior or Prior((0.0,) * rows.coefficients.shape[1], 0.0)
    scale = rows.seconds * rows.looseness
    robust = np.ones(len(scale))
    is_free = choose_free(rows.coefficients / scale[:, None], order)
    for _ in range(_ROUNDS):
        parameters, _ = _solve(rows, scale, rows.weights * robust, prior, is_free)
        scale, ratios = _compare(rows, parameters)
        noise = _spread(ratios, rows.weights)
        robust = np.minimum(1.0, _HUBER * noise / np.maximum(np.abs(ratios), 1e-12))
    accepted = ratios**2 <= gate * noise**2
    for _ in range(_ROUNDS):
        is_free = choose_free(rows.coefficients[accepted] / scale[accepted, None], order)
        parameters, leverage = _solve(rows, scale, rows.weights * accepted, prior, is_free)
        scale, ratios = _compare(rows, parameters)
        noise = _spread(ratios[accepted], rows.weights[accepted])
        # A fit of the others alone would miss an accepted row by e / (1 - h), with variance s^2 / (1 - h).
        # A rejected row is outside of the fit already: it is missed by e, with variance s^2 (1 + h).
        others = np.maximum(1e-6, 1 - leverage)
        innovation = np.where(accepted, ratios**2 / others, ratios**2 / (1 + leverage))
        passed = innovation <= gate * noise**2
        if (passed == accepted).all():
            break
        accepted = passed
    return Fit(tuple(map(float, parameters)), is_free, accepted, ratios * rows.looseness, noise)


def _compare(rows: Rows, parameters: Array) -> tuple[Array, Array]:
    """What the law says of the rows as a scale for their errors, and their errors on it."""
    fitted = np.maximum(rows.coefficients @ parameters, 1e-12)
    scale = fitted * rows.looseness
    return scale, (rows.seconds - fitted) / scale


def _solve(
    rows: Rows, scale: Array, weights: Array, prior: Prior, is_free: tuple[bool, ...]
) -> tuple[Array, Array]:
    """The parameters, and the leverage of each row."""
    free = np.asarray(is_free)
    believed = np.asarray(prior.parameters, dtype=np.float64)
    design = rows.coefficients / scale[:, None]
    rest = rows.seconds / scale - design[:, ~free] @ believed[~free]
    root = np.sqrt(weights)
    stacked, target = design[:, free] * root[:, None], rest * root
    if prior.rows > 0 and free.any():
        lengths = np.sqrt(np.average(design[:, free] ** 2, axis=0))
        ridge = np.diag(np.sqrt(prior.rows) * lengths)
        stacked = np.vstack([stacked, ridge])
        target = np.concatenate([target, ridge @ believed[free]])
    parameters = believed.copy()
    if not free.any():
        return parameters, np.zeros(len(scale))
    units = np.maximum(np.linalg.norm(stacked, axis=0), 1e-300)  # columns differ by five decades
    parameters[free] = nnls(stacked / units, target)[0] / units
    inverse = np.linalg.pinv((stacked / units).T @ (stacked / units))
    scaled = design[:, free] / units
    leverage = np.einsum("ij,jk,ik->i", scaled, inverse, scaled) * weights
    return parameters, np.minimum(leverage, 1.0)


def _spread(ratios: Array, weights: Array) -> float:
    """The standard deviation of the bulk, from the weighted median of the absolute residuals."""
    if not len(ratios):
        return LEAST_NOISE_RATIO
    order = np.argsort(np.abs(ratios), kind="stable")
    reached = np.cumsum(weights[order])
    median = np.abs(ratios)[order][np.searchsorted(reached, reached[-1] / 2)]
    return max(LEAST_NOISE_RATIO, float(median) * _MAD_TO_DEVIATION)
