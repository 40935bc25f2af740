"""Copies beside users' requests: what a gate of parity in canary asks of the plan, and what is judged by it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.core.cutover import evidence_world
from tests.unit.core.cutover.cutover_world import (
    ALL,
    World,
    fail_when,
    make_facts,
    make_shadow,
    make_steps,
    report,
)
from tests.unit.core.cutover.evidence_world import (
    HEALTHY,
    LATENCY,
    PARITY,
    Look,
    make_counts,
    make_pairs,
    make_samples,
    make_state,
)

from switchyard.core.cutover.copies import ask_copies, ask_load, list_gates
from switchyard.core.cutover.economics import expect_dual_run
from switchyard.core.cutover.facts import find_gaps
from switchyard.core.cutover.traffic import build_traffic_plan
from switchyard.core.cutover.types import GateFacts, GateReport, PlanFacts, SegmentFacts, State
from switchyard.core.routing.document import Comparator, Match
from switchyard.core.routing.samples import ArmSamples, Samples

ERRORS = GateFacts("errors", "errors", ALL)
SAME = GateFacts(
    "same",
    "parity",
    frozenset({"shadow", "canary"}),
    comparator=Comparator(type="json"),
    comparator_name="json",
    margin_ratio=0.02,
)
WHOLE = (SegmentFacts("all", None, make_steps(10, 50, 100)),)


def canary_facts(**changes) -> PlanFacts:
    return make_facts(**{"segments": WHOLE, "gates": (ERRORS, SAME), **changes})


def judge_as_asked(world: World) -> tuple[GateReport, ...]:
    """The gates that the stage is judged by pass, and no other says a word."""
    phase = {"Shadowing": "shadow", "Canary": "canary", "Soaking": "soak"}.get(world.state.phase)
    return tuple(report(each.name) for each in list_gates(world.facts, world.state, phase))


def start(**changes) -> World:
    return World(canary_facts(), judge=judge_as_asked, full=10, room=10, **changes)


def in_canary(world: World, weight: int = 10) -> World:
    world.run(lambda state: world.weight("all") == weight if state.segments else False)
    world.run(lambda state: state.stage_since is not None)
    return world


# -- what the plan does


def test_copies_go_on_in_a_canary_until_the_baseline_answers_nothing() -> None:
    world, copied = start(), {}
    world.run(lambda state: note(copied, state) and state.phase == "Soaking")
    assert copied == {
        ("Shadowing", 0): 20,
        ("Canary", 10): 20,
        ("Canary", 50): 20,
        ("Canary", 100): 0,
        ("Soaking", 100): 0,
    }
    assert world.run_to_end().phase == "Completed"


def note(copied: dict[tuple[str, int], int], state: State) -> bool:
    if state.phase in {"Shadowing", "Canary", "Soaking"}:
        copied.setdefault((state.phase, state.segments[0].weight_percent), state.shadow_percent)
    return True


def test_a_step_gets_replicas_for_its_share_and_for_the_copies_before_it_begins() -> None:
    world, replicas = start(), {}
    world.run(
        lambda state: (
            bool(state.segments)
            and replicas.setdefault(world.weight("all"), state.candidate_replicas) > -1
            and state.phase == "Soaking"
        )
    )
    assert replicas == {0: 2, 10: 3, 50: 6, 100: 10}


def test_a_step_waits_for_the_replicas_of_its_copies() -> None:
    world = start()
    world.room = 2
    world.run(lambda state: state.phase == "Shadowing" and state.candidate_replicas == 3)
    assert world.stay(5).phase == "Shadowing"
    assert "the next share needs 3 replicas: 2 of 3" in world.state.message


def test_wrong_answers_in_a_canary_send_users_back() -> None:
    world = World(canary_facts())
    world.judge = fail_when(lambda world: world.state.phase == "Canary", name="same")
    assert world.run_to_end().phase == "RolledBack"
    assert (world.state.shadow_percent, world.weight("all")) == (0, 0)


def test_a_canary_goes_on_only_when_the_gate_of_parity_passed_too() -> None:
    world = in_canary(start())
    world.judge = lambda _world: (report("errors"), report("same", "Inconclusive", needed=70))
    assert world.stay(30).step_index == 0
    assert world.state.message == "gate same needs 70 more requests"


@pytest.mark.parametrize(
    ("gate", "weight", "copied", "load"),
    [
        (SAME, 10, 20, 28),
        (SAME, 51, 20, 61),
        (SAME, 99, 20, 100),
        (SAME, 100, 0, 100),
        (replace(SAME, stages=frozenset({"shadow"})), 10, 0, 10),
        (ERRORS, 10, 0, 10),
    ],
)
def test_a_step_asks_for_copies_only_where_a_gate_goes_by_them(gate, weight, copied, load) -> None:
    facts = canary_facts(gates=(gate,))
    assert (ask_copies(facts, weight), ask_load(facts, weight)) == (copied, load)


def test_the_money_expected_counts_the_replicas_of_copies() -> None:
    seen = World(full=10).observe()
    plain = canary_facts(gates=(ERRORS,))
    assert expect_dual_run(canary_facts(), seen) > expect_dual_run(plain, seen)


def test_copies_in_a_canary_are_made_of_the_segment_that_moves_alone() -> None:
    segments = tuple(
        SegmentFacts(name, Match(path_prefix=f"/{name}") if name != "rest" else None, make_steps(10, 100))
        for name in ("batch", "shop", "rest")
    )
    world = World(canary_facts(segments=segments), judge=judge_as_asked)
    world.run(lambda state: state.phase == "Canary" and state.segment_index == 1)
    plan = build_traffic_plan(world.facts, world.state, workload_uid="u", port=80)
    assert [(each.candidate_percent, each.shadow_percent) for each in plan.segments] == [
        (100, 0),
        (10, 20),
        (0, 0),
    ]


# -- a candidate that is too busy


def busy(world: World, load: float, copied: float) -> None:
    """The candidate that busy; `copied`: of its load, what copies make."""
    world.changes["candidate_view"] = replace(
        world.observe().candidate_view, utilisation_ratio=load, copied_ratio=copied
    )


def test_fewer_are_copied_beside_users_requests_and_within_a_step_never_more_again() -> None:
    world = in_canary(start())
    busy(world, load=0.9, copied=0.5)
    world.look()
    assert world.state.shadow_percent == 12  # of 0.45 that copies make, 0.27 fit below 0.9 of the cap
    assert (world.state.window_index, world.state.phase, world.weight("all")) == (0, "Canary", 10)
    world.judge = lambda _world: (report("errors"), report("same", "Inconclusive"))
    busy(world, load=0.1, copied=0.4)
    assert world.stay(10).shadow_percent == 12
    world.judge = judge_as_asked
    del world.changes["candidate_view"]
    assert world.run(lambda state: state.step_index == 1).shadow_percent == 20


def test_where_users_alone_are_too_much_one_percent_is_copied() -> None:
    world = in_canary(start())
    world.judge = lambda _world: (report("errors"), report("same", "Inconclusive"))
    busy(world, load=0.95, copied=0.1)
    assert world.stay(5).shadow_percent == 1


@pytest.mark.parametrize(("copied", "samples"), [(0.5, 0), (0.05, 400)])
def test_slowness_of_users_counts_unless_copies_make_it(copied: float, samples: int) -> None:
    candidate = replace(HEALTHY.candidate, utilisation_ratio=0.75, copied_ratio=copied)
    plan = look(LATENCY, around=replace(HEALTHY, candidate=candidate))
    plan.count(make_samples(make_counts(100), make_counts(100)), 4)
    assert next(each for each in plan.judged.reports if each.name == "latency").samples == samples


# -- interruptions


def test_a_baseline_lost_in_a_canary_stops_the_copies_until_it_is_back() -> None:
    world = in_canary(start(), 50)
    world.baseline_ready = 0
    assert world.look().pause_reason == "BaselineLost"
    assert (world.state.shadow_percent, world.weight("all")) == (0, 50)
    world.stay(5)
    world.baseline_ready = 3
    world.run(lambda state: state.phase == "Canary" and state.stage_since is not None)
    assert (world.state.shadow_percent, world.weight("all")) == (20, 50)
    assert world.run_to_end().phase == "Completed"


def test_a_gate_that_is_added_in_a_canary_gets_its_copies_once_there_are_replicas_for_them() -> None:
    world = World(canary_facts(gates=(ERRORS,)), judge=judge_as_asked, full=10, room=2)
    in_canary(world)
    world.edit(gates=(ERRORS, SAME))
    world.changes["inputs_hash"] = "other"
    world.stay(3)
    assert (world.state.shadow_percent, world.state.candidate_replicas) == (0, 3)
    assert "needs 3 replicas" in world.state.message
    world.room = 10
    world.stay(2)
    assert (world.state.shadow_percent, world.weight("all"), world.state.phase) == (20, 10, "Canary")
    world.edit(gates=(ERRORS,))
    world.changes["inputs_hash"] = "third"
    world.look()
    assert (world.state.shadow_percent, world.weight("all")) == (0, 10)


# -- where it can't be judged


@pytest.mark.parametrize("router", ["gatewayAPI", "istio"])
def test_parity_in_canary_is_refused_where_no_router_sees_both_answers(router: str) -> None:
    world = World(canary_facts())
    world.changes["router"] = router
    world.stay(3)
    assert (world.state.phase, world.state.pause_reason) == ("Validating", "RouterUnsupported")
    assert world.state.message == (
        f"gate same: router {router} can't compare answers in canary, where metrics of the tracks are the "
        "evidence; judge parity in stages: [shadow], or let router builtin move it"
    )
    world.edit(gates=(ERRORS, replace(SAME, stages=frozenset({"shadow"}))))
    assert world.run(lambda state: state.phase == "Shadowing")


def test_a_gate_that_no_step_could_be_judged_by_is_a_gap() -> None:
    segments = (SegmentFacts("all", None, make_steps(100)),)
    alone = replace(SAME, stages=frozenset({"canary"}))
    assert find_gaps(canary_facts(segments=segments)) == ()
    assert find_gaps(canary_facts(gates=(alone,))) == ()
    (gap,) = find_gaps(canary_facts(segments=segments, gates=(alone,)))
    assert gap == (
        "gate same: segment all has no step below 100 %, and at 100 % there is nothing to copy; begin with a "
        "smaller weight, or judge the gate in shadow, too"
    )


# -- what is judged


def look(*gates: GateFacts, weight: int = 50, around=HEALTHY) -> Look:
    facts = evidence_world.make_facts(*gates)
    state = make_state("canary", weight, shadow_percent=20 if weight < 100 else 0)
    return Look(facts, state, around).settle()


def with_copies(hundredths: int = 0) -> Samples:
    """A window: 200 requests of users on each side, and 40 of the baseline's copied, of which 30 failed."""
    samples = make_samples(
        make_counts(200), make_counts(200), make_pairs((10, 30, 0, 0), differences={hundredths: 40})
    )
    copies = {"candidate": ArmSamples({"p0o0": make_counts(40, failed=30)}, 30, 30)}
    return replace(samples, segments={"rest": replace(samples.segments["rest"], shadows=copies)})


CANARY_PARITY = replace(PARITY, stages=frozenset({"shadow", "canary"}))


@pytest.mark.parametrize(("hundredths", "verdict"), [(0, "Pass"), (30, "Fail")])
def test_in_a_canary_parity_goes_by_pairs_and_all_else_by_users(hundredths: int, verdict: str) -> None:
    plan = look(evidence_world.ERRORS, CANARY_PARITY)
    plan.count(with_copies(hundredths), 60)
    told = {each.name: each for each in plan.judged.reports}
    assert (told["parity"].verdict, told["parity"].samples) == (verdict, 2400)
    assert (told["errors"].verdict, told["errors"].samples) == ("Pass", 12_000)
    assert plan.judged.samples == 12_000


def test_a_canary_without_pairs_says_so_and_does_not_pass() -> None:
    plan = look(CANARY_PARITY)
    plan.count(make_samples(make_counts(200), make_counts(200)), 3)
    (told,) = [each for each in plan.judged.reports if each.name == "parity"]
    assert (told.verdict, told.missing) == ("Inconclusive", "both")


def test_at_the_whole_weight_parity_says_nothing() -> None:
    plan = look(evidence_world.ERRORS, CANARY_PARITY, weight=50)
    plan.count(with_copies(), 3)
    plan = plan.go_on("canary", 100)
    plan.count(make_samples(None, make_counts(200)), 3)
    assert "parity" not in {each.name for each in plan.judged.reports}


def test_windows_count_again_right_after_the_share_of_copies_was_changed() -> None:
    world = World(make_facts(shadow=make_shadow(100)), verdict="Inconclusive")
    world.run(lambda state: state.phase == "Shadowing" and state.window_index > 5)
    busy(world, load=1.2, copied=1.0)
    assert world.look().window_index == 0
