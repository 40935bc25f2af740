"""The status of an InferenceWorkload: what serves where, at what cost, and why."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from switchyard.api.base import ApiModel, Conditions
from switchyard.api.pool_status import Amount, Count, Generation
from switchyard.api.profile import Tokens
from switchyard.api.schema_marks import ATOMIC, map_by
from switchyard.api.values import Duration, Line, Moment, Text

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
    ttft: Predicted | None = Field(
        default=None,
        description="Time to the first token expected at peak demand, where the profile tells it.",
    )
    tpot: Predicted | None = Field(
        default=None,
        description="Time between two tokens expected at peak demand, where the profile tells it.",
    )
    degradation: Annotated[int, Field(ge=0, le=8)] | None = Field(
        default=None,
        description="Place of the variant in spec.fallback, from 1; absent while it meets the objectives.",
        examples=[1],
    )


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
    replicas: Count | None = Field(
        default=None, description="Replicas that it would need, where that is known.", examples=[3]
    )
    cost_per_hour: Amount | None = Field(
        default=None,
        description="What they would cost per hour, in the operator's currency, where that is known.",
        examples=["2.41"],
    )


class DemandStatus(ApiModel):
    """The demand that is planned for, and how it is known."""

    requests_per_second: Amount = Field(
        default="0", description="Mean rate, in requests per second.", examples=["18.3"]
    )
    peak_requests_per_second: Amount = Field(
        default="0", description="Rate that replicas are planned for, before headroom.", examples=["27.5"]
    )
    input_tokens: Amount | None = Field(
        default=None, description="Mean tokens of a prompt, where they are known.", examples=["812"]
    )
    output_tokens: Amount | None = Field(
        default=None, description="Mean tokens of an answer, where they are known.", examples=["230"]
    )
    source: Literal["Planned", "Signal", "LastKnown", "None"] = Field(
        default="Planned",
        description="How it is known: Planned (the spec says so), Signal (measured), LastKnown (measured "
        "once, the signal is missing now), None (nobody knows yet).",
        examples=["Signal"],
    )
    observed_at: Moment | None = Field(
        default=None, description="When it was measured, RFC 3339.", examples=["2026-11-21T12:00:00Z"]
    )


class ScaleDown(ApiModel):
    """Fewer replicas that would be enough, while spec.scaling.scaleDownDelay runs."""

    since: Moment = Field(
        description="Since when they would be enough, RFC 3339.", examples=["2026-11-21T12:00:00Z"]
    )
    replicas: Count = Field(description="Replicas that would be enough.", examples=[2])


class RecommendedPlacement(ApiModel):
    """A variant on a pool that is recommended."""

    variant: Name = Field(description="Variant.", examples=["vllm-fp8"])
    pool: Name = Field(description="Pool.", examples=["gpu-h100"])
    replicas: Count = Field(default=0, description="Replicas.", examples=[1])


class Recommendation(ApiModel):
    """A placement that would cost less, or end the use of a fallback."""

    placements: Annotated[
        tuple[RecommendedPlacement, ...], Field(max_length=16, json_schema_extra=map_by("variant", "pool"))
    ] = Field(default=(), description="Where it would run.")
    saving_per_hour: Amount = Field(
        default="0",
        description="Saving per hour, in the operator's currency; below 0 where full service costs more.",
        examples=["3.20"],
    )
    saving_percent: Annotated[int, Field(ge=0, le=100)] = Field(
        default=0, description="Saving in percent of the present cost.", examples=[31]
    )
    cost_per_hour: Amount = Field(
        default="0", description="What it would cost per hour, in the operator's currency.", examples=["6.88"]
    )
    migration_cost: Amount | None = Field(
        default=None,
        description="What the change itself costs, once, in the operator's currency.",
        examples=["0.75"],
    )
    payback: Duration | None = Field(
        default=None, description="Time in which the saving repays the change.", examples=["15m"]
    )
    since: Moment | None = Field(
        default=None,
        description="Since when it has been better, RFC 3339.",
        examples=["2026-11-21T12:00:00Z"],
    )
    settled: bool = Field(
        default=False,
        description="Whether it has been better for spec.placement.stabilisation; before that it is only "
        "observed.",
        examples=[True],
    )
    waits_for: Text | None = Field(
        default=None,
        description="With spec.placement.migration: auto, why no plan is made of it yet: a reason and a "
        "message.",
        examples=["InsufficientCapacity: needs 2 x nvidia-l4 units, 1 free"],
    )
    message: Text = Field(
        default="",
        description="The same for a person.",
        examples=["1 x vllm-fp8 in gpu-h100 saves 3.20 per hour"],
    )


class LearnedProfile(ApiModel):
    """A profile learned from an engine's metrics; `tokens` can be pasted into the variant's profile."""

    variant: Name = Field(description="Variant.", examples=["vllm-fp8"])
    pool: Name = Field(description="Pool.", examples=["gpu-l4"])
    state: Literal["Proposed", "Used", "Insufficient"] = Field(
        description="Proposed (shown only), Used (placement counts on it), Insufficient (not good enough "
        "yet; the message says why).",
        examples=["Proposed"],
    )
    tokens: Tokens | None = Field(
        default=None, description="The profile; absent while nothing could be learned."
    )
    samples: Count = Field(default=0, description="Samples that it rests on.", examples=[240])
    relative_error: Amount | None = Field(
        default=None,
        description="Mean error of its time per token against what was measured, as a ratio.",
        examples=["0.04"],
    )
    learned_at: Moment | None = Field(
        default=None, description="When it was learned, RFC 3339.", examples=["2026-11-21T12:00:00Z"]
    )
    message: Text = Field(
        default="", description="The same for a person.", examples=["240 samples, error 4 percent"]
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
    demand: DemandStatus | None = Field(default=None, description="Demand that is planned for.")
    scale_down: ScaleDown | None = Field(
        default=None, description="Present while fewer replicas would be enough and the delay runs."
    )
    recommendation: Recommendation | None = Field(
        default=None, description="Present while another placement would cost less."
    )
    learned_profiles: Annotated[
        tuple[LearnedProfile, ...], Field(max_length=32, json_schema_extra=map_by("variant", "pool"))
    ] = Field(default=(), description="Profiles learned from the engine's metrics; at most 32.")
    cost_per_thousand_requests: Amount | None = Field(
        default=None,
        description="Cost per thousand answered requests at mean demand, in the operator's currency.",
        examples=["0.036"],
    )
    cost_per_ten_thousand_tokens: Amount | None = Field(
        default=None,
        description="Cost per 10,000 tokens, prompts and answers together, at mean demand, in the operator's "
        "currency.",
        examples=["0.0031"],
    )
    active_track: Name | None = Field(
        default=None,
        description="Deployment that the stable Service points to.",
        examples=["chat-vllm-fp8-gpu-l4"],
    )
    addresses: Annotated[
        tuple[Annotated[str, Field(max_length=320)], ...], Field(max_length=32, json_schema_extra=ATOMIC)
    ] = Field(
        default=(),
        description="Where callers reach it: the host names of its exposure, then its stable Service with "
        "the port.",
        examples=[["chat.example.com", "chat.team.svc:8000"]],
    )
    replicas: Count | None = Field(default=None, description="Replicas wanted.", examples=[2])
    ready_replicas: Count | None = Field(
        default=None, description="Replicas of the active track that are ready.", examples=[2]
    )
    summary: WorkloadSummary | None = Field(default=None, description="Texts for columns.")
    conditions: Conditions = Field(
        default=(),
        description="Ready, Placed, ObjectivesMet, WithinBudget; SignalsAvailable where a signal is asked "
        "for; Exposed with an exposure; Degraded, Reconciling and Stalled only while True.",
    )
