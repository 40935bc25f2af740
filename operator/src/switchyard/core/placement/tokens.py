"""How one replica of a language-model engine with continuous batching turns tokens into time.

An iteration advances every running sequence by one token and works on prompts beside it; it takes
`a + n*b + c*prefill tokens + g*cached tokens` seconds with n sequences (the linear form that Vidur, Splitwise
and vLLM's own benchmarks fit well).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from switchyard.core.errors import ProfileError

USABLE_CACHE_RATIO = 0.9  # past it engines begin to preempt sequences, and recompute them


@dataclass(frozen=True, slots=True)
class Traffic:
    """Tokens of a request: means and coefficients of variation (standard deviation / mean)."""

    input_mean: float
    input_cv: float
    output_mean: float
    output_cv: float

    def __post_init__(self) -> None:
        """Raise ProfileError for sizes that no request has."""
        for name, value in (("inputTokens", self.input_mean), ("outputTokens", self.output_mean)):
            if not (math.isfinite(value) and value >= 1):
                raise ProfileError(f"{name}.mean is {value}: a request has at least 1 token")
        for name, value in (("inputTokens", self.input_cv), ("outputTokens", self.output_cv)):
            if not (math.isfinite(value) and value >= 0):
                raise ProfileError(f"{name}.cv is {value}: it must be a number of at least 0")


@dataclass(frozen=True, slots=True)
class TokensProfile:
    """One replica: seconds of an iteration by its content, and the limits of its batch."""

    iteration_seconds: float  # a
    per_sequence_seconds: float  # b
    per_prefill_token_seconds: float  # c
    per_cached_token_seconds: float = 0.0  # g
    max_batch: int = 256  # sequences
    max_batched_tokens: int = 2048  # prompt tokens of one iteration: longer prompts are cut into chunks
    cache_tokens: int | None = None  # None: the cache never limits the batch
    prefix_hit_ratio: float = 0.0  # share of the prompt found in the prefix cache

    def __post_init__(self) -> None:
        """Raise ProfileError for numbers that no engine can have."""
        if not (math.isfinite(self.iteration_seconds) and self.iteration_seconds > 0):
            raise ProfileError(f"iteration is {self.iteration_seconds} s: it takes some time, above 0")
        for name, value in (
            ("perSequence", self.per_sequence_seconds),
            ("perPrefillToken", self.per_prefill_token_seconds),
            ("perCachedToken", self.per_cached_token_seconds),
        ):
            if not (math.isfinite(value) and value >= 0):
                raise ProfileError(f"{name} is {value} s: it must be a number of at least 0")
        if self.max_batch < 1:
            raise ProfileError(f"maxBatch is {self.max_batch}: a replica runs at least 1 sequence")
        if self.max_batched_tokens < 1:
            raise ProfileError(f"maxBatchedTokens is {self.max_batched_tokens}: it must be at least 1")
        if self.cache_tokens is not None and self.cache_tokens < 1:
            raise ProfileError(f"cacheTokens is {self.cache_tokens}: it must be at least 1, or absent")
        if not 0 <= self.prefix_hit_ratio < 1:
            raise ProfileError(f"prefixHitRatio is {self.prefix_hit_ratio}: it must be in 0 … below 1")


def count_places(profile: TokensProfile, traffic: Traffic) -> int:
    """Sequences that run at once: the engine's limit, or what its cache holds. 0: not one fits."""
    if profile.cache_tokens is None:
        return profile.max_batch
    held = traffic.input_mean + traffic.output_mean / 2
    return min(profile.max_batch, int(USABLE_CACHE_RATIO * profile.cache_tokens / held))


def residence_seconds(profile: TokensProfile, traffic: Traffic, running: int) -> float:
    """Mean seconds from admission to the last token with `running` sequences in the batch."""
    fresh = traffic.input_mean * (1 - profile.prefix_hit_ratio)
    held = traffic.input_mean + traffic.output_mean / 2
    share = (
        profile.per_sequence_seconds
        + profile.per_prefill_token_seconds * fresh / traffic.output_mean
        + profile.per_cached_token_seconds * held
    )
    iteration = profile.iteration_seconds + running * share
    return traffic.output_mean * iteration + profile.iteration_seconds


def saturation_rate(profile: TokensProfile, traffic: Traffic) -> float:
    """Requests per second with every place of the batch taken all the time; 0 when no sequence fits."""
    places = count_places(profile, traffic)
    return places / residence_seconds(profile, traffic, places) if places else 0.0
