"""A plan as a document for machines, as one line, and as a row of a list. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

from switchyard.cli.columns import format_columns
from switchyard.cli.cutover_plan import Plan, find_eta_seconds, list_waiting

SCHEMA = "switchyard.dev/cutover-status/v1"
_OUTCOMES = {"Completed": "succeeded", "RolledBack": "rolledBack", "Aborted": "aborted"}
_HEADINGS = ("NAME", "WORKLOAD", "TARGET", "PHASE", "SEGMENT", "WEIGHT", "VERDICT", "MESSAGE")

Document = dict[str, Any]


def describe_status(plan: Plan) -> Document:
    """The state of a plan; docs/cutover.md describes it. Fields are added to it and never change meaning."""
    status = plan.status
    return {
        "schema": SCHEMA,
        "namespace": plan.namespace,
        "name": plan.name,
        "workload": plan.spec.workload_ref.name,
        "target": {"variant": plan.spec.target.variant, "pool": find_pool(plan)},
        "router": status.router,
        "phase": plan.phase,
        "outcome": _OUTCOMES[plan.phase] if plan.is_ended else "waiting",
        "exitCode": int(plan.exit_code),
        "isEnded": plan.is_ended,
        "isSeen": plan.is_seen,
        "isDeleting": plan.is_deleting,
        "isSuspended": plan.spec.suspend,
        "reason": plan.reason,
        "message": status.message or "",
        "waitsForApproval": list(list_waiting(plan)),
        "segment": status.segment,
        "step": status.step,
        "weight": status.weight,
        "shadowPercent": find_shadow_percent(plan),
        "baseline": _dump(status.baseline),
        "candidate": _dump(status.candidate),
        "segments": [
            {
                "name": each.name,
                "state": each.state,
                "weight": each.weight,
                "observedWeight": each.observed_weight,
            }
            for each in status.segments
        ],
        "gates": [_dump(each) for each in status.gates],
        "etaSeconds": find_eta_seconds(plan),
        "cost": _dump(status.cost),
        "startedAt": status.started_at,
        "completedAt": status.completed_at,
        "history": [_dump(each) for each in status.history],
    }


def format_line(plan: Plan) -> str:
    """The state of a plan in one line: phase, place, verdicts, and what it waits for."""
    status = plan.status
    parts = [plan.phase]
    if plan.phase in {"Shadowing", "Canary"} or (plan.phase == "Paused" and status.segment):
        parts.append(
            f"{find_shadow_percent(plan)} % copied" if plan.phase == "Shadowing" else find_place(plan)
        )
    if status.gates:
        parts.append(", ".join(f"{_name_gate(each)} {each.verdict}" for each in status.gates))
    message = "not seen by the operator yet" if not plan.is_seen else status.message
    return "; ".join(part for part in parts if part) + (f": {message}" if message else "")


def format_list(plans: Sequence[Plan], *, has_namespaces: bool, width: int | None) -> str:
    """The plans as a table, one row each."""
    headings = ("NAMESPACE", *_HEADINGS) if has_namespaces else _HEADINGS
    rows = [((each.namespace,) if has_namespaces else ()) + _describe_row(each) for each in plans]
    return format_columns(headings, rows, width=width, right=frozenset({"WEIGHT"}))


def find_pool(plan: Plan) -> str | None:
    """The pool chosen, or asked for."""
    return plan.status.candidate.pool if plan.status.candidate else plan.spec.target.pool


def find_place(plan: Plan) -> str:
    """Segment, step and weight."""
    status = plan.status
    step = f" (step {status.step})" if status.step else ""
    return f"{status.segment} at {status.weight or 0} %{step}" if status.segment else ""


def find_gone(plan: Plan) -> Literal["", "baseline", "candidate"]:
    """The side that the end of the plan took away; empty where both run."""
    if plan.phase == "Completed":
        return "baseline"
    is_back = plan.phase in {"RolledBack", "Aborted"} and not any(
        each.weight for each in plan.status.segments
    )
    return "candidate" if is_back else ""


def find_shadow_percent(plan: Plan) -> int:
    """The share of requests that is copied now."""
    return plan.status.machine.shadow_percent if plan.status.machine else 0


def format_moment(at: datetime) -> str:
    """RFC 3339, in whole seconds."""
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


def format_span(seconds: float) -> str:
    """A duration in its two largest units: `45s`, `8m`, `2h 30m`, `3d 4h`."""
    whole = round(seconds)
    for unit, size, lesser, lesser_size in (("d", 86_400, "h", 3_600), ("h", 3_600, "m", 60)):
        if whole >= size:
            rest = whole % size // lesser_size
            return f"{whole // size}{unit}" + (f" {rest}{lesser}" if rest else "")
    return f"{whole // 60}m" if whole >= 120 else f"{whole}s"


def _describe_row(plan: Plan) -> tuple[str, ...]:
    summary = plan.status.summary
    pool = find_pool(plan)
    return (
        plan.name,
        plan.spec.workload_ref.name,
        plan.spec.target.variant + (f" on {pool}" if pool else ""),
        plan.phase,
        plan.status.segment or "-",
        "-" if plan.status.weight is None else f"{plan.status.weight}%",
        (summary.verdict if summary else "") or "-",
        plan.status.message or "",
    )


def _name_gate(gate: Any) -> str:
    return f"{gate.name}/{gate.segment}" if gate.segment else str(gate.name)


def _dump(part: Any) -> Document | None:
    return None if part is None else part.model_dump(mode="json", by_alias=True, exclude_none=True)
