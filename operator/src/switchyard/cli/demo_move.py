"""The demo's second half: one workload is moved twice under its users, and one of the moves is a bad idea."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console

from switchyard.cli import demo_objects as objects
from switchyard.cli.callers import Callers
from switchyard.cli.cutover_cluster import reach_cluster
from switchyard.cli.cutover_plan import Exit
from switchyard.cli.demo_report import is_true
from switchyard.cli.move_report import describe_money
from switchyard.cli.playing import Moved, Theatre, play, tell_history
from switchyard.cli.stage import Stage, StageError

_READY_SECONDS = 60.0
_WARM_UP_SECONDS = 3.0  # so that the answer to each question is known before anything moves
_MOVE_SECONDS = 150.0


def move(stage: Stage, console: Console, number: int) -> None:
    """Move a workload to Inferentia, then to a TPU whose server is wrong for large requests.

    Raises StageError when the first does not end on the new side, or the second does not come back.
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
            raise StageError(f"no gate of parity failed\n{tell_history(returned.plan)}")
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
        stage.apply(objects.build_workload(*variants))
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
    document = objects.build_plan(variant, _read_workload(theatre.stage))
    moved = play(theatre, document, timeout_seconds=_MOVE_SECONDS)
    if moved.exit_code is Exit.TIMEOUT:
        history = tell_history(moved.plan)
        raise StageError(f"plan {moved.plan.name} was not done after {_MOVE_SECONDS:.0f} s\n{history}")
    during, shadow = moved.during, moved.in_shadow
    theatre.console.print(
        f"   users: {during.asked} requests, {during.failed} failed "
        f"({shadow.failed} of {shadow.asked} while copies were compared), {during.changed} wrong"
    )
    theatre.console.print(f"   money: {describe_money(moved.plan.status)}", soft_wrap=True)
    return moved


def _require(moved: Moved, phase: str) -> None:
    if moved.plan.phase != phase:
        raise StageError(
            f"plan {moved.plan.name} ended {moved.plan.phase}, not {phase}\n{tell_history(moved.plan)}"
        )
    if moved.in_shadow.failed:
        raise StageError(f"{moved.in_shadow.failed} users' requests failed while only copies were compared")


def _tell_problems(callers: Callers) -> str:
    told = ", ".join(f"{count} x {name}" for name, count in sorted(callers.problems.items()))
    return f" ({told})" if told else ""
