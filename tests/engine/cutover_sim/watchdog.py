"""What must be true of every status that a plan writes, next to the outside as it is at that moment."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from .outside import Outside
from .parts import FULL, NEW
from .virtual_time import BEGIN

_BACK = {"RollingBack", "RolledBack", "Aborted"}


def check_status(outside: Outside, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Blames what a status says that it must not say."""
    old, new = _weights(before), _weights(after)
    if any(not 0 <= each <= 100 for each in new.values()):
        outside.blame(f"weights {new}")
    raised = {name: weight for name, weight in new.items() if weight > old.get(name, 0)}
    if raised and outside.count_ready(NEW) < -(-FULL * max(raised.values()) // 100):
        outside.blame(f"{raised} with {outside.count_ready(NEW)} ready pods of the candidate")
    is_same_attempt = _machine(before).get("attempt") == _machine(after).get("attempt")
    if raised and is_same_attempt and before.get("phase") in _BACK:
        outside.blame(f"{raised} on the way back")
    if before.get("phase") in _BACK and after.get("phase") not in _BACK and is_same_attempt:
        outside.blame(f"from {before.get('phase')} to {after.get('phase')}")
    is_confirmed = _machine(after).get("stageSince") is not None
    is_asked = after.get("phase") in {"Shadowing", "Canary", "Soaking"}
    if is_confirmed and is_asked and _machine(before).get("stageSince") is None:
        found = outside.weights_in_force()
        if any(found.get(name) != weight for name, weight in new.items()):
            outside.blame(f"{new} said to be confirmed where {found} is in force")
    _check_evidence(outside, after)


def _check_evidence(outside: Outside, status: Mapping[str, Any]) -> None:
    """No request is in the evidence twice: it never has more than went by between its readings."""
    machine = _machine(status)
    since, until = machine.get("stageSince"), machine.get("readingAt")
    found = [
        json.loads(each["data"]) for each in status.get("evidence", ()) if each["key"].startswith("answers/")
    ]
    for stage, samples, *_ in found:
        if since is None or until is None or since.replace("Z", "+00:00") not in stage:
            continue
        most = _count_until(outside, _seconds(until)) - _count_until(outside, _seconds(since))
        if samples > most + 1:
            outside.blame(f"evidence of {samples} requests, of which {most:.0f} went by")


def _count_until(outside: Outside, seconds: float) -> float:
    found = 0.0
    for at, total in reversed(outside.totals):
        if at <= seconds + 1e-6:
            found = total
            break
    return found


def _seconds(text: str) -> float:
    return (datetime.fromisoformat(text) - BEGIN).total_seconds()


def _weights(status: Mapping[str, Any]) -> dict[str, int]:
    return {each["name"]: each["weight"] for each in status.get("segments", ())}


def _machine(status: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = status.get("machine") or {}
    return found
