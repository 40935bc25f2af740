"""The best plan if nothing were bound, and what becomes of it: a recommendation, never a move."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from tests.unit.core.worlds import (
    condition,
    decision,
    node,
    place_of,
    pool,
    settle,
    status_of,
    variant,
    workload,
    world,
)

from switchyard.core.advise import advise
from switchyard.core.decide import decide
from switchyard.core.world import AdvisedPlacement, World

KEY = ("team", "chat")


@pytest.fixture
def dear() -> World:
    """A workload of two replicas that serves where devices cost 3, beside a pool where they cost 1."""
    at = settle(world(pool("dear", "3"), node("n1", "dear"), workload("chat", 2)))
    return settle(replace(at, pools=(pool("cheap", "1"), *at.pools), nodes=(node("n0", "cheap"), *at.nodes)))


def later(at: World, seconds: float) -> World:
    return replace(at, now=at.now + timedelta(seconds=seconds))


def advised(at: World) -> World:
    return replace(at, advice=advise(at))


def test_the_best_plan_is_told_with_what_today_costs_beside_it(dear: World) -> None:
    advice = advise(dear)
    assert advice.placements == {KEY: (AdvisedPlacement("v", "cheap", 2, Decimal(2)),)}
    assert advice.current_cost_per_hour == {KEY: Decimal(6)}
    assert (advice.gap_ratio, advice.unserved) == (0.0, {})


def test_advice_moves_nothing_and_recommends_once_it_held(dear: World) -> None:
    fresh = settle(advised(dear))
    assert place_of(fresh, "chat") == ("v", "dear", 2)
    shown = status_of(fresh, "chat")["recommendation"]
    assert (shown["savingPerHour"], shown["savingPercent"], shown["settled"]) == ("4.00", 67, False)
    assert decide(fresh).recheck_at == fresh.now + timedelta(minutes=10)
    held = later(fresh, 600)
    events = [each.reason for each in decision(decide(held), "chat").events]
    assert events == ["RecommendationReady"]
    held = settle(held)
    assert status_of(held, "chat")["recommendation"]["settled"]
    assert place_of(held, "chat") == ("v", "dear", 2)
    assert decide(later(held, 600)).objects == ()


def test_a_recommendation_goes_with_its_reason(dear: World) -> None:
    shown = settle(advised(dear))
    gone = settle(advised(replace(shown, pools=shown.pools[1:], nodes=shown.nodes[1:])))
    assert "recommendation" not in status_of(gone, "chat")


def test_what_is_best_where_it_is_gets_no_recommendation() -> None:
    at = settle(
        world(
            pool("cheap", "1"), pool("dear", "3"), node("n0", "cheap"), node("n1", "dear"), workload("chat")
        )
    )
    assert "recommendation" not in status_of(advised(at), "chat")


def test_advice_for_settled_worlds_is_what_runs() -> None:
    """Applying the best plan leaves nothing to advise."""
    things: list[Any] = [pool(f"p{n}", f"{n + 1}") for n in range(3)]
    things += [node(f"n{n}", f"p{n}", 3) for n in range(3)]
    things += [workload(f"w{n}", n % 2 + 1) for n in range(4)]
    at = settle(world(*things))
    advice = advise(at)
    saved = sum(advice.current_cost_per_hour.values()) - sum(
        each.cost_per_hour for placements in advice.placements.values() for each in placements
    )
    assert saved == 0


def test_a_closed_door_sends_nobody_away(dear: World) -> None:
    """The pool takes nothing new; who serves there may stay, and is told no dearer place."""
    cordoned = replace(
        dear, pools=(replace(dear.pools[0], spec=pool("cheap", "9").spec), pool("dear", "3", cordoned=True))
    )
    assert [each.pool for each in advise(cordoned).placements[KEY]] == ["dear"]


def test_waiting_replicas_do_not_make_another_place_look_cheaper() -> None:
    """Four replicas serve, two would be enough and wait: both places are compared with two."""
    at = settle(world(pool("dear", "3"), node("n1", "dear"), workload("chat", 4)))
    smaller = replace(at, workloads=(replace(workload("chat", 2), status=at.workloads[0].status),))
    smaller = settle(smaller)
    assert place_of(smaller, "chat") == ("v", "dear", 4)
    assert advise(smaller).current_cost_per_hour == {KEY: Decimal(6)}


def test_what_does_not_serve_yet_has_no_present_cost() -> None:
    at = world(pool("p"), node("n1", "p"), workload("chat"))
    assert advise(at).current_cost_per_hour == {}
    assert [each.pool for each in advise(at).placements[KEY]] == ["p"]


def test_cheaper_because_it_serves_worse_is_no_advice() -> None:
    fallback = variant("small", profile=None)
    body = {"variants": [variant(), fallback], "fallback": [{"variant": "small"}]}
    at = settle(world(pool("p", "3"), node("n1", "p", 2), workload("chat", 2, **body)))
    assert place_of(at, "chat") == ("v", "p", 2)
    assert "recommendation" not in status_of(advised(at), "chat")


def test_the_condition_of_the_service_does_not_speak_of_advice(dear: World) -> None:
    before, after = status_of(dear, "chat"), status_of(settle(advised(dear)), "chat")
    assert condition(after, "Ready") == condition(before, "Ready")
    assert [each["type"] for each in after["conditions"]] == [each["type"] for each in before["conditions"]]


def test_a_workload_whose_demand_is_not_known_now_is_left_where_it_is(dear: World) -> None:
    signal = {"demand": {"requestsPerSecond": "60", "signal": {"source": "main"}}}
    frozen = replace(
        dear, workloads=tuple(replace(each, spec=workload("chat", **signal).spec) for each in dear.workloads)
    )
    (placed,) = advise(frozen).placements["team", "chat"]
    assert placed.pool == "dear"
    (free,) = advise(dear).placements["team", "chat"]
    assert free.pool == "cheap"
