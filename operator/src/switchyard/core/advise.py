"""The plan that would be best if nothing were bound to where it runs, with today's cost in the same money.

Two problems over one world, at the demand of now: in the first every workload that serves stays where it is;
in the second all are free, and what they hold is where changes are counted from. Neither acts: what comes of
the comparison is a recommendation (stability.recommend).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal

from switchyard.catalog import Catalog, load_catalog
from switchyard.core.cutover.errand import Recall, recall_nothing
from switchyard.core.placement.ballot import Ballot
from switchyard.core.placement.optimise import Optimiser
from switchyard.core.placement.pool_view import PoolView
from switchyard.core.placement.pose import Circumstances, Intent, build_candidate, pose, pose_job
from switchyard.core.placement.problem import Candidate, Job, JobKey, Placement, Problem, Solver
from switchyard.core.readings import read_world
from switchyard.core.seats import Seat, list_ballots, recall_all, seat_all
from switchyard.core.world import Advice, AdvisedPlacement, World


def advise(
    world: World,
    catalog: Catalog | None = None,
    solver: Solver | None = None,
    recall: Recall = recall_nothing,
) -> Advice:
    """The best plan found for this world, and what today's placements cost beside it.

    What a cutover runs beside a workload keeps its devices in both, and is no workload to be advised.
    """
    readings = read_world(world, catalog or load_catalog())
    broken = dict(readings.broken)
    seats = seat_all(world, readings, broken, recall_all(world.plans, recall, broken))
    solver = solver or Optimiser()
    ballots = list_ballots(seats)
    bound = pose(ballots, readings.pools, Circumstances(_intend(seats), readings.quotas))
    today = solver.solve(bound)
    free = solver.solve(_release(bound, [seat.ballot for seat in seats.values()], readings.pools))
    return Advice(
        made_at=world.now,
        placements={
            key: tuple(_describe(each) for each in placements)
            for key, placements in free.placements.items()
            if key in seats
        },
        current_cost_per_hour={
            key: sum((_price(each) for each in today.placements.get(key, ())), Decimal(0))
            for key, seat in seats.items()
            if seat.ballot.is_live and key in today.placements
        },
        unserved={key: share for key, share in free.unserved.items() if share > 0 and key in seats},
        gap_ratio=free.gap_ratio,
        method=free.method,
    )


def _intend(seats: Mapping[JobKey, Seat]) -> dict[JobKey, Intent]:
    """Of mixes, how many replicas they are to have; a single track is sized by its demand, waits left out."""
    return {
        key: seat.sizing.intent
        for key, seat in seats.items()
        if seat.sizing is not None and seat.ballot.facts.mode == "mixed"
    }


def _release(bound: Problem, ballots: list[Ballot], pools: Mapping[str, PoolView]) -> Problem:
    """The problem with every workload that serves free to choose.

    Those that only start stay bound, as do those whose demand is not known now: nobody knows what they need.
    """
    holders = {ballot.facts.key: ballot for ballot in ballots if ballot.is_live and not ballot.is_frozen}
    jobs = tuple(
        _release_job(job, holders[job.key], pools) if job.key in holders else job for job in bound.jobs
    )
    return replace(bound, jobs=jobs)


def _release_job(job: Job, ballot: Ballot, pools: Mapping[str, PoolView]) -> Job:
    """What it could choose if it were new, and the place that it has: no closed door sends it away."""
    new = pose_job(replace(ballot, held=()), pools)
    candidates: dict[tuple[str, str, int], Candidate] = {
        (*each.name, each.degradation): each for each in new.candidates
    }
    for held in ballot.held:
        if held.objection is None:
            own = build_candidate(held.option, pools[held.option.pool], ballot.facts)
            candidates.setdefault((*own.name, own.degradation), own)
    return replace(
        new,
        candidates=tuple(candidates[key] for key in sorted(candidates)),
        holdings=job.holdings,
        is_bound=False,
        is_divisible=job.is_divisible,
    )


def _describe(placement: Placement) -> AdvisedPlacement:
    candidate = placement.candidate
    return AdvisedPlacement(
        variant=candidate.variant,
        pool=candidate.pool,
        replicas=placement.replicas,
        cost_per_hour=_price(placement),
        degradation=candidate.degradation,
    )


def _price(placement: Placement) -> Decimal:
    """Devices, energy and the risk of interruptions; what the change itself costs is counted apart."""
    return placement.cost_per_hour + placement.candidate.risk_per_hour * placement.replicas
