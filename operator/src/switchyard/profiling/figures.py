"""The figures of a phase: what callers saw, as percentiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from switchyard.core.placement.latency import Percentiles
from switchyard.profiling.exchange import Answer
from switchyard.profiling.load import Phase


@dataclass(frozen=True, slots=True)
class Figures:
    """One phase in numbers. None: nothing was seen of it."""

    name: str
    callers: int
    rate: float  # requests per second that were answered
    requests: int
    error_ratio: float
    latency: Percentiles | None
    ttft: Percentiles | None
    tpot: Percentiles | None
    stopped: str = ""


def summarise(phase: Phase) -> Figures:
    """The figures of the phase."""
    good = phase.good
    return Figures(
        name=phase.name,
        callers=phase.callers,
        rate=len(good) / phase.seconds if phase.seconds > 0 else 0.0,
        requests=len(phase.answers),
        error_ratio=phase.error_ratio,
        latency=rank([answer.latency_seconds for answer in good]),
        ttft=rank([answer.ttft_seconds for answer in good if answer.ttft_seconds is not None]),
        tpot=rank([gap for answer in good for gap in list_gaps(answer)]),
        stopped=phase.stopped,
    )


def list_gaps(answer: Answer) -> list[float]:
    """Seconds between two tokens of one answer.

    Tokens that came in one packet share its gap, by the server's count of tokens where it gives one.
    """
    times = answer.token_times
    if len(times) < 2:
        return []
    per_packet = max(1.0, (answer.output_tokens or len(times)) / len(times))
    return [(later - earlier) / per_packet for earlier, later in pairwise(times)]


def rank(values: Sequence[float]) -> Percentiles | None:
    """The nearest-rank percentiles of the values; None of none."""
    if not values:
        return None
    ordered = sorted(values)

    def pick(percent: int) -> float:
        return ordered[max(1, -(-len(ordered) * percent // 100)) - 1]

    return Percentiles(pick(50), pick(95), pick(99))
