"""The placement problem of a world: a job for every ballot, with what it holds and how it may change.

serves, single       bound to its track: it gets what fits there of what it wants
serves, mixed, short bound to its tracks: any option may be added, nothing is taken from any
serves, mixed        bound to its tracks: none is added, and some may go when fewer are enough
starting             free to choose, at a price: it does not leave its track for a saving
new                  free to choose; in single mode it is placed whole or not at all
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from switchyard.core.placement.ballot import Ballot, Held
from switchyard.core.placement.case import Option, planned_rate
from switchyard.core.placement.cost import PAID_CAPACITY_TYPES, expect_interruptions, spread_change
from switchyard.core.placement.facts import TIERS, WorkloadFacts
from switchyard.core.placement.pool_view import PoolView, offer_devices
from switchyard.core.placement.problem import Candidate, Holding, Job, JobKey, Problem, Quota
from switchyard.core.placement.starting import Seating, seat_starting

_NEVER_FOR_MONEY = 10  # times the dearest replica per hour: more than any change could save


@dataclass(frozen=True, slots=True)
class Intent:
    """How many replicas of a workload that serves are wanted in all, and whether the number may fall.

    `is_short`: today's replicas, all running, would not carry the demand.
    """

    replicas: int
    is_short: bool = False
    may_fall: bool = False


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What is known beside the ballots.

    `intents`: of workloads that serve. `loose`: those that start and can't have their track whole.
    """

    intents: Mapping[JobKey, Intent] = field(default_factory=dict)
    quotas: tuple[Quota, ...] = ()
    loose: frozenset[JobKey] = frozenset()


def pose(ballots: Sequence[Ballot], pools: Mapping[str, PoolView], known: Circumstances) -> Problem:
    """The problem over all ballots."""
    seating = seat_starting(ballots, pools)
    jobs = []
    for ballot in ballots:
        key = ballot.facts.key
        if ballot.is_rooted or not ballot.held:
            jobs.append(pose_job(ballot, pools, known.intents.get(key)))
        else:
            jobs.append(_pose_starting(ballot, pools, seating, is_loose=key in known.loose))
    return Problem(
        tuple(sorted(jobs, key=lambda job: job.key)),
        tuple(offer_devices(pools[name]) for name in sorted(pools)),
        known.quotas,
    )


def pose_job(ballot: Ballot, pools: Mapping[str, PoolView], intent: Intent | None = None) -> Job:
    """The job of a workload that is new or serves. `intent`: of one that serves."""
    facts, job = ballot.facts, _pose_new(ballot, pools)
    if not ballot.held:
        return job
    if facts.mode == "mixed" and intent is not None:
        return _change_mix(job, ballot, pools, intent)
    held = ballot.held[0]
    wanted = held.option.replicas if intent is None else intent.replicas
    candidate = replace(build_candidate(held.option, pools[held.option.pool], facts), replicas=wanted)
    return replace(job, holdings=(_hold(held, candidate, pools),), is_divisible=True)


def _pose_new(ballot: Ballot, pools: Mapping[str, PoolView]) -> Job:
    facts = ballot.facts
    is_mixed = facts.mode == "mixed"
    job = Job(
        key=facts.key,
        rank=TIERS.index(facts.tier),
        candidates=tuple(
            build_candidate(ballot.options[key], pools[key[1]], facts) for key in sorted(ballot.options)
        ),
        demand=planned_rate(facts),
        mode="mixed" if is_mixed else "single",
        split="even",
        is_divisible=is_mixed,
        min_replicas=facts.min_replicas,
        max_replicas=facts.max_replicas,
    )
    if not is_mixed:
        return job  # each option alone was judged by the checks
    return replace(
        job,
        min_firm_replicas=facts.min_firm_replicas,
        spot_survival_ratio=facts.spot_survival_ratio,
        max_pool_ratio=facts.max_pool_ratio,
        max_zone_ratio=facts.max_zone_ratio,
        budget_per_hour=_ceiling(facts),
    )


def _pose_starting(ballot: Ballot, pools: Mapping[str, PoolView], seating: Seating, *, is_loose: bool) -> Job:
    """Other options cost more than any saving, so that only service can be a reason to leave."""
    job, facts = _pose_new(ballot, pools), ballot.facts
    if facts.mode == "mixed":
        job = _change_mix(job, ballot, pools, Intent(0, is_short=True))
    names = {each.option.name for each in ballot.held}
    deterrent = _deterrent(job.candidates, pools)
    candidates = tuple(
        each if each.name in names else replace(each, add_per_hour=each.add_per_hour + deterrent)
        for each in job.candidates
    )
    holdings = tuple(
        Holding(
            build_candidate(each.option, pools[each.option.pool], facts),
            seating.get((facts.key, each.track.name), ()),
        )
        for each in ballot.held
    )
    was_short = any(each.track.replicas < each.option.replicas for each in ballot.held)
    listed = {(*each.name, each.degradation) for each in candidates}
    own = (
        each.candidate
        for each in holdings
        if (*each.candidate.name, each.candidate.degradation) not in listed  # its doors are closed to others
    )
    candidates = tuple(sorted((*candidates, *own), key=lambda each: (each.name, each.degradation)))
    return replace(
        job,
        candidates=candidates,
        holdings=holdings,
        is_bound=not is_loose,
        is_divisible=job.is_divisible or was_short or ballot.is_live,
    )


def build_candidate(option: Option, view: PoolView, facts: WorkloadFacts) -> Candidate:
    """The option as the optimiser sees it."""
    unit = option.unit_devices
    is_paid = view.facts.capacity_type in PAID_CAPACITY_TYPES
    per_hour = Decimal(0) if is_paid else view.device_hour.billed() * unit
    added, removed = spread_change(view.facts, per_hour, facts.horizon_seconds)
    return Candidate(
        variant=option.variant,
        pool=option.pool,
        unit_devices=unit,
        replicas=option.replicas,
        rate=option.rate,
        energy_per_hour=view.device_hour.energy_share(option.utilisation_ratio),
        risk_per_hour=expect_interruptions(view.facts, per_hour).per_hour,
        add_per_hour=added,
        remove_per_hour=removed,
        budget_per_hour=view.device_hour.allocated(option.utilisation_ratio) * unit,
        degradation=option.degradation,
    )


def _ceiling(facts: WorkloadFacts) -> Decimal | None:
    """The budget per hour: as stated, or what the budget per thousand requests comes to at mean demand."""
    found = [] if facts.budget_per_hour is None else [facts.budget_per_hour]
    if facts.budget_per_thousand is not None and facts.mean_rate > 0:
        found.append(facts.budget_per_thousand * Decimal(str(facts.mean_rate)) * Decimal("3.6"))
    return min(found, default=None)


def _change_mix(job: Job, ballot: Ballot, pools: Mapping[str, PoolView], intent: Intent) -> Job:
    """Short: anything may come, nothing goes. Else: nothing comes; replicas go if their number may fall."""
    facts = ballot.facts
    plain = [build_candidate(each.option, pools[each.option.pool], facts) for each in ballot.held]
    can_go = intent.may_fall and not intent.is_short
    removed = Decimal(0) if can_go else _deterrent((*job.candidates, *plain), pools)
    total = max(1, sum(each.track.replicas for each in ballot.held))
    kept = [
        replace(
            candidate,
            rate=candidate.rate or max(job.demand, 1.0) / total,  # not known: what is there is enough
            remove_per_hour=removed,
            most_replicas=None if intent.is_short else each.track.replicas,
        )
        for each, candidate in zip(ballot.held, plain, strict=True)
    ]
    names = {each.name for each in kept}
    others = [each for each in job.candidates if each.name not in names] if intent.is_short else []
    return replace(
        job,
        candidates=tuple(sorted((*kept, *others), key=lambda each: (each.name, each.degradation))),
        holdings=tuple(
            _hold(each, candidate, pools) for each, candidate in zip(ballot.held, kept, strict=True)
        ),
        min_replicas=job.min_replicas if intent.is_short else max(job.min_replicas, intent.replicas),
    )


def _deterrent(candidates: Sequence[Candidate], pools: Mapping[str, PoolView]) -> Decimal:
    """Money per hour and replica that no saving can outweigh."""
    dearest = max(
        (pools[each.pool].device_hour.allocated() * each.unit_devices * each.replicas for each in candidates),
        default=Decimal(0),
    )
    return _NEVER_FOR_MONEY * (dearest + 1)


def _hold(held: Held, candidate: Candidate, pools: Mapping[str, PoolView]) -> Holding:
    """What of a track that serves has its seats, and what runs on closed nodes that stay."""
    open_nodes = dict(pools[candidate.pool].capacity.free_for_plan)
    pods = held.track.pods
    by_node = tuple((node, count) for node, count in sorted(pods.ready_by_node.items()) if node in open_nodes)
    elsewhere = pods.ready - pods.ready_leaving - sum(count for _, count in by_node)
    return Holding(candidate, by_node, max(0, elsewhere))
