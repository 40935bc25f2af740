"""How far two classifications agree on their best labels."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from switchyard.dataplane.compare.coding import UnreadableError
from switchyard.dataplane.compare.contents import ContentComparator, Options, Threshold
from switchyard.dataplane.compare.documents import Pointer, find_values, parse_json, split_pointer
from switchyard.dataplane.compare.port import Score
from switchyard.dataplane.compare.rankings import Ranking, count_common, read_ranking
from switchyard.dataplane.compare.vectors import combine

MAX_LABELS = 1 << 15
LIST_POINTERS = ("", "/*")
OBJECT_POINTERS = ("/predictions", "/predictions/*", "/labels", "/scores", "/outputs/0/data")

FieldName = Annotated[str, Field(min_length=1, max_length=128)]


class TopkOptions(Options):
    """What a comparator of labels can be told."""

    threshold: Threshold = 0.8
    k: Annotated[int, Field(ge=1, le=100, description="How many of the best labels count.")] = 5
    pointer: Annotated[
        Pointer | None, Field(description="Where labels or scores are; else the usual places, in turn.")
    ] = None
    by_rank: Annotated[
        bool, Field(description="Mean over every depth from 1 to k, so that the first labels weigh more.")
    ] = False
    tie_tolerance: Annotated[
        float, Field(ge=0, description="Scores that differ by no more from that of the last place are tied.")
    ] = 0.0
    label_field: Annotated[FieldName, Field(description="The member that holds the label.")] = "label"
    score_field: Annotated[FieldName, Field(description="The member that holds the score.")] = "score"
    combine: Annotated[
        Literal["min", "mean"], Field(description="What several lists of an answer score together.")
    ] = "min"


class TopkComparator(ContentComparator[list[Ranking]]):
    """Labels in common among the first k / k, or fewer than k where both lists are shorter.

    By rank: average overlap (Fagin, Kumar and Sivakumar, Comparing top k lists, 2003).
    """

    options_type = TopkOptions

    def __init__(self, name: str, options: TopkOptions) -> None:
        super().__init__(name, options)
        self._options = options

    def read(self, content: bytes, content_type: str) -> list[Ranking]:
        """The rankings in the order of the document."""
        del content_type
        document = parse_json(content)
        usual = LIST_POINTERS if isinstance(document, list) else OBJECT_POINTERS
        for pointer in usual if self._options.pointer is None else (self._options.pointer,):
            found = [self._read_ranking(value) for value in find_values(document, split_pointer(pointer))]
            rankings = [ranking for ranking in found if ranking is not None]
            if rankings and len(rankings) == len(found):
                return rankings
        raise UnreadableError("no labels or scores", is_different=True)

    def _read_ranking(self, value: Any) -> Ranking | None:
        if isinstance(value, list | dict) and len(value) > MAX_LABELS:
            raise UnreadableError(f"more than {MAX_LABELS} labels", is_different=False)
        return read_ranking(value, self._options.label_field, self._options.score_field)

    def score(self, baseline: list[Ranking], candidate: list[Ranking]) -> Score:
        """The least or mean agreement, and how the list with the least one agrees."""
        if len(baseline) != len(candidate):
            return Score(0.0, f"{len(baseline)} and {len(candidate)} lists of labels")
        values = [self._agree(one, other) for one, other in zip(baseline, candidate, strict=True)]
        worst = values.index(min(values))
        found = self._describe(baseline[worst], candidate[worst])
        detail = f"list {worst} of {len(values)} agrees least: {found}"
        return Score(combine(values, self._options.combine), detail)

    def _agree(self, one: Ranking, other: Ranking) -> float:
        deepest = self._find_depth(one, other)
        depths = range(1, deepest + 1) if self._options.by_rank else (deepest,)
        return combine([self._count(one, other, depth) / depth for depth in depths], "mean")

    def _describe(self, one: Ranking, other: Ranking) -> str:
        depth = self._find_depth(one, other)
        first = "" if self._count(one, other, 1) else ", the first is another"
        return f"{self._count(one, other, depth)} of the first {depth} in common{first}"

    def _find_depth(self, one: Ranking, other: Ranking) -> int:
        return min(self._options.k, max(len(one.labels), len(other.labels)))

    def _count(self, one: Ranking, other: Ranking, depth: int) -> int:
        return count_common(one, other, depth, self._options.tie_tolerance)
