"""How good plans are and how soon: random worlds of three sizes, and one change in the largest."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from decimal import Decimal
from random import Random

from tests.benchmarks.figures import Figure
from tests.benchmarks.scale import Scale
from tests.comparison.regret_greedy import choose_greedily, total_cost

from switchyard.core.placement.optimise import Optimiser
from switchyard.core.placement.problem import Candidate, Holding, Job, Problem, Solution, Supply

_SIZES = ((100, 20), (300, 30), (1_000, 50))
_NODE_DEVICES = 8


def measure_solving(scale: Scale) -> list[Figure]:
    """Seconds and gap by size, with and without a tenth of workloads that mix, and a single change."""
    sizes = _SIZES if scale.workloads > 100 else _SIZES[:1]
    figures: list[Figure] = []
    for workloads, pools in sizes:
        for mixed_ratio in (0.0, 0.1):
            figures += _measure_world(workloads, pools, mixed_ratio)
    figures += _measure_change(*sizes[-1])
    return figures


def _measure_world(workloads: int, pools: int, mixed_ratio: float) -> list[Figure]:
    problem = draw_world(workloads, pools, mixed_ratio)
    solution, seconds = _solve(Optimiser(), problem)
    greedy = choose_greedily(problem)
    name = f"{workloads} workloads x {pools} pools" + (", a tenth mixed" if mixed_ratio else "")
    note = f"{len(solution.placements)} placed, {solution.method}"
    figures = [
        Figure("solving", f"{name}: time", seconds, "s", note),
        Figure("solving", f"{name}: gap to the bound", 100 * (solution.gap_ratio or 0.0), "%"),
    ]
    if len(greedy) == len(solution.placements):
        ratio = float(solution.cost_per_hour) / total_cost(problem, greedy)
        figures.append(Figure("solving", f"{name}: cost", ratio, "x", "of the greedy choice by regret"))
    else:
        note = f"the greedy choice leaves {workloads - len(greedy)} out"
        figures.append(Figure("solving", f"{name}: placed", len(solution.placements), "", note))
    return figures


def _measure_change(workloads: int, pools: int) -> list[Figure]:
    """One workload asks for twice as much in a world where all others run."""
    problem = draw_world(workloads, pools, 0.1)
    optimiser = Optimiser()
    running = _settle(problem, optimiser.solve(problem))
    optimiser.solve(running)
    jobs = list(running.jobs)
    jobs[7] = replace(
        problem.jobs[7],
        demand=2 * jobs[7].demand,
        candidates=tuple(replace(each, replicas=2 * each.replicas) for each in problem.jobs[7].candidates),
    )
    _, seconds = _solve(optimiser, replace(running, jobs=tuple(jobs)))
    return [Figure("solving", f"{workloads} workloads x {pools} pools: one new demand", seconds, "s")]


def _settle(problem: Problem, solution: Solution) -> Problem:
    """The world in which the plan runs: each replica on a node with room."""
    free = {each.name: dict(each.free_by_node) for each in problem.supplies}
    holdings: dict[tuple[str, str], list[Holding]] = {}
    pending = [
        (-each.candidate.unit_devices, key, each) for key, got in solution.placements.items() for each in got
    ]
    for _, key, placement in sorted(pending, key=lambda row: (row[0], row[1], row[2].candidate.name)):
        unit, by_node, left = placement.candidate.unit_devices, [], placement.replicas
        for node, devices in free[placement.candidate.pool].items():
            count = min(left, devices // unit)
            if count:
                by_node.append((node, count))
                free[placement.candidate.pool][node] -= count * unit
                left -= count
        held = replace(placement.candidate, replicas=placement.replicas, remove_per_hour=Decimal(10))
        holdings.setdefault(key, []).append(Holding(held, tuple(by_node)))
    jobs = tuple(replace(job, holdings=tuple(holdings.get(job.key, ()))) for job in problem.jobs)
    return replace(problem, jobs=jobs)


def _solve(optimiser: Optimiser, problem: Problem) -> tuple[Solution, float]:
    start = time.perf_counter()
    solution = optimiser.solve(problem)
    return solution, time.perf_counter() - start


def draw_world(workloads: int, pools: int, mixed_ratio: float = 0.0, *, seed: int = 1) -> Problem:
    """Workloads that can use 60 % of the pools, demand lognormal, capacity for all but little to spare."""
    chance = Random(seed)
    units = [chance.choice([1, 1, 1, 2, 4]) for _ in range(pools)]
    prices = [Decimal(str(round(chance.uniform(0.4, 6.0), 3))) for _ in range(pools)]
    speeds = [float(price) ** 0.9 * chance.uniform(0.7, 1.4) for price in prices]
    load = [0.0] * pools
    jobs = []
    for index in range(workloads):
        demand = round(chance.lognormvariate(1.5, 1.0), 3)
        candidates = []
        for pool in range(pools):
            if chance.random() >= 0.6:
                continue
            for variant in ("a", "b")[: chance.choice([1, 2])]:
                rate = round(speeds[pool] * units[pool] * chance.uniform(0.6, 1.4), 4)
                replicas = max(1, math.ceil(demand / rate))
                energy = Decimal(str(round(chance.uniform(0.01, 0.1), 3)))
                candidates.append(
                    Candidate(variant, f"pool-{pool:02}", units[pool], replicas, rate, energy_per_hour=energy)
                )
        for candidate in candidates:
            devices = candidate.replicas * candidate.unit_devices
            load[int(candidate.pool[-2:])] += devices / len(candidates)
        jobs.append(
            Job(
                key=("benchmark", f"workload-{index:04}"),
                rank=chance.choice([0, 1, 1, 2]),
                candidates=tuple(sorted(candidates, key=lambda each: each.name)),
                demand=demand,
                mode="mixed" if chance.random() < mixed_ratio else "single",
            )
        )
    supplies = []
    for pool in range(pools):
        nodes = max(1, int(1.2 * load[pool]) // _NODE_DEVICES)
        supplies.append(
            Supply(
                name=f"pool-{pool:02}",
                free_by_node=tuple((f"node-{pool:02}-{node:03}", _NODE_DEVICES) for node in range(nodes)),
                price_per_hour=prices[pool],
                paid_devices=chance.choice([0, 0, 3 * nodes]),
            )
        )
    return Problem(tuple(jobs), tuple(supplies))
