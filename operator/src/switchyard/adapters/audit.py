"""Proves that the watches show the cluster: lists each kind afresh, and compares with what the watch brought.

A watch can die in ways that look like silence, and silence is also what a quiet cluster looks like. Only
a second look can tell. A round lists the metadata of every kind (consistent, paged) and finds

- *ghosts*: held by an index, absent from the list. A uid never comes back, so they are gone for good;
  the reader leaves them out from then on (kopf lists anew after an expired watch, but takes nothing out);
- *a stale watch*: an object differed from the list in the last round and the index has not moved since.

So a dead watch is noticed within two rounds, and a quiet one is never suspected.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from switchyard.adapters.connection import Answer, Connection
from switchyard.adapters.observed import WatchMemory
from switchyard.adapters.resources import CHILDREN, MANAGED_SELECTOR, ROUTES, Resource
from switchyard.engine.ports import Failed

logger = logging.getLogger(__name__)

_PAGE_SIZE = 500
# metadata is all that is compared; a server that can't reduce sends whole objects, which do as well
_ACCEPT = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"

Versions = Mapping[str, str]  # uid -> resourceVersion


@dataclass(frozen=True, slots=True)
class Finding:
    """What one round says about one kind."""

    ghosts: frozenset[str]
    is_stale: bool
    unshown: Versions  # uid -> what the index had while the list showed another version


def judge(before: Versions, listed: Versions, after: Versions, unshown_last_time: Versions) -> Finding:
    """Compare an index, before and after a list, with that list and with the last round's open questions."""
    ghosts = frozenset(uid for uid in before if uid not in listed and uid in after)
    stuck = {
        uid for uid, version in unshown_last_time.items() if uid in listed and after.get(uid, "") == version
    }
    unshown = {uid: before.get(uid, "") for uid, version in listed.items() if before.get(uid) != version}
    return Finding(ghosts, is_stale=bool(stuck), unshown=unshown)


@dataclass
class WatchState:
    """What is known of one kind's watch; times are monotonic seconds."""

    listed_at: float | None = None
    stale_since: float | None = None
    unshown: Versions = field(default_factory=dict)
    problem: str = ""


@dataclass
class WatchAudit:
    connection: Connection
    memory: WatchMemory
    interval_seconds: float = 60.0
    now_seconds: Callable[[], float] = time.monotonic
    states: dict[str, WatchState] = field(default_factory=lambda: defaultdict(WatchState))  # by plural

    async def run(self) -> None:
        """One round per interval, for ever; jittered, so that replicas don't list in step."""
        while True:
            await asyncio.sleep(self.interval_seconds * random.uniform(0.8, 1.2))  # noqa: S311 - spreads load
            if self.memory.is_complete:
                for resource in self.memory.watched:
                    await self.look_at(resource)

    async def look_at(self, resource: Resource) -> None:
        """One kind's part of a round. An answer that does not come leaves the judgement open."""
        state = self.states[resource.plural]
        before = self.memory.versions(resource.plural)
        listed = await self._list(resource)
        if not isinstance(listed, dict):
            state.problem = listed.message
            return
        finding = judge(before, listed, self.memory.versions(resource.plural), state.unshown)
        state.problem, state.listed_at, state.unshown = "", self.now_seconds(), finding.unshown
        if finding.ghosts - self.memory.ghosts:
            logger.warning(
                "a watch missed deletions; what is gone is left out",
                extra={"kind": resource.kind, "objects": len(finding.ghosts)},
            )
            self.memory.debounce.trigger()
        self.memory.replace_ghosts(resource.plural, finding.ghosts)
        if not finding.is_stale:
            state.stale_since = None
        elif state.stale_since is None:
            state.stale_since = self.now_seconds()
            logger.error(
                "a watch is stale: a list shows changes that it does not", extra={"kind": resource.kind}
            )

    def stale_kinds(self) -> dict[str, float]:
        """Plural -> for how many seconds its watch has been proven stale."""
        now = self.now_seconds()
        return {p: now - s.stale_since for p, s in self.states.items() if s.stale_since is not None}

    @property
    def is_each_verified(self) -> bool:
        """True once every kind was compared."""
        return all(self.states[each.plural].listed_at is not None for each in self.memory.watched)

    def unverified_seconds(self, since_start_seconds: float) -> float:
        """How long ago the least recently listed kind was listed; since the start, when never."""
        now = self.now_seconds()
        states = [self.states[each.plural] for each in self.memory.watched]
        return max(now - (since_start_seconds if s.listed_at is None else s.listed_at) for s in states)

    async def _list(self, resource: Resource) -> dict[str, str] | Failed:
        query = {"limit": str(_PAGE_SIZE)}
        if resource in {*CHILDREN, *ROUTES}:
            query["labelSelector"] = MANAGED_SELECTOR
        listed: dict[str, str] = {}
        while True:
            answer = await self.connection.request("GET", resource.path(), query=query, accept=_ACCEPT)
            if not isinstance(answer, Answer):
                return answer
            if not answer.is_success:
                return Failed(answer.message)
            for item in answer.body.get("items") or ():
                listed[item["metadata"]["uid"]] = item["metadata"]["resourceVersion"]
            token = (answer.body.get("metadata") or {}).get("continue")
            if not token:
                return listed
            query["continue"] = token
