"""A CutoverPlan as it stands: what was asked for, how far it is, and how `status` ends on it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from switchyard.api.cutover import CutoverPlanSpec
from switchyard.api.cutover_status import CutoverPlanStatus
from switchyard.api.parsing import ApiValueError, parse_plan
from switchyard.core.cutover.types import TERMINAL


class Exit(IntEnum):
    """How a command ends."""

    SUCCEEDED = 0
    ERROR = 1
    FAILED = 2
    TIMEOUT = 3
    WAITING = 4


class CutoverError(ValueError):
    """Why nothing was done, one sentence per problem: field, value, way out."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan as the API server holds it."""

    namespace: str
    name: str
    resource_version: str
    generation: int
    is_deleting: bool
    spec: CutoverPlanSpec
    status: CutoverPlanStatus

    @property
    def phase(self) -> str:
        """Its phase; Pending before the operator saw it."""
        return self.status.phase or "Pending"

    @property
    def is_seen(self) -> bool:
        """Whether the status speaks of what the plan asks for now; an end, of the attempt asked for."""
        if self.status.observed_generation < self.generation:
            return False
        token, machine = self.spec.restart_token, self.status.machine
        if token is None or self.phase not in TERMINAL:
            return True
        return machine is not None and machine.restart_token == token

    @property
    def is_ended(self) -> bool:
        """Whether the present attempt is over."""
        return self.phase in TERMINAL and self.is_seen

    @property
    def exit_code(self) -> Exit:
        """How `status` ends on it."""
        if not self.is_ended:
            return Exit.WAITING
        return Exit.SUCCEEDED if self.phase == "Completed" else Exit.FAILED

    @property
    def holds_traffic(self) -> bool:
        """Whether some of the traffic is meant to be on the candidate."""
        return any(each.weight > 0 for each in self.status.segments)

    @property
    def reason(self) -> str:
        """The word for why it stands, goes back or ended; empty while it just moves."""
        machine = self.status.machine
        if machine is None:
            return ""
        if self.phase in {"RollingBack", "RolledBack", "Aborted"}:
            return machine.rollback_reason
        return "" if self.phase in TERMINAL else machine.pause_reason


def read_plan(body: Mapping[str, Any]) -> Plan:
    """The plan in an object of the API. Raises CutoverError for one that this release can't read."""
    metadata = body["metadata"]
    try:
        parsed = parse_plan(body)
    except ApiValueError as error:
        raise CutoverError(f"CutoverPlan {metadata['name']} can't be read: {error}") from None
    return Plan(
        namespace=metadata.get("namespace", ""),
        name=metadata["name"],
        resource_version=metadata.get("resourceVersion", ""),
        generation=metadata.get("generation", 0),
        is_deleting="deletionTimestamp" in metadata,
        spec=parsed.spec,
        status=parsed.status,
    )


def list_approvable(plan: Plan) -> tuple[str, ...]:
    """The stages that wait for a person by the plan's own words, in the order in which they come."""
    segments = plan.spec.segments or ()
    named = [f"segment:{each.name}" for each in segments]
    by_segment = {f"segment:{each.name}" for each in segments if each.approval}
    asked = {*plan.spec.approvals, *by_segment}
    return tuple(stage for stage in ("shadow", "canary", *named, "promote") if stage in asked)


def list_waiting(plan: Plan) -> tuple[str, ...]:
    """The stages that the plan has asked for and nobody has released."""
    if plan.phase in TERMINAL:
        return ()
    open_stages = {
        each.stage
        for each in plan.status.approvals
        if each.requested_at is not None and each.approved_at is None
    }
    released = set(plan.spec.approved)
    return tuple(stage for stage in list_approvable(plan) if stage in open_stages and stage not in released)


def find_eta_seconds(plan: Plan) -> float | None:
    """Seconds until the slowest gate of the stage can decide; None where nobody knows."""
    known = [
        each.eta.seconds for each in plan.status.gates if each.eta is not None and each.verdict != "Pass"
    ]
    return max(known, default=None)
