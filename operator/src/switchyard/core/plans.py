"""The plans of a world in one pass: what each remembers, what it is shown, and what it wants in the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from switchyard.core.cutover.errand import Recall, find_leading, recall_nothing
from switchyard.core.cutover.observing import Outlook
from switchyard.core.cutover.orders import TrafficWatch
from switchyard.core.cutover.sighting import take_sides
from switchyard.core.cutover.types import State
from switchyard.core.decisions import ObjectDecision
from switchyard.core.placement.explain import Leftover
from switchyard.core.readings import Readings
from switchyard.core.reports import report_broken
from switchyard.core.seats import Broken, Key, Seat, find_surroundings
from switchyard.core.world import Plan, World


@dataclass(frozen=True, slots=True)
class PlanPass:
    """What a pass makes of one plan."""

    decision: ObjectDecision
    watch: TrafficWatch | None = None
    recheck_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Cutovers:
    """How plans are read and carried on. `carry_on` None: they are read only."""

    recall: Recall = recall_nothing
    carry_on: Callable[[Plan, State, Outlook], PlanPass] | None = None


@dataclass(frozen=True, slots=True)
class PlanTable:
    """What all plans of a pass share."""

    world: World
    readings: Readings
    leftover: Leftover
    seats: Mapping[Key, Seat]
    states: Mapping[Key, State]
    broken: Broken


def decide_plans(table: PlanTable, cutovers: Cutovers) -> list[PlanPass]:
    """A pass over every plan; what is wrong with one becomes its condition and nobody else's."""
    if cutovers.carry_on is None:
        return []
    leading = find_leading(table.world.plans, table.states)
    found = []
    for plan in table.world.plans:
        problem = table.broken.get(("CutoverPlan", *plan.key))
        if problem is None:
            try:
                leader = leading.get(plan.workload_key)
                other = leader[0].meta.name if leader is not None and leader[0].key != plan.key else ""
                outlook = replace(look_out(plan, table), other_plan=other)
                found.append(cutovers.carry_on(plan, table.states[plan.key], outlook))
                continue
            except Exception as error:  # noqa: BLE001  (one plan that cannot be decided on must not stop the others)
                problem = f"{type(error).__name__}: {error}"
        found.append(PlanPass(report_broken(plan, "CutoverPlan", problem, table.world.now)))
    return found


def look_out(plan: Plan, table: PlanTable) -> Outlook:
    """What a plan that stands alone is shown; the table has the state of it."""
    world, key = table.world, plan.workload_key
    seat = table.seats.get(key)
    sides = None
    if seat is not None:
        around = find_surroundings(world, table.readings, key[0])
        sides = take_sides(seat, table.leftover, around, table.states[plan.key])
    unreadable = next(
        (
            each.problem
            for each in world.unreadable
            if (each.kind, each.meta.namespace, each.meta.name) == ("InferenceWorkload", *key)
        ),
        "",
    )
    return Outlook(
        now=world.now,
        workload=next((each for each in world.workloads if each.key == key), None),
        sides=sides,
        problem=unreadable or table.broken.get(("InferenceWorkload", *key), ""),
        sight=world.sights.get(plan.key),
        carried=world.carried.get(plan.key),
    )
