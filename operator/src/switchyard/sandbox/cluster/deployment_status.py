"""The status of a Deployment from its ReplicaSets: pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from switchyard.sandbox.cluster.conditions import find_condition, set_condition

Json = dict[str, Any]
_TIMES = ("lastUpdateTime", "lastTransitionTime")


def set_progress(deployment: Json, condition: Json) -> Json:
    """The Deployment with this condition in its status."""
    status = {**(deployment.get("status") or {})}
    status["conditions"] = set_condition(status.get("conditions") or [], condition, time_fields=_TIMES)
    return {**deployment, "status": status}


def compute_status(deployment: Json, sets: list[Json], new: Json | None, unavailable: int) -> Json:
    """The status that these ReplicaSets give; equal to the present one when nothing changed.

    `unavailable`: how many pods may be missing while the Deployment still counts as available.
    """
    spec = deployment["spec"]
    before = deployment.get("status") or {}
    wanted = spec.get("replicas", 1)
    totals = {
        name: sum((s.get("status") or {}).get(name, 0) for s in sets)
        for name in ("replicas", "readyReplicas", "availableReplicas", "terminatingReplicas")
    }
    status: Json = {"observedGeneration": deployment["metadata"].get("generation", 1)}
    counts = {
        "replicas": totals["replicas"],
        "updatedReplicas": (new.get("status") or {}).get("replicas", 0) if new else 0,
        "readyReplicas": totals["readyReplicas"],
        "availableReplicas": totals["availableReplicas"],
        "unavailableReplicas": max(
            0, sum(s["spec"].get("replicas", 1) for s in sets) - totals["availableReplicas"]
        ),
    }
    status |= {name: count for name, count in counts.items() if count}
    status["terminatingReplicas"] = totals["terminatingReplicas"]
    if before.get("collisionCount"):
        status["collisionCount"] = before["collisionCount"]
    conditions = before.get("conditions") or []
    if totals["availableReplicas"] >= wanted - unavailable:
        available = ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    else:
        available = ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    conditions = set_condition(conditions, _condition("Available", *available), time_fields=_TIMES)
    status["conditions"] = conditions
    progress = _judge_progress(deployment, before, status, new)
    if progress is not None:
        conditions = set_condition(conditions, progress, time_fields=_TIMES)
    status["conditions"] = _copy_failure(conditions, sets)
    return status


def is_complete(deployment: Json, status: Json) -> bool:
    """Whether every wanted replica is of the newest template and available."""
    wanted = deployment["spec"].get("replicas", 1)
    return bool(
        status.get("updatedReplicas", 0) == wanted
        and status.get("replicas", 0) == wanted
        and status.get("availableReplicas", 0) == wanted
        and status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 1)
    )


def _condition(kind: str, status: str, reason: str, message: str) -> Json:
    return {"type": kind, "status": status, "reason": reason, "message": message}


def _judge_progress(deployment: Json, before: Json, status: Json, new: Json | None) -> Json | None:
    spec = deployment["spec"]
    current = find_condition({"status": status}, "Progressing")
    subject = (
        f'ReplicaSet "{new["metadata"]["name"]}"' if new else f'Deployment "{deployment["metadata"]["name"]}"'
    )
    if spec.get("paused"):
        if current is not None and current.get("reason") == "NewReplicaSetAvailable":
            return None
        return _condition("Progressing", "Unknown", "DeploymentPaused", "Deployment is paused")
    if is_complete(deployment, status):
        return _condition(
            "Progressing", "True", "NewReplicaSetAvailable", f"{subject} has successfully progressed."
        )
    if current is not None and current.get("reason") == "DeploymentPaused":
        return _condition("Progressing", "Unknown", "DeploymentResumed", "Deployment is resumed")
    if current is None or _has_progressed(before, status):
        return _condition("Progressing", "True", "ReplicaSetUpdated", f"{subject} is progressing.")
    if _is_late(spec, current):
        return _condition(
            "Progressing", "False", "ProgressDeadlineExceeded", f"{subject} has timed out progressing."
        )
    return None


def _has_progressed(before: Json, status: Json) -> bool:
    def old_pods(body: Json) -> int:
        return int(body.get("replicas", 0)) - int(body.get("updatedReplicas", 0))

    return (
        status.get("updatedReplicas", 0) > before.get("updatedReplicas", 0)
        or old_pods(status) < old_pods(before)
        or status.get("readyReplicas", 0) > before.get("readyReplicas", 0)
        or status.get("availableReplicas", 0) > before.get("availableReplicas", 0)
    )


def _is_late(spec: Json, current: Json) -> bool:
    limit = spec.get("progressDeadlineSeconds")
    if not limit or current.get("reason") in ("NewReplicaSetAvailable", "ProgressDeadlineExceeded"):
        return False
    since = datetime.fromisoformat(current["lastUpdateTime"])
    return datetime.now(UTC) > since + timedelta(seconds=limit)


def _copy_failure(conditions: list[Json], sets: list[Json]) -> list[Json]:
    failure = next((c for s in sets if (c := find_condition(s, "ReplicaFailure")) is not None), None)
    if failure is not None:
        return set_condition(
            conditions,
            _condition("ReplicaFailure", failure["status"], failure["reason"], failure["message"]),
            time_fields=_TIMES,
        )
    if any(c["type"] == "ReplicaFailure" for c in conditions):
        return [c for c in conditions if c["type"] != "ReplicaFailure"]
    return conditions
