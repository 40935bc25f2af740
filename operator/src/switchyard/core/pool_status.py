"""The status of a pool: devices, cost, what is placed on it, and five conditions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

from switchyard.api import Reason
from switchyard.core.conditions import FALSE, TRUE, UNKNOWN, Finding
from switchyard.core.placement.capacity import PoolCapacity
from switchyard.core.placement.cost import count_paid_devices, format_money
from switchyard.core.placement.facts import PoolFacts
from switchyard.core.placement.pose import PoolView
from switchyard.core.world import World

_NAMES_SHOWN = 3


def find_pool_problem(facts: PoolFacts, capacity: PoolCapacity) -> tuple[Reason, str] | None:
    """Why the nodes of a pool can take nothing new; None when they can."""
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
    if capacity.nodes_open == 0 and capacity.repelled_nodes:
        message = f"taints keep our pods off {_list(capacity.repelled_nodes)}: add tolerations to the pool"
        return Reason.NodesTainted, message
    if capacity.nodes_open == 0:
        return Reason.NodesNotReady, f"all {capacity.nodes_ready} ready nodes are cordoned"
    return None


def describe_selectors(facts: PoolFacts) -> str:
    """The labels that make a node one of the pool's."""
    shown = [", ".join(f"{key}={value}" for key, value in sorted(each.items())) for each in facts.selectors]
    return " or ".join(shown)


def describe_pool(
    view: PoolView, problem: tuple[Reason, str] | None, placed: Sequence[tuple[str, str]], world: World
) -> tuple[dict[str, Any], list[Finding]]:
    """Status fields other than conditions, and the findings."""
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
    }
    fields: dict[str, Any] = {
        "devices": {
            "total": capacity.devices_total,
            "allocatable": capacity.devices_allocatable,
            "used": capacity.devices_used,
            "unhealthy": capacity.devices_unhealthy,
            "reservedIdle": max(0, min(paid, capacity.devices_total) - capacity.devices_used),
        },
        "nodes": {"total": capacity.nodes_total, "ready": capacity.nodes_ready},
        "cost": cost,
        "utilisationPercent": round(100 * utilisation),
        "workloads": len(placed),
    }
    findings = [
        _ready(problem, capacity),
        _capacity_available(facts, capacity, problem),
        _healthy(capacity),
        _pricing_current(view, world),
        _review_current(facts, world),
    ]
    if problem is not None and problem[0] in {Reason.InvalidSpec, Reason.UnknownAccelerator}:
        findings.append(Finding("Stalled", TRUE, *problem))
    return fields, findings


def _ready(problem: tuple[Reason, str] | None, capacity: PoolCapacity) -> Finding:
    if problem is not None:
        return Finding("Ready", FALSE, *problem)
    message = f"{capacity.nodes_open} of {capacity.nodes_total} nodes take pods"
    if capacity.claimed_nodes:
        message = f"{message}; {_describe_claims(capacity)}"
    if capacity.repelled_nodes:
        message = f"{message}; taints keep our pods off {_list(capacity.repelled_nodes)}"
    return Finding("Ready", TRUE, Reason.PoolReady, message)


def _capacity_available(
    facts: PoolFacts, capacity: PoolCapacity, problem: tuple[Reason, str] | None
) -> Finding:
    if problem is not None:
        return Finding("CapacityAvailable", FALSE, *problem)
    message = f"{capacity.devices_free} of {capacity.devices_allocatable} devices free"
    if facts.is_cordoned:
        return Finding(
            "CapacityAvailable", FALSE, Reason.PoolCordoned, f"{message}, but the pool is cordoned"
        )
    if capacity.devices_free == 0:
        return Finding("CapacityAvailable", FALSE, Reason.PoolFull, message)
    return Finding("CapacityAvailable", TRUE, Reason.DevicesFree, message)


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
    as_of = view.facts.price.as_of
    if not view.device_hour.is_known:
        message = "the pool states no price: its devices count as free of charge; set cost.devicePerHour"
        return Finding("PricingCurrent", FALSE, Reason.PriceUnknown, message)
    if as_of is None:
        return Finding("PricingCurrent", UNKNOWN, Reason.PriceUndated, "cost.asOf is not set")
    limit = world.settings.price_max_age_days
    if world.now.date() - as_of > timedelta(days=limit):
        return Finding(
            "PricingCurrent", FALSE, Reason.PriceStale, f"prices are of {as_of}, more than {limit} days old"
        )
    return Finding("PricingCurrent", TRUE, Reason.PriceCurrent, f"prices are of {as_of}")


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
