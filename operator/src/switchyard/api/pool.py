"""AcceleratorPool: nodes that are interchangeable for placement, with what they cost."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from switchyard.api.base import ApiModel
from switchyard.api.pool_capacity import Capacity, Spot
from switchyard.api.pool_cost import Cost
from switchyard.api.pool_status import AcceleratorPoolStatus
from switchyard.api.schema_marks import ATOMIC, SET, rule, rules
from switchyard.api.values import (
    CatalogName,
    Duration,
    LabelKey,
    LabelValue,
    Money,
    Quantity,
    ResourceName,
    Word,
)

Family = Literal["gpu", "inferentia", "trainium", "tpu", "edge", "fpga", "neuromorphic", "cpu"]
CapacityType = Literal["on-demand", "reserved", "spot", "owned"]
Maturity = Literal["production", "pilot"]

Words = Annotated[tuple[Word, ...], Field(max_length=32, json_schema_extra=SET)]
LabelMap = Annotated[dict[LabelKey, LabelValue], Field(min_length=1, max_length=32)]


class Device(ApiModel):
    """What one device is, where the catalog does not say or is to be overruled."""

    family: Family | None = Field(
        default=None,
        description="Family of the accelerator. Default: of the catalog entry.",
        examples=["fpga"],
    )
    resource_name: ResourceName | None = Field(
        default=None,
        description="Resource under which nodes offer the devices: that of the vendor's device plugin, or "
        "one that the site chose for a part without a plugin. Default: of the catalog entry.",
        examples=["example.com/fpga-u250"],
    )
    memory: Quantity | None = Field(
        default=None,
        description="Memory of one device, in bytes. Default: of the catalog entry; when nobody knows it, a "
        "workload's memory is not checked.",
        examples=["24Gi"],
    )
    power_watts: int | None = Field(
        default=None,
        ge=0,
        le=100_000,
        description="Power that one device draws at full load, in watts, for the cost of energy. Default: of "
        "the catalog entry.",
        examples=[72],
    )
    precisions: Words | None = Field(
        default=None,
        description="Number formats that the device computes in. Default: of the catalog entry.",
        examples=[["fp16", "int8"]],
    )
    runtimes: Words | None = Field(
        default=None,
        description="Software stacks that run on the device. Default: of the catalog entry.",
        examples=[["tensorrt", "onnxruntime"]],
    )


class Toleration(ApiModel):
    """A taint that pods of this pool tolerate, beyond those of the catalog entry."""

    key: LabelKey | None = Field(
        default=None, description="Key of the taint. Default: every key.", examples=["nvidia.com/gpu"]
    )
    operator: Literal["Exists", "Equal"] | None = Field(
        default=None,
        description="Whether the taint's value must be equal or may be any. Default: Equal.",
        examples=["Exists"],
    )
    value: LabelValue | None = Field(
        default=None,
        description="Value of the taint, with operator Equal. Default: empty.",
        examples=["present"],
    )
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        default=None, description="Effect of the taint. Default: every effect.", examples=["NoSchedule"]
    )


class Location(ApiModel):
    """Where the nodes stand."""

    region: LabelValue | None = Field(
        default=None,
        description="Region, for people and columns. Default: not stated.",
        examples=["eu-west-1"],
    )
    zones: Annotated[tuple[LabelValue, ...], Field(max_length=32, json_schema_extra=SET)] = Field(
        default=(),
        description="Zones of its nodes; a workload that names zones must take all. Default: none stated.",
        examples=[["eu-west-1a", "eu-west-1b"]],
    )
    residency: Words = Field(
        default=(),
        description="Rules that data may count on here, in words that the site chooses; a workload may "
        "require them. Default: none.",
        examples=[["eu", "hipaa"]],
    )
    network_latency: Duration | None = Field(
        default=None,
        description="Round trip between callers and these nodes; it is taken off every latency target. "
        "Default: 0s.",
        examples=["12ms"],
    )


class Pilot(ApiModel):
    """The bounds of a pilot."""

    review_by: date | None = Field(
        default=None,
        description="Last day before somebody must review the pilot; past it, ReviewCurrent is False. "
        "Default: none, which counts as overdue.",
        examples=["2027-03-31"],
    )
    max_per_hour: Money | None = Field(
        default=None,
        description="What all placements here may cost together per hour, in the operator's currency. "
        "Default: no limit.",
        examples=["5.00"],
    )


class LabelRequirement(ApiModel):
    """One condition on the labels of a namespace."""

    key: LabelKey = Field(description="Label.", examples=["team"])
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"] = Field(
        description="How the label's value relates to `values`.", examples=["In"]
    )
    values: Annotated[tuple[LabelValue, ...], Field(max_length=64, json_schema_extra=ATOMIC)] = Field(
        default=(), description="Values for In and NotIn. Default: none.", examples=[["search", "ads"]]
    )


class NamespaceSelector(ApiModel):
    """Namespaces by their labels; everything stated must hold. An empty selector takes every namespace."""

    match_labels: Annotated[dict[LabelKey, LabelValue], Field(max_length=32)] | None = Field(
        default=None,
        description="Labels that a namespace must have. Default: none required.",
        examples=[{"kubernetes.io/metadata.name": "search"}],
    )
    match_expressions: Annotated[
        tuple[LabelRequirement, ...], Field(max_length=32, json_schema_extra=ATOMIC)
    ] = Field(
        default=(),
        description="Further conditions on labels. Default: none.",
        examples=[[{"key": "team", "operator": "In", "values": ["search"]}]],
    )


class AcceleratorPoolSpec(ApiModel):
    """What an admin says about the pool."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.accelerator) || (has(self.device) && has(self.device.family) && "
                "has(self.device.resourceName))",
                "give accelerator (a catalog name), or device.family and device.resourceName for a part that "
                "is not in the catalog",
                ".accelerator",
            ),
            rule(
                "has(self.accelerator) || has(self.nodeSelector)",
                "give nodeSelector: without a catalog entry nothing else says which nodes belong to the pool",
                ".nodeSelector",
            ),
            rule(
                "self.maturity == 'pilot' || !has(self.pilot)",
                "pilot is for maturity: pilot",
                ".pilot",
            ),
            rule(
                "self.capacityType == 'spot' || !has(self.spot)",
                "spot is for capacityType: spot",
                ".spot",
            ),
        )
    )

    accelerator: CatalogName | None = Field(
        default=None,
        description="Catalog entry of the devices (`switchyard catalog` lists them); it brings family, "
        "resource, labels, taints, memory, power, precisions and runtimes. Default: none; then device and "
        "nodeSelector say it all.",
        examples=["nvidia-l4"],
    )
    device: Device | None = Field(
        default=None,
        description="What a device is, where the catalog does not know or is to be overruled.",
        examples=[{"family": "fpga", "resourceName": "example.com/fpga-u250"}],
    )
    node_selector: LabelMap | None = Field(
        default=None,
        description="Labels that make a node one of this pool. Default: those by which the catalog entry's "
        "hardware is labelled.",
        examples=[{"nvidia.com/gpu.product": "NVIDIA-L4"}],
    )
    tolerations: Annotated[tuple[Toleration, ...], Field(max_length=16, json_schema_extra=ATOMIC)] = Field(
        default=(),
        description="Taints that pods tolerate here, beyond those of the catalog entry. Default: none.",
        examples=[[{"key": "dedicated", "operator": "Exists"}]],
    )
    unit_devices: Annotated[
        tuple[Annotated[int, Field(ge=1, le=65_536)], ...], Field(max_length=16, json_schema_extra=SET)
    ] = Field(
        default=(),
        description="Numbers of devices that can be allocated together, such as connected Neuron devices; "
        "what a replica needs is rounded up to the next. Default: of the catalog entry, else any number.",
        examples=[[1, 4, 8, 16]],
    )
    location: Location | None = Field(
        default=None,
        description="Where the nodes stand.",
        examples=[{"region": "eu-west-1", "residency": ["eu"]}],
    )
    capacity_type: CapacityType = Field(
        default="on-demand",
        description="How the devices are paid for: on demand, reserved, spot (may be reclaimed), or owned.",
        examples=["spot"],
    )
    spot: Spot | None = Field(
        default=None,
        description="How often spot capacity is reclaimed, with capacityType: spot.",
        examples=[{"interruptionsPerDay": "0.5", "noticePeriod": "2m"}],
    )
    capacity: Capacity | None = Field(
        default=None,
        description="How far the pool may grow, and what is paid for already.",
        examples=[{"mode": "elastic", "maxDevices": 64, "provisioningTime": "4m"}],
    )
    cost: Cost | None = Field(
        default=None,
        description="What a device costs. Default: unknown, which counts as free and shows in "
        "PricingCurrent.",
        examples=[{"devicePerHour": "0.8048", "asOf": "2026-07-20"}],
    )
    maturity: Maturity = Field(
        default="production",
        description="Whether the pool is for production or under trial; workloads take pilots only when "
        "their constraints say so.",
        examples=["pilot"],
    )
    pilot: Pilot | None = Field(
        default=None,
        description="Bounds of a pilot, with maturity: pilot.",
        examples=[{"reviewBy": "2027-03-31", "maxPerHour": "5.00"}],
    )
    allowed_namespaces: NamespaceSelector | None = Field(
        default=None,
        description="Namespaces whose workloads may be placed here. Default: all.",
        examples=[{"matchLabels": {"team": "search"}}],
    )
    cordoned: bool = Field(
        default=False, description="Take no new placements; what runs here stays.", examples=[True]
    )


class AcceleratorPool(ApiModel):
    """A pool as the API server holds it, without its metadata."""

    spec: AcceleratorPoolSpec = Field(description="What an admin says about the pool.")
    status: AcceleratorPoolStatus = Field(
        default_factory=AcceleratorPoolStatus, description="What the operator found."
    )
