"""What a device of each pool costs, as OpenCost tells it per node: at its /metrics or in Prometheus."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from switchyard.adapters.signals.bounded_http import Bounds, NoAnswer, fetch_text, open_session
from switchyard.adapters.signals.exposition import read_samples
from switchyard.adapters.signals.instant_query import open_asker
from switchyard.core.world import Node, PriceReading
from switchyard.engine.settings import MetricSource
from switchyard.engine.signals import STALE_SECONDS

# pkg/costmodel/metrics.go of OpenCost: "hourly cost for each gpu on this node", label `node`
NODE_PRICE = "node_gpu_hourly_cost"
_BOUNDS = Bounds(timeout_seconds=10.0, most_bytes=16 * 1024 * 1024)
_SAME_RATIO = 0.01  # a price that differs less is the same price
_REFRESH_SECONDS = 3600.0
_CENT_OF_CENT = Decimal("0.0001")


@dataclass
class PriceSource:
    """The prices in one named source."""

    source: MetricSource
    bounds: Bounds = _BOUNDS

    async def fetch(self, now: datetime) -> dict[str, float]:
        """The price of a device per hour by node. Raises NoAnswer, also when no node has a price."""
        if self.source.type == "prometheus":
            found = await self._query(now)
        else:
            found = await self._scrape(now)
        # OpenCost says 0 for nodes whose price it does not know
        prices = {node: price for node, price in found if node and math.isfinite(price) and price > 0}
        if not prices:
            raise NoAnswer(f"no node has a {NODE_PRICE} above 0")
        return prices

    async def _query(self, now: datetime) -> list[tuple[str, float]]:
        async with open_asker(self.source, self.bounds, now) as asker:
            rows = await asker.ask(f"max by (node) ({NODE_PRICE})")
        fresh = [row for row in rows if now.timestamp() - row.at_seconds <= STALE_SECONDS]
        return [(row.labels.get("node", ""), row.value) for row in fresh]

    async def _scrape(self, now: datetime) -> list[tuple[str, float]]:
        async with open_session(self.bounds, connections=1) as session:
            page = await fetch_text(
                session, f"{self.source.url}/metrics", self.bounds, token_file=self.source.token_file
            )
        samples, _ = read_samples(page, frozenset({NODE_PRICE}))
        del now  # the page is of this moment
        return [(sample.labels.get("node", ""), sample.value) for sample in samples.get(NODE_PRICE, ())]


def price_pools(
    by_node: Mapping[str, float],
    nodes: Sequence[Node],
    selectors: Mapping[str, Iterable[Mapping[str, str]]],
    source: str,
    now: datetime,
) -> dict[str, PriceReading]:
    """The mean price over the nodes of each pool; pools without a priced node are absent.

    `selectors`: pool -> label sets of which a node must have one.
    """
    found = {}
    for pool, any_of in selectors.items():
        wanted = [selector for selector in any_of if selector]
        prices = [
            by_node[node.name]
            for node in nodes
            if node.name in by_node
            and any(all(node.labels.get(k) == v for k, v in selector.items()) for selector in wanted)
        ]
        if prices:
            mean = Decimal(repr(math.fsum(prices) / len(prices))).quantize(_CENT_OF_CENT)
            found[pool] = PriceReading(mean, f"opencost:{source}", now)
    return found


def keep_prices(
    before: Mapping[str, PriceReading], after: Mapping[str, PriceReading], now: datetime
) -> tuple[dict[str, PriceReading], bool]:
    """The prices to go on with, and whether one changed by more than 1 %, came or went.

    An unchanged price keeps its moment for an hour, so that a look alone changes no status.
    """
    kept = {}
    for pool, price in after.items():
        old = before.get(pool)
        is_same = old is not None and abs(price.device_per_hour - old.device_per_hour) <= (
            Decimal(str(_SAME_RATIO)) * old.device_per_hour
        )
        if old is not None and is_same and (now - old.as_of).total_seconds() < _REFRESH_SECONDS:
            kept[pool] = old
        else:
            kept[pool] = price
    changed = kept.keys() != before.keys() or any(
        kept[pool].device_per_hour != before[pool].device_per_hour for pool in kept
    )
    return kept, changed
