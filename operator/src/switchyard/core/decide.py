"""What one pass of the loop wants, from a frozen world: the recipe that all of the core serves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from switchyard.catalog import Catalog, load_catalog
from switchyard.core.decisions import Decisions, ObjectDecision
from switchyard.core.placement.admission import Option
from switchyard.core.placement.capacity import TrackPods
from switchyard.core.placement.explain import Leftover, describe_misfortune, explain_rejections
from switchyard.core.placement.pose import Ballot, draw_up, pose
from switchyard.core.placement.problem import Placement, Solution, Solver
from switchyard.core.placement.solve import RegretSolver
from switchyard.core.readings import Readings, read_world
from switchyard.core.reports import report_broken, report_pool, report_unreadable
from switchyard.core.rollout import Grant, NameRegister, Scene, roll_out
from switchyard.core.tracks import Standing, find_standing
from switchyard.core.world import Pool, Workload, World

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class _Seat:
    """A workload with what it may choose from and what exists of it."""

    workload: Workload
    ballot: Ballot
    standing: Standing


def decide(world: World, catalog: Catalog | None = None, solver: Solver | None = None) -> Decisions:
    """The objects, statuses and events that this world calls for; none for what is as it should be."""
    readings = read_world(world, catalog or load_catalog())
    broken = dict(readings.broken)
    seats = _seat_all(world, readings, broken)
    problem = pose([seat.ballot for seat in seats.values()], readings.pools)
    solution = (solver or RegretSolver()).solve(problem)
    names = NameRegister(world)
    leftover = Leftover(solution)

    objects: list[ObjectDecision] = []
    for pool in world.pools:
        decide_one: Callable[[], ObjectDecision] | None = partial(
            _decide_pool, pool, world, readings, solution
        )
        objects += _guarded(pool, "AcceleratorPool", world, broken, decide_one)
    for workload in world.workloads:
        seat = seats.get(workload.key)
        decide_one = partial(_decide_workload, seat, world, readings, leftover, names) if seat else None
        objects += _guarded(workload, "InferenceWorkload", world, broken, decide_one)
    objects += [report_unreadable(each, world.now) for each in world.unreadable]
    return Decisions(
        tuple(each for each in objects if each.applies or each.deletes or each.status or each.events)
    )


def _seat_all(world: World, readings: Readings, broken: dict[tuple[str, str, str], str]) -> dict[Key, _Seat]:
    seats = {}
    for workload in world.workloads:
        facts = readings.workloads.get(workload.key)
        if facts is None:
            continue
        try:
            children = readings.children.get(workload.meta.uid, ())
            standing = find_standing(workload, facts, list(readings.pools), children, readings.fleet)
            held = standing.track(standing.served)
            ballot = draw_up(
                facts,
                readings.pools,
                namespace_labels=world.namespaces.get(workload.meta.namespace, {}),
                templates=readings.templates.get(workload.meta.namespace, frozenset()),
                held_track=held,
                held_pods=readings.fleet.track((workload.meta.namespace, held.name)) if held else TrackPods(),
            )
        except Exception as error:  # noqa: BLE001  (a workload that cannot be weighed must not stop the others)
            broken["InferenceWorkload", *workload.key] = f"{type(error).__name__}: {error}"
            continue
        seats[workload.key] = _Seat(workload, ballot, standing)
    return seats


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
        except Exception as error:  # noqa: BLE001  (see above)
            problem = f"{type(error).__name__}: {error}"
    return [report_broken(subject, kind, problem or "it could not be read", world.now)]


def _decide_pool(pool: Pool, world: World, readings: Readings, solution: Solution) -> ObjectDecision:
    placed = [
        key for key, placement in solution.placements.items() if placement.candidate.pool == pool.meta.name
    ]
    problem = readings.pool_problems.get(pool.meta.name)
    return report_pool(pool, readings.pools[pool.meta.name], problem, placed, world)


def _decide_workload(
    seat: _Seat, world: World, readings: Readings, leftover: Leftover, names: NameRegister
) -> ObjectDecision:
    ballot, solution = seat.ballot, leftover.solution
    placement: Placement | None = solution.placements.get(seat.workload.key)
    misfortune = None if placement else describe_misfortune(ballot, leftover, readings.pools)
    grant = Grant(
        placement=placement,
        option=_chosen_option(ballot, placement),
        rejections=explain_rejections(ballot, placement, leftover, readings.pools),
        misfortune=misfortune,
        objection=_objection(ballot, placement),
        gives_way=seat.workload.key in solution.displaced and not _is_kept(ballot, placement),
    )
    return roll_out(Scene(seat.workload, ballot.facts, seat.standing, grant, readings, world), names)


def _is_kept(ballot: Ballot, placement: Placement | None) -> bool:
    """True when the placement is the track that serves already."""
    held = ballot.held
    if placement is None or held is None:
        return False
    return (held.option.variant, held.option.pool) == placement.candidate.name


def _chosen_option(ballot: Ballot, placement: Placement | None) -> Option | None:
    if placement is None:
        return None
    if ballot.held is not None and _is_kept(ballot, placement):
        return ballot.held.option
    return ballot.options[placement.candidate.name]


def _objection(ballot: Ballot, placement: Placement | None) -> str:
    held = ballot.held
    if held is None or held.objection is None or not _is_kept(ballot, placement):
        return ""
    return held.objection.message
