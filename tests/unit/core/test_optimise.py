"""The optimiser against every plan of tiny problems, and what must hold on problems of any size."""

from __future__ import annotations

import os
from dataclasses import replace
from decimal import Decimal
from random import Random

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from tests.unit.core.placement_brute_force import Taken, best_score, rate
from tests.unit.core.placement_problems import problems

from switchyard.core.placement.optimise import Optimiser, programme
from switchyard.core.placement.problem import (
    Candidate,
    Holding,
    Job,
    JobKey,
    Problem,
    Solution,
    Supply,
)

EXAMPLES = int(os.environ.get("SWITCHYARD_EXAMPLES", "400"))
thorough = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def taken(problem: Problem, solution: Solution) -> tuple[Taken, ...]:
    return tuple(
        tuple((each.candidate, each.replicas) for each in solution.placements.get(job.key, ()))
        for job in problem.jobs
    )


@given(problems())
@thorough
def test_no_plan_is_better_than_the_one_found(problem: Problem) -> None:
    solution = Optimiser().solve(problem)
    event(solution.method)
    event(f"{len(solution.placements)} of {len(problem.jobs)} placed")
    assert rate(problem, taken(problem, solution)) == pytest.approx(best_score(problem), abs=2e-5)


@given(problems(), st.randoms(use_true_random=False))
@settings(thorough, max_examples=EXAMPLES // 4)
def test_the_order_in_which_things_are_listed_changes_nothing(problem: Problem, chance: Random) -> None:
    jobs, supplies = list(problem.jobs), list(problem.supplies)
    chance.shuffle(jobs)
    chance.shuffle(supplies)
    turned = [replace(job, candidates=tuple(reversed(job.candidates))) for job in jobs]
    shuffled = Problem(tuple(turned), tuple(supplies), problem.quotas)
    assert Optimiser().solve(shuffled) == Optimiser().solve(problem)


@given(problems())
@settings(thorough, max_examples=EXAMPLES // 4)
def test_an_answer_that_became_today_s_plan_is_kept(problem: Problem) -> None:
    """Once carried out, a plan is no reason for another one."""
    supplies = tuple(
        replace(
            each, growth_devices=0, free_by_node=((each.name, sum(free for _, free in each.free_by_node)),)
        )
        for each in problem.supplies
    )
    new = tuple(replace(job, holdings=(), is_divisible=False) for job in problem.jobs)
    first = Optimiser().solve(replace(problem, jobs=new, supplies=supplies))
    running = tuple(replace(job, holdings=_hold(job, first), is_bound=True) for job in new)
    second = Optimiser().solve(replace(problem, jobs=running, supplies=supplies))
    assert _counts(second) == _counts(first)


def _hold(job: Job, solution: Solution) -> tuple[Holding, ...]:
    """What runs of a job after its placements were carried out; to stop a replica costs something."""
    return tuple(
        Holding(replace(each.candidate, remove_per_hour=Decimal(10)), ((each.candidate.pool, each.replicas),))
        for each in solution.placements.get(job.key, ())
    )


def _counts(solution: Solution) -> dict[JobKey, list[tuple[tuple[str, str], int]]]:
    return {
        key: [(each.candidate.name, each.replicas) for each in placed]
        for key, placed in solution.placements.items()
    }


@given(problems())
@settings(thorough, max_examples=EXAMPLES // 4)
def test_the_gap_is_honest(problem: Problem) -> None:
    solution = Optimiser().solve(problem)
    assert solution.gap_ratio == 0.0 or "stages" in solution.method


def test_nothing_is_written_to_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    candidate = Candidate("v", "p", 1, 2, 1.0)
    Optimiser().solve(
        Problem((Job(("a", "b"), 0, (candidate,), demand=2.0),), (Supply("p", (("n", 4),), Decimal(1)),))
    )
    assert capfd.readouterr() == ("", "")


@given(problems())
@settings(thorough, max_examples=EXAMPLES // 8)
def test_without_highspy_scipy_finds_plans_as_good(problem: Problem) -> None:
    usual = Optimiser().solve(problem)
    has_highs = programme.has_highs
    programme.has_highs = lambda: False
    try:
        other = Optimiser().solve(problem)
    finally:
        programme.has_highs = has_highs
    assert rate(problem, taken(problem, other)) == pytest.approx(
        rate(problem, taken(problem, usual)), abs=2e-5
    )
