"""What a candidate is held to on its way: one gate per kind of evidence."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from switchyard.api.base import ApiModel
from switchyard.api.schema_marks import SET, one_of, rule, rules, within
from switchyard.api.signals import SourceName
from switchyard.api.values import (
    Duration,
    Factor,
    Level,
    Ratio,
    RatioAboveZero,
    ShareBelowOne,
    ShareBetween,
)

GateName = Annotated[str, Field(max_length=40, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
GateStage = Literal["shadow", "canary", "soak"]
Pointer = Annotated[str, Field(max_length=256, pattern=r"^/([^~]|~[01])*$")]


class Margin(ApiModel):
    """How much worse the candidate may be; the wider of both counts."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!has(self.oddsRatio) || !has(self.absolute) || "
                "double(self.oddsRatio) > 1.0 || double(self.absolute) > 0.0",
                "a margin of nothing can never be shown to be kept: give an oddsRatio above 1 or an absolute "
                "above 0",
            )
        )
    )

    odds_ratio: Factor = Field(
        default="1.5",
        description="Most that the odds of a bad request on the candidate may be, as a multiple of those on "
        "the baseline.",
        examples=["1.25"],
        validate_default=True,
    )
    absolute: ShareBelowOne = Field(
        default="0.002",
        description="Share of requests that may be bad beyond the baseline's share, as a ratio, so that a "
        "baseline without bad requests does not ask for a candidate without any.",
        examples=["0.001"],
        validate_default=True,
    )


class ErrorsGate(ApiModel):
    """Failed requests: 5xx, timeouts, broken streams, refused connections."""

    margin: Margin = Field(
        default_factory=Margin,
        description="How much worse the candidate may be.",
        examples=[{"oddsRatio": "1.25"}],
        json_schema_extra={"default": {}},
    )
    hard_stop_ratio: RatioAboveZero = Field(
        default="0.5",
        description="Share of failed requests on the candidate, as a ratio; clearly more than that ends the "
        "stage sooner than a comparison would: 20 requests that all fail are enough.",
        examples=["0.3"],
        validate_default=True,
    )


class LatencyGate(ApiModel):
    """Requests that were good but slow."""

    model_config = ConfigDict(
        json_schema_extra=rules(rule(within("target", "1ms", "1h"), "give a target of 1ms to 1h", ".target"))
    )

    metric: Literal["latency", "ttft", "tpot"] = Field(
        default="latency",
        description="What is measured: latency (to the end of the answer), ttft (to its first token), tpot "
        "(per further token).",
        examples=["ttft"],
    )
    target: Duration | None = Field(
        default=None,
        description="A request within it is good, 1ms to 1h. Default: the target of the workload's objective "
        "for this metric, of those the one with the highest percentile.",
        examples=["500ms"],
    )
    margin: Margin = Field(
        default_factory=Margin,
        description="How much worse the candidate may be.",
        examples=[{"oddsRatio": "1.25"}],
        json_schema_extra={"default": {}},
    )


class ParityGate(ApiModel):
    """How alike the answers of both sides are, beyond how alike the baseline's own answers are."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!(has(self.ignoredPaths) || has(self.numericTolerance)) || self.comparator == 'json'",
                "ignoredPaths and numericTolerance go with comparator: json",
                ".comparator",
            ),
            rule("!has(self.k) || self.comparator == 'topk'", "k goes with comparator: topk", ".k"),
            rule(
                "!has(self.pointer) || self.comparator in ['text', 'embedding', 'topk']",
                "pointer goes with comparator: text, embedding or topk",
                ".pointer",
            ),
        )
    )

    comparator: Literal["exact", "json", "text", "tokens", "embedding", "topk"] = Field(
        default="exact",
        description="How two answers are compared, for a score from 0 to 1; docs/reference/router.md.",
        examples=["tokens"],
    )
    margin: ShareBetween = Field(
        default="0.02",
        description="How far the mean score of the candidate may lie below that of the noise arm; without a "
        "noise arm, below 1.",
        examples=["0.01"],
        validate_default=True,
    )
    threshold: Ratio | None = Field(
        default=None,
        description="Score below which the router counts a pair as a mismatch in its metrics; the gate goes "
        "by the mean score. Default: the comparator's.",
        examples=["0.99"],
    )
    pointer: Pointer | None = Field(
        default=None,
        description="For text, embedding and topk: JSON pointer to what is compared, with * for any step. "
        "Default: the usual places.",
        examples=["/choices/*/text"],
    )
    ignored_paths: Annotated[tuple[Pointer, ...], Field(max_length=32, json_schema_extra=SET)] = Field(
        default=(),
        description="For json: JSON pointers to what does not count, with * for any step. Default: none.",
        examples=[["/id", "/created"]],
    )
    numeric_tolerance: ShareBelowOne | None = Field(
        default=None,
        description="For json: difference of numbers that does not count, both relative and absolute. "
        "Default: 0.",
        examples=["0.001"],
    )
    k: Annotated[int, Field(ge=1, le=100)] | None = Field(
        default=None, description="For topk: labels that are compared. Default: 5.", examples=[3]
    )


class StabilityGate(ApiModel):
    """The candidate's own health: restarts, readiness lost, pods that fail."""

    max_restarts: Annotated[int, Field(ge=0, le=1000)] = Field(
        default=1,
        description="Most restarts of the candidate's containers and losses of readiness since the stage "
        "began.",
        examples=[0],
    )


class CostGate(ApiModel):
    """What a thousand answered requests cost on the candidate, predicted and observed."""

    max_increase_percent: Annotated[int, Field(ge=-99, le=1000)] = Field(
        default=0,
        description="Most that it may cost above the baseline, in percent; below 0 asks for a saving.",
        examples=[-10],
    )


class SignalGate(ApiModel):
    """A query of the operator's settings, held to a bound."""

    source: SourceName = Field(
        description="Metric source, by its name in the operator's settings.", examples=["prometheus"]
    )
    template: SourceName = Field(
        description="Query template, by its name in the operator's settings.", examples=["refusals"]
    )
    max: Level = Field(
        description="Most that the candidate's value may be, in the unit of the query.", examples=["0.05"]
    )


_KINDS = ("errors", "latency", "parity", "stability", "cost", "signal")


class Gate(ApiModel):
    """One kind of evidence."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(one_of(*_KINDS), f"give exactly one of {', '.join(_KINDS)}"),
            rule(
                "!has(self.parity) || !has(self.stages) || self.stages.all(s, s != 'soak')",
                "parity needs copies of what the baseline answers, and it answers none in soak",
                ".stages",
            ),
            rule(
                "!has(self.cost) || !has(self.stages) || self.stages.all(s, s != 'shadow')",
                "cost goes by requests that the candidate answers, and it answers none in shadow",
                ".stages",
            ),
        )
    )

    name: GateName = Field(description="Name, its own within the plan.", examples=["first-token"])
    stages: (
        Annotated[tuple[GateStage, ...], Field(min_length=1, max_length=3, json_schema_extra=SET)] | None
    ) = Field(
        default=None,
        description="Where it is judged. Default: parity in shadow, cost in canary and soak, the others in "
        "all three.",
        examples=[["shadow", "canary"]],
    )
    errors: ErrorsGate | None = Field(
        default=None,
        description="Holds it to the baseline's share of failed requests.",
        examples=[{"hardStopRatio": "0.3"}],
    )
    latency: LatencyGate | None = Field(
        default=None,
        description="Holds it to the baseline's share of slow requests.",
        examples=[{"metric": "ttft", "target": "500ms"}],
    )
    parity: ParityGate | None = Field(
        default=None, description="Holds its answers to the baseline's.", examples=[{"comparator": "tokens"}]
    )
    stability: StabilityGate | None = Field(
        default=None,
        description="Bounds restarts and losses of readiness.",
        examples=[{"maxRestarts": 0}],
    )
    cost: CostGate | None = Field(
        default=None, description="Bounds its cost.", examples=[{"maxIncreasePercent": -10}]
    )
    signal: SignalGate | None = Field(
        default=None,
        description="Bounds a metric of the site's own.",
        examples=[{"source": "prometheus", "template": "refusals", "max": "0.05"}],
    )
