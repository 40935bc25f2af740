"""Vectors of numbers as models' servers write them: lists, or base64 of little-endian 32-bit floats."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from switchyard.dataplane.compare.tolerance import is_number

Vector = npt.NDArray[np.float64]


def read_vector(value: Any) -> Vector | None:
    """The vector in a JSON value, None for any other value. Ints beyond a double become infinite."""
    if isinstance(value, str):
        return _read_base64(value)
    if not isinstance(value, list) or not value or not all(map(is_number, value)):
        return None
    try:
        return np.array(value, dtype=np.float64)
    except OverflowError:
        return np.array([_to_float(number) for number in value], dtype=np.float64)


def _read_base64(text: str) -> Vector | None:
    try:
        packed = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    if not packed or len(packed) % 4:
        return None
    return np.frombuffer(packed, dtype="<f4").astype(np.float64)


def _to_float(number: float) -> float:
    try:
        return float(number)
    except OverflowError:
        return float("inf") if number > 0 else float("-inf")


def measure_cosine(first: Vector, second: Vector) -> float:
    """The cosine of the angle between two vectors, from 0 (at a right angle or beyond) to 1.

    1 for equal vectors whatever they hold, else 0 where one is zero or holds NaN or infinity, or where their
    lengths differ.
    """
    if np.array_equal(first, second, equal_nan=True):
        return 1.0
    if first.shape != second.shape or not (np.isfinite(first).all() and np.isfinite(second).all()):
        return 0.0
    # scaled, so that no square overflows or vanishes
    largest_first, largest_second = np.abs(first).max(), np.abs(second).max()
    if not largest_first or not largest_second:
        return 0.0
    first, second = first / largest_first, second / largest_second
    cosine = float(first @ second / (np.linalg.norm(first) * np.linalg.norm(second)))
    return min(max(cosine, 0.0), 1.0)


def combine(values: Sequence[float], how: str) -> float:
    """The least or the mean of some scores."""
    return min(values) if how == "min" else sum(values) / len(values)
