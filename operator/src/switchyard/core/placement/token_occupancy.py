"""How many sequences one replica of a language-model engine runs, at one rate: a birth-death chain.

State k: k requests are in the replica, n = min(k, N) hold a place. A running sequence gains one token by
iteration, so the replica is a processor-sharing queue; its occupancy below N depends only on the mean of
answer lengths, not on their distribution (Kelly, "Reversibility and Stochastic Networks", section 3.3).

Iterations: decode(n) = a + n_d (b + g held); prompts stretch them by the share of time that they take,
T(n) = decode(n) / (1 - rate c I), as prompts come with arrivals and not with the sequences that run. With all
places taken a prompt comes with every answer that ends, which gives T(N) at balance.

An arrival also holds up the others for c I seconds, in which more arrive: arrivals come in clumps, as large
as the progeny of a branching process of mean m = rate c I and variance s = m + m^2 cv^2. The variance of the
process against a Poisson stream is D = (1 + s / (1 - m)^2 + 1 / (1 - m)) / 2; the log of the stationary
distribution is divided by it (the diffusion limit: density ~ exp of the integral of 2 drift / variance).

Those who wait for a place do so for an exponential time of rate (mu(N) - rate) * 2 / (1 + v). v is the
squared variation of answer lengths (Allen and Cunneen), drawn to 1 where the simulation shows it to matter
less: for long tails in wide batches, and for v < 1 below saturation (as Cosmetatos corrects M/D/c).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from switchyard.core.placement.tokens import Steady, TokensProfile, Traffic

Floats = NDArray[np.float64]

_BISECTIONS = 40
_LONGEST_SECONDS = 1e6  # stands in for an iteration whose prompts never end
_HIGHEST_PROMPT_SHARE = 0.95
_TAIL_EXPONENT = 0.5  # fitted: weight of v - 1 falls as N^-0.5 when v > 1
_CLUMPING = 1.2  # fitted: D - 1 against the formula
_NARROW_PLACES = 4  # up to this many places v < 1 counts in full
_DAMPING = 1.5  # fitted: how fast v < 1 loses weight as the load falls


@dataclass(frozen=True, slots=True)
class Occupancy:
    """What an arriving request meets at one rate, by the number of places taken, 0 … N."""

    probability: Floats  # the last: all places taken, so that it waits
    decoding: Floats  # sequences past their prompt
    iteration_seconds: Floats  # mean, prompts included
    full_rate: float  # requests per second that leave with all places taken
    wait_decay: float  # per second: P(wait > t | waits) = exp(-wait_decay * t)
    dispersion: float  # D

    @property
    def waits(self) -> float:
        """The chance to find no place."""
        return float(self.probability[-1])


def occupy_places(profile: TokensProfile, traffic: Traffic, steady: Steady, rate: float) -> Occupancy:
    """The occupancy at `rate` requests per second, above 0 and below saturation."""
    further = traffic.output_mean - 1
    started = _starts_by_places(profile, traffic, steady)
    decoding = started * further
    decode = profile.iteration_seconds + decoding * steady.per_sequence_seconds
    prefill = profile.per_prefill_token_seconds
    share = rate * prefill * steady.fresh_tokens
    stretched = decode / (1 - share) if share < 1 else np.full_like(decode, _LONGEST_SECONDS)
    seconds = np.minimum(stretched, decode + prefill * (profile.max_batched_tokens - decoding))
    seconds[-1] = decode[-1] + started[-1] * steady.fresh_tokens * prefill
    leaving = started[1:] / seconds[1:]
    dispersion = _disperse(min(share, _HIGHEST_PROMPT_SHARE), traffic.input_cv)
    dispersion *= 1 + _weight_variation(profile, traffic, steady) ** 2
    logs = np.concatenate(([0.0], np.cumsum(np.log(rate / leaving)) / dispersion))
    weights = np.exp(logs - logs.max())
    full_rate = max(float(leaving[-1]), rate * 1.001)
    load = rate / full_rate
    weights[-1] /= 1 - load
    decay = (full_rate - rate) * 2 / (1 + _answer_variation(traffic, steady.places, load))
    return Occupancy(weights / weights.sum(), decoding, seconds, full_rate, decay, dispersion)


def _starts_by_places(profile: TokensProfile, traffic: Traffic, steady: Steady) -> Floats:
    """Requests that one iteration starts (and ends) in balance, with 0 … N places taken.

    x starts take x (O - 1) places to decode and x times the iterations of a prompt, with its wait for the
    token budget of the batch: M/G/1 in units of chunks (Pollaczek-Khinchine).
    """
    places = np.arange(steady.places + 1, dtype=np.float64)
    further = traffic.output_mean - 1
    budget = profile.max_batched_tokens / (further + steady.fresh_tokens)
    square = (steady.fresh_tokens / profile.max_batched_tokens) ** 2 * (1 + traffic.input_cv**2)
    low = np.zeros_like(places)
    high = np.minimum(budget * (1 - 1e-9), places / (further + steady.prefill_iterations))
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        queued = middle * square / (2 * (1 - middle / budget))
        is_above = middle * (further + steady.prefill_iterations + queued) > places
        high = np.where(is_above, middle, high)
        low = np.where(is_above, low, middle)
    return high


def _disperse(share: float, input_cv: float) -> float:
    """D of the module's docstring."""
    variance = share + share * share * input_cv * input_cv
    clumped = (1 + variance / (1 - share) ** 2 + 1 / (1 - share)) / 2
    return 1 + _CLUMPING * (clumped - 1)


def _weight_variation(profile: TokensProfile, traffic: Traffic, steady: Steady) -> float:
    """How much sequences differ in what they add to an iteration, as their prompts in the cache do."""
    if not steady.per_sequence_seconds:
        return 0.0
    prompts = profile.per_cached_token_seconds * traffic.input_mean
    return prompts * traffic.input_cv / steady.per_sequence_seconds


def _answer_variation(traffic: Traffic, places: int, load: float) -> float:
    """V of the module's docstring."""
    spread = traffic.output_cv * (traffic.output_mean - 1) / traffic.output_mean
    variation = spread * spread
    if variation > 1:
        return float(1 + (variation - 1) * places**-_TAIL_EXPONENT)
    weight = 1 - min(1.0, _DAMPING * (1 - load)) * max(0.0, 1 - _NARROW_PLACES / places)
    return 1 + (variation - 1) * weight


def relaxation_rate(occupancy: Occupancy, rate: float) -> float:
    """Per second: how fast the number of running sequences forgets (of a diffusion: D rate / variance)."""
    mean = float(occupancy.decoding @ occupancy.probability)
    variance = float(occupancy.decoding**2 @ occupancy.probability) - mean * mean
    return occupancy.dispersion * rate / max(variance, 1e-9) if math.isfinite(variance) else 0.0
