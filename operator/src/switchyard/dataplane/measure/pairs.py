"""The numbers of pairs, the same request answered by both arms, while they grow and how they are read."""

from __future__ import annotations

import math
from collections.abc import Mapping

from switchyard.core.routing.samples import Comparisons, PairCounts, ScoreCounts, Table
from switchyard.dataplane.compare.port import Comparator, Score, is_mismatch
from switchyard.dataplane.exchange import Answer
from switchyard.dataplane.measure.layout import Layout

_UNJUDGED = Score(0.0, is_comparable=False)
_SLACK = 1e-9  # hundredths: what binary fractions are off by; 0.29 is 29 hundredths and not 28


def round_down(score: float) -> int:
    """The hundredths of a score, the rest cut off."""
    return math.floor(score * 100 + _SLACK)


def round_up(score: float) -> int:
    """The hundredths of a score, the rest filled up."""
    return math.ceil(score * 100 - _SLACK)


class TableCells:
    """McNemar's table of one question."""

    __slots__ = ("_cells",)

    def __init__(self) -> None:
        self._cells = [0, 0, 0, 0]

    def add(self, *, baseline_good: bool, candidate_good: bool) -> None:
        """Count one pair."""
        self._cells[(0 if baseline_good else 2) + (0 if candidate_good else 1)] += 1

    def read(self) -> Table:
        """The table so far."""
        return Table(*self._cells)


class ComparisonCells:
    """The scores of one comparator for one kind of answer."""

    __slots__ = ("_compared", "_incomparable", "_mismatches", "_scores")

    def __init__(self) -> None:
        self._compared = 0
        self._incomparable = 0
        self._mismatches = 0
        self._scores: dict[int, int] = {}

    def add(self, score: Score, hundredths: int, *, is_mismatch: bool) -> None:
        """Count one score."""
        if not score.is_comparable:
            self._incomparable += 1
            return
        self._compared += 1
        self._mismatches += is_mismatch
        self._scores[hundredths] = self._scores.get(hundredths, 0) + 1

    def read(self) -> Comparisons:
        """The counts so far."""
        return Comparisons(self._compared, self._incomparable, self._mismatches, dict(self._scores))


class ScoreCells:
    """What one comparator said."""

    __slots__ = ("_candidate", "_differences", "_matches", "_noise")

    def __init__(self) -> None:
        self._candidate = ComparisonCells()
        self._noise = ComparisonCells()
        self._differences: dict[int, int] = {}
        self._matches = TableCells()

    def add(self, comparator: Comparator, candidate: Score, noise: Score | None) -> None:
        """Count the score of the candidate's answer, and that of the baseline's second answer."""
        differs = is_mismatch(comparator, candidate)
        self._candidate.add(candidate, round_down(candidate.value), is_mismatch=differs)
        if noise is None:
            return
        noise_differs = is_mismatch(comparator, noise)
        self._noise.add(noise, round_up(noise.value), is_mismatch=noise_differs)
        if candidate.is_comparable and noise.is_comparable:
            hundredths = round_up(noise.value - candidate.value)
            self._differences[hundredths] = self._differences.get(hundredths, 0) + 1
            self._matches.add(baseline_good=not noise_differs, candidate_good=not differs)

    def read(self) -> ScoreCounts:
        """The counts so far."""
        return ScoreCounts(
            self._candidate.read(), self._noise.read(), dict(self._differences), self._matches.read()
        )


class PairCells:
    """The pairs of one stratum."""

    __slots__ = ("_failures", "_layout", "_pairs", "_scores", "_thresholds")

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._pairs = 0
        self._failures = TableCells()
        self._thresholds = [TableCells() for _ in layout.thresholds]
        self._scores: dict[str, ScoreCells] = {}

    def add(
        self,
        baseline: Answer,
        candidate: Answer,
        scores: Mapping[str, Score],
        noise: Mapping[str, Score] | None,
    ) -> None:
        """Count one pair.

        Failures have a table of their own and are no scores: against a baseline that failed nothing can be
        said, and a candidate that failed is counted as incomparable.
        """
        self._pairs += 1
        self._failures.add(baseline_good=not baseline.failure, candidate_good=not candidate.failure)
        for table, (_, field, bound_seconds) in zip(self._thresholds, self._layout.thresholds, strict=True):
            baseline_good = _is_within(baseline, field, bound_seconds)
            candidate_good = _is_within(candidate, field, bound_seconds)
            if baseline_good is not None and candidate_good is not None:
                table.add(baseline_good=baseline_good, candidate_good=candidate_good)
        if not baseline.failure:
            for name, score in scores.items():
                judged = _UNJUDGED if candidate.failure else score
                self._add_score(name, judged, None if noise is None else noise.get(name))

    def _add_score(self, name: str, candidate: Score, noise: Score | None) -> None:
        comparator = self._layout.comparators.get(name)
        if comparator is None:
            return  # compared by a document that is no longer in force
        cells = self._scores.get(name)
        if cells is None:
            cells = self._scores[name] = ScoreCells()
        cells.add(comparator, candidate, noise)

    def read(self) -> PairCounts:
        """The counts so far."""
        thresholds = {
            name: table
            for (name, _, _), cells in zip(self._layout.thresholds, self._thresholds, strict=True)
            if (table := cells.read()).pairs
        }
        scores = {name: cells.read() for name, cells in self._scores.items()}
        return PairCounts(self._pairs, self._failures.read(), thresholds, scores)


def _is_within(answer: Answer, field: str, bound_seconds: float) -> bool | None:
    """Whether an answer is good and within the bound. None where it is good and has no such time."""
    if answer.failure:
        return False
    seconds: float | None = getattr(answer.timing, field)
    return None if seconds is None else seconds <= bound_seconds
