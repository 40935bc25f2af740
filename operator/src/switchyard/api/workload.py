"""InferenceWorkload: a model service with objectives, and the ways it can be served."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from switchyard.api.base import ApiModel
from switchyard.api.container import Container
from switchyard.api.demand import Demand, LatencyObjective
from switchyard.api.exposure import Exposure
from switchyard.api.policy import Budget, Constraints, Fallback, PlacementPolicy, Scaling, VariantName
from switchyard.api.profile import Profile
from switchyard.api.schema_marks import SET, map_by, rule, rules
from switchyard.api.signals import PROXY_PRESETS, Signals
from switchyard.api.values import CatalogName, Line, Quantity, Ratio, SubdomainName, Word
from switchyard.api.workload_status import InferenceWorkloadStatus

Tier = Literal["customer-facing", "internal", "batch"]


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
        description="Number of parameters; with placement.estimate: allow, the capacity of a variant without "
        "a profile is estimated from it. Default: not stated.",
        examples=[8_000_000_000],
    )
    kv_bytes_per_token: Quantity | None = Field(
        default=None,
        description="Memory that one token takes in the cache (2 x layers x KV heads x head size x bytes per "
        "number), for the same estimate. Default: not stated.",
        examples=["128Ki"],
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

    name: VariantName = Field(
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
        "(ProfileMissing) unless placement.estimate allows.",
        examples=[{"source": "benchmark", "concurrency": {"slots": 8, "base": "110ms"}}],
    )
    quality: Ratio | None = Field(
        default=None,
        description="Quality of its answers against those of the best variant, as the author judges it; "
        "shown while a fallback serves. Default: not stated.",
        examples=["0.92"],
    )


class InferenceWorkloadSpec(ApiModel):
    """What an author asks for."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!has(self.fallback) || self.fallback.all(f, self.variants.exists(v, v.name == f.variant))",
                "a fallback names one of the variants",
                ".fallback",
            ),
            rule(
                "!has(self.fallback) || self.variants.exists(v, !self.fallback.exists(f, f.variant == v.name "
                "&& !has(f.objectives)))",
                "every variant is a fallback without objectives, so none may serve normally: leave one out, "
                "or give it objectives",
                ".fallback",
            ),
            rule(
                "!has(self.demand.signal) || has(self.demand.signal.preset) || "
                "has(self.demand.signal.template) || (has(self.signals) && has(self.signals.preset))",
                "say whose metrics tell the demand: give demand.signal.preset or template, or signals.preset",
                ".demand.signal",
            ),
            rule(
                "!has(self.demand.signal) || !has(self.demand.signal.template) || "
                "has(self.demand.signal.source) || (has(self.signals) && has(self.signals.source))",
                "a template is a query, and the pods can't be queried: give demand.signal.source or "
                "signals.source",
                ".demand.signal.template",
            ),
            rule(
                "!has(self.demand.signal) || has(self.demand.signal.source) || "
                "(has(self.signals) && has(self.signals.source)) || "
                "!((has(self.demand.signal.preset) ? self.demand.signal.preset : "
                "has(self.signals) && has(self.signals.preset) ? self.signals.preset : '') in "
                f"{list(PROXY_PRESETS)})",
                "a proxy's metrics are not in the pods: give demand.signal.source or signals.source",
                ".demand.signal",
            ),
            rule(
                "self.placement.mode == 'mixed' || !has(self.constraints) || "
                "!has(self.constraints.spread) || self.constraints.spread.maxPercentPerPool == 100",
                "maxPercentPerPool below 100 needs placement.mode: mixed, as one pool holds all of a single "
                "placement",
                ".constraints.spread.maxPercentPerPool",
            ),
            rule(
                "!has(self.constraints) || !has(self.constraints.spot) || "
                "self.constraints.spot.minFirmReplicas <= self.scaling.maxReplicas",
                "minFirmReplicas is above scaling.maxReplicas",
                ".constraints.spot.minFirmReplicas",
            ),
        )
    )

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
    exposure: Exposure | None = Field(
        default=None,
        description="How callers reach it beside the stable Service, which bears the workload's name. "
        "Default: by the Service (ClusterIP) alone.",
        examples=[{"gateway": {"parentRefs": [{"name": "public"}], "hostnames": ["chat.example.com"]}}],
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
    signals: Signals | None = Field(
        default=None,
        description="Metrics of the engine that serves, for demand and for learning profiles. Default: none "
        "are read.",
        examples=[{"preset": "vllm", "learning": "propose"}],
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
    placement: PlacementPolicy = Field(
        default_factory=PlacementPolicy,
        description="On how many pools at once, and when a better place is worth a change.",
        examples=[{"mode": "mixed", "minSavingPercent": 20}],
        json_schema_extra={"default": {}},
    )
    fallback: Annotated[tuple[Fallback, ...], Field(max_length=8, json_schema_extra=map_by("variant"))] = (
        Field(
            default=(),
            description="Variants for when nothing meets the objectives, in the order in which they are "
            "tried; Degraded is True while one serves. Default: none.",
            examples=[[{"variant": "small-fp8"}]],
        )
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
