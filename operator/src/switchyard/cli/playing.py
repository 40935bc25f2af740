"""A plan applied to a stage and watched to its end, while callers ask."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from switchyard.cli.callers import Callers, Count
from switchyard.cli.cutover_cluster import Cluster, find_plan
from switchyard.cli.cutover_plan import CutoverError, Exit, Plan, read_plan
from switchyard.cli.cutover_screen import Screen
from switchyard.cli.cutover_watch import Timing, follow
from switchyard.cli.move_report import Teller
from switchyard.cli.stage import Stage, StageError

_LOOK_SECONDS = 0.4


@dataclass(frozen=True, slots=True)
class Theatre:
    """Where plans are played: cluster, users, and whom it is told to."""

    stage: Stage
    cluster: Cluster
    callers: Callers
    console: Console


@dataclass(frozen=True, slots=True)
class Moved:
    """How a plan ended (or that it did not), and what users got meanwhile."""

    plan: Plan
    exit_code: Exit
    during: Count
    by_phase: Mapping[str, Count]

    @property
    def in_shadow(self) -> Count:
        """What users got while only copies were compared."""
        return self.by_phase.get("Shadowing", Count())


def play(theatre: Theatre, document: Mapping[str, Any], *, timeout_seconds: float) -> Moved:
    """The plan in the document, applied, and watched to its end or the timeout. Raises StageError."""
    callers, console = theatre.callers, theatre.console
    name, namespace = document["metadata"]["name"], document["metadata"]["namespace"]
    before = callers.count
    theatre.stage.apply(document)
    teller = Teller(
        lambda line: console.print(line, markup=False, soft_wrap=True), lambda: callers.count, time.monotonic
    )
    newest: list[Plan] = []

    def look() -> Plan:
        newest[:] = [read_plan(find_plan(theatre.cluster, namespace, name))]
        return newest[0]

    try:
        code = _follow(console, look, teller, timeout_seconds)
    except CutoverError as error:
        raise StageError(f"plan {name}: {error}") from error
    return Moved(newest[0], code, callers.count.since(before), teller.by_phase)


def tell_history(plan: Plan) -> str:
    """What the plan went through, line by line."""
    lines = [f"  {each.at} {each.phase} {each.reason}: {each.message}" for each in plan.status.history]
    gates = [
        f"  gate {each.name} {each.segment}: {each.verdict} {each.observed} {each.message}"
        for each in plan.status.gates
    ]
    return "\n".join([f"  now {plan.phase}: {plan.status.message}", *lines, *gates])


def _follow(console: Console, look: Callable[[], Plan], teller: Teller, timeout_seconds: float) -> Exit:
    """How the plan ended: told in lines, on a terminal with the live tree below them."""
    timing = Timing(interval_seconds=_LOOK_SECONDS, timeout_seconds=timeout_seconds)
    if console.quiet or not console.is_terminal or console.is_dumb_terminal:
        return follow(look, teller.show, timing)
    with Screen(console) as screen:

        def show(plan: Plan, problem: str) -> None:
            teller.show(plan, problem)
            screen.show(plan, problem)

        return follow(look, show, timing)
