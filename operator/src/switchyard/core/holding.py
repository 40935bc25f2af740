"""Who moves the traffic of an object, and what placement leaves to it meanwhile.

A holder takes the field by an apply of its own that also sets the annotation; placement then applies the
object without that field. It takes the field back with the first apply after the annotation has gone.

The annotation alone holds nothing: were placement to let go of a field that nobody else owns, the API server
would take the field away, and the traffic with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from switchyard.api.labels import TRAFFIC_HELD_BY

PLACEMENT = "switchyard-placement"  # the field manager of placement

# each is owned as a whole: a selector is an atomic map, the rules are atomic lists
TRAFFIC_FIELDS: Mapping[str, str] = {"Service": "selector", "HTTPRoute": "rules", "VirtualService": "http"}


def find_holder(body: Mapping[str, Any]) -> str:
    """The holder of the traffic of an observed object; empty when placement decides on it.

    Where the body has its managedFields, somebody else must own the field too.
    """
    metadata = body.get("metadata", {})
    holder = str((metadata.get("annotations") or {}).get(TRAFFIC_HELD_BY) or "")
    owners, field = metadata.get("managedFields"), TRAFFIC_FIELDS.get(str(body.get("kind")))
    if not holder or owners is None or field is None:
        return holder
    key = f"f:{field}"
    others = [each for each in owners if each.get("manager") != PLACEMENT]
    return holder if any(key in (each.get("fieldsV1") or {}).get("f:spec", {}) for each in others) else ""


def leave_out_traffic(body: Mapping[str, Any]) -> dict[str, Any]:
    """`body` (not sealed yet) without the field that says where requests go."""
    left = TRAFFIC_FIELDS[str(body["kind"])]
    return {**body, "spec": {key: value for key, value in body["spec"].items() if key != left}}
