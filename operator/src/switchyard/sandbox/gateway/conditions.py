"""Conditions of route kinds: made, and merged so that only a change is a write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from switchyard.sandbox.client import Json


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition without its times."""

    type: str
    is_true: bool
    reason: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why something is not taken: a reason of the API and a sentence."""

    reason: str
    message: str


def judge(kind: str, problem: Problem | None, *, reason: str = "") -> Condition:
    """The condition: true with `reason` (the type where none is given) without a problem."""
    if problem is None:
        return Condition(kind, is_true=True, reason=reason or kind)
    return Condition(kind, is_true=False, reason=problem.reason, message=problem.message)


def merge_conditions(
    present: Sequence[Json], wanted: Sequence[Condition], *, generation: int, now: str
) -> list[Json]:
    """The list with the wanted ones in it: a status that stays keeps its time, other types stay untouched."""
    merged = {entry["type"]: entry for entry in present}
    for condition in wanted:
        status = "True" if condition.is_true else "False"
        old = merged.get(condition.type, {})
        since = old.get("lastTransitionTime", now) if old.get("status") == status else now
        merged[condition.type] = {
            "type": condition.type,
            "status": status,
            "reason": condition.reason,
            "message": condition.message,
            "observedGeneration": generation,
            "lastTransitionTime": since,
        }
    return list(merged.values())
