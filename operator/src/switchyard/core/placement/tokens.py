"""How one replica of a language-model engine with continuous batching turns tokens into time.

An iteration advances every running sequence by one token and works on prompts beside it; it takes
`a + n*b + c*prefill tokens + g*cached tokens` seconds with n sequences. On Llama 2 70B (tests/data/splitwise)
decoding follows this within 11 percent up to 64 sequences and a prompt within 20 up to 2,048 tokens; longer
ones take up to twice as long, so c is to be measured at the prompt length in use.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from switchyard.core.errors import ProfileError

_STEPS_PER_OCTAVE = 32
_FEW_SEQUENCES, _MANY_CHUNKS = 6, 2.0
_CONSTANT_CV = 1e-6  # below it a length counts as constant
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


def settle_traffic(traffic: Traffic) -> Traffic:
    """`traffic` on a grid: means in steps of 2.2 percent, variations in steps of 0.05.

    Measured traffic differs in every reading; on the grid a result is computed once and then remembered.
    """

    def settle(mean: float) -> float:
        return 2 ** (round(math.log2(mean) * _STEPS_PER_OCTAVE) / _STEPS_PER_OCTAVE)

    def settle_cv(variation: float) -> float:
        return round(variation * 20) / 20

    return Traffic(
        settle(traffic.input_mean),
        settle_cv(traffic.input_cv),
        settle(traffic.output_mean),
        settle_cv(traffic.output_cv),
    )


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


@dataclass(frozen=True, slots=True)
class Steady:
    """One replica in balance: what an iteration holds at its limit, and how a sequence lives through it."""

    places: int  # sequences that run at once: the engine's limit, or what its cache holds
    fresh_tokens: float  # of a prompt, to compute: what the prefix cache does not hold
    held_tokens: float  # of a running sequence in the cache, on average over time
    prefill_iterations: float  # that a prompt takes
    per_sequence_seconds: float  # of an iteration, by each running sequence, its cache included
    highest_per_iteration: float  # requests that one iteration can complete, in balance
    saturation_rate: float  # requests per second; 0 when no sequence fits


def balance(profile: TokensProfile, traffic: Traffic) -> Steady:
    """The replica's balance at saturation.

    With x requests through an iteration there are x (O - 1) running sequences and x I prompt tokens in it.
    The limits: x (O - 1 + iterations of a prompt) places, x (O - 1 + I) tokens of the batch. A running
    sequence holds I + O (1 + cv^2) / 2 tokens of cache on average over time, as long answers are met more
    often than short ones.
    """
    fresh = max(1.0, traffic.input_mean * (1 - profile.prefix_hit_ratio))
    held = traffic.input_mean + traffic.output_mean * (1 + traffic.output_cv**2) / 2
    places = profile.max_batch
    if profile.cache_tokens is not None:
        places = min(places, int(USABLE_CACHE_RATIO * profile.cache_tokens / held))
    chunks = mean_chunks(fresh, traffic.input_cv, profile.max_batched_tokens)
    per_sequence = profile.per_sequence_seconds + profile.per_cached_token_seconds * held
    further = traffic.output_mean - 1
    highest = min(places / (further + chunks), profile.max_batched_tokens / (further + fresh))
    seconds = (
        profile.iteration_seconds
        + highest * further * per_sequence
        + highest * fresh * profile.per_prefill_token_seconds
    )
    return Steady(places, fresh, held, chunks, per_sequence, highest, highest / seconds)


def is_checked(profile: TokensProfile, traffic: Traffic) -> bool:
    """True where percentiles were held to a simulation within ten percent.

    Not so where prompts fill the token budget before places are taken, or come in many chunks, or where the
    cache holds only a few sequences of different size.
    """
    steady = balance(profile, traffic)
    further = traffic.output_mean - 1
    is_budget_bound = profile.max_batched_tokens / (further + steady.fresh_tokens) <= (
        steady.places / (further + steady.prefill_iterations)
    )
    is_few = profile.cache_tokens is not None and steady.places < min(_FEW_SEQUENCES, profile.max_batch)
    return not is_budget_bound and steady.prefill_iterations < _MANY_CHUNKS and not is_few


def mean_chunks(mean: float, cv: float, chunk: float) -> float:
    """The mean of ceil(length / chunk) for a lognormal length."""
    if cv < _CONSTANT_CV:
        return float(math.ceil(mean / chunk))
    spread = math.sqrt(math.log1p(cv * cv))
    total = 1.0
    for count in range(1, 1000):
        deviate = (math.log(count * chunk / mean) + spread * spread / 2) / spread
        beyond = math.erfc(deviate / math.sqrt(2)) / 2
        total += beyond
        if beyond < 1e-6:
            break
    return total


def saturation_rate(profile: TokensProfile, traffic: Traffic) -> float:
    """Requests per second with every place of the batch taken all the time; 0 when no sequence fits."""
    return balance(profile, traffic).saturation_rate
