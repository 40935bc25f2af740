"""What holds a plan: persons, the clock, missing evidence, edits; and that abort works in every phase."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from tests.unit.core.cutover.cutover_world import (
    BEGIN,
    World,
    fail_when,
    make_facts,
    make_shadow,
    make_steps,
    report,
)

from switchyard.core.cutover.traffic import wants_release, wants_traffic
from switchyard.core.cutover.types import SegmentFacts, SideView, WindowFacts
from switchyard.core.routing.plan import Drift, RouteState

WHOLE = (SegmentFacts("all", None, make_steps(10, 50, 100)),)
PHASES = (
    "Pending",
    "Validating",
    "AwaitingApproval",
    "Provisioning",
    "Shadowing",
    "Canary",
    "Soaking",
    "Completing",
)
WEEKDAYS = WindowFacts(frozenset(range(5)), 9 * 60, 16 * 60, "UTC")  # the world begins on a Saturday


def world_in(phase: str) -> World:
    """A world that stays in that phase until it is told otherwise."""
    world = World(make_facts(segments=WHOLE))
    if phase == "Pending":
        world.changes["other_plan"] = "earlier"
    if phase == "Validating":
        world.changes["support"] = None
    if phase == "AwaitingApproval":
        world.edit(approvals=frozenset({"shadow"}))
    if phase == "Provisioning":
        world.room = 0
    if phase == "Completing":
        world.releases = False
    return world


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("how", ["is_aborted", "is_deleting"])
def test_abort_and_deletion_work_in_every_phase(phase: str, how: str):
    world = world_in(phase)
    world.run_to(phase)
    world.stay(2)
    world.edit(**{how: True})
    world.releases = True
    state = world.run_to_end()
    assert state.phase == "Aborted"
    assert state.candidate_replicas == 0
    assert set(world.weights[-1]) <= {0}
    assert not wants_traffic(state)
    assert not wants_release(state)


@pytest.mark.parametrize("phase", [each for each in PHASES if each != "Completing"])
def test_suspend_holds_every_phase_and_goes_on_where_it_was(phase: str):
    world = world_in(phase)
    world.run_to(phase)
    world.edit(is_suspended=True)
    state = world.look()
    assert (state.phase, state.resume_phase, state.pause_reason) == ("Paused", phase, "Suspended")
    held = world.weights[-1]
    assert world.stay(50).phase == "Paused"
    assert world.weights[-1] == held
    world.edit(is_suspended=False, approvals=frozenset())
    world.changes.clear()
    world.room = 8
    assert world.run_to_end().phase == "Completed"


@pytest.mark.parametrize("phase", ["Completing", "RollingBack"])
def test_what_is_on_its_way_to_an_end_is_not_suspended(phase: str):
    world = world_in("Completing")
    if phase == "RollingBack":
        world.judge = fail_when(lambda world: True)
    world.run_to(phase)
    world.edit(is_suspended=True)
    world.releases = True
    assert world.run_to_end().phase in {"Completed", "RolledBack"}


def test_abort_of_a_suspended_plan_returns_everything():
    world = World(make_facts(segments=WHOLE))
    world.run(lambda state: state.phase == "Canary" and world.weight("all") == 50)
    world.edit(is_suspended=True)
    world.stay(3)
    world.edit(is_aborted=True)
    assert world.run_to_end().phase == "Aborted"
    assert world.weights[-1] == (0,)


def test_a_gate_that_fails_returns_a_suspended_plan():
    world = World(make_facts(segments=WHOLE))
    world.run_to("Canary")
    world.edit(is_suspended=True)
    world.stay(3)
    world.judge = fail_when(lambda world: True)
    assert world.run_to_end().phase == "RolledBack"


def test_a_step_that_was_raised_just_before_a_suspension_is_judged():
    world = World(make_facts(segments=WHOLE), confirms=False)
    world.run_to("Shadowing")
    world.edit(is_suspended=True)
    world.stay(2)
    world.confirms = True
    assert world.stay(2).stage_since is not None


# -- approvals


@pytest.mark.parametrize(
    ("stage", "held_in", "resumes"),
    [
        ("shadow", "AwaitingApproval", None),
        ("canary", "Paused", "Shadowing"),
        ("segment:batch", "Paused", "Shadowing"),
        ("segment:rest", "Paused", "Canary"),
        ("promote", "Paused", "Soaking"),
    ],
)
def test_a_stage_waits_for_its_approval(stage: str, held_in: str, resumes: str | None):
    world = World(make_facts(approvals=frozenset({stage})))
    state = world.run_to(held_in)
    asked = state.requested[stage]
    assert (state.pause_reason, state.resume_phase) == ("AwaitingApproval", resumes)
    assert world.stay(50).requested == {stage: asked}
    assert stage in world.state.message
    world.edit(approved=frozenset({stage}))
    world.look()
    assert world.state.approved == {stage: world.now - timedelta(seconds=30)}
    assert world.run_to_end().phase == "Completed"
    assert world.reasons().count("Approved") == 1


def test_without_copies_the_canary_is_approved_before_pods_are_started():
    world = World(make_facts(shadow=make_shadow(0), approvals=frozenset({"canary"})))
    world.run_to("AwaitingApproval")
    assert world.state.candidate_replicas == 0


def test_an_approval_given_early_is_not_asked_for():
    world = World(make_facts(approvals=frozenset({"canary"}), approved=frozenset({"canary"})))
    assert world.run_to_end().phase == "Completed"
    assert world.state.requested == {}


def test_an_approval_that_is_taken_back_later_still_counts():
    world = World(make_facts(approvals=frozenset({"canary"}), approved=frozenset({"canary"})))
    world.run_to("Shadowing")
    world.edit(approved=frozenset())
    assert world.run_to_end().phase == "Completed"


def test_an_approval_does_not_stand_in_for_a_pass():
    world = World(make_facts(approvals=frozenset({"canary"})))
    world.run_to("Paused")
    world.verdict = "Inconclusive"
    world.edit(approved=frozenset({"canary"}))
    assert world.stay(20).phase == "Shadowing"


def test_things_that_changed_while_it_waited_are_checked_again():
    world = World(make_facts(approvals=frozenset({"shadow"})))
    world.run_to("AwaitingApproval")
    world.changes["workload_problem"] = ("ModeNotSupported", "placement.mode is mixed")
    world.edit(approved=frozenset({"shadow"}))
    assert world.look().phase == "Validating"
    assert world.state.candidate_replicas == 0


# -- windows


def test_traffic_moves_only_in_a_window():
    world = World(make_facts(segments=WHOLE, windows=(WEEKDAYS,)), tick_seconds=600)
    state = world.run_to("Paused")
    assert (state.pause_reason, state.resume_phase) == ("OutsideWindow", "Provisioning")
    assert "the next opens at 2026-11-23 09:00 UTC" in state.message
    state = world.run(lambda state: state.phase == "Shadowing", ticks=2000)
    assert state.phase_since.weekday() == 0
    assert state.phase_since.hour == 9


def test_a_way_back_needs_no_window():
    world = World(make_facts(segments=WHOLE))
    world.run_to("Canary")
    world.edit(windows=(WEEKDAYS,))
    world.stay(2)
    world.judge = fail_when(lambda world: True)
    assert world.run_to_end().phase == "RolledBack"


def test_a_window_that_closes_holds_the_next_step_only():
    world = World(make_facts(segments=WHOLE))
    world.run(lambda state: state.phase == "Canary" and world.weight("all") == 50)
    world.edit(windows=(WEEKDAYS,))
    state = world.run_to("Paused")
    assert (state.pause_reason, world.weight("all")) == ("OutsideWindow", 50)


# -- evidence


def test_metrics_that_are_gone_for_ten_minutes_freeze_the_weights_and_it_goes_on_by_itself():
    world = World(make_facts(segments=WHOLE, inconclusive_seconds=900.0))
    world.run(lambda state: state.phase == "Canary" and world.weight("all") == 50 and state.evidence != {})
    evidence = world.state.evidence
    world.judge = lambda world: (report(verdict="Error", message="Prometheus: connection refused"),)
    world.changes |= {"is_blind": True, "reading_at": None}
    state = world.look()
    assert (state.phase, state.pause_reason, state.reading) == ("Paused", "EvidenceMissing", "")
    assert world.stay(20).phase == "Paused"
    assert (world.weight("all"), world.state.evidence) == (50, evidence)
    world.judge = None
    world.changes.clear()
    world.look()
    assert world.state.phase == "Canary"
    assert world.run_to_end().phase == "Completed"


@pytest.mark.parametrize(
    "told",
    [
        report(verdict="Error", message="the query matches 2 series"),
        report(verdict="Inconclusive", missing="candidate"),
        report(verdict="Inconclusive", missing="baseline"),
        report(verdict="Inconclusive", missing="both"),
    ],
)
def test_a_missing_side_is_neither_pass_nor_failure(told):
    world = World()
    world.run_to("Shadowing")
    world.judge = lambda world: (told,)
    state = world.run_to("Paused")
    assert state.pause_reason == "EvidenceMissing"
    assert "gate errors" in state.message
    assert world.stay(200).phase == "Paused"


def test_a_short_gap_is_waited_out_without_a_pause():
    world = World()
    world.run(lambda state: state.phase == "Shadowing" and state.evidence != {})
    world.judge = lambda world: (report(verdict="Inconclusive", missing="candidate"),)
    assert world.stay(2).phase == "Shadowing"
    world.judge = None
    world.stay(1)
    assert world.state.inconclusive_since is None


def test_a_gate_that_says_nothing_holds_the_plan():
    world = World()
    world.run_to("Shadowing")
    world.judge = lambda world: ()
    assert world.run_to("Paused").message == "no evidence: no verdict of gate errors"


def test_missing_evidence_rolls_back_at_its_time_where_the_author_wants_it():
    world = World(make_facts(on_inconclusive="rollback"))
    world.run_to("Canary")
    world.judge = lambda world: (report(verdict="Inconclusive", missing="candidate"),)
    began = world.now
    state = world.run_to_end()
    assert (state.phase, state.rollback_reason) == ("RolledBack", "EvidenceMissing")
    assert timedelta(seconds=600) <= state.completed_at - began <= timedelta(seconds=840)


def test_no_traffic_over_night_neither_advances_nor_returns():
    world = World(make_facts(segments=WHOLE), tick_seconds=60)
    world.run(lambda state: state.phase == "Canary" and world.weight("all") == 10)
    world.judge = lambda world: (report(verdict="Inconclusive", missing="both", samples=0),)
    world.stay(600)
    assert (world.state.phase, world.weight("all")) == ("Paused", 10)
    world.judge = None
    assert world.run_to_end().phase == "Completed"


@pytest.mark.parametrize(("wanted", "end"), [("pause", "Paused"), ("rollback", "RolledBack")])
def test_a_stage_that_does_not_decide_in_its_longest_time_does_what_the_author_wants(wanted, end):
    world = World(make_facts(on_inconclusive=wanted))
    world.run_to("Shadowing")
    world.judge = lambda world: (report(verdict="Inconclusive", needed=10),)
    state = world.run_to(end)
    assert world.now - BEGIN > timedelta(hours=1)
    assert "StageOverdue" in (state.pause_reason, state.rollback_reason)
    if end == "Paused":
        world.judge = None
        assert world.run_to_end().phase == "Completed"


def test_a_pause_does_not_last_for_ever():
    world = World(tick_seconds=3600)
    world.run_to("Provisioning")
    world.edit(is_suspended=True)
    world.run_to("Paused")
    state = world.run_to_end(ticks=24 * 31)
    assert (state.phase, state.rollback_reason) == ("RolledBack", "DeadlineExceeded")


@pytest.mark.parametrize("phase", PHASES)
def test_every_phase_that_is_no_end_has_a_deadline(phase: str):
    world = world_in(phase)
    state = world.run_to(phase) if phase != "Pending" else world.look()
    assert state.deadline is not None
    assert state.deadline > state.phase_since


@pytest.mark.parametrize("phase", ["Pending", "Validating", "AwaitingApproval"])
def test_a_plan_that_never_may_begin_is_given_up_untouched(phase: str):
    world = world_in(phase)
    world.tick_seconds = 3600
    state = world.run_to_end(ticks=24 * 32)
    assert (state.phase, state.rollback_reason) == ("Aborted", "DeadlineExceeded")
    assert (state.traffic_version, state.candidate_replicas) == (0, 0)


def test_a_path_that_does_not_confirm_a_step_is_left():
    world = World(make_facts(segments=WHOLE))
    world.run(lambda state: state.phase == "Canary" and state.stage_since is not None)
    world.run(lambda state: state.stage_since is None)
    world.confirms = False
    world.version = None
    world.run_to("RollingBack")
    assert world.state.rollback_reason == "RouteNotEffective"
    world.confirms = True
    assert world.run_to_end().phase == "RolledBack"


# -- copies


def test_fewer_requests_are_copied_while_the_candidate_is_too_busy():
    world = World(make_facts(shadow=make_shadow(100)), verdict="Inconclusive")
    world.run(lambda state: state.phase == "Shadowing" and state.evidence != {})
    view = SideView(1, 1, utilisation_ratio=1.2)
    world.changes["candidate_view"] = view
    world.look()
    assert world.state.shadow_percent == 60
    assert (world.state.window_index, world.state.reading) == (0, "")
    assert "ShadowFitted" in world.reasons()
    world.changes["candidate_view"] = replace(view, utilisation_ratio=0.72)
    assert world.stay(10).shadow_percent == 60
    world.changes["candidate_view"] = replace(view, utilisation_ratio=0.3)
    world.stay(3)
    assert world.state.shadow_percent == 100


def test_a_candidate_that_stays_too_busy_gets_one_percent_at_last():
    world = World()
    world.run_to("Shadowing")
    world.changes["candidate_view"] = SideView(1, 1, utilisation_ratio=5.0)
    world.verdict = "Inconclusive"
    world.stay(40)
    assert world.state.shadow_percent == 1


# -- edits under way


@pytest.mark.parametrize("phase", ["Shadowing", "Canary", "Soaking"])
def test_a_change_of_the_workload_starts_the_stage_again(phase: str):
    world = World()
    world.run(lambda state: state.phase == phase and state.evidence != {})
    held, version = world.weights[-1], world.state.traffic_version
    world.changes["inputs_hash"] = "other"
    state = world.look()
    assert (state.phase, state.evidence, state.stage_since) == (phase, {}, None)
    assert state.traffic_version == version + 1
    assert world.weights[-1] == held
    assert world.reasons()[-1] == "InputsChanged"
    assert world.run_to_end().phase == "Completed"
    assert world.reasons().count("InputsChanged") == 1


def test_an_approval_is_no_change_that_costs_evidence():
    world = World()
    world.run(lambda state: state.phase == "Canary" and state.evidence != {})
    world.edit(approvals=frozenset({"promote"}))
    world.look()
    assert world.state.evidence != {}


def test_steps_that_are_raised_by_an_edit_do_not_move_users_without_a_pass():
    world = World(make_facts(segments=WHOLE))
    world.run(lambda state: state.phase == "Canary" and world.weight("all") == 10)
    world.verdict = "Inconclusive"
    world.edit(segments=(SegmentFacts("all", None, make_steps(90, 100)),))
    world.changes["inputs_hash"] = "other"
    world.stay(30)
    assert world.weight("all") == 10
    world.verdict = "Pass"
    assert world.run_to_end().phase == "Completed"
    assert list(dict.fromkeys(world.weights)) == [(0,), (10,), (90,), (100,)]


def test_steps_that_are_lowered_by_an_edit_lower_the_share():
    world = World(make_facts(segments=WHOLE))
    world.run(lambda state: state.phase == "Canary" and world.weight("all") == 50)
    world.edit(segments=(SegmentFacts("all", None, make_steps(20, 30, 100)),))
    world.look()
    assert world.weight("all") == 30
    assert world.run_to_end().phase == "Completed"


def test_segments_that_are_changed_under_way_return_everything():
    world = World()
    world.run(lambda state: state.phase == "Canary" and world.weight("batch") == 50)
    world.edit(segments=WHOLE)
    assert world.run_to_end().phase == "RolledBack"
    assert world.state.rollback_reason == "InputsChanged"
    assert world.weights[-1] == (0, 0)


def test_what_somebody_changes_on_the_path_is_told_once_with_who_did_it_and_again_when_it_comes_back():
    world = World(make_facts(segments=WHOLE))
    world.run_to("Canary")
    version = world.state.traffic_version
    in_force = RouteState(is_engaged=True, version=version)
    edit = Drift("Service team/chat spec.selector", "kubectl-edit", "track chat-new", "the routers")
    for changes in ((edit,), (edit,), (), (edit,)):
        world.changes["route"] = replace(in_force, drift=changes)
        world.look()
    told = [each.message for each in world.notes if each.reason == "RouteDrifted"]
    assert (
        told
        == [
            "kubectl-edit changed Service team/chat spec.selector from the routers to track chat-new; it is put back"
        ]
        * 2
    )
    world.changes["route"] = RouteState(problem="no answer")
    world.look()
    assert world.state.drift == told[-1], "not seeing is not seeing it gone"
