"""What all comparators share: failures and statuses are judged, then both bodies are read and scored."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from switchyard.dataplane.compare.coding import UnreadableError, name_codings, read_content
from switchyard.dataplane.compare.port import Score
from switchyard.dataplane.exchange import Answer

Reading = TypeVar("Reading")
Ratio = Annotated[float, Field(ge=0, le=1)]
Threshold = Annotated[Ratio, Field(description="A score below it is a mismatch.")]

SAME_BYTES = Score(1.0, "same bytes")


class Options(BaseModel):
    """What every comparator can be told."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=False,
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
    )

    threshold: Threshold = 1.0


def judge_outcomes(baseline: Answer, candidate: Answer) -> Score | None:
    """The score of two answers that need not be read, None for two good answers with the same status."""
    if "cancelled" in {baseline.failure, candidate.failure}:
        return Score(0.0, "the caller went away", is_comparable=False)
    if baseline.failure and candidate.failure:
        return Score(0.0, f"both failed: {baseline.failure} and {candidate.failure}", is_comparable=False)
    if baseline.failure or candidate.failure:
        side, failure = (
            ("baseline", baseline.failure) if baseline.failure else ("candidate", candidate.failure)
        )
        return Score(0.0, f"{side} failed: {failure}")
    if baseline.status != candidate.status:
        return Score(0.0, f"status {baseline.status} and {candidate.status}")
    return None


def has_same_bytes(baseline: Answer, candidate: Answer) -> bool:
    """Whether both bodies hold the same bytes in the same coding, told by digest where not all was kept."""
    first, second = baseline.body, candidate.body
    if first.length != second.length or name_codings(baseline) != name_codings(candidate):
        return False
    if first.is_complete and second.is_complete:
        return first.prefix == second.prefix
    return bool(first.digest) and first.digest == second.digest


class ContentComparator(ABC, Generic[Reading]):
    """A comparator that reads each body by itself and scores the two readings."""

    options_type: ClassVar[type[Options]] = Options

    def __init__(self, name: str, options: Options) -> None:
        self.name = name
        self.threshold = options.threshold

    def compare(self, baseline: Answer, candidate: Answer) -> Score:
        """How alike the two answers are. Never raises."""
        score = judge_outcomes(baseline, candidate)
        if score is not None:
            return score
        if has_same_bytes(baseline, candidate):
            return SAME_BYTES
        first, second = self._try_read(baseline), self._try_read(candidate)
        if isinstance(first, UnreadableError):
            is_known = first.is_different and not isinstance(second, UnreadableError)
            return Score(0.0, f"baseline: {first.reason}", is_comparable=is_known)
        if isinstance(second, UnreadableError):
            return Score(0.0, f"candidate: {second.reason}", is_comparable=second.is_different)
        try:
            return self.score(first, second)
        except UnreadableError as error:
            return Score(0.0, error.reason, is_comparable=False)

    def _try_read(self, answer: Answer) -> Reading | UnreadableError:
        try:
            return self.read(read_content(answer), answer.headers.get("content-type", ""))
        except UnreadableError as error:
            return error

    @abstractmethod
    def read(self, content: bytes, content_type: str) -> Reading:
        """What is to be compared of a body. Raises UnreadableError where it holds nothing of the kind."""

    @abstractmethod
    def score(self, baseline: Reading, candidate: Reading) -> Score:
        """How alike two readings are. Raises UnreadableError where that costs too much to tell."""
