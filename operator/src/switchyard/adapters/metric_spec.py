"""A metric as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Stability = Literal["stable", "alpha"]
MetricType = Literal["counter", "gauge", "histogram"]


@dataclass(frozen=True, slots=True)
class MetricSpec:
    name: str
    type: MetricType
    help: str
    labels: tuple[str, ...] = ()
    stability: Stability = "alpha"


MetricSample = tuple[MetricSpec, tuple[str, ...], float]  # labels in the order of the spec
