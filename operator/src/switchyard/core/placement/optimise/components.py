"""Parts of a problem that share no pool and no quota: each is a problem of its own."""

from __future__ import annotations

from dataclasses import replace

from switchyard.core.placement.optimise.choices import can_take, list_spot_pools
from switchyard.core.placement.problem import Job, Problem


def split(problem: Problem) -> list[Problem]:
    """The parts, by their first job. Jobs that can take nothing are left out, as are unasked pools."""
    parent: dict[str, str] = {each.name: each.name for each in problem.supplies}

    def find(pool: str) -> str:
        while parent[pool] != pool:
            parent[pool] = parent[parent[pool]]
            pool = parent[pool]
        return pool

    def join(pools: list[str]) -> None:
        for pool in pools[1:]:
            parent[find(pool)] = find(pools[0])

    pools_of = {job.key: list_pools(job, parent) for job in problem.jobs}
    for pools in pools_of.values():
        join(pools)
    for quota in problem.quotas:
        join([pool for pool in quota.pools if pool in parent])
        for job in problem.jobs:
            pools = pools_of[job.key]
            inside = [pool for pool in quota.pools if pool in pools]
            if job.key[0] == quota.namespace and inside:
                join([quota.pools[0] if quota.pools[0] in parent else inside[0], *inside])
    spots = list_spot_pools(problem.supplies)
    jobs: dict[str, list[Job]] = {}
    for job in sorted(problem.jobs, key=lambda each: each.key):
        pools = pools_of[job.key]
        if pools and (job.mode == "mixed" or can_take(job, spots)):
            jobs.setdefault(find(pools[0]), []).append(job)
    parts = []
    for root, members in jobs.items():
        supplies = tuple(
            sorted((each for each in problem.supplies if find(each.name) == root), key=lambda each: each.name)
        )
        names = {each.name for each in supplies}
        quotas = tuple(
            sorted((each for each in problem.quotas if names & set(each.pools)), key=lambda each: each.name)
        )
        parts.append(Problem(tuple(_arrange(job) for job in members), supplies, quotas))
    return parts


def list_pools(job: Job, known: dict[str, str]) -> list[str]:
    """Pools of the problem that the job may use or uses."""
    names = {each.pool for each in job.candidates} | {each.candidate.pool for each in job.holdings}
    return sorted(name for name in names if name in known)


def _arrange(job: Job) -> Job:
    """The job with its candidates and holdings in the order of their names."""
    return replace(
        job,
        candidates=tuple(sorted(job.candidates, key=lambda each: (each.name, each.degradation))),
        holdings=tuple(sorted(job.holdings, key=lambda each: each.candidate.name)),
    )
