"""The two sides of a workload that a plan moves: what runs, what serves, what is kept, and what goes when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.unit.core.plans import NEW, OLD, decide_with, plan, recalling, settle_with, state
from tests.unit.core.worlds import (
    NOW,
    apply,
    condition,
    decision,
    deployments,
    hold_traffic,
    lose_node,
    node,
    pool,
    settle,
    status_of,
    variant,
    workload,
    world,
)

from switchyard.api import labels
from switchyard.core.advise import advise
from switchyard.core.cutover.types import State
from switchyard.core.decide import decide
from switchyard.core.world import Child, ResourceQuotaView, World

GPU = "example.com/gpu"
CANARY = state("Canary", replicas=1, weight=25)


def two_pools(replicas: int = 2, *, room: int = 4, **spec: Any) -> World:
    """A workload that serves in pool `old`, a cheaper pool `new` beside it, and a plan from one to the other."""
    at = settle(world(pool("old", "3"), node("n1", "old"), workload("chat", replicas, **spec)))
    at = replace(
        at, pools=(pool("new", "1", created=2), *at.pools), nodes=(node("n0", "new", room), *at.nodes)
    )
    return replace(settle(at), plans=(plan(),))


def status_with(at: World, **states: State) -> Mapping[str, Any]:
    written = decision(decide_with(at, **states), "chat").status
    return (
        written.status
        if written is not None
        else at.workloads[0].status.model_dump(mode="json", by_alias=True, exclude_none=True)
    )


def stable(at: World) -> Child:
    return next(each for each in at.children if each.kind == "Service" and each.meta.name == "chat")


def points_to(at: World) -> str:
    return str(stable(at).body["spec"]["selector"].get(labels.TRACK, ""))


@pytest.mark.parametrize("phase", ["Pending", "Validating", "AwaitingApproval"])
def test_a_plan_that_has_not_begun_starts_nothing(phase: str) -> None:
    at = settle_with(two_pools(), move=State(phase=phase))  # type: ignore[arg-type]
    assert deployments(at) == {OLD.track: 2}


@pytest.mark.parametrize("phase", ["Provisioning", "Shadowing", "Canary", "Soaking", "Paused"])
def test_the_candidate_runs_beside_the_baseline_which_serves(phase: str) -> None:
    at = settle_with(two_pools(), move=state(phase, replicas=1, resume_phase="Canary"))
    assert deployments(at) == {OLD.track: 2, NEW.track: 1}
    assert {"chat", OLD.track, NEW.track} == {
        each.meta.name for each in at.children if each.kind == "Service"
    }
    assert points_to(at) == OLD.track
    shown = status_with(at, move=state(phase, replicas=1, resume_phase="Canary"))
    assert [(each["pool"], each["replicas"], each["ready"]) for each in shown["placements"]] == [
        ("old", 2, 2),
        ("new", 1, 1),
    ]
    assert (shown["activeTrack"], shown["replicas"], shown["readyReplicas"]) == (OLD.track, 2, 2)
    assert condition(shown, "Ready")[0] == "True"
    assert "Reconciling" not in {each["type"] for each in shown["conditions"] if each["status"] == "True"}


def test_both_sides_are_paid_for_and_the_budget_is_held_against_one() -> None:
    at = settle_with(two_pools(budget={"perHour": "6.5"}), move=CANARY)
    shown = status_with(at, move=CANARY)
    assert shown["costPerHour"] == "7.00"
    assert [each["costPerHour"] for each in shown["placements"]] == ["6.00", "1.00"]
    assert condition(shown, "WithinBudget")[0] == "True"


def test_the_candidate_grows_and_shrinks_by_the_plan_s_word_alone() -> None:
    at = settle_with(two_pools(), move=CANARY)
    grown = replace(CANARY, candidate_replicas=3)
    at = settle_with(at, move=grown)
    assert deployments(at) == {OLD.track: 2, NEW.track: 3}
    at = settle_with(at, move=CANARY)
    assert deployments(at) == {OLD.track: 2, NEW.track: 1}


def test_the_baseline_is_sized_by_demand_as_ever() -> None:
    at = settle_with(two_pools(), move=CANARY)
    chat = at.workloads[0]
    more = chat.spec.demand.model_copy(update={"requests_per_second": "90"})
    changed = replace(chat, spec=chat.spec.model_copy(update={"demand": more}))
    at = settle_with(replace(at, workloads=(changed,)), move=CANARY)
    assert deployments(at) == {OLD.track: 3, NEW.track: 1}


def test_a_settled_pair_of_sides_costs_no_writes() -> None:
    at = hold_traffic(settle_with(two_pools(), move=CANARY), "chat")
    at = settle_with(at, move=CANARY)
    assert decide_with(at, move=CANARY).objects == ()


def test_the_baseline_serves_even_while_only_the_candidate_is_ready() -> None:
    at = lose_node(settle_with(two_pools(), move=CANARY), "n1")
    for _ in range(3):
        at = apply(at, decide_with(at, move=CANARY))
    assert points_to(at) == OLD.track
    assert deployments(at)[NEW.track] == 1
    assert {each.meta.name for each in at.children if each.kind == "Deployment"} == {OLD.track, NEW.track}


def test_no_recommendation_is_made_while_a_plan_is_under_way() -> None:
    at = two_pools()
    at = settle(replace(at, plans=(), advice=advise(at)))
    at = settle(replace(at, now=at.now + timedelta(minutes=11)))
    assert status_of(at, "chat")["recommendation"]["settled"]
    at = replace(at, plans=(plan(),))
    for phase in ("Pending", "Validating", "AwaitingApproval"):
        assert "recommendation" not in status_with(at, move=State(phase=phase))  # type: ignore[arg-type]
    assert "recommendation" not in status_with(at, move=CANARY)
    assert "recommendation" in status_with(at, move=state("Aborted"))


def test_advice_neither_names_the_candidate_nor_gives_its_devices_away() -> None:
    at = two_pools(room=1)
    other = workload("other", 1, variants=[variant(accelerators=["gpu"])])
    at = settle_with(at, move=CANARY)
    at = replace(at, workloads=(*at.workloads, other), nodes=(*at.nodes, node("n2", "old")))
    found = advise(at, recall=recalling({"move": CANARY}))
    assert set(found.placements) == {("team", "chat"), ("team", "other")}
    assert [each.pool for each in found.placements["team", "chat"]] == ["old"]
    assert [each.pool for each in found.placements["team", "other"]] == ["old"]


def test_newcomers_do_not_get_the_devices_of_the_candidate() -> None:
    at = settle_with(two_pools(room=1), move=CANARY)
    other = workload("other", 1, constraints={"zones": []})
    at = settle_with(replace(at, workloads=(*at.workloads, other)), move=CANARY)
    assert deployments(at) == {OLD.track: 2, NEW.track: 1, "other-v-old": 1}


def test_a_candidate_without_room_is_not_started_and_costs_nothing() -> None:
    at = settle_with(two_pools(room=1), move=state("Provisioning", replicas=2))
    assert deployments(at) == {OLD.track: 2}
    assert status_with(at, move=state("Provisioning", replicas=2))["costPerHour"] == "6.00"


def test_a_candidate_that_runs_keeps_what_fits_when_more_is_asked_for() -> None:
    at = settle_with(two_pools(room=2), move=CANARY)
    at = settle_with(at, move=replace(CANARY, candidate_replicas=3))
    assert deployments(at) == {OLD.track: 2, NEW.track: 2}


def test_a_quota_counts_both_sides() -> None:
    quota = ResourceQuotaView("team", "gpus", {GPU: 3}, {})
    at = settle_with(replace(two_pools(), quotas=(quota,)), move=CANARY)
    at = settle_with(at, move=replace(CANARY, candidate_replicas=2))
    assert deployments(at) == {OLD.track: 2, NEW.track: 1}


def test_both_sides_may_share_a_pool_with_another_variant() -> None:
    variants = [variant("v"), variant("w", container={"image": "example.com/model:2"})]
    at = settle(world(pool("old"), node("n1", "old"), workload("chat", 2, variants=variants)))
    at = replace(at, plans=(plan(target={"variant": "w", "pool": "old"}),))
    beside = replace(CANARY, candidate=replace(NEW, variant="w", pool="old", track="chat-w-old"))
    at = settle_with(at, move=beside)
    assert deployments(at) == {"chat-v-old": 2, "chat-w-old": 1}
    at = settle_with(at, move=replace(beside, candidate_replicas=3))
    assert deployments(at) == {"chat-v-old": 2, "chat-w-old": 2}


def test_a_candidate_of_a_higher_tier_takes_devices_like_its_workload() -> None:
    at = two_pools(room=1, tier="customer-facing")
    low = workload("low", 1, tier="batch")
    at = settle(replace(at, workloads=(*at.workloads, low)))
    assert "low-v-new" in deployments(at)
    at = settle_with(at, move=CANARY)
    assert deployments(at)[NEW.track] == 1
    assert deployments(at).get("low-v-new", 0) == 0
    displaced = [each.message for each in at.workloads[1].status.conditions if each.reason == "Displaced"]
    assert all("\0" not in message for message in displaced)


def test_pools_count_a_workload_once_however_many_sides_it_has_there() -> None:
    variants = [variant("v"), variant("w")]
    at = settle(world(pool("old"), node("n1", "old"), workload("chat", 1, variants=variants)))
    at = replace(at, plans=(plan(target={"variant": "w", "pool": "old"}),))
    beside = replace(CANARY, candidate=replace(NEW, variant="w", pool="old", track="chat-w-old"))
    at = settle_with(at, move=beside)
    assert at.pools[0].status.workloads == 1


# -- the end ---------------------------------------------------------------------------------------------


def held(at: World) -> World:
    return hold_traffic(at, "chat")


def settle_held(at: World, wanted: State) -> World:
    for _ in range(10):
        after = held(apply(at, decide_with(at, move=wanted)))
        if after == at:
            return at
        at = after
    raise AssertionError(f"still changing: {decide_with(at, move=wanted)}")


def test_completing_binds_the_workload_to_the_candidate_and_keeps_the_baseline_until_traffic_is_released() -> (
    None
):
    at = settle_held(held(settle_with(two_pools(), move=CANARY)), replace(CANARY, candidate_replicas=2))
    completing = state("Completing", replicas=2, weight=100)
    at = settle_held(at, completing)
    assert deployments(at) == {OLD.track: 2, NEW.track: 2}
    shown = status_with(at, move=completing)
    assert (shown["activeTrack"], [each["pool"] for each in shown["placements"]]) == (NEW.track, ["new"])
    released = with_selector(at, NEW.track)
    after = settle_with(released, move=completing)
    assert deployments(after) == {NEW.track: 2}
    assert points_to(after) == NEW.track
    assert deployments(settle_with(after, move=state("Completed", weight=100))) == {NEW.track: 2}


def test_a_plan_called_back_after_it_gave_the_service_away_leaves_callers_where_pods_are_ready() -> None:
    at = settle_held(held(settle_with(two_pools(), move=CANARY)), replace(CANARY, candidate_replicas=2))
    completing = state("Completing", replicas=2, weight=100)
    at = settle_with(with_selector(settle_held(at, completing), NEW.track), move=completing)
    back = state("RollingBack", replicas=2)
    began = apply(at, decide_with(at, move=back), are_pods_starting=False)
    assert deployments(began) == {OLD.track: 2, NEW.track: 2}
    assert points_to(began) == NEW.track
    assert points_to(settle_with(began, move=back)) == OLD.track


def with_selector(at: World, track: str) -> World:
    """The world after whoever held the traffic pointed the stable Service to a track and let go."""
    there = stable(at)
    metadata = {
        **there.body["metadata"],
        "annotations": {
            key: value
            for key, value in there.body["metadata"]["annotations"].items()
            if key != labels.TRAFFIC_HELD_BY
        },
    }
    selector = {labels.WORKLOAD: "chat", labels.TRACK: track}
    body = {**there.body, "metadata": metadata, "spec": {**there.body["spec"], "selector": selector}}
    return replace(
        at, children=tuple(replace(there, body=body) if each is there else each for each in at.children)
    )


def test_no_side_goes_while_requests_may_reach_it() -> None:
    at = held(settle_with(two_pools(), move=CANARY))
    back = state("RollingBack", replicas=0, weight=25)
    at = settle_held(at, back)
    assert deployments(at) == {OLD.track: 2, NEW.track: 1}


@pytest.mark.parametrize("confirmed_at", [None, NOW])
def test_on_the_way_back_the_candidate_stays_until_the_traffic_is_returned(
    confirmed_at: datetime | None,
) -> None:
    at = held(settle_with(two_pools(), move=CANARY))
    at = settle_held(at, state("RollingBack", replicas=1, weight=0, stage_since=confirmed_at))
    assert deployments(at) == {OLD.track: 2, NEW.track: 1}
    at = replace(at, pools=tuple(each for each in at.pools if each.meta.name != "new"))
    at = settle_held(at, state("RollingBack", replicas=1, weight=0, stage_since=confirmed_at))
    assert set(deployments(at)) == {OLD.track, NEW.track}
    at = settle_with(with_selector(at, OLD.track), move=state("Aborted"))
    assert deployments(at) == {OLD.track: 2}
    assert NEW.track not in {each.meta.name for each in at.children}


@pytest.mark.parametrize("phase", ["Completed", "RolledBack", "Aborted"])
def test_a_plan_that_ended_with_some_segments_moved_keeps_the_candidate(phase: str) -> None:
    at = settle_with(two_pools(), move=state(phase, replicas=1, weight=100))
    assert deployments(at) == {OLD.track: 2, NEW.track: 1}


@pytest.mark.parametrize("phase", ["Completed", "RolledBack", "Aborted"])
def test_a_plan_that_has_ended_leaves_one_side(phase: str) -> None:
    at = settle_with(two_pools(), move=CANARY)
    at = settle_with(at, move=state(phase))
    assert deployments(at) == {OLD.track: 2}


def test_a_plan_that_is_gone_leaves_one_side() -> None:
    at = settle_with(two_pools(), move=CANARY)
    assert deployments(settle(replace(at, plans=()))) == {OLD.track: 2}


def test_of_two_plans_the_one_that_has_begun_acts() -> None:
    at = replace(two_pools(), plans=(plan("first", created=1), plan("second", created=2)))
    at = settle_with(at, first=State(phase="Pending"), second=CANARY)
    assert deployments(at) == {OLD.track: 2, NEW.track: 1}


def test_a_plan_of_a_mix_or_of_nobody_changes_nothing() -> None:
    at = two_pools(placement={"mode": "mixed", "migration": "manual"})
    before = deployments(at)
    at = replace(at, plans=(plan(), plan("lost", workload="nobody")))
    assert deployments(settle_with(at, move=CANARY, lost=CANARY)) == before
    assert decide(at).objects == ()


def test_a_baseline_that_lost_its_pods_waits_where_it_is() -> None:
    at = settle_with(replace(two_pools(), pools=(pool("a", "1"), *two_pools().pools)), move=CANARY)
    at = replace(at, nodes=(*at.nodes, node("n9", "a")))
    at = lose_node(at, "n1")
    for _ in range(4):
        at = apply(at, decide_with(at, move=CANARY))
    assert set(deployments(at)) == {OLD.track, NEW.track}
