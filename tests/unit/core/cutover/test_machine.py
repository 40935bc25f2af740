"""The scenarios of a cutover, as sentences: what happens in the world, and what the plan makes of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from tests.unit.core.cutover.cutover_world import (
    ALL,
    NEW,
    OLD,
    World,
    fail_when,
    make_facts,
    make_shadow,
    make_steps,
    report,
)

from switchyard.core.cutover.traffic import find_release_track, wants_release, wants_traffic
from switchyard.core.cutover.types import TERMINAL, GateFacts, SegmentFacts, SideView
from switchyard.core.routing.document import Match

WHOLE = (SegmentFacts("all", None, make_steps(10, 50, 100)),)
UNDER_WAY = ("Provisioning", "Shadowing", "Canary", "Soaking")


def canary_of_one() -> World:
    """A world in the middle of the only segment, at 50 %."""
    world = World(make_facts(segments=WHOLE))
    world.run(lambda state: state.phase == "Canary" and world.weight("all") == 50)
    return world


# -- forward


def test_a_candidate_that_passes_ends_up_serving_everything_segment_by_segment():
    world = World()
    assert world.run_to_end().phase == "Completed"
    steps = list(dict.fromkeys(world.weights))
    assert steps == [(0, 0), (10, 0), (50, 0), (100, 0), (100, 10), (100, 50), (100, 100)]
    assert world.reasons() == [
        "CutoverStarted",
        "Provisioning",
        "ShadowStarted",
        *["StepStarted"] * 6,
        "SoakStarted",
        "Promoting",
        "CutoverCompleted",
    ]
    assert world.state.candidate_replicas == 0
    assert not wants_traffic(world.state)
    assert not wants_release(world.state)


def test_the_service_is_handed_to_the_candidate_before_the_plan_is_done():
    world = World(releases=False)
    world.run_to("Completing")
    world.stay(5)
    assert world.state.phase == "Completing"
    assert find_release_track(world.state) == NEW.track
    world.releases = True
    world.run_to("Completed")


def test_the_plan_is_not_done_before_the_workload_serves_from_the_candidate():
    world = World()
    world.changes["baseline"] = OLD
    world.run_to("Completing")
    assert world.stay(5).phase == "Completing"
    assert "to serve from the candidate" in world.state.message


@pytest.mark.parametrize(("percent", "phases"), [(20, "Shadowing"), (0, "Canary")])
def test_without_copies_the_stage_is_left_out(percent: int, phases: str):
    world = World(make_facts(shadow=make_shadow(percent)))
    state = world.run(lambda state: state.phase not in {"Pending", "Validating", "Provisioning"})
    assert state.phase == phases


def test_the_candidate_gets_pods_ahead_of_each_step_and_only_as_many():
    world = World(make_facts(segments=WHOLE), full=10, room=10)
    seen: dict[int, int] = {}
    world.run(lambda state: bool(state.segments) and _keep(seen, world) and state.phase == "Soaking")
    assert seen == {0: 2, 10: 2, 50: 5, 100: 10}


def _keep(seen: dict[int, int], world: World) -> bool:
    seen.setdefault(world.weight("all"), world.state.candidate_replicas)
    return True


def test_a_weight_waits_for_the_pods_that_it_needs_and_stays_judged_meanwhile():
    world = World(make_facts(segments=WHOLE), room=1)
    world.run(lambda state: state.phase == "Canary" and state.candidate_replicas == 2)
    assert world.stay(20).phase == "Canary"
    assert world.weight("all") == 10
    assert "the next share needs 2 replicas: 1 of 2" in world.state.message
    world.judge = fail_when(lambda world: True)
    world.run_to("RolledBack")


def test_no_step_is_taken_before_the_shortest_time():
    world = World(make_facts(segments=(SegmentFacts("all", None, make_steps(50, 100, min_seconds=1200.0)),)))
    world.run_to("Canary")
    assert world.stay(40).step_index == 0
    world.run(lambda state: state.step_index == 1, ticks=4)


def test_no_step_is_taken_before_the_fewest_samples():
    world = World(samples_per_tick=0)
    world.run_to("Shadowing")
    assert world.stay(30).phase == "Shadowing"
    assert world.state.message == "0 of at least 100 samples"


def test_no_step_is_taken_while_one_gate_of_several_has_not_passed():
    gates = (GateFacts("errors", "errors", ALL), GateFacts("slow", "latency", ALL, threshold_seconds=1.0))
    world = World(make_facts(gates=gates))
    world.judge = lambda world: (
        report("errors"),
        report("slow", "Inconclusive", needed=970, eta_seconds=480.0),
    )
    world.run_to("Shadowing")
    assert world.stay(30).phase == "Shadowing"
    assert world.state.message == "gate slow needs 970 more requests, about 8m"


def test_a_gate_of_another_stage_neither_holds_nor_fails():
    gates = (GateFacts("errors", "errors", ALL), GateFacts("same", "parity", frozenset({"shadow"})))
    world = World(make_facts(gates=gates))
    in_canary = ("Canary", "Soaking")
    world.judge = fail_when(lambda world: world.state.phase in in_canary, name="same")
    assert world.run_to_end().phase == "Completed"


def test_a_stage_without_a_gate_ends_by_time_and_samples():
    world = World(make_facts(gates=(GateFacts("errors", "errors", frozenset({"canary"})),)))
    assert world.run_to_end().phase == "Completed"


def test_segments_that_stay_are_never_moved_and_the_split_is_the_end():
    stays = SegmentFacts("pinned", Match(tier="customer-facing"), (), stays=True)
    world = World(make_facts(segments=(stays, *WHOLE)))
    assert world.run_to_end().phase == "Completed"
    assert world.weights[-1] == (0, 100)
    assert wants_traffic(world.state)
    assert world.state.candidate_replicas == 4
    assert "pinned stays on the baseline" in world.state.message


def test_evidence_and_time_count_only_once_the_path_confirms():
    world = World(confirms=False)
    world.run_to("Shadowing")
    assert world.stay(20).stage_since is None
    assert world.state.evidence == {}
    world.confirms = True
    confirmed = world.run(lambda state: state.stage_since is not None)
    assert confirmed.evidence == {}
    settled = world.run(lambda state: state.evidence != {})
    assert settled.reading_at - settled.stage_since >= timedelta(seconds=30)


def test_each_stage_starts_without_the_evidence_of_the_one_before():
    world = World()
    world.run(lambda state: state.phase == "Shadowing" and state.evidence != {})
    state = world.run_to("Canary")
    assert (state.evidence, state.reading, state.window_index) == ({}, "", 0)


def test_a_step_without_room_for_its_pods_waits_in_a_pause_and_goes_on_when_there_is_some():
    world = World(make_facts(segments=WHOLE), room=1, tick_seconds=120)
    state = world.run_to("Paused")
    assert (state.pause_reason, world.weight("all")) == ("CandidateNotReady", 10)
    assert world.stay(100).phase == "Paused"
    world.room = 8
    assert world.run_to_end().phase == "Completed"


# -- back


@pytest.mark.parametrize(
    ("kind", "gate"),
    [
        ("errors", GateFacts("gate", "errors", ALL)),
        ("latency", GateFacts("gate", "latency", ALL, threshold_seconds=0.5)),
        ("parity", GateFacts("gate", "parity", frozenset({"shadow"}))),
        ("stability", GateFacts("gate", "stability", ALL)),
        ("cost", GateFacts("gate", "cost", frozenset({"canary", "soak"}))),
        ("signal", GateFacts("gate", "signal", ALL)),
    ],
)
def test_a_gate_of_any_kind_that_fails_returns_everything(kind: str, gate: GateFacts):
    world = World(make_facts(segments=WHOLE, gates=(gate,)))
    world.judge = fail_when(lambda world: True, name="gate")
    state = world.run_to_end()
    assert state.phase == "RolledBack"
    assert (state.rollback_reason, world.weights[-1]) == ("GateFailed", (0,))
    assert state.candidate_replicas == 0
    assert not wants_traffic(state)


def test_wrong_answers_never_leave_the_shadow():
    world = World(make_facts(gates=(GateFacts("same", "parity", frozenset({"shadow"})),)))
    world.judge = fail_when(lambda world: world.samples > 50, name="same")
    assert world.run_to_end().phase == "RolledBack"
    assert {weight for weights in world.weights for weight in weights} == {0}


def test_a_segment_that_fails_goes_back_and_the_earlier_one_stays():
    world = World()
    world.judge = fail_when(lambda world: world.state.segment_index == 1, segment="rest")
    state = world.run_to_end()
    assert state.phase == "RolledBack"
    assert world.weights[-1] == (100, 0)
    assert [each.place for each in state.segments] == ["Candidate", "RolledBack"]
    assert state.candidate_replicas == 4
    assert wants_traffic(state)
    assert "on the candidate stay batch 100%" in state.message


def test_the_first_segment_that_fails_ends_the_plan_with_the_others_untouched():
    segments = tuple(
        SegmentFacts(name, match, make_steps(20, 100))
        for name, match in (
            ("batch", Match(tier="batch")),
            ("internal", Match(tier="internal")),
            ("rest", None),
        )
    )
    world = World(make_facts(segments=segments))
    world.judge = fail_when(lambda world: world.state.segment_index == 1, segment="internal")
    world.run_to_end()
    assert world.weights[-1] == (100, 0, 0)
    assert [each.place for each in world.state.segments] == ["Candidate", "RolledBack", "Baseline"]


def test_a_segment_may_ask_for_all_to_go_back_with_it():
    first, second = make_facts().segments
    world = World(make_facts(segments=(first, replace(second, rolls_back_plan=True))))
    world.judge = fail_when(lambda world: world.state.segment_index == 1, segment="rest")
    state = world.run_to_end()
    assert (state.phase, world.weights[-1], state.candidate_replicas) == ("RolledBack", (0, 0), 0)


def test_a_failure_of_the_candidate_as_a_whole_returns_every_segment():
    world = World()
    world.judge = fail_when(lambda world: world.state.segment_index == 1, segment="")
    assert world.run_to_end().phase == "RolledBack"
    assert world.weights[-1] == (0, 0)


def test_traffic_goes_back_before_pods_and_only_once_the_path_says_so():
    world = canary_of_one()
    world.judge = fail_when(lambda world: True)
    world.confirms, world.tick_seconds = False, 4
    world.run_to("RollingBack")
    assert world.weight("all") == 0
    assert world.stay(3).candidate_replicas == 2
    assert wants_traffic(world.state)
    assert not wants_release(world.state)
    world.confirms, world.releases = True, False
    world.run(lambda state: wants_release(state), ticks=2)
    assert find_release_track(world.state) == OLD.track
    assert world.stay(10).candidate_replicas == 2
    world.releases = True
    assert world.run_to("RolledBack").candidate_replicas == 0


def test_a_path_that_never_says_so_is_led_past_where_nobody_is_to_stay_on_the_candidate():
    world = canary_of_one()
    world.judge = fail_when(lambda world: True)
    world.confirms, world.tick_seconds = False, 4
    world.run_to("RollingBack")
    began = world.now
    state = world.run_to("RolledBack")
    assert timedelta(seconds=15) <= world.now - began < timedelta(seconds=40)
    assert (world.released_to, state.candidate_replicas) == (OLD.track, 0)


def test_a_failure_is_acted_on_at_the_look_that_sees_it():
    world = canary_of_one()
    world.run(lambda state: state.stage_since is not None)
    world.judge = fail_when(lambda world: True)
    assert world.look().phase == "RollingBack"
    assert world.weight("all") == 0


def test_a_breach_while_soaking_returns_to_the_warm_baseline_in_one_look():
    world = World(make_facts(segments=WHOLE))
    world.run(lambda state: state.phase == "Soaking" and state.stage_since is not None)
    world.judge = fail_when(lambda world: True)
    world.look()
    assert (world.state.phase, world.weights[-1]) == ("RollingBack", (0,))


def test_a_return_that_takes_too_long_is_reported_and_not_given_up():
    world = canary_of_one()
    world.confirms = world.releases = False
    world.edit(is_aborted=True)
    state = world.stay(60)
    assert (state.phase, state.pause_reason) == ("RollingBack", "ReturnOverdue")
    assert wants_release(state)
    world.releases = True
    world.run_to("Aborted")


def test_a_candidate_that_loses_its_pods_at_half_of_the_traffic_gets_none_at_once():
    world = canary_of_one()
    world.room = world.candidate_ready = 0
    world.look()
    assert (world.state.phase, world.weights[-1]) == ("RollingBack", (0,))
    assert world.state.rollback_reason == "CandidateLost"
    assert world.run_to_end().phase == "RolledBack"


@pytest.mark.parametrize("hold", [{"is_suspended": True}, {"is_automatic": False}])
def test_a_lost_candidate_is_left_also_by_a_plan_on_hold(hold: dict[str, bool]):
    world = canary_of_one()
    world.edit(**hold)
    world.stay(3)
    world.room = world.candidate_ready = 0
    assert world.look().phase == "RollingBack"
    assert world.weight("all") == 0


def test_a_lost_candidate_takes_the_earlier_segments_back_with_it():
    world = World()
    world.judge = fail_when(lambda world: world.state.segment_index == 1, segment="rest")
    world.run_to_end()
    world.room = world.candidate_ready = 0
    world.look()
    assert (world.state.phase, world.weights[-1]) == ("RollingBack", (0, 0))
    assert world.run_to_end().phase == "RolledBack"
    assert not wants_traffic(world.state)


def test_a_baseline_without_pods_halts_the_way_back_while_the_candidate_answers():
    world = canary_of_one()
    world.run(lambda state: state.stage_since is not None)
    world.baseline_ready = 0
    world.judge = fail_when(lambda world: True)
    world.run_to("RollingBack")
    assert world.stay(60).phase == "RollingBack"
    assert (world.weight("all"), world.state.pause_reason) == (50, "RollbackHalted")
    assert world.reasons().count("RollbackHalted") == 1
    world.baseline_ready = 1
    world.look()
    assert world.weight("all") == 0
    assert world.run_to_end().phase == "RolledBack"


def test_a_halted_way_back_goes_on_when_the_candidate_is_lost_too():
    world = canary_of_one()
    world.run(lambda state: state.stage_since is not None)
    world.baseline_ready = 0
    world.judge = fail_when(lambda world: True)
    world.run_to("RollingBack")
    world.room = world.candidate_ready = 0
    world.look()
    assert world.weight("all") == 0


def test_a_baseline_lost_in_shadow_stops_the_copies_until_it_is_back():
    world = World()
    world.run(lambda state: state.phase == "Shadowing" and state.stage_since is not None)
    world.baseline_ready = 0
    state = world.look()
    assert (state.phase, state.pause_reason, state.shadow_percent) == ("Paused", "BaselineLost", 0)
    assert world.stay(30).phase == "Paused"
    world.baseline_ready = 3
    state = world.look()
    assert (state.phase, state.shadow_percent) == ("Shadowing", 20)
    assert world.run_to_end().phase == "Completed"


def test_a_baseline_lost_in_a_canary_freezes_the_weights():
    world = canary_of_one()
    world.baseline_ready = 0
    assert world.stay(50).phase == "Paused"
    assert world.weight("all") == 50


def test_a_rolling_back_plan_never_goes_forward_again_though_gates_pass():
    world = canary_of_one()
    world.run(lambda state: state.stage_since is not None)
    world.releases = False
    world.judge = fail_when(lambda world: True)
    world.run_to("RollingBack")
    world.judge = None
    assert {world.look().phase for _ in range(30)} == {"RollingBack"}


def test_gates_that_may_not_act_by_themselves_wait_for_a_person():
    world = canary_of_one()
    world.edit(is_automatic=False)
    world.judge = fail_when(lambda world: True)
    world.run_to("Paused")
    assert world.stay(20).pause_reason == "GateFailed"
    assert world.weight("all") == 50
    world.judge = None
    world.edit(is_suspended=True)
    world.stay(3)
    world.edit(is_suspended=False)
    assert world.run_to_end().phase == "Completed"


# -- before anything is spent


def test_a_candidate_that_finds_no_room_ends_the_plan_with_nothing_routed():
    world = World(room=0)
    world.changes["candidate_view"] = SideView(1, 0, waiting_for="0/3 nodes are available")
    state = world.run_to_end()
    assert (state.phase, state.rollback_reason) == ("RolledBack", "CandidateNotReady")
    assert "0/3 nodes are available" in state.message
    assert (state.candidate_replicas, state.traffic_version) == (0, 0)
    assert timedelta(minutes=35) <= state.completed_at - state.started_at < timedelta(minutes=37)


def test_a_second_plan_waits_for_the_first_and_begins_when_it_has_ended():
    world = World()
    world.changes["other_plan"] = "earlier"
    assert world.stay(30).phase == "Pending"
    assert world.reasons() == ["WaitingForPlan"]
    world.changes.clear()
    assert world.look().phase == "Provisioning"


def test_a_variant_that_is_taken_away_under_way_returns_everything():
    world = canary_of_one()
    seen = world.observe()
    world.changes["target"] = replace(seen.target, refusal=("VariantNotFound", "no variant inferentia"))
    world.look()
    assert (world.state.phase, world.state.rollback_reason) == ("RollingBack", "TargetGone")


def test_a_shortage_that_newcomers_meet_does_not_end_a_plan_under_way():
    world = canary_of_one()
    seen = world.observe()
    world.changes["target"] = replace(seen.target, refusal=("InsufficientCapacity", "no device is free"))
    assert world.stay(3).phase == "Canary"


def test_a_workload_that_goes_takes_the_plan_with_it():
    world = canary_of_one()
    world.changes["workload_problem"] = ("WorkloadNotFound", "there is no InferenceWorkload team/chat")
    state = world.look()
    assert (state.phase, state.rollback_reason) == ("Aborted", "WorkloadNotFound")
    assert not wants_traffic(state)


def test_a_workload_that_cannot_be_read_freezes_the_plan():
    world = canary_of_one()
    world.changes |= {
        "workload_problem": ("InvalidSpec", "spec.model: no such field"),
        "candidate_view": SideView(),
        "baseline_view": SideView(),
    }
    state = world.stay(20)
    assert (state.phase, world.weight("all")) == ("Canary", 50)
    assert state.message == "spec.model: no such field"
    world.changes.clear()
    assert world.run_to_end().phase == "Completed"


# -- an end


@pytest.mark.parametrize("end", ["Completed", "RolledBack", "Aborted"])
def test_an_end_stays_whatever_is_seen(end: str):
    world = World(make_facts(segments=WHOLE))
    if end == "RolledBack":
        world.judge = fail_when(lambda world: True)
    world.run_to("Shadowing")
    world.edit(is_aborted=end == "Aborted")
    world.run_to(end)
    ended = world.state
    world.judge, world.room, world.baseline_ready = fail_when(lambda world: True), 0, 0
    world.edit(is_suspended=True)
    assert world.stay(20) == replace(ended, generation=ended.generation + 1)
    assert world.observe().now > ended.completed_at


def test_a_restart_keeps_the_history_and_counts_the_attempt():
    world = World(make_facts(segments=WHOLE))
    world.judge = fail_when(lambda world: True)
    world.run_to("RolledBack")
    before, version = len(world.state.history), world.state.traffic_version
    world.judge = None
    world.edit(restart_token="again")
    assert world.run_to_end().phase == "Completed"
    assert world.state.attempt == 2
    assert len(world.state.history) > before
    assert "RolledBack" in {each.phase for each in world.state.history}
    assert world.state.traffic_version > version
    assert world.stay(5).phase == "Completed"


def test_a_restart_with_users_on_both_sides_returns_them_first():
    world = World()
    world.judge = fail_when(lambda world: world.state.segment_index == 1, segment="rest")
    world.run_to("RolledBack")
    world.judge = None
    world.edit(restart_token="again")
    world.look()
    assert (world.state.phase, world.weights[-1]) == ("RollingBack", (0, 0))
    assert world.run_to("Completed").attempt == 2


@pytest.mark.parametrize("end", [{"is_aborted": True}, {"is_deleting": True}])
def test_an_abort_or_a_deletion_returns_what_an_end_left_on_the_candidate(end: dict[str, bool]):
    world = World()
    world.judge = fail_when(lambda world: world.state.segment_index == 1, segment="rest")
    world.run_to("RolledBack")
    world.edit(**end)
    assert world.run_to("Aborted").candidate_replicas == 0
    assert world.weights[-1] == (0, 0)


def test_a_restart_token_means_nothing_while_the_plan_is_under_way():
    world = canary_of_one()
    world.edit(restart_token="again")
    world.stay(2)
    assert world.state.attempt == 1
    assert world.state.phase not in TERMINAL


# -- money and time


def test_a_plan_over_its_dual_run_budget_goes_back():
    world = World(make_facts(max_dual_run_cost=Decimal(1)), tick_seconds=30)
    world.verdict = "Inconclusive"
    state = world.run_to_end()
    assert (state.phase, state.rollback_reason) == ("RolledBack", "DualRunBudgetExceeded")
    assert Decimal(1) < state.dual_run_cost < Decimal("1.1")


def test_a_plan_past_its_deadline_goes_back():
    world = World(make_facts(deadline_seconds=600.0))
    world.verdict = "Inconclusive"
    state = world.run_to_end()
    assert (state.phase, state.rollback_reason) == ("RolledBack", "DeadlineExceeded")
    assert state.completed_at - state.started_at < timedelta(seconds=720)
