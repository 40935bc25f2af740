"""Readings add up in any order, make windows of one life only, and are read as they were written."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.unit.core.routing.random_samples import EDGES, epochs, readings

from switchyard.core.errors import SamplesError
from switchyard.core.routing.samples import (
    ArmSamples,
    Counts,
    Histogram,
    PairCounts,
    Samples,
    SegmentSamples,
    ShadowCounts,
    Table,
    add_samples,
    name_threshold,
    parse_samples,
    subtract_samples,
)

few = settings(max_examples=40)  # readings are large to draw
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
EPOCH = "00000000000000aa"


def reading(**segment) -> Samples:
    return Samples(EPOCH, 1, NOON, {"default": SegmentSamples(**segment)})


def arm(requests=1, *, run=0, longest=0, **counts) -> dict[str, ArmSamples]:
    return {"candidate": ArmSamples({"p0o0": Counts(requests, **counts)}, run, longest)}


# -- adding --------------------------------------------------------------------------------------


@few
@given(readings(), readings(), readings())
def test_readings_add_up_in_any_order_and_grouping(one, two, three):
    assert add_samples(one, two) == add_samples(two, one)
    assert add_samples(add_samples(one, two), three) == add_samples(one, add_samples(two, three))


@few
@given(readings())
def test_an_empty_reading_changes_nothing(one):
    assert add_samples(one, Samples()) == one
    assert add_samples(Samples(), one) == one


@given(epochs, epochs)
@example("0000000000000001", "1000000000000001")
@example("00000000000000aa", "00000000000000aa")
def test_a_sum_has_another_epoch_as_soon_as_one_of_its_lives_is_another(first, epoch):
    one, again, other = Samples(first), Samples(epoch), Samples("00000000000000bb")

    assert (add_samples(one, other).epoch == add_samples(again, other).epoch) == (epoch == one.epoch)


def test_a_sum_counts_all_and_says_the_oldest_of_its_times_and_versions():
    early = replace(reading(arms=arm(3), started={"candidate": 4}), at=NOON.replace(hour=11), version=7)
    late = replace(reading(arms=arm(2), shadow=ShadowCounts(dropped={"queue": 1})), version=8)

    both = add_samples(early, late)

    assert both.segments["default"].arms["candidate"].strata["p0o0"].requests == 5
    assert both.segments["default"].started == {"candidate": 4}
    assert both.segments["default"].shadow.dropped == {"queue": 1}
    assert (both.version, both.at) == (7, NOON.replace(hour=11))


def test_of_several_workers_the_longest_run_of_failures_stands():
    both = add_samples(reading(arms=arm(run=2, longest=9)), reading(arms=arm(run=5, longest=5)))

    assert both.segments["default"].arms["candidate"].failure_run == 5
    assert both.segments["default"].arms["candidate"].longest_failure_run == 9


def test_histograms_with_other_edges_keep_the_edges_that_both_have():
    one = Histogram((0.1, 0.25, 1.0), (1, 2, 3, 4), 100)
    other = Histogram((0.25, 0.5), (10, 20, 30), 1000)

    both = one.plus(other)

    assert both == Histogram((0.25,), (13, 57), 1100)


@given(
    st.lists(st.floats(0.0, 2.0), max_size=30),
    st.lists(st.floats(0.0, 2.0), max_size=30),
    st.sampled_from(EDGES),
    st.sampled_from(EDGES),
)
def test_a_shared_edge_counts_what_was_within_it_on_both_sides(values, other_values, edges, other_edges):
    both = sort_into(values, edges).plus(sort_into(other_values, other_edges))

    assert both.total == len(values) + len(other_values)
    for edge in both.edges:
        assert both.count_within(edge) == sum(value <= edge for value in [*values, *other_values])


def sort_into(values: list[float], edges: tuple[float, ...]) -> Histogram:
    if not values:
        return Histogram()
    # numpy's buckets are [low, high), ours (low, high]: turned round they are the same
    counts, _ = np.histogram(-np.array(values), bins=[-np.inf, *(-edge for edge in reversed(edges)), np.inf])
    return Histogram(edges, tuple(int(count) for count in reversed(counts)))


def test_a_bound_that_is_no_edge_is_refused_and_not_guessed():
    histogram = Histogram((0.1, 0.25), (1, 2, 3), 0)

    assert histogram.count_within(0.25) == 3
    with pytest.raises(KeyError):
        histogram.count_within(0.2)
    assert Histogram().count_within(0.2) == 0


# -- windows -------------------------------------------------------------------------------------


def without_runs(samples: Samples) -> Samples:
    def clear(arms):
        return {name: ArmSamples(each.strata) for name, each in arms.items() if each.strata}

    segments = {
        name: replace(each, arms=clear(each.arms), shadows=clear(each.shadows))
        for name, each in samples.segments.items()
    }
    empty = SegmentSamples()
    return replace(samples, segments={name: each for name, each in segments.items() if each != empty})


@few
@given(readings(EDGES[:1]), readings(EDGES[:1]))
def test_a_window_holds_just_what_came_since_the_earlier_reading(earlier, since):
    earlier, since = without_runs(earlier), without_runs(since)
    later = replace(add_samples(earlier, since), epoch=earlier.epoch, version=since.version, at=since.at)

    assert subtract_samples(later, earlier) == replace(since, epoch=earlier.epoch)


@few
@given(readings())
def test_a_window_in_which_nothing_came_is_empty(one):
    window = subtract_samples(one, one)

    assert window is not None
    assert without_runs(window).segments == {}
    assert window.refused == {}


@given(epochs, epochs)
@example("00000000000000aa", "00000000000000aa")
def test_no_window_spans_two_lives(first, second):
    one = replace(reading(arms=arm(3)), epoch=first)

    assert (subtract_samples(replace(one, epoch=second), one) is None) == (second != first)


FALLEN = {
    "requests": (reading(arms=arm(3)), reading(arms=arm(2))),
    "a class of failures": (
        reading(arms=arm(5, failures={"reset": 2})),
        reading(arms=arm(9, failures={"status": 9})),
    ),
    "cancelled": (reading(arms=arm(cancelled=2)), reading(arms=arm(cancelled=1))),
    "a bucket": (
        reading(arms=arm(3, latency=Histogram((1.0,), (2, 1), 9))),
        reading(arms=arm(9, latency=Histogram((1.0,), (1, 8), 9))),
    ),
    "a sum": (
        reading(arms=arm(3, latency=Histogram((1.0,), (2, 1), 9))),
        reading(arms=arm(9, latency=Histogram((1.0,), (2, 7), 8))),
    ),
    "a histogram": (reading(arms=arm(3, ttft=Histogram((1.0,), (2, 1), 9))), reading(arms=arm(9))),
    "the edges": (
        reading(arms=arm(3, tpot=Histogram((1.0,), (2, 1), 9))),
        reading(arms=arm(3, tpot=Histogram((2.0,), (2, 1), 9))),
    ),
    "the longest run": (reading(arms=arm(run=0, longest=3)), reading(arms=arm(run=2, longest=2))),
    "a stratum": (reading(arms=arm(3)), reading(arms={"candidate": ArmSamples({"p1o1": Counts(9)})})),
    "an arm": (reading(arms=arm(3)), reading()),
    "a segment": (reading(arms=arm(3)), Samples(EPOCH, 1, NOON)),
    "started": (reading(started={"baseline": 2}), reading(started={"baseline": 1})),
    "dropped": (reading(shadow=ShadowCounts(dropped={"body": 1})), reading()),
    "pairs": (reading(pairs={"p0o0": PairCounts(2)}), reading(pairs={"p0o0": PairCounts(1)})),
    "a cell of a table": (
        reading(pairs={"p0o0": PairCounts(2, Table(1, 1))}),
        reading(pairs={"p0o0": PairCounts(9, Table(9, 0))}),
    ),
    "refused": (replace(reading(), refused={400: 2}), replace(reading(), refused={431: 3})),
}


@pytest.mark.parametrize(("earlier", "later"), FALLEN.values(), ids=FALLEN)
def test_no_window_is_made_where_a_count_fell(earlier, later):
    assert subtract_samples(later, earlier) is None


@pytest.mark.parametrize(
    ("earlier", "later", "run", "longest"),
    [
        ((0, 0), (4, 4), 4, 4),
        ((2, 7), (5, 7), 5, 5),
        ((7, 7), (9, 9), 9, 9),
        ((3, 3), (0, 6), 0, 6),
        ((7, 7), (0, 7), 0, 0),
    ],
    ids=["began within", "shorter than one before", "went on", "came and went", "ended before"],
)
def test_a_window_says_the_run_that_stands_and_the_longest_it_has_surely_seen(earlier, later, run, longest):
    window = subtract_samples(
        reading(arms=arm(20, run=later[0], longest=later[1])),
        reading(arms=arm(10, run=earlier[0], longest=earlier[1])),
    )

    candidate = window.segments["default"].arms["candidate"]
    assert (candidate.failure_run, candidate.longest_failure_run) == (run, longest)


# -- reading a reading ---------------------------------------------------------------------------


def test_requests_under_way_are_those_that_started_and_came_to_no_end():
    segment = SegmentSamples(
        started={"candidate": 20},
        arms=arm(10, cancelled=3),
        tunnels={"candidate": 2},
        shadow=ShadowCounts(9, 7, 4),
    )

    assert segment.in_flight("candidate") == 5
    assert segment.in_flight("baseline") == 0
    assert segment.shadow.in_flight == 3


def test_strata_are_pooled_for_those_who_need_no_strata():
    histogram = Histogram((1.0,), (2, 1), 2_500_000)
    samples = ArmSamples(
        {
            "p0o0": Counts(4, {"reset": 1}, 0, histogram),
            "p1o0": Counts(6, {"reset": 2, "status": 1}, 1, histogram),
        }
    )

    pooled = samples.pool()

    assert (pooled.requests, pooled.failed, pooled.cancelled) == (10, 4, 1)
    assert pooled.latency == Histogram((1.0,), (4, 2), 5_000_000)
    assert pooled.latency.sum_seconds == 5.0
    assert SegmentSamples(pairs={"a": PairCounts(2), "b": PairCounts(3)}).pool_pairs().pairs == 5


@few
@given(readings())
def test_a_reading_is_read_as_it_was_written(one):
    assert parse_samples(one.encode()) == one


@few
@given(readings())
def test_equal_readings_are_written_alike(one):
    turned = replace(one, segments=dict(reversed(one.segments.items())))

    assert turned.encode() == one.encode()


def test_the_written_form_has_camel_case_names_and_names_edges_once():
    histogram = Histogram((0.1, 0.25), (1, 0, 0), 7)
    text = reading(arms=arm(latency=histogram, ttft=histogram, run=1, longest=2)).encode().decode()

    assert text.count("[0.1,0.25]") == 1
    assert '"failureRun":1,"longestFailureRun":2' in text
    assert '"at":"2026-01-01T12:00:00Z"' in text


BAD = {
    "no JSON": ("{", "not JSON"),
    "no object": ("[]", "must be an object"),
    "too deep": ("[" * 100_000, "not JSON"),
    "a count below 0": ('{"refused":{"400":-1}}', "refused.400: Input should be greater"),
    "half a count": ('{"refused":{"400":1.5}}', "refused.400"),
    "an unknown field": ('{"epochs":""}', "epochs"),
    "an epoch of another form": ('{"epoch":"first"}', "epoch"),
    "a time without zone": ('{"at":"2026-01-01T00:00:00"}', "at: "),
    "a score out of range": (
        '{"segments":{"a":{"pairs":{"p":{"scores":{"exact":{"candidate":{"scores":{"101":1}}}}}}}}}',
        "exact.candidate.scores.101",
    ),
    "counts that don't fit the edges": (
        '{"edges":[[1.0]],"segments":{"a":{"arms":{"b":{"strata":{"p":{"ttft":{"edges":0,"counts":[1]}}}}}}}}',
        "segments.a.arms.b.strata.p.ttft: Value error, 1 edges and 1 counts",
    ),
    "edges that are not there": (
        '{"segments":{"a":{"arms":{"b":{"strata":{"p":{"ttft":{"edges":0,"counts":[1]}}}}}}}}',
        "edges: must be a list of lists",
    ),
    "segments in a list": ('{"segments":[]}', "must be"),
}


@pytest.mark.parametrize(("text", "message"), BAD.values(), ids=BAD)
def test_a_reading_that_no_router_made_is_refused_with_a_reason(text, message):
    with pytest.raises(SamplesError, match=message.replace("(", "\\(")):
        parse_samples(text)


def test_every_problem_has_a_line_of_its_own():
    with pytest.raises(SamplesError) as caught:
        parse_samples('{"epoch":"x","version":-1}')

    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize(
    ("seconds", "key"),
    [
        (0.25, "latency:0.25"),
        (1, "latency:1"),
        (30.0, "latency:30"),
        (0.1 + 0.2, "latency:0.30000000000000004"),
    ],
)
def test_a_threshold_is_named_by_its_exact_bound(seconds, key):
    assert name_threshold("latency", seconds) == key
