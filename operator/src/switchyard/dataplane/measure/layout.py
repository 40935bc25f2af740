"""What the numbers of one life mean: edges, strata, thresholds and comparators, ready to be looked up."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from switchyard.core.routing.document import Measure, RoutingDocument, Strata
from switchyard.core.routing.samples import name_threshold
from switchyard.dataplane.compare.port import Comparator
from switchyard.dataplane.compare.registry import build_comparators
from switchyard.dataplane.exchange import Answer, Request

BYTES_PER_TOKEN = 4

TimingField = Literal["latency_seconds", "ttft_seconds", "tpot_seconds"]
_FIELDS: Mapping[str, TimingField] = {
    "latency": "latency_seconds",
    "ttft": "ttft_seconds",
    "tpot": "tpot_seconds",
}


@dataclass(frozen=True, slots=True)
class Layout:
    """How requests are sorted. `thresholds`: key of the table, field of the timing, bound in seconds."""

    prompt_edges: tuple[int, ...]
    output_edges: tuple[int, ...]
    latency_edges: tuple[float, ...]
    ttft_edges: tuple[float, ...]
    tpot_edges: tuple[float, ...]
    thresholds: tuple[tuple[str, TimingField, float], ...]
    comparators: Mapping[str, Comparator]

    @property
    def stratum_names(self) -> tuple[str, ...]:
        """The strata by index."""
        return tuple(
            f"p{prompt}o{output}"
            for prompt in range(len(self.prompt_edges) + 1)
            for output in range(len(self.output_edges) + 1)
        )

    def find_stratum(self, request: Request, answer: Answer) -> int:
        """The index of the stratum of a request that was answered so. An edge belongs to the bucket below it.

        The length of an answer whose tokens were not counted is estimated from its bytes.
        """
        output_tokens = answer.timing.output_tokens
        if output_tokens is None:
            output_tokens = answer.body.length // BYTES_PER_TOKEN
        return bisect_left(self.prompt_edges, request.input_tokens) * (
            len(self.output_edges) + 1
        ) + bisect_left(self.output_edges, output_tokens)


def build_layout(document: RoutingDocument) -> Layout:
    """The layout that a document asks for. Raises RoutingDocumentError for comparators that can't be made."""
    measure, strata = document.measure, document.strata
    return Layout(
        prompt_edges=strata.prompt_edges,
        output_edges=strata.output_edges,
        latency_edges=measure.edges("latency"),
        ttft_edges=measure.edges("ttft"),
        tpot_edges=measure.edges("tpot"),
        thresholds=tuple(
            (name_threshold(each.metric, each.seconds), _FIELDS[each.metric], each.seconds)
            for each in measure.thresholds
        ),
        comparators={each.name: each for each in build_comparators(document.comparators)},
    )


def means_the_same(one: RoutingDocument, other: RoutingDocument) -> bool:
    """Whether numbers counted under one document can go on under the other."""
    return _meaning(one) == _meaning(other)


def _meaning(document: RoutingDocument) -> tuple[Strata, Measure, tuple[object, ...]]:
    return document.strata, document.measure, document.comparators
