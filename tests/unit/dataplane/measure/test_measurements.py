"""Every request is counted once, where it belongs, in a life whose numbers keep their meaning."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.dataplane.measure.exchanges import NOON, answer, ask, make_document, make_measurements

from switchyard.core.errors import RoutingDocumentError
from switchyard.core.routing.samples import SegmentSamples, parse_samples, subtract_samples
from switchyard.dataplane.exchange import FAILURES
from switchyard.dataplane.measure import Measurements
from switchyard.dataplane.measure.measurements import MAX_REMOVED_SEGMENTS

BASELINE, CANDIDATE = "baseline", "candidate"


def arm_of(measurements: Measurements, arm: str = BASELINE, segment: str = "default"):
    return measurements.snapshot(NOON).segments[segment].arms[arm]


# -- where a request belongs ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("input_tokens", "output_tokens", "stratum"),
    [
        (0, 0, "p0o0"),
        (256, 64, "p0o0"),
        (257, 64, "p1o0"),
        (256, 65, "p0o1"),
        (1024, 256, "p1o1"),
        (4096, 1024, "p2o2"),
        (4097, 1025, "p3o3"),
        (1_000_000, 0, "p3o0"),
    ],
)
def test_an_edge_belongs_to_the_stratum_below_it(input_tokens, output_tokens, stratum):
    measurements = make_measurements()

    measurements.record_answer("default", BASELINE, ask(input_tokens), answer(output_tokens=output_tokens))

    assert list(arm_of(measurements).strata) == [stratum]


@pytest.mark.parametrize(("length", "stratum"), [(0, "p0o0"), (259, "p0o0"), (260, "p0o1"), (10_000, "p0o3")])
def test_an_answer_whose_tokens_were_not_counted_is_sorted_by_its_bytes(length, stratum):
    measurements = make_measurements()

    measurements.record_answer("default", BASELINE, ask(), answer(output_tokens=None, length=length))

    assert list(arm_of(measurements).strata) == [stratum]


def test_without_strata_all_requests_are_in_one():
    measurements = make_measurements(make_document(strata={"promptEdges": [], "outputEdges": []}))

    for tokens in (1, 10_000):
        measurements.record_answer("default", BASELINE, ask(tokens), answer(output_tokens=tokens))

    assert arm_of(measurements).strata["p0o0"].requests == 2


def test_segments_and_arms_are_told_apart():
    measurements = make_measurements(make_document("batch"))

    measurements.record_answer("batch", CANDIDATE, ask(), answer())
    measurements.record_answer("default", BASELINE, ask(), answer())
    measurements.record_shadow("default", CANDIDATE, ask(), answer())
    measurements.record_shadow("default", "noise", ask(), answer())

    segments = measurements.snapshot(NOON).segments
    assert list(segments["batch"].arms) == [CANDIDATE]
    assert list(segments["default"].arms) == [BASELINE]
    assert sorted(segments["default"].shadows) == [CANDIDATE, "noise"]
    assert segments["batch"].shadows == {}


# -- how it ended --------------------------------------------------------------------------------


@pytest.mark.parametrize("failure", FAILURES)
def test_a_failure_is_counted_by_class_and_has_no_place_in_histograms(failure):
    measurements = make_measurements()

    measurements.record_answer("default", CANDIDATE, ask(), answer(0.1, 0.1, 0.1, failure=failure))

    counts = arm_of(measurements, CANDIDATE).strata["p0o0"]
    assert (counts.requests, counts.failures, counts.cancelled) == (1, {failure: 1}, 0)
    assert counts.latency.total == counts.ttft.total == counts.tpot.total == 0


def test_a_request_that_its_caller_left_is_counted_apart():
    measurements = make_measurements()

    measurements.record_answer("default", BASELINE, ask(), answer(0.1, 0.1, 0.1, failure="cancelled"))

    arm = arm_of(measurements)
    counts = arm.strata["p0o0"]
    assert (counts.requests, counts.failures, counts.cancelled) == (0, {}, 1)
    assert counts.latency.total == counts.ttft.total == counts.tpot.total == 0
    assert arm.longest_failure_run == 0


def test_the_run_of_failures_goes_over_strata_and_over_callers_that_leave():
    measurements = make_measurements()
    for tokens, failure in [(1, "reset"), (9999, "status"), (1, "cancelled"), (1, "timeout")]:
        measurements.record_answer("default", CANDIDATE, ask(tokens), answer(failure=failure))

    assert arm_of(measurements, CANDIDATE).failure_run == 3

    measurements.record_answer("default", CANDIDATE, ask(), answer())
    measurements.record_answer("default", CANDIDATE, ask(), answer(failure="reset"))

    arm = arm_of(measurements, CANDIDATE)
    assert (arm.failure_run, arm.longest_failure_run) == (1, 3)


EDGES = [0.001, 0.01, 0.25, 1.0]
seconds = st.one_of(st.floats(0, 3), st.sampled_from(EDGES))


@settings(max_examples=60)
@given(st.lists(st.tuples(seconds, st.none() | seconds, st.none() | seconds), max_size=25))
def test_histograms_are_those_of_numpy(times):
    measure = {f"{metric}Edges": EDGES for metric in ("latency", "ttft", "tpot")}
    measurements = make_measurements(make_document(measure=measure))
    for latency, ttft, tpot in times:
        measurements.record_answer("default", BASELINE, ask(), answer(latency, ttft, tpot))

    arms = measurements.snapshot(NOON).segments["default"].arms
    for index, metric in enumerate(("latency", "ttft", "tpot")):
        values = np.array([each[index] for each in times if each[index] is not None])
        within = [int((values <= edge).sum()) for edge in EDGES]
        if not values.size:
            assert not arms or getattr(arms[BASELINE].strata["p0o0"], metric).total == 0
            continue
        histogram = getattr(arms[BASELINE].strata["p0o0"], metric)
        assert [histogram.count_within(edge) for edge in EDGES] == within
        assert histogram.total == values.size
        assert histogram.sum_seconds == pytest.approx(values.sum(), abs=1e-6 * values.size)


def test_a_threshold_is_an_edge_of_its_histogram_alone():
    measurements = make_measurements(
        make_document(measure={"thresholds": [{"metric": "ttft", "seconds": 0.123}]})
    )

    measurements.record_answer("default", BASELINE, ask(), answer(0.1, 0.123))
    measurements.record_answer("default", BASELINE, ask(), answer(0.1, 0.124))

    counts = arm_of(measurements).strata["p0o0"]
    assert counts.ttft.count_within(0.123) == 1
    assert 0.123 not in counts.latency.edges


# -- copies, and what is under way ---------------------------------------------------------------


def test_what_became_of_copies_is_counted():
    measurements = make_measurements()
    for _ in range(5):
        measurements.record_sampled("default")
    measurements.record_dropped("default", "queue")
    measurements.record_dropped("default", "queue")
    measurements.record_dropped("default", "body")
    for _ in range(3):
        measurements.record_sent("default")
    measurements.record_shadow("default", CANDIDATE, ask(), answer())
    measurements.record_shadow("default", "noise", ask(), answer(failure="reset"))

    shadow = measurements.snapshot(NOON).segments["default"].shadow
    assert (shadow.sampled, shadow.sent, shadow.completed) == (5, 3, 2)
    assert shadow.dropped == {"queue": 2, "body": 1}
    assert shadow.in_flight == 1


def test_requests_under_way_are_those_that_came_to_no_end():
    measurements = make_measurements()
    for _ in range(4):
        measurements.record_started("default", CANDIDATE)
    measurements.record_answer("default", CANDIDATE, ask(), answer())
    measurements.record_answer("default", CANDIDATE, ask(), answer(failure="cancelled"))
    measurements.record_tunnel("default", CANDIDATE)

    assert measurements.snapshot(NOON).segments["default"].in_flight(CANDIDATE) == 1


def test_what_the_router_answers_itself_is_counted_by_status():
    measurements = make_measurements()
    for status in (400, 431, 400):
        measurements.record_refused(status)

    assert measurements.snapshot(NOON).refused == {400: 2, 431: 1}


# -- lives ---------------------------------------------------------------------------------------

SAME_MEANING = {
    "another weight": {"segments": [{"name": "default", "candidatePercent": 50}]},
    "another backend": {
        "arms": {"baseline": {"url": "http://old:81"}, "candidate": {"url": "http://new:80"}}
    },
    "another segment": {"segments": [{"name": "b", "match": {"pathPrefix": "/b"}}, {"name": "default"}]},
    "another shadow": {"shadow": {"queue": 1}},
    "other limits": {"limits": {"maxBodyBytes": 1}},
}
OTHER_MEANING = {
    "another edge": {"measure": {"tpotEdges": [0.5]}},
    "a new threshold": {"measure": {"thresholds": [{"metric": "latency", "seconds": 0.2}]}},
    "other strata": {"strata": {"promptEdges": [5]}},
    "another comparator": {"comparators": [{"type": "text"}]},
}


@pytest.mark.parametrize("fields", SAME_MEANING.values(), ids=SAME_MEANING)
def test_counts_go_on_when_the_document_changes(fields):
    measurements = make_measurements()
    measurements.record_answer("default", BASELINE, ask(), answer())
    before = measurements.snapshot(NOON)

    measurements.reconfigure(make_document(version=2).model_copy(update=parse(fields)))
    measurements.record_answer("default", BASELINE, ask(), answer())

    after = measurements.snapshot(NOON)
    assert after.epoch == before.epoch
    assert after.version == 2
    assert after.segments["default"].arms[BASELINE].ended == 2


@pytest.mark.parametrize("fields", OTHER_MEANING.values(), ids=OTHER_MEANING)
def test_a_new_life_begins_where_numbers_would_change_their_meaning(fields):
    measurements = make_measurements()
    measurements.record_answer("default", BASELINE, ask(), answer())
    measurements.record_refused(400)
    before = measurements.snapshot(NOON)

    measurements.reconfigure(make_document(version=2, **fields))

    after = measurements.snapshot(NOON)
    assert after.epoch != before.epoch
    assert after.segments == {"default": SegmentSamples()}
    assert after.refused == {}
    assert subtract_samples(after, before) is None


def parse(fields: dict) -> dict:
    document = make_document(**fields)
    return {name: getattr(document, name) for name in fields}


def test_requests_under_way_are_carried_into_a_new_life():
    measurements = make_measurements()
    for _ in range(3):
        measurements.record_started("default", CANDIDATE)
        measurements.record_sent("default")
    measurements.record_answer("default", CANDIDATE, ask(), answer())
    measurements.record_shadow("default", CANDIDATE, ask(), answer())

    measurements.reconfigure(make_document(strata={"promptEdges": [5]}))
    begun = measurements.snapshot(NOON).segments["default"]
    for _ in range(2):
        measurements.record_answer("default", CANDIDATE, ask(), answer())
        measurements.record_shadow("default", CANDIDATE, ask(), answer())
    ended = measurements.snapshot(NOON).segments["default"]

    assert (begun.in_flight(CANDIDATE), begun.shadow.in_flight) == (2, 2)
    assert (ended.in_flight(CANDIDATE), ended.shadow.in_flight) == (0, 0)
    assert ended.arms[CANDIDATE].ended == 2, "each request is counted in the life in which it ends"


def test_a_request_that_nobody_announced_leaves_no_debt_in_the_next_life():
    measurements = make_measurements()
    measurements.record_answer("default", BASELINE, ask(), answer())
    measurements.record_shadow("default", "noise", ask(), answer())

    measurements.reconfigure(make_document(strata={"promptEdges": [5]}))

    assert measurements.snapshot(NOON).segments == {"default": SegmentSamples()}


def test_each_life_of_a_router_has_an_epoch_of_its_own():
    epochs = {Measurements(make_document()).snapshot(NOON).epoch for _ in range(20)}

    assert len(epochs) == 20


def test_a_segment_that_was_removed_stays_readable_and_its_last_requests_are_counted():
    measurements = make_measurements(make_document("batch"))
    measurements.record_answer("batch", BASELINE, ask(), answer())

    measurements.reconfigure(make_document(version=2))
    measurements.record_answer("batch", BASELINE, ask(), answer())

    assert arm_of(measurements, segment="batch").ended == 2


def test_a_segment_that_comes_back_goes_on_where_it_was():
    measurements = make_measurements(make_document("batch"))
    measurements.record_answer("batch", BASELINE, ask(), answer())

    for names, version in (((), 2), (("batch",), 3)):
        measurements.reconfigure(make_document(*names, version=version))

    assert arm_of(measurements, segment="batch").ended == 1
    assert measurements.snapshot(NOON).epoch == f"{1:016x}"


def test_removed_segments_don_t_pile_up_and_none_vanishes_within_a_life():
    measurements = make_measurements(make_document("one"))
    epoch_of_name: dict[str, str] = {}
    for version in range(2, 4 * MAX_REMOVED_SEGMENTS):
        before = measurements.snapshot(NOON)
        measurements.reconfigure(make_document(f"s{version}", version=version))
        after = measurements.snapshot(NOON)
        assert len(after.segments) <= MAX_REMOVED_SEGMENTS + 2
        assert before.epoch != after.epoch or before.segments.keys() <= after.segments.keys()
        epoch_of_name[f"s{version}"] = after.epoch

    assert len(set(epoch_of_name.values())) > 1


def test_a_request_whose_segment_is_long_gone_does_no_harm():
    measurements = make_measurements()

    measurements.record_answer("gone", BASELINE, ask(), answer())
    measurements.record_shadow("gone", CANDIDATE, ask(), answer())
    measurements.record_pair("gone", ask(), answer(), answer(), scores={}, noise=None)

    assert measurements.snapshot(NOON).segments == {"default": SegmentSamples()}


def test_a_document_that_cannot_be_measured_by_changes_nothing():
    measurements = make_measurements()
    measurements.record_answer("default", BASELINE, ask(), answer())
    before = measurements.snapshot(NOON)

    with pytest.raises(RoutingDocumentError):
        measurements.reconfigure(make_document(version=2, comparators=[{"type": "guess"}]))

    assert measurements.snapshot(NOON) == before


def test_before_the_first_document_there_is_an_epoch_and_nothing_to_count():
    measurements = Measurements()
    measurements.record_refused(503)
    before = measurements.snapshot(NOON)

    measurements.reconfigure(make_document(version=5))

    after = measurements.snapshot(NOON)
    assert (before.version, before.segments, before.refused) == (None, {}, {503: 1})
    assert (after.epoch, after.version, after.refused) == (before.epoch, 5, {503: 1})


# -- reading -------------------------------------------------------------------------------------

EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["batch", "default"]),
        st.sampled_from([BASELINE, CANDIDATE]),
        st.integers(0, 5000),
        st.sampled_from(["", "", "reset", "cancelled"]),
        st.floats(0, 2),
    ),
    max_size=20,
)


def replay(measurements: Measurements, events) -> None:
    measurements.record_refused(400)
    for segment, arm, tokens, failure, latency in events:
        measurements.record_started(segment, arm)
        given_answer = answer(latency, latency / 2, failure=failure)
        measurements.record_answer(segment, arm, ask(tokens), given_answer)
        measurements.record_pair(segment, ask(tokens), given_answer, answer(), scores={}, noise=None)


@settings(max_examples=40)
@given(EVENTS, EVENTS)
def test_a_window_between_two_snapshots_holds_what_happened_between_them(before, since):
    document = make_document("batch")
    whole, only_since = make_measurements(document), make_measurements(document)
    replay(whole, before)
    earlier = whole.snapshot(NOON)
    replay(whole, since)
    replay(only_since, since)

    window = subtract_samples(whole.snapshot(NOON), earlier)
    expected = only_since.snapshot(NOON)

    assert window is not None
    for name, segment in expected.segments.items():
        seen = window.segments.get(name, SegmentSamples())
        assert seen.pairs == segment.pairs
        assert seen.started == segment.started
        for arm, samples in segment.arms.items():
            assert seen.arms[arm].strata == samples.strata


@settings(max_examples=40)
@given(EVENTS)
def test_a_snapshot_is_not_changed_by_what_happens_later_and_can_be_sent(events):
    measurements = make_measurements(make_document("batch"))
    replay(measurements, events)
    snapshot = measurements.snapshot(NOON)
    text = snapshot.encode()

    replay(measurements, events)

    assert snapshot.encode() == text
    assert parse_samples(text) == snapshot


def test_every_request_is_counted_exactly_once():
    measurements = make_measurements(make_document("batch"))
    outcomes = ["", "reset", "status", "cancelled"]
    cases = list(itertools.product(["batch", "default"], [BASELINE, CANDIDATE], [1, 500, 9999], outcomes))
    for segment, arm, tokens, failure in cases:
        measurements.record_answer(segment, arm, ask(tokens), answer(failure=failure))

    segments = measurements.snapshot(NOON).segments.values()
    assert sum(arm.ended for segment in segments for arm in segment.arms.values()) == len(cases)
