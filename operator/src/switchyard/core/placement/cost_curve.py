"""What one option costs per hour as its demand grows: steps at each further replica, energy in between.

    planned   = demand x peak factor x (1 + headroom)
    replicas  = max(fewest, ceil(planned / rate))
    cost      = devices beyond those paid for x price + energy at the load + extra ratio x devices x price

Within one number of replicas the cost is taken as a straight line between its ends. That is exact where the
load grows evenly with the rate, and for the price part always; for a server that slows down under load the
energy in the middle of a step is off by less than the energy of the step's own rise.

Money is float here: these are figures to look at, the plan itself is made in Decimal.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

Name = tuple[str, str]  # variant, pool
_ROUNDING = 1e-9


def _even_load(rate: float) -> float:
    del rate
    return 1.0


@dataclass(frozen=True, slots=True)
class Offer:
    """An option in figures. Prices include overhead. `most_replicas`: what room and limits allow.

    `paid_devices` cost nothing but energy. `load_at`: the share of a replica in use at a rate of its own.
    `full_price_per_hour` of a device, paid for or not, is what a budget counts.
    """

    variant: str
    pool: str
    rate: float
    unit_devices: int
    fewest_replicas: int
    most_replicas: int
    planned_ratio: float = 1.0  # planned rate per mean rate: peak factor x (1 + headroom)
    price_per_hour: float = 0.0
    paid_devices: int = 0
    energy_per_hour: float = 0.0  # of one device at full load
    extra_ratio: float = 0.0  # of a device's price, paid for or not: interruptions, the start of new replicas
    load_at: Callable[[float], float] = _even_load
    full_price_per_hour: float = 0.0
    budget_per_hour: float | None = None
    budget_per_thousand: float | None = None
    error_ratio: float = 0.0

    @property
    def name(self) -> Name:
        """Variant and pool: how ties are broken."""
        return (self.variant, self.pool)


@dataclass(frozen=True, slots=True)
class Segment:
    """Demand above `demand_from`, up to and with `demand_to`, with one number of replicas.

    The cost goes in a straight line from `cost_from` to `cost_to`.
    """

    demand_from: float
    demand_to: float
    replicas: int
    cost_from: float
    cost_to: float

    @property
    def slope(self) -> float:
        """Money per hour and request per second."""
        width = self.demand_to - self.demand_from
        return (self.cost_to - self.cost_from) / width if width > 0 else 0.0

    def cost_at(self, demand: float) -> float:
        """The cost at a demand within."""
        return self.cost_from + self.slope * (demand - self.demand_from)


def count_replicas(offer: Offer, demand: float) -> int:
    """Replicas for a mean demand in requests per second."""
    return max(offer.fewest_replicas, math.ceil(demand * offer.planned_ratio / offer.rate - _ROUNDING))


def cost_at(offer: Offer, demand: float) -> float | None:
    """Money per hour at a demand; None where the option can't be had."""
    replicas = count_replicas(offer, demand)
    if replicas > offer.most_replicas or not _is_affordable(offer, demand, replicas):
        return None
    return cost_of(offer, demand, replicas)


def cost_of(offer: Offer, demand: float, replicas: int) -> float:
    """Money per hour of so many replicas that share a demand, budgets apart."""
    devices = offer.unit_devices * replicas
    billed = max(0, devices - offer.paid_devices)
    energy = devices * offer.energy_per_hour * _load(offer, demand, replicas)
    return (billed + devices * offer.extra_ratio) * offer.price_per_hour + energy


def budgeted_cost(offer: Offer, demand: float, replicas: int) -> float:
    """Money per hour as budgets count it: every device at its full price."""
    energy = offer.energy_per_hour * _load(offer, demand, replicas)
    return offer.unit_devices * replicas * (offer.full_price_per_hour + energy)


def trace_cost(offer: Offer, lowest: float, highest: float) -> tuple[Segment, ...]:
    """The segments between two demands, in order; gaps where a budget or the room does not allow it."""
    segments = []
    start = lowest
    replicas = count_replicas(offer, math.nextafter(lowest, math.inf))
    while start < highest and replicas <= offer.most_replicas:
        end = min(highest, replicas * offer.rate / offer.planned_ratio)
        if end > start:
            whole = Segment(
                start, end, replicas, cost_of(offer, start, replicas), cost_of(offer, end, replicas)
            )
            kept = _within_budget(offer, whole)
            if kept is not None:
                segments.append(kept)
            start = end
        replicas += 1
    return tuple(segments)


def _load(offer: Offer, demand: float, replicas: int) -> float:
    return min(1.0, offer.load_at(demand / replicas)) if offer.energy_per_hour else 1.0


def _is_affordable(offer: Offer, demand: float, replicas: int) -> bool:
    per_hour = budgeted_cost(offer, demand, replicas)
    if offer.budget_per_hour is not None and per_hour > offer.budget_per_hour + _ROUNDING:
        return False
    return offer.budget_per_thousand is None or per_hour <= _allowed(offer, demand) + _ROUNDING


def _allowed(offer: Offer, demand: float) -> float:
    """What the budget per thousand answered requests comes to per hour."""
    return (offer.budget_per_thousand or 0.0) * demand * (1 - offer.error_ratio) * 3.6


def _within_budget(offer: Offer, whole: Segment) -> Segment | None:
    """The part of a segment that both budgets allow; None for an empty one."""
    low, high = whole.demand_from, whole.demand_to
    at_low = budgeted_cost(offer, low, whole.replicas)
    at_high = budgeted_cost(offer, high, whole.replicas)
    slope = (at_high - at_low) / (high - low)
    if offer.budget_per_hour is not None:
        low, high = _clip(low, high, at_low - offer.budget_per_hour, slope, whole.demand_from)
    if offer.budget_per_thousand is not None:
        per_unit = _allowed(offer, 1.0)
        above = at_low - per_unit * whole.demand_from
        low, high = _clip(low, high, above, slope - per_unit, whole.demand_from)
    if high <= low:
        return None
    return Segment(low, high, whole.replicas, whole.cost_at(low), whole.cost_at(high))


def _clip(low: float, high: float, above: float, slope: float, origin: float) -> tuple[float, float]:
    """The part of (low, high] where above + slope x (demand - origin) is at most 0."""
    if abs(slope) < _ROUNDING:
        return (low, high) if above <= _ROUNDING else (low, low)
    crossing = origin - above / slope
    return (low, min(high, crossing)) if slope > 0 else (max(low, crossing), high)
