"""The capacity of one replica: a model of the server, or a measured curve of latency over load."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from switchyard.api.base import ApiModel
from switchyard.api.schema_marks import ATOMIC, one_of, rule, rules
from switchyard.api.values import Duration, LabelKey, Line, Rate, Ratio, ShareBelowOne, Variation

BatchSize = Annotated[int, Field(ge=1, le=65_536)]
TokenTotal = Annotated[int, Field(ge=1, le=10**12, json_schema_extra={"format": "int64"})]


class Tokens(ApiModel):
    """A language-model engine with continuous batching, by what one iteration takes.

    An iteration takes iteration + perSequence x running sequences + perPrefillToken x prompt tokens in it +
    perCachedToken x tokens in the cache.
    """

    iteration: Duration = Field(
        description="What every iteration takes, whatever is in it.", examples=["6.5ms"]
    )
    per_sequence: Duration = Field(
        description="What each running sequence adds to an iteration.", examples=["60us"]
    )
    per_prefill_token: Duration = Field(
        description="What each prompt token adds to the iteration that computes it.", examples=["85us"]
    )
    per_cached_token: Duration | None = Field(
        default=None,
        description="What each token in the cache of the running sequences adds to an iteration. Default: "
        "0s.",
        examples=["30ns"],
    )
    max_batch: BatchSize = Field(
        description="Sequences that run at the same time at most, as the engine is set.", examples=[256]
    )
    max_batched_tokens: Annotated[int, Field(ge=1, le=10_000_000)] = Field(
        default=2048,
        description="Tokens of one iteration at most; longer prompts are computed in chunks of it.",
        examples=[8192],
    )
    cache_tokens: TokenTotal | None = Field(
        default=None,
        description="Tokens that the cache of one replica holds. Default: so many that it never limits the "
        "batch.",
        examples=[420_000],
    )
    prefix_hit_ratio: ShareBelowOne = Field(
        default="0",
        validate_default=True,
        description="Share of prompt tokens that the prefix cache already holds.",
        examples=["0.3"],
    )


class Linear(ApiModel):
    """The form that other tools publish, converted to `tokens`.

    Decoding with n sequences takes decodeAlpha + decodeBeta x n per token; a prefill of n prompts takes
    prefillGamma + prefillDelta x prompt tokens x n.
    """

    decode_alpha: Duration = Field(
        description="Time per token of a sequence that is alone, without decodeBeta.", examples=["20.58ms"]
    )
    decode_beta: Duration = Field(
        description="What each sequence of the batch adds to the time per token.", examples=["410us"]
    )
    prefill_gamma: Duration = Field(
        description="Time of a prefill, without prefillDelta.", examples=["5.2ms"]
    )
    prefill_delta: Duration = Field(
        description="What each prompt token of each sequence adds to a prefill.", examples=["100us"]
    )
    max_batch: BatchSize = Field(description="Sequences that run at the same time at most.", examples=[256])


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


class MeasuredPercentiles(ApiModel):
    """Three percentiles of one measure at one rate."""

    p50: Duration = Field(description="Median.", examples=["45ms"])
    p95: Duration = Field(description="95th percentile.", examples=["80ms"])
    p99: Duration = Field(description="99th percentile.", examples=["110ms"])


class LoadPoint(ApiModel):
    """Latency of one replica at one rate."""

    rate: Rate = Field(description="Offered rate, in requests per second and replica.", examples=["20"])
    p50: Duration = Field(description="Median latency at this rate.", examples=["120ms"])
    p95: Duration = Field(description="95th percentile of the latency.", examples=["180ms"])
    p99: Duration = Field(description="99th percentile of the latency.", examples=["240ms"])
    ttft: MeasuredPercentiles | None = Field(
        default=None,
        description="Time to the first token. Default: not measured, and an objective of ttft can't be "
        "judged.",
        examples=[{"p50": "45ms", "p95": "80ms", "p99": "110ms"}],
    )
    tpot: MeasuredPercentiles | None = Field(
        default=None,
        description="Time between two tokens. Default: not measured, and an objective of tpot can't be "
        "judged.",
        examples=[{"p50": "12ms", "p95": "18ms", "p99": "25ms"}],
    )
    error_ratio: Ratio | None = Field(
        default=None,
        description="Share of requests that failed at this rate. Default: 0.",
        examples=["0.001"],
    )


class Profile(ApiModel):
    """How much one replica carries, and how that is known. Exactly one model or curve."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                one_of("tokens", "concurrency", "points", "linear"),
                "give exactly one of tokens, concurrency, points and linear",
            )
        )
    )

    tokens: Tokens | None = Field(
        default=None,
        description="A language-model engine with continuous batching. It needs demand.inputTokens and "
        "outputTokens, stated or measured.",
        examples=[
            {
                "iteration": "6.5ms",
                "perSequence": "60us",
                "perPrefillToken": "85us",
                "maxBatch": 256,
                "cacheTokens": 420_000,
            }
        ],
    )
    concurrency: Concurrency | None = Field(
        default=None,
        description="A queueing model of a server that answers a request at once.",
        examples=[{"slots": 8, "base": "110ms", "slope": "4ms", "cv2": "0.25"}],
    )
    points: (
        Annotated[tuple[LoadPoint, ...], Field(min_length=1, max_length=64, json_schema_extra=ATOMIC)] | None
    ) = Field(
        default=None,
        description="A measured curve. Beyond its last rate nothing is promised.",
        examples=[[{"rate": "20", "p50": "120ms", "p95": "180ms", "p99": "240ms"}]],
    )
    linear: Linear | None = Field(
        default=None,
        description="A language-model engine in the alpha, beta, gamma, delta form of other tools. It needs "
        "demand.inputTokens and outputTokens, stated or measured.",
        examples=[
            {
                "decodeAlpha": "20.58ms",
                "decodeBeta": "410us",
                "prefillGamma": "5.2ms",
                "prefillDelta": "100us",
                "maxBatch": 256,
            }
        ],
    )
    source: Literal["benchmark", "learned", "vendor", "estimate"] = Field(
        default="estimate",
        description="How the figures are known: 90 percent of a benchmark's rate is promised, 80 of a "
        "learned one's, 70 of the others'.",
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
