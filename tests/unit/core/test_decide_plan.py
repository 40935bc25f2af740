"""One pass over a plan: state before effect, traffic by the state, and the finalizer while traffic is held."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from tests.unit.core.plans import NEW, OLD, plan, recalling, settle_with, state
from tests.unit.core.test_cutover_tracks import CANARY, two_pools
from tests.unit.core.worlds import NOW, workload

from switchyard.core.cutover.orders import TRAFFIC_FINALIZER, Carried, TrafficOrder
from switchyard.core.cutover.types import Note, Observation, PlanFacts, SegmentState, State, Stepped
from switchyard.core.decide import decide
from switchyard.core.decide_plan import Machine, decide_plan
from switchyard.core.decisions import Decisions, EventNote, ObjectDecision, StatusWrite
from switchyard.core.plans import Cutovers
from switchyard.core.routing.plan import Drift, Feature, RouteState, Support
from switchyard.core.world import Plan, Sight, Unreadable, World

SEGMENTS = (SegmentState("all", "Moving", 25),)
HELD = replace(CANARY, router="builtin", traffic_version=3, segments=SEGMENTS)
RETURNED = state("RolledBack", router="builtin", traffic_version=5)
RETURNING = state("RollingBack", router="builtin", traffic_version=5, stage_since=NOW, replicas=1)
COMPLETING = state("Completing", replicas=2, weight=100, router="builtin", traffic_version=6)


@dataclass
class Rig:
    """A machine that keeps the state, or goes to `next`; what it was shown is in `seen`."""

    next: State | None = None
    seen: list[Observation] = field(default_factory=list)
    facts: list[PlanFacts] = field(default_factory=list)

    def step(self, facts: PlanFacts, state: State, seen: Observation) -> Stepped:
        self.facts.append(facts)
        self.seen.append(seen)
        return Stepped(self.next or state, (Note("Normal", "Moved", "on"),) if self.next else ())

    def report(self, of: Plan, _facts: PlanFacts, stepped: Stepped, _seen: Observation) -> Any:
        if self.next is None:
            return None, ()
        notes = tuple(EventNote("CutoverPlan", of.meta, n.type, n.reason, n.message) for n in stepped.notes)
        return StatusWrite("CutoverPlan", of.meta, {"phase": stepped.state.phase}), notes

    def decide(self, at: World, **states: State) -> Decisions:
        machine = Machine(lambda _facts, _state, seen, _sight: seen, self.step, self.report)
        carry_on = partial(decide_plan, machine=machine)
        return decide(at, cutovers=Cutovers(recalling(states), carry_on))


def of_plan(decisions: Decisions, name: str = "move") -> ObjectDecision:
    nothing = ObjectDecision("CutoverPlan", "team", name)
    return next(
        (each for each in decisions.objects if (each.kind, each.name) == ("CutoverPlan", name)), nothing
    )


def holding(at: World, *others: str, **meta: Any) -> World:
    """The world with our finalizer on its plan."""
    marked = tuple(
        replace(each, meta=replace(each.meta, finalizers=(*others, TRAFFIC_FINALIZER), **meta))
        for each in at.plans
    )
    return replace(at, plans=marked)


def seeing(at: World, route: RouteState | None, **changes: Any) -> World:
    return replace(at, sights={("team", "move"): Sight(at.now, route=route, **changes)})


def in_force(version: int = 3) -> RouteState:
    return RouteState(is_engaged=True, version=version)


@pytest.fixture
def at() -> World:
    return settle_with(two_pools(), move=CANARY)


# -- effects


def test_a_new_state_is_stored_and_told(at: World) -> None:
    found = of_plan(Rig(next=state("Validating")).decide(at, move=State()))
    assert found.status is not None
    assert found.status.status == {"phase": "Validating"}
    assert [each.reason for each in found.events] == ["Moved"]
    assert (found.traffic, found.finalizers) == (None, None)


def test_a_plan_that_stays_as_it_is_costs_nothing(at: World) -> None:
    assert Rig().decide(at, move=state("Provisioning", replicas=1)).objects == ()


def test_the_finalizer_comes_before_the_first_order_and_alone(at: World) -> None:
    rig = Rig(next=HELD)
    found = of_plan(rig.decide(at, move=HELD))
    assert found.finalizers is not None
    assert found.finalizers.finalizers == (TRAFFIC_FINALIZER,)
    assert (found.status, found.traffic, rig.seen) == (None, None, [])


def test_others_finalizers_stay(at: World) -> None:
    other = replace(at.plans[0], meta=replace(at.plans[0].meta, finalizers=("example.com/theirs",)))
    found = of_plan(Rig().decide(replace(at, plans=(other,)), move=HELD))
    assert found.finalizers is not None
    assert found.finalizers.finalizers == ("example.com/theirs", TRAFFIC_FINALIZER)
    found = of_plan(Rig().decide(holding(at, "example.com/theirs"), move=RETURNED))
    assert found.finalizers is not None
    assert found.finalizers.finalizers == ("example.com/theirs",)


def test_no_order_is_given_before_the_finalizer_stands(at: World) -> None:
    found = of_plan(Rig(next=HELD).decide(at, move=state("Provisioning", replicas=1)))
    assert found.status is not None
    assert found.traffic is None


def test_the_order_is_that_of_the_state_that_is_stored_with_it(at: World) -> None:
    later = replace(HELD, traffic_version=4, segments=(SegmentState("all", "Moving", 50),))
    found = of_plan(Rig(next=later).decide(holding(at), move=HELD))
    assert found.status is not None
    assert found.traffic is not None
    asked = found.traffic.plan
    assert (asked.version, asked.segments[0].candidate_percent, asked.holder) == (4, 50, "move")
    assert (asked.baseline.service, asked.candidate and asked.candidate.service) == (OLD.track, NEW.track)
    assert (asked.workload_uid, found.traffic.release_to) == ("uid-chat", "")


def test_what_is_in_force_is_not_ordered_again(at: World) -> None:
    assert Rig().decide(seeing(holding(at), in_force()), move=HELD).objects == ()


@pytest.mark.parametrize(
    "route",
    [
        None,
        in_force(2),
        replace(in_force(), version=None),
        replace(in_force(), waiting_for="a pod"),
        replace(in_force(), problem="silent"),
        replace(in_force(), drift=(Drift("Service team/chat selector", "kubectl", "x", "y"),)),
        RouteState(),
    ],
)
def test_what_is_not_seen_in_force_is_ordered_again(at: World, route: RouteState | None) -> None:
    assert of_plan(Rig().decide(seeing(holding(at), route), move=HELD)).traffic is not None


@pytest.mark.parametrize(
    ("remembered", "track"), [(RETURNING, OLD.track), (COMPLETING, NEW.track)], ids=["back", "through"]
)
def test_a_release_is_ordered_until_it_was_carried_out(at: World, remembered: State, track: str) -> None:
    at = holding(at)
    found = of_plan(Rig().decide(at, move=remembered)).traffic
    assert found is not None
    assert found.release_to == track
    waits = replace(at, carried={("team", "move"): Carried(found, waiting_for="endpoints")})
    assert of_plan(Rig().decide(waits, move=remembered)).traffic == found
    done = replace(at, carried={("team", "move"): Carried(found)})
    rig = Rig()
    assert of_plan(rig.decide(done, move=remembered)).traffic is None
    assert rig.seen[0].is_released
    assert not _seen(waits, remembered).is_released


def _seen(at: World, remembered: State) -> Observation:
    rig = Rig()
    rig.decide(at, move=remembered)
    return rig.seen[0]


def test_the_finalizer_goes_once_the_traffic_was_returned(at: World) -> None:
    for ended in (RETURNED, state("Aborted"), state("Completed")):
        found = of_plan(Rig().decide(holding(at), move=ended))
        assert found.finalizers is not None
        assert found.finalizers.finalizers == ()


def test_a_plan_that_ended_with_segments_on_the_candidate_goes_on_holding(at: World) -> None:
    split = replace(HELD, phase="RolledBack")
    found = of_plan(Rig().decide(holding(at), move=split))
    assert found.finalizers is None
    assert found.traffic is not None


def test_a_plan_that_is_deleted_while_it_holds_is_shown_that_and_stays(at: World) -> None:
    rig = Rig()
    found = of_plan(rig.decide(holding(at, is_deleting=True), move=HELD))
    assert rig.facts[0].is_deleting
    assert found.finalizers is None
    assert found.traffic is not None


def test_a_plan_that_is_deleted_and_holds_nothing_is_left_alone(at: World) -> None:
    gone = replace(at.plans[0], meta=replace(at.plans[0].meta, is_deleting=True))
    rig = Rig(next=HELD)
    assert of_plan(rig.decide(replace(at, plans=(gone,)), move=HELD)).is_empty
    assert not rig.seen


@pytest.mark.parametrize("how", ["gone", "going"])
def test_a_plan_without_a_workload_lets_go_at_once(at: World, how: str) -> None:
    going = replace(at.workloads[0], meta=replace(at.workloads[0].meta, is_deleting=True))
    at = replace(at, workloads=() if how == "gone" else (going,))
    found = of_plan(Rig().decide(holding(at, is_deleting=True), move=HELD))
    assert found.finalizers is not None
    assert found.finalizers.finalizers == ()


def test_a_plan_of_a_workload_that_can_not_be_read_keeps_hold(at: World) -> None:
    meta = at.workloads[0].meta
    at = replace(at, workloads=(), unreadable=(Unreadable("InferenceWorkload", meta, "spec.tier: bad"),))
    rig = Rig(next=RETURNED)
    found = of_plan(rig.decide(holding(at), move=HELD))
    assert (found.finalizers, found.traffic, rig.seen) == (None, None, [])
    assert found.status is not None
    assert "workload chat can't be read: spec.tier: bad" in found.status.status["conditions"][0]["message"]
    assert _seen(at, State()).workload_problem == (
        "InvalidSpec",
        "workload chat can't be read: spec.tier: bad",
    )


# -- what it is shown


def test_before_it_begins_it_asks_what_the_path_can_do(at: World) -> None:
    (watch,) = Rig().decide(at, move=State(phase="Validating")).watches
    assert (watch.router, watch.needs_support, watch.needs_samples) == ("builtin", True, False)
    assert watch.plan.candidate is not None
    assert watch.plan.candidate.service == NEW.track
    support = Support(frozenset(Feature))
    assert _seen(seeing(at, None, support=support), State(phase="Validating")).support == support


@pytest.mark.parametrize(
    ("exposure", "router"),
    [
        (None, "builtin"),
        ({"gateway": {"parentRefs": [{"name": "public"}]}}, "gatewayAPI"),
        ({"istio": {"hosts": ["a.example"]}}, "istio"),
    ],
)
def test_the_router_goes_by_how_the_workload_is_exposed(exposure: Any, router: str) -> None:
    spec = {"exposure": exposure} if exposure else {}
    at = settle_with(two_pools(**spec), move=State())
    assert _seen(at, State(phase="Validating")).router == router
    named = replace(at, plans=(plan(traffic={"router": "builtin"}),))
    assert _seen(named, State(phase="Validating")).router == "builtin"


def test_while_it_holds_the_path_and_its_samples_are_watched(at: World) -> None:
    (watch,) = Rig().decide(holding(at), move=replace(HELD, stage_since=NOW)).watches
    assert (watch.router, watch.plan.version) == ("builtin", 3)
    assert (watch.needs_samples, watch.is_unsettled, watch.needs_support) == (True, False, False)
    (watch,) = Rig().decide(holding(at), move=HELD).watches
    assert watch.is_unsettled


def test_metrics_are_watched_where_no_router_counts_users(at: World) -> None:
    gateway = replace(HELD, stage_since=NOW, router="gatewayAPI")
    (watch,) = Rig().decide(holding(at), move=gateway).watches
    assert watch.evidence is not None
    assert watch.evidence.counts is not None
    assert watch.evidence.counts.tracks == {"baseline": OLD.track, "candidate": NEW.track}
    (watch,) = Rig().decide(holding(at), move=replace(gateway, router="builtin")).watches
    assert watch.evidence is None


def test_what_has_ended_is_not_watched(at: World) -> None:
    assert Rig().decide(at, move=RETURNED).watches == ()
    assert Rig().decide(at, move=state("Provisioning", replicas=1)).watches == ()


def test_it_sees_both_sides_its_target_and_the_path(at: World) -> None:
    seen = _seen(seeing(holding(at), in_force()), HELD)
    assert (seen.baseline, seen.route, seen.now) == (OLD, in_force(), at.now)
    assert (seen.baseline_view.ready, seen.candidate_view.ready, seen.target.replicas) == (2, 1, 2)


def test_an_order_that_was_refused_is_what_the_path_waits_for(at: World) -> None:
    order = of_plan(Rig().decide(holding(at), move=HELD)).traffic
    assert order is not None
    refused = {("team", "move"): Carried(order, problem="no mirror in class x")}
    late = seeing(holding(at), replace(in_force(2), waiting_for="version 3"))
    seen = _seen(replace(late, carried=refused), HELD)
    assert seen.route is not None
    assert seen.route.waiting_for == "no mirror in class x"
    old = Carried(TrafficOrder("builtin", replace(order.plan, version=2)), problem="old")
    seen = _seen(replace(late, carried={("team", "move"): old}), HELD)
    assert seen.route is not None
    assert seen.route.waiting_for == "version 3"


def test_a_second_plan_sees_the_first(at: World) -> None:
    at = replace(at, plans=(plan(), plan("second", created=2)))
    rig = Rig()
    rig.decide(at, move=HELD, second=State())
    assert [each.other_plan for each in rig.seen] == ["move"]  # the first only takes its finalizer
    rig = Rig()
    rig.decide(holding(at), move=HELD, second=State())
    assert [each.other_plan for each in rig.seen] == ["", "move"]


def test_the_hash_of_its_inputs_follows_what_the_sides_are_made_of(at: World) -> None:
    before = _seen(holding(at), HELD).inputs_hash
    chat = at.workloads[0]
    variants = (chat.spec.variants[0].model_copy(update={"devices_per_replica": 2}),)
    changed = replace(chat, spec=chat.spec.model_copy(update={"variants": variants}))
    assert _seen(holding(replace(at, workloads=(changed,))), HELD).inputs_hash != before
    busier = replace(chat, spec=chat.spec.model_copy(update={"tier": "batch"}))
    assert _seen(holding(replace(at, workloads=(busier,))), HELD).inputs_hash == before


def test_without_samples_for_more_than_three_intervals_it_is_blind(at: World) -> None:
    begun = replace(HELD, stage_since=NOW)
    at = holding(at)
    assert not _seen(replace(at, now=NOW + timedelta(seconds=90)), begun).is_blind
    late = replace(at, now=NOW + timedelta(seconds=91))
    assert _seen(late, begun).is_blind
    assert not _seen(seeing(late, in_force(), samples=()), begun).is_blind
    assert _seen(seeing(late, in_force()), begun).is_blind
    assert not _seen(late, HELD).is_blind


# -- others


def test_a_machine_that_breaks_on_one_plan_stops_nobody(at: World) -> None:
    at = replace(at, plans=(plan(), plan("second", "other", created=2)), workloads=at.workloads)

    class Broken(Rig):
        def step(self, facts: PlanFacts, state: State, seen: Observation) -> Stepped:
            if facts.name == "move":
                raise ZeroDivisionError("oh")
            return super().step(facts, state, seen)

    found = Broken(next=state("Validating")).decide(at, move=State(), second=State())
    broken = of_plan(found).status
    assert broken is not None
    assert {each["reason"] for each in broken.status["conditions"]} == {"InvalidSpec"}
    assert of_plan(found, "second").status is not None


def test_a_state_that_can_not_be_read_becomes_a_condition(at: World) -> None:
    def recall(_plan: Plan) -> State:
        raise ValueError("status.machine: bad")

    machine = Machine(lambda _f, _s, seen, _sight: seen, Rig().step, Rig().report)
    found = decide(at, cutovers=Cutovers(recall, partial(decide_plan, machine=machine)))
    broken = of_plan(found).status
    assert broken is not None
    assert "status.machine: bad" in broken.status["conditions"][0]["message"]


def test_the_moment_that_a_machine_names_wakes_the_loop(at: World) -> None:
    class Clocked(Rig):
        def step(self, facts: PlanFacts, state: State, seen: Observation) -> Stepped:
            return Stepped(state, recheck_at=seen.now + timedelta(seconds=7))

    assert Clocked().decide(at, move=State()).recheck_at == at.now + timedelta(seconds=7)


def test_plans_are_left_alone_where_nothing_carries_them_on(at: World) -> None:
    assert decide(replace(at, plans=(plan(),), workloads=(*at.workloads, workload("x", 1)))).watches == ()
