"""The status of an InferenceWorkload: what serves where, at what cost, and why."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from switchyard.api.base import ApiModel, Conditions
from switchyard.api.pool_status import Amount, Count, Generation
from switchyard.api.schema_marks import ATOMIC, map_by
from switchyard.api.values import Duration, Line, Text

Name = Annotated[str, Field(max_length=253)]


class Predicted(ApiModel):
    """Latency that callers are expected to see at peak demand."""

    p50: Duration = Field(description="Median.", examples=["120ms"])
    p95: Duration = Field(description="95th percentile.", examples=["182ms"])
    p99: Duration = Field(description="99th percentile.", examples=["240ms"])


class Placement(ApiModel):
    """A variant on a pool."""

    variant: Name = Field(description="Variant.", examples=["vllm-fp8"])
    pool: Name = Field(description="Pool.", examples=["gpu-l4"])
    accelerator: Name = Field(default="", description="Accelerator of the pool.", examples=["nvidia-l4"])
    replicas: Count = Field(default=0, description="Replicas wanted.", examples=[2])
    ready: Count = Field(default=0, description="Replicas ready.", examples=[2])
    devices: Count = Field(default=0, description="Devices that they take.", examples=[2])
    cost_per_hour: Amount = Field(
        default="0", description="Cost per hour, in the operator's currency.", examples=["1.61"]
    )
    rate_per_replica: Amount | None = Field(
        default=None,
        description="Requests per second that one replica is promised to carry.",
        examples=["35.9"],
    )
    utilisation_percent: Annotated[int, Field(ge=0, le=100)] | None = Field(
        default=None, description="Load of a replica at peak demand, in percent.", examples=[62]
    )
    predicted: Predicted | None = Field(default=None, description="Latency expected at peak demand.")


class Rejected(ApiModel):
    """A variant on a pool that was not chosen."""

    variant: Name = Field(description="Variant.", examples=["vllm-fp8"])
    pool: Name = Field(description="Pool.", examples=["gpu-t4"])
    reason: Name = Field(
        description="Why not, as one stable word; docs/reference/reasons.md.",
        examples=["PrecisionUnsupported"],
    )
    message: Text = Field(
        default="", description="Why not, with the numbers that decided.", examples=["needs fp8"]
    )


class WorkloadSummary(ApiModel):
    """Texts for columns."""

    placement: Line = Field(default="", description="Pool and variant.", examples=["gpu-l4/vllm-fp8"])
    latency: Line = Field(
        default="", description="Predicted latency, and its target.", examples=["p95 182ms (300ms)"]
    )


class InferenceWorkloadStatus(ApiModel):
    """What the operator decided and sees."""

    observed_generation: Generation = Field(
        default=-1,
        description="`metadata.generation` that this status is of; -1 before the first.",
        examples=[2],
    )
    placements: Annotated[
        tuple[Placement, ...], Field(max_length=16, json_schema_extra=map_by("variant", "pool"))
    ] = Field(default=(), description="Where it runs.")
    rejected: Annotated[tuple[Rejected, ...], Field(max_length=256, json_schema_extra=ATOMIC)] = Field(
        default=(), description="Where it does not run, and why; at most 256."
    )
    cost_per_hour: Amount | None = Field(
        default=None, description="Cost per hour, in the operator's currency.", examples=["1.61"]
    )
    cost_per_thousand_requests: Amount | None = Field(
        default=None,
        description="Cost per thousand answered requests at mean demand, in the operator's currency.",
        examples=["0.036"],
    )
    active_track: Name | None = Field(
        default=None,
        description="Deployment that the stable Service points to.",
        examples=["chat-vllm-fp8-gpu-l4"],
    )
    replicas: Count | None = Field(default=None, description="Replicas wanted.", examples=[2])
    ready_replicas: Count | None = Field(
        default=None, description="Replicas of the active track that are ready.", examples=[2]
    )
    summary: WorkloadSummary | None = Field(default=None, description="Texts for columns.")
    conditions: Conditions = Field(
        default=(),
        description="Ready, Placed, ObjectivesMet, WithinBudget; Degraded, Reconciling and Stalled only "
        "while True.",
    )
