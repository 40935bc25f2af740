"""Pairs: who did well, who was in time, and how like the answers were, rounded against the candidate."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.dataplane.measure.exchanges import NOON, answer, ask, make_document, make_measurements

from switchyard.core.routing.samples import Comparisons, PairCounts, Table
from switchyard.dataplane.compare.port import Score
from switchyard.dataplane.measure.pairs import round_down, round_up

GOOD, RESET, LEFT = "", "reset", "cancelled"
INCOMPARABLE = Score(0.0, is_comparable=False)


def record(*pairs, **fields) -> PairCounts:
    """The counts of pairs of (baseline, candidate, scores, noise), all in one stratum."""
    measurements = make_measurements(make_document(**fields))
    for baseline, candidate, *rest in pairs:
        scores, noise = (*rest, None, None)[:2]
        measurements.record_pair("default", ask(), baseline, candidate, scores=scores or {}, noise=noise)
    return measurements.snapshot(NOON).segments["default"].pairs.get("p0o0", PairCounts())


@pytest.mark.parametrize(
    ("baseline", "candidate", "table"),
    [
        (GOOD, GOOD, Table(both_good=1)),
        (GOOD, RESET, Table(baseline_only_good=1)),
        (RESET, GOOD, Table(candidate_only_good=1)),
        (RESET, "status", Table(none_good=1)),
    ],
)
def test_a_pair_is_told_by_which_arm_did_without_failure(baseline, candidate, table):
    counts = record((answer(failure=baseline), answer(failure=candidate)))

    assert counts.failures == table
    assert counts.pairs == 1


@pytest.mark.parametrize(("baseline", "candidate"), [(LEFT, GOOD), (GOOD, LEFT), (LEFT, LEFT), (LEFT, RESET)])
def test_where_either_was_cancelled_there_is_no_pair(baseline, candidate):
    counts = record((answer(failure=baseline), answer(failure=candidate), {"exact": Score(0.0)}))

    assert counts == PairCounts()


THRESHOLDS = {
    "thresholds": [
        {"metric": "latency", "seconds": 0.25},
        {"metric": "ttft", "seconds": 0.1},
        {"metric": "tpot", "seconds": 0.02},
    ]
}


@pytest.mark.parametrize(
    ("baseline", "candidate", "expected"),
    [
        (answer(0.25, 0.1, 0.02), answer(0.25, 0.1, 0.02), ["both_good"] * 3),
        (answer(0.2, 0.1, 0.02), answer(0.26, 0.2, 0.03), ["baseline_only_good"] * 3),
        (answer(9.0, 9.0, 9.0), answer(0.2, 0.1, 0.01), ["candidate_only_good"] * 3),
        (answer(9.0, 9.0, 9.0), answer(9.0, 9.0, 9.0), ["none_good"] * 3),
        (answer(0.2, 0.1, 0.01), answer(0.1, 0.1, 0.01, failure=RESET), ["baseline_only_good"] * 3),
        (answer(0.2, 0.1, None), answer(0.2, None, 0.01), ["both_good", None, None]),
        (answer(0.2, None, None), answer(failure=RESET), ["baseline_only_good", None, None]),
    ],
    ids=[
        "on the bound",
        "slower",
        "quicker",
        "both slow",
        "failed in time",
        "no such time",
        "failed, no such time",
    ],
)
def test_a_threshold_tells_pairs_by_which_arm_was_good_in_time(baseline, candidate, expected):
    counts = record((baseline, candidate), measure=THRESHOLDS)

    for name, result in zip(("latency:0.25", "ttft:0.1", "tpot:0.02"), expected, strict=True):
        assert counts.thresholds.get(name) == (None if result is None else Table(**{result: 1}))


def test_a_pair_belongs_to_the_stratum_of_the_baseline():
    measurements = make_measurements()
    long, short = answer(output_tokens=5000), answer(output_tokens=1)

    measurements.record_pair("default", ask(300), long, short, scores={}, noise=None)

    assert list(measurements.snapshot(NOON).segments["default"].pairs) == ["p1o3"]


def test_scores_are_counted_by_comparator_with_mismatches_below_its_threshold():
    counts = record(
        (answer(), answer(), {"exact": Score(1.0), "text": Score(0.999)}),
        (answer(), answer(), {"exact": Score(0.0), "text": Score(0.1)}),
        (answer(), answer(), {"exact": INCOMPARABLE, "text": INCOMPARABLE}),
        comparators=[{"type": "exact"}, {"type": "text", "options": {"threshold": 0.5}}],
    )

    assert counts.scores["exact"].candidate == Comparisons(2, 1, 1, {100: 1, 0: 1})
    assert counts.scores["text"].candidate == Comparisons(2, 1, 1, {99: 1, 10: 1})
    assert counts.scores["text"].noise == Comparisons()


def test_noise_is_counted_beside_with_differences_and_agreement_of_the_same_requests():
    scores = counts_of_noise(
        (Score(1.0), Score(1.0)),
        (Score(0.0), Score(1.0)),
        (Score(1.0), Score(0.0)),
        (Score(0.0), Score(0.0)),
        (Score(0.0), Score(1.0)),
        (Score(0.0), None),
        (INCOMPARABLE, Score(1.0)),
        (Score(1.0), INCOMPARABLE),
    )

    assert scores.candidate == Comparisons(7, 1, 4, {100: 3, 0: 4})
    assert scores.noise == Comparisons(6, 1, 2, {100: 4, 0: 2})
    assert scores.differences == {0: 2, 100: 2, -100: 1}
    assert scores.matches == Table(both_good=1, baseline_only_good=2, candidate_only_good=1, none_good=1)


def counts_of_noise(*pairs):
    counts = record(
        *(
            (answer(), answer(), {"exact": candidate}, None if noise is None else {"exact": noise})
            for candidate, noise in pairs
        )
    )
    return counts.scores["exact"]


def test_rounding_never_helps_the_candidate():
    scores = counts_of_noise((Score(0.999), Score(0.991)), (Score(0.501), Score(0.899)))

    assert scores.candidate.scores == {99: 1, 50: 1}
    assert scores.noise.scores == {100: 1, 90: 1}
    assert scores.differences == {0: 1, 40: 1}, "-0.008 counts as 0 and 0.398 as 0.40"


@given(st.integers(0, 100), st.integers(0, 100))
def test_whole_hundredths_stay_what_they_are(one, other):
    assert round_down(one / 100) == round_up(one / 100) == one
    assert round_up(one / 100 - other / 100) == one - other


@given(st.floats(0, 1))
def test_a_score_is_rounded_by_less_than_a_hundredth(score):
    slack = Fraction(1, 10**9)

    assert round_down(score) - slack <= Fraction(score) * 100 < round_down(score) + 1
    assert round_up(score) - 1 < Fraction(score) * 100 <= round_up(score) + slack


def test_a_failed_candidate_is_a_failure_and_no_score():
    counts = record((answer(), answer(failure=RESET), {"exact": Score(0.0)}, {"exact": Score(1.0)}))

    assert counts.scores["exact"].candidate == Comparisons(incomparable=1)
    assert counts.scores["exact"].noise == Comparisons(1, 0, 0, {100: 1})
    assert counts.scores["exact"].differences == {}
    assert counts.failures == Table(baseline_only_good=1)


def test_nothing_is_compared_with_a_failed_baseline():
    assert record((answer(failure=RESET), answer(), {"exact": Score(0.0)})).scores == {}


def test_scores_by_a_comparator_that_is_no_longer_in_force_are_left_out():
    assert record((answer(), answer(), {"text": Score(0.5), "exact": Score(1.0)})).scores.keys() == {"exact"}
