"""What one pass of the loop wants, from a frozen world: the recipe that all of the core serves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial

from switchyard.api import Reason
from switchyard.catalog import Catalog, load_catalog
from switchyard.core.decisions import Decisions, ObjectDecision
from switchyard.core.placement.ballot import Ballot
from switchyard.core.placement.case import Option
from switchyard.core.placement.cost import START_UP_SECONDS
from switchyard.core.placement.explain import (
    Leftover,
    describe_limit,
    describe_misfortune,
    explain_rejections,
)
from switchyard.core.placement.guests import find_host, name_guest
from switchyard.core.placement.optimise import Optimiser
from switchyard.core.placement.pose import Circumstances, pose
from switchyard.core.placement.problem import Placement, Solution, Solver
from switchyard.core.plans import Cutovers, PlanTable, decide_plans
from switchyard.core.proposals import Proposal, find_surplus, note_wait, propose
from switchyard.core.readings import Readings, read_world
from switchyard.core.reports import report_broken, report_pool, report_unreadable
from switchyard.core.rollout import roll_out
from switchyard.core.scene import Grant, Guest, NameRegister, Scene, Share
from switchyard.core.seats import Seat, list_ballots, recall_all, seat_all
from switchyard.core.stability.moments import earliest
from switchyard.core.stability.recommend import RecommendationPlan, Today, plan_recommendation
from switchyard.core.world import Pool, Workload, World

Key = tuple[str, str]
_READ_NOTHING = Cutovers()


@dataclass(frozen=True, slots=True)
class _Turn:
    """What all workloads of a pass share.

    `moments`: when time alone may change something of one; `table`: where recommendations may become plans;
    `proposed`: these plans.
    """

    world: World
    readings: Readings
    leftover: Leftover
    names: NameRegister
    moments: list[datetime | None] = field(default_factory=list)
    table: PlanTable | None = None
    proposed: list[ObjectDecision] = field(default_factory=list)


def decide(
    world: World,
    catalog: Catalog | None = None,
    solver: Solver | None = None,
    cutovers: Cutovers = _READ_NOTHING,
) -> Decisions:
    """The objects, statuses and events that this world calls for; none for what is as it should be."""
    readings = read_world(world, catalog or load_catalog())
    broken = dict(readings.broken)
    states = recall_all(world.plans, cutovers.recall, broken)
    seats = seat_all(world, readings, broken, states)
    solution = solve(seats, readings, solver or Optimiser())
    leftover = Leftover(solution, readings.pools, readings.quotas)
    table = PlanTable(world, readings, leftover, seats, states, broken)
    turn = _Turn(
        world,
        readings,
        leftover,
        NameRegister(world),
        table=table if cutovers.carry_on is not None else None,
    )

    objects: list[ObjectDecision] = []
    for pool in world.pools:
        decide_one: Callable[[], ObjectDecision] | None = partial(
            _decide_pool, pool, world, readings, solution
        )
        objects += _guarded(pool, "AcceleratorPool", world, broken, decide_one)
    for workload in world.workloads:
        seat = seats.get(workload.key)
        decide_one = partial(_decide_workload, seat, turn) if seat else None
        objects += _guarded(workload, "InferenceWorkload", world, broken, decide_one)
    passes = decide_plans(table, cutovers)
    surplus = find_surplus(table) if cutovers.carry_on is not None else {}
    objects += [surplus.get((each.decision.namespace, each.decision.name), each.decision) for each in passes]
    turn.moments.extend(each.recheck_at for each in passes)
    objects += turn.proposed
    objects += [report_unreadable(each, world.now) for each in world.unreadable]
    return Decisions(
        tuple(each for each in objects if not each.is_empty),
        recheck_at=_find_recheck(turn),
        watches=tuple(each.watch for each in passes if each.watch is not None),
    )


def solve(seats: Mapping[Key, Seat], readings: Readings, solver: Solver) -> Solution:
    """What every workload gets, and every guest.

    Who does not get what it is bound to is asked again: a mix as one that is short, and who only starts as
    one that may choose.
    """
    ballots = list_ballots(seats)
    intents = {key: seat.sizing.intent for key, seat in seats.items() if seat.sizing is not None}
    known = Circumstances(intents, readings.quotas)
    solution = solver.solve(pose(ballots, readings.pools, known))
    short = {
        key: replace(intent, is_short=True)
        for key, intent in intents.items()
        if seats[key].ballot.facts.mode == "mixed" and not intent.is_short and key in solution.unserved
    }
    loose = frozenset(
        ballot.facts.key
        for ballot in ballots
        if ballot.held and not ballot.is_rooted and ballot.facts.key in solution.unserved
    )
    if not short and not loose:
        return solution
    known = Circumstances({**intents, **short}, readings.quotas, loose)
    return solver.solve(pose(ballots, readings.pools, known))


def _guarded(
    subject: Pool | Workload,
    kind: str,
    world: World,
    broken: Mapping[tuple[str, str, str], str],
    decide_one: Callable[[], ObjectDecision] | None,
) -> list[ObjectDecision]:
    """The decision for one object; what is wrong with it becomes its condition and nobody else's."""
    meta = subject.meta
    if meta.is_deleting:
        return []
    problem = broken.get((kind, meta.namespace, meta.name))
    if problem is None and decide_one is not None:
        try:
            return [decide_one()]
        except Exception as error:  # noqa: BLE001  (one object that cannot be decided on must not stop the others)
            problem = f"{type(error).__name__}: {error}"
    return [report_broken(subject, kind, problem or "it could not be read", world.now)]


def _decide_pool(pool: Pool, world: World, readings: Readings, solution: Solution) -> ObjectDecision:
    name = pool.meta.name
    placed = {
        find_host(key): None
        for key, placements in solution.placements.items()
        if any(each.candidate.pool == name for each in placements)
    }
    trust = readings.trusts[name]
    return report_pool(
        pool, readings.pools[name], readings.pool_problems.get(name), list(placed), world, trust=trust
    )


def _decide_workload(seat: Seat, turn: _Turn) -> ObjectDecision:
    ballot, world, readings, leftover = seat.ballot, turn.world, turn.readings, turn.leftover
    solution = leftover.solution
    key = seat.workload.key
    placements = solution.placements.get(key, ())
    shares = tuple(_share(ballot, each) for each in placements)
    guests = solution.placements.get(name_guest(key), ()) if seat.guest is not None else ()
    grant = Grant(
        shares=shares,
        rejections=explain_rejections(ballot, placements, leftover, guests),
        misfortune=None if placements else describe_misfortune(ballot, leftover),
        gives_way=key in solution.displaced and not any(each.is_kept for each in shares),
        unserved_ratio=solution.unserved.get(key, 0.0),
        limit=next(filter(None, (describe_limit(key[0], each.option, leftover) for each in shares)), None),
    )
    demand = readings.demands[key]
    recommendation = _propose(seat, _recommend(seat, shares, readings, world), turn)
    if seat.sizing is not None:
        turn.moments.append(seat.sizing.plan.recheck_at)
    turn.moments.extend((demand.recheck_at, recommendation.recheck_at))
    return roll_out(
        Scene(
            workload=seat.workload,
            facts=ballot.facts,
            standing=seat.standing,
            grant=grant,
            readings=readings,
            world=world,
            demand=demand,
            sizing=seat.sizing,
            recommendation=recommendation,
            guest=_describe_guest(seat, guests),
        ),
        turn.names,
    )


def _describe_guest(seat: Seat, placements: Sequence[Placement]) -> Guest | None:
    errand = seat.errand
    if errand is None or errand.guest is None:
        return None
    share = _share(seat.guest, placements[0]) if seat.guest is not None and placements else None
    return Guest(errand.guest.track, share, is_idle=errand.is_idle)


def _recommend(seat: Seat, shares: tuple[Share, ...], readings: Readings, world: World) -> RecommendationPlan:
    """What to tell of a better place; nothing for what does not serve yet, or is being moved already."""
    if not seat.ballot.is_live or seat.errand is not None:
        return RecommendationPlan()
    today = Today(
        replicas={each.option.name: each.replicas for each in shares if each.replicas},
        degradation=max((each.degradation for each in shares), default=0),
        start_up_seconds={
            name: view.facts.provisioning_seconds + START_UP_SECONDS for name, view in readings.pools.items()
        },
    )
    stored = seat.workload.status.recommendation
    return plan_recommendation(seat.ballot.facts, today, world.advice, stored, world.now)


def _propose(seat: Seat, recommended: RecommendationPlan, turn: _Turn) -> RecommendationPlan:
    """The recommendation with what its plan waits for; the plan itself, if there is to be one, in `turn`."""
    if turn.table is None:
        return recommended
    try:
        proposal = propose(seat, recommended, turn.table)
    except Exception as error:  # noqa: BLE001  (a plan that can't be drafted must not stop the service)
        proposal = Proposal(waits_for=f"{Reason.InvalidSpec.value}: {type(error).__name__}: {error}")
    if proposal.plan is not None:
        turn.proposed.append(proposal.plan)
    turn.moments.append(proposal.recheck_at)
    return note_wait(recommended, proposal)


def _share(ballot: Ballot, placement: Placement) -> Share:
    """What a placement is in terms of the ballot: the option, and what is held of it."""
    candidate = placement.candidate
    held = ballot.find_held(candidate.name)
    if held is not None and held.option.degradation == candidate.degradation:
        option = held.option
    else:
        option = ballot.options[*candidate.name, candidate.degradation]
    is_mixed = ballot.facts.mode == "mixed" and not candidate.degradation
    return Share(
        option=option,
        replicas=placement.replicas,
        wanted=placement.replicas if is_mixed else max(candidate.replicas, placement.replicas),
        degradation=_find_degradation(ballot, option, placement, is_mixed=is_mixed),
        is_kept=held is not None,
        objection=held.objection.message if held is not None and held.objection is not None else "",
    )


def _find_degradation(ballot: Ballot, option: Option, placement: Placement, *, is_mixed: bool) -> int:
    """The fallback that a placement amounts to: too few replicas may still keep relaxed objectives."""
    if is_mixed or option.degradation or placement.replicas >= option.replicas:
        return option.degradation
    relaxed = [
        each
        for each in ballot.options.values()
        if each.name == option.name and each.degradation and each.replicas <= placement.replicas
    ]
    return min((each.degradation for each in relaxed), default=0)


def _find_recheck(turn: _Turn) -> datetime | None:
    due = [*turn.moments, *(trust.recheck_at for trust in turn.readings.trusts.values())]
    return earliest(*(each for each in due if each is not None and each > turn.world.now))
