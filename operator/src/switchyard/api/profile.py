"""The capacity of one replica: a queueing model, or a measured curve of latency over load."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from switchyard.api.base import ApiModel
from switchyard.api.schema_marks import ATOMIC, rule, rules
from switchyard.api.values import Duration, LabelKey, Line, Rate, Ratio, Variation


class Concurrency(ApiModel):
    """A server with parallel slots whose service time grows with how many are busy."""

    slots: Annotated[int, Field(ge=1, le=4096)] = Field(
        description="Requests that one replica serves at the same time.", examples=[8]
    )
    base: Duration = Field(description="Mean service time of a request that is alone.", examples=["110ms"])
    slope: Duration | None = Field(
        default=None,
        description="What each further busy slot adds to the mean service time. Default: 0s.",
        examples=["4ms"],
    )
    cv2: Variation | None = Field(
        default=None,
        description="Squared coefficient of variation of the service time: 0 when all requests take the "
        "same, 1 when exponential. Default: 1.",
        examples=["0.25"],
    )


class LoadPoint(ApiModel):
    """Latency of one replica at one rate."""

    rate: Rate = Field(description="Offered rate, in requests per second and replica.", examples=["20"])
    p50: Duration = Field(description="Median latency at this rate.", examples=["120ms"])
    p95: Duration = Field(description="95th percentile of the latency.", examples=["180ms"])
    p99: Duration = Field(description="99th percentile of the latency.", examples=["240ms"])
    error_ratio: Ratio | None = Field(
        default=None,
        description="Share of requests that failed at this rate. Default: 0.",
        examples=["0.001"],
    )


class Profile(ApiModel):
    """How much one replica carries, and how that is known. Exactly one of concurrency and points."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule("has(self.concurrency) != has(self.points)", "give exactly one of concurrency and points")
        )
    )

    concurrency: Concurrency | None = Field(
        default=None,
        description="A queueing model of the server.",
        examples=[{"slots": 8, "base": "110ms", "slope": "4ms", "cv2": "0.25"}],
    )
    points: (
        Annotated[tuple[LoadPoint, ...], Field(min_length=1, max_length=64, json_schema_extra=ATOMIC)] | None
    ) = Field(
        default=None,
        description="A measured curve. Beyond its last rate nothing is promised.",
        examples=[[{"rate": "20", "p50": "120ms", "p95": "180ms", "p99": "240ms"}]],
    )
    source: Literal["benchmark", "vendor", "estimate"] = Field(
        default="estimate",
        description="How the figures are known: 90 percent of a benchmark's rate is promised, 70 of the "
        "others'.",
        examples=["benchmark"],
    )
    measured_at: date | None = Field(
        default=None, description="Day of the measurement. Default: not stated.", examples=["2026-10-15"]
    )
    environment: Annotated[dict[LabelKey, Line], Field(max_length=32)] | None = Field(
        default=None,
        description="What it was measured with, for people. Default: not stated.",
        examples=[{"driver": "580.65", "runtime": "vllm 0.33.0"}],
    )
