"""Where evidence of a stage comes from: pairs of copies on every path, users by router or by metrics."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from switchyard.api import InferenceWorkloadSpec
from switchyard.api.cutover import CutoverPlanSpec
from switchyard.core.cutover.facts import read_plan
from switchyard.core.cutover.orders import SignalQuery, SignalValue, TrackCounts
from switchyard.core.cutover.types import GateFacts, Observation, Router, Side, SideView, State
from switchyard.core.cutover.watching import find_counting_gap, find_evidence_watch
from switchyard.core.cutover.weighing import weigh
from switchyard.core.world import Sight

from .evidence_world import (
    ALL,
    ERRORS,
    INTERVAL,
    LATENCY,
    at,
    make_counts,
    make_facts,
    make_pairs,
    make_samples,
    make_state,
)

OLD, NEW = Side("gpu", "l4", "chat-old"), Side("inferentia", "inf2", "chat-new")
SIGNAL = GateFacts("refusals", "signal", ALL, source="prom", template="refused", max_value=0.05)
KEY = "latency:0.5"


def workload(**fields: Any) -> InferenceWorkloadSpec:
    return InferenceWorkloadSpec.model_validate(
        {
            "modelRef": {"name": "m"},
            "demand": {"requestsPerSecond": "2", **fields.pop("demand", {})},
            "variants": [{"name": "gpu", "accelerators": ["gpu"], "podTemplateRef": {"name": "t"}}],
            **fields,
        }
    )


def state(stage: str = "canary", router: Router = "gatewayAPI", **changes: Any) -> State:
    return make_state(stage, router=router, baseline=OLD, candidate=NEW, **changes)


def counts(requests: int, failures: int = 0, *, seconds: float, within: int | None = None) -> TrackCounts:
    kept = requests - failures if within is None else within
    return TrackCounts(requests, failures, {KEY: requests}, {KEY: kept}, at(seconds), "e")


# -- what to read


@pytest.mark.parametrize("router", ["gatewayAPI", "istio"])
@pytest.mark.parametrize("stage", ["canary", "soak"])
def test_where_nothing_of_ours_stands_in_the_path_users_are_counted_by_track(
    router: Router, stage: str
) -> None:
    found = find_evidence_watch(make_facts(ERRORS, LATENCY), state(stage, router), workload())
    assert found is not None
    assert found.counts is not None
    assert found.counts.tracks == {"baseline": "chat-old", "candidate": "chat-new"}
    assert found.counts.bounds == {KEY: ("latency", 0.5)}
    assert found.counts.workload == ("team", "chat")


@pytest.mark.parametrize(
    ("stage", "router"),
    [("canary", "builtin"), ("soak", "builtin"), ("shadow", "istio"), ("shadow", "builtin")],
)
def test_where_a_router_or_the_comparator_sees_answers_no_metrics_are_read(
    stage: str, router: Router
) -> None:
    assert find_evidence_watch(make_facts(ERRORS), state(stage, router), workload()) is None


def test_nothing_is_read_outside_of_a_stage() -> None:
    facts = make_facts(ERRORS, SIGNAL)
    assert find_evidence_watch(facts, state(phase="RollingBack"), workload()) is None
    assert find_evidence_watch(facts, replace(state(), candidate=None), workload()) is None
    paused = state(phase="Paused", resume_phase="Canary")
    assert find_evidence_watch(facts, paused, workload()) is not None


def test_signals_are_asked_for_in_their_stages_on_every_path() -> None:
    gate = replace(SIGNAL, stages=frozenset({"canary"}))
    found = find_evidence_watch(make_facts(gate), state("canary", "builtin"), workload())
    assert found is not None
    assert found.counts is None
    assert found.signals == {"refusals": SignalQuery("prom", "refused", ("team", "chat"), "chat-new", 60.0)}
    assert find_evidence_watch(make_facts(gate), state("soak", "builtin"), workload()) is None
    slow = make_facts(gate, interval_seconds=50.0)
    found = find_evidence_watch(slow, state("canary", "builtin"), workload())
    assert found is not None
    assert found.signals["refusals"].window_seconds == 100.0


@pytest.mark.parametrize(
    ("fields", "chosen"),
    [
        ({}, ("", "")),
        ({"signals": {"preset": "vllm"}}, ("", "vllm")),
        ({"signals": {"preset": "vllm", "source": "prom"}}, ("prom", "vllm")),
        ({"demand": {"signal": {"preset": "istio", "source": "mesh"}}}, ("mesh", "istio")),
        (
            {
                "signals": {"preset": "vllm", "source": "prom"},
                "demand": {"signal": {"preset": "istio", "source": "mesh"}},
            },
            ("prom", "vllm"),
        ),
        (
            {
                "signals": {"preset": "sglang", "source": "prom"},
                "demand": {"signal": {"preset": "istio", "source": "mesh"}},
            },
            ("mesh", "istio"),
        ),
        ({"signals": {"preset": "sglang"}}, ("", "sglang")),
    ],
    ids=[
        "none",
        "engine",
        "engine by source",
        "demand",
        "engine first",
        "who tells answers",
        "named at least",
    ],
)
def test_the_metrics_are_those_of_the_workload_that_tell_answers(
    fields: dict[str, Any], chosen: tuple[str, str]
) -> None:
    found = find_evidence_watch(make_facts(ERRORS), state(), workload(**fields))
    assert found is not None
    assert found.counts is not None
    assert (found.counts.source, found.counts.preset) == chosen


# -- what comes of it


def look(facts: Any, at_first: State, *sights: tuple[float, Sight]) -> tuple[Observation, State]:
    """The last observation of several looks, each remembered."""
    remembered, seen = at_first, Observation(now=at(0))
    for seconds, sight in sights:
        seen = weigh(
            facts, remembered, Observation(now=at(seconds), candidate_view=SideView(wanted=1, ready=1)), sight
        )
        remembered = replace(
            remembered,
            reading=seen.reading,
            reading_at=seen.reading_at,
            window_index=seen.window_index,
            evidence=seen.evidence,
        )
    return seen, remembered


def tracks(
    seconds: float, baseline: TrackCounts, candidate: TrackCounts, **fields: Any
) -> tuple[float, Sight]:
    both = {"baseline": baseline, "candidate": candidate}
    return seconds, Sight(at(seconds), samples=(), tracks=both, **fields)


def test_counts_by_track_make_windows_and_verdicts() -> None:
    facts, first, second = make_facts(ERRORS, LATENCY), INTERVAL + 1, 2 * INTERVAL + 1
    seen, _ = look(
        facts,
        state(),
        tracks(first, counts(1000, 5, seconds=first), counts(500, 5, seconds=first)),
        tracks(second, counts(1400, 5, seconds=second), counts(900, 305, seconds=second)),
    )
    by_name = {each.name: each for each in seen.reports}
    assert by_name["errors"].verdict == "Fail"
    assert by_name["errors"].observed == "75 % against 0 % failed"
    assert by_name["latency"].samples == 400


def test_a_new_epoch_drops_the_window() -> None:
    first, second = INTERVAL + 1, 2 * INTERVAL + 1
    other = replace(counts(1, 1, seconds=second), epoch="other")
    seen, _ = look(
        make_facts(ERRORS),
        state(),
        tracks(first, counts(1000, seconds=first), counts(500, seconds=first)),
        tracks(second, counts(1400, seconds=second), other),
    )
    (report,) = seen.reports
    assert report.verdict == "Inconclusive"
    assert "began anew" in report.message


def test_why_metrics_tell_nothing_is_what_the_gates_say() -> None:
    problem = "source prom: no vllm:request_success_total of pod chat-new-a"
    sight = Sight(at(200), samples=(), tracks_problem=problem)
    seen, _ = look(make_facts(ERRORS), state(), (200, sight))
    assert seen.is_blind
    (report,) = seen.reports
    assert (report.verdict, report.missing) == ("Inconclusive", "both")
    assert problem in report.message


def test_a_bound_that_one_side_has_no_edge_for_is_told() -> None:
    second = INTERVAL + 1
    bare = TrackCounts(500, 0, {}, {}, at(second), "e")
    seen, _ = look(make_facts(LATENCY), state(), tracks(second, counts(10, seconds=second), bare))
    assert "0.5 s is no edge of the latency buckets of both sides" in seen.reports[0].message


def test_in_shadow_pairs_of_the_comparator_count_whatever_tracks_say() -> None:
    facts, first, second = make_facts(ERRORS), INTERVAL + 1, 2 * INTERVAL + 1
    pairs = make_pairs((40, 30, 0, 0))

    def copies(seconds: float, counted: Any) -> tuple[float, Sight]:
        samples = make_samples(pairs=counted, seconds=seconds)
        ignored = {"candidate": counts(10**6, 10**6, seconds=seconds)}
        return seconds, Sight(at(seconds), samples=(samples,), tracks=ignored)

    seen, _ = look(facts, state("shadow"), copies(first, make_pairs()), copies(second, pairs))
    (report,) = seen.reports
    assert (report.segment, report.verdict, report.samples) == ("rest", "Fail", 70)
    assert seen.samples == 70


def test_with_the_builtin_router_its_own_counts_are_the_evidence() -> None:
    samples = make_samples(make_counts(100), make_counts(100), seconds=INTERVAL + 1)
    ignored = {"candidate": counts(10**6, 10**6, seconds=INTERVAL + 1)}
    sight = Sight(at(INTERVAL + 1), samples=(samples,), tracks=ignored)
    seen, _ = look(make_facts(ERRORS), state("canary", "builtin"), (INTERVAL + 1, sight))
    assert not seen.reading.startswith('{"shape":"tracks|')


@pytest.mark.parametrize(
    ("value", "verdict", "told"),
    [
        (SignalValue(0.01), "Pass", "0.01"),
        (SignalValue(0.5), "Fail", "above its bound"),
        (SignalValue(None, "template refused: an empty answer"), "Inconclusive", "an empty answer"),
        (None, "Inconclusive", "no usable value of template refused from prom"),
    ],
)
def test_signals_of_a_sight_reach_their_gate(value: SignalValue | None, verdict: str, told: str) -> None:
    signals = {"refusals": value} if value is not None else {}
    sight = Sight(at(60), samples=(), tracks={}, signals=signals)
    seen, _ = look(make_facts(SIGNAL), state(), (60, sight))
    (report,) = seen.reports
    assert report.verdict == verdict
    assert told in f"{report.observed} {report.message}"


# -- a plan that nobody would count for


@pytest.mark.parametrize(
    ("router", "signals", "gates", "told"),
    [
        ("builtin", None, (ERRORS, LATENCY), ""),
        ("istio", {"preset": "vllm"}, (ERRORS, LATENCY), ""),
        ("gatewayAPI", None, (SIGNAL,), ""),
        ("gatewayAPI", None, (ERRORS, LATENCY), "signals.preset is not given; give workload"),
        ("istio", {"preset": "kserve"}, (ERRORS,), "signals.preset kserve does not tell answers"),
        ("istio", {"preset": "triton"}, (ERRORS,), ""),
        ("istio", {"preset": "triton"}, (ERRORS, LATENCY), "gate latency: preset triton tells no latency"),
        ("istio", {"preset": "triton"}, (ERRORS, replace(LATENCY, stages=frozenset({"shadow"}))), ""),
    ],
)
def test_a_way_that_counts_no_users_needs_metrics_that_do(
    router: Router, signals: dict[str, str] | None, gates: tuple[GateFacts, ...], told: str
) -> None:
    fields = {"signals": signals} if signals else {}
    gap = find_counting_gap(make_facts(*gates), router, workload(**fields))
    assert told in gap
    assert bool(gap) == bool(told)


def test_a_proxy_is_told_of_by_a_prometheus_alone() -> None:
    told = workload(signals={"preset": "istio", "learning": "off"})
    assert "give signals.source" in find_counting_gap(make_facts(ERRORS), "istio", told)
    told = workload(signals={"preset": "istio", "learning": "off", "source": "mesh"})
    assert find_counting_gap(make_facts(ERRORS), "istio", told) == ""


def test_a_segment_that_moves_whole_leaves_no_baseline_to_count() -> None:
    facts = make_facts(ERRORS)
    whole = replace(facts.segments[0], steps=facts.segments[0].steps[-1:])
    told = workload(signals={"preset": "vllm"})
    gap = find_counting_gap(replace(facts, segments=(whole,)), "gatewayAPI", told)
    assert gap.startswith("segment rest begins with 100 %, and router gatewayAPI counts no user")
    assert find_counting_gap(replace(facts, segments=(whole,)), "builtin", told) == ""
    stays = replace(whole, stays=True)
    assert find_counting_gap(replace(facts, segments=(stays,)), "gatewayAPI", told) == ""


def test_the_plans_of_the_examples_have_somebody_who_counts() -> None:
    examples = Path(__file__).parents[4] / "crds" / "examples"
    found = [
        each
        for path in sorted(examples.rglob("*.yaml"))
        for each in yaml.safe_load_all(path.read_text())
        if each is not None
    ]
    specs = {
        each["metadata"]["name"]: InferenceWorkloadSpec.model_validate(each["spec"])
        for each in found
        if each["kind"] == "InferenceWorkload"
    }
    routers = set()
    for each in (each for each in found if each["kind"] == "CutoverPlan"):
        spec = CutoverPlanSpec.model_validate(each["spec"])
        of = specs[spec.workload_ref.name]
        facts = read_plan(spec, of, namespace="shop", name="move", uid="uid", generation=1)
        router = facts.router if facts.router != "auto" else "builtin"
        routers.add(router)
        assert find_counting_gap(facts, router, of) == "", each["metadata"]["name"]
    assert routers == {"builtin", "gatewayAPI", "istio"}
