"""A list of objects as `kubectl get` shows it: meta.k8s.io/v1 Table with columns by kind.

Source: k8s.io/apiextensions-apiserver (tableconvertor) and k8s.io/kubernetes/pkg/printers/internalversion.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from switchyard.sandbox.apiserver.builtin_columns import BY_KIND
from switchyard.sandbox.apiserver.columns import CREATED, NAME, Column
from switchyard.sandbox.apiserver.durations import UNKNOWN, age
from switchyard.sandbox.apiserver.jsonpath import find
from switchyard.sandbox.apiserver.resources import Json, PrinterColumn, ResourceInfo


def table(
    info: ResourceInfo,
    objects: Sequence[Json],
    list_metadata: Json,
    include_object: str,
    *,
    headers: bool,
) -> Json:
    """The Table; `include_object` says what a row carries: None, Metadata (the default) or Object."""
    shown = _columns(info)
    body: Json = {"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": list_metadata}
    body["columnDefinitions"] = [column.definition() for column in shown] if headers else None
    if not headers:
        del body["columnDefinitions"]
    carry = _CARRIED.get(include_object or "Metadata", _metadata_only)
    body["rows"] = [
        {"cells": [_cell(column, obj) for column in shown], "object": carry(obj)} for obj in objects
    ]
    return body


def _cell(column: Column, obj: Json) -> Any:
    try:
        return column.cell(obj)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        return UNKNOWN  # one odd object must not hide the others


def _columns(info: ResourceInfo) -> Sequence[Column]:
    if info.is_builtin:
        return BY_KIND.get((info.group, info.kind)) or (NAME, CREATED)
    own = info.printer_columns or (PrinterColumn("Age", "date", ".metadata.creationTimestamp"),)
    return (NAME, *(_custom(column) for column in own))


def _custom(column: PrinterColumn) -> Column:
    path = column.json_path
    about = column.description or f"Custom resource definition column (in JSONPath format): {path}"
    return Column(
        column.name,
        lambda obj: custom_cell(obj, path, column.type),
        about,
        type=column.type,
        format=column.format,
        priority=column.priority,
    )


def custom_cell(obj: Json, path: str, kind: str) -> Any:
    """The first value at a path, as its column's type shows it; None when there is none of that type."""
    found = find(obj, path)
    if not found:
        return None
    value = found[0]
    if kind == "string":
        return value if isinstance(value, str) else _as_text(value)
    if kind == "date":
        return age(value) if isinstance(value, str) else None
    if kind == "boolean":
        return value if isinstance(value, bool) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return int(value) if kind == "integer" else value


def _as_text(value: Any) -> str:
    return orjson.dumps(value).decode()


def _metadata_only(obj: Json) -> Json:
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}


@dataclass(frozen=True)
class _Nothing:
    def __call__(self, obj: Json) -> None:
        del obj


_CARRIED: dict[str, Callable[[Json], Any]] = {
    "None": _Nothing(),
    "Metadata": _metadata_only,
    "Object": lambda obj: obj,
}
