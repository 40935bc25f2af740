"""The baseline's shares of bad requests, which the candidate is held to once the baseline answers nothing.

They outlive the stages that they were counted in: the only evidence that does.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

_PREFIX = "reference/"
_MOST_REQUESTS = 1_000_000

Reference = dict[str, tuple[int, int]]  # requests and bad ones, by measure


def name_reference(segment: str) -> str:
    """The key of a segment's reference in the evidence."""
    return f"{_PREFIX}{segment}"


def keep_references(evidence: Mapping[str, str]) -> dict[str, str]:
    """What of the evidence outlives its stage."""
    return {key: text for key, text in evidence.items() if key.startswith(_PREFIX)}


def read_reference(text: str, attempt: int) -> Reference:
    """The reference of this attempt; empty where there is none, or none that can be read."""
    try:
        plain = json.loads(text)
        if plain["attempt"] != attempt:
            return {}
        return {str(name): (int(pair[0]), int(pair[1])) for name, pair in plain["measures"].items()}
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError, OverflowError):
        return {}


def extend_reference(known: tuple[int, int], requests: int, bad: int) -> tuple[int, int]:
    """With a window's requests and bad ones; of very many the newest weigh most."""
    total, all_bad = known[0] + requests, known[1] + bad
    return (total // 2, math.ceil(all_bad / 2)) if total > _MOST_REQUESTS else (total, all_bad)


def write_reference(reference: Reference, attempt: int) -> str:
    """The text of a reference."""
    told = {"attempt": attempt, "measures": reference}
    return json.dumps(told, separators=(",", ":"), sort_keys=True)
