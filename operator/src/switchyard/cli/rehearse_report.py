"""What a rehearsal came to, as text for people and as a document for machines. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from switchyard.cli.columns import format_columns
from switchyard.cli.cutover_plan import Exit
from switchyard.cli.cutover_report import format_span
from switchyard.cli.rehearse_duration import StageTime
from switchyard.cli.rehearse_run import Rehearsed, Script

SCHEMA = "switchyard.dev/rehearsal/v1"
_OUTCOMES = {Exit.SUCCEEDED: "succeeded", Exit.FAILED: "rolledBack", Exit.TIMEOUT: "timeout"}
_BECAUSE = {
    "shortestTime": "its shortest time",
    "fewestSamples": "its fewest samples",
    "evidence": "the evidence that its gates need",
}
_STAGES = {"shadow": "copies", "soak": "warm baseline"}


def describe_rehearsal(done: Rehearsed, stages: Sequence[StageTime]) -> dict[str, Any]:
    """The document; docs/rehearse.md describes it. Fields are added to it and never change meaning."""
    script, moved, plan = done.script, done.moved, done.moved.plan
    status = plan.status
    return {
        "schema": SCHEMA,
        "namespace": script.cast.namespace,
        "name": script.cast.name,
        "workload": script.cast.workload_name,
        "from": _name_side(status.baseline),
        "to": _name_side(status.candidate) or script.cast.plan.target.variant,
        "outcome": _OUTCOMES[moved.exit_code],
        "exitCode": int(moved.exit_code),
        "phase": plan.phase,
        "reason": plan.reason,
        "message": _find_message(done),
        "faults": [str(each) for each in script.faults],
        "speed": script.speed,
        "requestsPerSecond": {"planned": script.rate.planned, "rehearsed": script.rate.rehearsed},
        "rehearsedSeconds": round(done.seconds, 1),
        "users": {
            "requests": moved.during.asked,
            "failed": moved.during.failed,
            "requestsInShadow": moved.in_shadow.asked,
            "failedInShadow": moved.in_shadow.failed,
        },
        "history": [
            {
                "phase": each.phase,
                "segment": each.segment,
                "weight": each.weight,
                "reason": each.reason,
                "message": each.message,
            }
            for each in status.history
        ],
        "realSeconds": round(sum(each.seconds for each in stages)),
        "realStages": [
            {
                "stage": each.stage,
                "segment": each.segment,
                "weight": each.weight_percent,
                "seconds": round(each.seconds),
                "because": each.because,
                "samples": each.samples,
            }
            for each in stages
        ],
        "notes": list(script.scaled.notes),
    }


def tell_begin(script: Script) -> Iterator[str]:
    """What is rehearsed, and how it differs from the truth."""
    faults = ", ".join(map(str, script.faults)) or "no fault"
    rate = f"{script.rate.rehearsed:g} requests a second"
    if script.rate.rehearsed != script.rate.planned:
        rate += f" in place of {script.rate.planned:.3g}"
    yield (
        f"Rehearsal of {script.cast.namespace}/{script.cast.name}: {script.cast.workload_name} to "
        f"{script.cast.plan.target.variant}, {script.speed:g} times as fast, {rate}, {faults}"
    )
    for note in script.scaled.notes:
        yield f"   {note}"


def tell_end(done: Rehearsed, stages: Sequence[StageTime], width: int | None) -> Iterator[str]:
    """How it ended, what users got, and how long it would take in truth."""
    moved = done.moved
    heads = {
        Exit.SUCCEEDED: "It would succeed",
        Exit.FAILED: "It would be rolled back",
        Exit.TIMEOUT: f"Not decided here after {format_span(done.seconds)}",
    }
    yield f"\n{heads[moved.exit_code]}: {_find_message(done)}"
    during, shadow = moved.during, moved.in_shadow
    yield (
        f"users: {during.asked} requests, {during.failed} failed "
        f"({shadow.failed} of {shadow.asked} while only copies were compared)"
    )
    total = format_span(sum(each.seconds for each in stages))
    yield (
        f"\nIn truth the whole way takes about {total} at {done.script.rate.planned:.3g} requests a second, "
        "beside approvals, windows and the start of pods:\n"
    )
    rows = [
        (
            _STAGES.get(each.stage, each.segment),
            f"{each.weight_percent} %",
            format_span(each.seconds),
            str(each.samples),
            _BECAUSE[each.because],
        )
        for each in stages
    ]
    headings = ("STAGE", "SHARE", "TAKES", "SAMPLES", "BECAUSE OF")
    yield format_columns(headings, rows, width=width, right=frozenset({"SHARE", "TAKES", "SAMPLES"}))


def _find_message(done: Rehearsed) -> str:
    """Why the plan stands where it does; what the operator can't get over comes first."""
    plan = done.moved.plan
    stalled = [each for each in plan.status.conditions if each.type == "Stalled" and each.status == "True"]
    return stalled[0].message if stalled else plan.status.message or plan.phase


def _name_side(side: Any) -> str:
    return f"{side.variant}@{side.pool}" if side is not None else ""
