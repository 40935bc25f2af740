"""The best answer to one connected part: everybody served at least cost, or else stage by stage."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from switchyard.core.placement.optimise.choices import Choice, count_taken, is_served
from switchyard.core.placement.optimise.greedy import place_greedily
from switchyard.core.placement.optimise.master import Master, Take
from switchyard.core.placement.optimise.programme import Answer, Effort, Floats, solve
from switchyard.core.placement.problem import Candidate, Problem

_FEW_COLUMNS = 4_000  # up to here the whole programme is given to HiGHS at once
_PER_JOB = 4  # columns of least reduced cost that each job brings into the small programme
_GOOD_ENOUGH = 0.005  # gap at which a large part is not searched further
_MOST_ROUNDS, _POOLS_PER_ROUND, _COLUMNS_PER_ROUND, _NODES_PER_ROUND = 12, 3, 1_500, 50
_ZERO = 1e-7


@dataclass(frozen=True, slots=True)
class Found:
    """What each job takes: (candidate, choice or None, replicas). `bound`: no plan as good can cost less."""

    takes: dict[int, list[tuple[Candidate, Choice | None, int]]]
    money: float
    bound: float
    method: str


def search(problem: Problem, effort: Effort) -> Found:
    """The best plan found for a part of connected jobs and pools."""
    whole = Master(problem, is_whole=True)
    for take in whole.takes:
        if take.candidate.degradation:
            whole.programme.upper[take.column] = 0.0
    for index, column in whole.removed:
        if is_served(problem.jobs[index]):
            whole.programme.upper[column] = 0.0
    answer, method = _minimise_money(whole, effort)
    if answer.values is not None:
        return _found(whole, answer, method)
    partial = Master(problem, is_whole=False)
    return _search_in_stages(partial, effort)


def _search_in_stages(master: Master, effort: Effort) -> Found:
    """By rank: who serves keeps its place, then its replicas; least unserved of those, then of the others.

    Last comes least degradation. So no replica that runs goes to an equal.
    """
    values = _complete(master, place_greedily(master), effort)
    method = "stages"
    for objective in _list_stages(master):
        if values is None or float(objective @ values) > _ZERO:
            answer = solve(master.programme, effort, cost=list(objective), start=values)
            if answer.values is not None and (
                values is None or answer.objective <= float(objective @ values) + _ZERO
            ):
                values = answer.values
        if values is None:
            break
        _hold(master, objective, values)
    if values is None:
        return Found({}, 0.0, -math.inf, "none")
    answer, how = _minimise_money(master, effort, start=values)
    if answer.values is None:
        money = float(np.asarray(master.money) @ values)
        answer = Answer(values, money, -math.inf, is_proven=False)
    return _found(master, answer, f"{method}, {how}")


def _hold(master: Master, objective: Floats, values: Floats) -> None:
    """Nothing worse than what these values reach."""
    terms = [(int(index), float(objective[index])) for index in np.flatnonzero(objective)]
    master.programme.add_row(terms, upper=max(0.0, float(objective @ values)) + _ZERO)


def _count_removed(master: Master, rank: int) -> Floats:
    found = np.zeros(len(master.programme.cost))
    for index, column in master.removed:
        job = master.problem.jobs[index]
        if job.rank == rank and is_served(job):
            found[column] = 1.0
    return found


def _list_stages(master: Master) -> list[Floats]:
    jobs = master.problem.jobs
    size = len(master.programme.cost)
    stages = []
    for rank in sorted({job.rank for job in jobs}):
        left, bound, free, degraded = (np.zeros(size) for _ in range(4))
        taken = _count_removed(master, rank)
        for index, job in enumerate(jobs):
            if job.rank != rank:
                continue
            column = master.unserved[index]
            if is_served(job):
                left[column] = 1.0 if job.mode == "single" else 0.0
                bound[column] = 1.0
            else:
                free[column] = 1.0
        for take in master.takes:
            job = jobs[take.job]
            if job.rank != rank or take.choice is None:
                continue
            (bound if is_served(job) else free)[take.column] = take.choice.unserved_ratio
            left[take.column] = float(take.choice.has_left)
            taken[take.column] = float(count_taken(job, take.choice))
            degraded[take.column] = float(take.candidate.degradation)
        stages += [each for each in (left, taken, bound, free, degraded) if each.any()]
    return stages


def _minimise_money(master: Master, effort: Effort, start: Floats | None = None) -> tuple[Answer, str]:
    programme = master.programme
    if sum(programme.is_integer) <= _FEW_COLUMNS:
        return solve(programme, effort, start=start), "exact"
    relaxed = solve(programme, effort, is_relaxed=True)
    if relaxed.values is None and relaxed.is_proven:
        return relaxed, "exact"
    if relaxed.values is None or relaxed.reduced_costs is None:
        return solve(programme, effort, start=start), "exact"
    return _round_guided(master, effort, relaxed, start)


def _round_guided(
    master: Master, effort: Effort, relaxed: Answer, start: Floats | None
) -> tuple[Answer, str]:
    """The programme over columns that the relaxed answer finds promising, then neighbourhoods of that."""
    bound = relaxed.objective
    chosen = _choose_columns(master, relaxed, _PER_JOB)
    if start is not None:
        chosen.update(take.column for take in master.takes if start[take.column] > 0.5)
    first = _solve_over(master, effort, chosen, start)
    if first.values is None:
        return solve(master.programme, effort, start=start), "exact"
    best, method = first, "guided"
    for columns in _list_neighbourhoods(master, relaxed):
        if best.values is None or best.objective - bound <= _GOOD_ENOUGH * abs(best.objective):
            break
        kept = {take.column for take in master.takes if best.values[take.column] > 0.5}
        answer = _solve_over(master, replace(effort, nodes=_NODES_PER_ROUND), columns | kept, best.values)
        if answer.values is not None and answer.objective < best.objective - 1e-9:
            best, method = answer, "guided, neighbourhoods"
    return Answer(best.values, best.objective, bound, is_proven=False), method


def _list_neighbourhoods(master: Master, relaxed: Answer) -> Iterator[set[int]]:
    """Column sets that let the jobs of a few pools choose anew, all others keeping what they have.

    Pools that share most jobs go together; the order depends on names alone.
    """
    promising = _choose_columns(master, relaxed, 6 * _PER_JOB)
    by_pool: dict[str, set[int]] = {}
    for take in master.takes:
        if take.column in promising:
            by_pool.setdefault(take.candidate.pool, set()).add(take.job)
    columns_of: dict[int, list[Take]] = {}
    for take in master.takes:
        if take.column in promising:
            columns_of.setdefault(take.job, []).append(take)
    names = sorted(by_pool)
    for turn, name in enumerate(names[:_MOST_ROUNDS]):
        near = sorted(names, key=lambda other: (-len(by_pool[name] & by_pool[other]), other))
        jobs = sorted(set.union(*(by_pool[each] for each in near[:_POOLS_PER_ROUND])))
        freed: set[int] = set()
        for job in (*jobs[turn % len(jobs) :], *jobs[: turn % len(jobs)])[:: 1 + turn % 3]:
            if len(freed) >= _COLUMNS_PER_ROUND:
                break
            freed.update(take.column for take in columns_of[job])
        yield freed


def _choose_columns(master: Master, relaxed: Answer, per_job: int) -> set[int]:
    """Columns of least reduced cost of each job, what the relaxed answer uses, and all of jobs that mix."""
    assert relaxed.values is not None  # noqa: S101  (the caller saw to it)
    assert relaxed.reduced_costs is not None  # noqa: S101  (see above)
    reduced = relaxed.reduced_costs
    by_job: dict[int, list[Take]] = {}
    for take in master.takes:
        by_job.setdefault(take.job, []).append(take)
    chosen: set[int] = set()
    for takes in by_job.values():
        ranked = sorted(takes, key=lambda take: (reduced[take.column], take.candidate.name))
        chosen.update(take.column for take in ranked[:per_job])
    chosen.update(take.column for take in master.takes if relaxed.values[take.column] > _ZERO)
    return chosen


def _solve_over(master: Master, effort: Effort, chosen: set[int], start: Floats | None) -> Answer:
    programme = master.programme
    uppers = list(programme.upper)
    for take in master.takes:
        if take.column not in chosen:
            programme.upper[take.column] = 0.0
    try:
        return solve(programme, effort, start=start)
    finally:
        programme.upper[:] = uppers


def _complete(master: Master, counts: dict[int, float], effort: Effort) -> Floats | None:
    """All columns of a plan of which the takes are known; None when it is not feasible."""
    programme = master.programme
    lowers, uppers = list(programme.lower), list(programme.upper)
    for take in master.takes:
        value = counts.get(take.column, 0.0)
        programme.lower[take.column] = programme.upper[take.column] = value
    try:
        return solve(programme, effort).values
    finally:
        programme.lower[:], programme.upper[:] = lowers, uppers


def _found(master: Master, answer: Answer, method: str) -> Found:
    assert answer.values is not None  # noqa: S101  (the caller saw to it)
    takes: dict[int, list[tuple[Candidate, Choice | None, int]]] = {}
    for take in master.takes:
        count = round(float(answer.values[take.column]))
        if count > 0:
            replicas = take.choice.replicas if take.choice else count
            takes.setdefault(take.job, []).append((take.candidate, take.choice, replicas))
    return Found(takes, answer.objective, answer.bound, method)
