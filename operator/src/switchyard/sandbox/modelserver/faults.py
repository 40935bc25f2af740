"""Ways in which a simulated server can misbehave, switched by flags, environment or the admin path."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class Faults:
    """All zero: a healthy server. Ratios are shares of requests between 0 and 1."""

    slow_ratio: float = 0.0  # share of requests in the slow tail
    slow_factor: float = 10.0  # how much longer those take
    error_ratio: float = 0.0  # share answered with status 500
    wrong_ratio: float = 0.0  # share with an output that differs from the deterministic one
    wrong_above_inputs: int = 0  # inputs of one request past which its outputs are wrong; 0: never
    leak_bytes_per_request: int = 0  # kept for ever; past the memory limit the server dies
    cold_start_seconds: float = 0.0  # 503 for this long after the start
    metrics_error_ratio: float = 0.0  # share of looks at /metrics that are answered with status 503
    latency_factor: float = 1.0  # everything is this much slower
    tier: str = ""  # with one, only requests of this tier fail, are slow or get a wrong output


_RATIOS = ("slow_ratio", "error_ratio", "wrong_ratio", "metrics_error_ratio")


def change_faults(faults: Faults, changes: Mapping[str, Any]) -> Faults:
    """These faults with some fields replaced. ValueError names the field that is unknown or out of range."""
    known = {field.name: field.type for field in fields(Faults)}
    values: dict[str, Any] = {}
    for name, value in changes.items():
        if name not in known:
            raise ValueError(f"unknown fault {name!r}; known are {', '.join(sorted(known))}")
        if known[name] == "str":
            if not isinstance(value, str):
                raise ValueError(f"{name} must be a text, not {value!r}")
            values[name] = value
            continue
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
            raise ValueError(f"{name} must be a number of at least 0, not {value!r}")
        if name in _RATIOS and value > 1:
            raise ValueError(f"{name} is a share of requests and must be at most 1, not {value!r}")
        values[name] = int(value) if known[name] == "int" else float(value)
    return replace(faults, **values)
