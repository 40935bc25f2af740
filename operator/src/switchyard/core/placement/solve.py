"""The first solver: least cost by regret, tier by tier, with improvement moves, and what serves stays.

    pin what runs
    for each tier, the first served first:
        tracks that serve grow to what they want, from free devices
        the others choose: who would lose most by waiting chooses first (regret)
        who found no place: another of the tier steps aside, or else a lower tier gives way
        moves and swaps within the tier while they save money

A greedy answer is not optimal in general; what holds always: capacity is kept, a tier is never left out
while a lower one holds what it needs, and equal problems have equal answers on any machine.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal

from switchyard.core.placement.ledger import Ledger, Seats
from switchyard.core.placement.problem import (
    Candidate,
    Job,
    JobKey,
    Placement,
    Problem,
    Solution,
)

_INFINITE = Decimal("Infinity")
_IMPROVEMENT_PASSES = 3
Ranked = tuple[Decimal, tuple[str, str], Candidate]
_SWAP_TRIES = 20_000  # per tier: a bound on time, the same on every machine


@dataclass(slots=True)
class _Place:
    """Where a job stands at the moment. `elsewhere` replicas take nothing from the ledger."""

    candidate: Candidate
    seats: Seats
    elsewhere: int = 0
    is_pinned: bool = False

    @property
    def replicas(self) -> int:
        return sum(self.seats.values()) + self.elsewhere


@dataclass(slots=True)
class _Plan:
    ledgers: dict[str, Ledger]
    jobs: dict[JobKey, Job]
    by_floor: dict[JobKey, list[Ranked]]
    places: dict[JobKey, _Place] = field(default_factory=dict)
    displaced: dict[JobKey, JobKey] = field(default_factory=dict)

    def put(self, job: Job, candidate: Candidate) -> None:
        seats = self.ledgers[candidate.pool].take(candidate.unit_devices, candidate.replicas)
        self.places[job.key] = _Place(candidate, seats)

    def lift(self, key: JobKey) -> _Place:
        place = self.places.pop(key)
        self.ledgers[place.candidate.pool].give_back(place.candidate.unit_devices, place.seats)
        return place

    def restore(self, key: JobKey, place: _Place) -> None:
        self.ledgers[place.candidate.pool].pin(place.candidate.unit_devices, place.seats)
        self.places[key] = place

    def fits(self, candidate: Candidate) -> bool:
        return self.ledgers[candidate.pool].seats(candidate.unit_devices) >= candidate.replicas

    def cost(self, candidate: Candidate) -> Decimal:
        return self.ledgers[candidate.pool].cost(candidate, candidate.replicas)

    def best_two(self, job: Job) -> list[Ranked]:
        """The two cheapest candidates that fit now, ties by name.

        Candidates are tried by the least they can ever cost, so the search ends as soon as none can be
        cheaper.
        """
        best: list[Ranked] = []
        for floor, name, candidate in self.by_floor[job.key]:
            if len(best) == 2 and floor > best[1][0]:
                break
            if self.fits(candidate):
                best = sorted([*best, (self.cost(candidate), name, candidate)], key=_cost_and_name)[:2]
        return best


class RegretSolver:
    """Deterministic, pure Python, fast enough for a thousand workloads in a loop."""

    def solve(self, problem: Problem) -> Solution:
        """The placements; jobs that appear in none found no place."""
        jobs = sorted(problem.jobs, key=lambda job: job.key)
        plan = _open(problem)
        for job in jobs:
            _pin(plan, job)
        for rank in sorted({job.rank for job in jobs}):
            tier = [job for job in jobs if job.rank == rank]
            for job in tier:
                _grow(plan, job)
            loose = [job for job in tier if job.key not in plan.places]
            left_out = _choose_by_regret(plan, loose)
            for job in left_out:
                if not _squeeze_in(plan, job, loose):
                    _evict_for(plan, job)
            _improve(plan, [job for job in loose if job.key in plan.places])
        return _report(plan)


def _open(problem: Problem) -> _Plan:
    ledgers = {supply.name: Ledger(supply) for supply in problem.supplies}
    by_floor = {
        job.key: sorted(
            ((ledgers[each.pool].cost(each, each.replicas), each.name, each) for each in job.candidates),
            key=_cost_and_name,
        )
        for job in problem.jobs
    }
    return _Plan(ledgers, {job.key: job for job in problem.jobs}, by_floor)


def _cost_and_name(row: Ranked) -> tuple[Decimal, tuple[str, str]]:
    return row[:2]


def _pin(plan: _Plan, job: Job) -> None:
    if not job.holdings or not job.is_bound or job.holdings[0].candidate.pool not in plan.ledgers:
        return
    holding = job.holdings[0]
    wanted = holding.candidate.replicas
    elsewhere = min(holding.elsewhere, wanted)
    by_node: Seats = {}
    left = wanted - elsewhere
    for node, running in holding.by_node:
        by_node[node] = min(left, running)
        left -= by_node[node]
    seats = plan.ledgers[holding.candidate.pool].pin(holding.candidate.unit_devices, by_node)
    plan.places[job.key] = _Place(holding.candidate, seats, elsewhere, is_pinned=True)


def _grow(plan: _Plan, job: Job) -> None:
    """Bring a serving track to what it wants as far as devices are free; without any replica it is loose."""
    place = plan.places.get(job.key)
    if place is None:
        return
    unit = place.candidate.unit_devices
    ledger = plan.ledgers[place.candidate.pool]
    more = min(place.candidate.replicas - place.replicas, ledger.seats(unit))
    if more > 0:
        for node, replicas in ledger.take(unit, more).items():
            place.seats[node] = place.seats.get(node, 0) + replicas
    if place.replicas == 0:
        plan.lift(job.key)


def _choose_by_regret(plan: _Plan, loose: list[Job]) -> list[Job]:
    """Place jobs in order of what waiting would cost them; returns those that found no room, by key."""
    waiting = {job.key: job for job in loose}
    ranking = {key: plan.best_two(job) for key, job in waiting.items()}
    urgency = {key: _urgency(key, rows) for key, rows in ranking.items()}
    watchers: dict[str, set[JobKey]] = {}
    for key, rows in ranking.items():
        for _, _, candidate in rows:
            watchers.setdefault(candidate.pool, set()).add(key)
    left_out: list[Job] = []
    while waiting:
        key = min(urgency, key=urgency.__getitem__)
        del urgency[key]
        job = waiting.pop(key)
        rows = ranking.pop(key)
        if not rows:
            left_out.append(job)
            continue
        chosen = rows[0][2]
        plan.put(job, chosen)
        for other in watchers.pop(chosen.pool, set()) & waiting.keys():
            ranking[other] = plan.best_two(waiting[other])
            urgency[other] = _urgency(other, ranking[other])
            for _, _, candidate in ranking[other]:
                watchers.setdefault(candidate.pool, set()).add(other)
    return sorted(left_out, key=lambda job: job.key)


def _urgency(key: JobKey, rows: list[Ranked]) -> tuple[Decimal, Decimal, JobKey]:
    if not rows:
        return (_INFINITE, Decimal(0), key)
    regret = rows[1][0] - rows[0][0] if len(rows) > 1 else _INFINITE
    return (-regret, rows[0][0], key)


def _squeeze_in(plan: _Plan, job: Job, loose: Iterable[Job]) -> bool:
    """True when one other job of the tier, not serving yet, could step aside to another place."""
    if not job.candidates:
        return False
    for candidate in sorted(job.candidates, key=lambda each: (plan.cost(each), each.name)):
        if plan.fits(candidate):
            plan.put(job, candidate)
            return True
        for other in loose:
            place = plan.places.get(other.key)
            if place is None or place.candidate.pool != candidate.pool:
                continue
            plan.lift(other.key)
            if plan.fits(candidate):
                plan.put(job, candidate)
                elsewhere = plan.best_two(other)
                if elsewhere:
                    plan.put(other, elsewhere[0][2])
                    return True
                plan.lift(job.key)
            plan.restore(other.key, place)
    return False


def _evict_for(plan: _Plan, job: Job) -> bool:
    """Take what `job` needs from the lowest tiers, where that moves fewest devices; ties by cost, name."""
    choices = []
    for candidate in job.candidates:
        releases = _plan_releases(plan, job, candidate)
        if releases is not None:
            highest_rank = min((plan.jobs[key].rank for key, _ in releases), default=99)
            devices = sum(count * plan.places[key].candidate.unit_devices for key, count in releases)
            choices.append(
                (-highest_rank, devices, plan.cost(candidate), candidate.name, candidate, releases)
            )
    if not choices:
        return False
    *_, candidate, releases = min(choices, key=lambda row: row[:4])
    for key, count in releases:
        _release(plan, key, count)
        plan.displaced[key] = job.key
    plan.put(job, candidate)
    return True


def _plan_releases(plan: _Plan, job: Job, candidate: Candidate) -> list[tuple[JobKey, int]] | None:
    """Replicas to take from each job of a lower tier in the pool, lowest tier first; None when not enough."""
    victims = sorted(
        (
            (-plan.jobs[key].rank, key)
            for key, place in plan.places.items()
            if place.candidate.pool == candidate.pool and plan.jobs[key].rank > job.rank and place.seats
        ),
    )
    ledger = plan.ledgers[candidate.pool]
    undo: list[tuple[int, Seats]] = []
    releases: list[tuple[JobKey, int]] = []
    for _, key in victims:
        if plan.fits(candidate):
            break
        place = plan.places[key]
        count = 0
        for node in _release_order(place.seats):
            if plan.fits(candidate):
                break
            ledger.give_back(place.candidate.unit_devices, {node: 1})
            undo.append((place.candidate.unit_devices, {node: 1}))
            count += 1
        releases.append((key, count))
    is_enough = plan.fits(candidate)
    for unit, seats in undo:
        ledger.pin(unit, seats)
    return releases if is_enough else None


def _release_order(seats: Seats) -> list[str]:
    return [node for node in sorted(seats) for _ in range(seats[node])]


def _release(plan: _Plan, key: JobKey, count: int) -> None:
    place = plan.places[key]
    ledger = plan.ledgers[place.candidate.pool]
    for node in _release_order(place.seats)[:count]:
        ledger.give_back(place.candidate.unit_devices, {node: 1})
        place.seats[node] -= 1
        if not place.seats[node]:
            del place.seats[node]
    if place.replicas == 0:
        plan.lift(key)


def _improve(plan: _Plan, jobs: list[Job]) -> None:
    """Move single jobs and swap pairs while that saves money. Every step lowers the cost: it ends."""
    tries = _SWAP_TRIES
    for _ in range(_IMPROVEMENT_PASSES):
        has_changed = False
        for job in jobs:
            has_changed |= _move(plan, job)
        by_pool: dict[str, list[Job]] = {}
        for job in jobs:
            by_pool.setdefault(plan.places[job.key].candidate.pool, []).append(job)
        for job in jobs:
            used, has_swapped = _swap(plan, job, by_pool, tries)
            tries -= used
            has_changed |= has_swapped
        if not has_changed:
            return


def _move(plan: _Plan, job: Job) -> bool:
    place = plan.lift(job.key)
    cost_now = plan.cost(place.candidate)
    best_cost, _, best = plan.best_two(job)[0]
    if best_cost < cost_now:
        plan.put(job, best)
        return True
    plan.restore(job.key, place)
    return False


def _swap(plan: _Plan, job: Job, by_pool: dict[str, list[Job]], tries: int) -> tuple[int, bool]:
    """Tries used, and whether `job` took the place of another that found a new one, for less together."""
    here = plan.places[job.key]
    cost_here = plan.cost(here.candidate)
    used = 0
    for floor, _, candidate in plan.by_floor[job.key]:
        if floor >= cost_here:
            break
        if candidate.pool == here.candidate.pool or plan.fits(candidate):
            continue
        for other in by_pool.get(candidate.pool, ()):
            if plan.places[other.key].candidate.pool != candidate.pool:
                continue  # it moved on since the pass began
            if used >= tries:
                return used, False
            used += 1
            if _try_swap(plan, job, candidate, other):
                return used, True
    return used, False


def _try_swap(plan: _Plan, job: Job, candidate: Candidate, other: Job) -> bool:
    here, there = plan.lift(job.key), plan.lift(other.key)
    before = plan.cost(here.candidate) + plan.cost(there.candidate)
    if plan.fits(candidate):
        after = plan.cost(candidate)
        plan.put(job, candidate)
        options = plan.best_two(other)
        if options and after + options[0][0] < before:
            plan.put(other, options[0][2])
            return True
        plan.lift(job.key)
    plan.restore(other.key, there)
    plan.restore(job.key, here)
    return False


def _report(plan: _Plan) -> Solution:
    placements: dict[JobKey, tuple[Placement, ...]] = {}
    total = Decimal(0)
    for key in sorted(plan.places):
        place = plan.places[key]
        ledger = plan.ledgers[place.candidate.pool]
        counted = sum(place.seats.values())
        ledger.give_back(place.candidate.unit_devices, place.seats)
        cost = ledger.cost(place.candidate, counted)
        ledger.pin(place.candidate.unit_devices, place.seats)
        placements[key] = (Placement(place.candidate, place.replicas, cost),)
        total += cost
    return Solution(
        placements=placements,
        displaced=dict(sorted(plan.displaced.items())),
        free_by_node={name: plan.ledgers[name].free_by_node for name in sorted(plan.ledgers)},
        used_devices={name: plan.ledgers[name].used_devices for name in sorted(plan.ledgers)},
        cost_per_hour=total,
    )
