"""What a simulated model answers: a function of model, prompt and seed alone."""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections.abc import Iterator
from typing import Any

_WORDS = (
    "the", "of", "and", "to", "in", "is", "for", "on", "with", "as", "by", "at", "from", "it", "an", "be",
    "this", "that", "or", "are", "which", "one", "not", "have", "can", "will", "more", "when", "each",
    "time", "route", "cost", "light", "signal", "track", "switch", "point", "line", "engine", "load",
    "rate", "slow", "fast", "near", "far", "model", "answer", "weight", "layer", "token", "batch", "queue",
    "node", "pool", "price", "power", "heat", "scale", "shape", "value", "field", "green", "blue",
)  # fmt: skip


def _digests(seed: int, model: str, prompt: str) -> Iterator[int]:
    """An endless stream of 32-bit numbers that only these three decide."""
    key = f"{seed}\0{model}\0{prompt}".encode()
    counter = 0
    while True:
        block = hashlib.blake2b(key, salt=struct.pack("<Q", counter), digest_size=64).digest()
        yield from struct.unpack("<16I", block)
        counter += 1


def write_tokens(model: str, prompt: str, count: int, seed: int = 0) -> list[str]:
    """`count` tokens of made-up text; the same model, prompt and seed always give the same ones."""
    numbers = _digests(seed, model, prompt)
    words = [_WORDS[next(numbers) % len(_WORDS)] for _ in range(count)]
    return [word if index == 0 else f" {word}" for index, word in enumerate(words)]


def embed(model: str, text: str, dimensions: int = 64, seed: int = 0) -> list[float]:
    """A vector of length 1 with `dimensions` entries."""
    numbers = _digests(seed, model, text)
    vector = [next(numbers) / 2**31 - 1.0 for _ in range(dimensions)]
    norm = math.sqrt(sum(x * x for x in vector)) or 1.0
    return [round(x / norm, 8) for x in vector]


def predict(model: str, instance: Any, seed: int = 0) -> dict[str, Any]:
    """A label and scores that sum to 1 for one instance of plain JSON."""
    text = json.dumps(instance, sort_keys=True, separators=(",", ":"))
    numbers = _digests(seed, model, text)
    weights = [1 + next(numbers) % 1000 for _ in range(3)]
    scores = [round(weight / sum(weights), 6) for weight in weights]
    label = max(range(3), key=scores.__getitem__)
    return {"label": f"class-{label}", "scores": scores}


def count_tokens(text: str) -> int:
    """A rough token count: about four characters each, at least one."""
    return max(1, (len(text) + 3) // 4)
