"""When two numbers of two answers count as equal."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field


class Tolerance(BaseModel):
    """Numbers are equal that differ by at most `absolute`, or at most `relative` of the larger one."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    relative: Annotated[float, Field(ge=0, lt=1)] = 0.0
    absolute: Annotated[float, Field(ge=0)] = 0.0


def is_number(value: Any) -> bool:
    """Whether a JSON value is a number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_close(first: float, second: float, tolerance: Tolerance) -> bool:
    """Whether two numbers are equal within the tolerance. NaN equals NaN: both servers gave it."""
    if first == second or (first != first and second != second):  # noqa: PLR0124  only NaN differs from itself
        return True
    if not tolerance.relative and not tolerance.absolute:
        return False  # isclose would round ints beyond 2^53 first
    try:
        return math.isclose(first, second, rel_tol=tolerance.relative, abs_tol=tolerance.absolute)
    except OverflowError:  # an int beyond the range of a double
        return False
