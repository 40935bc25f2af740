"""What holds for every sequence of things that may be seen, and of edits by the author."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.core.cutover.cutover_world import (
    ALL,
    BEGIN,
    NEW,
    OLD,
    World,
    fail_when,
    make_facts,
    make_shadow,
    make_steps,
    report,
    restore,
)

from switchyard.core.cutover.copies import ask_copies, ask_load
from switchyard.core.cutover.judging import find_stage, has_passed
from switchyard.core.cutover.machine import step
from switchyard.core.cutover.traffic import (
    build_traffic_plan,
    find_acting_phase,
    is_split,
    wants_release,
    wants_traffic,
)
from switchyard.core.cutover.types import (
    TERMINAL,
    GateFacts,
    Observation,
    PlanFacts,
    SegmentFacts,
    SideView,
    State,
    TargetView,
)
from switchyard.core.routing.document import Match
from switchyard.core.routing.plan import Feature, RouteState, Support

ERRORS = GateFacts("errors", "errors", ALL)


def _segments(*, stays: bool, rolls_back_plan: bool) -> tuple[SegmentFacts, ...]:
    short = make_steps(10, 100, max_seconds=900.0)
    return (
        SegmentFacts("batch", Match(tier="batch"), short),
        *((SegmentFacts("pinned", Match(tier="customer-facing"), (), stays=True),) if stays else ()),
        SegmentFacts("rest", None, short, rolls_back_plan=rolls_back_plan),
    )


plans = st.builds(
    lambda percent, compared, stays, whole, **told: make_facts(
        gates=(ERRORS, GateFacts("same", "parity", compared)) if percent else (ERRORS,),
        shadow=make_shadow(percent, max_seconds=900.0),
        segments=_segments(stays=stays, rolls_back_plan=whole),
        retain_seconds=60.0,
        **told,
    ),
    percent=st.sampled_from([0, 20, 100]),
    compared=st.sampled_from([frozenset({"shadow"}), frozenset({"shadow", "canary"})]),
    stays=st.booleans(),
    whole=st.booleans(),
    on_inconclusive=st.sampled_from(["pause", "rollback"]),
    is_automatic=st.sampled_from([True, True, False]),
    approvals=st.sampled_from([*[frozenset()] * 4, frozenset({"shadow"}), frozenset({"canary", "promote"})]),
    max_dual_run_cost=st.sampled_from([None, None, Decimal(2)]),
    deadline_seconds=st.sampled_from([None, None, 7200.0]),
)
EDITS: list[dict[str, Any]] = [
    {"is_suspended": True},
    {"is_suspended": False},
    {"is_aborted": True},
    {"is_aborted": False},
    {"is_deleting": True},
    {"restart_token": "a"},
    {"restart_token": "b"},
    {"approved": frozenset({"shadow", "canary", "promote"})},
    {"approvals": frozenset()},
    {"segments": (SegmentFacts("all", None, make_steps(50, 100)),)},
    {"segments": _segments(stays=False, rolls_back_plan=False)},
]
GOOD: dict[str, Any] = {
    "seconds": 60,
    "candidate_ready": 8,
    "baseline_ready": 3,
    "replicas": 4,
    "route": "wanted",
    "verdicts": ("Pass", "Pass"),
    "segment": "",
    "missing": "",
    "samples": 200,
    "is_blind": False,
    "is_released": True,
    "is_active": True,
    "inputs_hash": "h",
    "other_plan": "",
    "problem": None,
    "utilisation": 0.5,
    "edit": None,
}
DISTURBED: dict[str, list[Any]] = {
    "seconds": [1, 30, 200, 1000],
    "candidate_ready": [0, 1, 2],
    "baseline_ready": [0],
    "replicas": [8, 1, 0],
    "route": ["older", "none", "unknown", "ahead", "waiting"],
    "verdicts": [("Fail", "Pass"), ("Pass", "Fail"), ("Inconclusive", "Pass"), ("Error", "Pass")],
    "segment": ["batch", "rest", "pinned"],
    "missing": ["candidate", "both"],
    "samples": [10],
    "is_blind": [True],
    "is_released": [False],
    "is_active": [False],
    "inputs_hash": ["other"],
    "other_plan": ["earlier"],
    "problem": [("InvalidSpec", "?"), ("WorkloadNotFound", "gone")],
    "utilisation": [None, 0.1, 2.0],
    "edit": EDITS,
}
disturbances = st.sampled_from(sorted(DISTURBED)).flatmap(
    lambda key: st.tuples(st.just(key), st.sampled_from(DISTURBED[key]))
)
looks = st.lists(disturbances, max_size=2).map(lambda found: {**GOOD, **dict(found)})
# as many good looks as lead to some phase, then disturbed ones in threes, so that each can be recovered from
sequences = st.builds(
    lambda good, disturbed: [GOOD] * good + [each for look in disturbed for each in (look, GOOD, GOOD)],
    st.integers(0, 24),
    st.lists(looks, min_size=6, max_size=16),
)


def see(state: State, now, told: dict[str, Any]) -> Observation:
    version = {
        "wanted": state.traffic_version,
        "older": max(0, state.traffic_version - 1),
        "ahead": state.traffic_version + 3,
        "waiting": state.traffic_version,
    }.get(told["route"])
    route = RouteState(
        is_engaged=wants_traffic(state) and told["route"] != "none",
        version=version,
        waiting_for="routers" if told["route"] == "waiting" else "",
    )
    reports = tuple(
        report(
            name,
            verdict,
            told["segment"] if name == "errors" else "",
            missing=told["missing"] if verdict == "Inconclusive" else "",
        )
        for name, verdict in zip(("errors", "same"), told["verdicts"], strict=True)
    )
    return Observation(
        now=now,
        inputs_hash=told["inputs_hash"],
        workload_problem=told["problem"],
        other_plan=told["other_plan"],
        baseline=NEW if find_acting_phase(state) == "Completing" and told["is_active"] else OLD,
        baseline_view=SideView(3, told["baseline_ready"], cost_per_hour=Decimal(6)),
        candidate_view=SideView(
            state.candidate_replicas,
            min(told["candidate_ready"], state.candidate_replicas),
            cost_per_hour=Decimal(2),
            utilisation_ratio=told["utilisation"],
        ),
        target=TargetView(pool="inf2", track=NEW.track, replicas=told["replicas"], cost_per_hour=Decimal(2)),
        route=None if told["route"] == "unknown" else route,
        support=Support(frozenset(Feature)),
        reports=reports,
        samples=told["samples"],
        evidence={"errors": f"{now:%H%M%S}"},
        reading="r",
        reading_at=now,
        window_index=state.window_index + 1,
        is_blind=told["is_blind"],
        is_released=told["is_released"] and wants_release(state),
    )


def walk(facts: PlanFacts, sequence: list[dict[str, Any]]):
    """Every look of a sequence: the facts, the state before, what was seen, and what came of it."""
    state, now = State(), BEGIN
    for told in sequence:
        now += timedelta(seconds=told["seconds"])
        if told["edit"]:
            facts = replace(facts, generation=facts.generation + 1, **told["edit"])
        seen = see(state, now, told)
        stepped = step(facts, state, seen)
        yield facts, state, seen, stepped
        state = stepped.state


ALWAYS = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def weights_of(state: State) -> dict[str, int]:
    return {each.name: each.weight_percent for each in state.segments}


@ALWAYS
@given(plans, sequences)
def test_shares_are_percentages_one_segment_moves_and_those_that_stay_never_do(facts, sequence):
    for _, _, _, stepped in walk(facts, sequence):
        state = stepped.state
        assert all(0 <= each.weight_percent <= 100 for each in state.segments)
        assert sum(each.place == "Moving" for each in state.segments) <= 1
        assert all(each.weight_percent == 0 for each in state.segments if each.place in {"Stays", "Baseline"})
        assert 0 <= state.shadow_percent <= 100


@ALWAYS
@given(plans, sequences)
def test_a_share_is_raised_only_onto_ready_pods_that_can_carry_it(facts, sequence):
    for _, before, seen, stepped in walk(facts, sequence):
        was = weights_of(before)
        for name, weight in weights_of(stepped.state).items():
            if weight > was.get(name, 0):
                needed = -(-seen.target.replicas * weight // 100)
                assert 0 < needed <= seen.candidate_view.ready
                assert seen.baseline_view.ready > 0


@ALWAYS
@given(plans, sequences)
def test_copies_are_made_beside_users_only_where_a_gate_needs_them_and_onto_ready_pods(facts, sequence):
    for plan, before, seen, stepped in walk(facts, sequence):
        state = stepped.state
        if find_acting_phase(state) not in {"Shadowing", "Canary"}:
            assert state.shadow_percent == 0
        if find_acting_phase(state) != "Canary" or not state.shadow_percent:
            continue
        weight = state.segments[state.segment_index].weight_percent
        assert 0 < state.shadow_percent <= ask_copies(plan, weight)
        if state.shadow_percent > before.shadow_percent:
            needed = -(-seen.target.replicas * ask_load(plan, weight) // 100)
            assert 0 < needed <= seen.candidate_view.ready


@ALWAYS
@given(plans, sequences)
def test_a_share_is_raised_only_after_a_pass_of_every_gate_of_the_stage(facts, sequence):
    for plan, before, seen, stepped in walk(facts, sequence):
        was = weights_of(before)
        raised = [name for name, weight in weights_of(stepped.state).items() if weight > was.get(name, 0)]
        if not raised or find_stage(before) is None:
            assert not raised or find_acting_phase(before) == "Provisioning"
            continue
        assert before.stage_since is not None
        assert has_passed(plan, before, seen)
        assert seen.now - before.stage_since >= timedelta(seconds=60)
        assert seen.samples >= 100
        assert not plan.is_suspended
        assert not plan.is_aborted


@ALWAYS
@given(plans, sequences)
def test_an_end_is_left_only_for_a_new_start_or_to_return_users(facts, sequence):
    for _, before, _, stepped in walk(facts, sequence):
        if before.phase in TERMINAL and stepped.state.phase != before.phase:
            is_new_start = stepped.state.attempt == before.attempt + 1
            assert is_new_start or (is_split(before) and stepped.state.rollback_to != "")
            assert not (is_new_start and is_split(before))


@ALWAYS
@given(plans, sequences)
def test_a_plan_on_its_way_back_never_goes_forward(facts, sequence):
    for _, before, _, stepped in walk(facts, sequence):
        if before.phase == "RollingBack" and stepped.state.attempt == before.attempt:
            assert stepped.state.phase in {"RollingBack", "RolledBack", "Aborted"}
            was = weights_of(before)
            assert all(weight <= was[name] for name, weight in weights_of(stepped.state).items())


@ALWAYS
@given(plans, sequences)
def test_the_version_of_the_traffic_never_falls_and_rises_with_every_change(facts, sequence):
    for _, before, seen, stepped in walk(facts, sequence):
        after = stepped.state
        assert after.traffic_version >= before.traffic_version
        same = (weights_of(before), before.shadow_percent) == (weights_of(after), after.shadow_percent)
        is_restart = after.attempt > before.attempt or not before.segments
        gone = seen.workload_problem is not None and seen.workload_problem[0] == "WorkloadNotFound"
        assert same or is_restart or gone or after.traffic_version > before.traffic_version


@ALWAYS
@given(plans, sequences)
def test_the_same_observation_a_second_time_changes_and_says_nothing(facts, sequence):
    for plan, _, seen, stepped in walk(facts, sequence):
        again = step(plan, stepped.state, seen)
        assert again.state == stepped.state
        assert again.notes == ()
        assert again.recheck_at == stepped.recheck_at


@ALWAYS
@given(plans, sequences)
def test_a_restart_of_the_operator_at_any_point_changes_nothing(facts, sequence):
    for _, _, _, stepped in walk(facts, sequence):
        assert restore(stepped.state) == stepped.state


@ALWAYS
@given(plans, sequences)
def test_every_state_has_traffic_that_can_be_built_and_a_time_to_look_again(facts, sequence):
    for plan, _, seen, stepped in walk(facts, sequence):
        state = stepped.state
        assert not (wants_traffic(state) and wants_release(state))
        if wants_traffic(state) or wants_release(state):
            built = build_traffic_plan(plan, state, workload_uid="uid", port=8080)
            assert built.version == state.traffic_version > 0
        if state.phase not in TERMINAL:
            assert state.deadline is not None or state.phase == "Pending"
            assert stepped.recheck_at is not None
            assert stepped.recheck_at > seen.now


@ALWAYS
@given(plans, sequences)
def test_users_leave_a_candidate_without_pods_at_the_look_that_sees_it(facts, sequence):
    for _, before, seen, stepped in walk(facts, sequence):
        is_readable = seen.workload_problem is None
        if before.phase in {"Canary", "Soaking", "Paused"} and seen.candidate_view.ready == 0 and is_readable:
            assert set(weights_of(stepped.state).values()) <= {0}


@ALWAYS
@given(plans, sequences)
def test_pods_of_the_candidate_stay_while_users_or_copies_may_reach_it(facts, sequence):
    for _, _, _, stepped in walk(facts, sequence):
        state = stepped.state
        if wants_traffic(state) or wants_release(state):
            assert state.candidate_replicas > 0


@ALWAYS
@given(plans, sequences)
def test_every_transition_is_in_the_history_which_is_bounded(facts, sequence):
    for _, before, _, stepped in walk(facts, sequence):
        after = stepped.state
        assert len(after.history) <= 30
        if after.phase != before.phase:
            assert stepped.notes
            assert after.history[-1].phase == after.phase


@ALWAYS
@given(plans, sequences, st.sampled_from(["is_aborted", "is_deleting"]))
def test_from_anywhere_an_abort_reaches_its_end_once_the_path_confirms(facts, sequence, how):
    last = list(walk(facts, sequence))[-1]
    world = World(facts=replace(last[0], is_suspended=True, **{how: True}), state=last[3].state)
    world.now = last[2].now + timedelta(seconds=30)
    world.candidate_ready = last[3].state.candidate_replicas
    world.version = last[3].state.traffic_version
    state = world.run_to_end(ticks=12)
    world.stay(6)
    state = world.state
    assert state.phase in TERMINAL
    assert not wants_traffic(state)
    assert state.candidate_replicas == 0


@ALWAYS
@given(plans, st.integers(0, 60))
def test_a_good_candidate_is_promoted_and_a_bad_one_never_whatever_the_plan(facts, ticks):
    good = World(
        facts=replace(facts, approved=facts.approvals, max_dual_run_cost=None, deadline_seconds=None)
    )
    assert good.run_to_end().phase == "Completed"
    bad = World(facts=replace(good.facts, is_automatic=True))
    bad.judge = fail_when(lambda world: len(world.weights) > ticks)
    if bad.run_to_end().phase == "Completed":
        assert len(bad.weights) <= ticks + 3
    versions = [each for each, _ in itertools.groupby(bad.weights)]
    assert versions[0] in {(0, 0), (0, 0, 0), ()}
