"""Random numbers that are the same on every machine and at every rate, and what is drawn with them.

Common random numbers make neighbouring rates comparable: what differs between two percentiles is the rate,
not the luck. They come from a hash of their position (splitmix64; Steele, Lea, Flood, 2014), not from a
library's generator, whose stream may change with its version.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

Floats = NDArray[np.float64]

_INCREMENT = 0x9E3779B97F4A7C15
_STREAM_STEP = 0xD1342543DE82EF95
_WORD = 2**64
_MOST_ARRIVALS = 1000


@cache
def draw_uniforms(stream: int, rows: int, columns: int) -> Floats:
    """Numbers in (0, 1), the same for the same stream; every row holds each of its `columns` strata once.

    Strata in random order keep the sampling error far below that of free draws. Read-only.
    """
    start = np.uint64(stream * _STREAM_STEP % _WORD)
    word = (np.arange(1, rows * columns + 1, dtype=np.uint64) + start) * np.uint64(_INCREMENT)
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    word ^= word >> np.uint64(31)
    order = np.argsort(word.reshape(rows, columns), axis=1, kind="stable")
    numbers: Floats = (order + 0.5) / columns
    numbers.flags.writeable = False
    return numbers


@cache
def draw_normals(stream: int, rows: int, columns: int) -> Floats:
    """Standard normal numbers, drawn as the uniform ones. Read-only."""
    numbers: Floats = ndtri(draw_uniforms(stream, rows, columns))
    numbers.flags.writeable = False
    return numbers


@cache
def draw_exponentials(stream: int, rows: int, columns: int) -> Floats:
    """Exponential numbers of mean 1, drawn as the uniform ones. Read-only."""
    numbers: Floats = -np.log(draw_uniforms(stream, rows, columns))
    numbers.flags.writeable = False
    return numbers


def count_arrivals(uniforms: Floats, means: Floats) -> Floats:
    """Poisson counts of those means, by inversion."""
    counts = np.zeros_like(means)
    chance = np.exp(-means)
    reached = chance.copy()
    for count in range(1, _MOST_ARRIVALS):
        is_more = uniforms > reached
        if not is_more.any():
            break
        counts += is_more
        chance = chance * means / count
        reached += chance
    return counts


def sum_lengths(counts: Floats, normals: Floats, mean: float, cv: float) -> Floats:
    """The sum of `counts` lognormal lengths, as a lognormal of the same moments (Fenton, Wilkinson)."""
    variance = np.log1p(cv * cv / np.maximum(counts, 1.0))
    sums: Floats = counts * mean * np.exp(np.sqrt(variance) * normals - variance / 2)
    return sums


def stretch_lengths(normals: Floats, mean: float, cv: float) -> Floats:
    """Lognormal lengths of that mean and variation."""
    variance = math.log1p(cv * cv)
    lengths: Floats = mean * np.exp(math.sqrt(variance) * normals - variance / 2)
    return lengths
