"""Rates over processes that restart, come and go."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchyard.catalog.signal_presets import Term
from switchyard.engine.counters import Timeline, find_increases

TERMS = (
    Term("requests.0", "counter", ("finished",)),
    Term("stock.0", "stock", ("running",)),
    Term("running", "gauge", ("running",)),
)


@pytest.mark.parametrize(
    ("before", "after", "grown", "restarted"),
    [
        ({"requests.0": 5}, {"requests.0": 9}, {"requests.0": 4}, False),
        ({"requests.0": 9}, {"requests.0": 2}, {"requests.0": 2}, True),
        ({}, {"requests.0": 7}, {"requests.0": 7}, False),
        (
            {"requests.0": 5, "stock.0": 3},
            {"requests.0": 5, "stock.0": 1},
            {"requests.0": 0, "stock.0": -2},
            False,
        ),
        (
            {"requests.0": 5, "stock.0": 3},
            {"requests.0": 1, "stock.0": 2},
            {"requests.0": 1, "stock.0": 2},
            True,
        ),
        ({"requests.0": 5}, {"requests.0": 6, "running": 4}, {"requests.0": 1}, False),
    ],
    ids=["grew", "restarted", "first seen", "stock shrank", "restarted with stock", "a gauge is no growth"],
)
def test_growth_between_two_looks(
    before: dict[str, float], after: dict[str, float], grown: dict[str, float], *, restarted: bool
) -> None:
    assert find_increases(TERMS, before, after) == (grown, restarted)


def test_a_rate_needs_two_moments() -> None:
    timeline = Timeline(60)
    assert timeline.rates() == {}
    timeline.advance(100, {"x": 0})
    assert timeline.rates() == {}
    timeline.advance(110, {"x": 20})
    assert timeline.rates() == {"x": 2.0}


def test_what_left_the_window_counts_no_more() -> None:
    timeline = Timeline(60)
    timeline.advance(0, {"x": 0})
    timeline.advance(10, {"x": 1000})
    for second in range(20, 140, 10):
        timeline.advance(second, {"x": 10})
    assert timeline.rates()["x"] == pytest.approx(1.0)


@given(
    st.lists(st.tuples(st.floats(0.5, 30), st.floats(0, 500)), min_size=2, max_size=200),
    st.sampled_from([60.0, 300.0, 3600.0]),
)
def test_the_thinned_rate_is_the_exact_one_but_for_a_slice_at_the_edge(
    steps: list[tuple[float, float]], window: float
) -> None:
    timeline, at, moments = Timeline(window), 0.0, [(0.0, 0.0)]
    timeline.advance(0.0, {"x": 0.0})
    for pause, grown in steps:
        at += pause
        timeline.advance(at, {"x": grown})
        moments.append((at, moments[-1][1] + grown))
    start = max(0.0, at - window)
    # all growth that can lie in the part of the window that thinning blurs
    blur = window / 32 + 60
    inside = [grown for (t, _), (_, grown) in zip(moments[1:], steps, strict=True) if t > start + blur]
    around = [grown for (t, _), (_, grown) in zip(moments[1:], steps, strict=True) if t > start - blur]
    rate = timeline.rates()["x"]
    assert sum(inside) / (at - start) - 1e-6 <= rate <= sum(around) / (at - start) + 1e-6


@given(st.lists(st.floats(0.1, 5), min_size=300, max_size=400))
def test_a_window_is_kept_in_bounded_memory(pauses: list[float]) -> None:
    timeline, at = Timeline(60.0), 0.0
    for pause in pauses:
        at += pause
        timeline.advance(at, {"x": 1.0})
    assert len(timeline._moments) <= 36
