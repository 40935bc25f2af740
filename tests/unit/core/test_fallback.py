"""What serves when nothing meets the objectives: fallbacks, how they are told, and when they end."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.unit.core.worlds import (
    condition,
    node,
    place_of,
    pool,
    settle,
    status_of,
    variant,
    workload,
    world,
)

from switchyard.core.decide import decide
from switchyard.core.world import World

# a replica of the default variant: p95 is 184 ms when idle
STRICT = {"objectives": [{"metric": "latency", "percentile": 95, "target": "200ms"}]}
RELAXED = [{"variant": "v", "objectives": [{"metric": "latency", "percentile": 95, "target": "600ms"}]}]
SMALL = {
    "variants": [
        variant(),
        variant("small", quality="0.92", profile={"concurrency": {"slots": 16, "base": "50ms"}}),
    ],
    "fallback": [{"variant": "small"}],
}


def rejected(at: World, name: str) -> dict[tuple[str, str], dict[str, Any]]:
    return {(each["variant"], each["pool"]): each for each in status_of(at, name)["rejected"]}


def test_a_fallback_is_left_alone_while_the_objectives_are_met():
    at = world(pool("p"), node("n1", "p", 4), workload("chat", 2, **SMALL))
    assert place_of(at, "chat") == ("v", "p", 2)
    refusal = rejected(at, "chat")["small", "p"]
    assert refusal["reason"] == "FallbackNotNeeded"
    assert refusal["message"] == "fallback 1: the objectives are met without"
    assert refusal["replicas"] == 1
    assert refusal["costPerHour"] == "1.00"


def test_a_fallback_serves_where_full_service_has_no_room_and_says_how_good_it_is():
    at = settle(world(pool("p"), node("n1", "p", 1), workload("chat", 3, **SMALL)))
    status = status_of(at, "chat")
    assert place_of(at, "chat") == ("small", "p", 1)
    assert status["placements"][0]["degradation"] == 1
    degraded = condition(status, "Degraded")
    assert degraded[:2] == ("True", "FallbackInUse")
    assert degraded[2].startswith(
        "variant small on pool p serves as fallback 1: quality 0.92 of the best variant, judged by no latency "
        "objective; p95 "
    )


def test_relaxed_objectives_take_fewer_replicas_of_the_same_variant():
    asked = world(pool("p"), node("n1", "p", 9), workload("chat", 3, **STRICT))
    _, _, full = place_of(asked, "chat")
    short = world(pool("p"), node("n1", "p", 3), workload("chat", 3, **STRICT))
    assert full > 3
    assert condition(status_of(short, "chat"), "Placed")[:2] == ("False", "InsufficientCapacity")
    at = settle(world(pool("p"), node("n1", "p", 3), workload("chat", 3, fallback=RELAXED, **STRICT)))
    status = status_of(at, "chat")
    assert place_of(at, "chat") == ("v", "p", 3)
    assert status["placements"][0]["degradation"] == 1
    assert condition(status, "Degraded")[:2] == ("True", "FallbackInUse")
    assert "judged by p95 ≤ 600ms" in condition(status, "Degraded")[2]
    assert condition(status, "ObjectivesMet")[:2] == ("False", "FallbackInUse")
    assert decide(at).objects == ()


def test_the_same_track_returns_to_full_service_when_its_pool_grows():
    at = settle(world(pool("p"), node("n1", "p", 3), workload("chat", 3, fallback=RELAXED, **STRICT)))
    grown = settle(replace(at, nodes=(*at.nodes, node("n2", "p", 8))))
    status = status_of(grown, "chat")
    assert "degradation" not in status["placements"][0]
    assert condition(status, "Degraded")[0] == ""
    assert condition(status, "ObjectivesMet")[:2] == ("True", "PredictedWithinTargets")


def test_a_fallback_that_serves_does_not_move_by_itself():
    at = settle(world(pool("p"), node("n1", "p", 1), workload("chat", 3, **SMALL)))
    roomy = settle(replace(at, pools=(*at.pools, pool("q")), nodes=(*at.nodes, node("n2", "q", 8))))
    assert place_of(roomy, "chat") == ("small", "p", 1)


@pytest.mark.parametrize(("first", "second"), [("small", "tiny"), ("tiny", "small")])
def test_fallbacks_are_tried_in_their_order(first, second):
    quick = {"concurrency": {"slots": 32, "base": "50ms"}}
    spec = {
        "variants": [variant(), variant("small", profile=quick), variant("tiny", profile=quick)],
        "fallback": [{"variant": first}, {"variant": second}],
    }
    at = settle(world(pool("p"), node("n1", "p", 1), workload("chat", 3, **spec)))
    assert place_of(at, "chat") == (first, "p", 1)


def test_a_higher_tier_is_served_in_full_before_a_lower_one_gets_its_fallback():
    at = settle(
        world(
            pool("p"),
            node("n1", "p", 3),
            workload("a-batch", 3, tier="batch", **SMALL),
            workload("b-chat", 3, tier="customer-facing", **SMALL),
        )
    )
    assert place_of(at, "b-chat") == ("v", "p", 3)
    assert place_of(at, "a-batch") is None
