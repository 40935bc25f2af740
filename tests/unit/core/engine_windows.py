"""Windows of a simulated engine, iteration by iteration: what learning is checked against.

Nothing is shared with the code under test. Every iteration lasts a + b n + c p + g k seconds times noise; a window
is what the engine's own counters would show of it: time averages, token averages, rates.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from switchyard.core.learning.sample import EngineSample

START = datetime(2026, 10, 1, 8, 0, tzinfo=UTC)


@dataclass(frozen=True)
class Truth:
    a: float = 0.008
    b: float = 0.0002
    c: float = 0.00002
    g: float = 2e-8
    places: int = 64
    chunk: int = 2048


class _Running:
    def __init__(self, arrived: float, prompt: int, output: int) -> None:
        self.arrived, self.prompt, self.left, self.output, self.emitted = arrived, prompt, prompt, output, 0


def record(
    truth: Callable[[int], Truth],
    rates: list[float],
    *,
    input_mean: float | Callable[[int], float] = 500.0,
    output_mean: float = 150.0,
    cv: float = 0.5,
    noise: float = 0.0,
    window_seconds: float = 60.0,
    seed: int = 1,
) -> list[EngineSample]:
    """One window per rate; the engine in window i is truth(i). The first window warms up and is not warm."""
    source = random.Random(seed)
    queue: list[_Running] = []
    running: list[_Running] = []
    samples = []
    now = 0.0
    size = input_mean if callable(input_mean) else lambda _: input_mean
    due = source.expovariate(rates[0])
    for number, rate in enumerate(rates):
        law, until = truth(number), (number + 1) * window_seconds
        area = cached_area = tokens = token_seconds = 0.0
        firsts: list[float] = []
        finished: list[_Running] = []
        while now < until:
            while due <= now:
                queue.append(_Running(due, _draw(source, size(number), cv), _draw(source, output_mean, cv)))
                due += source.expovariate(rate)
            budget, prefilled = law.chunk, 0
            decoding = [each for each in running if not each.left]
            filling = [each for each in running if each.left]
            while queue and len(running) < law.places and sum(each.left for each in filling) < budget:
                filling.append(queue.pop(0))
                running.append(filling[-1])
            done = []
            for each in filling:
                part = min(each.left, budget - prefilled)
                each.left -= part
                prefilled += part
                if not each.left:
                    done.append(each)
            if not running:
                now = min(due, until)
                continue
            held = sum(each.prompt + each.emitted for each in decoding)
            seconds = law.a + law.b * len(decoding) + law.c * prefilled + law.g * held
            seconds *= source.lognormvariate(0, noise) if noise else 1.0
            now += seconds
            area += len(running) * seconds
            cached_area += sum(each.prompt - each.left + each.emitted for each in running) * seconds
            tokens += len(decoding)
            token_seconds += seconds * len(decoding)
            firsts += [now - each.arrived for each in done]
            for each in decoding + done:
                each.emitted += 1
            finished += [each for each in running if each.emitted >= each.output]
            running = [each for each in running if each.emitted < each.output]
        if not tokens or not finished:
            continue
        samples.append(
            EngineSample(
                at=START + timedelta(seconds=until),
                variant="fp16",
                pool="l4",
                running=area / window_seconds,
                inter_token_seconds=token_seconds / tokens,
                ttft_seconds=sum(firsts) / len(firsts) if firsts else None,
                request_rate=len(finished) / window_seconds,
                input_tokens=sum(each.prompt for each in finished) / len(finished),
                output_tokens=sum(each.output for each in finished) / len(finished),
                kv_tokens=cached_area / window_seconds,
                is_warm=number > 0,
            )
        )
    return samples


def _draw(source: random.Random, mean: float, cv: float) -> int:
    variance = math.log1p(cv * cv)
    return max(1, round(mean * source.lognormvariate(-variance / 2, math.sqrt(variance))))
