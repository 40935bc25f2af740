"""The numbers of users' requests and of copies while they grow, and how they are read."""

from __future__ import annotations

from bisect import bisect_left

from switchyard.core.routing.samples import ArmSamples, Counts, Histogram
from switchyard.dataplane.exchange import Answer
from switchyard.dataplane.measure.layout import Layout


class HistogramCells:
    """One histogram."""

    __slots__ = ("_counts", "_edges", "_sum_microseconds")

    def __init__(self, edges: tuple[float, ...]) -> None:
        self._edges = edges
        self._counts = [0] * (len(edges) + 1)
        self._sum_microseconds = 0

    def add(self, seconds: float) -> None:
        """Count one value."""
        self._counts[bisect_left(self._edges, seconds)] += 1
        self._sum_microseconds += int(seconds * 1e6 + 0.5)

    def read(self) -> Histogram:
        """The histogram so far."""
        if not any(self._counts):
            return Histogram()
        return Histogram(self._edges, tuple(self._counts), self._sum_microseconds)


class StratumCells:
    """One arm's requests of one stratum."""

    __slots__ = ("_cancelled", "_failures", "_latency", "_requests", "_tpot", "_ttft")

    def __init__(self, layout: Layout) -> None:
        self._requests = 0
        self._cancelled = 0
        self._failures: dict[str, int] = {}
        self._latency = HistogramCells(layout.latency_edges)
        self._ttft = HistogramCells(layout.ttft_edges)
        self._tpot = HistogramCells(layout.tpot_edges)

    def add(self, answer: Answer) -> None:
        """Count one request that has ended."""
        failure = answer.failure
        if failure:
            if failure == "cancelled":
                self._cancelled += 1
            else:
                self._requests += 1
                self._failures[failure] = self._failures.get(failure, 0) + 1
            return
        self._requests += 1
        timing = answer.timing
        self._latency.add(timing.latency_seconds)
        if timing.ttft_seconds is not None:
            self._ttft.add(timing.ttft_seconds)
        if timing.tpot_seconds is not None:
            self._tpot.add(timing.tpot_seconds)

    def read(self) -> Counts:
        """The counts so far."""
        return Counts(
            self._requests,
            dict(self._failures),
            self._cancelled,
            self._latency.read(),
            self._ttft.read(),
            self._tpot.read(),
        )


class ArmCells:
    """One arm's requests. A request that its caller left ends no run of failures and lengthens none."""

    __slots__ = ("_failure_run", "_layout", "_longest_failure_run", "_strata")

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._strata: list[StratumCells | None] = [None] * len(layout.stratum_names)
        self._failure_run = 0
        self._longest_failure_run = 0

    def add(self, stratum: int, answer: Answer) -> None:
        """Count one request that has ended."""
        cells = self._strata[stratum]
        if cells is None:
            cells = self._strata[stratum] = StratumCells(self._layout)
        cells.add(answer)
        if not answer.failure:
            self._failure_run = 0
        elif answer.failure != "cancelled":
            self._failure_run += 1
            self._longest_failure_run = max(self._longest_failure_run, self._failure_run)

    def read(self) -> ArmSamples:
        """The samples so far."""
        strata = {
            name: cells.read()
            for name, cells in zip(self._layout.stratum_names, self._strata, strict=True)
            if cells is not None
        }
        return ArmSamples(strata, self._failure_run, self._longest_failure_run)
