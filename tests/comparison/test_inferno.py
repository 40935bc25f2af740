"""Against the workload-variant-autoscaler on its own rates per replica: only the choice differs."""

from __future__ import annotations

from decimal import Decimal

import pytest
from tests.comparison.inferno import build_problem, read_candidates
from tests.comparison.regret_greedy import choose_greedily, total_cost

from switchyard.core.placement.optimise import Optimiser
from switchyard.core.placement.problem import Problem, Solution


def served_by_rank(problem: Problem, solution: Solution) -> dict[int, float]:
    """Sum of the served shares of each tier's servers; 1 is the highest tier."""
    served: dict[int, float] = {}
    for job in problem.jobs:
        served[job.rank] = served.get(job.rank, 0.0) + 1 - solution.unserved.get(job.key, 0.0)
    return served


def test_the_greedy_choice_costs_what_was_published() -> None:
    """So what the optimiser is compared with, here and in the benchmarks, is the published choice."""
    problem = build_problem()
    assert total_cost(problem, choose_greedily(problem)) == pytest.approx(read_candidates()["total"])


def test_one_accelerator_per_server_costs_a_tenth_less_than_published() -> None:
    problem = build_problem()
    solution = Optimiser().solve(problem)
    assert solution.unserved == {}
    assert all(len(placed) == 1 for placed in solution.placements.values())
    assert solution.gap_ratio == 0.0
    assert round(solution.cost_per_hour, 6) == Decimal(35767)
    assert read_candidates()["total"] == 39743
    assert solution.cost_per_hour <= Decimal("0.9") * read_candidates()["total"]


def test_mixing_accelerators_costs_less_still() -> None:
    solution = Optimiser().solve(build_problem(mode="mixed"))
    assert solution.unserved == {}
    assert solution.gap_ratio == 0.0
    assert round(solution.cost_per_hour, 6) == Decimal("35386.5")


@pytest.mark.parametrize(
    ("capacity_ratio", "lowest_tier"),
    [(0.6, 3.95), (0.4, 1.60)],
)
def test_when_short_the_lowest_tier_is_short_alone(capacity_ratio: float, lowest_tier: float) -> None:
    problem = build_problem(capacity_ratio, is_divisible=True)
    served = served_by_rank(problem, Optimiser().solve(problem))
    assert served[1] == pytest.approx(5.0)
    assert served[2] == pytest.approx(5.0)
    assert served[3] >= lowest_tier


@pytest.mark.parametrize(("capacity_ratio", "lowest_tier"), [(0.6, 4.018), (0.4, 1.995)])
def test_mixing_serves_more_of_the_lowest_tier(capacity_ratio: float, lowest_tier: float) -> None:
    """The greedy solver serves 3.32 and 1.42 of its five servers, and at 40 % leaves tier 2 short for it."""
    problem = build_problem(capacity_ratio, mode="mixed", is_divisible=True)
    served = served_by_rank(problem, Optimiser().solve(problem))
    assert served[1] == pytest.approx(5.0)
    assert served[2] == pytest.approx(5.0)
    assert served[3] >= lowest_tier
