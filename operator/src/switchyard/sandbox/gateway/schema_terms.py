"""Words that schemas of route kinds are written with: structural OpenAPI v3."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Json = dict[str, Any]

DNS_LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
SUBDOMAIN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
_PREFIX = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
HOSTNAME = r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"


def text(
    *,
    shortest: int | None = None,
    longest: int | None = None,
    pattern: str = "",
    one_of: Sequence[str] = (),
    default: str | None = None,
) -> Json:
    """A string."""
    return _with(
        {"type": "string"},
        minLength=shortest,
        maxLength=longest,
        pattern=pattern or None,
        enum=list(one_of) or None,
        default=default,
    )


def whole(
    *, least: int | None = None, most: int | None = None, default: int | None = None, form: str = "int32"
) -> Json:
    """An integer."""
    return _with({"type": "integer", "format": form}, minimum=least, maximum=most, default=default)


def number() -> Json:
    """A floating point number."""
    return {"type": "number", "format": "double"}


def flag() -> Json:
    """A boolean."""
    return {"type": "boolean"}


def rule(expression: str, message: str) -> Json:
    """A CEL rule."""
    return {"rule": expression, "message": message}


def record(
    fields: Mapping[str, Json],
    *,
    required: Sequence[str] = (),
    rules: Sequence[Json] = (),
    default: Any = None,
) -> Json:
    """An object with these fields."""
    return _with(
        {"type": "object", "properties": dict(fields)},
        required=sorted(required) or None,
        default=default,
        **{"x-kubernetes-validations": list(rules) or None},
    )


def table(values: Json, *, most: int | None = None) -> Json:
    """An object whose keys are free."""
    return _with({"type": "object", "additionalProperties": values}, maxProperties=most)


def anything() -> Json:
    """An object that is kept as it is."""
    return {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def rows(
    items: Json,
    *,
    least: int | None = None,
    most: int | None = None,
    keys: Sequence[str] = (),
    is_set: bool = False,
    default: Any = None,
    rules: Sequence[Json] = (),
) -> Json:
    """A list: atomic, or a map by `keys`, or a set."""
    kind = "map" if keys else "set" if is_set else "atomic"
    return _with(
        {"type": "array", "items": items, "x-kubernetes-list-type": kind},
        minItems=least,
        maxItems=most,
        default=default,
        **{"x-kubernetes-list-map-keys": list(keys) or None, "x-kubernetes-validations": list(rules) or None},
    )


def conditions(*, most: int = 8, least: int | None = None, default: Any = None) -> Json:
    """A list of metav1.Condition by type."""
    condition = record(
        {
            "type": text(longest=316, pattern=rf"^({_PREFIX}/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$"),
            "status": text(one_of=("True", "False", "Unknown")),
            "observedGeneration": whole(least=0, form="int64"),
            "lastTransitionTime": {"type": "string", "format": "date-time"},
            "reason": text(shortest=1, longest=1024, pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"),
            "message": text(longest=32768),
        },
        required=("type", "status", "lastTransitionTime", "reason", "message"),
    )
    return rows(condition, keys=("type",), most=most, least=least, default=default)


def column(name: str, path: str, kind: str = "string") -> Json:
    """A column of `kubectl get`."""
    return {"name": name, "type": kind, "jsonPath": path}


def _with(schema: Json, **more: Any) -> Json:
    return schema | {key: value for key, value in more.items() if value is not None}
