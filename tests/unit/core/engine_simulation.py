"""A simulated language-model engine, iteration by iteration: what the percentiles of tokens are checked against.

Nothing is shared with the model under test. Requests arrive as a Poisson stream with lognormal lengths and wait
first in first out for a place. An iteration gives one token to every sequence past its prompt, and spends what is
left of the token budget on prompts, oldest first, in chunks. A sequence's first token comes with the last chunk of
its prompt. When the cache overflows, the youngest sequence goes back to the head of the queue and is computed
again, as vLLM does.
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass

import numpy as np

from switchyard.core.placement.tokens import TokensProfile, Traffic


@dataclass(frozen=True)
class Observed:
    """Seconds, each sorted: to the first token, of whole answers, and between tokens (with how many saw each)."""

    ttft: np.ndarray
    latency: np.ndarray
    gaps: np.ndarray
    gap_counts: np.ndarray

    def percentile(self, metric: str, percent: float) -> float:
        """The value below which `percent` percent lie."""
        if metric == "tpot":
            if not len(self.gaps):
                return 0.0
            reached = np.cumsum(self.gap_counts)
            return float(self.gaps[np.searchsorted(reached, reached[-1] * percent / 100)])
        ordered = self.ttft if metric == "ttft" else self.latency
        return float(ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))])


class _Sequence:
    __slots__ = ("arrived", "emitted", "fresh", "held", "is_dropped", "left", "output", "prompt")

    def __init__(self, arrived: float, prompt: int, fresh: int, output: int) -> None:
        self.arrived = arrived
        self.prompt = prompt
        self.fresh = fresh  # prompt tokens to compute
        self.left = fresh
        self.output = output
        self.emitted = 0
        self.held = 0
        self.is_dropped = False


def simulate(profile: TokensProfile, traffic: Traffic, *, rate: float, requests: int, seed: int) -> Observed:
    """What the requests see, the first tenth left out as warm-up."""
    source = np.random.default_rng(seed)
    arrivals = np.cumsum(source.exponential(1 / rate, requests)).tolist()
    prompts = _lengths(source, traffic.input_mean, traffic.input_cv, requests)
    outputs = _lengths(source, traffic.output_mean, traffic.output_cv, requests)
    capacity = profile.cache_tokens or 10**15
    miss = 1 - profile.prefix_hit_ratio
    a, b = profile.iteration_seconds, profile.per_sequence_seconds
    c, g = profile.per_prefill_token_seconds, profile.per_cached_token_seconds
    waiting: deque[_Sequence] = deque()
    prefilling: deque[_Sequence] = deque()
    ends: list[tuple[int, int, _Sequence]] = []  # iteration of the last token, tie-break
    order: deque[_Sequence] = deque()  # running, oldest first (ended ones are skipped)
    warm = arrivals[requests // 10]
    ttft: list[float] = []
    latency: list[float] = []
    gaps: list[float] = []
    gap_counts: list[int] = []
    now, following, step, decoding, cached = 0.0, 0, 0, 0, 0
    while len(latency) < requests * 0.98 and (following < requests or waiting or prefilling or decoding):
        if not (waiting or prefilling or decoding):
            now = max(now, arrivals[following])
        while following < requests and arrivals[following] <= now:
            prompt = prompts[following]
            fresh = max(1, round(prompt * miss))
            waiting.append(_Sequence(arrivals[following], prompt, fresh, outputs[following]))
            following += 1
        step += 1
        while cached + decoding > capacity and decoding + len(prefilling) > 1:  # no room for the next tokens
            victim = order.pop()
            if victim.is_dropped or victim.emitted < 0:
                continue
            cached -= victim.held if victim.left else victim.held + step - 1 - victim.emitted
            if victim.left:
                prefilling.remove(victim)
                left = victim
            else:
                decoding -= 1
                done = step - 1 - victim.emitted + 1
                left = _Sequence(victim.arrived, victim.prompt, victim.fresh, victim.output - done)
                left.fresh = victim.fresh + done
                left.prompt = victim.prompt + done
                left.emitted = 1  # its first token is out already
                victim.is_dropped = True
            left.left, left.held = left.fresh, 0
            waiting.appendleft(left)
        budget = profile.max_batched_tokens - decoding
        work = 0
        finished: list[_Sequence] = []
        for sequence in prefilling:
            if budget <= 0:
                break
            part = min(budget, sequence.left)
            sequence.left -= part
            budget -= part
            work += part
            if not sequence.left:
                finished.append(sequence)
        while waiting and budget > 0 and decoding + len(prefilling) < profile.max_batch:
            sequence = waiting[0]
            if cached + decoding + sequence.prompt > capacity and decoding + len(prefilling) > 0:
                break
            waiting.popleft()
            sequence.held = sequence.prompt
            cached += sequence.prompt
            part = min(budget, sequence.left)
            sequence.left -= part
            budget -= part
            work += part
            prefilling.append(sequence)
            order.append(sequence)
            if not sequence.left:
                finished.append(sequence)
        read = cached - sum(each.held for each in prefilling) if g else 0
        seconds = a + b * decoding + c * work + g * read
        now += seconds
        if decoding and now > warm:
            gaps.append(seconds)
            gap_counts.append(decoding)
        cached += decoding
        while ends and ends[0][0] == step:
            sequence = heapq.heappop(ends)[2]
            if sequence.is_dropped:
                continue
            decoding -= 1
            cached -= sequence.held + step - sequence.emitted
            sequence.emitted = -1
            if sequence.arrived > warm:
                latency.append(now - sequence.arrived)
        for sequence in finished:
            prefilling.remove(sequence)
            is_first = sequence.emitted == 0
            if is_first and sequence.arrived > warm:
                ttft.append(now - sequence.arrived)
            if sequence.output <= 1:
                cached -= sequence.held
                sequence.emitted = -1
                if sequence.arrived > warm:
                    latency.append(now - sequence.arrived)
                continue
            sequence.emitted = step  # from here on its age in steps counts its tokens
            decoding += 1
            heapq.heappush(ends, (step + sequence.output - 1, id(sequence), sequence))
        if len(order) > 8 * (decoding + len(prefilling) + 8):
            order = deque(each for each in order if not each.is_dropped and each.emitted >= 0)
    by_size = np.argsort(gaps)
    return Observed(
        np.sort(ttft), np.sort(latency), np.asarray(gaps)[by_size], np.asarray(gap_counts)[by_size]
    )


def _lengths(source: np.random.Generator, mean: float, cv: float, count: int) -> list[int]:
    variance = np.log1p(cv**2)
    drawn = (
        mean * np.exp(source.normal(-variance / 2, np.sqrt(variance), count)) if cv else np.full(count, mean)
    )
    return np.maximum(1, np.rint(drawn)).astype(int).tolist()
