"""Watches: a stream of events from a version on, with bookmarks, until a timeout or until history is lost.

An event's JSON is made once and sent to every watcher that wants the same form. Each watcher follows the
history of its resource by version, so a slow one costs nothing but its place; who falls out of the history
gets 410.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import orjson
from aiohttp import web

from switchyard.sandbox.apiserver.backend import Backend
from switchyard.sandbox.apiserver.decoding import Accepted
from switchyard.sandbox.apiserver.errors import ApiError, expired
from switchyard.sandbox.apiserver.reads import METADATA_TYPE, check_version_match
from switchyard.sandbox.apiserver.resources import Json, ResourceInfo
from switchyard.sandbox.apiserver.selectors import selector
from switchyard.sandbox.apiserver.store import CompactedError, Event, Stored
from switchyard.sandbox.apiserver.versions import convert, view

BOOKMARK_SECONDS = 30.0
_DEFAULT_SECONDS = (
    1800.0,
    3600.0,
)  # as kube-apiserver's --min-request-timeout: at random between it and twice it
_FLUSH_BYTES = 256 * 1024


@dataclass
class Watch:
    """One watcher's wishes."""

    backend: Backend
    info: ResourceInfo
    namespace: str
    is_selected: Callable[[Json], bool] | None
    accepted: Accepted
    include_object: str
    wants_bookmarks: bool
    version: int
    has_sent_headers: bool = False

    def lines(self, events: Iterable[Event]) -> list[bytes]:
        """The lines for events, in order; moves the watch's version on."""
        out: list[bytes] = []
        for event in events:
            self.version = event.version
            if self.namespace and event.key[0] != self.namespace:
                continue
            line = self._line(event)
            if line is not None and not self.backend.surface.spoil_event(self.info):
                out.append(line)
        return out

    def _line(self, event: Event) -> bytes | None:
        if self.is_selected is None:
            return self.encode(event.type, event.current)
        was = event.previous is not None and self.is_selected(event.previous.obj)
        is_now = event.type != "DELETED" and self.is_selected(event.current.obj)
        if is_now:
            return self.encode("MODIFIED" if was else "ADDED", event.current)
        if not was or event.previous is None:
            return None
        if event.type == "DELETED":
            return self.encode("DELETED", event.current)
        # it left the selection: its last selected state, with the version of the change
        last = dict(event.previous.obj)
        last["metadata"] = {**last["metadata"], "resourceVersion": str(event.version)}
        return self.encode("DELETED", Stored(last, event.version))

    def encode(self, kind: str, stored: Stored) -> bytes:
        """One line: the event's type and the object in the form that is accepted."""
        if self.accepted.form == "object":
            body = view(self.info, stored)
        else:
            obj = convert(self.info, stored.obj)
            if self.accepted.form == "metadata":
                body = orjson.dumps({**METADATA_TYPE, "metadata": obj["metadata"]})
            else:
                body = orjson.dumps(self._table(obj))
        return b'{"type":"' + kind.encode() + b'","object":' + body + b"}\n"

    def _table(self, obj: Json) -> Json:
        metadata = {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
        table = self.backend.surface.table(
            self.info, [obj], metadata, self.include_object, headers=not self.has_sent_headers
        )
        self.has_sent_headers = True
        return table

    def bookmark(self, *, ends_initial: bool = False) -> bytes:
        """A line that tells how far the watch has come."""
        metadata: Json = {"resourceVersion": str(self.version), "creationTimestamp": None}
        if ends_initial:
            metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
        obj: Json = {"kind": self.info.kind, "apiVersion": self.info.api_version, "metadata": metadata}
        if self.accepted.form == "metadata":
            obj |= METADATA_TYPE
        elif self.accepted.form == "table":
            obj = {
                "kind": "Table",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": metadata,
                "columnDefinitions": None,
                "rows": [{"cells": None, "object": {**METADATA_TYPE, "metadata": metadata}}]
                if ends_initial
                else None,
            }
        return b'{"type":"BOOKMARK","object":' + orjson.dumps(obj) + b"}\n"


def start_watch(
    backend: Backend, info: ResourceInfo, namespace: str, query: Mapping[str, str], accepted: Accepted
) -> tuple[Watch, list[bytes]]:
    """A watch and the lines it begins with. Raises ApiError for what is wrong with the request."""
    check_version_match(query, is_watch=True)
    is_selected = selector(info, query.get("labelSelector", ""), query.get("fieldSelector", ""))
    text = query.get("resourceVersion", "")
    if text and not text.isdecimal():
        # the one answer of its kind: a real server fails without a reason here
        raise ApiError(500, "", f'strconv.ParseUint: parsing "{text}": invalid syntax')
    version = int(text or "0")
    watch = Watch(
        backend=backend,
        info=info,
        namespace=namespace,
        is_selected=is_selected,
        accepted=accepted,
        include_object=query.get("includeObject") or "Metadata",
        wants_bookmarks=query.get("allowWatchBookmarks") in ("true", "1"),
        version=version,
    )
    shelf = backend.store.shelf(info.storage_key)
    sends_initial = query.get("sendInitialEvents") in ("true", "1")
    if version and not sends_initial:
        return watch, []
    watch.version = backend.store.resource_version
    if query.get("sendInitialEvents") in ("false", "0"):
        return watch, []
    first = [
        watch.encode("ADDED", stored)
        for key in shelf.keys_in(namespace)
        for stored in (shelf.items[key],)
        if is_selected is None or is_selected(stored.obj)
    ]
    if sends_initial and watch.wants_bookmarks:
        first.append(watch.bookmark(ends_initial=True))
    return watch, first


async def serve_watch(
    request: web.Request, watch: Watch, first: list[bytes], cut: asyncio.Event
) -> web.StreamResponse:
    """Streams the watch until its timeout, until `cut` is set or the client goes."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _seconds(request.query.get("timeoutSeconds", ""))
    response = web.StreamResponse(
        headers={
            "Content-Type": "application/json;stream=watch"
            if watch.accepted.form != "object"
            else "application/json"
        }
    )
    response.enable_chunked_encoding()
    await response.prepare(request)
    shelf = watch.backend.store.shelf(watch.info.storage_key)
    await _send(response, first)
    next_bookmark = loop.time() + BOOKMARK_SECONDS
    is_cut = asyncio.ensure_future(cut.wait())
    try:
        while not is_cut.done():
            try:
                lines = watch.lines(shelf.since(watch.version))
            except CompactedError:
                await _send(response, [error_line(watch)])
                break
            await _send(response, lines)
            now = loop.time()
            if now >= deadline:
                break
            if watch.wants_bookmarks and now >= next_bookmark:
                if not shelf.events or shelf.events[-1].version <= watch.version:
                    watch.version = max(watch.version, watch.backend.store.resource_version)
                await _send(response, [watch.bookmark()])
                next_bookmark = now + BOOKMARK_SECONDS
            until = min(deadline, next_bookmark) if watch.wants_bookmarks else deadline
            changed = asyncio.ensure_future(shelf.changed(watch.version))
            await asyncio.wait({changed, is_cut}, timeout=until - now, return_when=asyncio.FIRST_COMPLETED)
            changed.cancel()
    finally:
        is_cut.cancel()
    await response.write_eof()
    return response


def error_line(watch: Watch) -> bytes:
    """The last line of a watch whose history is gone."""
    compacted = watch.backend.store.shelf(watch.info.storage_key).compacted
    status = expired(f"too old resource version: {watch.version} ({compacted})").status()
    return b'{"type":"ERROR","object":' + orjson.dumps(status) + b"}\n"


async def _send(response: web.StreamResponse, lines: list[bytes]) -> None:
    batch: list[bytes] = []
    size = 0
    for line in lines:
        batch.append(line)
        size += len(line)
        if size >= _FLUSH_BYTES:
            await response.write(b"".join(batch))
            batch, size = [], 0
    if batch:
        await response.write(b"".join(batch))


def _seconds(text: str) -> float:
    try:
        given = float(text or "0")
    except ValueError:
        given = 0.0
    return given if given > 0 else random.uniform(*_DEFAULT_SECONDS)  # noqa: S311 spreads reconnects
