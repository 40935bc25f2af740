"""What is wrong with the schema of a CustomResourceDefinition: it must be structural, its rules must compile.

Source: k8s.io/apiextensions-apiserver, pkg/apiserver/schema/validation.go and
pkg/apis/apiextensions/validation.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import re2

from switchyard.sandbox.apiserver.cel import RULES, RuleError, check_rules, compile_rule
from switchyard.sandbox.apiserver.cel_cost import RULE_LIMIT, SCHEMA_LIMIT, Estimate, max_size
from switchyard.sandbox.apiserver.cel_syntax import Tree, identifiers
from switchyard.sandbox.apiserver.errors import OMITTED, FieldError
from switchyard.sandbox.apiserver.resources import Json

_TYPES = ("array", "boolean", "integer", "number", "object", "string")
_FORBIDDEN = ("$ref", "definitions", "dependencies", "patternProperties", "id", "additionalItems")
_VALUE_ONLY = ("allOf", "anyOf", "oneOf")
_STRUCTURE = ("type", "default", "additionalProperties", "nullable", "description", "title")
_ADVICE = (
    "(try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, "
    "and strings "
    "are declared)"
)


@dataclass
class _Costs:
    total: float = 0.0
    costly: list[tuple[float, str]] = field(default_factory=list)  # of single rules


def check_schema(schema: Json, path: str) -> list[FieldError]:
    """What is wrong with a whole openAPIV3Schema."""
    errors: list[FieldError] = []
    if schema.get("type") != "object":
        if not schema.get("type"):
            errors.append(FieldError("FieldValueRequired", f"{path}.type", "must not be empty at the root"))
        else:
            supported = 'supported values: "object"'
            errors.append(FieldError("FieldValueNotSupported", f"{path}.type", supported, schema["type"]))
    errors += _check_structure(schema, path, where="root")
    if errors:
        return errors
    costs = _Costs()
    errors += _check_rules(schema, path, 1.0, costs, is_correlatable=True)
    if costs.total > SCHEMA_LIMIT:
        told = "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema"
        worst = sorted(costs.costly, reverse=True)[:10]
        errors += [
            FieldError("FieldValueForbidden", where, told)
            for cost, where in worst
            if cost > SCHEMA_LIMIT / 100
        ]
        message = (
            "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema exceeds "
            "budget by "
            f"factor of {_factor(costs.total, SCHEMA_LIMIT)} {_ADVICE}"
        )
        errors.append(FieldError("FieldValueForbidden", path, message))
    return errors or list(_check_defaults(schema, path))


def _check_defaults(schema: Json, path: str) -> Iterator[FieldError]:
    """What the rules have against defaults, which are judged as they are written: without those within."""
    if schema.get("default") is not None:
        for error in check_rules(schema, schema["default"], None):
            below = f".{error.field}" if error.field else ""
            shown = schema["type"] if error.value is OMITTED else error.value
            yield replace(error, field=f"{path}.default{below}", value=shown)
    for name, child in (schema.get("properties") or {}).items():
        yield from _check_defaults(child, f"{path}.properties[{name}]")
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from _check_defaults(schema[key], f"{path}.{key}")


def _check_structure(schema: Json, path: str, where: str) -> Iterator[FieldError]:
    """`where` is what the schema belongs to: root, object fields, array items or values of a map."""
    kind = schema.get("type")
    is_free = schema.get("x-kubernetes-preserve-unknown-fields") or schema.get("x-kubernetes-int-or-string")
    if not kind and not is_free and where != "root":
        yield FieldError("FieldValueRequired", f"{path}.type", f"must not be empty for specified {where}")
    elif kind and kind not in _TYPES:
        supported = "supported values: " + ", ".join(f'"{name}"' for name in _TYPES)
        yield FieldError("FieldValueNotSupported", f"{path}.type", supported, kind)
    yield from _check_keywords(schema, path)
    yield from _check_extensions(schema, path)
    properties = schema.get("properties") or {}
    rest = schema.get("additionalProperties")
    if properties and rest is not None:
        yield FieldError(
            "FieldValueForbidden",
            f"{path}.additionalProperties",
            "additionalProperties and properties are mutual exclusive",
        )
    for name, child in properties.items():
        if where == "root" and name == "metadata":
            continue
        yield from _check_structure(child, f"{path}.properties[{name}]", "object fields")
    if isinstance(rest, dict):
        yield from _check_structure(rest, f"{path}.additionalProperties", "object fields")
    items = schema.get("items")
    if isinstance(items, dict):
        yield from _check_structure(items, f"{path}.items", "array items")
    elif kind == "array" and items is None:
        yield FieldError("FieldValueRequired", f"{path}.items", "must be specified")


def _check_keywords(schema: Json, path: str) -> Iterator[FieldError]:
    for keyword in _FORBIDDEN:
        if keyword in schema:
            yield FieldError("FieldValueForbidden", f"{path}.{keyword}", f"{keyword} is not supported")
    if schema.get("uniqueItems"):
        yield FieldError(
            "FieldValueForbidden",
            f"{path}.uniqueItems",
            "uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
        )
    pattern = schema.get("pattern")
    if pattern is not None:
        try:
            re2.compile(pattern)
        except re2.error as error:
            yield FieldError(
                "FieldValueInvalid",
                f"{path}.pattern",
                f"must be a valid regular expression, but isn't: {error}",
                pattern,
            )
    for keyword in _VALUE_ONLY:
        for index, branch in enumerate(schema.get(keyword) or ()):
            if schema.get("x-kubernetes-int-or-string"):
                continue
            for part in _STRUCTURE:
                if part in branch:
                    yield FieldError(
                        "FieldValueForbidden",
                        f"{path}.{keyword}[{index}].{part}",
                        "must be empty to be structural",
                    )


def _check_extensions(schema: Json, path: str) -> Iterator[FieldError]:
    kind, list_type = schema.get("type"), schema.get("x-kubernetes-list-type")
    keys = schema.get("x-kubernetes-list-map-keys")
    field_name = f"{path}.x-kubernetes-list-type"
    if list_type is not None:
        if kind != "array":
            wrong = "must be array if x-kubernetes-list-type is specified"
            yield FieldError("FieldValueInvalid", f"{path}.type", wrong, kind)
        elif list_type not in ("atomic", "map", "set"):
            supported = 'supported values: "atomic", "map", "set"'
            yield FieldError("FieldValueNotSupported", field_name, supported, list_type)
    if keys and list_type != "map":
        wrong = "must be map if x-kubernetes-list-map-keys is non-empty"
        yield FieldError("FieldValueInvalid", field_name, wrong, list_type)
    if list_type == "map":
        if not keys:
            wrong = "must not be empty if x-kubernetes-list-type is map"
            yield FieldError("FieldValueRequired", f"{path}.x-kubernetes-list-map-keys", wrong)
        yield from _check_map_keys(schema, keys or [], path)
    map_type = schema.get("x-kubernetes-map-type")
    if map_type is not None and map_type not in ("atomic", "granular"):
        supported = 'supported values: "atomic", "granular"'
        yield FieldError("FieldValueNotSupported", f"{path}.x-kubernetes-map-type", supported, map_type)


def _check_map_keys(schema: Json, keys: list[str], path: str) -> Iterator[FieldError]:
    items = schema.get("items") or {}
    properties = items.get("properties") or {}
    for index, key in enumerate(keys):
        child = properties.get(key)
        where = f"{path}.x-kubernetes-list-map-keys[{index}]"
        if child is None:
            yield FieldError("FieldValueInvalid", where, "entries must all be names of item properties", key)
        elif child.get("type") in ("array", "object"):
            wrong = "must be a scalar type if parent array's x-kubernetes-list-type is map"
            yield FieldError(
                "FieldValueInvalid", f"{path}.items.properties[{key}].type", wrong, child["type"]
            )
        elif key not in (items.get("required") or ()) and "default" not in child:
            yield FieldError(
                "FieldValueRequired",
                f"{path}.items.properties[{key}].default",
                "this property is in x-kubernetes-list-map-keys, so it must have a default or be a "
                "required property",
            )


def _check_rules(
    schema: Json, path: str, times: float, costs: _Costs, *, is_correlatable: bool
) -> Iterator[FieldError]:
    """`times` is how often the value may occur in one object."""
    for index, source in enumerate(schema.get(RULES) or ()):
        yield from _check_rule(
            source, schema, f"{path}.{RULES}[{index}]", times, costs, is_correlatable=is_correlatable
        )
    for name, child in (schema.get("properties") or {}).items():
        yield from _check_rules(
            child, f"{path}.properties[{name}]", times, costs, is_correlatable=is_correlatable
        )
    rest = schema.get("additionalProperties")
    if isinstance(rest, dict):
        yield from _check_rules(
            rest,
            f"{path}.additionalProperties",
            times * max_size(schema),
            costs,
            is_correlatable=is_correlatable,
        )
    items = schema.get("items")
    if isinstance(items, dict):
        can_follow = is_correlatable and schema.get("x-kubernetes-list-type") == "map"
        yield from _check_rules(
            items, f"{path}.items", times * max_size(schema), costs, is_correlatable=can_follow
        )


def _check_rule(
    source: Json, schema: Json, where: str, times: float, costs: _Costs, *, is_correlatable: bool
) -> Iterator[FieldError]:
    text = source.get("rule", "")
    if not text.strip():
        yield FieldError("FieldValueRequired", f"{where}.rule", "rule is not specified")
        return
    optional_old = bool(source.get("optionalOldSelf"))
    try:
        program, tree = compile_rule(text, schema, optional_old=optional_old)
    except RuleError as error:
        yield _rule_error(source, where, "rule", f"compilation failed: {error}")
        return
    if program.return_type().name() not in ("BOOL", "DYN"):
        yield _rule_error(source, where, "rule", "compilation failed: cel expression must evaluate to a bool")
        return
    if not is_correlatable and "oldSelf" in set(identifiers(tree.root)):
        yield _rule_error(
            source, where, "rule", "oldSelf cannot be used on the uncorrelatable portion of the schema"
        )
        return
    estimate = Estimate(schema)
    cost = estimate.cost(tree.root) * times
    for missing in estimate.undefined:
        told = _undefined_message(text, tree, missing.node, missing.name)
        yield _rule_error(source, where, "rule", f"compilation failed: {told}")
    costs.total += cost
    costs.costly.append((cost, f"{where}.rule"))
    if cost > RULE_LIMIT:
        yield FieldError(
            "FieldValueForbidden",
            f"{where}.rule",
            f"estimated rule cost exceeds budget by factor of {_factor(cost, RULE_LIMIT)} {_ADVICE}",
        )
    yield from _check_message(source, schema, where, optional_old=optional_old)


def _check_message(source: Json, schema: Json, where: str, *, optional_old: bool) -> Iterator[FieldError]:
    expression = source.get("messageExpression")
    if not expression:
        return
    try:
        program, _ = compile_rule(expression, schema, optional_old=optional_old)
    except RuleError as error:
        yield _rule_error(
            source, where, "messageExpression", f"messageExpression compilation failed: {error}"
        )
        return
    if program.return_type().name() not in ("STRING", "DYN"):
        wrong = "messageExpression must evaluate to a string"
        yield _rule_error(source, where, "messageExpression", wrong)


def _rule_error(source: Json, where: str, part: str, detail: str) -> FieldError:
    shown: dict[str, Any] = {
        "Rule": source.get("rule", ""),
        "Message": source.get("message", ""),
        "MessageExpression": source.get("messageExpression", ""),
        "Reason": source.get("reason"),
        "FieldPath": source.get("fieldPath", ""),
        "OptionalOldSelf": source.get("optionalOldSelf"),
    }
    return FieldError("FieldValueInvalid", f"{where}.{part}", detail, shown)


def _undefined_message(text: str, tree: Tree, node: int, name: str) -> str:
    position = tree.positions.get(node, 0)
    before = text[:position]
    line, column = before.count("\n") + 1, position - (before.rfind("\n") + 1)
    shown = text.splitlines()[line - 1] if text.splitlines() else ""
    return f"ERROR: <input>:{line}:{column + 1}: undefined field '{name}'\n | {shown}\n | {'.' * column}^"


def _factor(cost: float, limit: int) -> str:
    factor = cost / limit
    return "more than 100x" if factor > 100 else f"{factor:.1f}x"
