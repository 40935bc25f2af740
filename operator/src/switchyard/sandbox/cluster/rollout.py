"""How many replicas each ReplicaSet of a Deployment should have next: pure arithmetic.

Follows what https://kubernetes.io/docs/concepts/workloads/controllers/deployment/ promises: never more
than `replicas + maxSurge` pods, never fewer than `replicas - maxUnavailable` available ones.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

HASH_LABEL = "pod-template-hash"
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"  # no vowels: a hash must not spell a word


@dataclass(frozen=True, slots=True)
class Track:
    """One ReplicaSet as the arithmetic sees it."""

    name: str
    wanted: int  # spec.replicas
    available: int = 0
    is_new: bool = False
    max_replicas: int = 0  # the bound noted on it at its last scaling, 0 when none


def hash_template(template: dict[str, Any], collisions: int = 0) -> str:
    """A short name for a pod template, the same wherever it is computed."""
    text = json.dumps([_without_hash(template), collisions], sort_keys=True, separators=(",", ":"))
    number = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
    digits = []
    for _ in range(10):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(digits)


def is_same_template(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two pod templates differ in nothing but the hash label."""
    return _without_hash(one) == _without_hash(other)


def _without_hash(template: dict[str, Any]) -> dict[str, Any]:
    labels = (template.get("metadata") or {}).get("labels") or {}
    if HASH_LABEL not in labels:
        return template
    template = copy.copy(template)
    template["metadata"] = {
        **template["metadata"],
        "labels": {k: v for k, v in labels.items() if k != HASH_LABEL},
    }
    return template


def resolve_bounds(replicas: int, max_surge: int | str, max_unavailable: int | str) -> tuple[int, int]:
    """(surge, unavailable) in pods: a surge share is rounded up, an unavailable one down, never both 0."""
    surge = _resolve(max_surge, replicas, is_up=True)
    unavailable = min(replicas, _resolve(max_unavailable, replicas, is_up=False))
    if surge == 0 and unavailable == 0:
        return 0, 1
    return surge, unavailable


def _resolve(value: int | str, total: int, *, is_up: bool) -> int:
    if isinstance(value, str) and value.endswith("%"):
        share = int(value[:-1]) * total / 100
        return math.ceil(share) if is_up else math.floor(share)
    return int(value)


def grow_new(replicas: int, surge: int, tracks: Sequence[Track]) -> int:
    """Replicas of the new track in a rolling update: as many more as the surge leaves room for."""
    new = next(track for track in tracks if track.is_new)
    if new.wanted >= replicas:
        return replicas
    room = replicas + surge - sum(track.wanted for track in tracks)
    return min(replicas, new.wanted + max(0, room))


def shrink_old(replicas: int, unavailable: int, tracks: Sequence[Track]) -> dict[str, int]:
    """Replicas of every old track that should lose some: first the unhealthy, then the available.

    `tracks` are ordered oldest first. The available ones never fall below `replicas - unavailable`.
    """
    old = [track for track in tracks if not track.is_new and track.wanted]
    new = next(track for track in tracks if track.is_new)
    least = replicas - unavailable
    budget = sum(track.wanted for track in tracks) - least - (new.wanted - new.available)
    if budget <= 0 or not old:
        return {}
    targets: dict[str, int] = {}
    for index, track in enumerate(old):
        cut = min(budget, max(0, track.wanted - track.available))
        if cut > 0:
            targets[track.name] = track.wanted - cut
            old[index] = replace(track, wanted=track.wanted - cut)
            budget -= cut
    spare = sum(track.available for track in tracks) - least
    for track in old:
        cut = min(track.wanted, max(0, spare))
        if cut > 0:
            targets[track.name] = track.wanted - cut
            spare -= cut
    return targets


def rescale(replicas: int, surge: int, tracks: Sequence[Track], *, is_rolling: bool = True) -> dict[str, int]:
    """Replicas of every track after the Deployment itself was resized, in the middle of a rollout or not.

    One live track takes all; with several, each gets its share of the change, largest first, so that a
    rollout in progress keeps its proportions.
    """
    live = [track for track in tracks if track.wanted > 0]
    if len(live) <= 1:
        only = live[0] if live else next((t for t in tracks if t.is_new), tracks[-1] if tracks else None)
        return {only.name: replicas} if only is not None and only.wanted != replicas else {}
    new = next((track for track in tracks if track.is_new), None)
    if new is not None and new.wanted == replicas and new.available == replicas:
        return {track.name: 0 for track in live if not track.is_new}
    if not is_rolling:
        return {}
    total = sum(track.wanted for track in live)
    allowed = replicas + surge if replicas > 0 else 0
    change = allowed - total
    if change == 0:
        return {}
    live.sort(key=lambda track: (-track.wanted, not track.is_new))
    targets: dict[str, int] = {}
    left = change
    for track in live:
        base = track.max_replicas or total
        fair = round(track.wanted * allowed / base) - track.wanted
        part = max(0, min(fair, left)) if change > 0 else min(0, max(fair, left))
        targets[track.name] = max(0, track.wanted + part)
        left -= part
    # What rounding left over goes to the largest.
    first = live[0]
    targets[first.name] = max(0, targets[first.name] + left)
    return {name: count for name, count in targets.items() if count != _wanted(live, name)}


def _wanted(tracks: Sequence[Track], name: str) -> int:
    return next(track.wanted for track in tracks if track.name == name)
