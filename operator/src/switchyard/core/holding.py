"""Who moves the traffic of an object, and what placement leaves to it meanwhile.

A holder takes the field by an apply of its own that also sets the annotation; placement then applies the
object without that field. It takes the field back with the first apply after the annotation has gone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from switchyard.api.labels import TRAFFIC_HELD_BY

# each is owned as a whole: a selector is an atomic map, the rules are atomic lists
TRAFFIC_FIELDS: Mapping[str, str] = {"Service": "selector", "HTTPRoute": "rules", "VirtualService": "http"}


def find_holder(body: Mapping[str, Any]) -> str:
    """The holder of the traffic of an observed object; empty when placement decides on it."""
    annotations = body.get("metadata", {}).get("annotations") or {}
    return str(annotations.get(TRAFFIC_HELD_BY) or "")


def leave_out_traffic(body: Mapping[str, Any]) -> dict[str, Any]:
    """`body` (not sealed yet) without the field that says where requests go."""
    left = TRAFFIC_FIELDS[str(body["kind"])]
    return {**body, "spec": {key: value for key, value in body["spec"].items() if key != left}}
