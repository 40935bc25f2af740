"""Every plan of a tiny problem, one by one: slow, plain, and written apart from the optimiser."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from itertools import product

from switchyard.core.placement.problem import Candidate, Job, Problem, Supply

Taken = tuple[tuple[Candidate, int], ...]  # replicas by candidate; empty: nothing
Score = tuple[float, ...]


def best_score(problem: Problem) -> Score:
    """The least score of all plans: per rank what is lost, then money."""
    best: Score | None = None
    for plan in product(*(list(list_takings(problem, job)) for job in problem.jobs)):
        if is_feasible(problem, plan):
            score = rate(problem, plan)
            if best is None or score < best:
                best = score
    assert best is not None, "nothing is always feasible"
    return best


def rate(problem: Problem, plan: tuple[Taken, ...]) -> Score:
    """Per rank: served jobs that left, replicas that run and go, unserved of those that are served, unserved
    of the others, degradation; then money.
    """
    score: list[float] = []
    for rank in sorted({job.rank for job in problem.jobs}):
        left = gone = bound = free = degraded = 0.0
        for job, taken in zip(problem.jobs, plan, strict=True):
            if job.rank != rank:
                continue
            unserved = lost_share(problem, job, taken)
            if serves_now(job):
                held = {each.candidate.name for each in job.holdings}
                if job.mode == "single" or is_alone(job, taken):
                    left += not taken or taken[0][0].name not in held
                gone += count_gone(job, taken)
                bound += unserved
            else:
                free += unserved
            if len(taken) == 1:
                degraded += taken[0][0].degradation
        score += [round(each, 6) for each in (left, gone, bound, free, degraded)]
    return (*score, round(float(price(problem, plan)), 5))


def serves_now(job: Job) -> bool:
    return job.is_bound and any(today(job, each.candidate.name) for each in job.holdings)


def today(job: Job, name: tuple[str, str]) -> int:
    return sum(
        each.elsewhere + sum(count for _, count in each.by_node)
        for each in job.holdings
        if each.candidate.name == name
    )


def elsewhere(job: Job, name: tuple[str, str]) -> int:
    return sum(each.elsewhere for each in job.holdings if each.candidate.name == name)


def count_gone(job: Job, taken: Taken) -> int:
    """Replicas that run and would go: of a mix those that it does not want to lose."""
    counts = {candidate.name: replicas for candidate, replicas in taken}
    gone = 0
    for each in job.holdings:
        candidate, running = each.candidate, today(job, each.candidate.name)
        if job.mode == "single" or candidate.degradation:
            if candidate.name in counts:
                gone += max(0, min(running, candidate.replicas) - counts[candidate.name])
        elif candidate.remove_per_hour > 0:
            gone += max(0, running - (0 if is_alone(job, taken) else counts.get(candidate.name, 0)))
    return gone


def lost_share(problem: Problem, job: Job, taken: Taken) -> float:
    if not taken:
        return 1.0
    if is_alone(job, taken):
        candidate, replicas = taken[0]
        if replicas >= candidate.replicas:
            return 0.0
        if job.demand > 0 and candidate.rate > 0 and replicas * candidate.rate < job.demand * (1 - 1e-9):
            return 1 - replicas * candidate.rate / job.demand
        return 1 - replicas / candidate.replicas
    return mix_loss(problem, job, taken)


def is_alone(job: Job, taken: Taken) -> bool:
    return bool(taken) and (job.mode == "single" or taken[0][0].degradation > 0)


def list_takings(problem: Problem, job: Job) -> Iterator[Taken]:
    yield ()
    spots = {each.name for each in problem.supplies if each.is_spot}
    held = [each.candidate for each in job.holdings]
    for candidate in held if serves_now(job) else ():
        if job.mode == "single" or candidate.degradation:
            for replicas in range(1, candidate.replicas + 1):
                yield ((candidate, replicas),)
    names = {each.name for each in held}
    for candidate in job.candidates:
        if job.mode == "mixed" and not candidate.degradation:
            continue
        if serves_now(job) and candidate.name in names:
            continue
        limit = min(job.max_replicas, candidate.most_replicas or job.max_replicas)
        fits_rules = (
            not (candidate.pool in spots and (job.spot_survival_ratio or job.min_firm_replicas))
            and job.max_pool_ratio == 1
            and job.max_zone_ratio == 1
            and candidate.replicas >= job.min_firm_replicas
            and (
                job.budget_per_hour is None
                or candidate.replicas * candidate.budget_per_hour <= job.budget_per_hour
            )
        )
        if not fits_rules or (candidate.replicas > limit and not serves_now(job)):
            continue
        fewest = 1 if job.is_divisible else candidate.replicas
        for replicas in range(fewest, candidate.replicas + 1):
            yield ((candidate, replicas),)
    if job.mode == "mixed":
        yield from _list_mixes(problem, job)


def _list_mixes(problem: Problem, job: Job) -> Iterator[Taken]:
    options = {each.name: each for each in job.candidates if not each.degradation}
    if serves_now(job):
        options |= {each.candidate.name: each.candidate for each in job.holdings}
    usable = [options[name] for name in sorted(options) if options[name].rate > 0]
    limits = [
        job.max_replicas if each.most_replicas is None else min(each.most_replicas, job.max_replicas)
        for each in usable
    ]
    for counts in product(*(range(limit + 1) for limit in limits)):
        taken = tuple((each, count) for each, count in zip(usable, counts, strict=True) if count)
        total = sum(counts)
        cost = sum((each.budget_per_hour * count for each, count in taken), Decimal(0))
        if not taken or total > job.max_replicas:
            continue
        if job.budget_per_hour is not None and cost > job.budget_per_hour:
            continue
        if serves_now(job) or mix_loss(problem, job, taken) <= 1e-9:
            yield taken


def mix_loss(problem: Problem, job: Job, taken: Taken) -> float:
    """The share of the demand that must go unserved so that all rules hold for the rest."""
    spots = {each.name for each in problem.supplies if each.is_spot}
    total = sum(count for _, count in taken)
    firm = sum(count for each, count in taken if each.pool not in spots)

    def carried_without(pools: set[str]) -> float:
        return sum(each.rate * count for each, count in taken if each.pool not in pools)

    served = [1.0, carried_without(set()) / job.demand, total / job.min_replicas]
    if job.min_firm_replicas:
        served.append(firm / job.min_firm_replicas)
    pools = {each.pool for each in (*job.candidates, *(held.candidate for held in job.holdings))}
    domains = [({pool}, job.spot_survival_ratio) for pool in pools & spots]
    domains += [({pool}, 1 - job.max_pool_ratio) for pool in pools]
    zones = {each.zones[0] for each in problem.supplies if len(each.zones) == 1 and each.name in pools}
    domains += [
        ({each.name for each in problem.supplies if each.zones == (zone,)}, 1 - job.max_zone_ratio)
        for zone in zones
    ]
    served += [carried_without(lost) / (share * job.demand) for lost, share in domains if share > 0]
    if job.split == "even":
        served += [each.rate * total / job.demand for each, _ in taken]
    return max(0.0, 1 - min(served))


def is_feasible(problem: Problem, plan: tuple[Taken, ...]) -> bool:
    for quota in problem.quotas:
        devices = sum(
            each.unit_devices * count
            for job, taken in zip(problem.jobs, plan, strict=True)
            for each, count in taken
            if job.key[0] == quota.namespace and each.pool in quota.pools
        )
        if devices > quota.devices:
            return False
    return all(_fits(problem, supply, plan) for supply in problem.supplies)


def _fits(problem: Problem, supply: Supply, plan: tuple[Taken, ...]) -> bool:
    free = dict(supply.free_by_node)
    loose: list[int] = []
    shrunk: list[tuple[int, list[str], int]] = []
    devices = 0
    for job, taken in zip(problem.jobs, plan, strict=True):
        for candidate, count in taken:
            if candidate.pool != supply.name:
                continue
            seated = max(0, count - elsewhere(job, candidate.name))
            devices += seated * candidate.unit_devices
            running = [
                node
                for each in job.holdings
                if each.candidate.name == candidate.name
                for node, number in each.by_node
                for _ in range(number)
            ]
            if seated >= len(running):
                for node in running:
                    free[node] = free.get(node, 0) - candidate.unit_devices
                loose += [candidate.unit_devices] * (seated - len(running))
            else:
                shrunk.append((candidate.unit_devices, running, seated))
    if supply.device_limit is not None and devices > supply.device_limit:
        return False
    if supply.growth_devices:
        free["(growth)"] = supply.growth_devices
    return _stay_and_pack(free, shrunk, sorted(loose, reverse=True))


def _stay_and_pack(free: dict[str, int], shrunk: list[tuple[int, list[str], int]], loose: list[int]) -> bool:
    """Of a track that shrinks any replicas may go: the kindest choice counts."""
    if not shrunk:
        return min(free.values(), default=0) >= 0 and _pack(free, loose)
    unit, running, kept = shrunk[0]
    tried = set()
    for chosen in product((0, 1), repeat=len(running)):
        if sum(chosen) != kept:
            continue
        nodes = tuple(sorted(node for node, is_kept in zip(running, chosen, strict=True) if is_kept))
        if nodes in tried:
            continue
        tried.add(nodes)
        left = dict(free)
        for node in nodes:
            left[node] = left.get(node, 0) - unit
        if min(left.values(), default=0) >= 0 and _stay_and_pack(left, shrunk[1:], loose):
            return True
    return False


def _pack(free: dict[str, int], loose: list[int]) -> bool:
    if not loose:
        return True
    tried = set()
    for node in sorted(free):
        if free[node] >= loose[0] and free[node] not in tried:
            tried.add(free[node])
            if _pack({**free, node: free[node] - loose[0]}, loose[1:]):
                return True
    return False


def price(problem: Problem, plan: tuple[Taken, ...]) -> Decimal:
    total = Decimal(0)
    used: dict[str, int] = {}
    for job, taken in zip(problem.jobs, plan, strict=True):
        counts = {each.name: count for each, count in taken}
        known = {each.name: each for each in (*job.candidates, *(held.candidate for held in job.holdings))}
        for candidate, count in taken:
            seated = max(0, count - elsewhere(job, candidate.name))
            used[candidate.pool] = used.get(candidate.pool, 0) + seated * candidate.unit_devices
            total += seated * candidate.unit_devices * candidate.energy_per_hour
            total += count * candidate.risk_per_hour
        for name, candidate in known.items():
            before, now = today(job, name), counts.get(name, 0)
            if taken or job.mode == "mixed":
                total += candidate.add_per_hour * max(0, now - before)
                total += candidate.remove_per_hour * max(0, before - now)
    for supply in problem.supplies:
        paid = max(0, supply.paid_devices - supply.used_devices)
        total += supply.price_per_hour * max(0, used.get(supply.name, 0) - paid)
    return total
