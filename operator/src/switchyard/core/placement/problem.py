"""The placement problem as plain values, and the port that any solver fills.

A problem names jobs (workloads that want replicas), the candidates each may use (admitted pairs of variant
and pool), what each job already holds, and the pools with their devices per node. Nothing of Kubernetes is
left in it, so a solver can be exchanged, tried on files, or checked by brute force.

What is best, in this order: for each rank from 0 on, who serves keeps its place, then the replicas that run
(of a mix those with a cost of removal); then least demand of that rank left unserved, then least degradation;
after all ranks, least money per hour (devices beyond those paid for, energy, risk, changes). Ties go by name.

Money here is Decimal, per hour. Rates are requests per second. Keys and names are the tie-breakers
everywhere: equal problems have one answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal, Protocol

JobKey = tuple[str, str]  # namespace, name
GROWTH_NODE = "\0growth"  # stands for the nodes that may come; no node has such a name


@dataclass(frozen=True, slots=True)
class Supply:
    """Devices of one pool that placement may give out.

    `price_per_hour` is owed per device beyond the first `paid_devices`, which are paid whether used or not.
    `used_devices` are held by others and count towards `paid_devices`. `device_limit` caps what jobs hold.
    `growth_devices` may come on new nodes, each with room for the largest unit asked of it; what is to start
    there is held on GROWTH_NODE. Losing a spot
    pool is losing all of it at once: it is one failure domain.
    """

    name: str
    free_by_node: tuple[tuple[str, int], ...]
    price_per_hour: Decimal = Decimal(0)
    paid_devices: int = 0
    used_devices: int = 0
    device_limit: int | None = None
    growth_devices: int = 0
    is_spot: bool = False
    zones: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Quota:
    """At most `devices` of these pools together for the jobs of a namespace (a ResourceQuota)."""

    name: str
    namespace: str
    pools: tuple[str, ...]
    devices: int


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to run a job. A replica takes `unit_devices` on one node of `pool`.

    `replicas` carry the whole demand alone. `rate` is what one replica carries (0: not known, only
    `replicas` counts); `rates_by_size` the same for each of the job's request sizes.
    """

    variant: str
    pool: str
    unit_devices: int
    replicas: int
    rate: float = 0.0
    rates_by_size: tuple[float, ...] = ()
    energy_per_hour: Decimal = Decimal(0)  # of one device at the load it would have, paid or not
    risk_per_hour: Decimal = Decimal(0)  # of one replica: what interruptions are expected to cost
    add_per_hour: Decimal = Decimal(0)  # of a replica more than today, spread over the horizon
    remove_per_hour: Decimal = Decimal(0)  # of a replica less than today
    budget_per_hour: Decimal = Decimal(0)  # of one replica, as the job's budget counts it
    degradation: int = 0  # 0: full service; n: the n-th fallback
    most_replicas: int | None = None  # None: as many as the job may have

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
    """A workload. `rank`: 0 is served first when devices are short. `candidates` by name.

    With `holdings` and `is_bound` the job stays where it is: it gets what fits of its holdings, in part if
    need be, and chooses anew only when none of their replicas runs or fits. Unbound holdings are today's
    plan, from which changes are counted.

    `mode` single: one candidate; mixed: replicas of several together, `candidates` in any numbers.
    `split` even: callers spread over all replicas alike, so each must carry the same share of the demand;
    weighted: a router gives each what it can carry.
    """

    key: JobKey
    rank: int
    candidates: tuple[Candidate, ...]
    holdings: tuple[Holding, ...] = ()
    is_bound: bool = True
    demand: float = 0.0  # requests/s that replicas must carry, headroom included
    size_shares: tuple[float, ...] = ()  # of the demand, by request size; empty: one size
    mode: Literal["single", "mixed"] = "single"
    split: Literal["weighted", "even"] = "weighted"
    is_divisible: bool = False  # True: a part of the demand is worth serving
    min_replicas: int = 1
    max_replicas: int = 1000
    min_firm_replicas: int = 0  # in pools that are not spot, of what is served
    spot_survival_ratio: float = 0.0  # of the demand that is still carried when any one spot pool is lost
    max_pool_ratio: float = 1.0  # of the demand that may depend on one pool
    max_zone_ratio: float = 1.0  # of the demand that may depend on one zone (pools of that single zone)
    budget_per_hour: Decimal | None = None  # over `Candidate.budget_per_hour` of all replicas


@dataclass(frozen=True, slots=True)
class Problem:
    """All jobs share all pools. Jobs sorted by key, supplies and quotas by name."""

    jobs: tuple[Job, ...]
    supplies: tuple[Supply, ...]
    quotas: tuple[Quota, ...] = ()


@dataclass(frozen=True, slots=True)
class Placement:
    """What a job gets of one candidate; fewer replicas than wanted where the pool is short."""

    candidate: Candidate
    replicas: int
    cost_per_hour: Decimal  # marginal, given all others


@dataclass(frozen=True, slots=True)
class Solution:
    """Placements by job and candidate name (absent: no place), and what is left of the pools.

    `cost_per_hour` is the money of the objective. `gap_ratio`: how far it can be above the optimum, as a
    share of it; None where nothing is proven. `method`: which search found it.
    """

    placements: Mapping[JobKey, tuple[Placement, ...]]
    displaced: Mapping[JobKey, JobKey] = field(default_factory=dict)  # who lost a place -> who took it
    free_by_node: Mapping[str, tuple[tuple[str, int], ...]] = field(default_factory=dict)
    used_devices: Mapping[str, int] = field(default_factory=dict)  # by pool, all holders
    unserved: Mapping[JobKey, float] = field(default_factory=dict)  # share of the demand, where above 0
    cost_per_hour: Decimal = Decimal(0)
    gap_ratio: float | None = None
    method: str = ""


class Solver(Protocol):
    """Answers a problem, deterministically."""

    def solve(self, problem: Problem) -> Solution:
        """The placements."""
