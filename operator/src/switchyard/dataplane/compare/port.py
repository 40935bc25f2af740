"""What a comparator is: it takes two answers to one request and returns how alike they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from switchyard.dataplane.exchange import Answer


@dataclass(frozen=True, slots=True)
class Score:
    """How alike two answers are: `value` from 0 to 1, 1 for equal.

    `detail` holds positions, counts and JSON paths, never what a user or a model wrote. `is_comparable`:
    False where the two can't be judged (a body cut off, no vector in either); `value` is then 0, and the pair
    is counted apart, as neither equal nor different.
    """

    value: float
    detail: str = ""
    is_comparable: bool = True


class Comparator(Protocol):
    """Judges pairs of answers. Holds no state between pairs, never raises, works in bounded time and memory.

    `name`: unlike that of any other comparator of a document. `threshold`: a score below it is a mismatch.
    """

    @property
    def name(self) -> str: ...

    @property
    def threshold(self) -> float: ...

    def compare(self, baseline: Answer, candidate: Answer) -> Score:
        """How alike the two answers are."""
        ...


def is_mismatch(comparator: Comparator, score: Score) -> bool:
    """Whether a score says that the two answers differ; one that could not be judged never says so."""
    return score.is_comparable and score.value < comparator.threshold
