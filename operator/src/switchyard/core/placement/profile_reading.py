"""A variant's profile, read from the API into the model that placement computes with."""

from __future__ import annotations

from switchyard.api.profile import Concurrency, Linear, MeasuredPercentiles, Profile, Tokens
from switchyard.api.profile import LoadPoint as WrittenPoint
from switchyard.core.placement.latency import (
    ConcurrencyProfile,
    LatencyProfile,
    PointsProfile,
    TokensProfile,
)
from switchyard.core.placement.linear_profile import convert_linear
from switchyard.core.placement.load_curve import LoadPoint


def read_profile(profile: Profile, input_mean: float | None = None) -> LatencyProfile | None:
    """The model of a profile; None when it has none. Raises ProfileError for one that no server can have.

    `input_mean`: tokens of a prompt, where they are known.
    """
    if profile.tokens is not None:
        return read_tokens(profile.tokens)
    if profile.linear is not None:
        return _read_linear(profile.linear, input_mean)
    if profile.concurrency is not None:
        return _read_concurrency(profile.concurrency)
    if profile.points:
        return PointsProfile(tuple(sorted(map(_read_point, profile.points), key=lambda point: point.rate)))
    return None


def read_tokens(shape: Tokens) -> TokensProfile:
    """The model of an engine with continuous batching. Raises ProfileError."""
    return TokensProfile(
        iteration_seconds=shape.iteration.seconds,
        per_sequence_seconds=shape.per_sequence.seconds,
        per_prefill_token_seconds=shape.per_prefill_token.seconds,
        per_cached_token_seconds=shape.per_cached_token.seconds if shape.per_cached_token else 0.0,
        max_batch=shape.max_batch,
        max_batched_tokens=shape.max_batched_tokens,
        cache_tokens=shape.cache_tokens,
        prefix_hit_ratio=float(shape.prefix_hit_ratio),
    )


def _read_linear(shape: Linear, input_mean: float | None) -> TokensProfile:
    return convert_linear(
        decode_alpha_seconds=shape.decode_alpha.seconds,
        decode_beta_seconds=shape.decode_beta.seconds,
        prefill_gamma_seconds=shape.prefill_gamma.seconds,
        prefill_delta_seconds=shape.prefill_delta.seconds,
        max_batch=shape.max_batch,
        input_mean=input_mean,
    )


def _read_concurrency(shape: Concurrency) -> ConcurrencyProfile:
    return ConcurrencyProfile(
        slots=shape.slots,
        base_seconds=shape.base.seconds,
        slope_seconds=shape.slope.seconds if shape.slope else 0.0,
        cv2=float(shape.cv2) if shape.cv2 is not None else 1.0,
    )


def _read_point(point: WrittenPoint) -> LoadPoint:
    return LoadPoint(
        float(point.rate),
        point.p50.seconds,
        point.p95.seconds,
        point.p99.seconds,
        float(point.error_ratio or 0),
        ttft_seconds=_read_percentiles(point.ttft),
        tpot_seconds=_read_percentiles(point.tpot),
    )


def _read_percentiles(written: MeasuredPercentiles | None) -> tuple[float, float, float] | None:
    return (written.p50.seconds, written.p95.seconds, written.p99.seconds) if written else None
