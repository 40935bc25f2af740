"""The choice of the workload-variant-autoscaler's limited mode, from its published description.

Servers wait in order of priority and, within one, of what they lose when their first candidate is gone. The
first takes its candidate where the type has units left; else it goes back into the line with its next one.
"""

from __future__ import annotations

import bisect

from switchyard.core.placement.problem import Candidate, JobKey, Problem


def choose_greedily(problem: Problem) -> dict[JobKey, Candidate]:
    """The candidate of each job that got one. Node sizes, quotas and mixes are unknown to it."""
    left = {
        each.name: sum(free for _, free in each.free_by_node) + each.growth_devices
        for each in problem.supplies
    }
    prices = {each.name: each.price_per_hour for each in problem.supplies}

    def cost(candidate: Candidate) -> float:
        device = prices[candidate.pool] + candidate.energy_per_hour
        per_replica = device * candidate.unit_devices + candidate.risk_per_hour
        return float(per_replica * candidate.replicas)

    ranked = {
        job.key: sorted(job.candidates, key=lambda each: (cost(each), each.name)) for job in problem.jobs
    }
    ranks = {job.key: job.rank for job in problem.jobs}

    def place_in_line(key: JobKey, first: int) -> tuple[int, float, JobKey, int]:
        costs = [cost(each) for each in ranked[key][first : first + 2]]
        regret = costs[1] - costs[0] if len(costs) > 1 else float("inf")
        return (ranks[key], -regret, key, first)

    line = sorted(place_in_line(job.key, 0) for job in problem.jobs if job.candidates)
    chosen: dict[JobKey, Candidate] = {}
    while line:
        _, _, key, first = line.pop(0)
        candidate = ranked[key][first]
        devices = candidate.replicas * candidate.unit_devices
        if left[candidate.pool] >= devices:
            left[candidate.pool] -= devices
            chosen[key] = candidate
        elif first + 1 < len(ranked[key]):
            bisect.insort(line, place_in_line(key, first + 1))
    return chosen


def total_cost(problem: Problem, chosen: dict[JobKey, Candidate]) -> float:
    """Money per hour of a choice, devices already paid for being free as far as they go."""
    total = sum(
        each.replicas * float(each.energy_per_hour * each.unit_devices + each.risk_per_hour)
        for each in chosen.values()
    )
    for supply in problem.supplies:
        used = sum(each.replicas * each.unit_devices for each in chosen.values() if each.pool == supply.name)
        paid = max(0, supply.paid_devices - supply.used_devices)
        total += max(0, used - paid) * float(supply.price_per_hour)
    return total
