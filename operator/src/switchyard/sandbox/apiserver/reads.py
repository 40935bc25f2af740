"""Getting and listing: objects, pages of lists, tables and bare metadata, as bytes."""

from __future__ import annotations

import base64
import binascii
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence

import orjson

from switchyard.sandbox.apiserver.backend import Backend
from switchyard.sandbox.apiserver.decoding import Accepted
from switchyard.sandbox.apiserver.errors import ApiError, FieldError, bad_request, expired, invalid
from switchyard.sandbox.apiserver.resources import Json, ResourceInfo
from switchyard.sandbox.apiserver.selectors import selector
from switchyard.sandbox.apiserver.store import CompactedError, Key, Shelf, Stored
from switchyard.sandbox.apiserver.versions import convert, view

_LIST_OPTIONS = ResourceInfo("meta.k8s.io", "v1", "", "", "ListOptions", "", namespaced=False)
METADATA_TYPE: Json = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1"}
PAGE_EXPIRED = (
    "The provided continue parameter is too old to display a consistent list result. You can start a "
    "new list "
    "without the continue parameter, or use the continue token in this response to retrieve the "
    "remainder of the "
    "results. Continuing with the provided token results in an inconsistent list - objects that were "
    "created, "
    "modified, or deleted between the time the first chunk was returned and now may show up in the list."
)


def render(
    backend: Backend, info: ResourceInfo, stored: Stored, accepted: Accepted, query: Mapping[str, str]
) -> bytes:
    """One object in the form that is accepted."""
    if accepted.form == "object":
        return view(info, stored)
    obj = convert(info, stored.obj)
    if accepted.form == "metadata":
        return orjson.dumps({**METADATA_TYPE, "metadata": obj["metadata"]})
    metadata = {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
    include = query.get("includeObject") or "Metadata"
    return orjson.dumps(backend.surface.table(info, [obj], metadata, include, headers=True))


def list_objects(
    backend: Backend, info: ResourceInfo, namespace: str, query: Mapping[str, str], accepted: Accepted
) -> bytes:
    """A list, a page of one, a table or metadata of it. Raises ApiError."""
    is_selected = selector(info, query.get("labelSelector", ""), query.get("fieldSelector", ""))
    limit = _limit(query.get("limit", ""))
    check_version_match(query, is_watch=False)
    shelf = backend.store.shelf(info.storage_key)
    after: Key | None = None
    version = backend.store.resource_version
    if token := query.get("continue"):
        version, after = _read_continue(token)
        keys, items = _snapshot(shelf, version, namespace)
    elif query.get("resourceVersionMatch") == "Exact":
        version = parse_version(query["resourceVersion"])
        keys, items = _snapshot(shelf, version, namespace)
    elif (frozen := backend.surface.serve_stale(info)) is not None:
        version = frozen
        keys, items = _snapshot(shelf, version, namespace)
    else:
        wanted = parse_version(query.get("resourceVersion") or "0")
        if wanted > version:
            raise _too_large(wanted, version)
        keys, items = shelf.keys_in(namespace), shelf.items
    metadata: Json = {"resourceVersion": str(version)}
    chosen, last, left = _choose(keys, items, is_selected, after, limit)
    if last is not None:
        metadata["continue"] = _make_continue(version, last)
        if is_selected is None:
            metadata["remainingItemCount"] = left
    if accepted.form == "object":
        return _joined(info, chosen, metadata)
    objects = [convert(info, stored.obj) for stored in chosen]
    if accepted.form == "metadata":
        shown = [{**METADATA_TYPE, "metadata": obj["metadata"]} for obj in objects]
        kind = {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1"}
        return orjson.dumps({**kind, "metadata": metadata, "items": shown})
    include = query.get("includeObject") or "Metadata"
    return orjson.dumps(backend.surface.table(info, objects, metadata, include, headers=True))


def _choose(
    keys: Sequence[Key],
    items: Mapping[Key, Stored],
    is_selected: Callable[[Json], bool] | None,
    after: Key | None,
    limit: int,
) -> tuple[list[Stored], Key | None, int]:
    """The objects of a page, the last key if there are more behind it, and how many there are."""
    start = bisect_right(keys, after) if after is not None else 0
    if is_selected is None and not limit:
        return [items[key] for key in (keys[start:] if start else keys)], None, 0
    chosen: list[Stored] = []
    last = None
    for position in range(start, len(keys)):
        stored = items[keys[position]]
        if is_selected is not None and not is_selected(stored.obj):
            continue
        if limit and len(chosen) == limit:
            return chosen, last, len(keys) - position
        chosen.append(stored)
        last = keys[position]
    return chosen, None, 0


def _joined(info: ResourceInfo, chosen: Sequence[Stored], metadata: Json) -> bytes:
    """A list put together from the JSON that its objects have already."""
    if not info.is_builtin:
        metadata = {"continue": "", **metadata}  # custom resources say it even where there is no more
    head = orjson.dumps({"kind": info.list_kind, "apiVersion": info.api_version, "metadata": metadata})
    return head[:-1] + b',"items":[' + b",".join([view(info, stored) for stored in chosen]) + b"]}"


def _snapshot(shelf: Shelf, version: int, namespace: str) -> tuple[list[Key], Mapping[Key, Stored]]:
    if version >= shelf.compacted and (not shelf.events or shelf.events[-1].version <= version):
        return shelf.keys_in(namespace), shelf.items
    try:
        then = shelf.at(version)
    except CompactedError:
        raise expired(PAGE_EXPIRED) from None
    return sorted(key for key in then if not namespace or key[0] == namespace), then


def check_version_match(query: Mapping[str, str], *, is_watch: bool) -> None:
    """Raises 422 for combinations of list options that a server does not take."""
    match, version = query.get("resourceVersionMatch", ""), query.get("resourceVersion", "")
    wrong: list[tuple[str, str]] = []
    sends_initial = "sendInitialEvents" in query
    if is_watch and sends_initial and match != "NotOlderThan":
        wrong.append(
            (
                "resourceVersionMatch",
                "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
            )
        )
    elif is_watch and not sends_initial and match:
        wrong.append(
            (
                "resourceVersionMatch",
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
            )
        )
    elif not is_watch and sends_initial:
        wrong.append(("sendInitialEvents", "sendInitialEvents is forbidden for list"))
    elif not is_watch and match and not version:
        wrong.append(
            ("resourceVersionMatch", "resourceVersionMatch is forbidden unless resourceVersion is provided")
        )
    elif not is_watch and match and query.get("continue"):
        wrong.append(("resourceVersionMatch", "resourceVersionMatch is forbidden when continue is provided"))
    elif not is_watch and match == "Exact" and version == "0":
        wrong.append(
            ("resourceVersionMatch", 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"')
        )
    errors = [FieldError("FieldValueForbidden", field, detail) for field, detail in wrong]
    if match not in ("", "Exact", "NotOlderThan"):
        supported = 'supported values: "Exact", "NotOlderThan"'
        errors = [FieldError("FieldValueNotSupported", "resourceVersionMatch", supported, match)]
    if errors:
        raise invalid(_LIST_OPTIONS, "", errors)


def parse_version(text: str) -> int:
    """A resource version as a number. Raises 400."""
    if not text:
        return 0
    if not text.isdecimal():
        raise bad_request(f'strconv.ParseUint: parsing "{text}": invalid syntax')
    return int(text)


def _too_large(wanted: int, latest: int) -> ApiError:
    cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
    return ApiError(
        504,
        "Timeout",
        f"Timeout: Too large resource version: {wanted}, current: {latest}",
        {"causes": [cause], "retryAfterSeconds": 1},
        {"Retry-After": "1"},
    )


def _limit(text: str) -> int:
    try:
        return max(0, int(text or "0"))
    except ValueError:
        raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax') from None


def _make_continue(version: int, last: Key) -> str:
    token = orjson.dumps({"v": "meta.k8s.io/v1", "rv": version, "start": list(last)})
    return base64.urlsafe_b64encode(token).rstrip(b"=").decode()


def _read_continue(token: str) -> tuple[int, Key]:
    try:
        raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        value = orjson.loads(raw)
        namespace, name = value["start"]
        return int(value["rv"]), (str(namespace), str(name))
    except (binascii.Error, ValueError, KeyError, TypeError):
        raise bad_request("continue key is not valid: the token cannot be read") from None
