"""One pass of the operator's own decision over a world, with what the solver was asked and answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from switchyard.catalog import Catalog
from switchyard.core.decide import decide
from switchyard.core.placement.ballot import list_cases as list_ballot_cases
from switchyard.core.placement.case import Case
from switchyard.core.placement.optimise import Optimiser
from switchyard.core.placement.problem import JobKey, Problem, Solution, Solver
from switchyard.core.readings import Readings, read_world
from switchyard.core.seats import find_surroundings
from switchyard.core.world import World

Seat = tuple[str, str, int]  # variant, pool, replicas


@dataclass(frozen=True, slots=True)
class Planned:
    """A world and what would be decided on it. `statuses`: as the operator would write them."""

    world: World
    readings: Readings
    problem: Problem
    solution: Solution
    statuses: Mapping[JobKey, Mapping[str, Any]]
    notes: tuple[str, ...] = ()
    unlimited: frozenset[str] = frozenset()  # pools whose devices are made up for want of a number

    @property
    def costs(self) -> dict[JobKey, Decimal]:
        """What each placed workload adds to the bill per hour; devices that are paid for add their energy."""
        return {
            key: sum((each.cost_per_hour for each in placed), Decimal(0))
            for key, placed in self.solution.placements.items()
        }

    @property
    def seats(self) -> dict[JobKey, tuple[Seat, ...]]:
        """Variant, pool and replicas by workload."""
        return {
            key: tuple((each.candidate.variant, each.candidate.pool, each.replicas) for each in placed)
            for key, placed in self.solution.placements.items()
        }

    @property
    def used_devices(self) -> Mapping[str, int]:
        """By pool, all holders."""
        return self.solution.used_devices

    @property
    def method(self) -> str:
        """Which search found the plan."""
        return self.solution.method

    @property
    def gap_ratio(self) -> float | None:
        """How far the plan can be above the optimum; None where nothing is proven."""
        return self.solution.gap_ratio


def make_plan(
    world: World, catalog: Catalog, *, notes: tuple[str, ...] = (), unlimited: frozenset[str] = frozenset()
) -> Planned:
    """The plan that the operator would act on."""
    witness = _Witness(Optimiser())
    decisions = decide(world, catalog, witness)
    statuses: dict[JobKey, Mapping[str, Any]] = {
        each.key: each.status.model_dump(mode="json", by_alias=True, exclude_none=True)
        for each in world.workloads
    }
    for decision in decisions.objects:
        if decision.kind == "InferenceWorkload" and decision.status is not None:
            statuses[decision.namespace, decision.name] = decision.status.status
    problem, solution = witness.last
    return Planned(world, read_world(world, catalog), problem, solution, statuses, notes, unlimited)


def list_cases(planned: Planned, key: JobKey) -> tuple[Case, ...]:
    """Every variant of a workload in every pool, as the plan looked at them."""
    around = find_surroundings(planned.world, planned.readings, key[0])
    facts, learned = planned.readings.workloads[key], planned.world.learned.get(key, ())
    return tuple(list_ballot_cases(facts, around, learned))


class _Witness:
    """A solver that remembers."""

    def __init__(self, solver: Solver) -> None:
        self._solver = solver
        self.last: tuple[Problem, Solution] = (Problem((), ()), Solution({}))

    def solve(self, problem: Problem) -> Solution:
        solution = self._solver.solve(problem)
        self.last = (problem, solution)
        return solution
