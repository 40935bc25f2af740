"""What the watches have shown, shared between kopf's handlers, the loop's reader and the audit."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from switchyard.adapters.connection import Connection
from switchyard.adapters.resources import WATCHED, Resource
from switchyard.engine.debounce import Debounce


@dataclass(frozen=True, slots=True)
class Entry:
    """One object in an index. `value` is its projection, None for one that the loop has no use for."""

    namespace: str
    name: str
    uid: str
    resource_version: str
    value: Any


ObjectName = tuple[str, str]  # namespace, name


def entry_of(body: Mapping[str, Any], project: Callable[[Mapping[str, Any]], Any]) -> dict[ObjectName, Entry]:
    """What to put into an index for a body as kopf hands it over."""
    plain = dict(body)
    metadata = plain["metadata"]
    namespace, name = metadata.get("namespace") or "", metadata["name"]
    entry = Entry(
        namespace,
        name,
        metadata.get("uid") or "",
        metadata.get("resourceVersion") or "",
        project(plain),
    )
    return {(namespace, name): entry}


@dataclass
class WatchMemory:
    """kopf's memo: one for the whole process."""

    connection: Connection
    debounce: Debounce
    is_complete: bool = False  # every watched kind was listed once
    watched: tuple[Resource, ...] = WATCHED  # and the kinds of routes that the cluster serves
    # uids that a fresh list proved gone while an index still has them: kopf lists anew after an
    # expired watch, but takes nothing out of an index without a DELETED event
    ghosts: set[str] = field(default_factory=set)
    _ghosts_by_kind: dict[str, frozenset[str]] = field(default_factory=dict)
    last_event_seconds: dict[str, float] = field(default_factory=dict)  # plural -> monotonic seconds
    _indexes: dict[str, Mapping[ObjectName, Collection[Entry]]] = field(default_factory=dict)

    def __copy__(self) -> WatchMemory:
        """Itself: kopf copies the memo for every object that it sees."""
        return self

    def take_indexes(self, handler_kwargs: Mapping[str, Any]) -> None:
        """Keep kopf's live, read-only indexes; it passes them to handlers by name."""
        self._indexes = {resource.plural: handler_kwargs[resource.plural] for resource in self.watched}

    def woken_by(self, plural: str) -> None:
        self.is_complete = True
        self.last_event_seconds[plural] = time.monotonic()
        self.debounce.trigger()

    def entries(self, plural: str) -> Iterator[Entry]:
        """What the watch of a kind has, without what is known to be gone; nothing before start-up.

        Two of one name: the first was deleted unseen and made anew; the later one comes last.
        """
        index = self._indexes.get(plural, {})
        for name in index:
            for entry in index[name]:
                if entry.uid not in self.ghosts:
                    yield entry

    def uid_of(self, plural: str, namespace: str, name: str) -> str:
        """The uid under which the watch has this object, empty when it has none."""
        index = self._indexes.get(plural, {})
        # kopf's indexes have no `get`
        held = index[namespace, name] if (namespace, name) in index else ()  # noqa: SIM401
        return next((entry.uid for entry in reversed(list(held)) if entry.uid not in self.ghosts), "")

    def versions(self, plural: str) -> dict[str, str]:
        """Uid -> resourceVersion of all that the index of a kind holds, ghosts too."""
        index = self._indexes.get(plural, {})
        return {entry.uid: entry.resource_version for name in index for entry in index[name]}

    def replace_ghosts(self, plural: str, ghosts: Collection[str]) -> None:
        """Take the newest word on one kind's ghosts; those that left the index need no note any more."""
        self.ghosts.difference_update(self._ghosts_by_kind.get(plural, ()))
        self._ghosts_by_kind[plural] = frozenset(ghosts)
        self.ghosts.update(ghosts)
