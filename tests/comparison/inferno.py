"""The small fleet of the inferno samples as a placement problem. Money in cents per hour, rates per minute."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from switchyard.core.placement.problem import Candidate, Job, Problem, Supply

DATA = Path(__file__).parents[1] / "data" / "placement"


def read_candidates() -> dict[str, Any]:
    """Candidates of every server and the published solution."""
    document: dict[str, Any] = json.loads((DATA / "inferno-small-candidates.json").read_text())
    return document


def build_problem(
    capacity_ratio: float = 1.0, *, mode: Literal["single", "mixed"] = "single", is_divisible: bool = False
) -> Problem:
    """All servers; the rates per replica are those that the other solver computed."""
    counts = json.loads((DATA / "inferno-small-capacity.json").read_text())["count"]
    supplies = tuple(
        Supply(each["type"], (("all", int(each["count"] * capacity_ratio)),))
        for each in sorted(counts, key=lambda each: each["type"])
    )
    servers: dict[str, list[dict[str, Any]]] = {}
    for row in read_candidates()["candidates"]:
        servers.setdefault(row["Server"], []).append(row)
    jobs = tuple(
        Job(
            key=("inferno", name),
            rank=rows[0]["Prio"],
            candidates=tuple(sorted(map(_candidate, rows), key=lambda each: each.name)),
            demand=rows[0]["Arr"],
            mode=mode,
            is_divisible=is_divisible,
            max_replicas=100_000,
        )
        for name, rows in sorted(servers.items())
    )
    return Problem(jobs, supplies)


def _candidate(row: dict[str, Any]) -> Candidate:
    return Candidate(
        variant=row["Acc"],
        pool=row["AccType"],
        unit_devices=row["Units"],
        replicas=row["Replicas"],
        rate=row["RatePerReplica"],
        risk_per_hour=Decimal(str(row["Cost"])) / row["Replicas"],  # the price is per replica, not per device
    )
