"""Labels by score, and how many of the first ones two rankings share."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from switchyard.dataplane.compare.tolerance import is_number

Label = str | int


@dataclass(frozen=True, slots=True)
class Ranking:
    """Labels with their scores, the highest first. NaN ranks last."""

    labels: tuple[Label, ...]
    scores: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class _Top:
    """The first labels of a ranking: those that are `sure`, and `places` for any of those `tied`."""

    sure: frozenset[Label]
    tied: frozenset[Label]
    places: int


def read_ranking(value: Any, label_field: str, score_field: str) -> Ranking | None:
    """The ranking in a JSON value, None for any other value.

    A list of objects with a label and a score each (without scores: in the order given), a list of scores
    (labels are their positions), or an object of scores by label. Of a label given twice the better counts.
    """
    scored: dict[Label, float] = {}
    if isinstance(value, list):
        for position, entry in enumerate(value):
            label: Any = position
            score: Any = entry
            if isinstance(entry, dict):
                label, score = entry.get(label_field), entry.get(score_field, -position)
            if not isinstance(label, str | int) or isinstance(label, bool) or not is_number(score):
                return None
            number = _rank_nan_last(score)
            scored[label] = max(number, scored.get(label, number))
    elif isinstance(value, dict) and all(map(is_number, value.values())):
        scored = {label: _rank_nan_last(score) for label, score in value.items()}
    if not scored:
        return None
    labels = sorted(scored, key=scored.__getitem__, reverse=True)
    return Ranking(tuple(labels), tuple(scored[label] for label in labels))


def _rank_nan_last(score: float) -> float:
    return -math.inf if score != score else score  # noqa: PLR0124  only NaN differs from itself


def count_common(baseline: Ranking, candidate: Ranking, depth: int, tie_tolerance: float) -> int:
    """How many labels both have among their first `depth`.

    Scores that differ by no more than the tolerance from that of the last place are tied for what places are
    left; ties are resolved in favour of agreement, since neither order is wrong.
    """
    first, second = _take_top(baseline, depth, tie_tolerance), _take_top(candidate, depth, tie_tolerance)
    by_second = min(len(first.sure & second.tied), second.places)
    by_first = min(len(first.tied & second.sure), first.places)
    by_both = min(len(first.tied & second.tied), first.places - by_first, second.places - by_second)
    return len(first.sure & second.sure) + by_second + by_first + by_both


def _take_top(ranking: Ranking, depth: int, tie_tolerance: float) -> _Top:
    if depth >= len(ranking.labels):
        return _Top(frozenset(ranking.labels), frozenset(), 0)
    last = ranking.scores[depth - 1]
    start = depth - 1
    while start and _is_tied(ranking.scores[start - 1], last, tie_tolerance):
        start -= 1
    end = depth
    while end < len(ranking.scores) and _is_tied(ranking.scores[end], last, tie_tolerance):
        end += 1
    return _Top(frozenset(ranking.labels[:start]), frozenset(ranking.labels[start:end]), depth - start)


def _is_tied(first: float, second: float, tolerance: float) -> bool:
    return first == second or abs(first - second) <= tolerance
