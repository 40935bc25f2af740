"""What a device-hour costs, to the decision and to the report."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchyard.api.pool_status import EffectiveCost
from switchyard.core.placement.cost import (
    cost_per_ten_thousand_tokens,
    cost_per_thousand,
    count_paid_devices,
    expect_interruptions,
    format_money,
    price_device_hour,
    spread_change,
    steady_price,
    waste_per_hour,
)
from switchyard.core.placement.facts import PoolFacts, PriceFacts
from switchyard.core.world import PriceReading

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


def test_cost_per_tokens_counts_those_of_successful_requests_only():
    assert cost_per_ten_thousand_tokens(D("3.6"), 10.0, 100.0) == D("0.01")
    assert cost_per_ten_thousand_tokens(D("3.6"), 10.0, 100.0, 0.5) == D("0.02")
    assert cost_per_ten_thousand_tokens(D("3.6"), 10.0, 0.0) is None


def test_what_idles_and_is_paid_is_waste_without_its_energy():
    hour = price_device_hour(
        facts("reserved", device_per_hour=D(2), energy_price_per_kwh=D("0.4"), overhead_percent=D(10))
    )
    assert waste_per_hour(hour, 3) == D("6.6")
    assert waste_per_hour(hour, -1) == 0


SPOT = replace(facts("spot"), interruptions_per_day=12.0)
RISKS = [
    # every two hours a replica is away for 0.1 hours, and its successor is paid for as long
    ("no notice: away for the whole start-up", SPOT, 0.05, D("0.2")),
    ("a notice covers what it covers", replace(SPOT, notice_seconds=180.0), 0.025, D("0.15")),
    ("a long notice leaves the price of the start-up", replace(SPOT, notice_seconds=3600.0), 0.0, D("0.1")),
    ("a node that has to come takes its time", replace(SPOT, provisioning_seconds=360.0), 0.1, D("0.4")),
    ("what is never taken back risks nothing", replace(SPOT, interruptions_per_day=0.0), 0.0, D(0)),
    ("only spot is taken back", replace(SPOT, capacity_type="on-demand"), 0.0, D(0)),
]


@pytest.mark.parametrize(
    ("pool", "lost_ratio", "per_hour"), [case[1:] for case in RISKS], ids=[case[0] for case in RISKS]
)
def test_what_interruptions_are_expected_to_cost(pool, lost_ratio, per_hour):
    risk = expect_interruptions(pool, D(2), start_up_seconds=360.0)
    assert (risk.lost_ratio, risk.per_hour) == (pytest.approx(lost_ratio), per_hour)


@given(st.floats(0, 1000), st.floats(0, 1e6), st.floats(0, 1e5), st.floats(0, 86400))
def test_the_risk_is_never_negative_and_falls_with_the_notice(per_day, notice, start_up, provisioning):
    pool = replace(SPOT, interruptions_per_day=per_day, provisioning_seconds=provisioning)
    warned = expect_interruptions(replace(pool, notice_seconds=notice), D(2), start_up)
    unwarned = expect_interruptions(pool, D(2), start_up)
    assert 0 <= warned.lost_ratio <= unwarned.lost_ratio <= 1
    assert 0 <= warned.per_hour <= unwarned.per_hour


def test_a_change_is_spread_over_the_horizon():
    elastic = replace(facts(), provisioning_seconds=300.0)
    assert spread_change(elastic, D(4), 3600.0, start_up_seconds=600.0) == (D("1"), D("0.066667"))
    assert spread_change(facts(), D(4), 36_000.0, start_up_seconds=900.0) == (D("0.1"), D("0.006667"))


NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def effective(price: str, as_of: datetime, source: str = "opencost:main") -> EffectiveCost:
    return EffectiveCost(price=price, source=source, as_of=as_of.isoformat())


def told(price: str, age_hours: float = 0.0, source: str = "opencost:main") -> PriceReading:
    return PriceReading(D(price), source, NOW - timedelta(hours=age_hours))


OVERRIDES = [
    ("none told, none stored: the spec", None, None, None),
    ("what is told counts, as status shows it", told("3.0617"), None, told("3.06")),
    (
        "the same again keeps its age",
        told("3.06"),
        effective("3.06", NOW - timedelta(hours=2)),
        told("3.06", 2),
    ),
    (
        "after half a day its age is news",
        told("3.06"),
        effective("3.06", NOW - timedelta(hours=12)),
        told("3.06"),
    ),
    ("another price is news", told("3.10"), effective("3.06", NOW - timedelta(hours=2)), told("3.10")),
    (
        "another source is news",
        told("3.06", source="opencost:b"),
        effective("3.06", NOW),
        told("3.06", source="opencost:b"),
    ),
    (
        "a silent source is believed for a day",
        None,
        effective("3.06", NOW - timedelta(hours=23)),
        told("3.06", 23),
    ),
    ("and no longer", None, effective("3.06", NOW - timedelta(hours=24)), None),
    ("a price of the spec is no source's", None, effective("3.06", NOW, "AWS list price"), None),
    (
        "a price without a date is none",
        None,
        EffectiveCost(price="3.06", source="opencost:main", as_of="x"),
        None,
    ),
    ("nobody is paid to take a device", told("-1"), None, None),
    ("NaN is no price", told("NaN"), effective("3.06", NOW), told("3.06")),
]


@pytest.mark.parametrize(
    ("reading", "stored", "expected"), [case[1:] for case in OVERRIDES], ids=[case[0] for case in OVERRIDES]
)
def test_which_price_of_a_source_is_in_force(reading, stored, expected):
    assert steady_price(reading, stored, NOW) == expected


@given(st.decimals(0, 500, places=6))
def test_a_price_in_force_comes_back_from_status_as_it_was(price):
    first = steady_price(PriceReading(price, "opencost:main", NOW), None, NOW)
    assert first is not None
    assert steady_price(None, effective(format_money(first.device_per_hour), NOW), NOW) == first
