"""What a pool's status says of prices from outside, waste, growth, notices and lost trust."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from switchyard.api import AcceleratorPoolSpec, AcceleratorPoolStatus
from switchyard.api.pool_status import BackOff
from switchyard.catalog import load_catalog
from switchyard.core.placement.capacity import PoolCapacity, survey
from switchyard.core.placement.cost import steady_price
from switchyard.core.placement.facts import PoolFacts
from switchyard.core.placement.pool_view import view_pools
from switchyard.core.placement.reading import read_pool
from switchyard.core.pool_status import find_pool_problem
from switchyard.core.reports import report_pool
from switchyard.core.stability.back_off import Trust
from switchyard.core.world import Meta, Node, Pod, Pool, PriceReading, Taint, World

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
GPU = "example.com/gpu"
NOTICE = Taint("aws-node-termination-handler/spot-itn", "true", "NoSchedule")
ELASTIC = {"mode": "elastic", "maxDevices": 16}


def pool(**spec: Any) -> Pool:
    body = {
        "device": {"family": "gpu", "resourceName": GPU},
        "nodeSelector": {"pool": "p"},
        "cost": {
            "devicePerHour": "2.00",
            "source": "list price",
            "asOf": "2026-11-01",
            "overheadPercent": 10,
        },
        **spec,
    }
    return Pool(Meta("p", "", "u", "1", 1), AcceleratorPoolSpec.model_validate(body), AcceleratorPoolStatus())


def node(name: str, *taints: Taint, **changes: Any) -> Node:
    return replace(Node(name, {"pool": "p"}, taints, {GPU: 4}, {GPU: 4}, True, False), **changes)


def holder(devices: int) -> Pod:
    return Pod("other", "x", "u", {}, "n1", "Running", True, False, {GPU: devices})


def look(
    observed: Pool, *nodes: Node, price: PriceReading | None = None, pods: tuple[Pod, ...] = ()
) -> tuple[PoolFacts, PoolCapacity]:
    facts = read_pool(observed, load_catalog(), price)
    return facts, survey([facts], {}, nodes, pods, frozenset()).pools["p"]


def report(
    observed: Pool,
    *nodes: Node,
    price: PriceReading | None = None,
    trust: Trust | None = None,
    pods: tuple[Pod, ...] = (),
) -> Any:
    """The decision for the pool, its status written as a mapping."""
    facts = read_pool(observed, load_catalog(), steady_price(price, observed.status.cost, NOW))
    fleet = survey([facts], {}, nodes, pods, frozenset())
    view = view_pools([facts], fleet, {})["p"]
    problem = find_pool_problem(facts, fleet.pools["p"])
    world = World(NOW, pools=(observed,), prices={"p": price} if price else {})
    return report_pool(observed, view, problem, [], world, trust=trust or Trust())


def status(*args: Any, **kwargs: Any) -> dict[str, Any]:
    written = report(*args, **kwargs).status
    assert written is not None
    found: dict[str, Any] = dict(written.status)
    return found


def condition(found: dict[str, Any], kind: str) -> tuple[str, str, str]:
    return next(
        (each["status"], each["reason"], each["message"])
        for each in found["conditions"]
        if each["type"] == kind
    )


def test_the_price_of_the_spec_is_shown_with_its_source_and_day():
    cost = status(pool(), node("n1"))["cost"]
    assert (cost["price"], cost["source"], cost["asOf"]) == ("2.00", "list price", "2026-11-01")


def test_a_price_from_outside_is_shown_with_its_source_and_time():
    found = status(pool(), node("n1"), price=PriceReading(Decimal("1.5"), "opencost:main", NOW))
    cost = found["cost"]
    assert (cost["price"], cost["devicePerHour"]) == ("1.50", "1.65")
    assert (cost["source"], cost["asOf"]) == ("opencost:main", "2026-11-21T12:00:00Z")
    assert condition(found, "PricingCurrent") == (
        "True",
        "PriceCurrent",
        "prices by opencost:main are of 2026-11-21",
    )


def test_a_price_from_outside_that_only_grew_older_is_no_change():
    first = report(pool(), node("n1"), price=PriceReading(Decimal("1.5"), "opencost:main", NOW))
    stored = replace(pool(), status=AcceleratorPoolStatus.model_validate(first.status.status))
    later = PriceReading(Decimal("1.501"), "opencost:main", NOW.replace(hour=14))
    assert report(stored, node("n1"), price=later).status is None


WASTE = [
    ("reserved and idle", {"capacityType": "reserved"}, 1, "6.60"),
    ("reserved and busy", {"capacityType": "reserved"}, 4, "0.00"),
    ("a part of it reserved", {"capacity": {"reservedDevices": 2}}, 1, "2.20"),
    ("nothing is paid in advance", {}, 1, None),
]


@pytest.mark.parametrize(
    ("spec", "used", "waste"), [case[1:] for case in WASTE], ids=[case[0] for case in WASTE]
)
def test_what_idles_and_is_paid_for(spec, used, waste):
    assert status(pool(**spec), node("n1"), pods=(holder(used),)).get("wastePerHour") == waste


LOST = Trust(
    BackOff(reason="PoolBackOff", failures=2, until="2026-11-21T12:10:00Z", message="1 pod found no node"),
    closed_because="takes nothing new until 2026-11-21T12:10:00Z: 1 pod found no node",
    is_new_failure=True,
)


def test_a_pool_that_is_not_believed_says_so_once_in_an_event_and_in_its_status_while_it_lasts():
    first = report(pool(), node("n1"), trust=LOST)
    assert [
        (each.type, each.reason, each.message) for each in first.events if "pool takes" in each.message
    ] == [
        (
            "Warning",
            "PoolBackOff",
            "the pool takes nothing new until 2026-11-21T12:10:00Z: 1 pod found no node",
        )
    ]
    assert first.status.status["backOff"]["failures"] == 2
    assert condition(first.status.status, "CapacityAvailable") == (
        "False",
        "PoolBackOff",
        "4 of 4 devices free, but the pool takes nothing new until 2026-11-21T12:10:00Z: 1 pod found no node",
    )
    stored = replace(pool(), status=AcceleratorPoolStatus.model_validate(first.status.status))
    again = report(stored, node("n1"), trust=replace(LOST, is_new_failure=False))
    assert (again.status, again.events) == (None, ())


def test_a_pool_on_trial_keeps_its_memory_and_offers_its_devices():
    found = status(pool(), node("n1"), trust=Trust(LOST.back_off))
    assert found["backOff"]["failures"] == 2
    assert condition(found, "CapacityAvailable")[:2] == ("True", "DevicesFree")


def test_trust_regained_leaves_nothing_behind():
    stored = replace(
        pool(),
        status=AcceleratorPoolStatus.model_validate(status(pool(), node("n1"), trust=LOST)),
    )
    assert "backOff" not in status(stored, node("n1"))


PROBLEMS = [
    ("a pool of nodes without one", pool(), (), "NoNodes"),
    ("nodes may still come", pool(capacity=ELASTIC), (), ""),
    (
        "all nodes are there, and cordoned",
        pool(capacity={**ELASTIC, "maxDevices": 4}),
        (node("n1", is_unschedulable=True),),
        "NodesNotReady",
    ),
    (
        "new nodes would be tainted as well",
        pool(capacity=ELASTIC),
        (node("n1", Taint("x", "", "NoSchedule")),),
        "NodesTainted",
    ),
    ("a node that goes is no tainted one", pool(), (node("n1", NOTICE),), "NodesNotReady"),
    ("another may come in its place", pool(capacity=ELASTIC), (node("n1", NOTICE),), ""),
]


@pytest.mark.parametrize(
    ("observed", "nodes", "reason"), [case[1:] for case in PROBLEMS], ids=[case[0] for case in PROBLEMS]
)
def test_why_a_pool_takes_nothing_new(observed, nodes, reason):
    problem = find_pool_problem(*look(observed, *nodes))
    assert (problem[0].value if problem else "") == reason


def test_growth_is_shown_beside_the_devices_that_are_there():
    found = status(pool(capacity=ELASTIC), node("n1"), pods=(holder(4),))
    assert condition(found, "CapacityAvailable") == (
        "True",
        "DevicesFree",
        "0 of 4 devices free, 12 more on new nodes",
    )
    assert condition(found, "Ready")[2] == "1 of 1 nodes take pods; nodes for 12 more devices may come"


def test_a_node_with_a_notice_takes_nothing_new_and_its_devices_still_count():
    facts, capacity = look(pool(), node("n1", NOTICE), node("n2"))
    assert (capacity.devices_total, capacity.nodes_open, capacity.leaving_nodes) == (8, 1, ("n1",))
    assert capacity.free_for_plan == (("n2", 4),)
    assert find_pool_problem(facts, capacity) is None


def test_a_notice_counts_even_where_every_taint_is_tolerated():
    _, capacity = look(pool(tolerations=[{"operator": "Exists"}]), node("n1", NOTICE))
    assert capacity.nodes_open == 0
