"""Writes held_out.json beside it: what the simulated engine answers for engines drawn at random.

Run from the repository with `python -m tests.data.engine.generate_held_out`; it takes some ten minutes.
"""

from __future__ import annotations

import json
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from tests.unit.core.engine_cases import METRICS
from tests.unit.core.engine_simulation import simulate
from tests.unit.core.random_engines import HELD_OUT_COUNT, HELD_OUT_SEED, LOADS, draw_engines

from switchyard.core.placement.tokens import saturation_rate

PERCENTS = (50, 94, 95, 96, 99)
REQUESTS = 30_000


def seeds_for(load: float) -> range:
    """More runs where waits are rare and long: one run alone is 20 percent off there."""
    if load >= 0.85:
        return range(1, 25)
    return range(1, 9) if load >= 0.7 else range(1, 5)


def observe(index: int) -> dict[str, dict[str, dict[str, float]]]:
    """By load and metric: the mean over the seeds of each percentile, and the standard error of the p95."""
    profile, traffic = draw_engines(HELD_OUT_SEED, HELD_OUT_COUNT)[index]
    found: dict[str, dict[str, dict[str, float]]] = {}
    for load in LOADS:
        rate = load * saturation_rate(profile, traffic)
        runs = [
            simulate(profile, traffic, rate=rate, requests=REQUESTS, seed=seed) for seed in seeds_for(load)
        ]
        found[str(load)] = {}
        for metric in METRICS:
            seen = {percent: [run.percentile(metric, percent) for run in runs] for percent in PERCENTS}
            error = float(np.std(seen[95], ddof=1)) / len(runs) ** 0.5
            found[str(load)][metric] = {
                **{str(percent): float(f"{np.mean(each):.5g}") for percent, each in seen.items()},
                "error": float(f"{error:.2g}"),
            }
        print(index, load, found[str(load)]["ttft"], flush=True)
    return found


def main() -> None:
    with ProcessPoolExecutor(3) as pool:
        found = dict(enumerate(pool.map(observe, range(HELD_OUT_COUNT))))
    path = Path(__file__).with_name("held_out.json")
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
