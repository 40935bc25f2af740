"""Each workload with what it may choose from, what exists of it, and what a plan asks of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from switchyard.core.cutover.errand import Errand, Recall, find_leading, read_errand
from switchyard.core.cutover.types import State
from switchyard.core.learning.learned import LearnedProfile
from switchyard.core.learning.stored import read_stored
from switchyard.core.placement.ballot import Ballot, Surroundings, draw_up
from switchyard.core.placement.guests import confine, invite
from switchyard.core.readings import Readings
from switchyard.core.sizing import Sizing, size
from switchyard.core.tracks import Standing, find_standing
from switchyard.core.world import Plan, Workload, World

Key = tuple[str, str]
Broken = dict[tuple[str, str, str], str]  # kind, namespace, name -> what is wrong


@dataclass(frozen=True, slots=True)
class Seat:
    """A workload with what it may choose from, what exists of it, and how large it is to be.

    While a plan moves it: `errand`; `whole`: what it could choose from without that; `guest`: its other side.
    """

    workload: Workload
    ballot: Ballot
    standing: Standing
    sizing: Sizing | None
    whole: Ballot
    errand: Errand | None = None
    guest: Ballot | None = None


def seat_all(
    world: World,
    readings: Readings,
    broken: Broken,
    states: Mapping[Key, State],
) -> dict[Key, Seat]:
    """Every workload that can be weighed; what is wrong with another goes into `broken`."""
    seats = {}
    leading = find_leading(world.plans, states)
    for workload in world.workloads:
        if workload.key not in readings.workloads:
            continue
        try:
            errand = read_errand(*leading[workload.key]) if workload.key in leading else None
            seats[workload.key] = _seat(workload, world, readings, errand)
        except Exception as error:  # noqa: BLE001  (a workload that cannot be weighed must not stop the others)
            broken["InferenceWorkload", *workload.key] = f"{type(error).__name__}: {error}"
    return seats


def _seat(workload: Workload, world: World, readings: Readings, errand: Errand | None) -> Seat:
    facts = readings.workloads[workload.key]
    around = find_surroundings(world, readings, workload.meta.namespace)
    children = readings.children.get(workload.meta.uid, ())
    if errand is not None and facts.mode == "mixed":
        errand = Errand(errand.plan)  # a mix has no side to move from; its plan says so
    host = errand.host if errand is not None else None
    standing = find_standing(
        workload, facts, list(readings.pools), children, readings.fleet, bound_to=host.track if host else ""
    )
    whole = draw_up(
        facts,
        around,
        learned=_find_learned(workload, world),
        tracks=standing.planned,
        is_frozen=readings.demands[workload.key].is_frozen,
    )
    ballot, guest = whole, None
    if errand is not None and host is not None:
        why = f"CutoverPlan {errand.plan[1]} is under way"
        ballot = confine(whole, (host.variant, host.pool), why)
        guest = _invite(whole, around, standing, errand)
    sizing = size(ballot, readings.pools, workload.status.scale_down, world.now)
    return Seat(workload, ballot, standing, sizing, whole, errand, guest)


def recall_all(plans: Iterable[Plan], recall: Recall, broken: Broken) -> dict[Key, State]:
    """What each plan remembers; of one that can't be read, why it can't goes into `broken`."""
    states = {}
    for plan in plans:
        try:
            states[plan.key] = recall(plan)
        except Exception as error:  # noqa: BLE001  (nor one plan)
            broken["CutoverPlan", *plan.key] = f"{type(error).__name__}: {error}"
    return states


def _invite(whole: Ballot, around: Surroundings, standing: Standing, errand: Errand) -> Ballot | None:
    side = errand.guest
    if side is None or errand.guest_replicas < 1:
        return None
    track = standing.track(side.track)
    return invite(whole, around, (side.variant, side.pool), errand.guest_replicas, track)


def list_ballots(seats: Mapping[Key, Seat]) -> list[Ballot]:
    """All jobs of the seats: each workload's own, and its guest's."""
    return [ballot for seat in seats.values() for ballot in (seat.ballot, seat.guest) if ballot is not None]


def find_surroundings(world: World, readings: Readings, namespace: str) -> Surroundings:
    """What the ballots of a namespace have in common."""
    return Surroundings(
        pools=readings.pools,
        namespace_labels=world.namespaces.get(namespace, {}),
        templates=readings.templates.get(namespace, frozenset()),
        quotas=readings.quotas,
    )


def _find_learned(workload: Workload, world: World) -> tuple[LearnedProfile, ...]:
    found = world.learned.get(workload.key)
    return read_stored(workload, world.now) if found is None else found
