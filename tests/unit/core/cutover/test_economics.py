"""Money: what running both sides costs, and when the move has paid for itself."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.core.cutover.cutover_world import BEGIN, NEW, World, make_facts, make_shadow, make_steps

from switchyard.core.cutover.economics import (
    accrue,
    expect_dual_run,
    find_break_even,
    find_dual_run_rate,
    find_payback,
    find_saving,
)
from switchyard.core.cutover.types import Observation, SegmentFacts, SideView, State, TargetView
from switchyard.core.cutover.validation import find_refusal

HOUR = 3600.0


def seen(minutes: float = 0, **changes) -> Observation:
    target = {"pool": "inf2", "track": NEW.track, "replicas": 4, "cost_per_hour": Decimal(2), **changes}
    return Observation(
        now=BEGIN + timedelta(minutes=minutes),
        baseline_view=SideView(3, 3, cost_per_hour=Decimal(6)),
        candidate_view=SideView(2, 2, cost_per_hour=Decimal(1)),
        baseline_cost_per_thousand=Decimal("0.06"),
        target=TargetView(**{"cost_per_thousand": Decimal("0.02"), **target}),
    )


def test_the_cost_of_the_candidate_adds_up_while_users_are_on_the_baseline():
    state = State(phase="Canary", candidate_replicas=2, cost_at=BEGIN)
    assert accrue(state, seen(minutes=30)) == (Decimal("0.5"), BEGIN + timedelta(minutes=30))


@pytest.mark.parametrize("phase", ["Soaking", "Completing"])
def test_once_all_is_on_the_candidate_it_is_the_baseline_that_costs(phase):
    state = State(phase=phase, candidate_replicas=4, cost_at=BEGIN)
    assert accrue(state, seen(minutes=30))[0] == Decimal(3)
    paused = State(phase="Paused", resume_phase=phase, candidate_replicas=4)
    assert find_dual_run_rate(paused, seen()) == Decimal(6)


@pytest.mark.parametrize(
    "state",
    [
        State(phase="Validating", cost_at=BEGIN),
        State(phase="Completed", candidate_replicas=4, cost_at=BEGIN),
        State(phase="RolledBack", candidate_replicas=4, cost_at=BEGIN),
    ],
)
def test_nothing_is_spent_before_there_are_pods_and_after_the_end(state: State):
    assert accrue(state, seen(minutes=30)) == (Decimal(0), None)
    assert find_dual_run_rate(state, seen()) == 0


def test_the_first_look_only_starts_the_clock():
    state = State(phase="Provisioning", candidate_replicas=1)
    assert accrue(state, seen()) == (Decimal(0), BEGIN)


@given(st.lists(st.integers(1, 500), min_size=1, max_size=40))
def test_the_cost_does_not_depend_on_how_often_it_is_looked_at(pauses: list[int]):
    state = State(phase="Canary", candidate_replicas=2, cost_at=BEGIN)
    for total in [sum(pauses[: count + 1]) for count in range(len(pauses))]:
        cost, cost_at = accrue(state, replace(seen(), now=BEGIN + timedelta(seconds=total)))
        state = replace(state, dual_run_cost=cost, cost_at=cost_at)
    hours = Decimal((state.cost_at - BEGIN).total_seconds()) / 3600
    assert abs(state.dual_run_cost - hours) < Decimal("1e-7")
    assert sum(pauses) - (state.cost_at - BEGIN).total_seconds() < 60


def test_the_expected_cost_counts_each_share_with_its_replicas_and_the_warm_baseline():
    facts = make_facts(
        shadow=make_shadow(20, min_seconds=HOUR),
        segments=(SegmentFacts("all", None, make_steps(25, 100, min_seconds=HOUR)),),
        retain_seconds=HOUR / 2,
    )
    copies, quarter, whole, retained = Decimal("0.5"), Decimal("0.5"), Decimal(2), Decimal(3)
    assert expect_dual_run(facts, seen()) == copies + quarter + whole + retained
    provisioned = seen(provisioning_seconds=HOUR)
    assert expect_dual_run(facts, provisioned) == copies * 2 + quarter + whole + retained


def test_a_segment_keeps_its_replicas_while_a_later_one_moves():
    steps = make_steps(50, min_seconds=HOUR)
    facts = make_facts(
        shadow=make_shadow(0),
        segments=(SegmentFacts("a", None, make_steps(100, min_seconds=HOUR)), SegmentFacts("b", None, steps)),
        retain_seconds=0.0,
    )
    assert expect_dual_run(facts, seen()) == Decimal(4)


@pytest.mark.parametrize(
    ("within", "cost_per_hour", "message"),
    [
        (3600.0, 2, "payback takes 1h56m at a saving of 4.00 per hour; wanted is payback within 1h"),
        (
            5400.0,
            8,
            "the target saves nothing (it costs 2.00 per hour more); wanted is payback within 1h30m",
        ),
    ],
)
def test_a_move_that_pays_too_late_is_refused_in_times_as_people_write_them(within, cost_per_hour, message):
    facts = make_facts(payback_seconds=within, engineering_cost=Decimal(7))
    around = World(facts).observe()
    target = replace(around.target, cost_per_hour=Decimal(cost_per_hour))
    told = find_refusal(facts, replace(around, target=target))
    assert told == ("PaybackTooLong", message)


def test_payback_is_all_that_is_spent_over_what_is_saved_per_hour():
    facts = make_facts(engineering_cost=Decimal(400))
    spent = Decimal(400) + expect_dual_run(facts, seen())
    assert find_saving(seen()) == Decimal(4)
    assert find_payback(facts, seen()) == pytest.approx(float(spent / 4 * 3600))


@pytest.mark.parametrize("cost", [Decimal(6), Decimal(7)])
def test_what_saves_nothing_is_never_paid_back(cost: Decimal):
    assert find_payback(make_facts(), seen(cost_per_hour=cost)) is None


def test_break_even_is_where_one_replica_costs_what_the_baseline_does_for_its_requests():
    demand = find_break_even(seen())
    assert demand == Decimal("2.3148")
    per_hour = demand * 3600 * Decimal("0.06") / 1000
    assert per_hour == pytest.approx(Decimal("0.5"), abs=Decimal("0.0001"))


@pytest.mark.parametrize("price", [None, Decimal("0.06"), Decimal("0.07")])
def test_what_costs_no_less_per_request_never_breaks_even(price: Decimal | None):
    assert find_break_even(seen(cost_per_thousand=price)) is None
