"""Engines and traffic drawn at random: no constant of the model has seen them."""

from __future__ import annotations

import math

import numpy as np

from switchyard.core.placement.tokens import TokensProfile, Traffic

LOADS = (0.3, 0.5, 0.7, 0.85, 0.92)
HELD_OUT_SEED = 20_261
HELD_OUT_COUNT = 16


def draw_engines(seed: int, count: int) -> list[tuple[TokensProfile, Traffic]]:
    """`count` engines with their traffic, the same for the same seed."""
    source = np.random.default_rng(seed)
    return [_draw(source) for _ in range(count)]


def _draw(source: np.random.Generator) -> tuple[TokensProfile, Traffic]:
    def spread(low: float, high: float) -> float:
        return float(f"{math.exp(source.uniform(math.log(low), math.log(high))):.4g}")

    def evenly(low: float, high: float) -> float:
        return round(float(source.uniform(low, high)), 2)

    traffic = Traffic(spread(100, 5000), evenly(0, 1.4), spread(20, 600), evenly(0, 1.3))
    iteration = spread(0.005, 0.04)
    batch = round(spread(6, 256))
    has_cache_limit, shares_prefixes = source.random() < 0.2, source.random() < 0.25
    room, hits = evenly(0.5, 1.2), evenly(0.2, 0.8)
    held = traffic.input_mean + traffic.output_mean
    profile = TokensProfile(
        iteration,
        iteration * spread(0.002, 0.02),
        iteration * spread(0.0007, 0.004),
        iteration * spread(2e-7, 5e-6) * 256 / batch,
        batch,
        int(source.choice([512, 1024, 2048, 4096, 8192])),
        round(room * batch * held) if has_cache_limit else None,
        hits if shares_prefixes else 0.0,
    )
    return profile, traffic
