"""A plan from its first look to its end, through the decisions that ship, on a path in memory."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.unit.core.plans import NEW, OLD, plan
from tests.unit.core.test_cutover_tracks import points_to, two_pools, with_selector
from tests.unit.core.worlds import apply, deployments, hold_traffic, lose_node

from switchyard.api.cutover_status import CutoverPlanStatus
from switchyard.core.cutover.orders import TRAFFIC_FINALIZER, Carried, TrafficOrder
from switchyard.core.cutover.stored import read_state
from switchyard.core.cutover.types import GateReport, Observation, PlanFacts, State, Verdict
from switchyard.core.cutover.weighing import weigh as weigh_samples
from switchyard.core.cutovers import build_cutovers
from switchyard.core.decide import decide
from switchyard.core.decisions import Decisions, StatusWrite
from switchyard.core.routing.plan import Feature, RouteState, Share, Support, TrafficPlan
from switchyard.core.routing.samples import (
    ArmSamples,
    Counts,
    PairCounts,
    Samples,
    ScoreCounts,
    SegmentSamples,
    Table,
)
from switchyard.core.world import Sight, World

KEY = ("team", "move")
QUICK = {
    "shadow": {"percent": 20, "minDuration": "10s", "minSamples": 10},
    "steps": [
        {"weight": 50, "minDuration": "10s", "minSamples": 10},
        {"weight": 100, "minDuration": "10s", "minSamples": 10},
    ],
    "analysis": {"interval": "5s"},
    "rollback": {"retainBaseline": "20s"},
    "gates": [{"name": "errors", "errors": {}}],
}
PARITY = {"name": "same", "parity": {}, "stages": ["shadow", "canary"]}
# A window at most doubles the evidence of the guard. The plan's 1 % is shared by 3 tests in 4 stages, and while
# soaking half of that is spent on the baseline's bounds. One window settles, one teaches, one is half over.
MOST = 3 + math.ceil(math.log2(3 * 4 * 2 / 0.01))


def weigh(verdict: Callable[[State], Verdict]) -> Callable[..., Observation]:
    """The gates' word, with enough samples, as soon as there is a sight with samples."""

    def weighed(facts: PlanFacts, state: State, seen: Observation, sight: Sight | None) -> Observation:
        if sight is None or sight.samples is None:
            return seen
        reports = tuple(GateReport(each.name, verdict(state), samples=1000) for each in facts.gates)
        return replace(
            seen, reports=reports, samples=1000, reading_at=sight.at, window_index=state.window_index + 1
        )

    return weighed


@dataclass
class Traffic:
    """What routers would count: so many requests per second, of which each arm fails a share."""

    per_second: int = 2000
    failing: dict[str, float] = field(default_factory=lambda: {"baseline": 0.002, "candidate": 0.002})
    users: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    pairs: Counter[str] = field(default_factory=Counter)
    loss_hundredths: int = 0  # that the candidate's answers are less alike than the baseline's own
    losses: Counter[int] = field(default_factory=Counter)

    def flow(self, plan: TrafficPlan, seconds: float) -> None:
        segment, total = plan.segments[0], round(self.per_second * seconds)
        share = {"candidate": round(total * segment.candidate_percent / 100)}
        share["baseline"] = total - share["candidate"]
        for arm, count in share.items():
            self.users[arm] += count
            self.failed[arm] += round(count * self.failing[arm])
        copies = round(share["baseline"] * segment.shadow_percent / 100)
        self.losses[self.loss_hundredths] += copies
        bad = {arm: round(copies * self.failing[arm]) for arm in share}
        self.pairs["both_good"] += copies - bad["baseline"] - bad["candidate"]
        self.pairs["candidate_only_good"] += bad["baseline"]
        self.pairs["baseline_only_good"] += bad["candidate"]

    def read(self, version: int, at: datetime) -> Samples:
        arms = {
            arm: ArmSamples({"p0o0": Counts(requests=self.users[arm], failures={"status": self.failed[arm]})})
            for arm in self.users
        }
        scores = ScoreCounts(differences=dict(self.losses))
        pairs = PairCounts(pairs=self.pairs.total(), failures=Table(**self.pairs), scores={"exact": scores})
        segment = SegmentSamples(started=dict(self.users), arms=arms, pairs={"p0o0": pairs})
        return Samples("0123456789abcdef", version, at, {"all": segment})


@dataclass
class Journey:
    """A cluster that carries decisions out, a path that takes every plan at once, and a clock."""

    at: World
    verdict: Callable[[State], Verdict] = lambda _state: "Pass"
    in_force: TrafficPlan | None = None
    carried: dict[tuple[str, str], Carried] = field(default_factory=dict)
    phases: list[str] = field(default_factory=list)
    weights: list[int] = field(default_factory=list)
    lowest_ready: int = 99  # of the side or sides that users are sent to
    is_path_dead: bool = False
    traffic: Traffic | None = None  # None: the gates say `verdict`

    def turn(self, seconds: float = 5.0) -> Decisions:
        told = weigh(lambda state: self.verdict(state))
        cutovers = build_cutovers(weigh_samples if self.traffic is not None else told)
        decisions = decide(self.at, cutovers=cutovers)
        at = apply(self.at, decisions)
        for each in decisions.objects:
            if each.kind == "CutoverPlan":
                at = self._carry_on(at, each.status, each.finalizers and each.finalizers.finalizers)
                if each.traffic is not None and not self.is_path_dead:
                    at = self._move(at, each.traffic)
        if self.in_force is not None:
            at = hold_traffic(at, "chat")
        if self.traffic is not None and self.in_force is not None:
            self.traffic.flow(self.in_force, seconds)
        at = replace(at, now=at.now + timedelta(seconds=seconds), carried=dict(self.carried))
        self.at = replace(at, sights={each.key: self._see(each.plan) for each in decisions.watches})
        self._note()
        return decisions

    def run(self, until: str, most: int = 200) -> State:
        for _ in range(most):
            self.turn()
            if self.state.phase == until:
                for _ in range(6):
                    self.turn()
                return self.state
        raise AssertionError(f"not {until} but {self.phases}: {self.state}")

    @property
    def state(self) -> State:
        return read_state(self.at.plans[0].status)

    def edit(self, **spec: Any) -> None:
        body = self.at.plans[0].spec.model_dump(mode="json", by_alias=True, exclude_none=True)
        changed = type(self.at.plans[0].spec).model_validate({**body, **spec})
        self.at = replace(self.at, plans=(replace(self.at.plans[0], spec=changed),))

    def _carry_on(self, at: World, status: StatusWrite | None, finalizers: Any) -> World:
        changed = at.plans[0]
        if status is not None:
            changed = replace(changed, status=CutoverPlanStatus.model_validate(status.status))
        if finalizers is not None:
            changed = replace(changed, meta=replace(changed.meta, finalizers=finalizers))
        return replace(at, plans=(changed,))

    def _move(self, at: World, order: TrafficOrder) -> World:
        assert TRAFFIC_FINALIZER in at.plans[0].meta.finalizers
        self.carried[KEY] = Carried(order)
        if not order.release_to:
            assert self.in_force is None or order.plan.version >= self.in_force.version
            self.in_force = order.plan
            return at
        self.in_force = None
        return with_selector(at, order.release_to)

    def _see(self, plan: TrafficPlan) -> Sight:
        support, samples = Support(frozenset(Feature)), ()
        if self.traffic is not None and self.in_force is not None:
            samples = (self.traffic.read(self.in_force.version, self.at.now),)
        if self.in_force is None:
            return Sight(self.at.now, RouteState(waiting_for="routers"), support, samples)
        shares = {each.name: Share(each.candidate_percent, 0) for each in self.in_force.segments}
        waits = "" if self.in_force == plan else f"version {plan.version}"
        route = RouteState(True, self.in_force.version, shares, waiting_for=waits)
        return Sight(self.at.now, route, support, samples)

    def _note(self) -> None:
        if not self.phases or self.phases[-1] != self.state.phase:
            self.phases.append(self.state.phase)
        served = set()
        if self.in_force is not None:
            weight = int(self.in_force.segments[0].candidate_percent)
            if not self.weights or self.weights[-1] != weight:
                self.weights.append(weight)
            served |= {NEW.track} if weight else set()
            served |= {OLD.track} if weight < 100 else set()
        else:
            served.add(points_to(self.at))
        self.lowest_ready = min(self.lowest_ready, *(self._ready(track) for track in served))

    def _ready(self, track: str) -> int:
        return sum(1 for each in self.at.pods if each.is_ready and each.name.startswith(f"{track}-"))


def journey(**spec: Any) -> Journey:
    return Journey(replace(two_pools(), plans=(plan(**{**QUICK, **spec}),)))


def failing_in(phase: str) -> Callable[[State], Verdict]:
    return lambda state: "Fail" if state.phase == phase else "Pass"


def ended(on: Journey) -> Mapping[str, int]:
    """What runs at the end; nothing is held, nothing is written any more."""
    assert on.in_force is None
    assert on.at.plans[0].meta.finalizers == ()
    assert on.turn().objects == ()
    return deployments(on.at)


def test_a_candidate_that_passes_everything_becomes_the_service() -> None:
    on = journey()
    on.run("Completed")
    assert on.phases == [
        "Validating",
        "Provisioning",
        "Shadowing",
        "Canary",
        "Soaking",
        "Completing",
        "Completed",
    ]
    assert on.weights == [0, 50, 100]
    assert ended(on) == {NEW.track: 2}
    assert on.at.workloads[0].status.active_track == NEW.track
    assert on.lowest_ready >= 1


@pytest.mark.parametrize("phase", ["Shadowing", "Canary", "Soaking"])
def test_a_candidate_that_fails_goes_and_the_baseline_serves(phase: str) -> None:
    on = journey()
    on.verdict = failing_in(phase)
    on.run("RolledBack")
    assert on.phases[-3:] == [phase, "RollingBack", "RolledBack"]
    assert ended(on) == {OLD.track: 2}
    assert points_to(on.at) == OLD.track
    assert on.lowest_ready >= 1


def test_traffic_without_a_difference_promotes_the_candidate() -> None:
    on = journey()
    on.traffic = Traffic()
    on.run("Completed")
    assert ended(on) == {NEW.track: 2}
    passed = [each.message for each in on.state.history if each.phase == "Completing"]
    assert "errors" in passed[0]


def test_at_the_end_the_status_holds_what_a_request_was_to_cost_and_what_it_did() -> None:
    on = journey()
    on.traffic = Traffic()
    while on.state.phase != "Soaking":
        on.turn()
    before = on.at.plans[0].status.cost
    assert before.observed_per_thousand is None
    on.run("Completed")
    for _ in range(3):  # the baseline goes meanwhile
        on.turn()
    after = on.at.plans[0].status.cost
    assert deployments(on.at) == {NEW.track: 2}
    # two replicas at 1.00 an hour each, and 2000 requests per second of which 0.2 % failed
    assert float(after.observed_per_thousand) == pytest.approx(2 / (2000 * 0.998 * 3600) * 1000, rel=0.02)
    assert after.candidate_per_thousand == before.candidate_per_thousand == "0.009259"
    assert after.baseline_per_thousand == before.baseline_per_thousand == "0.027778"
    assert (after.saving_per_hour, after.payback) == (before.saving_per_hour, before.payback)
    assert after.expected_dual_run == before.expected_dual_run
    assert after.dual_run_per_hour == "0.00"
    assert float(after.dual_run) > 0


@pytest.mark.parametrize(("phase", "windows"), [("Shadowing", 6), ("Canary", MOST), ("Soaking", MOST)])
def test_errors_on_the_candidate_send_users_back_within_a_few_windows(phase: str, windows: int) -> None:
    on = journey()
    on.traffic = Traffic()
    while on.state.phase != phase or on.state.stage_since is None:
        on.turn()
    since = on.at.now
    on.traffic.failing["candidate"] = 0.05
    on.run("RolledBack")
    assert on.state.rollback_reason == "GateFailed"
    begun = next(each.at for each in on.state.history if each.phase == "RollingBack")
    assert (begun - since).total_seconds() <= 5 * windows
    assert ended(on) == {OLD.track: 2}


@pytest.mark.parametrize("phase", ["Shadowing", "Canary", "Soaking"])
def test_a_look_that_brings_nothing_new_writes_nothing(phase: str) -> None:
    on = journey(gates=[*QUICK["gates"], PARITY], rollback={"retainBaseline": "1h"})
    on.traffic = Traffic()
    while on.state.phase != phase or on.state.window_index < 2:
        on.turn()
    for _ in range(2):  # the path is seen one turn late
        on.turn(0)
    before = on.at.plans[0].status
    assert all(each.false_rollback_probability for each in before.gates)
    assert [each for each in on.turn(0).objects if each.kind == "CutoverPlan"] == []
    assert on.at.plans[0].status == before


def test_answers_are_compared_in_the_canary_too_where_the_author_asks_it() -> None:
    on = journey(gates=[*QUICK["gates"], PARITY])
    on.traffic = Traffic()
    while on.state.phase != "Canary":
        on.turn()
    compared = on.traffic.losses.total()
    assert [int(each.shadow_percent) for each in on.in_force.segments] == [20]
    on.run("Completed")
    assert on.traffic.losses.total() > compared
    assert on.weights == [0, 50, 100]
    assert ended(on) == {NEW.track: 2}


def test_answers_that_go_wrong_in_the_canary_send_users_back() -> None:
    on = journey(gates=[*QUICK["gates"], PARITY])
    on.traffic = Traffic()
    while on.state.phase != "Canary" or on.state.stage_since is None:
        on.turn()
    on.traffic.loss_hundredths = 30
    on.run("RolledBack")
    assert on.state.rollback_reason == "GateFailed"
    assert "gate same" in on.state.rollback_message
    assert ended(on) == {OLD.track: 2}


@pytest.mark.parametrize("phase", ["Validating", "Provisioning", "Shadowing", "Canary", "Soaking"])
def test_an_abort_at_any_time_leaves_the_baseline(phase: str) -> None:
    on = journey()
    while on.state.phase != phase:
        on.turn()
    on.edit(abort=True)
    on.run("Aborted")
    assert ended(on) == {OLD.track: 2}


def test_a_deleted_plan_returns_its_traffic_before_it_goes() -> None:
    on = journey()
    while on.state.phase != "Canary":
        on.turn()
    meta = on.at.plans[0].meta
    on.at = replace(on.at, plans=(replace(on.at.plans[0], meta=replace(meta, is_deleting=True)),))
    on.run("Aborted")
    assert on.at.plans[0].meta.finalizers == ()
    assert (on.in_force, points_to(on.at)) == (None, OLD.track)
    on.at = replace(on.at, plans=())
    for _ in range(4):
        on.at = apply(on.at, decide(on.at))
    assert deployments(on.at) == {OLD.track: 2}


def test_a_lost_candidate_sends_users_back_and_the_plan_ends() -> None:
    on = journey()
    while not on.state.segments or on.state.segments[0].weight_percent < 50:
        on.turn()
    on.turn()
    on.at = lose_node(on.at, "n0")
    on.run("RolledBack")
    assert points_to(on.at) == OLD.track
    assert deployments(on.at)[OLD.track] == 2


def test_a_plan_that_was_undone_can_be_started_again() -> None:
    on = journey()
    on.verdict = failing_in("Canary")
    on.run("RolledBack")
    on.verdict = lambda _state: "Pass"
    on.edit(restartToken="again")
    on.run("Completed")
    assert ended(on) == {NEW.track: 2}
    assert on.state.attempt == 2


def test_a_target_without_room_touches_nothing() -> None:
    on = journey()
    on.at = replace(two_pools(room=1), plans=on.at.plans)
    for _ in range(5):
        on.turn()
    assert (on.state.phase, on.state.pause_reason) == ("Validating", "InsufficientCapacity")
    assert deployments(on.at) == {OLD.track: 2}
    assert on.at.plans[0].meta.finalizers == ()


def test_a_path_that_takes_nothing_is_given_up_with_time() -> None:
    on = journey()
    on.is_path_dead = True
    while on.state.phase != "Shadowing":
        on.turn()
    for _ in range(20):
        on.turn(60)
    assert on.state.phase == "RollingBack"
    on.is_path_dead = False
    on.run("RolledBack")
    assert ended(on) == {OLD.track: 2}


def test_a_segment_that_stays_leaves_both_sides_and_the_plan_holding() -> None:
    segments = [{"name": "batch", "match": {"tier": "batch"}}, {"name": "rest", "stay": True}]
    on = journey(segments=segments)
    on.run("Completed")
    assert on.in_force is not None
    assert [int(each.candidate_percent) for each in on.in_force.segments] == [100, 0]
    assert set(deployments(on.at)) == {OLD.track, NEW.track}
    assert on.at.plans[0].meta.finalizers == (TRAFFIC_FINALIZER,)
    assert on.turn().objects == ()
    on.edit(segments=segments, abort=True)
    on.run("Aborted")
    assert ended(on) == {OLD.track: 2}
