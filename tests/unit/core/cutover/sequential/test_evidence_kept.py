"""What holds for every test: interrupted or not, in any order, with windows seen twice."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.core.cutover.sequential import cases

from switchyard.core.cutover.sequential.betting import BettingTest
from switchyard.core.cutover.sequential.bound import BoundTest
from switchyard.core.cutover.sequential.difference import DifferenceTest
from switchyard.core.cutover.sequential.hard_stop import HardStop
from switchyard.core.cutover.sequential.paired import PairedTest
from switchyard.core.cutover.sequential.ratio import ContrastWindow, RatioTest
from switchyard.core.cutover.sequential.sample_ratio import SampleRatioTest
from switchyard.core.cutover.sequential.self_normalised import SelfNormalisedTest
from switchyard.core.errors import EvidenceError

KINDS = {
    "ratio": (RatioTest(1.5), cases.contrast_windows),
    "difference": (DifferenceTest(0.01), cases.contrast_windows),
    "self-normalised, absolute": (SelfNormalisedTest(1.5, 0.01), cases.contrast_windows),
    "self-normalised": (SelfNormalisedTest(1.5), cases.contrast_windows),
    "paired": (PairedTest(1.5), cases.pair_windows),
    "betting": (BettingTest(0.02), cases.score_windows),
    "bound": (BoundTest(0.02), cases.bound_windows),
    "shares": (SampleRatioTest(), cases.share_windows),
    "hard stop": (HardStop(), cases.failure_windows),
}
LATE = {
    "ratio": (RatioTest(1.5), lambda index, bad: ContrastWindow(index, (cases.Contrast(500, 10, 500, bad),))),
    "difference": (
        DifferenceTest(0.01),
        lambda index, bad: ContrastWindow(index, (cases.Contrast(500, 10, 500, bad),)),
    ),
    "self-normalised": (
        SelfNormalisedTest(1.5),
        lambda index, bad: ContrastWindow(index, (cases.Contrast(500, 10, 500, bad),)),
    ),
    "bound": (BoundTest(0.03), lambda index, bad: (index, 500, bad)),
}
TWO_SIDED = ["ratio", "difference", "self-normalised", "paired", "betting"]


def update(test, window):
    return test.update(*window) if isinstance(window, tuple) else test.update(window)


def run(test, windows):
    for window in windows:
        test = update(test, window)
    return test


def draw_windows(data, make, most=6):
    return [data.draw(make(index)) for index in range(data.draw(st.integers(1, most)))]


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=20)
@given(data=st.data())
def test_an_interrupted_run_ends_like_an_uninterrupted_one(kind, data):
    blank, make = KINDS[kind]
    windows = draw_windows(data, make)
    broken = blank
    for window in windows:
        broken = type(blank).from_json(update(broken, window).to_json())
    assert broken == run(blank, windows)


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=20)
@given(data=st.data())
def test_no_window_counts_twice(kind, data):
    blank, make = KINDS[kind]
    windows = draw_windows(data, make)
    once = run(blank, windows)
    again = data.draw(st.sampled_from(windows))
    assert update(once, again) is once


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=20)
@given(data=st.data())
def test_evidence_is_a_finite_number_in_a_short_text(kind, data):
    blank, make = KINDS[kind]
    test = run(blank, draw_windows(data, make))
    assert len(test.to_json()) <= 450
    for name in ("harm_log_e", "safe_log_e", "log_e"):
        assert math.isfinite(getattr(test, name, 0.0))


@pytest.mark.parametrize("name", TWO_SIDED)
def test_nothing_seen_is_no_evidence(name):
    blank, _ = KINDS[name]
    assert blank.harm_log_e == pytest.approx(0.0)
    assert blank.safe_log_e == pytest.approx(0.0)


@pytest.mark.parametrize("kind", LATE)
@pytest.mark.parametrize("clean", [10, 500])
def test_a_long_clean_past_hides_no_harm(kind, clean):
    """A window weighs log 2 at most with the guard; to begin with the j-th costs 2 log j."""
    blank, make = LATE[kind]
    test = run(blank, [make(index, 3) for index in range(clean)])
    assert test.harm_log_e < 0.0
    windows = 0
    while test.harm_log_e < math.log(1000):
        test, windows = update(test, make(clean + windows, 50)), windows + 1
    assert windows <= 3 + math.ceil(math.log2(1000) + 2 * math.log2(clean))


@settings(deadline=None, max_examples=20)
@given(st.lists(cases.contrasts(), min_size=2, max_size=4))
def test_strata_of_one_window_weigh_like_windows_of_their_own(strata):
    together = RatioTest(1.5).update(ContrastWindow(0, tuple(strata)))
    apart = run(RatioTest(1.5), [ContrastWindow(index, (each,)) for index, each in enumerate(strata)])
    assert together.safe_logs == pytest.approx(apart.safe_logs, abs=0.001)


@settings(deadline=None, max_examples=20)
@given(cases.contrasts(), st.randoms())
def test_the_order_of_windows_does_not_matter_for_safety(contrast, random):
    windows = [contrast, cases.Contrast(100, 3, 100, 9), cases.Contrast(50, 1, 200, 2)]
    shuffled = random.sample(windows, len(windows))
    one, other = (
        run(RatioTest(), [ContrastWindow(index, (each,)) for index, each in enumerate(order)])
        for order in (windows, shuffled)
    )
    assert one.safe_logs == pytest.approx(other.safe_logs, abs=0.001)


@settings(deadline=None)
@given(cases.contrasts())
def test_evidence_for_one_side_of_the_same_windows_is_never_evidence_for_both(contrast):
    test = run(RatioTest(1.5), [ContrastWindow(index, (contrast,)) for index in range(5)])
    assert min(test.harm_log_e, test.safe_log_e) <= 0.0


def test_evidence_of_a_million_requests_per_window_for_a_week_fits():
    window = (cases.Contrast(1_000_000, 20_000, 1_000_000, 19_000),)
    test = RatioTest(1.5)
    for index in range(20):
        test = test.update(ContrastWindow(index * 1_000, window))
    assert math.isfinite(test.harm_log_e)
    assert math.isfinite(test.safe_log_e)
    assert len(test.to_json()) <= 450


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("{}", "must be a list of 5 values"),
        ("[1.5]", "must be a list of 5 values"),
        ('[1.5,"x",0,0,0]', "last_index cannot be 'x'"),
        ("[1.5,0.5,0,0,0]", "last_index cannot be 0.5"),
        ("[NaN,0,0,0,0]", "margin cannot be nan"),
        ("[1.5,true,0,0,0]", "last_index cannot be True"),
    ],
)
def test_text_that_no_test_has_written_is_refused_by_name(text, said):
    with pytest.raises(EvidenceError, match=said):
        PairedTest.from_json(text)


def test_a_list_of_another_length_is_refused():
    with pytest.raises(EvidenceError, match="harm_logs cannot be"):
        RatioTest.from_json("[1.5,0,1,[0.0],[0.0]]")
