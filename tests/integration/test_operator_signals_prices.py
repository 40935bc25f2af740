"""What OpenCost says of nodes becomes prices of pools; what it does not know is no price of 0."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal

import pytest
from aiohttp import web

from switchyard.adapters.signals.bounded_http import NoAnswer
from switchyard.adapters.signals.opencost import PriceSource, keep_prices, price_pools
from switchyard.core.world import Node, PriceReading
from switchyard.engine.settings import MetricSource

from .operator_fakes import run
from .signal_fakes import NOW, FakePrometheus, serving, vector

L4 = {"gpu": "l4"}


def node(name: str, labels: Mapping[str, str] = L4) -> Node:
    return Node(name, labels, (), {}, {}, is_ready=True, is_unschedulable=False)


def scrape(page: web.Response) -> dict[str, float]:
    async def scenario() -> dict[str, float]:
        async with serving(lambda _: page) as port:
            url = f"http://127.0.0.1:{port}"
            return await PriceSource(MetricSource(name="costs", type="opencost", url=url)).fetch(NOW)

    found: dict[str, float] = run(scenario())
    return found


def test_prices_are_read_from_the_page_of_opencost() -> None:
    page = (
        "# TYPE node_gpu_hourly_cost gauge\n"
        'node_gpu_hourly_cost{instance="n1",node="n1",uid="u"} 0.75\n'
        'node_gpu_hourly_cost{instance="n2",node="n2",uid="v"} 0\n'
        'node_gpu_hourly_cost{instance="n3",node="n3",uid="w"} NaN\n'
        'node_cpu_hourly_cost{instance="n1",node="n1",uid="u"} 0.03\n'
    )
    assert scrape(web.Response(text=page)) == {"n1": 0.75}


@pytest.mark.parametrize(
    ("page", "told"),
    [
        (web.Response(status=500), "HTTP 500"),
        (web.Response(text=""), "no node has a node_gpu_hourly_cost above 0"),
        (web.Response(text='node_gpu_hourly_cost{node="n1"} 0\n'), "no node has a"),
    ],
    ids=["an error", "an empty page", "all zero"],
)
def test_prices_that_are_missing_are_told(page: web.Response, told: str) -> None:
    with pytest.raises(NoAnswer, match=told):
        scrape(page)


def test_prices_are_read_from_a_prometheus() -> None:
    async def scenario() -> dict[str, float]:
        fake = FakePrometheus({"node_gpu_hourly_cost": vector(({"node": "n1"}, 0.5), ({"node": "n2"}, 0.0))})
        async with fake.serve() as url:
            return await PriceSource(MetricSource(name="main", url=url)).fetch(NOW)

    assert run(scenario()) == {"n1": 0.5}


def test_a_pool_costs_the_mean_of_its_nodes() -> None:
    nodes = [node("n1"), node("n2"), node("n3", {"gpu": "a100"}), node("n4", {"gpu": "t4"})]
    prices = {"n1": 0.7, "n2": 0.8, "n3": 3.0}
    selectors = {"l4": [L4], "both": [L4, {"gpu": "a100"}], "unpriced": [{"gpu": "t4"}], "all": [{}]}
    found = price_pools(prices, nodes, selectors, "costs", NOW)
    assert {name: price.device_per_hour for name, price in found.items()} == {
        "l4": Decimal("0.7500"),
        "both": Decimal("1.5000"),
    }
    assert (found["l4"].source, found["l4"].as_of) == ("opencost:costs", NOW)


def reading(price: str, minutes: int = 0) -> PriceReading:
    return PriceReading(Decimal(price), "opencost:costs", NOW + timedelta(minutes=minutes))


@pytest.mark.parametrize(
    ("before", "after", "kept", "changed"),
    [
        ({"l4": reading("1.00")}, {"l4": reading("1.005", 5)}, {"l4": reading("1.00")}, False),
        ({"l4": reading("1.00")}, {"l4": reading("1.02", 5)}, {"l4": reading("1.02", 5)}, True),
        ({"l4": reading("1.00")}, {"l4": reading("1.00", 60)}, {"l4": reading("1.00", 60)}, False),
        ({}, {"l4": reading("1.00")}, {"l4": reading("1.00")}, True),
        ({"l4": reading("1.00")}, {}, {}, True),
    ],
    ids=["the same", "dearer", "the same for an hour", "new", "gone"],
)
def test_a_price_that_stays_changes_nothing(
    before: dict[str, PriceReading],
    after: dict[str, PriceReading],
    kept: dict[str, PriceReading],
    *,
    changed: bool,
) -> None:
    now = max((price.as_of for price in after.values()), default=NOW)
    assert keep_prices(before, after, now) == (kept, changed)
