"""Events on objects: written in the background, repeats counted up, floods dropped, old ones removed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import OrderedDict
from datetime import UTC, datetime, timedelta

import aiohttp

from switchyard.sandbox.client import EVENTS, ApiClient, ApiError, Json
from switchyard.sandbox.cluster.conditions import read_stamp, stamp, stamp_micro
from switchyard.sandbox.cluster.informer import Informer

log = logging.getLogger(__name__)

_QUEUE_LIMIT = 2000
_REMEMBERED = 4096
_PER_SECOND = 40.0  # Normal events past this rate are dropped, as client-go's spam filter does per source
_BURST = 200.0
TTL_SECONDS = 3600.0

_Entry = tuple[str, Json, str, str, str, str]  # component, object, reason, message, type, action


class Recorder:
    """Writes events of several components. `record` never blocks and never fails."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client
        self._queue: asyncio.Queue[_Entry] = asyncio.Queue(_QUEUE_LIMIT)
        self._seen: OrderedDict[tuple[str, str, str], tuple[str, str, int]] = OrderedDict()
        self._tokens = _BURST
        self._refilled = time.monotonic()
        self._clients: dict[str, ApiClient] = {}

    def record(
        self, component: str, body: Json, reason: str, message: str, *, kind: str = "Normal", action: str = ""
    ) -> None:
        """Note what happened to `body`. `action` marks the newer form of events, that of the scheduler."""
        if kind == "Normal" and not self._take_token():
            return
        with contextlib.suppress(asyncio.QueueFull):
            self._queue.put_nowait((component, body, reason, message, kind, action))

    def _take_token(self) -> bool:
        now = time.monotonic()
        self._tokens = min(_BURST, self._tokens + (now - self._refilled) * _PER_SECOND)
        self._refilled = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    async def run(self) -> None:
        """Write what was recorded until cancelled."""
        while True:
            entry = await self._queue.get()
            try:
                await self._write(entry)
            except ApiError as error:
                # A namespace on its way out takes no events; nobody waits for them either.
                log.log(
                    logging.DEBUG if error.status in (403, 404) else logging.INFO, "event lost: %s", error
                )
            except (aiohttp.ClientError, ConnectionError, TimeoutError) as error:
                log.info("event lost: %s", error)

    async def _write(self, entry: _Entry) -> None:
        component, body, reason, message, kind, action = entry
        meta = body["metadata"]
        namespace = meta.get("namespace", "") or "default"
        client = self._clients.setdefault(component, self._client.as_agent(component))
        now = datetime.now(UTC)
        known = (meta.get("uid", meta["name"]), reason, message)
        if known in self._seen:
            space, name, count = self._seen[known]
            patch: Json = (
                {"series": {"count": count + 1, "lastObservedTime": stamp_micro(now)}}
                if action
                else {"count": count + 1, "lastTimestamp": stamp(now)}
            )
            try:
                await client.patch(EVENTS, space, name, patch)
            except ApiError as error:
                if not error.is_not_found:
                    raise
                del self._seen[known]  # expired meanwhile: begin anew
            else:
                self._seen[known] = (space, name, count + 1)
                self._seen.move_to_end(known)
                return
        reference: Json = {
            "apiVersion": body.get("apiVersion", "v1"),
            "kind": body.get("kind", ""),
            "name": meta["name"],
            "uid": meta.get("uid", ""),
            "resourceVersion": meta.get("resourceVersion", ""),
        }
        if meta.get("namespace"):
            reference["namespace"] = meta["namespace"]
        event: Json = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{meta['name']}.{time.time_ns():x}", "namespace": namespace},
            "involvedObject": reference,
            "reason": reason,
            "message": message[:1024],
            "type": kind,
            "reportingComponent": component,
        }
        if action:
            event |= {"action": action, "eventTime": stamp_micro(now), "source": {}}
            event["reportingInstance"] = f"{component}-sandbox"
        else:
            moment = stamp(now)
            event |= {"firstTimestamp": moment, "lastTimestamp": moment, "count": 1}
            event["source"] = {"component": component}
        made = await client.create(EVENTS, namespace, event)
        self._seen[known] = (namespace, made["metadata"]["name"], 1)
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)


async def expire_events(client: ApiClient, events: Informer, *, ttl_seconds: float = TTL_SECONDS) -> None:
    """Delete events that nothing renewed for `ttl_seconds`: a real server lets them expire by itself."""
    await events.synced.wait()
    while True:
        horizon = datetime.now(UTC) - timedelta(seconds=ttl_seconds)
        for event in events.values():
            if last_seen(event) < horizon:
                meta = event["metadata"]
                with contextlib.suppress(ApiError, ConnectionError, aiohttp.ClientError):
                    await client.delete(EVENTS, meta["namespace"], meta["name"], uid=meta["uid"])
        await asyncio.sleep(min(60.0, ttl_seconds))


def last_seen(event: Json) -> datetime:
    """When the event happened last, by whichever of its times says so."""
    times = (
        (event.get("series") or {}).get("lastObservedTime"),
        event.get("lastTimestamp"),
        event.get("eventTime"),
        event["metadata"].get("creationTimestamp"),
    )
    return max((at for at in map(read_stamp, times) if at is not None), default=datetime.now(UTC))
