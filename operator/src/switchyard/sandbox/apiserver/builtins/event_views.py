"""One event, two views: what core/v1 and events.k8s.io/v1 each call its fields.

Source: k8s.io/kubernetes/pkg/apis/events/v1/conversion.go.
"""

from __future__ import annotations

from switchyard.sandbox.apiserver.resources import Json

# core/v1 name, events.k8s.io/v1 name
_RENAMED = (
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("reportingComponent", "reportingController"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
)
_TO_NEW = dict(_RENAMED)
_TO_CORE = {new: core for core, new in _RENAMED}
_HIDDEN_WHEN_EMPTY = ("reportingController", "reportingInstance", "action", "note")


def to_events_v1(event: Json) -> Json:
    """The event as events.k8s.io/v1 shows it; parts are shared with the given one."""
    view = {_TO_NEW.get(name, name): value for name, value in event.items()}
    view["apiVersion"] = "events.k8s.io/v1"
    for name in _HIDDEN_WHEN_EMPTY:
        if view.get(name) == "":
            del view[name]
    return view


def to_core_v1(event: Json) -> Json:
    """The event as core/v1 shows it; parts are shared with the given one."""
    view = {_TO_CORE.get(name, name): value for name, value in event.items()}
    view["apiVersion"] = "v1"
    return view
