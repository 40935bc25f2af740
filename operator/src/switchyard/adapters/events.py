"""Records core/v1 Events: one object per thing said, counted when said again, and never a flood.

kopf gives each Event a random name, so that nothing is ever aggregated; hence our own recorder. Names are
derived from what is said, so a restarted operator goes on counting where the last one stopped.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from switchyard.adapters.connection import Answer, Connection, refusal_of
from switchyard.adapters.resources import BY_KIND, EVENTS
from switchyard.core.decisions import EventNote
from switchyard.engine.ports import Failed, WriteResult, Written

COMPONENT = "switchyard"
# as client-go's spam filter: this many at once per object, then one in five minutes
BURST = 25
REFILL_SECONDS = 300.0
# objects and events remembered; the least recently used is forgotten first
MEMORY_SIZE = 4096
_MESSAGE_LENGTH = 1024  # the API's bound
MERGE_PATCH = "application/merge-patch+json"


@dataclass
class TokenBuckets:
    """One bucket per key: `take` is True while the key has tokens."""

    burst: int = BURST
    refill_seconds: float = REFILL_SECONDS
    now_seconds: Callable[[], float] = time.monotonic
    _buckets: OrderedDict[str, tuple[float, float]] = field(default_factory=OrderedDict)  # tokens, as of

    def take(self, key: str) -> bool:
        now = self.now_seconds()
        tokens, as_of = self._buckets.pop(key, (float(self.burst), now))
        tokens = min(float(self.burst), tokens + (now - as_of) / self.refill_seconds)
        allowed = tokens >= 1.0
        self._buckets[key] = (tokens - 1.0 if allowed else tokens, now)
        while len(self._buckets) > MEMORY_SIZE:
            self._buckets.popitem(last=False)
        return allowed


@dataclass
class EventRecorder:
    connection: Connection
    instance: str  # which replica says it
    buckets: TokenBuckets = field(default_factory=TokenBuckets)
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    _counts: OrderedDict[tuple[str, str], int] = field(
        default_factory=OrderedDict
    )  # namespace, name -> count

    async def record(self, note: EventNote) -> Written | Any:
        """Written when it was recorded, or dropped because its object says too much."""
        if not self.buckets.take(note.meta.uid):
            return Written()
        event = build_event(note, self.instance, self.now())
        namespace, name = event["metadata"]["namespace"], event["metadata"]["name"]
        count = self._counts.get((namespace, name))
        answer: Answer | Failed
        if count is None:
            answer = await self.connection.request("POST", EVENTS.path(namespace), body=event)
            if isinstance(answer, Answer) and answer.status == 409:
                answer = await self._count_up(event, await self._stored_count(event))
        else:
            answer = await self._count_up(event, count)
            if isinstance(answer, Answer) and answer.status == 404:  # events expire, usually after an hour
                answer = await self.connection.request("POST", EVENTS.path(namespace), body=event)
        return self._note_answer((namespace, name), answer)

    async def _count_up(self, event: dict[str, Any], count: int) -> Answer | Failed:
        return await self._patch(event, {"count": count + 1, "lastTimestamp": event["lastTimestamp"]})

    async def _stored_count(self, event: dict[str, Any]) -> int:
        # the role may create and patch events but not read them: a patch answers with the object
        answer = await self._patch(event, {"lastTimestamp": event["lastTimestamp"]})
        return int(answer.body.get("count") or 1) if isinstance(answer, Answer) and answer.is_success else 1

    async def _patch(self, event: dict[str, Any], change: dict[str, Any]) -> Answer | Failed:
        metadata = event["metadata"]
        return await self.connection.request(
            "PATCH",
            EVENTS.path(metadata["namespace"], metadata["name"]),
            body=change,
            content_type=MERGE_PATCH,
        )

    def _note_answer(self, key: tuple[str, str], answer: Answer | Failed) -> WriteResult:
        self._counts.pop(key, None)
        if not isinstance(answer, Answer):
            return answer
        if not answer.is_success:
            return refusal_of(answer)
        self._counts[key] = int(answer.body.get("count") or 1)
        while len(self._counts) > MEMORY_SIZE:
            self._counts.popitem(last=False)
        return Written()


def build_event(note: EventNote, instance: str, now: datetime) -> dict[str, Any]:
    """The core/v1 Event for a note; the same note has the same name. Cluster-scoped objects: in `default`."""
    meta = note.meta
    said = f"{meta.uid}\n{note.type}\n{note.reason}\n{note.message}"
    digest = hashlib.sha256(said.encode()).hexdigest()[:16]
    timestamp = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "apiVersion": "v1",
        "kind": "Event",
        # names end at 253 characters
        "metadata": {"name": f"{meta.name[:230]}.{digest}", "namespace": meta.namespace or "default"},
        "involvedObject": {
            "apiVersion": BY_KIND[note.kind].api_version,
            "kind": note.kind,
            "name": meta.name,
            "namespace": meta.namespace,
            "uid": meta.uid,
            "resourceVersion": meta.resource_version,
        },
        "type": note.type,
        "reason": note.reason,
        "message": note.message[:_MESSAGE_LENGTH],
        "source": {"component": COMPONENT},
        "reportingComponent": COMPONENT,
        "reportingInstance": instance,
        "firstTimestamp": timestamp,
        "lastTimestamp": timestamp,
        "count": 1,
    }
