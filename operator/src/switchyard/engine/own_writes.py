"""What we wrote and the watches have not shown us yet, laid over the snapshot.

Watches lag behind writes. A loop that decided on the lagging picture would write the same again, and a
server-side apply makes a new resourceVersion even when nothing changes. So every accepted write is
remembered until the watch shows it, or shows something that is neither what we built upon nor ours:
then somebody else wrote after us, and the watch is right.

Versions are only compared for equality: which of two is newer is the server's knowledge.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TypeVar

from switchyard.core.world import Child, Meta, Plan, Pool, Unreadable, Workload, World
from switchyard.engine.ports import ObjectKey, Observed

# How long a watch may take to show a write before we believe it again. A write whose echo never
# comes (its object was deleted and made anew in between) must not hide the cluster for ever.
FORGET_AFTER_SECONDS = 10.0

_T = TypeVar("_T", Pool, Workload, Plan, Unreadable, Child)
_Doomed = TypeVar("_Doomed", Plan, Child)


def kind_of(observed: Observed) -> str:
    """The Kubernetes kind of an observed object."""
    match observed:
        case Pool():
            return "AcceleratorPool"
        case Workload():
            return "InferenceWorkload"
        case Plan():
            return "CutoverPlan"
        case Unreadable() | Child():
            return observed.kind


def key_of(observed: Observed) -> ObjectKey:
    return (kind_of(observed), observed.meta.namespace, observed.meta.name)


@dataclass
class _Pending:
    observed: Observed
    expires_at: float
    older_versions: set[str] = field(default_factory=set)  # what the watch may still show


@dataclass
class OwnWrites:
    """Remembers accepted writes and deletes; `overlay` gives the world with them in it."""

    _written: dict[ObjectKey, _Pending] = field(default_factory=dict)
    _deleted: dict[str, float] = field(default_factory=dict)  # uid -> expires_at
    _seen: dict[ObjectKey, str] = field(default_factory=dict)  # the version in the last snapshot

    def remember(self, observed: Observed, now_seconds: float) -> None:
        """Take `observed` for true until the watch has caught up with it."""
        key = key_of(observed)
        shown = self._seen.get(key, "")
        older = {shown}
        before = self._written.get(key)
        if before is not None:
            older |= before.older_versions | {before.observed.meta.resource_version}
        if observed.meta.resource_version in older:
            return  # a write that changed nothing: the picture is as good as it was
        self._written[key] = _Pending(observed, now_seconds + FORGET_AFTER_SECONDS, older)

    def remember_deleted(self, child: Child, now_seconds: float) -> None:
        """Take the object for going until the watch has dropped it."""
        self._deleted[child.meta.uid] = now_seconds + FORGET_AFTER_SECONDS
        self._written.pop(key_of(child), None)

    def forget(self, key: ObjectKey) -> None:
        """Believe the watch about this object again."""
        self._written.pop(key, None)

    def next_expiry_seconds(self) -> float:
        """When, on the clock of `remember`, the picture changes by itself; +inf when nothing is pending."""
        times = [pending.expires_at for pending in self._written.values()]
        return min([*times, *self._deleted.values()], default=float("inf"))

    def overlay(self, world: World, now_seconds: float) -> World:
        """The world with our unseen writes in it, in the same order; forgets what the watch has shown."""
        self._seen = {
            key_of(item): item.meta.resource_version
            for group in (world.pools, world.workloads, world.plans, world.unreadable, world.children)
            for item in group
        }
        self._forget(now_seconds)
        if not self._written and not self._deleted:
            return world
        return replace(
            world,
            pools=self._merge(world.pools, Pool),
            workloads=self._merge(world.workloads, Workload),
            plans=self._mark_deleted(self._merge(world.plans, Plan)),
            unreadable=self._merge(world.unreadable, Unreadable),
            children=self._mark_deleted(self._merge(world.children, Child)),
        )

    def _forget(self, now_seconds: float) -> None:
        for key, pending in list(self._written.items()):
            shown = self._seen.get(key, "")
            # what we may make and the watch has not shown at all is new; users' objects are gone
            may_be_new = isinstance(pending.observed, Child | Plan)
            awaited = shown in pending.older_versions and (shown != "" or may_be_new)
            if not awaited or now_seconds >= pending.expires_at:
                del self._written[key]
        self._deleted = {uid: at for uid, at in self._deleted.items() if now_seconds < at}

    def _merge(self, shown: tuple[_T, ...], kind: type[_T]) -> tuple[_T, ...]:
        ours = {key: p.observed for key, p in self._written.items() if isinstance(p.observed, kind)}
        if not ours:
            return shown
        merged = {key_of(item): item for item in shown}
        merged.update(ours)
        return tuple(sorted(merged.values(), key=_by_name))

    def _mark_deleted(self, shown: Iterable[_Doomed]) -> tuple[_Doomed, ...]:
        return tuple(
            replace(each, meta=replace(each.meta, is_deleting=True))
            if each.meta.uid in self._deleted
            else each
            for each in shown
        )


def _by_name(item: Observed) -> tuple[str, str, str]:
    meta: Meta = item.meta
    return (meta.namespace, meta.name, kind_of(item))
