"""InferenceWorkload: a model service with objectives, and the ways it can be served."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, field_validator

from switchyard.api.base import ApiModel
from switchyard.api.container import Container
from switchyard.api.pool import CapacityType, Family, Maturity, Words
from switchyard.api.profile import Profile
from switchyard.api.schema_marks import SET, map_by, rule, rules
from switchyard.api.values import (
    CatalogName,
    Duration,
    Factor,
    LabelValue,
    Line,
    Money,
    Quantity,
    Rate,
    SubdomainName,
    Word,
)
from switchyard.api.workload_status import InferenceWorkloadStatus

_DAY_SECONDS = 86_400.0

Tier = Literal["customer-facing", "internal", "batch"]
AcceleratorNames = Annotated[tuple[CatalogName, ...], Field(max_length=32, json_schema_extra=SET)]


class Model(ApiModel):
    """The model that is served."""

    name: Annotated[str, Field(min_length=1, max_length=253)] = Field(
        description="Name, for people.", examples=["llama-3.1-8b-instruct"]
    )
    version: Line | None = Field(
        default=None, description="Version, for people. Default: not stated.", examples=["2026-10-01"]
    )
    memory: Quantity | None = Field(
        default=None,
        description="Device memory that one replica needs, weights and cache, in bytes. A pool whose devices "
        "hold less is refused. Default: not checked.",
        examples=["18Gi"],
    )
    parameters: Annotated[int, Field(ge=1, le=10**15, json_schema_extra={"format": "int64"})] | None = Field(
        default=None,
        description="Number of parameters, for people. Default: not stated.",
        examples=[8_000_000_000],
    )


class Demand(ApiModel):
    """How many requests come. Exactly one of requestsPerSecond and requestsPerDay."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.requestsPerSecond) != has(self.requestsPerDay)",
                "give exactly one of requestsPerSecond and requestsPerDay",
            ),
            rule(
                "!has(self.deadline) || has(self.requestsPerDay)",
                "deadline goes with requestsPerDay",
                ".deadline",
            ),
            rule(
                "!has(self.deadline) || (duration(self.deadline) > duration('0s') && "
                "duration(self.deadline) <= duration('24h'))",
                "give a deadline of more than 0s and at most 24h",
                ".deadline",
            ),
        )
    )

    requests_per_second: Rate | None = Field(
        default=None, description="Mean rate, in requests per second.", examples=["12.5"]
    )
    peak_factor: Factor = Field(
        default="1",
        validate_default=True,
        description="Peak rate per mean rate; replicas are planned for the peak.",
        examples=["1.5"],
    )
    requests_per_day: Annotated[int, Field(ge=1, le=10**12, json_schema_extra={"format": "int64"})] | None = (
        Field(default=None, description="Requests of a daily batch.", examples=[2_000_000])
    )
    deadline: Duration | None = Field(
        default=None,
        description="Time within which a daily batch must be done, at most 24h. Default: 24h.",
        examples=["8h"],
    )

    @field_validator("deadline")
    @classmethod
    def _judge_deadline(cls, deadline: Duration | None) -> Duration | None:
        if deadline is not None and not 0 < deadline.seconds <= _DAY_SECONDS:
            raise ValueError("give a deadline of more than 0s and at most 24h")
        return deadline


class LatencyObjective(ApiModel):
    """A share of requests that must be answered within a time."""

    metric: Literal["latency"] = Field(
        default="latency", description="What is measured: from request to whole answer.", examples=["latency"]
    )
    percentile: Annotated[int, Field(ge=1, le=99)] = Field(
        description="Share of requests, in percent.", examples=[95]
    )
    target: Duration = Field(
        description="Time within which they are answered, as callers see it.", examples=["300ms"]
    )


class Budget(ApiModel):
    """What the service may cost. Placements above it are refused."""

    per_hour: Money | None = Field(
        default=None,
        description="Most per hour, in the operator's currency. Default: no limit.",
        examples=["10.00"],
    )
    per_thousand_requests: Money | None = Field(
        default=None,
        description="Most per thousand answered requests, in the operator's currency. Default: no limit.",
        examples=["0.25"],
    )


class Constraints(ApiModel):
    """Where the service may run. Everything stated must hold; what is left out does not matter."""

    residency: Words = Field(
        default=(),
        description="Residency that a pool must state, all of them. Default: none required.",
        examples=[["eu"]],
    )
    families: Annotated[tuple[Family, ...], Field(max_length=8, json_schema_extra=SET)] = Field(
        default=(), description="Families of accelerators allowed. Default: all.", examples=[["gpu", "tpu"]]
    )
    accelerators: AcceleratorNames = Field(
        default=(),
        description="Accelerators allowed, by catalog name or family. Default: all.",
        examples=[["nvidia-l4"]],
    )
    capacity_types: Annotated[tuple[CapacityType, ...], Field(max_length=4, json_schema_extra=SET)] = Field(
        default=(), description="Capacity types allowed. Default: all.", examples=[["on-demand", "reserved"]]
    )
    maturity: Annotated[tuple[Maturity, ...], Field(max_length=2, json_schema_extra=SET)] = Field(
        default=(), description="Maturity allowed. Default: production.", examples=[["production", "pilot"]]
    )
    zones: Annotated[tuple[LabelValue, ...], Field(max_length=32, json_schema_extra=SET)] = Field(
        default=(),
        description="Zones allowed; all zones of a pool must be among them. Default: all.",
        examples=[["eu-west-1a"]],
    )


class TemplateReference(ApiModel):
    """A core/v1 PodTemplate in the workload's namespace."""

    name: SubdomainName = Field(description="Name of the PodTemplate.", examples=["chat-h100"])


class Variant(ApiModel):
    """One way to serve the model on some accelerators."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.container) != has(self.podTemplateRef)",
                "give exactly one of container and podTemplateRef",
            )
        )
    )

    name: Annotated[str, Field(max_length=40, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")] = Field(
        description="Name of the variant, its own within the workload.", examples=["vllm-fp8"]
    )
    accelerators: Annotated[
        tuple[CatalogName, ...], Field(min_length=1, max_length=32, json_schema_extra=SET)
    ] = Field(
        description="Accelerators that it runs on, by catalog name or family.",
        examples=[["nvidia-l4", "tpu"]],
    )
    devices_per_replica: Annotated[int, Field(ge=1, le=4096)] = Field(
        default=1, description="Devices that one replica needs; cores on a pool of family cpu.", examples=[2]
    )
    precision: Word | None = Field(
        default=None,
        description="Number format that it computes in; a pool whose devices lack it is refused. Default: "
        "not checked.",
        examples=["fp8"],
    )
    runtime: Word | None = Field(
        default=None,
        description="Software stack that it needs; a pool whose devices lack it is refused. Default: not "
        "checked.",
        examples=["tensorrt"],
    )
    container: Container | None = Field(
        default=None,
        description="The server.",
        examples=[{"image": "ghcr.io/example/llm-server:1.4", "args": ["--model=chat"]}],
    )
    pod_template_ref: TemplateReference | None = Field(
        default=None,
        description="A PodTemplate instead of a container; its first container is the server.",
        examples=[{"name": "chat-h100"}],
    )
    profile: Profile | None = Field(
        default=None,
        description="Capacity of one replica. Default: unknown, and then the variant is not placed "
        "(ProfileMissing).",
        examples=[{"source": "benchmark", "concurrency": {"slots": 8, "base": "110ms"}}],
    )


class Scaling(ApiModel):
    """How many replicas there may be."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!has(self.minReplicas) || !has(self.maxReplicas) || self.minReplicas <= self.maxReplicas",
                "minReplicas is above maxReplicas",
                ".minReplicas",
            )
        )
    )

    min_replicas: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=1, description="Replicas that always run.", examples=[2]
    )
    max_replicas: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=100, description="Replicas beyond which no placement goes.", examples=[20]
    )
    headroom_percent: Annotated[int, Field(ge=0, le=400)] = Field(
        default=20, description="Capacity planned beyond the peak rate, in percent.", examples=[30]
    )


class InferenceWorkloadSpec(ApiModel):
    """What an author asks for."""

    tier: Tier = Field(
        default="internal",
        description="Who is served first when devices are short: customer-facing, then internal, then batch.",
        examples=["customer-facing"],
    )
    model: Model | None = Field(
        default=None,
        description="The model. Default: not described, and its memory not checked.",
        examples=[{"name": "llama-3.1-8b-instruct", "memory": "18Gi"}],
    )
    port: Annotated[int, Field(ge=1, le=65_535)] = Field(
        default=8080, description="Port of the server, and of the Service in front of it.", examples=[8000]
    )
    demand: Demand = Field(
        description="How many requests come.", examples=[{"requestsPerSecond": "12.5", "peakFactor": "1.5"}]
    )
    objectives: Annotated[
        tuple[LatencyObjective, ...], Field(max_length=8, json_schema_extra=map_by("metric", "percentile"))
    ] = Field(
        default=(),
        description="Latency that callers must see. Default: none, and only the rate counts.",
        examples=[[{"metric": "latency", "percentile": 95, "target": "300ms"}]],
    )
    budget: Budget | None = Field(
        default=None, description="What it may cost. Default: no limit.", examples=[{"perHour": "10.00"}]
    )
    constraints: Constraints | None = Field(
        default=None, description="Where it may run. Default: anywhere.", examples=[{"residency": ["eu"]}]
    )
    variants: Annotated[
        tuple[Variant, ...], Field(min_length=1, max_length=16, json_schema_extra=map_by("name"))
    ] = Field(
        description="Ways to serve the model; the operator chooses one, and a pool for it.",
        examples=[
            [
                {
                    "name": "gpu",
                    "accelerators": ["nvidia-l4"],
                    "container": {"image": "ghcr.io/example/llm-server:1.4"},
                }
            ]
        ],
    )
    scaling: Scaling = Field(
        default_factory=Scaling,
        description="How many replicas there may be.",
        examples=[{"minReplicas": 2, "maxReplicas": 20}],
        json_schema_extra={"default": {}},
    )


class InferenceWorkload(ApiModel):
    """A workload as the API server holds it, without its metadata."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "self.metadata.name.matches('^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$')",
                "the name becomes that of a Service: give at most 63 lower-case letters, digits and '-', "
                "beginning with a letter and not ending with '-'",
            )
        )
    )

    spec: InferenceWorkloadSpec = Field(description="What an author asks for.")
    status: InferenceWorkloadStatus = Field(
        default_factory=InferenceWorkloadStatus, description="What the operator decided and sees."
    )
