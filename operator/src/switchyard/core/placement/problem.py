"""The placement problem as plain values, and the port that any solver fills.

A problem names jobs (workloads that want replicas), the candidates each may use (admitted pairs of variant
and pool), what each job already holds, and the pools with their devices per node. Nothing of Kubernetes is
left in it, so a solver can be exchanged, tried on files, or checked by brute force.

Money here is Decimal, per hour. Keys and names are the tie-breakers everywhere: equal problems have one
answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Protocol

JobKey = tuple[str, str]  # namespace, name


@dataclass(frozen=True, slots=True)
class Supply:
    """Devices of one pool that placement may give out.

    `price_per_hour` is owed per device beyond the first `paid_devices`, which are paid whether used or not.
    `used_devices` are held by others and count towards `paid_devices`. `device_limit` caps what jobs hold.
    """

    name: str
    free_by_node: tuple[tuple[str, int], ...]
    price_per_hour: Decimal = Decimal(0)
    paid_devices: int = 0
    used_devices: int = 0
    device_limit: int | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to run a job: `replicas` of `unit_devices` each, every replica on one node of `pool`."""

    variant: str
    pool: str
    unit_devices: int
    replicas: int
    energy_per_hour: Decimal = Decimal(0)  # of one device at the load it would have, paid or not

    @property
    def name(self) -> tuple[str, str]:
        """Variant and pool."""
        return (self.variant, self.pool)


@dataclass(frozen=True, slots=True)
class Holding:
    """A track that serves: `candidate.replicas` are wanted, those in `by_node` run.

    `elsewhere` replicas run on nodes that take nothing new (cordoned); they serve and take nothing from the
    pool.
    """

    candidate: Candidate
    by_node: tuple[tuple[str, int], ...]
    elsewhere: int = 0


@dataclass(frozen=True, slots=True)
class Job:
    """A workload. `rank`: 0 is served first when devices are short. `candidates` by name."""

    key: JobKey
    rank: int
    candidates: tuple[Candidate, ...]
    holding: Holding | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """All jobs share all pools. Both sorted by key and name."""

    jobs: tuple[Job, ...]
    supplies: tuple[Supply, ...]


@dataclass(frozen=True, slots=True)
class Placement:
    """What a job gets. `replicas` below `candidate.replicas`: the pool is short for a track that serves."""

    candidate: Candidate
    replicas: int
    cost_per_hour: Decimal  # marginal, given all others


@dataclass(frozen=True, slots=True)
class Solution:
    """Placements by job (absent: no place), and what is left of the pools."""

    placements: Mapping[JobKey, Placement]
    displaced: Mapping[JobKey, JobKey] = field(default_factory=dict)  # who lost a place -> who took it
    free_by_node: Mapping[str, tuple[tuple[str, int], ...]] = field(default_factory=dict)
    used_devices: Mapping[str, int] = field(default_factory=dict)  # by pool, all holders
    cost_per_hour: Decimal = Decimal(0)


class Solver(Protocol):
    """Answers a problem, deterministically."""

    def solve(self, problem: Problem) -> Solution:
        """The placements."""
