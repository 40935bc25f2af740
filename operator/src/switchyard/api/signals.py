"""Where the metrics of a workload come from: a named source and a preset, never an address or a query."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from switchyard.api.base import ApiModel
from switchyard.api.schema_marks import rule, rules
from switchyard.api.values import ObjectName

Preset = Literal[
    "vllm",
    "sglang",
    "tensorrt-llm",
    "triton",
    "tgi",
    "kserve",
    "ray-serve",
    "openai-http",
    "istio",
    "envoy-gateway",
    "nginx",
]
PROXY_PRESETS = ("envoy-gateway", "istio", "nginx")  # they tell of a Service: the pods can't be asked
TELLING_PRESETS = ("sglang", "tensorrt-llm", "tgi", "vllm")  # engines that tell enough to learn from
Learning = Literal["off", "propose", "use"]
SourceName = Annotated[ObjectName, Field(min_length=1)]


class DemandSignal(ApiModel):
    """Which metric tells the demand."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!(has(self.preset) && has(self.template))",
                "give preset or template, not both",
                ".template",
            ),
        )
    )

    source: SourceName | None = Field(
        default=None,
        description="Metric source, by its name in the operator's settings. Default: signals.source, else "
        "the pods of the workload are asked themselves, which the presets of proxies do not allow.",
        examples=["prometheus"],
    )
    preset: Preset | None = Field(
        default=None,
        description="Whose metrics they are: those of a serving engine, or of a proxy before it. Default: "
        "signals.preset.",
        examples=["vllm"],
    )
    template: SourceName | None = Field(
        default=None,
        description="Query template in place of a preset, by its name in the operator's settings; it needs a "
        "source. Default: none.",
        examples=["chat-requests"],
    )


class Signals(ApiModel):
    """The metrics of the engine that serves, for demand and for learning."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.preset) || self.learning == 'off'",
                "learning needs preset: say which engine serves, or set learning: off",
                ".preset",
            ),
            rule(
                f"self.learning != 'use' || !has(self.preset) || self.preset in {list(TELLING_PRESETS)}",
                f"nothing can be learned from this preset's metrics, only from those of "
                f"{', '.join(TELLING_PRESETS)}: leave learning out",
                ".learning",
            ),
        )
    )

    source: SourceName | None = Field(
        default=None,
        description="Metric source, by its name in the operator's settings. Default: the pods of the "
        "workload are asked themselves.",
        examples=["prometheus"],
    )
    preset: Preset | None = Field(
        default=None,
        description="Engine whose metrics they are. Default: none, and then nothing is learned.",
        examples=["vllm"],
    )
    learning: Learning = Field(
        default="propose",
        description="What becomes of profiles learned from the engine's metrics (those of "
        f"{', '.join(TELLING_PRESETS)} tell enough): off (none are learned), "
        "propose (status.learnedProfiles shows them), use (they replace the variant's profile once they are "
        "good enough).",
        examples=["use"],
    )
