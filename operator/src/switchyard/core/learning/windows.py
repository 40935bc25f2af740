"""What one minute of an engine says of its iterations, and whether it may be learned from."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from switchyard.core.learning.sample import EngineSample
from switchyard.core.learning.token_law import Seen
from switchyard.core.placement.latency import TokensProfile
from switchyard.core.placement.tokens import mean_chunks

KEPT_PER_MINUTE_RATIO = 0.98  # weight of a window after one more minute: half after 34 minutes
OLDEST_SECONDS = 6 * 3600.0  # a window then weighs less than a thousandth
_FIRST_TOKEN_LOOSENESS = 4.0  # the first token also waits, is tokenised and travels through the server
_WAITING_RATIO = 0.8  # of the batch: above it first tokens show the queue more than the prompt


def describe_refusal(sample: EngineSample) -> str:
    """Why nothing can be learned from this window, as a few words; empty when something can."""
    if not sample.is_warm:
        return "not warm"
    figures = (sample.running, sample.inter_token_seconds, sample.request_rate)
    if not all(0 <= value <= 1e6 for value in figures) or sample.inter_token_seconds < 1e-9:
        return "without figures"
    if sample.running < 1:
        return "nearly idle"
    return ""


def order_samples(samples: Iterable[EngineSample]) -> list[EngineSample]:
    """The samples by time, ties by what they say: the order in which they came changes nothing."""

    def key(sample: EngineSample) -> tuple[object, ...]:
        others = (sample.ttft_seconds, sample.input_tokens, sample.output_tokens, sample.kv_tokens)
        known = tuple(-1.0 if value is None else value for value in others)
        return (sample.at, sample.running, sample.inter_token_seconds, sample.request_rate, known)

    return sorted(samples, key=key)


def weigh(sample: EngineSample, now: datetime) -> float:
    """What a window of that age still counts."""
    minutes = max(0.0, (now - sample.at).total_seconds() / 60)
    return float(KEPT_PER_MINUTE_RATIO**minutes)


def read_iteration(
    sample: EngineSample, now: datetime, base: TokensProfile, iteration_seconds: float | None = None
) -> Seen:
    """The window's mean iteration.

    The prompt tokens in it are those that arrive while it runs. That product is taken with
    `iteration_seconds` where a first fit has smoothed it: the noise of the window would else stand on both
    sides, and count as prefill.
    """
    seconds = iteration_seconds or sample.inter_token_seconds
    return Seen(
        seconds=sample.inter_token_seconds,
        sequences=sample.running,
        prefill_tokens=_arriving_tokens(sample, base) * seconds,
        cached_tokens=_cached_tokens(sample),
        weight=weigh(sample, now),
    )


def read_first_token(sample: EngineSample, now: datetime, base: TokensProfile) -> Seen | None:
    """The window's mean first token; None where the engine does not tell, or where it mostly waited.

    An arrival waits for the rest of an iteration, then its prompt takes as many as its chunks, beside the
    prompts of others. It alone tells prefill from decoding where all requests are of one size: then running
    requests and prompt tokens rise and fall together (Little).
    """
    if not sample.ttft_seconds or not sample.input_tokens or sample.running > _WAITING_RATIO * base.max_batch:
        return None
    if not (sample.ttft_seconds <= 1e6 and sample.input_tokens <= 1e6):
        return None
    fresh = max(1.0, sample.input_tokens * (1 - base.prefix_hit_ratio))
    iterations = mean_chunks(fresh, 0.0, base.max_batched_tokens) + 0.5
    others = iterations * _arriving_tokens(sample, base) * sample.inter_token_seconds
    return Seen(
        seconds=sample.ttft_seconds,
        sequences=sample.running,
        prefill_tokens=fresh + others,
        cached_tokens=_cached_tokens(sample),
        iterations=iterations,
        weight=weigh(sample, now),
        looseness=_FIRST_TOKEN_LOOSENESS,
    )


def _arriving_tokens(sample: EngineSample, base: TokensProfile) -> float:
    """Prompt tokens to compute, per second."""
    return sample.request_rate * (sample.input_tokens or 0.0) * (1 - base.prefix_hit_ratio)


def _cached_tokens(sample: EngineSample) -> float:
    """Tokens in the cache, as told by the engine or as its running requests must hold."""
    if sample.kv_tokens is not None:
        return sample.kv_tokens
    return sample.running * ((sample.input_tokens or 0.0) + (sample.output_tokens or 0.0) / 2)
