"""Percentiles of what callers of a language model see at one rate.

Sampled: `_LANES` replicas, their running sequences spread over the occupancy of `token_occupancy`, each
followed through `_STEPS` iterations with its prompts (those that arrived in the iteration before, cut into
chunks of the token budget). The prompts set the tail: an iteration with 2,000 prompt tokens takes several
times as long as one without.

- gap between tokens: the iterations, each seen by the sequences that decode in it;
- first token: what is left of the iteration that the request meets, after the wait for a place
  (`token_queue`), then the iterations that its prompt takes behind the prompts before it;
- whole answer: first token + (length - 1) x mean time per token, which is E[n_d] / (rate (O - 1)) by Little's
  law, and varies with the number running as far as that lasts (the mean of an Ornstein-Uhlenbeck process
  over the answer).

Error of the p95 against an independent simulation, or between its p94 and p96, as where waits begin it grows
tenfold within 5 percent of load. 16 engines drawn at random, seen by no constant, at 30 to 92 percent of
saturation (tests/unit/core/test_latency_held_out.py): on 15 of them gaps -5 … +4 percent, answers -7 … +6,
first tokens within 10 percent (or two standard errors of the simulation) up to 85 percent of saturation; at
92 percent -11 at the worst, where that error is 3, and much too late at some knees. On the 16th, prompts
fill the token budget before places are taken: gaps -37, answers -27, first tokens +18 percent. On the 16
engines that the chain was fitted on (test_latency_tokens.py): within 10 percent or that band, answers 8;
later past 85 percent.

Known to be wrong: where the cache holds only some five sequences of very different size, preemption makes
first tokens up to three times as long; with prompts of seven chunks they are 27 percent early.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from switchyard.core.placement.token_draws import (
    Floats,
    count_arrivals,
    draw_normals,
    draw_uniforms,
    stretch_lengths,
    sum_lengths,
)
from switchyard.core.placement.token_occupancy import Occupancy, occupy_places, relaxation_rate
from switchyard.core.placement.token_queue import WAIT_QUANTILES, simulate_queue
from switchyard.core.placement.tokens import Steady, TokensProfile, Traffic, balance

# Shares of saturation at which the model is evaluated; between them it is interpolated linearly. As latency
# is convex in the load, that is on the safe side.
LOADS = (
    *(0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.55, 0.6, 0.65, 0.7, 0.74, 0.77, 0.8, 0.82, 0.84, 0.86, 0.88, 0.9),
    *(0.92, 0.935, 0.95, 0.97, 0.99),
)
_RARE_WAITS = 1e-4
_FEW_PLACES = 6  # below it the chain is close to exact, and lanes would take long to settle
_MANY_CHUNKS = (
    2.0  # from here on prompts queue for the token budget, of which the simulated queue knows little
)
_CAUTIOUS_LOAD = 0.85  # past it an early figure costs more than a late one
_QUANTILES = (np.arange(WAIT_QUANTILES) + 0.5) / WAIT_QUANTILES
_LANES = 1024
_STEPS = 48
_WARM_STEPS = 16
_SHAPE = (_STEPS - _WARM_STEPS, _LANES)
_BACKLOG_RATIO = 0.88  # fitted: backlog to start from, against that of M/G/1, so that 16 steps settle it
_BACKLOG_LOAD = 0.97  # highest load for which that backlog is taken
_PROMPT_MEMORY = 0.25  # fitted: share of a lane's own pace that lasts through an answer
_RECOMPUTED_RATIO = 1.25  # fitted: prompts per answer when the cache is full and sequences are preempted
_LEAST_PACE_RATIO = 0.3
_PERCENTS = np.arange(1, 100)

Metric = Literal["latency", "ttft", "tpot"]


@dataclass(frozen=True, slots=True)
class Figures:
    """Seconds by percentile 1 … 99."""

    ttft: tuple[float, ...]
    tpot: tuple[float, ...]
    latency: tuple[float, ...]

    def read(self, metric: Metric, percentile: int) -> float:
        """The seconds of one percentile."""
        figures: tuple[float, ...] = getattr(self, metric)
        return figures[percentile - 1]


@dataclass(frozen=True, slots=True)
class _Setting:
    """One engine at one rate, and the lanes that sample it."""

    profile: TokensProfile
    traffic: Traffic
    steady: Steady
    rate: float
    occupancy: Occupancy
    lanes: NDArray[np.intp]  # places taken
    wait_seconds: Floats  # for a place, in each lane that has none free

    @property
    def is_full(self) -> NDArray[np.bool_]:
        """The lanes in which all places are taken."""
        found: NDArray[np.bool_] = self.lanes == len(self.occupancy.probability) - 1
        return found

    @property
    def running(self) -> Floats:
        """Sequences that decode, by lane: where there are any, one at least."""
        mean = self.occupancy.decoding[self.lanes]
        return np.where(mean > 0, np.maximum(1.0, mean), 0.0)

    @property
    def decode_seconds(self) -> Floats:
        """An iteration without prompts, by lane."""
        return self.profile.iteration_seconds + self.running * self.steady.per_sequence_seconds

    @property
    def budget(self) -> Floats:
        """Prompt tokens that fit in an iteration, by lane."""
        return np.maximum(1.0, self.profile.max_batched_tokens - self.running)

    @property
    def inflow(self) -> Floats:
        """Prompts per second that begin, by lane."""
        preempts = _RECOMPUTED_RATIO if self.steady.places < self.profile.max_batch else 1.0
        return np.where(self.is_full, min(self.rate, self.occupancy.full_rate) * preempts, self.rate)


@dataclass(frozen=True, slots=True)
class _Run:
    """Iterations by step and lane."""

    seconds: Floats
    decoding: Floats  # sequences that get a token
    unread: Floats  # prompt tokens that wait for a later iteration


@lru_cache(maxsize=16384)
def figure_at(profile: TokensProfile, traffic: Traffic, load: float) -> Figures:
    """What callers see at a load, as a share of saturation below 1."""
    steady = balance(profile, traffic)
    if load <= 0:
        return _figure_alone(profile, traffic, steady)
    rate = load * steady.saturation_rate
    occupancy = occupy_places(profile, traffic, steady, rate)
    occupancy, waits = _wait(profile, traffic, steady, occupancy, load)
    setting = _Setting(profile, traffic, steady, rate, occupancy, _spread(occupancy), waits)
    run = _run(setting)
    first = _first_token_seconds(setting, run)
    further = _further_tokens(traffic)
    whole = first + further * _pace(setting, run, further)
    return Figures(
        _weigh(first, run.seconds),
        _weigh(run.seconds, run.decoding) if run.decoding.any() else (0.0,) * len(_PERCENTS),
        _weigh(whole, run.seconds),
    )


def _wait(
    profile: TokensProfile, traffic: Traffic, steady: Steady, occupancy: Occupancy, load: float
) -> tuple[Occupancy, Floats]:
    """The occupancy with the chance to find no place, and the seconds of such waits at even quantiles.

    Of the chain alone where hardly anyone waits, places are few or prompts take many chunks; otherwise of the
    simulated queue. Past `_CAUTIOUS_LOAD`, and where the cache limits the places (neither knows of preempted
    sequences), the longer wait of the two at each quantile.
    """
    chained = -np.log1p(-_QUANTILES) / occupancy.wait_decay
    is_simulated = steady.places >= _FEW_PLACES and steady.prefill_iterations < _MANY_CHUNKS
    if occupancy.waits < _RARE_WAITS or not is_simulated:
        return occupancy, chained
    queue = simulate_queue(profile, traffic, steady, load * steady.saturation_rate, occupancy)
    chance, waits = queue.chance, queue.wait_seconds
    if load > _CAUTIOUS_LOAD or steady.places < profile.max_batch:
        highest = max(chance, occupancy.waits)
        beyond = (1 - _QUANTILES) * highest
        waits = np.maximum(
            _read_beyond(waits, beyond, chance), _read_beyond(chained, beyond, occupancy.waits)
        )
        chance = highest
    below = occupancy.probability[:-1]
    shared = np.append(below * (1 - chance) / below.sum(), chance)
    return replace(occupancy, probability=shared), waits


def _read_beyond(waits: Floats, beyond: Floats, chance: float) -> Floats:
    """The waits exceeded with each chance `beyond`, when `chance` is that of any wait."""
    if chance <= 0:
        return np.zeros_like(beyond)
    return np.where(beyond < chance, np.interp(1 - beyond / chance, _QUANTILES, waits), 0.0)


def _spread(occupancy: Occupancy) -> NDArray[np.intp]:
    """Places taken in each lane, so that the lanes together have the occupancy."""
    marks = (np.arange(_LANES) + 0.5) / _LANES
    lanes = np.searchsorted(np.cumsum(occupancy.probability), marks)
    return np.minimum(lanes, len(occupancy.probability) - 1)


def _run(setting: _Setting) -> _Run:
    """The iterations of every lane, after a warm-up."""
    running, inflow, budget = setting.running, setting.inflow, setting.budget
    prefill, fresh = setting.profile.per_prefill_token_seconds, setting.steady.fresh_tokens
    # a prompt meets the sequences of its lane; where all places are taken it holds one of them itself
    beside = np.where(setting.is_full, np.minimum(running, setting.lanes - 1), running)
    uniforms = draw_uniforms(1, _STEPS, _LANES)
    normals = draw_normals(2, _STEPS, _LANES)
    seconds, decoding, unread = (np.empty((_STEPS, _LANES)) for _ in range(3))
    backlog = _first_backlog(setting)
    for step in range(_STEPS):
        work = np.minimum(backlog, budget)
        decoding[step] = np.where(work > 0, beside, running)
        decode = setting.profile.iteration_seconds + decoding[step] * setting.steady.per_sequence_seconds
        seconds[step] = decode + prefill * work
        unread[step] = backlog - work
        arrived = count_arrivals(uniforms[step], inflow * seconds[step])
        backlog = unread[step] + sum_lengths(arrived, normals[step], fresh, setting.traffic.input_cv)
    return _Run(seconds[_WARM_STEPS:], decoding[_WARM_STEPS:], unread[_WARM_STEPS:])


def _first_backlog(setting: _Setting) -> Floats:
    """Prompt tokens that wait at the start, by lane: of M/G/1, exponential (Pollaczek-Khinchine)."""
    budget, fresh = setting.budget, setting.steady.fresh_tokens
    full_seconds = setting.decode_seconds + setting.profile.per_prefill_token_seconds * budget
    load = np.clip(setting.inflow * fresh * full_seconds / budget, 0.0, _BACKLOG_LOAD)
    chance = draw_uniforms(11, 1, _LANES)[0]
    height = np.where(chance < load, np.log(np.maximum(load, chance) / chance), 0.0)
    mean = _BACKLOG_RATIO * fresh * (1 + setting.traffic.input_cv**2) / 2 / (1 - load)
    return np.minimum(height * mean, setting.steady.places * fresh)


def _first_token_seconds(setting: _Setting, run: _Run) -> Floats:
    """Of a request that arrives at a random moment of each iteration."""
    fresh, cv = setting.steady.fresh_tokens, setting.traffic.input_cv
    budget, inflow, decode = setting.budget, setting.inflow, setting.decode_seconds
    prefill = setting.profile.per_prefill_token_seconds

    def arrive(stream: int, share: Floats) -> Floats:
        counts = count_arrivals(draw_uniforms(stream, *_SHAPE), inflow * run.seconds * share)
        return sum_lengths(counts, draw_normals(stream + 1, *_SHAPE), fresh, cv)

    left = draw_uniforms(4, *_SHAPE)  # share of the iteration still to come
    own = stretch_lengths(draw_normals(3, *_SHAPE), fresh, cv)
    tokens = run.unread + arrive(5, 1 - left) + own
    chunks = np.ceil(tokens / budget)
    behind = arrive(7, left) + inflow * (decode + prefill * budget) * (chunks - 1) * fresh
    filled = np.minimum(budget * chunks, tokens + behind)  # those behind fill up the last iteration
    places = draw_uniforms(9, *_SHAPE) * len(setting.wait_seconds)
    waits = setting.wait_seconds[places.astype(np.intp)] + left * run.seconds
    meets_work = (setting.lanes > 0) & ~setting.is_full
    before = np.where(setting.is_full, waits, np.where(meets_work, left * run.seconds, 0.0))
    total: Floats = before + chunks * decode + prefill * filled
    return total


def _further_tokens(traffic: Traffic) -> Floats:
    """Tokens of an answer after the first."""
    lengths = stretch_lengths(draw_normals(10, *_SHAPE), traffic.output_mean, traffic.output_cv)
    return np.maximum(0.0, lengths - 1)


def _pace(setting: _Setting, run: _Run, further: Floats) -> Floats:
    """Seconds per token of answers with `further` tokens after the first."""
    traffic, occupancy, rate = setting.traffic, setting.occupancy, setting.rate
    if traffic.output_mean <= 1:
        return np.zeros_like(further)
    mean = float(occupancy.decoding @ occupancy.probability) / (rate * (traffic.output_mean - 1))
    expected = occupancy.iteration_seconds[setting.lanes]
    expected = expected / expected.mean()
    observed = run.seconds.mean(axis=0)
    observed = observed / observed.mean()
    span = np.maximum(1e-6, further * mean * relaxation_rate(occupancy, rate))
    lasting = np.sqrt(np.minimum(1.0, 2 * (span - 1 + np.exp(-span)) / span**2))
    remembered = _PROMPT_MEMORY * np.sqrt(np.minimum(1.0, len(run.seconds) / np.maximum(further, 1.0)))
    swing = lasting * (expected - 1) + remembered * (observed - expected)
    pace: Floats = mean * np.maximum(_LEAST_PACE_RATIO, 1 + swing)
    return pace


def _figure_alone(profile: TokensProfile, traffic: Traffic, steady: Steady) -> Figures:
    """What a request sees that meets an idle replica."""
    own = stretch_lengths(draw_normals(3, *_SHAPE), steady.fresh_tokens, traffic.input_cv)
    chunks = np.ceil(own / profile.max_batched_tokens)
    first = chunks * profile.iteration_seconds + profile.per_prefill_token_seconds * own
    further = _further_tokens(traffic)
    gap = profile.iteration_seconds + steady.per_sequence_seconds if traffic.output_mean > 1 else 0.0
    evenly = np.ones(_SHAPE)
    return Figures(_weigh(first, evenly), (gap,) * len(_PERCENTS), _weigh(first + further * gap, evenly))


def _weigh(values: Floats, weights: Floats) -> tuple[float, ...]:
    """Percentiles 1 … 99 of weighted values, to six digits: the last bit of `exp` changes nothing."""
    order = np.argsort(values, axis=None, kind="stable")
    reached = np.cumsum(weights.ravel()[order])
    found = order[np.searchsorted(reached, reached[-1] * _PERCENTS / 100)]
    return tuple(float(f"{value:.6g}") for value in values.ravel()[found].tolist())


def token_percentile_seconds(
    profile: TokensProfile, traffic: Traffic, load: float, percentile: int, metric: Metric
) -> float:
    """Seconds within which `percentile` percent lie at a share of saturation; infinite past the last load."""
    if load > LOADS[-1]:
        return math.inf
    right = bisect_left(LOADS, load)
    above = figure_at(profile, traffic, LOADS[right]).read(metric, percentile)
    if LOADS[right] == load:
        return above
    below = figure_at(profile, traffic, LOADS[right - 1]).read(metric, percentile)
    share = (load - LOADS[right - 1]) / (LOADS[right] - LOADS[right - 1])
    return below + share * (above - below)


def find_token_load(
    profile: TokensProfile, traffic: Traffic, promise: tuple[int, Metric, float], *, highest: float
) -> float:
    """The highest share of saturation, up to `highest`, that keeps `promise`: percentile, metric, seconds.

    0 when an idle replica misses it. By bisection over LOADS, then on the line between two of them.
    """
    percentile, metric, seconds = promise

    def figure(load: float) -> float:
        return figure_at(profile, traffic, load).read(metric, percentile)

    loads = [each for each in LOADS if each < highest] + [highest]
    kept, missed = -1, len(loads)
    while missed - kept > 1:
        middle = (kept + missed) // 2
        if figure(loads[middle]) <= seconds:
            kept = middle
        else:
            missed = middle
    if kept < 0:
        return 0.0
    if missed == len(loads):
        return highest
    below, above = figure(loads[kept]), figure(loads[missed])
    return loads[kept] + (loads[missed] - loads[kept]) * (seconds - below) / (above - below)
