"""What a Kubernetes schema says beyond JSON Schema: how lists merge, and rules in CEL.

Given to pydantic as `json_schema_extra`; `crd.py` carries them over.
"""

from __future__ import annotations

from typing import Any

ATOMIC: dict[str, Any] = {"x-kubernetes-list-type": "atomic"}
SET: dict[str, Any] = {"x-kubernetes-list-type": "set"}


def map_by(*keys: str) -> dict[str, Any]:
    """A list whose items merge by these fields, no two items with the same."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}


def rule(expression: str, message: str, field_path: str = "") -> dict[str, str]:
    """A CEL rule. `field_path` names the field to blame, relative to where the rule stands."""
    made = {"rule": expression, "message": message}
    if field_path:
        made["fieldPath"] = field_path
    return made


def rules(*each: dict[str, str]) -> dict[str, Any]:
    """The rules of one schema, in the order in which they are reported."""
    return {"x-kubernetes-validations": list(each)}


def one_of(*fields: str) -> str:
    """The CEL expression that exactly one of these fields is given."""
    given = ", ".join(f"has(self.{each})" for each in fields)
    return f"[{given}].filter(x, x).size() == 1"


def within(field: str, least: str, most: str) -> str:
    """The CEL expression that a duration field, when given, is from `least` to `most`, both included."""
    span = f"duration(self.{field})"
    return f"!has(self.{field}) || ({span} >= duration('{least}') && {span} <= duration('{most}'))"
