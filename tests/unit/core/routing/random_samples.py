"""Readings as routers could make them, for Hypothesis: small, so that keys often meet."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from switchyard.core.routing.samples import (
    ArmSamples,
    Comparisons,
    Counts,
    Histogram,
    PairCounts,
    Samples,
    ScoreCounts,
    SegmentSamples,
    ShadowCounts,
    Table,
)

EDGES = [(0.1, 0.25, 1.0), (0.25, 0.5), (0.1, 0.3)]

counts = st.integers(0, 9)
above_zero = st.integers(1, 9)


def mappings(keys, values):
    return st.dictionaries(st.sampled_from(keys), values, max_size=2)


@st.composite
def histograms(draw, edges=EDGES):
    chosen = draw(st.sampled_from(edges))
    numbers = tuple(draw(st.lists(counts, min_size=len(chosen) + 1, max_size=len(chosen) + 1)))
    return Histogram(chosen, numbers, draw(counts)) if any(numbers) else Histogram()


@st.composite
def arms(draw, edges=EDGES):
    histogram = histograms(edges)
    strata = draw(
        mappings(
            ["p0o0", "p0o1"],
            st.builds(
                Counts,
                above_zero,
                mappings(["reset", "status"], above_zero),
                counts,
                histogram,
                histogram,
                histogram,
            ),
        )
    )
    run = draw(counts)
    return ArmSamples(strata, run, run + draw(counts))


tables = st.builds(Table, counts, counts, counts, counts)
comparisons = st.builds(
    lambda scores, incomparable: Comparisons(sum(scores.values()), incomparable, scores.get(0, 0), scores),
    mappings([0, 99, 100], above_zero),
    counts,
)
scores = st.builds(ScoreCounts, comparisons, comparisons, mappings([-100, 0, 7], above_zero), tables)
pairs = st.builds(
    PairCounts,
    above_zero,
    tables,
    mappings(["latency:0.25"], st.builds(Table, above_zero)),
    mappings(["exact"], scores),
)
shadows = st.builds(ShadowCounts, counts, counts, counts, mappings(["queue", "body"], above_zero))
moments = st.integers(0, 1000).map(
    lambda second: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=second)
)
epochs = st.integers(0, 2**64 - 1).map(lambda number: f"{number:016x}")


def segments(edges=EDGES):
    return st.builds(
        SegmentSamples,
        started=mappings(["baseline", "candidate"], above_zero),
        arms=mappings(["baseline", "candidate"], arms(edges)),
        tunnels=mappings(["baseline"], above_zero),
        shadows=mappings(["candidate", "noise"], arms(edges)),
        shadow=shadows,
        pairs=mappings(["p0o0", "p0o1"], pairs),
    )


def readings(edges=EDGES):
    return st.builds(
        Samples,
        epoch=epochs,
        version=st.none() | counts,
        at=moments,
        segments=mappings(["batch", "default"], segments(edges)),
        refused=mappings([400, 431], above_zero),
    )
