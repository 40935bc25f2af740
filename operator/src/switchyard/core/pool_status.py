"""The status of a pool: devices, cost, what is placed on it, and five conditions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any

from switchyard.api import Reason
from switchyard.core.conditions import FALSE, TRUE, UNKNOWN, Finding, format_time
from switchyard.core.placement.capacity import PoolCapacity
from switchyard.core.placement.cost import count_paid_devices, format_money, waste_per_hour
from switchyard.core.placement.facts import PoolFacts
from switchyard.core.placement.pool_view import PoolView
from switchyard.core.stability.back_off import Trust
from switchyard.core.world import PriceReading, World

_NAMES_SHOWN = 3
_LONGEST_LINE = 256


def find_pool_problem(facts: PoolFacts, capacity: PoolCapacity) -> tuple[Reason, str] | None:
    """Why the nodes of a pool, and those that it may still get, take nothing new; None when they do."""
    limit = facts.growth_limit_devices
    if limit is not None and capacity.devices_total < limit:
        return _find_taints(capacity)  # new nodes would carry them as well
    if capacity.nodes_total == 0 and capacity.claimed_nodes:
        return Reason.NodesClaimed, _describe_claims(capacity)
    if capacity.nodes_total == 0:
        return Reason.NoNodes, f"no node carries {describe_selectors(facts)}"
    if capacity.nodes_ready == 0:
        return Reason.NodesNotReady, f"none of {capacity.nodes_total} nodes is ready"
    if capacity.devices_allocatable == 0:
        nodes = capacity.nodes_ready
        count = f"{nodes} ready node{'s' * (nodes != 1)}"
        message = f"{count}, but none offers {facts.resource_name}: is its device plugin running?"
        return Reason.NoDevices, message
    if tainted := _find_taints(capacity):
        return tainted
    if capacity.nodes_open == 0:
        why = "cordoned or being taken back" if capacity.leaving_nodes else "cordoned"
        return Reason.NodesNotReady, f"all {capacity.nodes_ready} ready nodes are {why}"
    return None


def _find_taints(capacity: PoolCapacity) -> tuple[Reason, str] | None:
    if capacity.nodes_open or not capacity.repelled_nodes:
        return None
    message = f"taints keep our pods off {_list(capacity.repelled_nodes)}: add tolerations to the pool"
    return Reason.NodesTainted, message


def describe_selectors(facts: PoolFacts) -> str:
    """The labels that make a node one of the pool's."""
    shown = [", ".join(f"{key}={value}" for key, value in sorted(each.items())) for each in facts.selectors]
    return " or ".join(shown)


@dataclass(frozen=True, slots=True)
class PoolReport:
    """All that a pool's status is made of.

    `problem`: why its nodes take nothing new. `placed`: workloads that have a place in it. `price`: what a
    source says in place of the spec.
    """

    view: PoolView
    problem: tuple[Reason, str] | None
    placed: Sequence[tuple[str, str]]
    world: World
    trust: Trust = field(default_factory=Trust)
    price: PriceReading | None = None


def describe_pool(report: PoolReport) -> tuple[dict[str, Any], list[Finding]]:
    """Status fields other than conditions, and the findings."""
    view, problem, world = report.view, report.problem, report.world
    facts, capacity, hour = view.facts, view.capacity, view.device_hour
    paid = count_paid_devices(facts, capacity.devices_total)
    utilisation = (
        capacity.devices_used / capacity.devices_allocatable if capacity.devices_allocatable else 0.0
    )
    utilisation = min(1.0, utilisation)
    is_paid = capacity.devices_used < paid
    full = hour.allocated(utilisation)
    energy = hour.energy * Decimal(str(round(utilisation, 4)))
    cost = {
        "devicePerHour": format_money(full),
        "marginalPerHour": format_money(hour.marginal(is_paid=is_paid, utilisation_ratio=utilisation)),
        "price": format_money(hour.price),
        "energy": format_money(energy),
        "overhead": format_money(full - hour.price - energy),
        **_origin(report),
    }
    idle = max(0, min(paid, capacity.devices_total) - capacity.devices_used)
    fields: dict[str, Any] = {
        "devices": {
            "total": capacity.devices_total,
            "allocatable": capacity.devices_allocatable,
            "used": capacity.devices_used,
            "unhealthy": capacity.devices_unhealthy,
            "reservedIdle": idle,
        },
        "nodes": {"total": capacity.nodes_total, "ready": capacity.nodes_ready},
        "cost": cost,
        "utilisationPercent": round(100 * utilisation),
        "workloads": len(report.placed),
    }
    if paid:
        fields["wastePerHour"] = format_money(waste_per_hour(hour, idle))
    if report.trust.back_off is not None:
        fields["backOff"] = report.trust.back_off.model_dump(mode="json", by_alias=True, exclude_none=True)
    findings = [
        _ready(view, problem),
        _capacity_available(view, problem, report.trust),
        _healthy(capacity),
        _pricing_current(view, world),
        _review_current(facts, world),
    ]
    if problem is not None and problem[0] in {Reason.InvalidSpec, Reason.UnknownAccelerator}:
        findings.append(Finding("Stalled", TRUE, *problem))
    return fields, findings


def _ready(view: PoolView, problem: tuple[Reason, str] | None) -> Finding:
    if problem is not None:
        return Finding("Ready", FALSE, *problem)
    capacity = view.capacity
    message = f"{capacity.nodes_open} of {capacity.nodes_total} nodes take pods"
    if view.growth_devices:
        message = f"{message}; nodes for {view.growth_devices} more devices may come"
    if capacity.claimed_nodes:
        message = f"{message}; {_describe_claims(capacity)}"
    if capacity.repelled_nodes:
        message = f"{message}; taints keep our pods off {_list(capacity.repelled_nodes)}"
    if capacity.leaving_nodes:
        message = f"{message}; the provider takes back {_list(capacity.leaving_nodes)}"
    return Finding("Ready", TRUE, Reason.PoolReady, message)


def _origin(report: PoolReport) -> dict[str, str]:
    """Where the price in force comes from, and of when it is."""
    stated, reading = report.view.facts.price, report.price
    as_of = format_time(reading.as_of) if reading else stated.as_of.isoformat() if stated.as_of else ""
    found = {"source": (reading.source if reading else stated.source)[:_LONGEST_LINE], "asOf": as_of}
    return {key: value for key, value in found.items() if value}


def _capacity_available(view: PoolView, problem: tuple[Reason, str] | None, trust: Trust) -> Finding:
    kind, capacity, grows_by = "CapacityAvailable", view.capacity, view.growth_devices
    if problem is not None:
        return Finding(kind, FALSE, *problem)
    message = f"{capacity.devices_free} of {capacity.devices_allocatable} devices free"
    if grows_by:
        message = f"{message}, {grows_by} more on new nodes"
    if view.facts.is_cordoned:
        return Finding(kind, FALSE, Reason.PoolCordoned, f"{message}, but the pool is cordoned")
    if trust.closed_because and trust.back_off is not None:
        reason = Reason(trust.back_off.reason)
        return Finding(kind, FALSE, reason, f"{message}, but the pool {trust.closed_because}")
    if capacity.devices_free == 0 and not grows_by:
        return Finding(kind, FALSE, Reason.PoolFull, message)
    return Finding(kind, TRUE, Reason.DevicesFree, message)


def _healthy(capacity: PoolCapacity) -> Finding:
    parts = []
    if capacity.devices_unhealthy:
        parts.append(f"{capacity.devices_unhealthy} of {capacity.devices_total} devices are unhealthy")
    if capacity.nodes_ready < capacity.nodes_total:
        parts.append(
            f"{capacity.nodes_total - capacity.nodes_ready} of {capacity.nodes_total} nodes are not ready"
        )
    if parts:
        reason = Reason.DevicesUnhealthy if capacity.devices_unhealthy else Reason.NodesNotReady
        return Finding("Healthy", FALSE, reason, "; ".join(parts))
    if not capacity.nodes_total:
        return Finding("Healthy", UNKNOWN, Reason.NoNodes, "there is no node to judge by")
    return Finding("Healthy", TRUE, Reason.AllHealthy, "every node and device is healthy")


def _pricing_current(view: PoolView, world: World) -> Finding:
    price = view.facts.price
    as_of, of_source = price.as_of, f" by {price.source}" if price.source.startswith("opencost:") else ""
    if not view.device_hour.is_known:
        message = "the pool states no price: its devices count as free of charge; set cost.devicePerHour"
        return Finding("PricingCurrent", FALSE, Reason.PriceUnknown, message)
    if as_of is None:
        return Finding("PricingCurrent", UNKNOWN, Reason.PriceUndated, "cost.asOf is not set")
    limit = world.settings.price_max_age_days
    if world.now.date() - as_of > timedelta(days=limit):
        return Finding(
            "PricingCurrent",
            FALSE,
            Reason.PriceStale,
            f"prices{of_source} are of {as_of}, more than {limit} days old",
        )
    return Finding("PricingCurrent", TRUE, Reason.PriceCurrent, f"prices{of_source} are of {as_of}")


def _review_current(facts: PoolFacts, world: World) -> Finding:
    if facts.maturity != "pilot":
        return Finding("ReviewCurrent", TRUE, Reason.NoReviewNeeded, "not a pilot")
    if facts.review_by is None:
        return Finding(
            "ReviewCurrent", FALSE, Reason.ReviewOverdue, "a pilot needs pilot.reviewBy: none is set"
        )
    if world.now.date() > facts.review_by:
        return Finding(
            "ReviewCurrent", FALSE, Reason.ReviewOverdue, f"the pilot was to be reviewed by {facts.review_by}"
        )
    return Finding(
        "ReviewCurrent", TRUE, Reason.ReviewDue, f"the pilot is to be reviewed by {facts.review_by}"
    )


def _describe_claims(capacity: PoolCapacity) -> str:
    by_pool: dict[str, list[str]] = {}
    for node, pool in capacity.claimed_nodes:
        by_pool.setdefault(pool, []).append(node)
    shown = [f"{_list(nodes)} counted for the earlier pool {pool}" for pool, nodes in sorted(by_pool.items())]
    return "; ".join(shown)


def _list(names: Sequence[str]) -> str:
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")


def pool_columns(fields: Mapping[str, Any]) -> dict[str, str]:
    """`status.summary`: what printer columns show."""
    devices = fields["devices"]
    return {"devices": f"{devices['used']}/{devices['allocatable']}"}
