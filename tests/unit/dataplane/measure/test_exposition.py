"""The metrics are valid Prometheus text, say what the samples say, and stay few."""

from __future__ import annotations

import itertools
import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from tests.unit.core.routing.random_samples import readings
from tests.unit.dataplane.measure.exchanges import NOON, answer, ask, make_document, make_measurements

from switchyard.core.routing.document import DEFAULT_EDGES, DEFAULT_TOKEN_EDGES, Measure
from switchyard.core.routing.samples import Samples, SegmentSamples, ShadowCounts, add_samples
from switchyard.dataplane.compare.port import Score
from switchyard.dataplane.measure.exposition import MAX_BOUNDS, choose_bounds, render_metrics
from switchyard.dataplane.measure.families import ROUTER_FAMILIES, STATE_FAMILIES, render_table

MEASURE = Measure.model_validate({"thresholds": [{"metric": "latency", "seconds": 0.25}]})


def measured() -> Samples:
    """A little of everything."""
    measurements = make_measurements(
        make_document(
            "batch",
            version=7,
            measure=MEASURE.model_dump(),
            comparators=[{"type": "exact"}, {"type": "text"}],
        )
    )
    measurements.record_refused(431)
    for arm in ("baseline", "candidate"):
        for latency in (0.05, 0.25, 0.26, 500.0):
            measurements.record_started("batch", arm)
            measurements.record_answer("batch", arm, ask(), answer(latency, latency / 2, latency / 10))
        measurements.record_started("batch", arm)
    measurements.record_answer("batch", "candidate", ask(9999), answer(failure="reset"))
    measurements.record_answer("batch", "candidate", ask(9999), answer(failure="cancelled"))
    measurements.record_started("batch", "candidate")
    measurements.record_started("batch", "candidate")
    measurements.record_started("batch", "candidate")
    measurements.record_tunnel("batch", "candidate")
    for _ in range(4):
        measurements.record_sampled("batch")
    measurements.record_dropped("batch", "queue")
    for arm in ("candidate", "noise"):
        measurements.record_sent("batch")
        measurements.record_shadow("batch", arm, ask(), answer())
    measurements.record_sent("batch")
    scores = {"exact": Score(0.0), "text": Score(0.955)}
    measurements.record_pair(
        "batch", ask(), answer(0.2), answer(0.3), scores=scores, noise={"exact": Score(1.0)}
    )
    return measurements.snapshot(NOON)


def read(text: str) -> dict[str, float]:
    """Values by series, written name{label="value",…}."""
    return {
        f"{sample.name}{{{','.join(f'{name}={value}' for name, value in sorted(sample.labels.items()))}}}": sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


EXPECTED = {
    "requests_total{arm=baseline,outcome=good,segment=batch}": 4,
    "requests_total{arm=candidate,outcome=reset,segment=batch}": 1,
    "requests_total{arm=candidate,outcome=cancelled,segment=batch}": 1,
    "requests_total{arm=candidate,outcome=timeout,segment=batch}": 0,
    "requests_in_flight{arm=baseline,segment=batch}": 1,
    "requests_in_flight{arm=candidate,segment=batch}": 1,
    "tunnels_total{arm=candidate,segment=batch}": 1,
    "failure_run{arm=candidate,segment=batch}": 1,
    "request_duration_seconds_bucket{arm=baseline,le=0.25,segment=batch}": 2,
    "request_duration_seconds_bucket{arm=baseline,le=+Inf,segment=batch}": 4,
    "request_duration_seconds_sum{arm=baseline,segment=batch}": 500.56,
    "request_duration_seconds_count{arm=candidate,segment=batch}": 4,
    "first_token_seconds_sum{arm=baseline,segment=batch}": 250.28,
    "output_token_seconds_count{arm=baseline,segment=batch}": 4,
    "request_duration_seconds_count{arm=baseline,segment=default}": 0,
    "refused_total{status=431}": 1,
    "shadow_sampled_total{segment=batch}": 4,
    "shadow_dropped_total{reason=queue,segment=batch}": 1,
    "shadow_requests_total{arm=noise,outcome=good,segment=batch}": 1,
    "shadow_in_flight{segment=batch}": 1,
    "shadow_duration_seconds_count{arm=candidate,segment=batch}": 1,
    "pairs_total{result=both_good,segment=batch}": 1,
    "threshold_pairs_total{result=baseline_only_good,segment=batch,threshold=latency:0.25}": 1,
    "comparisons_total{arm=candidate,comparator=exact,result=mismatch,segment=batch}": 1,
    "comparisons_total{arm=noise,comparator=exact,result=match,segment=batch}": 1,
    "comparison_score_bucket{arm=candidate,comparator=text,le=0.95,segment=batch}": 1,
    "comparison_score_bucket{arm=candidate,comparator=text,le=0.9,segment=batch}": 0,
    "comparison_score_sum{arm=candidate,comparator=text,segment=batch}": 0.95,
    "config_version{}": 7,
    "epoch_info{epoch=0000000000000001}": 1,
}


@pytest.mark.parametrize(("series", "value"), EXPECTED.items())
def test_a_series_says_what_was_measured(series, value):
    assert read(render_metrics(measured(), MEASURE))[f"switchyard_router_{series}"] == pytest.approx(value)


def test_every_family_of_the_catalogue_is_shown_with_its_labels_and_none_besides():
    shown = {
        family.name: family for family in text_string_to_metric_families(render_metrics(measured(), MEASURE))
    }

    for family in ROUTER_FAMILIES:
        name = family.name.removesuffix("_total") if family.type == "counter" else family.name
        seen = shown.pop(name)
        assert seen.type == family.type
        assert seen.samples, family.name
        for sample in seen.samples:
            assert sample.labels.keys() - {"le"} == set(family.labels)
    assert shown == {}


def test_no_series_is_shown_twice():
    lines = [
        line.rsplit(" ", 1)[0] for line in render_metrics(measured(), MEASURE).splitlines() if line[0] != "#"
    ]

    assert len(lines) == len(set(lines))


@settings(max_examples=40)
@given(readings())
def test_buckets_rise_up_to_the_count(samples):
    for family in text_string_to_metric_families(render_metrics(samples, MEASURE)):
        if family.type != "histogram":
            continue
        series: dict[tuple, list[tuple[float, float]]] = {}
        counts: dict[tuple, float] = {}
        for sample in family.samples:
            key = tuple(sorted((name, value) for name, value in sample.labels.items() if name != "le"))
            if sample.name.endswith("_bucket"):
                series.setdefault(key, []).append((float(sample.labels["le"]), sample.value))
            if sample.name.endswith("_count"):
                counts[key] = sample.value
        for key, buckets in series.items():
            assert buckets == sorted(buckets)
            values = [value for _, value in buckets]
            assert values == sorted(values)
            if (
                family.name != "switchyard_router_comparison_score"
            ):  # random scores don't add up to `compared`
                assert values[-1] == counts[key]


def test_two_workers_are_shown_as_their_sum():
    once, twice = measured(), add_samples(measured(), measured())

    series = "switchyard_router_requests_total{arm=baseline,outcome=good,segment=batch}"
    assert read(render_metrics(twice, MEASURE))[series] == 2 * read(render_metrics(once, MEASURE))[series]


def test_before_the_first_document_there_is_a_version_that_no_document_has():
    series = read(render_metrics(Samples(), MEASURE))

    assert series == {"switchyard_router_config_version{}": -1}


def test_a_label_with_quotes_and_line_breaks_is_shown_safely():
    name = 'a"b\\c\nd'
    samples = Samples(segments={"default": SegmentSamples(shadow=ShadowCounts(dropped={name: 3}))})

    families = {each.name: each for each in text_string_to_metric_families(render_metrics(samples, MEASURE))}

    (sample,) = families["switchyard_router_shadow_dropped"].samples
    assert (sample.labels["reason"], sample.value) == (name, 3)


edges = st.sets(st.floats(0.001, 100), min_size=1, max_size=64).map(lambda each: tuple(sorted(each)))


@given(edges, st.data())
def test_the_bounds_shown_are_few_and_have_every_threshold_and_the_last_edge(edges, data):
    thresholds = data.draw(st.lists(st.sampled_from(edges), max_size=8))

    bounds = choose_bounds(edges, thresholds)

    assert len(bounds) <= MAX_BOUNDS
    assert set(thresholds) <= set(bounds) <= set(edges)
    assert bounds[-1] == edges[-1]
    assert list(bounds) == sorted(bounds)


@pytest.mark.parametrize("edges", [DEFAULT_EDGES, DEFAULT_TOKEN_EDGES])
def test_the_default_edges_are_thinned_evenly(edges):
    bounds = choose_bounds(edges, ())

    assert 10 <= len(bounds) <= MAX_BOUNDS
    ratios = [later / earlier for earlier, later in itertools.pairwise(bounds)]
    assert max(ratios) == pytest.approx(min(ratios), rel=0.01)


def test_a_threshold_that_is_no_edge_of_these_samples_is_not_made_up():
    assert 0.3 not in choose_bounds((0.25, 0.5), (0.3,))


def test_the_reference_has_a_row_for_each_metric():
    rows = render_table().splitlines()

    assert len(rows) == 2 + len(ROUTER_FAMILIES) + len(STATE_FAMILIES)
    assert all(row.count(" | ") == 3 for row in rows if row.startswith("| `"))


@pytest.mark.real
@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_finds_nothing_to_say():
    told = subprocess.run(
        ["promtool", "check", "metrics"],
        input=render_metrics(measured(), MEASURE),
        capture_output=True,
        text=True,
        check=False,
    )

    assert (told.returncode, told.stdout, told.stderr) == (0, "", "")
