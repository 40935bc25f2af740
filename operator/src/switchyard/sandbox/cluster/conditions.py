"""Conditions as Kubernetes keeps them: a list by type whose times move only with a change."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

Json = dict[str, Any]


def stamp(at: datetime | None = None) -> str:
    """A time as metav1.Time writes it, whole seconds in UTC."""
    return (at or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ")


def stamp_micro(at: datetime | None = None) -> str:
    """A time as metav1.MicroTime writes it."""
    return (at or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def read_stamp(text: str | None) -> datetime | None:
    """The moment that a stamp names, None for an absent one."""
    return datetime.fromisoformat(text) if text else None


def find_condition(body: Json, kind: str) -> Json | None:
    """The condition of this type in a body's status."""
    for condition in (body.get("status") or {}).get("conditions") or ():
        if condition.get("type") == kind:
            found: Json = condition
            return found
    return None


def is_true(body: Json, kind: str) -> bool:
    """Whether the condition exists and is True."""
    condition = find_condition(body, kind)
    return condition is not None and condition.get("status") == "True"


def set_condition(conditions: list[Json], wanted: Json, *, time_fields: tuple[str, ...]) -> list[Json]:
    """The list with this condition in it; the same list when status, reason and message stay.

    `lastTransitionTime` is kept while the status stays; other `time_fields` move with any change.
    """
    now = stamp()
    old = next((c for c in conditions if c.get("type") == wanted["type"]), None)
    if old is not None and all(old.get(k) == wanted.get(k) for k in ("status", "reason", "message")):
        return conditions
    fresh = {**wanted, **dict.fromkeys(time_fields, now)}
    if old is not None and old.get("status") == wanted.get("status") and old.get("lastTransitionTime"):
        fresh["lastTransitionTime"] = old["lastTransitionTime"]
    return [*(c for c in conditions if c.get("type") != wanted["type"]), fresh]


def is_pod_ready(pod: Json) -> bool:
    """Whether the pod's Ready condition is True."""
    return is_true(pod, "Ready")


def is_pod_over(pod: Json) -> bool:
    """Whether the pod ended for good."""
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def controller_of(body: Json) -> Json | None:
    """The ownerReference that is marked as controller."""
    for owner in body["metadata"].get("ownerReferences") or ():
        if owner.get("controller"):
            found: Json = owner
            return found
    return None


def controller_uids(body: Json) -> list[str]:
    """The uid of the controlling owner as an index entry: one or none."""
    owner = controller_of(body)
    return [owner["uid"]] if owner else []


def own(owner: Json, kind: str, api_version: str) -> Json:
    """A controller reference to `owner`."""
    return {
        "apiVersion": api_version,
        "kind": kind,
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
