"""What a plan means for nodes and money: seats, marginal costs, who lost a place to whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal

from switchyard.core.errors import LedgerError
from switchyard.core.placement.ledger import Ledger, Seats
from switchyard.core.placement.optimise.choices import count_changes, count_running
from switchyard.core.placement.optimise.seating import Ask, seat_together
from switchyard.core.placement.problem import (
    GROWTH_NODE,
    Candidate,
    Holding,
    Job,
    JobKey,
    Placement,
    Problem,
    Solution,
    Supply,
)

Plan = Mapping[JobKey, tuple[tuple[Candidate, int], ...]]  # replicas by candidate


def report(problem: Problem, plan: Plan, *, gap_ratio: float | None, method: str) -> Solution:
    """The solution that a plan is. Replicas stay where they run; of others, large ones are seated first."""
    ledgers, seats = _seat_all(problem, plan)
    placements = {
        key: tuple(
            Placement(
                candidate,
                replicas,
                _cost(ledgers, candidate, seats.get((key, candidate.name), {})),
            )
            for candidate, replicas in plan[key]
        )
        for key in sorted(plan)
        if plan[key]
    }
    return Solution(
        placements=placements,
        displaced=_list_displaced(problem, plan),
        free_by_node={
            name: tuple(each for each in ledgers[name].free_by_node if each[0] != GROWTH_NODE)
            for name in sorted(ledgers)
        },
        used_devices={name: ledgers[name].used_devices for name in sorted(ledgers)},
        unserved=_list_unserved(problem, plan),
        cost_per_hour=price(problem, plan),
        gap_ratio=gap_ratio,
        method=method,
    )


def _seat_all(
    problem: Problem, plan: Plan
) -> tuple[dict[str, Ledger], dict[tuple[JobKey, tuple[str, str]], Seats]]:
    """Each pool after the plan, and the nodes of each placement."""
    jobs = {job.key: job for job in problem.jobs}
    asked: dict[str, list[tuple[JobKey, Candidate, int, Holding | None]]] = {}
    for key in sorted(plan):
        for candidate, replicas in plan[key]:
            holding = _find_holding(jobs[key], candidate)
            seated = max(0, replicas - (holding.elsewhere if holding else 0))
            asked.setdefault(candidate.pool, []).append((key, candidate, seated, holding))
    ledgers: dict[str, Ledger] = {}
    seats: dict[tuple[JobKey, tuple[str, str]], Seats] = {}
    for supply in problem.supplies:
        ledger = Ledger(_with_growth(supply))
        rows = asked.get(supply.name, [])
        found = [
            ledger.pin(candidate.unit_devices, _keep(held, seated)) for _, candidate, seated, held in rows
        ]
        order = sorted(
            range(len(rows)),
            key=lambda each: (
                -rows[each][1].unit_devices,
                rows[each][0],
                rows[each][1].name,
            ),
        )
        is_short = False
        for index in order:
            _, candidate, seated, _ = rows[index]
            missing = seated - sum(found[index].values())
            for node, count in _seat(ledger, candidate.unit_devices, missing).items():
                found[index][node] = found[index].get(node, 0) + count
            is_short |= sum(found[index].values()) < seated
        if is_short:
            asks = [
                Ask(candidate.unit_devices, seated, held.by_node if held else ())
                for _, candidate, seated, held in rows
            ]
            together = seat_together(_with_growth(supply).free_by_node, asks)
            if together is not None:
                found, ledger = together, Ledger(_with_growth(supply))
                for (_, candidate, _, _), each in zip(rows, found, strict=True):
                    ledger.pin(candidate.unit_devices, each)
        ledgers[supply.name] = ledger
        for (key, candidate, _, _), each in zip(rows, found, strict=True):
            seats[key, candidate.name] = each
    return ledgers, seats


def price(problem: Problem, plan: Plan) -> Decimal:
    """Money per hour of a plan: devices beyond those paid for, energy, risk and changes."""
    total = Decimal(0)
    jobs = {job.key: job for job in problem.jobs}
    used: dict[str, int] = {}
    for key, taken in plan.items():
        job = jobs[key]
        for candidate, replicas in taken:
            holding = _find_holding(job, candidate)
            devices = max(0, replicas - (holding.elsewhere if holding else 0)) * candidate.unit_devices
            used[candidate.pool] = used.get(candidate.pool, 0) + devices
            total += devices * candidate.energy_per_hour + replicas * candidate.risk_per_hour
        total += _price_changes(job, taken)
    for job in problem.jobs:
        if job.mode == "mixed" and not plan.get(job.key):
            total += _price_changes(job, ())
    for supply in problem.supplies:
        paid_left = max(0, supply.paid_devices - supply.used_devices)
        total += max(0, used.get(supply.name, 0) - paid_left) * supply.price_per_hour
    return total


def _price_changes(job: Job, taken: tuple[tuple[Candidate, int], ...]) -> Decimal:
    if len(taken) == 1 and job.mode == "single":
        candidate, replicas = taken[0]
        return Decimal(str(round(count_changes(job, candidate.name, replicas), 9)))
    total = Decimal(0)
    replicas_of = {candidate.name: replicas for candidate, replicas in taken}
    today = {each.candidate.name: (each.candidate, count_running(each)) for each in job.holdings}
    for candidate, replicas in taken:
        before = today.get(candidate.name, (candidate, 0))[1]
        total += candidate.add_per_hour * max(0, replicas - before)
    for name, (candidate, before) in today.items():
        total += candidate.remove_per_hour * max(0, before - replicas_of.get(name, 0))
    return total


def _with_growth(supply: Supply) -> Supply:
    """Devices to come stand on a node of their own."""
    if not supply.growth_devices:
        return supply
    grown = (*supply.free_by_node, (GROWTH_NODE, supply.growth_devices))
    return replace(supply, free_by_node=grown)


def _find_holding(job: Job, candidate: Candidate) -> Holding | None:
    return next((each for each in job.holdings if each.candidate.name == candidate.name), None)


def _keep(holding: Holding | None, seated: int) -> Seats:
    kept: Seats = {}
    for node, running in holding.by_node if holding else ():
        count = min(running, seated - sum(kept.values()))
        if count > 0:
            kept[node] = count
    return kept


def _seat(ledger: Ledger, unit: int, replicas: int) -> Seats:
    """Seats for as many as fit; a plan of mixed sizes can ask for a packing that no greedy one finds."""
    for count in range(replicas, 0, -1):
        if ledger.seats(unit) >= count:
            try:
                return ledger.take(unit, count)
            except LedgerError:
                continue
    return {}


def _cost(ledgers: Mapping[str, Ledger], candidate: Candidate, seats: Seats) -> Decimal:
    ledger = ledgers.get(candidate.pool)
    if ledger is None or not seats:
        return Decimal(0)
    ledger.give_back(candidate.unit_devices, seats)
    cost = ledger.cost(candidate, sum(seats.values()))
    ledger.pin(candidate.unit_devices, seats)
    return cost


def _list_unserved(problem: Problem, plan: Plan) -> dict[JobKey, float]:
    found = {}
    for job in problem.jobs:
        taken = plan.get(job.key, ())
        if not taken:
            found[job.key] = 1.0
            continue
        if len(taken) == 1 and taken[0][1] >= taken[0][0].replicas:
            continue
        carried = sum(candidate.rate * replicas for candidate, replicas in taken)
        share = 1.0 - carried / job.demand if job.demand > 0 and carried > 0 else 0.0
        if share <= 0 and len(taken) == 1:
            share = 1.0 - taken[0][1] / taken[0][0].replicas
        if share > 1e-9:
            found[job.key] = round(share, 9)
    return found


def _list_displaced(problem: Problem, plan: Plan) -> dict[JobKey, JobKey]:
    """Who has fewer replicas than run, and the first of higher rank that has more than ran in that pool."""
    gained: dict[str, list[tuple[int, JobKey]]] = {}
    for job in problem.jobs:
        for candidate, replicas in plan.get(job.key, ()):
            holding = _find_holding(job, candidate)
            if replicas > (count_running(holding) if holding else 0):
                gained.setdefault(candidate.pool, []).append((job.rank, job.key))
    displaced = {}
    for job in problem.jobs:
        if not job.is_bound:
            continue
        now = {candidate.name: replicas for candidate, replicas in plan.get(job.key, ())}
        for holding in job.holdings:
            wanted = min(count_running(holding), holding.candidate.replicas)
            if now.get(holding.candidate.name, 0) < wanted:
                higher = [
                    each for each in sorted(gained.get(holding.candidate.pool, ())) if each[0] < job.rank
                ]
                if higher:
                    displaced[job.key] = higher[0][1]
    return dict(sorted(displaced.items()))
