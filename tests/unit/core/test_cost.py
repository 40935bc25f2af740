"""What a device-hour costs, to the decision and to the report."""

from __future__ import annotations

from decimal import Decimal

import pytest

from switchyard.core.placement.cost import (
    cost_per_thousand,
    count_paid_devices,
    format_money,
    price_device_hour,
)
from switchyard.core.placement.facts import PoolFacts, PriceFacts

D = Decimal


def facts(capacity_type: str = "on-demand", reserved: int | None = None, **price: object) -> PoolFacts:
    return PoolFacts(
        "p",
        "nvidia-l4",
        "gpu",
        "example.com/gpu",
        (),
        power_watts=500.0,
        capacity_type=capacity_type,
        reserved_devices=reserved,
        price=PriceFacts(**price),  # type: ignore[arg-type]
    )


PRICES = [
    ("a price is a price", facts(device_per_hour=D(2)), D(2), D(2)),
    ("overhead comes on top", facts(device_per_hour=D(2), overhead_percent=D(10)), D("2.2"), D("2.2")),
    (
        "energy is watts times PUE times price, and overhead on all of it",
        facts(device_per_hour=D(2), energy_price_per_kwh=D("0.4"), pue=D("1.5"), overhead_percent=D(10)),
        D("2.53"),
        D("2.53"),
    ),
    (
        "owned devices are written off over their life",
        facts("owned", purchase_price=D(30_000), salvage_price=D(3_780), lifetime_months=36),
        D("0.997034"),
        D("0.997034"),
    ),
    (
        "a price that nobody states counts as none",
        facts(),
        D(0),
        D(0),
    ),
]


@pytest.mark.parametrize(
    ("pool", "allocated", "unpaid"), [case[1:] for case in PRICES], ids=[case[0] for case in PRICES]
)
def test_device_hour(pool, allocated, unpaid):
    hour = price_device_hour(pool)
    assert hour.allocated() == allocated
    assert hour.marginal(is_paid=False) == unpaid


def test_a_paid_device_adds_only_its_energy():
    hour = price_device_hour(facts("reserved", device_per_hour=D(2), energy_price_per_kwh=D("0.4")))
    assert hour.marginal(is_paid=True) == D("0.2")
    assert hour.marginal(is_paid=True, utilisation_ratio=0.5) == D("0.1")
    assert hour.allocated(0.5) == D("2.1")


def test_a_missing_price_is_known_to_be_missing():
    assert not price_device_hour(facts()).is_known
    assert price_device_hour(facts(device_per_hour=D(0))).is_known


@pytest.mark.parametrize(
    ("capacity_type", "reserved", "paid"),
    [
        ("on-demand", None, 0),
        ("spot", None, 0),
        ("owned", None, 8),
        ("reserved", None, 8),
        ("reserved", 5, 5),
        ("on-demand", 2, 2),
    ],
)
def test_what_is_paid_whether_used_or_not(capacity_type, reserved, paid):
    assert count_paid_devices(facts(capacity_type, reserved), 8) == paid


def test_cost_per_thousand_counts_successful_requests_only():
    assert cost_per_thousand(D("3.6"), 10.0) == D("0.1")
    assert cost_per_thousand(D("3.6"), 10.0, 0.5) == D("0.2")
    assert cost_per_thousand(D("3.6"), 0.0) is None


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("3.06", "3.06"),
        ("3", "3.00"),
        ("12.34567", "12.35"),
        ("0.0041", "0.0041"),
        ("0.000004", "0.000004"),
        ("0", "0.00"),
    ],
)
def test_money_is_cents_where_cents_suffice(amount, text):
    assert format_money(D(amount)) == text
