"""What a plan remembers, to and from its status: exactly, so that a restart at any moment changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from switchyard.api.cutover_status import Approval, CutoverPlanStatus, MachineState, SideStatus
from switchyard.core.cutover.types import SegmentState, Side, State, Transition


def write_state(state: State) -> dict[str, Any]:
    """The fields of a status, as JSON, that hold the state."""
    written: dict[str, Any] = {
        "observedGeneration": state.generation,
        "phase": state.phase,
        "router": state.router,
        "baseline": _write_side(state.baseline),
        "candidate": _write_side(state.candidate),
        "segments": [
            {"name": each.name, "state": each.place, "weight": each.weight_percent} for each in state.segments
        ],
        "approvals": _write_approvals(state),
        "startedAt": _write_moment(state.started_at),
        "completedAt": _write_moment(state.completed_at),
        "cost": {"dualRun": format(state.dual_run_cost, "f")},
        "history": [_write_transition(each) for each in state.history],
        "evidence": [{"key": key, "data": state.evidence[key]} for key in sorted(state.evidence)],
        "message": state.message or None,
        "machine": _write_machine(state),
    }
    return {key: value for key, value in written.items() if value not in (None, [])}


def read_state(status: CutoverPlanStatus) -> State:
    """The state that a status holds. Raises ValueError where a moment in it is none."""
    machine = status.machine or MachineState()
    return State(
        phase=status.phase or "Pending",
        attempt=machine.attempt,
        restart_token=machine.restart_token,
        generation=status.observed_generation,
        inputs_hash=machine.inputs_hash,
        router=status.router,
        baseline=_read_side(status.baseline),
        candidate=_read_side(status.candidate),
        segments=tuple(SegmentState(each.name, each.state, each.weight) for each in status.segments),
        segment_index=machine.segment_index,
        step_index=machine.step_index,
        shadow_percent=machine.shadow_percent,
        traffic_version=machine.traffic_version,
        candidate_replicas=machine.candidate_replicas,
        phase_since=_read_moment(machine.phase_since),
        stage_since=_read_moment(machine.stage_since),
        deadline=_read_moment(machine.deadline),
        started_at=_read_moment(status.started_at),
        completed_at=_read_moment(status.completed_at),
        inconclusive_since=_read_moment(machine.inconclusive_since),
        resume_phase=machine.resume_phase,
        pause_reason=machine.pause_reason,
        rollback_reason=machine.rollback_reason,
        rollback_message=machine.rollback_message,
        rollback_to=machine.rollback_to,
        rollback_scope=machine.rollback_scope,
        requested=_read_moments(status.approvals, "requested_at"),
        approved=_read_moments(status.approvals, "approved_at"),
        window_index=machine.window_index,
        reading_at=_read_moment(machine.reading_at),
        reading=machine.reading,
        evidence={each.key: each.data for each in status.evidence},
        restarts_before=machine.restarts_before,
        drift=machine.drift,
        dual_run_cost=Decimal(status.cost.dual_run) if status.cost is not None else Decimal(0),
        cost_at=_read_moment(machine.cost_at),
        history=tuple(
            Transition(
                at=datetime.fromisoformat(each.at),
                phase=each.phase,
                reason=each.reason,
                message=each.message,
                segment=each.segment,
                weight_percent=each.weight,
            )
            for each in status.history
        ),
        message=status.message or "",
    )


def _write_machine(state: State) -> dict[str, Any]:
    written = {
        "attempt": state.attempt,
        "restartToken": state.restart_token,
        "inputsHash": state.inputs_hash,
        "segmentIndex": state.segment_index,
        "stepIndex": state.step_index,
        "shadowPercent": state.shadow_percent,
        "trafficVersion": state.traffic_version,
        "candidateReplicas": state.candidate_replicas,
        "restartsBefore": state.restarts_before,
        "drift": state.drift,
        "phaseSince": _write_moment(state.phase_since),
        "stageSince": _write_moment(state.stage_since),
        "deadline": _write_moment(state.deadline),
        "inconclusiveSince": _write_moment(state.inconclusive_since),
        "resumePhase": state.resume_phase,
        "pauseReason": state.pause_reason,
        "rollbackReason": state.rollback_reason,
        "rollbackMessage": state.rollback_message,
        "rollbackTo": state.rollback_to,
        "rollbackScope": state.rollback_scope,
        "windowIndex": state.window_index,
        "readingAt": _write_moment(state.reading_at),
        "reading": state.reading,
        "costAt": _write_moment(state.cost_at),
    }
    return {key: value for key, value in written.items() if value is not None}


def _write_transition(entry: Transition) -> dict[str, Any]:
    return {
        "at": _write_moment(entry.at),
        "phase": entry.phase,
        "segment": entry.segment,
        "weight": entry.weight_percent,
        "reason": entry.reason,
        "message": entry.message,
    }


def _write_side(side: Side | None) -> dict[str, Any] | None:
    return None if side is None else {"variant": side.variant, "pool": side.pool, "track": side.track}


def _read_side(side: SideStatus | None) -> Side | None:
    return None if side is None else Side(side.variant, side.pool, side.track)


def _write_approvals(state: State) -> list[dict[str, Any]]:
    entries = []
    for stage in sorted({*state.requested, *state.approved}):
        entry: dict[str, Any] = {"stage": stage}
        if stage in state.requested:
            entry["requestedAt"] = _write_moment(state.requested[stage])
        if stage in state.approved:
            entry["approvedAt"] = _write_moment(state.approved[stage])
        entries.append(entry)
    return entries


def _read_moments(approvals: tuple[Approval, ...], field: str) -> Mapping[str, datetime]:
    found = {each.stage: _read_moment(getattr(each, field)) for each in approvals}
    return {stage: at for stage, at in found.items() if at is not None}


def _write_moment(moment: datetime | None) -> str | None:
    """RFC 3339 in UTC, with microseconds where there are any: deadlines are compared to the moment."""
    return None if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _read_moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
