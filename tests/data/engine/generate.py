"""Writes observed.json beside it: what the simulated engine answers in every case, at every load.

Run from the repository with `python -m tests.data.engine.generate`; it takes some minutes.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from tests.unit.core.engine_cases import CASES, LOADS, METRICS
from tests.unit.core.engine_simulation import simulate

from switchyard.core.placement.tokens import saturation_rate

PERCENTS = (50, 94, 95, 96, 99)
REQUESTS = 30_000


def seeds_for(load: float) -> range:
    """More runs where waits are rare and long."""
    return range(1, 17) if load >= 0.8 else range(1, 5)


def observe(name: str, load: float) -> dict[str, dict[str, float]]:
    """Mean over the seeds of each percentile, by metric."""
    profile, traffic = CASES[name]
    rate = load * saturation_rate(profile, traffic)
    runs = [simulate(profile, traffic, rate=rate, requests=REQUESTS, seed=seed) for seed in seeds_for(load)]
    return {
        metric: {
            str(percent): float(f"{np.mean([run.percentile(metric, percent) for run in runs]):.5g}")
            for percent in PERCENTS
        }
        for metric in METRICS
    }


def main() -> None:
    found = {name: {str(load): observe(name, load) for load in LOADS} for name in CASES}
    path = Path(__file__).with_name("observed.json")
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
