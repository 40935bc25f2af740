"""A pool as placement sees it: its facts, its devices, what they cost, and what keeps newcomers out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from switchyard.core.placement.capacity import Fleet, PoolCapacity
from switchyard.core.placement.case import OPEN, Doors
from switchyard.core.placement.cost import DeviceHour, count_paid_devices, price_device_hour
from switchyard.core.placement.facts import PoolFacts
from switchyard.core.placement.problem import Supply


@dataclass(frozen=True, slots=True)
class PoolView:
    """One pool. `doors`: what keeps newcomers out."""

    facts: PoolFacts
    capacity: PoolCapacity
    device_hour: DeviceHour
    doors: Doors = OPEN

    @property
    def growth_devices(self) -> int:
        """Devices that an elastic pool may still get on new nodes."""
        limit = self.facts.growth_limit_devices
        return 0 if limit is None else max(0, limit - self.capacity.devices_total)


def view_pools(pools: Sequence[PoolFacts], fleet: Fleet, doors: Mapping[str, Doors]) -> dict[str, PoolView]:
    """Every readable pool by name."""
    return {
        facts.name: PoolView(
            facts, fleet.pools[facts.name], price_device_hour(facts), doors.get(facts.name, OPEN)
        )
        for facts in pools
    }


def offer_devices(view: PoolView) -> Supply:
    """What a plan may give out of the pool."""
    facts, capacity = view.facts, view.capacity
    limit = None
    full_price = view.device_hour.allocated()
    if facts.maturity == "pilot" and facts.pilot_max_per_hour is not None and full_price > 0:
        limit = int(facts.pilot_max_per_hour / full_price)
    return Supply(
        name=facts.name,
        free_by_node=capacity.free_for_plan,
        price_per_hour=view.device_hour.billed() if full_price else Decimal(0),
        paid_devices=count_paid_devices(facts, capacity.devices_total),
        used_devices=capacity.devices_foreign,
        device_limit=limit,
        growth_devices=view.growth_devices,
        is_spot=facts.capacity_type == "spot",
        zones=facts.zones,
    )
