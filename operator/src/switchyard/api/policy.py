"""What an author asks of the placement: its limits, its scale, and how it may change."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, field_validator

from switchyard.api import cutover_limits
from switchyard.api.base import ApiModel
from switchyard.api.cutover_gates import ParityGate
from switchyard.api.demand import LatencyObjective
from switchyard.api.pool import CapacityType, Family, Maturity, Words
from switchyard.api.schema_marks import ATOMIC, SET, map_by, rule, rules, within
from switchyard.api.values import CatalogName, Duration, LabelValue, Money

_YEAR_SECONDS = 8760 * 3600.0

Percent = Annotated[int, Field(ge=0, le=100)]
Share = Annotated[int, Field(ge=1, le=100)]
VariantName = Annotated[str, Field(max_length=40, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
AcceleratorNames = Annotated[tuple[CatalogName, ...], Field(max_length=32, json_schema_extra=SET)]


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


class Spread(ApiModel):
    """How much may depend on one place."""

    max_percent_per_pool: Share = Field(
        default=100,
        description="Most of the peak demand that may depend on one pool, in percent; below 100 it needs "
        "placement.mode: mixed.",
        examples=[60],
    )
    max_percent_per_zone: Share = Field(
        default=100,
        description="Most of the peak demand that may depend on one zone, in percent; pools that state "
        "several zones count as spread.",
        examples=[60],
    )


class SpotTolerance(ApiModel):
    """What must be left when spot capacity goes."""

    survival_percent: Percent = Field(
        default=0,
        description="Share of the peak demand that must still be carried when any one spot pool is gone, in "
        "percent.",
        examples=[70],
    )
    min_firm_replicas: Annotated[int, Field(ge=0, le=1000)] = Field(
        default=0, description="Replicas that always run outside spot capacity.", examples=[2]
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
    spread: Spread | None = Field(
        default=None,
        description="How much may depend on one place. Default: everything.",
        examples=[{"maxPercentPerPool": 60}],
    )
    spot: SpotTolerance | None = Field(
        default=None,
        description="What must be left when spot capacity goes. Default: nothing.",
        examples=[{"survivalPercent": 70, "minFirmReplicas": 2}],
    )


class Scaling(ApiModel):
    """How many replicas there may be."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!has(self.minReplicas) || !has(self.maxReplicas) || self.minReplicas <= self.maxReplicas",
                "minReplicas is above maxReplicas",
                ".minReplicas",
            ),
            rule(
                within("scaleDownDelay", "0s", "24h"),
                "give a scaleDownDelay of at most 24h",
                ".scaleDownDelay",
            ),
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
    scale_down_delay: Duration = Field(
        default="5m",
        validate_default=True,
        description="Time for which fewer replicas must be enough before some are removed, at most 24h. More "
        "replicas come at once.",
        examples=["15m"],
    )


class CutoverPolicy(ApiModel):
    """What is asked of the plans that the operator makes, beside their target and the usual gates."""

    windows: Annotated[tuple[cutover_limits.Window, ...], Field(max_length=16, json_schema_extra=ATOMIC)] = (
        Field(
            default=(),
            description="When they may move traffic. Default: at any time.",
            examples=[[{"start": "09:00", "end": "16:00"}]],
        )
    )
    budget: cutover_limits.Budget | None = Field(
        default=None,
        description="What each may cost, and how long it may take. Default: no limit.",
        examples=[{"maxDualRunCost": "250.00"}],
    )
    approvals: Annotated[
        tuple[Literal["shadow", "canary", "promote"], ...], Field(max_length=3, json_schema_extra=SET)
    ] = Field(
        default=(),
        description="Stages of them that wait for a person: shadow, canary, promote. Default: none.",
        examples=[["canary"]],
    )
    parity: ParityGate | None = Field(
        default=None,
        description="Holds the new place's answers to those of the old one. Default: answers are not "
        "compared.",
        examples=[{"comparator": "tokens"}],
    )


class PlacementPolicy(ApiModel):
    """On how many pools at once, and when a better place is worth a change."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                within("stabilisation", "0s", "24h"),
                "give a stabilisation of at most 24h",
                ".stabilisation",
            ),
            rule(within("horizon", "1m", "8760h"), "give a horizon of 1m to 8760h", ".horizon"),
            rule(
                "!has(self.migration) || self.migration != 'auto' || "
                "!has(self.mode) || self.mode == 'single'",
                "migration: auto needs mode: single, as only what one track serves can be moved",
                ".migration",
            ),
            rule(
                "!has(self.cutover) || (has(self.migration) && self.migration == 'auto')",
                "cutover goes with migration: auto",
                ".cutover",
            ),
        )
    )

    mode: Literal["single", "mixed"] = Field(
        default="single",
        description="single: one variant in one pool. mixed: several variants and pools at once, callers "
        "spread over all replicas.",
        examples=["mixed"],
    )
    migration: Literal["manual", "propose", "auto"] = Field(
        default="propose",
        description="What happens when another place would be better for a workload that serves: propose "
        "(status.recommendation shows it), auto (the operator makes a CutoverPlan of it as well, which moves "
        "it by evidence), or manual (nothing).",
        examples=["auto"],
    )
    cutover: CutoverPolicy | None = Field(
        default=None,
        description="For migration: auto: what is asked of the plans. Default: nothing but the usual gates.",
        examples=[{"windows": [{"start": "09:00", "end": "16:00"}]}],
    )
    min_saving_percent: Percent = Field(
        default=10,
        description="Saving below which another place is not recommended, in percent of the present cost.",
        examples=[20],
    )
    stabilisation: Duration = Field(
        default="10m",
        validate_default=True,
        description="Time for which a saving must hold before it is recommended, at most 24h.",
        examples=["30m"],
    )
    horizon: Duration = Field(
        default="24h",
        validate_default=True,
        description="Time over which a change must pay back what it costs, 1m to 8760h.",
        examples=["168h"],
    )
    estimate: Literal["never", "allow"] = Field(
        default="never",
        description="Whether a variant without a profile may be placed by an estimate from model.parameters "
        "and the device's figures: never, or allow.",
        examples=["allow"],
    )

    @field_validator("horizon")
    @classmethod
    def _judge_horizon(cls, horizon: Duration) -> Duration:
        if not 60 <= horizon.seconds <= _YEAR_SECONDS:
            raise ValueError("give a horizon of 1m to 8760h")
        return horizon


class Fallback(ApiModel):
    """A variant for when nothing meets the objectives."""

    variant: VariantName = Field(description="Name of one of the variants.", examples=["small-fp8"])
    objectives: (
        Annotated[
            tuple[LatencyObjective, ...],
            Field(min_length=1, max_length=8, json_schema_extra=map_by("metric", "percentile")),
        ]
        | None
    ) = Field(
        default=None,
        description="Relaxed objectives that it is judged by as a fallback; it may also serve normally. "
        "Default: none, and it is used as a fallback only, judged by no latency.",
        examples=[[{"metric": "latency", "percentile": 95, "target": "900ms"}]],
    )
