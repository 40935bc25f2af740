"""What a state asks of the traffic."""

from __future__ import annotations

import pytest
from tests.unit.core.cutover.cutover_world import ALL, BEGIN, NEW, OLD, make_facts, make_shadow, make_steps

from switchyard.core.cutover.traffic import (
    build_traffic_plan,
    find_release_track,
    is_split,
    wants_release,
    wants_traffic,
)
from switchyard.core.cutover.types import GateFacts, SegmentFacts, SegmentState, State
from switchyard.core.routing.document import Comparator, Exclusion, Match, Stickiness
from switchyard.core.routing.router_document import Addresses, build_document

FACTS = make_facts(
    segments=(
        SegmentFacts("batch", Match(tier="batch"), make_steps(10, 100), Stickiness(header="x-session")),
        SegmentFacts("pinned", Match(path_prefix="/v1/pinned"), (), stays=True),
        SegmentFacts("rest", None, make_steps(10, 100)),
    ),
    gates=(
        GateFacts("errors", "errors", ALL),
        GateFacts("slow", "latency", ALL, metric="ttft", threshold_seconds=0.5),
        GateFacts("slow-soak", "latency", frozenset({"soak"}), metric="ttft", threshold_seconds=0.5),
        GateFacts("late", "latency", ALL, metric="latency", threshold_seconds=2.0),
        GateFacts("same", "parity", ALL, comparator=Comparator(type="json"), comparator_name="json"),
    ),
    shadow=make_shadow(
        20,
        exclude=(Exclusion(path_prefix="/v1/files"),),
        max_concurrency=7,
        noise_percent=3,
        replay_percent=60,
    ),
)


def state(phase: str, weights=(0, 0, 0), **changes) -> State:
    places = ("Moving", "Stays", "Baseline")
    told = {"traffic_version": 9, "candidate_replicas": 2, **changes}
    return State(
        phase=phase,
        baseline=OLD,
        candidate=NEW,
        segments=tuple(
            SegmentState(each.name, place, weight)
            for each, place, weight in zip(FACTS.segments, places, weights, strict=True)
        ),
        **told,
    )


def test_the_plan_says_all_that_the_state_asks_for():
    plan = build_traffic_plan(FACTS, state("Canary", (10, 0, 0)), workload_uid="uid-1", port=8000)
    assert (plan.key, plan.workload_uid, plan.holder, plan.version) == (("team", "chat"), "uid-1", "move", 9)
    assert (plan.baseline.service, plan.candidate.service, plan.candidate.port) == (
        OLD.track,
        NEW.track,
        8000,
    )
    assert [(each.name, each.candidate_percent) for each in plan.segments] == [
        ("batch", 10),
        ("pinned", 0),
        ("rest", 0),
    ]
    assert plan.segments[0].sticky == Stickiness(header="x-session")
    assert [(each.metric, each.seconds) for each in plan.measure.thresholds] == [
        ("ttft", 0.5),
        ("latency", 2.0),
    ]
    assert plan.comparators == (Comparator(type="json"),)
    assert (plan.shadow.max_concurrency, plan.shadow.noise_percent) == (7, 3)
    assert plan.shadow.replay_percent == 60
    assert plan.shadow.exclude == (Exclusion(path_prefix="/v1/files"),)


def test_copies_are_made_of_what_is_to_move_only():
    plan = build_traffic_plan(FACTS, state("Shadowing", shadow_percent=20), workload_uid="u", port=80)
    assert [each.shadow_percent for each in plan.segments] == [20, 0, 20]
    assert build_document(plan, Addresses("http://10.0.0.1:80", "http://10.0.0.2:80")).version == 9 * 1024


def test_without_a_gate_of_parity_answers_are_compared_as_they_are():
    plan = build_traffic_plan(make_facts(), state("Shadowing"), workload_uid="u", port=80)
    assert plan.comparators == (Comparator(type="exact"),)


def test_before_the_sides_are_chosen_there_is_no_plan():
    with pytest.raises(ValueError, match="team/move has not chosen its sides"):
        build_traffic_plan(FACTS, State(), workload_uid="u", port=80)


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        (state("Pending"), "nothing"),
        (state("Validating"), "nothing"),
        (state("AwaitingApproval"), "nothing"),
        (state("Provisioning"), "nothing"),
        (state("Shadowing"), "held"),
        (state("Canary", (10, 0, 0)), "held"),
        (state("Soaking", (100, 0, 100)), "held"),
        (state("Paused", (10, 0, 0), resume_phase="Canary"), "held"),
        (state("Paused", resume_phase="Provisioning"), "nothing"),
        (state("Completing", (100, 0, 100)), NEW.track),
        (state("Completed", (100, 0, 100), candidate_replicas=0), "nothing"),
        (state("Completed", (100, 0, 100)), "held"),
        (state("RollingBack", (10, 0, 0)), "held"),
        (state("RollingBack"), "held"),
        (state("RollingBack", stage_since=BEGIN), OLD.track),
        (state("RollingBack", (100, 0, 0), stage_since=BEGIN), "held"),
        (state("RolledBack", candidate_replicas=0), "nothing"),
        (state("RolledBack", (100, 0, 0)), "held"),
        (state("Aborted", candidate_replicas=0), "nothing"),
    ],
)
def test_traffic_is_held_given_back_or_left_alone(at: State, expected: str):
    assert wants_traffic(at) is (expected == "held")
    assert wants_release(at) is (expected not in {"held", "nothing"})
    assert find_release_track(at) == ("" if expected in {"held", "nothing"} else expected)
    assert is_split(at) is (at.phase in {"Completed", "RolledBack"} and expected == "held")
