"""The demand and the price at which another option is cheapest, against a scan of the costs themselves."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from switchyard.core.placement.cost_curve import Offer, cost_at, count_replicas, trace_cost
from switchyard.core.placement.turning_points import (
    find_cheapest,
    find_demand_turns,
    find_price_turns,
    find_reigns,
)

SMALL = Offer("small", "l4", 10.0, 1, 1, 100, price_per_hour=1.0, full_price_per_hour=1.0)
LARGE = Offer("large", "h100", 100.0, 1, 1, 100, price_per_hour=5.0, full_price_per_hour=5.0)

money = st.integers(0, 800).map(lambda cents: cents / 100)
offers = st.builds(
    Offer,
    variant=st.just("v"),
    pool=st.just("p"),
    rate=st.integers(1, 60).map(float),
    unit_devices=st.integers(1, 4),
    fewest_replicas=st.integers(1, 3),
    most_replicas=st.integers(1, 30),
    planned_ratio=st.sampled_from([1.0, 1.2, 1.8]),
    price_per_hour=money,
    paid_devices=st.integers(0, 6),
    energy_per_hour=st.sampled_from([0.0, 0.05, 1.0]),
    extra_ratio=st.sampled_from([0.0, 0.03]),
    load_at=st.sampled_from([lambda rate: rate / 80.0]),
    full_price_per_hour=money,
    budget_per_hour=st.one_of(st.none(), st.integers(1, 60).map(float)),
    budget_per_thousand=st.one_of(st.none(), st.integers(1, 40).map(lambda cents: cents / 100)),
)
choices = st.lists(offers, min_size=1, max_size=5).map(
    lambda found: [replace(each, variant=f"v{n}", pool=f"p{n % 3}") for n, each in enumerate(found)]
)
TOP = 200.0


def _costs_of(found: list[Offer], demand: float) -> dict[tuple[str, str], float]:
    return {each.name: cost for each in found if (cost := cost_at(each, demand)) is not None}


def test_a_large_device_takes_over_where_the_sixth_small_one_would_be_bought() -> None:
    turns = find_demand_turns(find_reigns([SMALL, LARGE], 0, 100))
    assert [(turn.demand, turn.before, turn.after) for turn in turns] == [
        (40.0, SMALL.name, LARGE.name),  # five small cost what one large does: then the name decides
    ]
    dearer = replace(LARGE, price_per_hour=5.5)
    turns = find_demand_turns(find_reigns([SMALL, dearer], 0, 100))
    assert [(turn.demand, turn.after) for turn in turns] == [(50.0, LARGE.name)]


def test_past_the_room_of_the_last_option_nobody_can() -> None:
    reigns = find_reigns([replace(SMALL, most_replicas=3)], 0, 100)
    assert [(each.demand_to, each.name) for each in reigns] == [(30.0, SMALL.name), (100, None)]


def test_paid_devices_are_taken_first_and_lose_when_they_are_full() -> None:
    owned = replace(SMALL, pool="owned", paid_devices=2, price_per_hour=2.5)
    turns = find_demand_turns(find_reigns([owned, SMALL], 0, 60))
    # 2.5 (n - 2) is less than n up to three replicas
    assert [(turn.demand, turn.before, turn.after) for turn in turns] == [(30.0, owned.name, SMALL.name)]


def test_headroom_and_peak_bring_the_turn_forward() -> None:
    planned = [replace(SMALL, planned_ratio=2.0), replace(LARGE, planned_ratio=2.0, price_per_hour=5.5)]
    assert find_demand_turns(find_reigns(planned, 0, 50))[0].demand == 25.0


@pytest.mark.parametrize(
    ("way", "price"), [(("l4", True), 5 / 3), (("h100", False), 3.0)], ids=["present", "other"]
)
def test_the_price_turns_where_both_cost_the_same(way: tuple[str, bool], price: float) -> None:
    found = {(turn.pool, turn.is_rise): turn for turn in find_price_turns([SMALL, LARGE], 25.0)}
    assert found[way].price_per_hour == pytest.approx(price)
    assert found[way].before == SMALL.name
    assert found[way].after == LARGE.name


def test_no_price_turns_what_is_paid_for_already() -> None:
    owned = replace(SMALL, pool="owned", paid_devices=10)
    assert find_price_turns([owned, LARGE], 25.0) == ()


def test_a_tie_turns_with_the_first_change_of_price() -> None:
    twin = replace(SMALL, pool="l4-b")
    found = {(turn.pool, turn.is_rise): turn.price_per_hour for turn in find_price_turns([SMALL, twin], 5.0)}
    assert found == {("l4", True): 1.0, ("l4-b", False): 1.0}


@settings(max_examples=300, deadline=None)
@given(offers, st.floats(0.5, TOP))
def test_the_curve_says_what_the_formula_says(offer: Offer, demand: float) -> None:
    segments = trace_cost(offer, 0, TOP)
    within = [each for each in segments if each.demand_from < demand <= each.demand_to]
    exact = cost_at(offer, demand)
    edges = [edge for each in segments for edge in (each.demand_from, each.demand_to)]
    if any(abs(demand - edge) < 1e-6 for edge in edges):
        return
    if exact is None:
        assert within == []
    else:
        assert len(within) == 1
        assert within[0].replicas == count_replicas(offer, demand)
        assert within[0].cost_at(demand) == pytest.approx(exact, abs=1e-7)


@settings(max_examples=300, deadline=None)
@given(choices)
def test_a_scan_over_demand_finds_the_same_cheapest_option(found: list[Offer]) -> None:
    reigns = find_reigns(found, 0, TOP)
    assert reigns[0].demand_from == 0
    assert reigns[-1].demand_to == TOP
    for before, after in pairwise(reigns):
        assert before.demand_to == after.demand_from
        assert before.name != after.name
    edges = [each.demand_to for each in reigns]
    for step in range(1, 401):
        demand = TOP * step / 401
        if any(abs(demand - edge) < 1e-6 for edge in edges):
            continue
        reign = next(each for each in reigns if each.demand_from < demand <= each.demand_to)
        costs = _costs_of(found, demand)
        if reign.name is None:
            assert costs == {}
        else:
            assert costs[reign.name] == pytest.approx(min(costs.values()), abs=1e-6)


@settings(max_examples=300, deadline=None)
@given(choices, st.floats(0.5, TOP))
def test_a_scan_over_prices_finds_the_same_turn(found: list[Offer], demand: float) -> None:
    # one price per pool, and no budget: a budget would end an option before another is cheaper
    price_of = {each.pool: each.price_per_hour for each in reversed(found)}
    found = [
        replace(each, price_per_hour=price_of[each.pool], budget_per_hour=None, budget_per_thousand=None)
        for each in found
    ]
    now = find_cheapest(found, demand)
    turns = {(turn.pool, turn.is_rise): turn for turn in find_price_turns(found, demand)}
    if now is None:
        assert turns == {}
        return
    for pool, price in price_of.items():
        rise = turns.get((pool, True))
        fall = turns.get((pool, False))
        top = rise.price_per_hour if rise else price + 1000
        bottom = fall.price_per_hour if fall else 0.0
        for share in (0.01, 0.5, 0.99):
            for between in (price + (top - price) * share, bottom + (price - bottom) * share):
                costs = _costs_of(_with_price(found, pool, between), demand)
                assert costs[now.name] <= min(costs.values()) + 1e-6
        for turn, beyond in ((rise, 1.001), (fall, 0.999)):
            if turn is not None and turn.price_per_hour > 0.01:
                costs = _costs_of(_with_price(found, pool, turn.price_per_hour * beyond), demand)
                assert costs[turn.after] < costs[now.name]


def _with_price(found: list[Offer], pool: str, price: float) -> list[Offer]:
    return [replace(each, price_per_hour=price) if each.pool == pool else each for each in found]
