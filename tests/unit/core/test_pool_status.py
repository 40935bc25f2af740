"""What a pool says of itself."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.core.worlds import (
    GPU,
    condition,
    decision,
    node,
    place_of,
    pool,
    settle,
    status_of,
    variant,
    workload,
    world,
)

from switchyard.core.decide import decide

CONDITIONS = [
    (
        "a price of this month is current",
        {},
        "PricingCurrent",
        ("True", "PriceCurrent", "prices are of 2026-11-01"),
    ),
    (
        "a price of last year is not",
        {"cost": {"devicePerHour": "1", "asOf": "2025-11-01"}},
        "PricingCurrent",
        ("False", "PriceStale", "prices are of 2025-11-01, more than 90 days old"),
    ),
    (
        "a price without a date is doubtful",
        {"cost": {"devicePerHour": "1"}},
        "PricingCurrent",
        ("Unknown", "PriceUndated", "cost.asOf is not set"),
    ),
    (
        "a missing price is said to count as free",
        {"cost": None},
        "PricingCurrent",
        (
            "False",
            "PriceUnknown",
            "the pool states no price: its devices count as free of charge; set cost.devicePerHour",
        ),
    ),
    ("what is no pilot needs no review", {}, "ReviewCurrent", ("True", "NoReviewNeeded", "not a pilot")),
    (
        "a pilot in time",
        {"maturity": "pilot", "pilot": {"reviewBy": "2026-12-01", "maxPerHour": "5"}},
        "ReviewCurrent",
        ("True", "ReviewDue", "the pilot is to be reviewed by 2026-12-01"),
    ),
    (
        "a pilot overdue",
        {"maturity": "pilot", "pilot": {"reviewBy": "2026-11-01", "maxPerHour": "5"}},
        "ReviewCurrent",
        ("False", "ReviewOverdue", "the pilot was to be reviewed by 2026-11-01"),
    ),
    (
        "a cordoned pool has no capacity to offer",
        {"cordoned": True},
        "CapacityAvailable",
        ("False", "PoolCordoned", "4 of 4 devices free, but the pool is cordoned"),
    ),
]


@pytest.mark.parametrize(
    ("spec", "kind", "expected"), [case[1:] for case in CONDITIONS], ids=[case[0] for case in CONDITIONS]
)
def test_condition(spec, kind, expected):
    assert condition(status_of(world(pool("p", **spec), node("n1", "p")), "p"), kind) == expected


def test_unhealthy_devices_and_lost_nodes_are_told():
    at = world(pool("p"), node("n1", "p", 4, allocatable={GPU: 3}), node("n2", "p", is_ready=False))
    assert condition(status_of(at, "p"), "Healthy") == (
        "False",
        "DevicesUnhealthy",
        "1 of 8 devices are unhealthy; 1 of 2 nodes are not ready",
    )


def test_devices_and_workloads_are_counted():
    at = settle(world(pool("p", capacity={"reservedDevices": 3}), node("n1", "p", 4), workload("chat", 2)))
    status = status_of(at, "p")
    assert status["devices"] == {"total": 4, "allocatable": 4, "used": 2, "unhealthy": 0, "reservedIdle": 1}
    assert status["workloads"] == 1
    assert status["utilisationPercent"] == 50


def test_cost_is_broken_down():
    cost = {
        "devicePerHour": "2.00",
        "overheadPercent": 10,
        "energy": {"pricePerKWh": "0.40", "pue": "1.5"},
        "asOf": "2026-11-01",
    }
    device = {"family": "gpu", "resourceName": GPU, "memory": "24Gi", "powerWatts": 500}
    at = settle(world(pool("p", cost=cost, device=device), node("n1", "p", 4), workload("chat", 2)))
    assert status_of(at, "p")["cost"] == {
        "devicePerHour": "2.36",  # (2.00 + 0.15) x 1.1, half to even
        "marginalPerHour": "2.36",
        "price": "2.00",
        "energy": "0.15",
        "overhead": "0.215",
        "asOf": "2026-11-01",
    }


def test_reserved_devices_add_only_energy_until_they_are_full():
    at = settle(world(pool("p", capacityType="reserved"), node("n1", "p", 2), workload("chat", 1)))
    assert status_of(at, "p")["cost"]["marginalPerHour"] == "0.00"
    assert status_of(at, "p")["cost"]["devicePerHour"] == "1.00"


def test_a_pilot_pool_spends_no_more_than_its_cap():
    at = world(
        pool("p", "2.00", maturity="pilot", pilot={"reviewBy": "2026-12-01", "maxPerHour": "5"}),
        node("n1", "p", 8),
        workload("a-first", 2, tier="customer-facing", constraints={"maturity": ["pilot"]}),
        workload("b-second", 1, constraints={"maturity": ["pilot"]}),
    )
    assert place_of(at, "a-first") == ("v", "p", 2)
    assert condition(status_of(at, "b-second"), "Placed")[2] == (
        f"needs 1 x {GPU} units; the pilot pool p may cost 5 per hour"
    )


def test_a_pool_from_the_catalog_needs_nothing_but_its_name():
    """The catalog brings resource, labels, taints and memory."""
    made = pool("l4", device=None, nodeSelector=None, accelerator="nvidia-l4")
    labelled = node("n1", "x", labels={"nvidia.com/gpu.product": "NVIDIA-L4"})
    labelled = replace(labelled, capacity={"nvidia.com/gpu": 2}, allocatable={"nvidia.com/gpu": 2})
    at = world(made, labelled, workload("chat", variants=[variant(accelerators=["nvidia-l4"])]))
    assert status_of(at, "l4")["devices"]["total"] == 2
    (body, *_) = [each.body for each in decision(decide(at), "chat").applies]
    limits = body["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert limits == {"nvidia.com/gpu": "1"}
