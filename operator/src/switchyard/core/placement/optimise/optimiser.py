"""The solver that the operator, the command line and the tests use."""

from __future__ import annotations

from collections import OrderedDict
from decimal import Decimal

from switchyard.core.placement.optimise.components import split
from switchyard.core.placement.optimise.programme import Effort
from switchyard.core.placement.optimise.report import report
from switchyard.core.placement.optimise.search import Found, search
from switchyard.core.placement.problem import Candidate, JobKey, Problem, Solution

_REMEMBERED = 512  # parts; a world of a thousand workloads has fewer
_PROVEN = 1e-6


class Optimiser:
    """Answers part by part and remembers parts that it has answered: an unchanged world costs a look-up."""

    def __init__(self, effort: Effort | None = None) -> None:
        """`effort`: how hard to try on each part; None: by its size."""
        self._effort = effort
        self._known: OrderedDict[Problem, Found] = OrderedDict()

    def solve(self, problem: Problem) -> Solution:
        """The best plan found, with the gap to what is proven possible."""
        plan: dict[JobKey, tuple[tuple[Candidate, int], ...]] = {}
        money = bound = Decimal(0)
        methods: set[str] = set()
        for part in split(problem):
            found = self._answer(part)
            methods.add(found.method)
            money += Decimal(found.money)
            bound += Decimal(found.bound) if found.bound > float("-inf") else Decimal("-Infinity")
            for index, taken in found.takes.items():
                chosen = tuple(
                    sorted(
                        ((candidate, replicas) for candidate, _, replicas in taken),
                        key=lambda each: each[0].name,
                    )
                )
                plan[part.jobs[index].key] = chosen
        return report(problem, plan, gap_ratio=_measure_gap(money, bound), method=", ".join(sorted(methods)))

    def _answer(self, part: Problem) -> Found:
        known = self._known.get(part)
        if known is not None:
            self._known.move_to_end(part)
            return known
        found = search(part, self._effort or choose_effort(part))
        self._known[part] = found
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return found


def choose_effort(part: Problem) -> Effort:
    """Small parts are solved to the end; large ones until the gap is not worth the time."""
    size = sum(len(job.candidates) + len(job.holdings) for job in part.jobs)
    if size <= 400:
        return Effort(nodes=200_000, seconds=30.0)
    if size <= 4_000:
        return Effort(nodes=5_000, seconds=10.0, gap_ratio=1e-3)
    return Effort(nodes=1_000, seconds=15.0, gap_ratio=2e-3)


def _measure_gap(money: Decimal, bound: Decimal) -> float | None:
    if not bound.is_finite():
        return None
    gap = max(Decimal(0), money - bound)
    if gap <= Decimal(str(_PROVEN)) * max(Decimal(1), abs(money)):
        return 0.0
    return float(gap / abs(money)) if money else None
