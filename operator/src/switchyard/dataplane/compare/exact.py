"""Whether two answers are the same bytes."""

from __future__ import annotations

from switchyard.dataplane.compare.coding import name_codings
from switchyard.dataplane.compare.contents import (
    SAME_BYTES,
    ContentComparator,
    has_same_bytes,
    judge_outcomes,
)
from switchyard.dataplane.compare.port import Score
from switchyard.dataplane.exchange import Answer


class ExactComparator(ContentComparator[bytes]):
    """1 for the same status and bytes (after any content coding), else 0.

    Bodies of which only a prefix was kept are told apart by length and digest.
    """

    def compare(self, baseline: Answer, candidate: Answer) -> Score:
        """1 or 0. Never raises."""
        outcome = judge_outcomes(baseline, candidate)
        if outcome is not None:
            return outcome
        if name_codings(baseline) or name_codings(candidate):
            return super().compare(baseline, candidate)
        if has_same_bytes(baseline, candidate):
            return SAME_BYTES
        first, second = baseline.body, candidate.body
        is_whole = first.is_complete and second.is_complete
        is_told = is_whole or first.length != second.length or (first.digest and second.digest)
        if not is_told and first.prefix == second.prefix:
            return Score(0.0, "equal as far as kept, and no digest of the rest", is_comparable=False)
        return _differ(first.prefix, second.prefix, first.length, second.length)

    def read(self, content: bytes, content_type: str) -> bytes:
        """The content itself."""
        del content_type
        return content

    def score(self, baseline: bytes, candidate: bytes) -> Score:
        """1 for the same bytes."""
        if baseline == candidate:
            return SAME_BYTES
        return _differ(baseline, candidate, len(baseline), len(candidate))


def _differ(first: bytes, second: bytes, first_bytes: int, second_bytes: int) -> Score:
    common = count_common_bytes(first, second)
    return Score(0.0, f"first difference at byte {common} of {first_bytes} and {second_bytes}")


def count_common_bytes(first: bytes, second: bytes) -> int:
    """The length of the longest common prefix, found by halving."""
    low, high = 0, min(len(first), len(second))
    while low < high:
        middle = (low + high + 1) // 2
        if first[low:middle] == second[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
