"""How close the vectors of two answers point."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from switchyard.dataplane.compare.coding import UnreadableError
from switchyard.dataplane.compare.contents import ContentComparator, Options, Threshold
from switchyard.dataplane.compare.documents import Pointer, find_values, parse_json, split_pointer
from switchyard.dataplane.compare.port import Score
from switchyard.dataplane.compare.vectors import Vector, combine, measure_cosine, read_vector

DEFAULT_POINTERS = ("/data/*/embedding", "/embedding", "/embeddings/*")
NO_VECTOR: Vector = np.empty(0)  # where a vector should be


class EmbeddingOptions(Options):
    """What a comparator of embeddings can be told."""

    threshold: Threshold = 0.99
    pointer: Annotated[
        Pointer | None,
        Field(description="Where vectors are; else /data/*/embedding, /embedding or /embeddings/*."),
    ] = None
    combine: Annotated[
        Literal["min", "mean"], Field(description="What several vectors of an answer score together.")
    ] = "min"


class EmbeddingComparator(ContentComparator[list[Vector]]):
    """The cosine of the vectors at a place, one by one in order. Angles of 90 degrees and more score 0.

    A vector that is zero or holds NaN or infinity scores 0 against any but an equal one, as do vectors of
    different lengths. Answers with different counts of vectors score 0.
    """

    options_type = EmbeddingOptions

    def __init__(self, name: str, options: EmbeddingOptions) -> None:
        super().__init__(name, options)
        pointers = DEFAULT_POINTERS if options.pointer is None else (options.pointer,)
        self._pointers = tuple(map(split_pointer, pointers))
        self._combine = options.combine

    def read(self, content: bytes, content_type: str) -> list[Vector]:
        """The vectors in the order of the document."""
        del content_type
        document = parse_json(content)
        for pointer in self._pointers:
            found = [read_vector(value) for value in find_values(document, pointer)]
            if any(vector is not None for vector in found):
                return [NO_VECTOR if vector is None else vector for vector in found]
        raise UnreadableError("no vector", is_different=True)

    def score(self, baseline: list[Vector], candidate: list[Vector]) -> Score:
        """The least or mean cosine, and which vector has the least."""
        if len(baseline) != len(candidate):
            return Score(0.0, f"{len(baseline)} and {len(candidate)} vectors")
        cosines = [measure_cosine(one, other) for one, other in zip(baseline, candidate, strict=True)]
        worst = cosines.index(min(cosines))
        lengths = len(baseline[worst]), len(candidate[worst])
        detail = f"vector {worst} of {len(cosines)} has the least cosine: {cosines[worst]:.6f}"
        if lengths[0] != lengths[1]:
            detail = f"vector {worst} has {lengths[0]} and {lengths[1]} elements"
        return Score(combine(cosines, self._combine), detail)
