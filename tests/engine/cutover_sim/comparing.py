"""What two runs of the same plan must have in common, whatever became of the processes that carried it out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from .outside import Outside
from .parts import NEW

_OF_BLINDNESS = {"EvidenceMissing", "Resumed"}  # after a time without any process, nobody has seen anything


def list_changes(outside: Outside) -> dict[str, list[Any]]:
    """For each object outside, what became true of it, in order. A write that changed nothing is no change."""
    found: dict[str, list[Any]] = {}
    for name, value in [each.change for each in outside.landed if each.change] + outside.heard:
        values = found.setdefault(name, [])
        if not values or values[-1] != value:
            values.append(value)
    return found


def list_differences(outside: Outside, undisturbed: Outside) -> list[str]:
    """How the end, or the way to it, differs from the undisturbed run; and what was never to happen."""
    found = list(outside.broken)
    if outside.failed_users:
        found.append(f"{outside.failed_users:.0f} requests of users failed for want of somebody to answer")
    pairs: list[tuple[str, Any, Any]] = [
        (f"changes of {name}", list_changes(outside).get(name), values)
        for name, values in list_changes(undisturbed).items()
    ]
    pairs += [
        (f"changes of {name}", values, None)
        for name, values in list_changes(outside).items()
        if name not in list_changes(undisturbed)
    ]
    ours, theirs = summarise(outside), summarise(undisturbed)
    pairs += [(name, ours[name], theirs[name]) for name in theirs]
    found += [f"{name}: {now} instead of {then}" for name, now, then in pairs if now != then]
    said, before = _count_events(outside), _count_events(undisturbed)
    found += [f"said {count} times: {what}" for what, count in said.items() if count > max(1, before[what])]
    return found


def summarise(outside: Outside) -> dict[str, Any]:
    """What is left in the end."""
    status = outside.status
    return {
        "phase": outside.phase,
        "reason": _machine(status).get("rollbackReason", ""),
        "history": [
            (each["phase"], each["reason"])
            for each in status.get("history", ())
            if each["reason"] not in _OF_BLINDNESS
        ],
        "weights": outside.weights(),
        "traffic version": _machine(status).get("trafficVersion"),
        "candidate replicas": _machine(status).get("candidateReplicas"),
        "in force": outside.weights_in_force(),
        "replicas": outside.replicas(),
        "finalizers": (outside.plan or {"metadata": {}})["metadata"].get("finalizers"),
        "holder": outside.holder,
        "selected": outside.selected,
        "callers": outside.callers,
        "routers": sorted(outside.routers),
        "config": outside.config is not None,
        "objects": sorted(outside.objects),
        "candidate's pods": outside.count_ready(NEW),
    }


def _count_events(outside: Outside) -> Counter[str]:
    told = (each.what for each in outside.landed if each.what.startswith("event CutoverPlan"))
    named = (what.partition(":")[0] for what in told)
    return Counter(each for each in named if each.rpartition(" ")[2] not in _OF_BLINDNESS)


def _machine(status: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = status.get("machine") or {}
    return found
