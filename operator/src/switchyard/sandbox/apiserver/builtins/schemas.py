"""What the fields of a built-in kind are: OpenAPI v3 schemas read from the client library's models.

The library is imported on first use, model by model.
Merge semantics, quantities and precise times come from `merge_rules`, which the library does not carry.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from switchyard.sandbox.apiserver.builtins.merge_rules import KEY_DEFAULTS, MERGE_RULES

Schema = dict[str, Any]

# Schemas of schemas recurse; what is below is kept as it is.
OPAQUE_MODELS = frozenset({"V1JSONSchemaProps"})

# What decoders need to know of a struct: its Go name, and which fields are written even when they are empty.
STRUCT = "x-switchyard-struct"
NEVER_OMITTED = "x-switchyard-never-omitted"

_SCALARS: dict[str, Schema] = {
    "str": {"type": "string"},
    "int": {"type": "integer", "format": "int64"},
    "bool": {"type": "boolean"},
    "float": {"type": "number", "format": "double"},
    "bytes": {"type": "string", "format": "byte"},
    "datetime": {"type": "string", "format": "date-time"},
}
_INT_OR_STRING: Schema = {
    "x-kubernetes-int-or-string": True,
    "format": "int-or-string",
    "anyOf": [{"type": "integer"}, {"type": "string"}],
}
QUANTITY_FORMAT = "quantity"
_QUANTITY: Schema = {
    "x-kubernetes-int-or-string": True,
    "format": QUANTITY_FORMAT,
    "anyOf": [{"type": "string"}, {"type": "number"}],
}
MICRO_TIME_FORMAT = "date-time-micro"
_ANY: Schema = {"x-kubernetes-preserve-unknown-fields": True}


@cache
def component(model: str) -> Schema:
    """The schema of one model with `$ref` to others by bare name; KeyError when the library lacks it."""
    import kubernetes.client  # noqa: PLC0415  # a third of a second that a server without built-in objects saves

    cls = getattr(kubernetes.client, model, None)
    if cls is None:
        raise KeyError(model)
    described = {(info.serialization_alias or name): info for name, info in cls.model_fields.items()}
    properties: Schema = {}
    required: list[str] = []
    for attribute, kind in cls.openapi_types.items():
        field = cls.attribute_map[attribute]
        info = described.get(field) or described.get(attribute)
        schema = _field_schema(model, field, kind, str(info.annotation) if info else "")
        if info is not None and info.description:
            schema["description"] = info.description
        if info is not None and info.is_required():
            required.append(field)
        properties[field] = schema
    whole: Schema = {"type": "object", "properties": properties}
    if required:
        whole["required"] = required
    if description := _summary(cls.__doc__ or ""):
        whole["description"] = description
    own = MERGE_RULES.get((model, "."))
    if own is not None and own.is_atomic_map:
        whole["x-kubernetes-map-type"] = "atomic"
    return whole


def _field_schema(model: str, field: str, kind: str, annotation: str) -> Schema:
    schema = dict(_type_schema(kind, annotation))
    rule = MERGE_RULES.get((model, field))
    if rule and rule.is_quantity:
        if schema.get("type") == "object":
            schema["additionalProperties"] = dict(_QUANTITY)
        else:
            schema = dict(_QUANTITY)
    elif rule and rule.is_micro_time:
        schema["format"] = MICRO_TIME_FORMAT
    if (model, field) in KEY_DEFAULTS:
        schema["default"] = KEY_DEFAULTS[model, field]
    if schema.get("type") == "array":
        schema["x-kubernetes-list-type"] = rule.list_type if rule and rule.list_type else "atomic"
    if rule is None:
        return schema
    if rule.keys:
        schema["x-kubernetes-list-map-keys"] = list(rule.keys)
    if rule.strategy:
        schema["x-kubernetes-patch-strategy"] = rule.strategy
    if rule.merge_key:
        schema["x-kubernetes-patch-merge-key"] = rule.merge_key
    if rule.is_atomic_map:
        schema["x-kubernetes-map-type"] = "atomic"
    return schema


def _type_schema(kind: str, annotation: str) -> Schema:
    if match := re.fullmatch(r"List\[(.+)\]", kind):
        return {"type": "array", "items": dict(_type_schema(match[1], ""))}
    if match := re.fullmatch(r"Dict\[str, (.+)\]", kind):
        return {"type": "object", "additionalProperties": dict(_type_schema(match[1], ""))}
    if kind in _SCALARS:
        return _SCALARS[kind]
    if kind == "object":
        if "int" in annotation and "str" in annotation and "Dict" not in annotation:
            return _INT_OR_STRING
        return {"type": "object", **_ANY} if "Dict[str, " in annotation else _ANY
    return {"$ref": kind}


def _summary(docstring: str) -> str:
    return docstring.split("Attributes:", maxsplit=1)[0].strip().removesuffix("The version of the OpenAPI")


@cache
def inline_schema(model: str) -> Schema:
    """The schema of a model with all references resolved, without `required`.

    Parts are shared between callers, so read only. What is required of a built-in kind is for its validation
    to say, in its own words.
    """
    if model in OPAQUE_MODELS:
        return {"type": "object", STRUCT: split_model(model)[1], **_ANY}
    whole = {name: value for name, value in component(model).items() if name != "required"}
    whole[STRUCT] = split_model(model)[1]
    whole[NEVER_OMITTED] = component(model).get("required", [])
    whole["properties"] = {name: _inline(schema) for name, schema in whole["properties"].items()}
    return whole


def _inline(schema: Schema) -> Schema:
    if reference := schema.get("$ref"):
        own = {name: value for name, value in schema.items() if name != "$ref"}
        return {**inline_schema(reference), **own}
    inlined = dict(schema)
    for part in ("items", "additionalProperties"):
        if isinstance(schema.get(part), dict):
            inlined[part] = _inline(schema[part])
    return inlined


def references(schema: Schema) -> Iterator[str]:
    """The models that a component refers to, in order of appearance."""
    if reference := schema.get("$ref"):
        yield reference
    for part in ("items", "additionalProperties"):
        if isinstance(schema.get(part), dict):
            yield from references(schema[part])
    for child in schema.get("properties", {}).values():
        yield from references(child)


def reachable_models(model: str) -> dict[str, Schema]:
    """All components that a document needs to describe a model, itself first."""
    found: dict[str, Schema] = {}
    waiting = [model]
    while waiting:
        name = waiting.pop(0)
        if name in found:
            continue
        found[name] = {"type": "object", **_ANY} if name in OPAQUE_MODELS else component(name)
        waiting.extend(references(found[name]))
    return found


def split_model(model: str) -> tuple[str, str]:
    """The version and the bare name in a model's name: `v1` and `Event` of CoreV1Event."""
    match = re.fullmatch(r"(?:[A-Z][a-z]+)?(V\d+(?:(?:alpha|beta)\d+)?)([A-Z].*)", model)
    if match is None:
        raise ValueError(model)
    return match[1].lower(), match[2]
