"""A quick plan to begin with: higher ranks first, and who would lose most by waiting chooses first."""

from __future__ import annotations

from switchyard.core.errors import LedgerError
from switchyard.core.placement.ledger import Ledger
from switchyard.core.placement.optimise.choices import Choice, is_served
from switchyard.core.placement.optimise.master import Master, Take
from switchyard.core.placement.problem import Job


def place_greedily(master: Master) -> dict[int, float]:
    """The value of each take that is used. Jobs that mix are left to the programme."""
    problem = master.problem
    ledgers = {each.name: Ledger(each) for each in problem.supplies}
    quotas = {each.name: each.devices for each in problem.quotas}
    by_job: dict[int, list[Take]] = {}
    for take in master.takes:
        if take.choice is not None and master.programme.upper[take.column] > 0:
            by_job.setdefault(take.job, []).append(take)
    used: dict[int, float] = {}
    for index in _order(problem.jobs, by_job):
        job = problem.jobs[index]
        for take in sorted(by_job[index], key=lambda each: _preference(each, ledgers)):
            if _take(job, take.choice, ledgers, quotas, master):
                used[take.column] = 1.0
                break
    return used


def _order(jobs: tuple[Job, ...], by_job: dict[int, list[Take]]) -> list[int]:
    def urgency(index: int) -> tuple[int, bool, float, tuple[str, str]]:
        costs = sorted(
            take.choice.money for take in by_job[index] if take.choice and not take.choice.unserved_ratio
        )
        regret = costs[1] - costs[0] if len(costs) > 1 else float("inf")
        return (jobs[index].rank, not is_served(jobs[index]), -regret, jobs[index].key)

    return sorted(by_job, key=urgency)


def _preference(take: Take, ledgers: dict[str, Ledger]) -> tuple[bool, int, float, float, tuple[str, str]]:
    choice, name = take.choice, take.candidate.name
    if choice is None or choice.candidate.pool not in ledgers:
        return (True, 0, 1.0, 0.0, name)
    energy = float(choice.candidate.energy_per_hour) * choice.candidate.unit_devices * choice.seated
    money = (
        choice.money - energy + float(ledgers[choice.candidate.pool].cost(choice.candidate, choice.seated))
    )
    return (choice.has_left, take.candidate.degradation, choice.unserved_ratio, money, name)


def _take(
    job: Job,
    choice: Choice | None,
    ledgers: dict[str, Ledger],
    quotas: dict[str, int],
    master: Master,
) -> bool:
    if choice is None or choice.candidate.pool not in ledgers:
        return False
    unit, pool = choice.candidate.unit_devices, choice.candidate.pool
    touched = [
        each.name for each in master.problem.quotas if each.namespace == job.key[0] and pool in each.pools
    ]
    devices = unit * choice.replicas
    if any(quotas[name] < devices for name in touched) or ledgers[pool].seats(unit) < choice.seated:
        return False
    try:
        ledgers[pool].take(unit, choice.seated)
    except LedgerError:
        return False
    for name in touched:
        quotas[name] -= devices
    return True
