"""What holds of plans in any world: rest, both sides' devices, and no reach for anybody else's workload."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.core.plans import decide_with, plan
from tests.unit.core.test_decide_always import worlds
from tests.unit.core.worlds import apply, deployments, hold_traffic, lose_node, settle

from switchyard.api import labels
from switchyard.core.cutover.types import SegmentState, Side, State
from switchyard.core.desired import name_track
from switchyard.core.world import World

BESIDE = ("Provisioning", "Shadowing", "Canary", "Soaking", "Paused", "RollingBack")


@st.composite
def moving(draw: Any, phases: tuple[str, ...] = (*BESIDE, "Completing")) -> tuple[World, dict[str, State]]:
    """A settled world in which some workloads that serve are moved to some pool, each in some phase."""
    at = settle(draw(worlds()))
    plans, states = [], {}
    for each in at.workloads:
        here = next(iter(each.status.placements), None)
        if here is None or not draw(st.booleans()):
            continue
        pools = sorted({other.meta.name for other in at.pools} - {here.pool})
        target = draw(st.sampled_from(pools))
        name = f"move-{each.meta.name}"
        weight = draw(st.sampled_from([0, 10, 100]))
        plans.append(
            plan(name, each.meta.name, target={"variant": here.variant, "pool": target}),
        )
        states[name] = State(
            phase=draw(st.sampled_from(phases)),  # type: ignore[arg-type]
            resume_phase="Canary",
            baseline=Side(here.variant, here.pool, name_track(each, here.variant, here.pool)),
            candidate=Side(here.variant, target, name_track(each, here.variant, target)),
            candidate_replicas=draw(st.integers(0, 4)),
            segments=(SegmentState("all", "Moving", weight),),
        )
    return replace(at, plans=tuple(plans)), states


def settled(at: World, states: dict[str, State], names: frozenset[str] = frozenset()) -> World:
    """As `settle`, while somebody holds the traffic of these workloads."""
    for _ in range(14):
        decisions = decide_with(at, **states)
        after = hold_traffic(apply(at, decisions), *names)
        if not decisions.objects and after == at:
            return at
        at = after
    raise AssertionError(f"still changing: {decide_with(at, **states)}")


@settings(max_examples=30, deadline=None)
@given(moving())
def test_every_world_with_plans_comes_to_rest(given_: tuple[World, dict[str, State]]) -> None:
    at, states = given_
    settled(at, states)


@settings(max_examples=30, deadline=None)
@given(moving(BESIDE))
def test_no_node_is_promised_twice_and_no_side_is_larger_than_asked(
    given_: tuple[World, dict[str, State]],
) -> None:
    at, states = given_
    at = settled(at, states)
    unseated = [each for each in at.pods if labels.TRACK in each.labels and not each.node_name]
    assert not unseated
    asked = {each.candidate.track: each for each in states.values() if each.candidate is not None}
    for name, count in deployments(at).items():
        if name in asked:
            assert count <= asked[name].candidate_replicas


@settings(max_examples=30, deadline=None)
@given(moving(), st.data())
def test_while_traffic_is_held_no_side_that_users_may_reach_goes(
    given_: tuple[World, dict[str, State]], data: st.DataObject
) -> None:
    at, states = given_
    names = frozenset(each.spec.workload_ref.name for each in at.plans)
    at = settled(hold_traffic(at, *names), states, names)
    before = set(deployments(at))
    if at.nodes:
        at = lose_node(at, data.draw(st.sampled_from(at.nodes)).name)
    for _ in range(8):
        decisions = decide_with(at, **states)
        for each in decisions.objects:
            gone = {other.child.meta.name for other in each.deletes if other.child.kind == "Deployment"}
            wanted = states.get(f"move-{each.name}")
            if wanted is None or not gone:
                continue
            is_idle = all(other.weight_percent == 0 for other in wanted.segments)
            assert _gave_way(each) or (is_idle and gone <= {wanted.candidate.track})  # type: ignore[union-attr]
        at = hold_traffic(apply(at, decisions), *names)
    assert before or not names


def _gave_way(decision: Any) -> bool:
    status = decision.status
    return status is not None and "Displaced" in {each["reason"] for each in status.status["conditions"]}
