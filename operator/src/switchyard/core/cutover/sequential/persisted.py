"""The JSON form of evidence: a list of the fields of a test, in their order."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, fields
from typing import Any, Self

from switchyard.core.errors import EvidenceError

_STEPS_PER_UNIT = 10_000.0


@dataclass(frozen=True, slots=True)
class Persisted:
    """A value of numbers and tuples of numbers that can be written down and read again."""

    def to_json(self) -> str:
        """The value as a short JSON text. Equal values have equal texts."""
        return json.dumps([getattr(self, each.name) for each in fields(self)], separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The value that was written. Raises EvidenceError where no such value can have been."""
        try:
            plain = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise EvidenceError(f"evidence: not JSON: {error}") from None
        names = [each.name for each in fields(cls)]
        if not isinstance(plain, list) or len(plain) != len(names):
            raise EvidenceError(f"evidence: must be a list of {len(names)} values; start the stage again")
        blank = cls()
        for name, value in zip(names, plain, strict=True):
            if not _is_alike(value, getattr(blank, name)):
                raise EvidenceError(f"evidence: {name} cannot be {value!r:.60}; start the stage again")
        return cls(*(tuple(value) if isinstance(value, list) else value for value in plain))


def _is_alike(value: Any, example: Any) -> bool:
    if isinstance(example, tuple):
        return (
            isinstance(value, list)
            and len(value) == len(example)
            and all(_is_alike(one, other) for one, other in zip(value, example, strict=True))
        )
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return False
    return isinstance(value, int) or isinstance(example, float)


def round_down(log_value: float) -> float:
    """The number with four decimals, never above what was given: what is kept is what is written down.

    Rounding down makes evidence weaker by at most 0.0001 per window, and keeps an interrupted run equal to an
    uninterrupted one.
    """
    return math.floor(log_value * _STEPS_PER_UNIT) / _STEPS_PER_UNIT
