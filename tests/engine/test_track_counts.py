"""Counts by track: whole numbers of named lives, or a problem; never a guess and never zero for nothing."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchyard.catalog.signal_presets import Answers, load_signal_presets
from switchyard.core.cutover.types import Metric
from switchyard.engine.track_counts import (
    CountProblem,
    LifeCounts,
    Lives,
    Member,
    Point,
    Points,
    add_up,
    find_uncovered,
    list_metrics,
    lower_moment,
    read_counts,
)

AT = datetime(2026, 11, 21, 12, tzinfo=UTC)
KEY = "latency:0.5"
BOUNDS: dict[str, tuple[Metric, float]] = {KEY: ("latency", 0.5)}
SUCCESS, HTTP = "vllm:request_success_total", "http_requests_total"
BUCKET = "vllm:e2e_request_latency_seconds_bucket"


def told(name: str) -> Answers:
    found = load_signal_presets()[name].answers
    assert found is not None
    return found


def buckets(edges: dict[str, float], **labels: str) -> list[Point]:
    return [Point({**labels, "le": edge}, value) for edge, value in edges.items()]


def vllm(
    good: float = 10, failed: float = 2, edges: dict[str, float] | None = None
) -> dict[str, list[Point]]:
    """What a vLLM shows; of its good answers 7 came within half a second."""
    return {
        SUCCESS: [
            Point({"finished_reason": "stop"}, good),
            Point({"finished_reason": "length"}, 0),
            Point({"finished_reason": "abort"}, 3),
        ],
        HTTP: [
            Point({"handler": "/v1/completions", "status": "2xx"}, good),
            Point({"handler": "/v1/completions", "status": "5xx"}, failed),
        ],
        BUCKET: buckets(edges or {"0.5": 7, "1.0": 9, "+Inf": good}),
    }


def read(points: Points, preset: str = "vllm") -> LifeCounts:
    return read_counts(told(preset), points, BOUNDS)


def test_answers_failures_and_those_in_time_are_counted_apart() -> None:
    assert read(vllm()) == LifeCounts(10, 2, {KEY: 12}, {KEY: 7})


def test_an_edge_is_the_same_however_it_is_written() -> None:
    for text in ("0.5", "0.50", "5e-1"):
        assert read(vllm(edges={text: 7, "+Inf": 10})).within == {KEY: 7}


def test_a_bound_that_is_no_edge_is_left_out() -> None:
    counts = read(vllm(edges={"0.4": 7, "0.6": 8, "+Inf": 10}))
    assert (counts.good, counts.timed, counts.within) == (10, {}, {})


def test_one_series_without_the_edge_spoils_the_bound_unless_it_is_empty() -> None:
    points = vllm()
    points[BUCKET] = buckets({"0.5": 7, "+Inf": 9}, engine="0") + buckets({"0.4": 0, "+Inf": 1}, engine="1")
    assert read(points).within == {}
    points[BUCKET] = buckets({"0.5": 7, "+Inf": 9}, engine="0") + buckets({"0.4": 0, "+Inf": 0}, engine="1")
    assert read(points).within == {KEY: 7}


def test_a_pod_that_has_answered_nothing_yet_has_answered_nothing_late() -> None:
    assert read({SUCCESS: []}) == LifeCounts(0, 0, {KEY: 0}, {KEY: 0})


def test_a_metric_without_times_has_no_such_bound() -> None:
    points = {"nv_inference_request_success": [Point({"model": "m"}, 5)], "nv_inference_request_failure": []}
    assert read(points, "triton") == LifeCounts(5, 0)


def test_a_label_tells_failures_from_good_answers_also_in_histograms() -> None:
    marks = {"reporter": "destination", "destination_workload": "chat-new"}
    points = {
        "istio_requests_total": [
            Point({**marks, "response_code": "200"}, 90),
            Point({**marks, "response_code": "404"}, 4),
            Point({**marks, "response_code": "503"}, 5),
            Point({**marks, "response_code": "0"}, 1),
            Point({**marks, "response_code": "200", "reporter": "source"}, 90),
        ],
        "istio_request_duration_milliseconds_bucket": [
            *buckets({"500": 80, "+Inf": 94}, **marks, response_code="200"),
            *buckets({"500": 6, "+Inf": 6}, **marks, response_code="503"),
        ],
    }
    assert read(points, "istio") == LifeCounts(94, 6, {KEY: 100}, {KEY: 80})


@pytest.mark.parametrize(
    ("points", "problem"),
    [
        ({}, "there is no vllm:request_success_total"),
        ({**vllm(), SUCCESS: [Point({"finished_reason": "stop"}, math.nan)]}, "is nan, which is no count"),
        ({**vllm(), SUCCESS: [Point({"finished_reason": "stop"}, math.inf)]}, "is inf, which is no count"),
        ({**vllm(), SUCCESS: [Point({"finished_reason": "stop"}, 1.5)]}, "is 1.5, which is no count"),
        ({**vllm(), SUCCESS: [Point({"finished_reason": "stop"}, -1.0)]}, "is -1.0, which is no count"),
        ({key: each for key, each in vllm().items() if key != HTTP}, "there is no http_requests_total"),
        (vllm(edges={"0.5": 7}), "no bucket for all"),
        ({**vllm(), BUCKET: [Point({}, 7)]}, "a bucket has no edge"),
        ({**vllm(), BUCKET: buckets({"half": 7})}, "a bucket has no edge"),
        (vllm(edges={"0.5": math.nan, "+Inf": 10}), "is nan, which is no count"),
    ],
)
def test_what_is_no_count_is_told_by_name(points: Points, problem: str) -> None:
    with pytest.raises(CountProblem, match=problem):
        read(points)


def test_failures_that_are_told_only_once_there_are_some_count_as_none_before() -> None:
    assert read({"tgi_request_success": [Point({}, 4)]}, "tgi").failed == 0


def test_all_that_is_read_is_asked_for() -> None:
    assert list_metrics(told("vllm"), BOUNDS) == {SUCCESS, HTTP, BUCKET}
    assert list_metrics(told("triton"), BOUNDS) == {
        "nv_inference_request_success",
        "nv_inference_request_failure",
    }


# -- many lives as one arm


def test_lives_add_up_and_a_bound_that_one_can_t_tell_is_left_out() -> None:
    one = LifeCounts(10, 2, {KEY: 12, "ttft:1": 12}, {KEY: 7, "ttft:1": 9})
    other = LifeCounts(5, 1, {KEY: 6}, {KEY: 5})
    found = add_up((Member("a", one), Member("b", other)), AT)
    assert (found.requests, found.failures) == (18, 3)
    assert (found.timed, found.within) == ({KEY: 18}, {KEY: 12})


def test_a_life_that_comes_goes_or_begins_anew_makes_another_epoch() -> None:
    def epoch(*names: str) -> str:
        return add_up([Member(name, LifeCounts(1)) for name in names], AT).epoch

    assert epoch("a", "b") == epoch("b", "a")
    assert len({epoch("a", "b"), epoch("a"), epoch("a", "c"), epoch("a", "b", "c"), epoch("a", "b#1")}) == 5


def test_a_count_that_fell_makes_another_life_though_the_sum_grew() -> None:
    lives = Lives()
    first = lives.name_lives({"a": LifeCounts(100), "b": LifeCounts(10)}, ("a", "b"))
    later = lives.name_lives({"a": LifeCounts(300), "b": LifeCounts(1)}, ("a", "b"))
    assert [each.name for each in first] == ["a#0", "b#0"]
    assert [each.name for each in later] == ["a#0", "b#1"]
    assert add_up(later, AT).requests > add_up(first, AT).requests
    assert add_up(later, AT).epoch != add_up(first, AT).epoch


def test_a_pod_that_was_silent_for_a_while_is_still_known() -> None:
    lives = Lives()
    lives.name_lives({"a": LifeCounts(100)}, ("a",))
    lives.name_lives({}, ("a",))
    assert lives.name_lives({"a": LifeCounts(3)}, ("a",))[0].name == "a#1"
    lives.name_lives({}, ())
    assert lives.name_lives({"a": LifeCounts(1)}, ("a",))[0].name == "a#0"


@given(st.lists(st.integers(0, 50), min_size=1, max_size=12))
def test_a_life_has_as_many_numbers_as_its_count_fell(counts: list[int]) -> None:
    lives = Lives()
    names = [lives.name_lives({"a": LifeCounts(each)}, ("a",))[0].name for each in counts]
    falls = sum(later < earlier for earlier, later in pairwise(counts))
    assert names[-1] == f"a#{falls}"


@pytest.mark.parametrize(
    ("silent", "ready", "is_enough"),
    [(0, 1, True), (1, 1, False), (1, 9, False), (1, 10, True), (2, 10, False)],
)
def test_nine_of_ten_ready_pods_must_have_answered(silent: int, ready: int, *, is_enough: bool) -> None:
    problems = {f"pod-{number}": "HTTP 503" for number in range(silent)}
    problem = find_uncovered("candidate", problems, ready)
    assert (problem == "") is is_enough
    if not is_enough:
        assert (
            problem
            == f"{silent} of {ready} ready pods of the candidate can't be counted: pod pod-0: HTTP 503"
        )


def test_both_arms_count_as_read_when_the_older_was() -> None:
    one = add_up((Member("a", LifeCounts(1)),), AT)
    found = lower_moment({"baseline": one, "candidate": replace(one, at=AT - timedelta(seconds=9))})
    assert {each.at for each in found.values()} == {AT - timedelta(seconds=9)}
    assert lower_moment({}) == {}
