"""What one pass of the loop wants: objects that should exist, statuses, and events. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from switchyard.core.cutover.orders import TrafficOrder, TrafficWatch
from switchyard.core.holding import PLACEMENT
from switchyard.core.world import Child, Meta


@dataclass(frozen=True, slots=True)
class Apply:
    """Server-side apply `body` (whole intent of one field manager) for `owner`.

    `resource_version`: of the object that this was decided on, where it must be no other; else empty.
    `is_new`: made only where nothing has the name; from then on it is the users'.
    """

    owner: tuple[str, str, str]  # kind, namespace, name
    body: Mapping[str, Any]
    manager: str = PLACEMENT
    resource_version: str = ""
    is_new: bool = False


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete an owned child that is no longer wanted, guarded by its uid and resourceVersion."""

    owner: tuple[str, str, str]
    child: Child


@dataclass(frozen=True, slots=True)
class StatusWrite:
    """Replace `.status` of the object that `meta` names, guarded by meta.resource_version.

    Present only when it differs from what is stored: an unchanged world has none.
    """

    kind: str
    meta: Meta
    status: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class FinalizerWrite:
    """Replace the finalizers of the object that `meta` names, guarded by meta.resource_version."""

    kind: str
    meta: Meta
    finalizers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EventNote:
    """An event on a transition. `reason` is a stable CamelCase word; equal notes are aggregated by count."""

    kind: str
    meta: Meta
    type: str  # Normal | Warning
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class ObjectDecision:
    """All that belongs to one object.

    Order of effects: applies, deletes, finalizers, status, events, traffic. A failed write skips what follows
    it in the same object and never touches other objects. A status and finalizers are not written in one
    pass: each write changes the version that guards the other.
    """

    kind: str
    namespace: str
    name: str
    applies: tuple[Apply, ...] = ()
    deletes: tuple[Delete, ...] = ()
    status: StatusWrite | None = None
    events: tuple[EventNote, ...] = ()
    finalizers: FinalizerWrite | None = None
    traffic: TrafficOrder | None = None

    @property
    def is_empty(self) -> bool:
        """True when the object is as it should be."""
        effects = (self.applies, self.deletes, self.finalizers, self.status, self.events, self.traffic)
        return not any(effects)


@dataclass(frozen=True, slots=True)
class Decisions:
    """`recheck_at`: the moment at which time alone changes what is wanted; None when it does not."""

    objects: tuple[ObjectDecision, ...] = ()
    recheck_at: datetime | None = None
    watches: tuple[TrafficWatch, ...] = ()
