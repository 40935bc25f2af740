"""What a job that takes one candidate can take: whole, or fewer replicas where a part is worth having."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from switchyard.core.placement.problem import Candidate, Holding, Job, Supply


@dataclass(frozen=True, slots=True)
class Choice:
    """Some replicas of one candidate.

    `seated` of them need devices of the pool, `fresh` of these beyond the ones that run. `money`: per hour,
    without what pools bill for devices. `has_left`: a job that is bound gives up where it serves.
    """

    candidate: Candidate
    replicas: int
    seated: int
    fresh: int
    unserved_ratio: float
    money: float
    has_left: bool = False


def list_choices(job: Job, spot_pools: frozenset[str], *, is_whole: bool) -> list[Choice]:
    """Every choice, by candidate name and then fewest replicas last. `is_whole`: none that leaves demand."""
    found: list[Choice] = []
    held = {each.candidate.name for each in job.holdings}
    if is_served(job):
        for holding in job.holdings:
            found += _scale(job, holding.candidate, is_whole=is_whole, is_divisible=True)
    is_loose = not is_served(job)
    if is_loose or not is_whole:
        for candidate in job.candidates:
            if (not is_loose and candidate.name in held) or not stands_alone(job, candidate, spot_pools):
                continue
            found += _scale(job, candidate, is_whole=is_whole, is_divisible=job.is_divisible)
    return sorted(found, key=lambda each: (each.candidate.name, -each.replicas))


def can_take(job: Job, spot_pools: frozenset[str]) -> bool:
    """True when the job has any choice at all."""
    return is_served(job) or any(
        stands_alone(job, each, spot_pools) and each.replicas <= most_replicas(job, each)
        for each in job.candidates
    )


def is_served(job: Job) -> bool:
    """True when the job is bound to something that runs."""
    return job.is_bound and any(count_running(each) for each in job.holdings)


def count_running(holding: Holding) -> int:
    """Replicas that run, wherever."""
    return sum(count for _, count in holding.by_node) + holding.elsewhere


def count_taken(job: Job, choice: Choice) -> int:
    """Replicas that run, are wanted, and would go; none of a job that is not bound to them."""
    if not is_served(job):
        return 0
    holding = next((each for each in job.holdings if each.candidate.name == choice.candidate.name), None)
    if holding is None:
        return 0
    return max(0, min(count_running(holding), holding.candidate.replicas) - choice.replicas)


def stands_alone(job: Job, candidate: Candidate, spot_pools: frozenset[str]) -> bool:
    """True when all replicas may be of this candidate, by the rules on spreading and by the budget."""
    if candidate.pool in spot_pools and (job.spot_survival_ratio > 0 or job.min_firm_replicas > 0):
        return False
    if job.max_pool_ratio < 1 or job.max_zone_ratio < 1:
        return False
    if candidate.replicas < job.min_firm_replicas:
        return False
    cost = candidate.budget_per_hour * candidate.replicas
    return job.budget_per_hour is None or cost <= job.budget_per_hour


def list_spot_pools(supplies: tuple[Supply, ...]) -> frozenset[str]:
    """Names of the pools that may be reclaimed."""
    return frozenset(each.name for each in supplies if each.is_spot)


def most_replicas(job: Job, candidate: Candidate) -> int:
    """What the job may have of it."""
    limit = job.max_replicas if candidate.most_replicas is None else candidate.most_replicas
    return min(limit, job.max_replicas)


def unserved_ratio(job: Job, candidate: Candidate, replicas: int) -> float:
    """Share of the demand that so many replicas leave."""
    wanted = candidate.replicas
    if replicas >= wanted:
        return 0.0
    if job.demand > 0 and candidate.rate > 0:
        left = 1.0 - replicas * candidate.rate / job.demand
        if left > 1e-9:
            return left
    return 1.0 - replicas / wanted


def count_changes(job: Job, name: tuple[str, str], replicas: int) -> float:
    """Money per hour for replicas added to and taken from today's, over all of the job's holdings."""
    money = 0.0
    is_known = False
    for holding in job.holdings:
        today = count_running(holding)
        if holding.candidate.name == name:
            is_known = True
            money += float(holding.candidate.add_per_hour) * max(0, replicas - today)
            money += float(holding.candidate.remove_per_hour) * max(0, today - replicas)
        elif job.mode == "single":  # a mix has columns for what it takes away
            money += float(holding.candidate.remove_per_hour) * today
    if not is_known:
        added = next((each.add_per_hour for each in job.candidates if each.name == name), None)
        money += float(added or 0) * replicas
    return money


def _scale(job: Job, candidate: Candidate, *, is_whole: bool, is_divisible: bool) -> Iterator[Choice]:
    holding = next((each for each in job.holdings if each.candidate.name == candidate.name), None)
    running = sum(count for _, count in holding.by_node) if holding else 0
    elsewhere = holding.elsewhere if holding else 0
    wanted = candidate.replicas
    if wanted > most_replicas(job, candidate) and not is_served(job):
        return
    fewest = wanted if is_whole or not is_divisible else 1
    for replicas in range(wanted, fewest - 1, -1):
        seated = max(0, replicas - elsewhere)
        per_replica = float(candidate.energy_per_hour) * candidate.unit_devices
        yield Choice(
            candidate=candidate,
            replicas=replicas,
            seated=seated,
            fresh=max(0, seated - running),
            unserved_ratio=unserved_ratio(job, candidate, replicas),
            money=seated * per_replica
            + float(candidate.risk_per_hour) * replicas
            + count_changes(job, candidate.name, replicas),
            has_left=is_served(job) and holding is None,
        )
