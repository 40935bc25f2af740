"""What a device of a pool costs per hour, by its parts."""

from __future__ import annotations

from datetime import date

from pydantic import ConfigDict, Field

from switchyard.api.base import ApiModel
from switchyard.api.schema_marks import rule, rules
from switchyard.api.values import Factor, Line, Money


class Energy(ApiModel):
    """What energy costs, where it is not in the price of the device."""

    price_per_kwh: Money | None = Field(
        default=None,
        alias="pricePerKWh",
        description="Price of a kilowatt-hour, in the operator's currency. Default: 0.",
        examples=["0.22"],
    )
    pue: Factor | None = Field(
        default=None,
        description="Power usage effectiveness: energy of the site per energy of the devices. Default: 1.",
        examples=["1.3"],
    )


class Owned(ApiModel):
    """Hardware that was bought: its price spread evenly over its life."""

    purchase_price: Money = Field(
        description="Price paid for one device with its share of the server, in the operator's currency.",
        examples=["32000"],
    )
    lifetime_months: int = Field(
        ge=1, le=240, description="Months over which it is written off.", examples=[48]
    )
    salvage_price: Money | None = Field(
        default=None,
        description="What it brings when sold at the end, in the operator's currency. Default: 0.",
        examples=["2000"],
    )


class Cost(ApiModel):
    """What one device costs per hour, by its parts. Device price and purchase exclude each other."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!(has(self.devicePerHour) && has(self.owned))",
                "give devicePerHour or owned, not both: a device is rented or bought",
                ".owned",
            )
        )
    )

    device_per_hour: Money | None = Field(
        default=None,
        description="Price of one device for one hour with its share of the node, in the operator's "
        "currency. Default: unknown, which counts as free and shows in the condition PricingCurrent.",
        examples=["0.8048"],
    )
    energy: Energy | None = Field(
        default=None,
        description="Energy, where the price does not include it.",
        examples=[{"pricePerKWh": "0.22"}],
    )
    overhead_percent: int | None = Field(
        default=None,
        ge=0,
        le=1000,
        description="Support, staff, network and storage, in percent of the device's price. Default: 0.",
        examples=[15],
    )
    owned: Owned | None = Field(
        default=None,
        description="Purchase, for hardware that was bought.",
        examples=[{"purchasePrice": "32000", "lifetimeMonths": 48}],
    )
    source: Line | None = Field(
        default=None,
        description="Where the prices come from. Default: not stated.",
        examples=["AWS list price us-east-1, g6.xlarge"],
    )
    as_of: date | None = Field(
        default=None,
        description="Day on which the prices were true; they go stale after the operator's priceMaxAgeDays. "
        "Default: not stated.",
        examples=["2026-07-20"],
    )
