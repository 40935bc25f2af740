"""How many requests come, how large they are, and how quickly they must be answered."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, field_validator

from switchyard.api.base import ApiModel
from switchyard.api.schema_marks import rule, rules, within
from switchyard.api.signals import DemandSignal
from switchyard.api.values import Duration, Factor, Rate, TokenCount, Variation

_DAY_SECONDS = 86_400.0


class TokenLength(ApiModel):
    """How many tokens a request has on one side."""

    mean: TokenCount = Field(description="Mean number of tokens of a request.", examples=["812"])
    cv: Variation = Field(
        default="0",
        validate_default=True,
        description="Coefficient of variation: standard deviation per mean; 0 when all are alike.",
        examples=["0.9"],
    )


class Demand(ApiModel):
    """How many requests come: a plan per second or per day, or a signal."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.requestsPerDay) != (has(self.requestsPerSecond) || has(self.signal))",
                "give requestsPerSecond, signal or both; or requestsPerDay alone",
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
            rule("!has(self.window) || has(self.signal)", "window goes with signal", ".window"),
            rule(within("window", "1m", "1h"), "give a window of 1m to 1h", ".window"),
            rule(
                "has(self.inputTokens) == has(self.outputTokens)",
                "give inputTokens and outputTokens together: the size of a request needs both",
                ".inputTokens",
            ),
        )
    )

    requests_per_second: Rate | None = Field(
        default=None,
        description="Mean rate, in requests per second. With signal: the rate planned for until the signal "
        "has answered once.",
        examples=["12.5"],
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
    signal: DemandSignal | None = Field(
        default=None,
        description="Measure the rate, and plan for what is measured. While the signal is missing the last "
        "decision stays.",
        examples=[{"source": "prometheus", "preset": "vllm"}],
    )
    window: Duration | None = Field(
        default=None,
        description="Time over which the signal is averaged, 1m to 1h. Default: 5m.",
        examples=["10m"],
    )
    input_tokens: TokenLength | None = Field(
        default=None,
        description="Size of a prompt, for profiles of language-model engines. Default: not stated; a signal "
        "may measure it.",
        examples=[{"mean": "812", "cv": "0.9"}],
    )
    output_tokens: TokenLength | None = Field(
        default=None,
        description="Size of an answer, for profiles of language-model engines. Default: not stated; a "
        "signal may measure it.",
        examples=[{"mean": "230", "cv": "0.7"}],
    )

    @field_validator("deadline")
    @classmethod
    def _judge_deadline(cls, deadline: Duration | None) -> Duration | None:
        if deadline is not None and not 0 < deadline.seconds <= _DAY_SECONDS:
            raise ValueError("give a deadline of more than 0s and at most 24h")
        return deadline


class LatencyObjective(ApiModel):
    """A share of requests that must be answered within a time."""

    metric: Literal["latency", "ttft", "tpot"] = Field(
        default="latency",
        description="What is measured: latency (from request to whole answer), ttft (to the first token), "
        "tpot (from token to token).",
        examples=["ttft"],
    )
    percentile: Annotated[int, Field(ge=1, le=99)] = Field(
        description="Share of requests, in percent.", examples=[95]
    )
    target: Duration = Field(
        description="Time within which they are answered, as callers see it.", examples=["300ms"]
    )
