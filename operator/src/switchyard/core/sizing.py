"""How many replicas a workload that serves is to have in this pass: what it needs, and what it may lose.

Replicas come at once and go after a while (stability.scale_down). A mix is short when its replicas, all
running, would not carry the demand by its own rules: callers are spread evenly over them, so each carries
what the weakest can.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from switchyard.api.workload_status import ScaleDown
from switchyard.core.placement.ballot import Ballot
from switchyard.core.placement.case import planned_rate
from switchyard.core.placement.pool_view import PoolView
from switchyard.core.placement.pose import Intent
from switchyard.core.stability.scale_down import ReplicaPlan, Shrinkage, plan_replicas

_EPSILON = 1e-9


@dataclass(frozen=True, slots=True)
class Sizing:
    """What is wanted, and the wait for fewer that goes into status."""

    intent: Intent
    plan: ReplicaPlan


@dataclass(frozen=True, slots=True)
class _Share:
    """One track of a mix: replicas that can be counted on, what each carries, and where."""

    replicas: int
    rate: float
    pool: str
    is_spot: bool
    zones: tuple[str, ...]

    @property
    def total_rate(self) -> float:
        return self.replicas * self.rate


def size(
    ballot: Ballot, pools: Mapping[str, PoolView], stored: ScaleDown | None, now: datetime
) -> Sizing | None:
    """The size of a workload that serves; None for one that does not: it takes what it needs."""
    if not ballot.is_live:
        return None
    if ballot.facts.mode == "mixed":
        return _size_mix(ballot, pools, stored, now)
    held = ballot.held[0]
    wanted = held.option.replicas
    plan = plan_replicas(_shrinkage(ballot, held.track.replicas, wanted, held.option.rate), stored, now)
    return Sizing(Intent(plan.replicas), plan)


def _size_mix(
    ballot: Ballot, pools: Mapping[str, PoolView], stored: ScaleDown | None, now: datetime
) -> Sizing:
    shares = [
        _Share(
            replicas=min(each.track.replicas, each.track.pods.ready)
            if pools[each.option.pool].doors.back_off
            else each.track.replicas,
            rate=each.option.rate,
            pool=each.option.pool,
            is_spot=pools[each.option.pool].facts.capacity_type == "spot",
            zones=pools[each.option.pool].facts.zones,
        )
        for each in ballot.held
    ]
    current = sum(each.track.replicas for each in ballot.held)
    facts = ballot.facts
    carried = min((each.rate for each in shares if each.rate > 0), default=0.0)
    if _is_short(ballot, [each for each in shares if each.rate > 0 and each.replicas], carried):
        return Sizing(Intent(current, is_short=True), ReplicaPlan(current))
    wanted = max(
        facts.min_replicas,
        math.ceil(planned_rate(facts) / carried - _EPSILON) if carried > 0 else current,
    )
    plan = plan_replicas(_shrinkage(ballot, current, wanted, carried), stored, now)
    return Sizing(Intent(plan.replicas, may_fall=plan.replicas < current), plan)


def _is_short(ballot: Ballot, shares: list[_Share], carried: float) -> bool:
    facts = ballot.facts
    demand = planned_rate(facts)
    replicas = sum(each.replicas for each in shares)
    if not shares:
        return False  # nobody knows what they carry: what is there stays
    if replicas < facts.min_replicas or replicas * carried < demand * (1 - _EPSILON):
        return True
    if sum(each.replicas for each in shares if not each.is_spot) < facts.min_firm_replicas:
        return True
    domains = [(each.pool, 1 - facts.max_pool_ratio) for each in shares]
    domains += [(each.pool, facts.spot_survival_ratio) for each in shares if each.is_spot]
    for pool, ratio in domains:
        left = sum(each.total_rate for each in shares if each.pool != pool)
        if left < ratio * demand * (1 - _EPSILON):
            return True
    for zone in {each.zones[0] for each in shares if len(each.zones) == 1}:
        left = sum(each.total_rate for each in shares if each.zones != (zone,))
        if left < (1 - facts.max_zone_ratio) * demand * (1 - _EPSILON):
            return True
    return False


def _shrinkage(ballot: Ballot, current: int, wanted: int, carried: float) -> Shrinkage:
    facts = ballot.facts
    return Shrinkage(
        current=current,
        wanted=wanted,
        carried_rate=carried,
        peak_rate=facts.peak_rate,
        most_replicas=facts.max_replicas,
        delay_seconds=facts.scale_down_delay_seconds,
        is_frozen=ballot.is_frozen,
    )
