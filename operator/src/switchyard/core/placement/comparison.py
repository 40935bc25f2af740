"""The table of a workload's options: every variant on every pool, with the same figures for all of them.

An option is `chosen`, `possible` (it would do, and was not taken) or `refused`. Costs are marginal: what the
option adds to the bill with all other workloads where they are. Those of refused options are figures to
compare, as if nothing stood in the way.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Literal

from switchyard.api import Reason
from switchyard.core.placement.case import Case, planned_rate
from switchyard.core.placement.cost import cost_per_thousand
from switchyard.core.placement.cost_curve import Name, Offer
from switchyard.core.placement.latency import Objective, measure_load, percentile_seconds
from switchyard.core.placement.ledger import count_seats
from switchyard.core.placement.problem import Candidate, Placement, Solution, Supply
from switchyard.core.placement.remedies import Remedy, find_remedies, find_room

# objections that another demand may lift
_OF_DEMAND = frozenset({Reason.MaxReplicasExceeded, Reason.OverBudget, Reason.InsufficientCapacity})

Standing = Literal["chosen", "possible", "refused"]


@dataclass(frozen=True, slots=True)
class Row:
    """One option. Figures are None where they can't be known.

    `predicted`: seconds by objective at peak demand over `replicas` (without any: the p95); for an objective
    out of reach, what an idle replica does. `needed_replicas` would carry the whole demand; a chosen option
    has `replicas`.
    """

    variant: str
    pool: str
    standing: Standing
    reason: Reason | None = None
    message: str = ""
    rate: float | None = None
    replicas: int | None = None
    needed_replicas: int | None = None
    devices: int | None = None
    utilisation_ratio: float | None = None
    predicted: tuple[tuple[Objective, float], ...] = ()
    marginal_per_hour: Decimal | None = None
    allocated_per_hour: Decimal | None = None
    per_thousand: Decimal | None = None
    degradation: int = 0
    remedies: tuple[Remedy, ...] = ()
    offer: Offer | None = None  # of an option that could be taken

    @property
    def name(self) -> Name:
        """Variant and pool."""
        return (self.variant, self.pool)


@dataclass(frozen=True, slots=True)
class Market:
    """What a plan leaves to one workload: the pools, and what all others hold of them."""

    supplies: Mapping[str, Supply]
    solution: Solution
    placements: tuple[Placement, ...]  # of the workload itself
    candidates: Mapping[tuple[str, str, int], Candidate]  # by variant, pool, degradation
    is_new: bool = True  # nothing of it serves: every replica has to start
    allowances: Mapping[str, int] = field(default_factory=dict)  # devices by pool that quotas leave to it

    @property
    def degradation(self) -> int:
        """The level of service that the choice is about: that of the plan, else the best there is."""
        levels = [each.candidate.degradation for each in self.placements] or [
            each.degradation for each in self.candidates.values()
        ]
        return min(levels, default=0)

    def own_devices(self, pool: str) -> int:
        """Devices of the pool that the workload itself holds in the plan."""
        return sum(
            each.replicas * each.candidate.unit_devices
            for each in self.placements
            if each.candidate.pool == pool
        )

    def paid_devices(self, pool: str) -> int:
        """Devices of the pool that are paid for and not used by others."""
        supply = self.supplies[pool]
        others = self.solution.used_devices.get(pool, supply.used_devices) - self.own_devices(pool)
        return max(0, supply.paid_devices - others)

    def seats(self, pool: str, unit_devices: int) -> int:
        """Replicas of that unit for which the workload would find room, its own included."""
        supply = self.supplies[pool]
        free = self.solution.free_by_node.get(pool, supply.free_by_node)
        seats = count_seats(free, unit_devices) + self.own_devices(pool) // unit_devices
        seats += supply.growth_devices // unit_devices
        if supply.device_limit is not None:
            seats = min(seats, supply.device_limit // unit_devices)
        if pool in self.allowances:
            seats = min(seats, self.allowances[pool] // unit_devices)
        return seats


def compare_options(
    cases: Sequence[Case], market: Market, verdicts: Mapping[Name, tuple[Reason, str]]
) -> tuple[Row, ...]:
    """A row per case: chosen first, possible by cost, refused by name, last pools without a variant for them.

    `verdicts`: reason and message of each option not taken, as the plan has them.
    """
    rows = [_compare(case, market, verdicts) for case in cases]
    order = ("chosen", "possible", "refused")
    return tuple(
        sorted(
            rows,
            key=lambda row: (
                order.index(row.standing),
                not row.variant,
                row.degradation,
                row.marginal_per_hour if row.standing != "refused" and row.marginal_per_hour else Decimal(0),
                row.pool,
                row.variant,
            ),
        )
    )


def _compare(case: Case, market: Market, verdicts: Mapping[Name, tuple[Reason, str]]) -> Row:
    if not any(kind in case.variant.accelerators for kind in case.pool.kinds):
        return _dismiss(case, verdicts)
    name, level = (case.variant.name, case.pool.name), case.standard.degradation
    placement = next(
        (each for each in market.placements if _identity(each.candidate) == (*name, level)), None
    )
    is_open = (*name, level) in market.candidates
    reason, message = verdicts.get(name, (None, ""))
    if is_open and level > market.degradation:
        reason, message = Reason.FallbackNotNeeded, f"{_name_level(market)} has a place"
    remedies = () if placement else find_remedies(case)
    standing: Standing = "chosen" if placement else "possible" if is_open else "refused"
    needed = case.replicas if case.promised.rate > 0 else None
    unit = case.unit_devices
    if standing == "possible" and needed is not None and unit is not None:
        missing = needed - market.seats(case.pool.name, unit)
        if missing > 0:
            standing = "refused"
            remedies = (*remedies, _find_room(case, market, missing * unit))
    replicas = placement.replicas if placement else needed
    row = Row(*name, standing, reason, message, degradation=level, remedies=remedies)
    if replicas is None or unit is None:
        return replace(row, predicted=_predict_idle(case))
    # callers of a mix are spread evenly over all of its replicas
    sharing = sum(each.replicas for each in market.placements) if placement else replicas
    utilisation, errors = case.load(sharing)
    allocated = case.device_hour.allocated(utilisation) * unit * replicas
    is_curve = is_open or (bool(remedies) and all(each.reason in _OF_DEMAND for each in remedies))
    return replace(
        row,
        rate=case.promised.rate or None,
        replicas=replicas,
        needed_replicas=None if placement and len(market.placements) > 1 else needed,
        devices=unit * replicas,
        utilisation_ratio=utilisation,
        predicted=_predict(case, sharing),
        marginal_per_hour=placement.cost_per_hour if placement else _price(case, market, replicas),
        allocated_per_hour=allocated,
        per_thousand=cost_per_thousand(allocated, case.workload.mean_rate * replicas / sharing, errors),
        offer=make_offer(case, market) if is_curve and level == market.degradation else None,
    )


def _identity(candidate: Candidate) -> tuple[str, str, int]:
    return (candidate.variant, candidate.pool, candidate.degradation)


def _name_level(market: Market) -> str:
    return f"fallback {market.degradation}" if market.degradation else "full service"


def _find_room(case: Case, market: Market, devices: int) -> Remedy:
    pool = case.pool.name
    needed = (case.unit_devices or 1) * case.replicas
    if market.allowances.get(pool, needed) < needed:
        message = (
            f"a ResourceQuota of namespace {case.workload.namespace} that leaves it {needed} "
            f"{case.pool.resource_name} instead of {market.allowances[pool]}"
        )
        return Remedy(Reason.QuotaExceeded, message)
    return find_room(pool, sum(count for _, count in market.supplies[pool].free_by_node), devices)


def _dismiss(case: Case, verdicts: Mapping[Name, tuple[Reason, str]]) -> Row:
    """The row of a pool that no variant is made for: it has no figures."""
    name = ("", case.pool.name)
    reason, _ = verdicts.get(name, (Reason.AcceleratorMismatch, ""))
    message = f"no variant is made for {' of family '.join(case.pool.kinds)}"
    return Row(*name, "refused", reason, message, remedies=find_remedies(case)[:1])


def make_offer(case: Case, market: Market) -> Offer | None:
    """The option as a curve of cost over demand; None where it has no rate or the demand is not known."""
    unit, rate, workload = case.unit_devices, case.promised.rate, case.workload
    if unit is None or rate <= 0 or workload.mean_rate <= 0:
        return None
    profile, traffic, hour = case.evidence.profile, workload.traffic, case.device_hour
    if profile is None:
        return None
    known = profile
    candidate = market.candidates.get((case.variant.name, case.pool.name, case.standard.degradation))
    overhead = 1 + float(hour.overhead_ratio)
    return Offer(
        variant=case.variant.name,
        pool=case.pool.name,
        rate=rate,
        unit_devices=unit,
        fewest_replicas=workload.min_replicas,
        most_replicas=min(workload.max_replicas, market.seats(case.pool.name, unit)),
        planned_ratio=planned_rate(workload) / workload.mean_rate,
        price_per_hour=float(market.supplies[case.pool.name].price_per_hour),
        paid_devices=market.paid_devices(case.pool.name),
        energy_per_hour=float(hour.energy) * overhead,
        extra_ratio=_extra_ratio(candidate, market),
        load_at=lambda each: measure_load(known, each, traffic)[0],
        full_price_per_hour=float(hour.price) * overhead,
        budget_per_hour=None if workload.budget_per_hour is None else float(workload.budget_per_hour),
        budget_per_thousand=None
        if workload.budget_per_thousand is None
        else float(workload.budget_per_thousand),
        error_ratio=case.load(case.replicas)[1],
    )


def _extra_ratio(candidate: Candidate | None, market: Market) -> float:
    """What interruptions, and for a new workload the start of its replicas, cost per price of a device."""
    if candidate is None:
        return 0.0
    extra = candidate.risk_per_hour + (candidate.add_per_hour if market.is_new else 0)
    price = market.supplies[candidate.pool].price_per_hour * candidate.unit_devices
    return float(extra / price) if price else 0.0


def _price(case: Case, market: Market, replicas: int) -> Decimal:
    """What so many replicas would add to the bill, all others staying where they are."""
    supply = market.supplies[case.pool.name]
    devices = (case.unit_devices or 1) * replicas
    billed = max(0, devices - market.paid_devices(case.pool.name))
    energy = case.device_hour.energy_share(case.load(replicas)[0])
    candidate = market.candidates.get((case.variant.name, case.pool.name, case.standard.degradation))
    risk = candidate.risk_per_hour * replicas if candidate else Decimal(0)
    return billed * supply.price_per_hour + devices * energy + risk


def _predict(case: Case, replicas: int) -> tuple[tuple[Objective, float], ...]:
    profile = case.evidence.profile
    if profile is None or case.gap or replicas < 1:
        return ()
    rate = case.workload.peak_rate / replicas
    shown = case.standard.objectives or (Objective(95, math.inf),)  # none asked for: the p95 is of use
    return tuple(
        (
            each,
            percentile_seconds(
                profile,
                rate,
                each.percentile,
                case.pool.network_latency_seconds,
                traffic=case.workload.traffic,
                metric=each.metric,
            ),
        )
        for each in shown
    )


def _predict_idle(case: Case) -> tuple[tuple[Objective, float], ...]:
    """The objective that is out of reach, with the best there is."""
    capacity = case.promised
    if capacity.binding is None:
        return ()
    return ((capacity.binding, capacity.best_seconds),)
