"""The demo's second half: one workload is moved twice under its users, and one of the moves is a bad idea."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from switchyard.cli import demo_objects as objects
from switchyard.cli.cutover_cluster import Cluster, find_plan, reach_cluster
from switchyard.cli.cutover_plan import CutoverError, Exit, Plan, read_plan
from switchyard.cli.cutover_screen import Screen
from switchyard.cli.cutover_watch import Timing, follow
from switchyard.cli.demo_callers import Callers, Count
from switchyard.cli.demo_move_report import Teller, describe_money
from switchyard.cli.demo_report import is_true
from switchyard.cli.demo_stage import DemoError, Stage

_READY_SECONDS = 60.0
_WARM_UP_SECONDS = 3.0  # so that the answer to each question is known before anything moves
_MOVE_SECONDS = 150.0
_LOOK_SECONDS = 0.4


@dataclass(frozen=True, slots=True)
class Theatre:
    """Where the plans are played: cluster, users, and whom it is told to."""

    stage: Stage
    cluster: Cluster
    callers: Callers
    console: Console


@dataclass(frozen=True, slots=True)
class Moved:
    """How a plan ended, and what users got meanwhile."""

    plan: Plan
    during: Count
    in_shadow: Count


def move(stage: Stage, console: Console, number: int) -> None:
    """Move a workload to Inferentia, then to a TPU whose server is wrong for large requests.

    Raises DemoError when the first does not end on the new side, or the second does not come back.
    """
    _serve_on_gpu(stage, console, number)
    service = stage.get("service", objects.NAME, "-n", objects.NAMESPACE)["spec"]
    callers = Callers(f"http://{service['clusterIP']}:{service['ports'][0]['port']}", objects.list_callers())
    with reach_cluster(str(stage.sandbox.kubeconfig_path), None) as cluster, callers.asking():
        theatre = Theatre(stage, cluster, callers, console)
        time.sleep(_WARM_UP_SECONDS)
        console.print(f"[bold]{number + 1}. GPU → Inferentia[/]  {_tell_command('neuron')}", soft_wrap=True)
        _require(_run(theatre, "neuron"), "Completed")
        console.print(
            f"[bold]{number + 2}. Inferentia → TPU[/]  its server is wrong for requests of many documents, "
            "which nobody knows",
            soft_wrap=True,
        )
        returned = _run(theatre, "tpu")
        _require(returned, "RolledBack")
        if not any(each.verdict == "Fail" and each.name == "parity" for each in returned.plan.status.gates):
            raise DemoError(f"no gate of parity failed\n{_tell_history(returned.plan)}")
    total, summary = callers.count, _read_workload(stage)["status"]["summary"]
    console.print(
        f"   {objects.NAME} serves from [bold]{summary['placement']}[/]; users through both moves: "
        f"{total.asked} requests, {total.failed} failed, {total.changed} answered otherwise than before"
        f"{_tell_problems(callers)}",
        soft_wrap=True,
    )


def _serve_on_gpu(stage: Stage, console: Console, number: int) -> None:
    """Returns once the workload serves from the GPU, with its other variants known but unused."""
    console.print(
        f"[bold]{number}. A service to move[/]  {objects.NAME}: {objects.SEARCHES} searches a second, and "
        f"{objects.JOBS} requests of an indexing job with {objects.BATCH} documents each",
        soft_wrap=True,
    )
    for variants in (("gpu",), tuple(objects.POOLS)):
        stage.kubectl("apply", "-f", "-", stdin=json.dumps(objects.build_workload(*variants)))
        stage.wait_for(
            f"{objects.NAME} to be Ready", lambda: is_true(_read_workload(stage), "Ready"), _READY_SECONDS
        )
    status = _read_workload(stage)["status"]
    console.print(
        f"   serves from {status['summary']['placement']}, {status.get('costPerHour', '-')} per hour"
    )


def _read_workload(stage: Stage) -> dict[str, Any]:
    found: dict[str, Any] = stage.get("inferenceworkload", objects.NAME, "-n", objects.NAMESPACE)
    return found


def _tell_command(variant: str) -> str:
    return (
        f"kubectl switchyard cutover create {objects.NAME} --to {variant}@{objects.POOLS[variant]} "
        "--segment indexing=tier:batch --segment searches"
    )


def _run(theatre: Theatre, variant: str) -> Moved:
    """The plan to that variant, applied, and watched to its end."""
    callers, console = theatre.callers, theatre.console
    document = objects.build_plan(variant, _read_workload(theatre.stage))
    name = document["metadata"]["name"]
    before = callers.count
    theatre.stage.kubectl("apply", "-f", "-", stdin=json.dumps(document))
    teller = Teller(
        lambda line: console.print(line, markup=False, soft_wrap=True), lambda: callers.count, time.monotonic
    )
    newest: list[Plan] = []

    def look() -> Plan:
        newest[:] = [read_plan(find_plan(theatre.cluster, objects.NAMESPACE, name))]
        return newest[0]

    try:
        code = _follow(console, look, teller)
    except CutoverError as error:
        raise DemoError(f"plan {name}: {error}") from error
    plan = newest[0]
    if code is Exit.TIMEOUT:
        raise DemoError(f"plan {name} was not done after {_MOVE_SECONDS:.0f} s\n{_tell_history(plan)}")
    moved = Moved(plan, callers.count.since(before), teller.by_phase.get("Shadowing", Count()))
    during, shadow = moved.during, moved.in_shadow
    console.print(
        f"   users: {during.asked} requests, {during.failed} failed "
        f"({shadow.failed} of {shadow.asked} while copies were compared), {during.changed} wrong"
    )
    console.print(f"   money: {describe_money(plan.status)}", soft_wrap=True)
    return moved


def _follow(console: Console, look: Callable[[], Plan], teller: Teller) -> Exit:
    """How the plan ended: told in lines, on a terminal with the live tree below them."""
    timing = Timing(interval_seconds=_LOOK_SECONDS, timeout_seconds=_MOVE_SECONDS)
    if not console.is_terminal or console.is_dumb_terminal:
        return follow(look, teller.show, timing)
    with Screen(console) as screen:

        def show(plan: Plan, problem: str) -> None:
            teller.show(plan, problem)
            screen.show(plan, problem)

        return follow(look, show, timing)


def _require(moved: Moved, phase: str) -> None:
    if moved.plan.phase != phase:
        raise DemoError(
            f"plan {moved.plan.name} ended {moved.plan.phase}, not {phase}\n{_tell_history(moved.plan)}"
        )
    if moved.in_shadow.failed:
        raise DemoError(f"{moved.in_shadow.failed} users' requests failed while only copies were compared")


def _tell_history(plan: Plan) -> str:
    lines = [f"  {each.at} {each.phase} {each.reason}: {each.message}" for each in plan.status.history]
    gates = [
        f"  gate {each.name} {each.segment}: {each.verdict} {each.observed} {each.message}"
        for each in plan.status.gates
    ]
    return "\n".join([f"  now {plan.phase}: {plan.status.message}", *lines, *gates])


def _tell_problems(callers: Callers) -> str:
    told = ", ".join(f"{count} x {name}" for name, count in sorted(callers.problems.items()))
    return f" ({told})" if told else ""
