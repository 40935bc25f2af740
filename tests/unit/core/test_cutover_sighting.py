"""What the planner and the pods say of a plan's two sides."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from tests.unit.core.plans import NEW, OLD, decide_with, plan, recalling, settle_with, state
from tests.unit.core.test_cutover_tracks import CANARY, two_pools
from tests.unit.core.worlds import apply, foreign_pod, lose_node, node, pool, settle, variant, workload, world

from switchyard.catalog import load_catalog
from switchyard.core.cutover.sighting import (
    Sides,
    cost_baseline_per_thousand,
    estimate_copies,
    estimate_share,
    find_active,
    find_workload_problem,
    take_sides,
    view_baseline,
    view_candidate,
    view_target,
)
from switchyard.core.cutover.types import SegmentState, State
from switchyard.core.decide import solve
from switchyard.core.placement.explain import Leftover
from switchyard.core.placement.optimise import Optimiser
from switchyard.core.readings import read_world
from switchyard.core.routing.samples import Samples, SegmentSamples
from switchyard.core.seats import find_surroundings, recall_all, seat_all
from switchyard.core.world import ResourceQuotaView, Sight, World

PENDING = State(phase="Pending")


def sides(at: World, remembered: State = PENDING) -> Sides:
    readings = read_world(at, load_catalog())
    seats = seat_all(at, readings, {}, recall_all(at.plans, recalling({"move": remembered}), {}))
    leftover = Leftover(solve(seats, readings, Optimiser()), readings.pools, readings.quotas)
    around = find_surroundings(at, readings, "team")
    return take_sides(seats["team", "chat"], leftover, around, remembered)


def refusal(at: World, variant_name: str = "v", pool_name: str | None = "new") -> tuple[str, str] | None:
    return view_target(sides(at), variant_name, pool_name, PENDING).refusal


def test_a_target_with_room_is_told_with_its_size_and_its_price() -> None:
    found = view_target(sides(two_pools()), "v", "new", PENDING)
    assert (found.pool, found.track, found.accelerator, found.replicas) == ("new", NEW.track, "gpu", 2)
    assert (found.cost_per_hour, found.refusal) == (Decimal(2), None)
    assert found.cost_per_thousand == pytest.approx(Decimal(2) / (60 * 3600) * 1000, rel=Decimal("0.001"))


def test_the_baseline_costs_what_its_pool_charges() -> None:
    found = sides(two_pools())
    assert find_active(found) == OLD
    assert cost_baseline_per_thousand(found, OLD) == pytest.approx(
        Decimal(6) / (60 * 3600) * 1000, rel=Decimal("0.001")
    )


def test_without_a_pool_the_cheapest_other_one_with_room_is_chosen() -> None:
    at = two_pools()
    at = replace(
        at,
        pools=(*at.pools, pool("tiny", "0.1"), pool("wide", "2")),
        nodes=(*at.nodes, node("n7", "tiny", 1), node("n8", "wide")),
    )
    assert view_target(sides(at), "v", None, PENDING).pool == "new"
    full = replace(at, pods=(*at.pods, foreign_pod("x", "n0", 3)))
    assert view_target(sides(full), "v", None, PENDING).pool == "wide"


def test_a_pool_once_chosen_stays_chosen() -> None:
    at = two_pools()
    at = replace(at, pools=(*at.pools, pool("wide", "0.5")), nodes=(*at.nodes, node("n8", "wide")))
    assert view_target(sides(at), "v", None, PENDING).pool == "wide"
    at = settle_with(at, move=CANARY)
    assert view_target(sides(at, CANARY), "v", None, CANARY).pool == "new"


@pytest.mark.parametrize(
    ("variant_name", "pool_name", "reason", "says"),
    [
        ("w", "new", "VariantNotFound", "no variant w; it has v"),
        ("v", "gone", "PoolNotFound", "no AcceleratorPool gone"),
        ("v", "old", "AlreadyServing", "serves already"),
    ],
)
def test_a_target_that_makes_no_sense_is_refused_with_the_way_out(
    variant_name: str, pool_name: str, reason: str, says: str
) -> None:
    found = refusal(two_pools(), variant_name, pool_name)
    assert found is not None
    assert found[0] == reason
    assert says in found[1]


def test_a_workload_without_another_place_is_told_so() -> None:
    at = settle(world(pool("old"), node("n1", "old"), workload("chat", 1)))
    found = refusal(replace(at, plans=(plan(),)), "v", None)
    assert found is not None
    assert found[0] == "AlreadyServing"


def test_what_placement_refuses_is_refused_in_its_words() -> None:
    at = two_pools()
    closed = pool("new", "1", created=2, device={"family": "tpu", "resourceName": "example.com/gpu"})
    at = replace(at, pools=(closed, at.pools[1]))
    found = refusal(at)
    assert found is not None
    assert found[0] == "AcceleratorMismatch"


def test_room_for_a_part_of_the_demand_is_not_enough() -> None:
    found = refusal(two_pools(room=1))
    assert found == ("InsufficientCapacity", "needs 2 x example.com/gpu units, 1 free in pool new")


def test_a_quota_is_room_too() -> None:
    found = refusal(
        replace(two_pools(), quotas=(ResourceQuotaView("team", "gpus", {"example.com/gpu": 3}, {}),))
    )
    assert found is not None
    assert found[0] == "QuotaExceeded"
    assert "gpus leaves 1 of 3" in found[1]


def test_what_the_candidate_has_already_counts_as_room() -> None:
    at = settle_with(two_pools(room=2), move=CANARY)
    assert view_target(sides(at, CANARY), "v", "new", CANARY).refusal is None


def test_a_candidate_that_runs_is_not_refused_for_what_keeps_newcomers_out() -> None:
    at = settle_with(two_pools(), move=CANARY)
    at = replace(at, pools=tuple(pool(each.meta.name, "1", created=2, cordon=True) for each in at.pools))
    found = view_target(sides(at, CANARY), "v", "new", CANARY)
    assert (found.refusal, found.replicas) == (None, 2)


def test_a_target_that_lost_its_variant_is_refused_at_any_time() -> None:
    at = settle_with(two_pools(variants=[variant("v"), variant("w")]), move=CANARY)
    other = replace(CANARY, candidate=replace(NEW, variant="x"))
    assert view_target(sides(at, other), "v", "new", other).refusal is not None


# -- sides -----------------------------------------------------------------------------------------------


def test_the_sides_tell_what_is_wanted_ready_and_paid() -> None:
    at = settle_with(two_pools(), move=CANARY)
    found = sides(at, CANARY)
    baseline, candidate = view_baseline(found, OLD, 0.75), view_candidate(found, CANARY, 0.25)
    assert (baseline.wanted, baseline.ready, baseline.cost_per_hour) == (2, 2, Decimal(6))
    assert (candidate.wanted, candidate.ready, candidate.cost_per_hour) == (1, 1, Decimal(1))
    assert not candidate.waiting_for


def test_a_candidate_that_has_not_begun_is_nothing() -> None:
    found = view_candidate(sides(two_pools()), PENDING, 0.0)
    assert (found.wanted, found.ready, found.waiting_for) == (0, 0, "")


def test_the_load_follows_the_share() -> None:
    at = settle_with(two_pools(), move=CANARY)
    found = sides(at, CANARY)
    quarter = view_candidate(found, CANARY, 0.25).utilisation_ratio
    half = view_candidate(found, CANARY, 0.5).utilisation_ratio
    # 60 requests/s in all, 4 slots of 100 ms: a replica is full at 40
    assert quarter == pytest.approx(15 / 40, abs=0.01)
    assert half == pytest.approx(30 / 40, abs=0.02)


def test_pods_that_do_not_come_up_say_why() -> None:
    at = settle_with(two_pools(), move=CANARY)
    ill = tuple(
        replace(each, is_ready=False, waiting_reason="CrashLoopBackOff", restarts=7)
        if each.name.startswith(NEW.track)
        else each
        for each in at.pods
    )
    found = view_candidate(sides(replace(at, pods=ill), CANARY), CANARY, 0.25)
    assert (found.ready, found.restarts, found.waiting_for) == (0, 7, "CrashLoopBackOff")


def test_a_pod_that_lost_its_readiness_counts_like_a_restart() -> None:
    at = settle_with(two_pools(), move=CANARY)
    ill = tuple(replace(each, is_ready=False, has_lost_readiness=True) for each in at.pods)
    assert view_candidate(sides(replace(at, pods=ill), CANARY), CANARY, 0.25).restarts == 1


def test_a_candidate_whose_devices_went_to_a_higher_tier_is_lost() -> None:
    at = two_pools(room=1, tier="batch")
    at = settle_with(
        replace(at, pools=(pool("new", "1", created=2, location={"zones": ["z"]}), at.pools[1])), move=CANARY
    )
    urgent = workload("urgent", 1, tier="customer-facing", constraints={"zones": ["z"]})
    at = replace(at, workloads=(*at.workloads, urgent))
    found = view_candidate(sides(at, CANARY), CANARY, 0.25)
    assert found.ready == 0
    assert "team/urgent" in found.waiting_for


def test_once_the_candidate_serves_it_is_sized_by_demand() -> None:
    at = settle_with(two_pools(), move=replace(CANARY, candidate_replicas=2))
    completing = state("Completing", replicas=2, weight=100)
    at = apply(at, decide_with(at, move=completing))
    found = sides(at, completing)
    assert find_active(found) == NEW
    assert view_candidate(found, completing, 1.0).wanted == 2
    assert view_target(found, "v", "new", completing).refusal is None


def test_a_lost_baseline_is_seen() -> None:
    at = lose_node(settle_with(two_pools(), move=CANARY), "n1")
    assert view_baseline(sides(at, CANARY), OLD, 0.75).ready == 0


# -- the share -------------------------------------------------------------------------------------------


def test_segments_count_by_their_requests() -> None:
    two = replace(
        CANARY,
        segments=(SegmentState("batch", "Candidate", 100), SegmentState("rest", "Baseline", 0)),
    )
    seen = Samples(
        segments={
            "batch": SegmentSamples(started={"candidate": 10}),
            "rest": SegmentSamples(started={"baseline": 30}),
        }
    )
    at = two_pools().now
    assert estimate_share(two, None) == (0.5, 0.5)
    assert estimate_share(two, Sight(at, samples=(seen,))) == (0.75, 0.25)
    assert estimate_share(two, Sight(at, samples=())) == (0.5, 0.5)


def test_copies_are_work_for_the_candidate_alone() -> None:
    assert estimate_share(state("Shadowing", replicas=1, shadow_percent=20), None) == (1.0, 0.2)


def test_copies_in_a_canary_are_those_of_the_segment_that_moves() -> None:
    segments = (
        SegmentState("batch", "Candidate", 100),
        SegmentState("shop", "Moving", 50),
        SegmentState("rest", "Baseline", 0),
        SegmentState("labs", "Stays", 0),
    )
    at = replace(CANARY, segments=segments, shadow_percent=20)
    moved = (1 + 0.5) / 4
    assert estimate_copies(at, None) == pytest.approx(0.5 * 0.2 / 4)
    assert estimate_share(at, None) == pytest.approx((1 - moved, moved + 0.025))
    shadowing = replace(at, phase="Shadowing", segments=(*segments[2:],))
    assert estimate_share(shadowing, None) == pytest.approx((1.0, 0.1))


def test_before_a_plan_has_segments_the_baseline_has_it_all() -> None:
    assert estimate_share(PENDING, None) == (1.0, 0.0)


# -- the workload ----------------------------------------------------------------------------------------


def test_a_mix_can_not_be_moved() -> None:
    at = two_pools(placement={"mode": "mixed", "migration": "manual"})
    found = find_workload_problem(sides(at))
    assert found is not None
    assert found[0] == "ModeNotSupported"


def test_a_workload_that_does_not_serve_has_nothing_to_move_from() -> None:
    at = replace(world(pool("old"), workload("chat", 1)), plans=(plan(),))
    found = find_workload_problem(sides(at))
    assert found is not None
    assert found[0] == "NotServing"
    assert find_workload_problem(sides(two_pools())) is None
