"""What can be said of one workload's placement: its options, where the choice turns, what would help."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from switchyard.api import Reason
from switchyard.cli.planning import Planned, list_cases
from switchyard.core.placement.case import planned_rate
from switchyard.core.placement.comparison import Market, Row, compare_options
from switchyard.core.placement.cost_curve import Name, Offer
from switchyard.core.placement.facts import WorkloadFacts
from switchyard.core.placement.problem import JobKey
from switchyard.core.placement.turning_points import (
    PriceTurn,
    Reign,
    find_cheapest,
    find_price_turns,
    find_reigns,
)

HIGHEST_DEMAND_RATIO = 4.0  # of today's demand: as far as turning points are looked for
_MOST_WAYS_OUT = 3


@dataclass(frozen=True, slots=True)
class Explanation:
    """Everything about one workload. `status`: as the operator would write it now."""

    planned: Planned
    key: JobKey
    facts: WorkloadFacts
    status: Mapping[str, Any]
    rows: tuple[Row, ...]
    reigns: tuple[Reign, ...]
    price_turns: tuple[PriceTurn, ...]

    @property
    def offers(self) -> tuple[Offer, ...]:
        """The options that could be taken, as curves."""
        return tuple(each.offer for each in self.rows if each.offer is not None)

    @property
    def highest_demand(self) -> float:
        """As far as turning points were looked for, in requests per second."""
        return self.facts.mean_rate * HIGHEST_DEMAND_RATIO

    @property
    def cheapest(self) -> Name | None:
        """The cheapest option at today's demand."""
        offer = find_cheapest(self.offers, self.facts.mean_rate)
        return offer.name if offer else None

    @property
    def planned_rate(self) -> float:
        """Peak requests per second with headroom: what replicas are counted for."""
        return planned_rate(self.facts)


def explain(planned: Planned, key: JobKey) -> Explanation:
    """The explanation of a workload that can be read. Raises KeyError for one that can't."""
    facts = planned.readings.workloads[key]
    status = planned.statuses[key]
    job = next((each for each in planned.problem.jobs if each.key == key), None)
    known = [*job.candidates, *(each.candidate for each in job.holdings)] if job else []
    candidates = {(each.variant, each.pool, each.degradation): each for each in known}
    market = Market(
        supplies={each.name: each for each in planned.problem.supplies},
        solution=planned.solution,
        placements=planned.solution.placements.get(key, ()),
        candidates=candidates,
        is_new=job is None or not job.holdings,
        allowances=_find_allowances(planned, key),
    )
    verdicts = {
        (each["variant"], each["pool"]): (Reason(each["reason"]), str(each.get("message", "")))
        for each in status.get("rejected", ())
    }
    rows = compare_options(list_cases(planned, key), market, verdicts)
    offers = [each.offer for each in rows if each.offer is not None]
    highest = facts.mean_rate * HIGHEST_DEMAND_RATIO
    return Explanation(
        planned=planned,
        key=key,
        facts=facts,
        status=status,
        rows=rows,
        reigns=find_reigns(offers, 0.0, highest) if offers and highest > 0 else (),
        price_turns=find_price_turns(offers, facts.mean_rate) if offers else (),
    )


def _find_allowances(planned: Planned, key: JobKey) -> dict[str, int]:
    """Devices by pool that quotas leave to a workload, with all others of its namespace where they are."""
    allowances: dict[str, int] = {}
    for quota in planned.problem.quotas:
        if quota.namespace != key[0]:
            continue
        others = sum(
            each.replicas * each.candidate.unit_devices
            for other, placements in planned.solution.placements.items()
            for each in placements
            if other[0] == key[0] and other != key and each.candidate.pool in quota.pools
        )
        for pool in quota.pools:
            left = max(0, quota.devices - others)
            allowances[pool] = min(allowances.get(pool, left), left)
    return allowances


def describe_way_out(planned: Planned, key: JobKey) -> list[str]:
    """What it would take to place a workload, the options nearest to it first."""
    if key not in planned.readings.workloads:
        return []
    refused = [each for each in explain(planned, key).rows if each.remedies]
    made_for = [each for each in refused if each.variant]
    if not made_for and not planned.seats.get(key) and refused:
        pools = ", ".join(each.pool for each in refused)
        return [f"a variant made for one of the pools {pools} is missing"]
    made_for.sort(key=lambda each: (len(each.remedies), not _is_tryable(each), each.name))
    lines = []
    for row in made_for[:_MOST_WAYS_OUT]:
        needs = "; ".join(each.message for each in row.remedies)
        lines.append(f"{name_option(row.name)} needs {needs}")
        if _is_tryable(row):
            lines.append(f"  try: switchyard plan … {format_options(row)}")
    return lines


def format_options(row: Row) -> str:
    """What of the row's remedies can be tried, as options of `switchyard plan`."""
    return " ".join(_quote(each.option) for each in row.remedies if each.option)


def name_option(name: Name) -> str:
    """`pool/variant`, or the pool where no variant is made for it."""
    variant, pool = name
    return f"{pool}/{variant}" if variant else pool


def _is_tryable(row: Row) -> bool:
    return all(each.option for each in row.remedies)


def _quote(option: str) -> str:
    """The option for a shell: brackets would be patterns."""
    flag, _, value = option.partition(" ")
    return f"{flag} '{value}'" if any(char in value for char in "[]*? ") else option
