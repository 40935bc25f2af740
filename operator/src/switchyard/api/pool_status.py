"""The status of an AcceleratorPool: what the operator found and counts."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from switchyard.api.base import ApiModel, Conditions
from switchyard.api.values import Line, Moment, Text, Word

Amount = Annotated[str, Field(max_length=32)]
Count = Annotated[int, Field(ge=0, le=2**31 - 1)]
Generation = Annotated[int, Field(ge=-1, le=2**53, json_schema_extra={"format": "int64"})]


class DeviceCounts(ApiModel):
    """Devices of the pool's nodes."""

    total: Count = Field(default=0, description="Devices of all nodes.", examples=[16])
    allocatable: Count = Field(
        default=0, description="Devices that pods of ready nodes can get.", examples=[15]
    )
    used: Count = Field(default=0, description="Devices that pods hold, anybody's.", examples=[6])
    unhealthy: Count = Field(
        default=0, description="Devices that their node's plugin reports as unhealthy.", examples=[1]
    )
    reserved_idle: Count = Field(default=0, description="Devices paid for that nobody uses.", examples=[4])


class NodeCounts(ApiModel):
    """Nodes of the pool."""

    total: Count = Field(default=0, description="Nodes that the selector finds.", examples=[2])
    ready: Count = Field(default=0, description="Nodes that are ready.", examples=[2])


class EffectiveCost(ApiModel):
    """What a device costs per hour now, in the operator's currency."""

    device_per_hour: Amount = Field(
        default="0", description="Price, energy and overhead of a device in use.", examples=["0.93"]
    )
    marginal_per_hour: Amount = Field(
        default="0", description="What one more device in use would add.", examples=["0.05"]
    )
    price: Amount = Field(
        default="0", description="Rent, or write-off of what was bought.", examples=["0.8048"]
    )
    energy: Amount = Field(default="0", description="Energy at the present utilisation.", examples=["0.02"])
    overhead: Amount = Field(default="0", description="Support, staff, network, storage.", examples=["0.12"])
    source: Line | None = Field(
        default=None,
        description="Where the price in force comes from: the words of spec.cost.source, or `opencost:` and "
        "the name of the source.",
        examples=["opencost:cluster"],
    )
    as_of: Line | None = Field(
        default=None,
        description="When the price in force was true: a day, or a time in RFC 3339.",
        examples=["2026-11-21T12:00:00Z"],
    )


class BackOff(ApiModel):
    """Why the pool is believed short of devices, whatever its nodes say, and until when."""

    reason: Word = Field(
        description="Why, as one stable word; docs/reference/reasons.md.", examples=["PoolBackOff"]
    )
    failures: Count = Field(
        default=0, description="Failures in a row; each one doubles the time.", examples=[2]
    )
    since: Moment | None = Field(
        default=None, description="When it began, RFC 3339.", examples=["2026-11-21T12:00:00Z"]
    )
    until: Moment = Field(
        description="When the pool is tried again, RFC 3339.", examples=["2026-11-21T12:10:00Z"]
    )
    message: Text = Field(
        default="",
        description="What happened, for a person.",
        examples=["2 pods of team-a/chat found no node for 3m"],
    )


class PoolSummary(ApiModel):
    """Texts for columns."""

    devices: Line = Field(default="", description="Used of allocatable devices.", examples=["6/15"])


class AcceleratorPoolStatus(ApiModel):
    """What the operator found. Absent parts were not looked at yet."""

    observed_generation: Generation = Field(
        default=-1,
        description="`metadata.generation` that this status is of; -1 before the first.",
        examples=[2],
    )
    devices: DeviceCounts | None = Field(default=None, description="Devices, counted.")
    nodes: NodeCounts | None = Field(default=None, description="Nodes, counted.")
    cost: EffectiveCost | None = Field(default=None, description="Cost of a device per hour, by its parts.")
    waste_per_hour: Amount | None = Field(
        default=None,
        description="What reserved or owned devices that nobody uses cost per hour, in the operator's "
        "currency.",
        examples=["12.40"],
    )
    back_off: BackOff | None = Field(
        default=None, description="Present while new devices are not counted on, after failures."
    )
    utilisation_percent: Annotated[int, Field(ge=0, le=100)] | None = Field(
        default=None, description="Share of allocatable devices in use, in percent.", examples=[40]
    )
    workloads: Count | None = Field(default=None, description="Workloads placed here.", examples=[3])
    summary: PoolSummary | None = Field(default=None, description="Texts for columns.")
    conditions: Conditions = Field(
        default=(),
        description="Ready, CapacityAvailable, Healthy, PricingCurrent, ReviewCurrent; Stalled only while "
        "True.",
    )
