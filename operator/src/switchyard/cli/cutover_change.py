"""Changes that people make to a plan under way: what to write into it, and what that means. Pure.

A change is absolute: made twice, the second finds nothing to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from switchyard.api import Reason
from switchyard.cli.cutover_plan import CutoverError, Plan, list_approvable, list_waiting
from switchyard.core.cutover.types import TERMINAL

_UNSTOPPABLE = frozenset({"RollingBack", "Completing"})
_RETRY = "to run it again: `kubectl switchyard cutover retry {name}`"


@dataclass(frozen=True, slots=True)
class Change:
    """Fields of the spec to set (None: to take away), and what is told; no field: nothing to do."""

    told: str
    fields: tuple[tuple[str, Any], ...] = ()


def approve(plan: Plan, stages: Sequence[str]) -> Change:
    """Releases the named stages, or all that wait. Raises CutoverError when there is nothing to release."""
    _refuse_ended(plan, "approved")
    known = list_approvable(plan)
    if not known:
        raise CutoverError(
            f"{plan.name} asks for no approval (spec.approvals is empty): there is nothing to approve"
        )
    unknown = [stage for stage in stages if stage not in known]
    if unknown:
        raise CutoverError(
            *(f"STAGE {stage!r}: {plan.name} asks for no such approval; {_list(known)}" for stage in unknown)
        )
    wanted = tuple(dict.fromkeys(stages)) or list_waiting(plan)
    fresh = [stage for stage in wanted if stage not in plan.spec.approved]
    if not wanted:
        open_stages = [stage for stage in known if stage not in plan.spec.approved]
        ahead = f"; {', '.join(open_stages)} can be approved ahead by name" if open_stages else ""
        raise CutoverError(f"{plan.name} waits for no approval now (phase {plan.phase}){ahead}")
    if not fresh:
        return Change(f"{plan.name}: {', '.join(wanted)} was approved before")
    approved = [*plan.spec.approved, *fresh]
    return Change(f"{plan.name}: approved {', '.join(fresh)}", (("approved", approved),))


def pause(plan: Plan) -> Change:
    """Holds the plan where it is. Raises CutoverError when it has ended."""
    _refuse_ended(plan, "paused")
    if plan.spec.suspend:
        return Change(f"{plan.name} is paused already")
    if plan.phase in _UNSTOPPABLE:
        raise CutoverError(
            f"{plan.name} is in phase {plan.phase}, which can't be held: wait until it has ended"
        )
    told = f"{plan.name}: paused in {_place(plan)}; a failed gate still rolls back"
    return Change(told, (("suspend", True),))


def resume(plan: Plan) -> Change:
    """Lets the plan go on. Raises CutoverError when nobody paused it."""
    _refuse_ended(plan, "resumed")
    if plan.spec.suspend:
        return Change(f"{plan.name}: resumed", (("suspend", None),))
    if plan.phase == "AwaitingApproval" or list_waiting(plan):
        waiting = ", ".join(list_waiting(plan)) or "a person"
        raise CutoverError(
            f"{plan.name} waits for approval of {waiting}: `kubectl switchyard cutover approve {plan.name}`"
        )
    if plan.phase == "Paused" and plan.reason == Reason.GateFailed:
        raise CutoverError(
            f"{plan.name} is paused because a gate failed: `abort` returns all traffic; `pause` and then "
            "`resume` tries the stage again, without the evidence so far"
        )
    if plan.phase == "Paused":
        why = plan.status.message or plan.reason or "for a reason that its status does not tell"
        raise CutoverError(
            f"{plan.name} was not paused by spec.suspend and goes on by itself when its reason is gone: {why}"
        )
    raise CutoverError(f"{plan.name} is not paused (phase {plan.phase})")


def abort(plan: Plan) -> Change:
    """Returns all traffic to the baseline and ends the plan. Raises CutoverError when it has ended."""
    if plan.phase == "Completed" and plan.is_seen:
        raise CutoverError(
            f"{plan.name} is Completed and its baseline is gone: to move back, make a plan to "
            f"{_variant_before(plan)}"
        )
    if plan.spec.abort:
        return Change(f"{plan.name} is being aborted, or was, already")
    if plan.is_ended and not plan.holds_traffic:
        raise CutoverError(f"{plan.name} has ended ({plan.phase}) and all traffic is on the baseline")
    return Change(f"{plan.name}: aborted; all traffic returns to the baseline", (("abort", True),))


def retry(plan: Plan, now: datetime) -> Change:
    """Starts an ended plan anew, approvals and all. Raises CutoverError while it is under way."""
    if plan.phase not in TERMINAL:
        raise CutoverError(
            f"{plan.name} is under way (phase {plan.phase}): it can be run again once it has ended; "
            f"`kubectl switchyard cutover abort {plan.name}` ends it"
        )
    if not plan.is_seen:
        raise CutoverError(
            f"{plan.name} was changed since it ended and the operator has not read it yet: wait, look again"
        )
    if plan.phase == "Completed" and not _is_target_new(plan):
        raise CutoverError(
            f"{plan.name} is Completed: the workload is on {plan.spec.target.variant}; change "
            "spec.target, or make another plan"
        )
    fields: list[tuple[str, Any]] = [("restartToken", _make_token(plan, now))]
    told = f"{plan.name}: starts anew from Pending"
    if plan.phase != "Completed" and plan.holds_traffic:
        told += " once all traffic is back on the baseline"
    if plan.spec.abort:
        fields.append(("abort", None))
    if plan.spec.approved:
        fields.append(("approved", None))
        told += f"; approvals of the last attempt ({', '.join(plan.spec.approved)}) are asked for again"
    if plan.spec.suspend:
        told += "; spec.suspend still holds it"
    return Change(told, tuple(fields))


def build_patch(body: dict[str, Any], change: Change) -> list[dict[str, Any]]:
    """The JSON patch (RFC 6902) that makes the change on this version of the object and on no other."""
    version = body["metadata"]["resourceVersion"]
    patch = [{"op": "test", "path": "/metadata/resourceVersion", "value": version}]
    for field, value in change.fields:
        path = f"/spec/{field}"
        if value is not None:
            patch.append({"op": "add", "path": path, "value": value})
        elif field in body["spec"]:
            patch.append({"op": "remove", "path": path})
    return patch


def _refuse_ended(plan: Plan, verb: str) -> None:
    if plan.phase in TERMINAL and plan.is_seen:
        way_out = "" if plan.phase == "Completed" else f"; {_RETRY.format(name=plan.name)}"
        raise CutoverError(f"{plan.name} has ended ({plan.phase}) and can't be {verb}{way_out}")


def _is_target_new(plan: Plan) -> bool:
    """Whether the plan asks for another place than the one it has come to."""
    reached, target = plan.status.candidate, plan.spec.target
    if reached is None:
        return False
    return target.variant != reached.variant or target.pool not in {None, reached.pool}


def _make_token(plan: Plan, now: datetime) -> str:
    """A word that neither the plan nor its last attempt bears."""
    machine = plan.status.machine
    taken = {plan.spec.restart_token, machine.restart_token if machine else ""}
    token = f"{now:%Y%m%dT%H%M%SZ}"
    number = 2
    while token in taken:
        token, number = f"{now:%Y%m%dT%H%M%SZ}-{number}", number + 1
    return token


def _place(plan: Plan) -> str:
    status = plan.status
    if plan.phase == "Canary" and status.segment:
        return f"Canary, {status.segment} at {status.weight or 0} %"
    return plan.phase


def _variant_before(plan: Plan) -> str:
    return plan.status.baseline.variant if plan.status.baseline else "the variant it came from"


def _list(stages: Sequence[str]) -> str:
    return f"it asks for {', '.join(stages)}"
