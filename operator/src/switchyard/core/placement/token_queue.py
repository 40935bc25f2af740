"""How long requests wait for a place of a language-model engine: the queue itself, simulated coarsely.

Counted in iterations, a sequence holds its place for a time that the load does not change: the iterations of
its prompt and one for each further token. So the replica is a queue of N servers on a clock of iterations,
whose seconds depend on what runs: a block of d iterations takes d (a + decoding sequences, their caches)
+ c x prompt tokens. Lanes, independent replicas, advance by blocks: what ends leaves, and what arrived in the
seconds of the block before (Poisson) is admitted first come first served as far as there are places. Prompt
tokens past the token budget of a block are left to the next.

This has what a birth-death chain has not: answers of any distribution, prompts that hold up the others and so
come in clumps, and waits that are not exponential. No constant is fitted; the numbers below weigh the
sampling error against time. Lanes start in the occupancy of the chain with what sequences have left in
equilibrium (lengths met in proportion to themselves), so that a few residence times settle them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from switchyard.core.placement.token_draws import (
    Floats,
    count_arrivals,
    draw_exponentials,
    draw_normals,
    draw_uniforms,
    stretch_lengths,
)
from switchyard.core.placement.token_occupancy import Occupancy
from switchyard.core.placement.tokens import Steady, TokensProfile, Traffic

Counts = NDArray[np.intp]

_BLOCKS_PER_RESIDENCE = 20
_SETTLING_BLOCKS = 5 * _BLOCKS_PER_RESIDENCE
_SEEN_BLOCKS = 8 * _BLOCKS_PER_RESIDENCE
_BLOCKS = _SETTLING_BLOCKS + _SEEN_BLOCKS
_SEQUENCES = 32_768  # that run at once in all lanes together, at most
_LANES = (1024, 512, 256, 128)  # few numbers, as each has tables of draws
_LENGTHS = 32_768  # sequences drawn, met in turn
WAIT_QUANTILES = 2048
_WAIT_RATIO = 1e-6  # of a block: less is rounding
_LARGE_MEAN = 4.0  # above it Poisson counts come from a Cornish-Fisher expansion


@dataclass(frozen=True, slots=True)
class Queue:
    """What the lanes saw, once settled."""

    chance: float  # that an arrival waits
    wait_seconds: Floats  # of those that waited, at evenly spread quantiles


class _Sequences:
    """Sequences met in turn: blocks in a place, and prompt tokens."""

    def __init__(self, blocks: Floats, prompts: Floats) -> None:
        self._blocks = blocks
        self._prompts = prompts
        self._next = 0

    def take(self, count: int) -> tuple[Floats, Floats]:
        """The next `count`."""
        chosen = (self._next + np.arange(count)) % _LENGTHS
        self._next = (self._next + count) % _LENGTHS
        return self._blocks[chosen], self._prompts[chosen]


def simulate_queue(
    profile: TokensProfile,
    traffic: Traffic,
    steady: Steady,
    rate: float,
    guess: Occupancy,
) -> Queue:
    """The queue at `rate` requests per second, started from places taken and an exponential wait."""
    places = steady.places
    lanes = next((each for each in _LANES if each * places <= _SEQUENCES), _LANES[-1])
    further = max(0.0, traffic.output_mean - 1)
    residence = further + steady.prefill_iterations
    block = residence / _BLOCKS_PER_RESIDENCE
    prompts = stretch_lengths(draw_normals(21, 1, _LENGTHS)[0], steady.fresh_tokens, traffic.input_cv)
    lengths = stretch_lengths(draw_normals(22, 1, _LENGTHS)[0], traffic.output_mean, traffic.output_cv)
    held = np.maximum(0.0, np.rint(lengths) - 1) + np.ceil(prompts / profile.max_batched_tokens)
    blocks = held / block + draw_uniforms(23, 1, _LENGTHS)[0]
    horizon = _BLOCKS + 2
    ends = np.zeros((horizon, lanes))
    freed = np.zeros((horizon, lanes))

    def enter(counts: Counts, at: int, taken: tuple[Floats, Floats], delay: Floats) -> Floats:
        lane = np.repeat(np.arange(lanes), counts)
        stays = np.maximum(1, (taken[0] + delay[lane]).astype(np.intp))
        until = np.minimum(at + stays, horizon - 1)
        index = until * lanes + lane
        np.add.at(ends.reshape(-1), index, 1.0)
        np.add.at(freed.reshape(-1), index, taken[1])
        return np.bincount(lane, weights=taken[1], minlength=lanes).astype(np.float64)

    marks = (np.arange(lanes) + 0.5) / lanes
    first: Counts = np.minimum(np.searchsorted(np.cumsum(guess.probability), marks), places)
    biased = held[np.searchsorted(np.cumsum(held), draw_uniforms(24, 1, _LENGTHS)[0] * held.sum())]
    residual = _Sequences(biased / block * draw_uniforms(25, 1, _LENGTHS)[0], prompts)
    cached = enter(first, -1, residual.take(int(first.sum())), np.zeros(lanes))
    running = first.astype(np.float64)
    waits = np.where(first == places, draw_exponentials(26, 1, lanes)[0] / guess.wait_decay, 0.0)
    waiting: Floats = np.floor(waits * rate)

    sequences = _Sequences(blocks, prompts)
    uniforms = draw_uniforms(27, _BLOCKS, lanes)
    normals = draw_normals(27, _BLOCKS, lanes)
    per_prompt_token = profile.per_cached_token_seconds * traffic.input_mean / steady.fresh_tokens
    per_sequence = steady.per_sequence_seconds - profile.per_cached_token_seconds * traffic.input_mean
    decoding_ratio = further / residence
    seconds = block * (profile.iteration_seconds + decoding_ratio * running * steady.per_sequence_seconds)
    prefill = profile.per_prefill_token_seconds
    seconds += prefill * rate * seconds * steady.fresh_tokens
    clock, arrived, admitted = (np.zeros((_BLOCKS + 1, lanes)) for _ in range(3))
    unread = np.zeros(lanes)
    arrived[0] = waiting
    for step in range(_BLOCKS):
        means: Floats = rate * seconds
        counts = count_arrivals(uniforms[step], np.minimum(means, _LARGE_MEAN))
        is_large = means > _LARGE_MEAN
        if is_large.any():
            z, large = normals[step][is_large], means[is_large]
            counts[is_large] = np.floor(large + np.sqrt(large) * z + (z * z - 1) / 6 + 0.5)
        counts = np.maximum(0.0, counts)
        running = running - ends[step]
        cached = cached - freed[step]
        entering = np.minimum(waiting + counts, places - running)
        budget = block * np.maximum(1.0, profile.max_batched_tokens - decoding_ratio * running)
        numbers = entering.astype(np.intp)
        begun = enter(numbers, step, sequences.take(int(numbers.sum())), unread / budget)
        waiting = waiting + counts - entering
        running = running + entering
        cached = cached + begun
        decode = profile.iteration_seconds + decoding_ratio * (
            running * per_sequence + cached * per_prompt_token
        )
        work = np.minimum(unread + begun, budget)
        unread = unread + begun - work
        seconds = block * decode + prefill * work
        clock[step + 1] = clock[step] + seconds
        arrived[step + 1] = arrived[step] + counts
        admitted[step + 1] = admitted[step] + entering
    return _read(_Record(rate, clock, arrived, admitted))


@dataclass(frozen=True, slots=True)
class _Record:
    """By block and lane: the seconds at its end, and requests until then."""

    rate: float
    clock: Floats
    arrived: Floats
    admitted: Floats


def _read(record: _Record) -> Queue:
    """The queue from one arrival of each block, which counts for all of them.

    It waits until as many were admitted as had arrived before it, both evenly within a block.
    """
    clock, arrived, admitted = record.clock, record.arrived, record.admitted
    lanes = clock.shape[1]
    seen = slice(_SETTLING_BLOCKS, _BLOCKS)
    weights = np.diff(arrived, axis=0)[seen].T
    moments = draw_uniforms(28, lanes, _BLOCKS - _SETTLING_BLOCKS)
    begins, ends = clock[:-1][seen].T, clock[1:][seen].T
    came = begins + moments * (ends - begins)
    ahead = arrived[:-1][seen].T + moments * weights
    offsets = np.arange(lanes)[:, None] * (float(arrived[-1].max()) + 2)
    reached = (admitted.T + offsets).ravel()
    times = clock.T.ravel()
    wanted = ahead + offsets
    last = (np.arange(lanes)[:, None] + 1) * (_BLOCKS + 1) - 1
    right = np.minimum(np.searchsorted(reached, wanted), last)
    left = np.maximum(right - 1, 0)
    height = reached[right] - reached[left]
    share = np.where(height > 0, (wanted - reached[left]) / np.where(height > 0, height, 1.0), 1.0)
    beyond = np.maximum(0.0, wanted - reached[right]) / record.rate  # admitted after the last block
    starts = times[left] + np.minimum(1.0, share) * (times[right] - times[left]) + beyond
    waits = starts - came
    does_wait = waits > _WAIT_RATIO * (ends - begins)
    chance = float(weights[does_wait].sum() / max(1.0, weights.sum()))
    return Queue(chance, _quantiles(waits[does_wait], weights[does_wait]))


def _quantiles(values: Floats, weights: Floats) -> Floats:
    """Values at evenly spread quantiles of their weight; zeros when there are none."""
    if not weights.sum():
        return np.zeros(WAIT_QUANTILES)
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order])
    marks = (np.arange(WAIT_QUANTILES) + 0.5) / WAIT_QUANTILES * reached[-1]
    found: Floats = values[order[np.searchsorted(reached, marks)]]
    return found
