"""Conditions as the API conventions want them, and the events of their transitions.

`lastTransitionTime` moves only when a status changes: an unchanged world yields an identical status, and no
write. Reconciling, Stalled and Degraded are abnormal-true (kstatus): present only while True.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from switchyard.api import Reason

TRUE, FALSE, UNKNOWN = "True", "False", "Unknown"
ABNORMAL = frozenset({"Reconciling", "Stalled", "Degraded"})
_LONGEST_MESSAGE = 1024


@dataclass(frozen=True, slots=True)
class Finding:
    """One condition as it is now, without its history. Abnormal ones are given only while True."""

    type: str
    status: str
    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Transition:
    """A condition whose status changed. `before` is empty for a condition that is new."""

    finding: Finding
    before: str

    @property
    def is_bad(self) -> bool:
        """True when the change is for the worse."""
        if self.finding.type in ABNORMAL:
            return self.finding.status == TRUE
        return self.finding.status == FALSE


def merge(
    findings: Sequence[Finding], previous: Sequence[Mapping[str, Any]], generation: int, now: datetime
) -> tuple[list[dict[str, Any]], list[Transition]]:
    """The conditions to store, in the order of the findings, and the transitions from the stored ones."""
    stored = {each["type"]: each for each in previous}
    merged, transitions = [], []
    for finding in findings:
        before = stored.get(finding.type)
        is_same = before is not None and before["status"] == finding.status
        merged.append(
            {
                "type": finding.type,
                "status": finding.status,
                "observedGeneration": generation,
                "lastTransitionTime": before["lastTransitionTime"]
                if before and is_same
                else format_time(now),
                "reason": finding.reason.value,
                "message": finding.message[:_LONGEST_MESSAGE],
            }
        )
        if not is_same:
            transitions.append(Transition(finding, before["status"] if before else ""))
    return merged, transitions


def format_time(moment: datetime) -> str:
    """RFC 3339 in UTC, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
