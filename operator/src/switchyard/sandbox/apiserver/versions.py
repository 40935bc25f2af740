"""One object in the versions in which it is served.

Custom resources convert by `None`: only apiVersion changes. Events of the core group and of events.k8s.io
are the same objects under different field names (k8s.io/kubernetes pkg/apis/core/v1 and events/v1
conversion).
"""

from __future__ import annotations

import orjson

from switchyard.sandbox.apiserver.resources import Json, ResourceInfo
from switchyard.sandbox.apiserver.store import Stored

# core name -> events.k8s.io name
_EVENT_FIELDS = {
    "involvedObject": "regarding",
    "message": "note",
    "reportingComponent": "reportingController",
    "count": "deprecatedCount",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "source": "deprecatedSource",
}
_CORE_FIELDS = {new: core for core, new in _EVENT_FIELDS.items()}


def to_stored(info: ResourceInfo, obj: Json) -> Json:
    """The object as it is stored, from the version in which it was written."""
    if info.group != "events.k8s.io":
        return obj
    core = {_CORE_FIELDS.get(key, key): value for key, value in obj.items()}
    return {**core, "apiVersion": "v1"}


def view(info: ResourceInfo, stored: Stored) -> bytes:
    """The object's JSON in the version of `info`; made once per version."""
    if stored.obj["apiVersion"] == info.api_version:
        return stored.raw
    if stored.views is None:
        stored.views = {}
    raw = stored.views.get(info.api_version)
    if raw is None:
        raw = stored.views[info.api_version] = orjson.dumps(convert(info, stored.obj))
    return raw


def convert(info: ResourceInfo, obj: Json) -> Json:
    """The object in the version of `info`; the very same dict where it is in that version already."""
    if obj["apiVersion"] == info.api_version:
        return obj
    if info.group == "events.k8s.io":
        new = {_EVENT_FIELDS.get(key, key): value for key, value in obj.items()}
        return {**new, "apiVersion": info.api_version}
    return {**obj, "apiVersion": info.api_version}


def read_as(info: ResourceInfo, stored: Stored) -> Stored:
    """What is stored, in the version of `info`."""
    if stored.obj["apiVersion"] == info.api_version:
        return stored
    return Stored(convert(info, stored.obj), stored.version)
