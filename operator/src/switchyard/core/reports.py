"""Status writes and events: only what changed, said once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from switchyard.api import AcceleratorPoolStatus, InferenceWorkloadStatus, Reason
from switchyard.api.cutover_status import CutoverPlanStatus
from switchyard.core.conditions import FALSE, TRUE, Finding, Transition, merge
from switchyard.core.decisions import EventNote, ObjectDecision, StatusWrite
from switchyard.core.placement.cost import steady_price
from switchyard.core.placement.pool_view import PoolView
from switchyard.core.pool_status import PoolReport, describe_pool, pool_columns
from switchyard.core.stability.back_off import Trust
from switchyard.core.world import Meta, Plan, Pool, Unreadable, Workload, World

Status = AcceleratorPoolStatus | InferenceWorkloadStatus | CutoverPlanStatus

_TOLD_WHEN_NEW = frozenset(
    {"Ready", "Placed", "Exposed"}
)  # good news worth an event although nothing was there before
_NEVER_FAILED = Trust()
_NEVER_TOLD = frozenset({"Reconciling", "CapacityAvailable"})  # they come and go with every pod


def report_pool(
    pool: Pool,
    view: PoolView,
    problem: tuple[Reason, str] | None,
    placed: Sequence[tuple[str, str]],
    world: World,
    *,
    trust: Trust = _NEVER_FAILED,
) -> ObjectDecision:
    """The status of a readable pool and the events of its transitions."""
    price = steady_price(world.prices.get(pool.meta.name), pool.status.cost, world.now)
    fields, findings = describe_pool(PoolReport(view, problem, placed, world, trust, price))
    fields["summary"] = pool_columns(fields)
    status, events = write_status(
        "AcceleratorPool", pool.meta, pool.status, fields=fields, findings=findings, now=world.now
    )
    return ObjectDecision(
        "AcceleratorPool", "", pool.meta.name, status=status, events=(*_loss_of_trust(pool, trust), *events)
    )


def _loss_of_trust(pool: Pool, trust: Trust) -> tuple[EventNote, ...]:
    """One event for each failure that closes a pool for a while."""
    if not trust.is_new_failure or trust.back_off is None:
        return ()
    message = f"the pool {trust.closed_because}"
    return (EventNote("AcceleratorPool", pool.meta, "Warning", trust.back_off.reason, message),)


def report_broken(subject: Pool | Workload | Plan, kind: str, problem: str, now: datetime) -> ObjectDecision:
    """The status of an object that could not be decided on: what is stored stays, the conditions say why."""
    fields = _dump(subject.status)
    status, events = write_status(
        kind, subject.meta, subject.status, fields=fields, findings=_invalid(problem), now=now
    )
    return ObjectDecision(kind, subject.meta.namespace, subject.meta.name, status=status, events=events)


def report_unreadable(subject: Unreadable, now: datetime) -> ObjectDecision:
    """The status of an object that this version can't read."""
    stored = dict(subject.status)
    conditions, transitions = merge(
        _invalid(subject.problem), stored.get("conditions") or [], subject.meta.generation, now
    )
    status = {**stored, "observedGeneration": subject.meta.generation, "conditions": conditions}
    write = StatusWrite(subject.kind, subject.meta, status) if status != stored else None
    events = _events(subject.kind, subject.meta, transitions)
    return ObjectDecision(
        subject.kind, subject.meta.namespace, subject.meta.name, status=write, events=events
    )


def write_status(
    kind: str,
    meta: Meta,
    stored: Status,
    *,
    fields: Mapping[str, Any],
    findings: Sequence[Finding],
    now: datetime,
) -> tuple[StatusWrite | None, tuple[EventNote, ...]]:
    """The write, None when the stored status says all this already, and the events of what changed."""
    before = _dump(stored)
    conditions, transitions = merge(findings, before.get("conditions") or [], meta.generation, now)
    wanted = {**fields, "observedGeneration": meta.generation, "conditions": conditions}
    if wanted == before:  # nearly always: what is stored went through the model already
        return None, _events(kind, meta, transitions)
    after = _dump(type(stored).model_validate(wanted))
    write = StatusWrite(kind, meta, after) if after != before else None
    return write, _events(kind, meta, transitions)


def _dump(status: Status) -> dict[str, Any]:
    dumped: dict[str, Any] = status.model_dump(mode="json", by_alias=True, exclude_none=True)
    return dumped


def _invalid(problem: str) -> list[Finding]:
    return [
        Finding("Ready", FALSE, Reason.InvalidSpec, problem),
        Finding("Stalled", TRUE, Reason.InvalidSpec, problem),
    ]


def _events(kind: str, meta: Meta, transitions: Sequence[Transition]) -> tuple[EventNote, ...]:
    notes: dict[tuple[str, str], EventNote] = {}
    for transition in transitions:
        finding = transition.finding
        if finding.type in _NEVER_TOLD or finding.status not in {TRUE, FALSE}:
            continue
        if transition.is_bad:
            is_start_up = finding.reason == Reason.WaitingForPods and not transition.before
            if is_start_up:
                continue
            note = EventNote(kind, meta, "Warning", finding.reason.value, finding.message)
        elif finding.type in _TOLD_WHEN_NEW or transition.before == FALSE:
            note = EventNote(kind, meta, "Normal", finding.reason.value, finding.message)
        else:
            continue
        notes.setdefault((note.reason, note.message), note)
    return tuple(notes.values())
