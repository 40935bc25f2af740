"""The programme over all jobs: one choice each (or a mix), within what pools and quotas have.

A job that takes one candidate has a 0/1 column per choice; its own rules were checked when the choice was
listed, so the programme knows nothing of them. A job that mixes has a whole number per candidate and rows for
its rules. Pools bill devices beyond those paid for, which is one column and one row each.

Devices sit on nodes. Where all replicas of a pool have one size, the pool has a number of seats and nothing
more need be said. Where sizes differ, nodes get columns of their own, and what runs stays on its node.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise

from switchyard.core.placement.ledger import count_seats
from switchyard.core.placement.optimise.choices import (
    Choice,
    count_running,
    is_served,
    list_choices,
    list_spot_pools,
    most_replicas,
)
from switchyard.core.placement.optimise.programme import Programme
from switchyard.core.placement.problem import GROWTH_NODE, Candidate, Job, Problem, Supply

Place = tuple[int, tuple[str, str]]  # a job, and the name of what it holds
_OPEN = 1e-9
# per hour: of plans that cost the same the highest rank, then the first job, gets its first choice by name
_TIE_BREAK = 1e-6


@dataclass(frozen=True, slots=True)
class Take:
    """A column by which a job takes replicas. `choice` None: a whole number of `candidate` in a mix."""

    job: int
    column: int
    candidate: Candidate
    choice: Choice | None = None


@dataclass(slots=True)
class _Demand:
    """What is asked of one pool: (unit, column, seats per unit of the column), and what of it runs."""

    seated: list[tuple[int, int, int]] = field(default_factory=list)
    fresh: list[tuple[int, int, int]] = field(default_factory=list)
    kept: dict[Place, list[tuple[int, int]]] = field(default_factory=dict)  # terms
    running: dict[Place, tuple[tuple[str, int], ...]] = field(default_factory=dict)
    units: dict[Place, int] = field(default_factory=dict)


class Master:
    """The programme of a problem. `is_whole`: every job fully served, at least degradation first tried so."""

    def __init__(self, problem: Problem, *, is_whole: bool) -> None:
        self.problem = problem
        self.programme = Programme()
        self.takes: list[Take] = []
        self.unserved: list[int] = []  # by job: the share without service
        self.removed: list[tuple[int, int]] = []  # (job, column): replicas of a mix that run and would go
        self._pools: dict[str, _Demand] = {each.name: _Demand() for each in problem.supplies}
        spots = list_spot_pools(problem.supplies)
        in_turn = sorted(range(len(problem.jobs)), key=lambda index: problem.jobs[index].rank)
        self._turns = {index: turn for turn, index in enumerate(in_turn, 1)}
        for index, job in enumerate(problem.jobs):
            listed = list_choices(job, spots, is_whole=is_whole)
            self._add_job(index, job, listed, spots, is_whole=is_whole)
        for supply in problem.supplies:
            self._add_pool(supply, self._pools[supply.name])
        self._add_quotas()

    @property
    def money(self) -> list[float]:
        """The cost per hour of each column."""
        return self.programme.cost

    def _add_job(
        self,
        index: int,
        job: Job,
        listed: list[Choice],
        spots: frozenset[str],
        *,
        is_whole: bool,
    ) -> None:
        programme = self.programme
        is_mixed = job.mode == "mixed"
        is_continuous = is_mixed and (job.is_divisible or is_served(job))
        none = programme.add_column(0.0, upper=0.0 if is_whole else 1.0, is_integer=not is_continuous)
        self.unserved.append(none)
        terms = [(none, 1.0)]
        for position, choice in enumerate(listed):
            if is_mixed and choice.candidate.degradation == 0:
                continue
            tie_break = _TIE_BREAK * position / (len(listed) * self._turns[index])
            column = programme.add_column(choice.money + tie_break, upper=1.0, is_integer=True)
            self.takes.append(Take(index, column, choice.candidate, choice))
            terms.append((column, 1.0))
            self._seat_choice(index, choice, column)
        if is_mixed:
            programme.add_row(terms, upper=1.0)
            self._add_mix(index, job, terms, spots)
        else:
            programme.add_row(terms, lower=1.0, upper=1.0)

    def _seat_choice(self, index: int, choice: Choice, column: int) -> None:
        pool = self._pools.get(choice.candidate.pool)
        if pool is None:
            self.programme.upper[column] = 0.0
            return
        unit = choice.candidate.unit_devices
        pool.seated.append((unit, column, choice.seated))
        if choice.fresh:
            pool.fresh.append((unit, column, choice.fresh))
        if choice.seated > choice.fresh:
            pool.kept.setdefault((index, choice.candidate.name), []).append(
                (column, choice.seated - choice.fresh)
            )
            self._note_running(index, choice.candidate, pool)

    def _note_running(self, index: int, candidate: Candidate, pool: _Demand) -> None:
        for holding in self.problem.jobs[index].holdings:
            if holding.candidate.name == candidate.name:
                pool.running[index, candidate.name] = holding.by_node
                pool.units[index, candidate.name] = candidate.unit_devices

    def _add_mix(
        self,
        index: int,
        job: Job,
        otherwise: list[tuple[int, float]],
        spots: frozenset[str],
    ) -> None:
        """Whole numbers of several candidates. `otherwise`: columns whose share relieves the mix."""
        programme = self.programme
        held = {each.candidate.name: each for each in job.holdings}
        options = {each.name: each for each in job.candidates if each.degradation == 0}
        if is_served(job):
            options |= {name: each.candidate for name, each in held.items() if not each.candidate.degradation}
        counts: dict[tuple[str, str], int] = {}
        for name in sorted(options):
            candidate = options[name]
            if (candidate.rate <= 0 and not candidate.rates_by_size) or candidate.pool not in self._pools:
                continue
            money = float(candidate.energy_per_hour) * candidate.unit_devices + float(candidate.risk_per_hour)
            limit = most_replicas(job, candidate)
            column = programme.add_column(money, upper=float(limit), is_integer=True)
            counts[name] = column
            self.takes.append(Take(index, column, candidate))
            holding = held.get(name)
            self._seat_mix(index, candidate, column, limit, holding.elsewhere if holding else 0)
            self._price_changes(index, candidate, column, count_running(holding) if holding else 0)
        self._rule_mix(job, options, counts, otherwise, spots)

    def _seat_mix(self, index: int, candidate: Candidate, column: int, limit: int, elsewhere: int) -> None:
        pool = self._pools[candidate.pool]
        unit = candidate.unit_devices
        if elsewhere:
            seats = self.programme.add_column(0.0)
            self.programme.add_row([(seats, 1.0), (column, -1.0)], lower=-float(elsewhere))
            per_replica = float(candidate.energy_per_hour) * unit
            self.programme.cost[column] -= per_replica
            self.programme.cost[seats] += per_replica
            column = seats
        pool.seated.append((unit, column, 1))
        self._note_running(index, candidate, pool)
        if (index, candidate.name) in pool.running:
            fresh = self.programme.add_column(0.0, is_integer=True)
            kept = self.programme.add_column(0.0, is_integer=True)
            self.programme.add_row([(fresh, 1.0), (kept, 1.0), (column, -1.0)], lower=0.0)
            running = sum(count for _, count in pool.running[index, candidate.name])
            self._stay_before_growing(fresh, kept, running, limit)
            pool.fresh.append((unit, fresh, 1))
            pool.kept.setdefault((index, candidate.name), []).append((kept, 1))
        else:
            pool.fresh.append((unit, column, 1))

    def _stay_before_growing(self, fresh: int, kept: int, running: int, limit: int) -> None:
        """Pods do not migrate: a replica is added only when all that run stay where they are."""
        grows = self.programme.add_column(0.0, upper=1.0, is_integer=True)
        self.programme.add_row([(fresh, 1.0), (grows, -float(limit))], upper=0.0)
        self.programme.add_row([(kept, 1.0), (grows, -float(running))], lower=0.0)

    def _price_changes(self, index: int, candidate: Candidate, column: int, today: int) -> None:
        if candidate.add_per_hour > 0:
            added = self.programme.add_column(float(candidate.add_per_hour))
            self.programme.add_row([(added, 1.0), (column, -1.0)], lower=-float(today))
        if candidate.remove_per_hour > 0 and today:
            removed = self.programme.add_column(float(candidate.remove_per_hour))
            self.programme.add_row([(removed, 1.0), (column, 1.0)], lower=float(today))
            self.removed.append((index, removed))

    def _rule_mix(
        self,
        job: Job,
        options: dict[tuple[str, str], Candidate],
        counts: dict[tuple[str, str], int],
        otherwise: list[tuple[int, float]],
        spots: frozenset[str],
    ) -> None:
        add_row = self.programme.add_row

        def require(names: list[tuple[str, str]], amount: float, *, is_rate: bool) -> None:
            terms = [(counts[name], options[name].rate if is_rate else 1.0) for name in names]
            add_row(
                [*terms, *((column, amount * share) for column, share in otherwise)],
                lower=amount,
            )

        names = list(counts)
        if job.size_shares:
            self._share_sizes(job, options, counts, otherwise)
        else:
            require(names, job.demand, is_rate=True)
            if not (job.is_divisible or is_served(job)):
                self._round_up(job, options, counts, otherwise)
        require(names, float(job.min_replicas), is_rate=False)
        # whoever is served otherwise, or not at all, has no mix; who is served in part has what that takes
        most = float(job.max_replicas)
        instead = [(column, most) for column, _ in otherwise if self.programme.is_integer[column]]
        add_row([*((counts[name], 1.0) for name in names), *instead], upper=most)
        if job.min_firm_replicas:
            firm = [name for name in names if name[1] not in spots]
            require(firm, float(job.min_firm_replicas), is_rate=False)
        for domain, ratio in _list_domains(self.problem, job, names, spots):
            require(
                [name for name in names if name[1] not in domain],
                ratio * job.demand,
                is_rate=True,
            )
        if job.budget_per_hour is not None:
            terms = [(counts[name], float(options[name].budget_per_hour)) for name in names]
            add_row(terms, upper=float(job.budget_per_hour) + _OPEN)
        if job.split == "even" and len(names) > 1:
            self._split_evenly(job, options, counts, otherwise)

    def _round_up(
        self,
        job: Job,
        options: dict[tuple[str, str], Candidate],
        counts: dict[tuple[str, str], int],
        otherwise: list[tuple[int, float]],
    ) -> None:
        """Rows that tell the relaxed answer that replicas are whole, and take no plan away.

        The demand row divided by each rate and rounded up (Chvatal-Gomory cuts).
        """
        for unit in sorted({options[name].rate for name in counts}):
            least = math.ceil(job.demand / unit - _OPEN)
            terms = [(counts[name], float(math.ceil(options[name].rate / unit - _OPEN))) for name in counts]
            relief = [(column, least * share) for column, share in otherwise]
            self.programme.add_row([*terms, *relief], lower=float(least))

    def _share_sizes(
        self,
        job: Job,
        options: dict[tuple[str, str], Candidate],
        counts: dict[tuple[str, str], int],
        otherwise: list[tuple[int, float]],
    ) -> None:
        """Each size of request is shared out freely over the replicas: whole replicas, continuous shares."""
        loads: dict[tuple[str, str], list[tuple[int, float]]] = {name: [] for name in counts}
        for size, share in enumerate(job.size_shares):
            terms = list(otherwise)
            for name in counts:
                rate = options[name].rates_by_size[size]
                if rate > 0:
                    column = self.programme.add_column(0.0, upper=1.0)
                    terms.append((column, 1.0))
                    loads[name].append((column, share * job.demand / rate))
            self.programme.add_row(terms, lower=1.0)
        for name, column in counts.items():
            self.programme.add_row(
                [(column, 1.0), *((each, -load) for each, load in loads[name])],
                lower=0.0,
            )

    def _split_evenly(
        self,
        job: Job,
        options: dict[tuple[str, str], Candidate],
        counts: dict[tuple[str, str], int],
        otherwise: list[tuple[int, float]],
    ) -> None:
        """No replica of a kind that is used gets more than it can carry of an even share."""
        for name, column in counts.items():
            limit = self.programme.upper[column]
            used = self.programme.add_column(0.0, upper=1.0, is_integer=True)
            self.programme.add_row([(column, 1.0), (used, -limit)], upper=0.0)
            least = job.demand / options[name].rate
            terms = [(each, 1.0) for each in counts.values()]
            relief = [(each, least * share) for each, share in otherwise]
            self.programme.add_row([*terms, (used, -least), *relief], lower=0.0)

    def _add_pool(self, supply: Supply, asked: _Demand) -> None:
        if not asked.seated:
            return
        programme = self.programme
        devices = [(column, float(unit * seats)) for unit, column, seats in asked.seated]
        if supply.device_limit is not None:
            programme.add_row(devices, upper=float(supply.device_limit))
        if supply.price_per_hour > 0:
            billed = programme.add_column(float(supply.price_per_hour))
            unpaid = supply.used_devices - supply.paid_devices
            # what others hold beyond the paid devices is on their bill
            programme.add_row(
                [(billed, 1.0), *((column, -count) for column, count in devices)],
                lower=min(0.0, unpaid),
            )
        units = sorted({unit for unit, _, _ in asked.seated})
        if len(units) == 1:
            seats = count_seats(supply.free_by_node, units[0]) + supply.growth_devices // units[0]
            programme.add_row(
                [(column, float(count)) for _, column, count in asked.seated],
                upper=float(seats),
            )
        else:
            self._add_nodes(supply, asked, units)

    def _add_nodes(self, supply: Supply, asked: _Demand, units: list[int]) -> None:
        """Columns for how many replicas of each size every node (or group of equal empty nodes) takes."""
        programme = self.programme
        is_nested = all(large % small == 0 for small, large in pairwise(units))
        held_nodes = {node for places in asked.running.values() for node, _ in places}
        groups: Counter[tuple[str, int]] = Counter()
        for node, free in supply.free_by_node:
            if free > 0:
                alone = node in held_nodes or not is_nested
                groups[node if alone else "", free] += 1
        if supply.growth_devices:
            groups[GROWTH_NODE, supply.growth_devices] += 1
        placed: dict[int, list[tuple[int, float]]] = {unit: [] for unit in units}
        stays: dict[Place, list[tuple[int, float]]] = {key: [] for key in asked.running}
        for (node, free), count in sorted(groups.items()):
            sizes = [
                (
                    unit,
                    programme.add_column(0.0, upper=float(free // unit * count), is_integer=True),
                )
                for unit in units
                if unit <= free
            ]
            for unit, column in sizes:
                placed[unit].append((column, 1.0))
            for key, places in asked.running.items():
                running = dict(places).get(node, 0)
                if running:
                    column = programme.add_column(0.0, upper=float(running), is_integer=True)
                    stays[key].append((column, 1.0))
                    sizes.append((asked.units[key], column))
            for least in units if count > 1 else units[:1]:
                room = free // least * least * count if count > 1 else free
                terms = [(column, float(unit)) for unit, column in sizes if count == 1 or unit >= least]
                programme.add_row(terms, upper=float(room))
        for unit in units:
            wanted = [(column, -float(count)) for size, column, count in asked.fresh if size == unit]
            programme.add_row([*placed[unit], *wanted], lower=0.0)
        for key, columns in stays.items():
            wanted = [(column, -float(count)) for column, count in asked.kept.get(key, ())]
            programme.add_row([*columns, *wanted], lower=0.0)

    def _add_quotas(self) -> None:
        for quota in self.problem.quotas:
            terms: list[tuple[int, float]] = []
            for take in self.takes:
                job = self.problem.jobs[take.job]
                if job.key[0] == quota.namespace and take.candidate.pool in quota.pools:
                    replicas = take.choice.replicas if take.choice else 1
                    terms.append((take.column, float(replicas * take.candidate.unit_devices)))
            if terms:
                self.programme.add_row(terms, upper=float(quota.devices))


def _list_domains(
    problem: Problem, job: Job, names: list[tuple[str, str]], spots: frozenset[str]
) -> list[tuple[frozenset[str], float]]:
    """Sets of pools that may be lost together, and the share of the demand that the others must carry."""
    pools = sorted({pool for _, pool in names})
    found: list[tuple[frozenset[str], float]] = []
    if job.spot_survival_ratio > 0:
        found += [(frozenset({pool}), job.spot_survival_ratio) for pool in pools if pool in spots]
    if job.max_pool_ratio < 1:
        found += [(frozenset({pool}), 1 - job.max_pool_ratio) for pool in pools]
    if job.max_zone_ratio < 1:
        zones: dict[str, set[str]] = {}
        for supply in problem.supplies:
            if supply.name in pools and len(supply.zones) == 1:
                zones.setdefault(supply.zones[0], set()).add(supply.name)
        found += [(frozenset(each), 1 - job.max_zone_ratio) for _, each in sorted(zones.items())]
    return [(domain, ratio) for domain, ratio in found if not math.isclose(ratio, 0.0)]
