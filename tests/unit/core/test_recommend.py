"""When another place is worth a recommendation, since when, what it would cost, and when it is withdrawn."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchyard.api.workload_status import Recommendation
from switchyard.core.placement.facts import WorkloadFacts
from switchyard.core.stability.recommend import (
    RecommendationPlan,
    Today,
    migration_cost,
    plan_recommendation,
    write_duration,
)
from switchyard.core.world import Advice, AdvisedPlacement

D = Decimal
NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
KEY = ("team", "chat")
FACTS = WorkloadFacts("team", "chat", "internal", 10.0, 10.0, (), ())
TODAY = Today({("fp16", "a100"): 2}, start_up_seconds={"l4": 900.0})


def advise(
    cost: str = "6",
    now: str = "10",
    placements: Mapping[tuple[str, str], int] | None = None,
    **changes: object,
) -> Advice:
    wanted = placements or {("fp8", "l4"): 3}
    share = D(cost) / len(wanted)
    advised = tuple(AdvisedPlacement(v, p, count, share) for (v, p), count in sorted(wanted.items()))
    made = Advice(NOW, {KEY: advised}, {KEY: D(now)})
    return replace(made, **changes)  # type: ignore[arg-type]


def plan(
    advice: Advice | None,
    stored: Recommendation | None = None,
    *,
    minutes: float = 0.0,
    facts: WorkloadFacts = FACTS,
    today: Today = TODAY,
) -> RecommendationPlan:
    return plan_recommendation(facts, today, advice, stored, NOW + timedelta(minutes=minutes))


def stored(planned: RecommendationPlan) -> Recommendation | None:
    """As it comes back from a status."""
    shown = planned.recommendation
    return shown and Recommendation.model_validate(shown.model_dump(mode="json", by_alias=True))


def test_a_better_place_is_shown_with_what_it_saves_and_what_the_change_costs():
    shown = plan(advise()).recommendation
    assert shown is not None
    assert shown.model_dump(mode="json", by_alias=True) == {
        "placements": [{"variant": "fp8", "pool": "l4", "replicas": 3}],
        "savingPerHour": "4.00",
        "savingPercent": 40,
        "costPerHour": "6.00",
        "migrationCost": "3.00",  # 6 per hour for 15 minutes of start-up and 15 of shadow
        "payback": "45m",
        "since": "2026-11-21T12:00:00Z",
        "settled": False,
        "message": "3 x fp8 in l4: saves 4.00 per hour (40%); the change is repaid after 45m",
        "waitsFor": None,
    }


CASES = [
    ("a good saving", advise("6"), FACTS, TODAY, True),
    ("a saving of exactly what is asked", advise("9"), FACTS, TODAY, True),
    ("a saving below it", advise("9.01"), FACTS, TODAY, False),
    ("no saving", advise("10"), replace(FACTS, min_saving_ratio=0.0), TODAY, False),
    ("a place that costs more", advise("12"), replace(FACTS, min_saving_ratio=0.0), TODAY, False),
    ("where it is already", advise("6", placements={("fp16", "a100"): 2}), FACTS, TODAY, False),
    ("fewer of the same is no move", advise("6", placements={("fp16", "a100"): 1}), FACTS, TODAY, False),
    (
        "but another mixture is",
        advise("6", placements={("fp16", "a100"): 1}),
        replace(FACTS, mode="mixed"),
        TODAY,
        True,
    ),
    ("a change that repays too late", advise("6"), replace(FACTS, horizon_seconds=3374.0), TODAY, False),
    ("a change that repays just in time", advise("6"), replace(FACTS, horizon_seconds=3376.0), TODAY, True),
    ("nobody wants to know", advise("6"), replace(FACTS, migration="manual"), TODAY, False),
    ("what serves nowhere moves nowhere", advise("6"), FACTS, Today({}), False),
    ("cheaper because it serves less", advise("6", unserved={KEY: 0.2}), FACTS, TODAY, False),
    ("paid for already", advise("0", "0"), FACTS, TODAY, False),
]


@pytest.mark.parametrize(
    ("advice", "facts", "today", "is_shown"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_what_is_worth_a_recommendation(advice, facts, today, is_shown):
    assert (plan(advice, facts=facts, today=today).recommendation is not None) == is_shown


def test_a_workload_without_a_place_in_the_best_plan_is_told_nothing():
    assert plan(Advice(NOW, {}, {KEY: D(10)})).recommendation is None


def test_a_worse_service_is_no_better_place():
    worse = replace(advise(), placements={KEY: (AdvisedPlacement("small", "l4", 1, D(1), degradation=1),)})
    assert plan(worse).recommendation is None
    assert plan(worse, today=replace(TODAY, degradation=1)).recommendation is not None


@pytest.mark.parametrize(("cost", "told"), [("14", "adds 4.00 per hour"), ("6", "saves 4.00 per hour")])
def test_the_end_of_a_fallback_is_worth_any_price(cost, told):
    found = plan(advise(cost), today=replace(TODAY, degradation=1)).recommendation
    assert found is not None
    assert found.message.startswith("3 x fp8 in l4: full service again, without a fallback; ")
    assert told in found.message
    assert (found.payback is None) == (cost == "14")


def test_it_is_settled_once_after_the_stabilisation():
    first = plan(advise())
    assert (first.is_newly_settled, first.recheck_at) == (False, NOW + timedelta(minutes=10))
    before = plan(advise(), stored(first), minutes=9.9)
    assert before.recommendation is not None
    assert not before.recommendation.settled
    settled = plan(advise(), stored(before), minutes=10)
    assert settled.recommendation is not None
    assert (settled.recommendation.settled, settled.is_newly_settled) == (True, True)
    assert settled.recheck_at is None
    after = plan(advise(), stored(settled), minutes=20)
    assert not after.is_newly_settled
    assert after.recommendation == settled.recommendation


def test_without_stabilisation_it_is_settled_at_once():
    assert plan(advise(), facts=replace(FACTS, stabilisation_seconds=0.0)).is_newly_settled


def test_a_beginning_in_the_future_is_none():
    first = stored(plan(advise(), minutes=60))
    again = plan(advise(), first)
    assert again.recommendation is not None
    assert again.recommendation.since == "2026-11-21T12:00:00Z"


def test_another_place_begins_anew():
    first = stored(plan(advise()))
    other = plan(advise(placements={("fp8", "h100"): 1}), first, minutes=9)
    assert other.recommendation is not None
    assert other.recommendation.since == "2026-11-21T12:09:00Z"


def test_it_is_withdrawn_when_the_saving_is_gone_and_not_at_the_first_doubt():
    first = stored(plan(advise("9")))
    assert plan(advise("9.19"), first, minutes=1).recommendation is not None
    assert plan(advise("9.21"), first, minutes=1).recommendation is None


def test_small_changes_of_the_figures_are_not_written():
    first = stored(plan(advise("6")))
    assert plan(advise("6.1"), first, minutes=1).recommendation == first
    moved = plan(advise("5.5"), first, minutes=1).recommendation
    assert moved is not None
    assert first is not None
    assert (moved.saving_per_hour, moved.since) == ("4.50", first.since)


def test_before_there_is_advice_what_is_stored_stays():
    first = stored(plan(advise()))
    assert plan(None, first, minutes=30).recommendation == first
    assert plan(None).recommendation is None


def test_only_new_replicas_run_beside_the_old_ones():
    advised = (AdvisedPlacement("a", "p", 4, D(8)), AdvisedPlacement("b", "q", 1, D(1)))
    cost = migration_cost({("a", "p"): 3, ("b", "q"): 2}, advised, {"p": 900.0})
    assert cost == D("1.0")  # 2 per hour for half an hour


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0s"), (45, "45s"), (900, "15m"), (905, "15m5s"), (5401, "1h30m"), (360_000, "100h")],
)
def test_durations_are_written_as_authors_write_them(seconds, text):
    written = write_duration(seconds)
    assert written == text
    assert abs(written.seconds - seconds) <= 30


@given(st.lists(st.floats(0, 20), min_size=1, max_size=60))
def test_random_savings_are_announced_at_most_once_per_stabilisation(costs):
    known, told = None, []
    for minute, cost in enumerate(costs):
        planned = plan(advise(f"{cost:.4f}"), known, minutes=minute)
        known = stored(planned)
        if planned.is_newly_settled:
            told.append(minute)
    assert all(later - earlier >= 10 for earlier, later in itertools.pairwise(told))


@given(
    st.integers(0, 29), st.lists(st.sampled_from(["5", "6", "8.9", "9.1", "10"]), min_size=30, max_size=30)
)
def test_a_restart_at_any_point_repeats_the_same_plan(restart_at, costs):
    """A new process has no advice at first; what it shows is what was stored."""
    calm = restarted = None
    for minute, cost in enumerate(costs):
        calm = stored(plan(advise(cost), calm, minutes=minute))
        if minute == restart_at:
            restarted = stored(plan(None, restarted, minutes=minute))
        restarted = stored(plan(advise(cost), restarted, minutes=minute))
    assert restarted == calm
