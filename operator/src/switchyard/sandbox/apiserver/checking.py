"""What is wrong with a custom resource by its schema, in the words of a real server.

An update is held only to what it changes: a value that was there before is not checked again (ratcheting), so
that objects older than a stricter schema can still be written. Rules in CEL run after the schema, and only if
nothing structural is wrong.
"""

from __future__ import annotations

import ipaddress
import re
from base64 import b64decode
from collections.abc import Iterator
from datetime import date, datetime
from functools import lru_cache
from typing import Any

import orjson
import re2

from switchyard.sandbox.apiserver.cel import check_rules
from switchyard.sandbox.apiserver.errors import FieldError
from switchyard.sandbox.apiserver.resources import Json, ResourceInfo

# After one of these the other checks would only repeat it, and rules cannot be evaluated.
_BLOCKING = {
    "FieldValueNotSupported",
    "FieldValueRequired",
    "FieldValueTooLong",
    "FieldValueTooMany",
    "FieldValueTypeInvalid",
}
_NOT_CHECKED = FieldError(
    "FieldValueInvalid",
    "<nil>",
    "some validation rules were not checked because the object was invalid; correct the existing errors to "
    "complete validation",
    None,
)
_NOTHING = object()
_INT_FORMATS = {"int32": 32, "int64": 64}


def check_custom(
    info: ResourceInfo, new: Json, old: Json | None, subresource: str, errors: list[FieldError]
) -> list[FieldError]:
    """Everything that is wrong with a custom resource; `errors` are those of its metadata."""
    schema = info.schema or {}
    if subresource == "status":
        # only the status is looked at, and its messages begin at it
        status = (schema.get("properties") or {}).get("status", {})
        old_status = (old or {}).get("status", _NOTHING)
        found = list(_check(new.get("status", {}), old_status, status, "status", "")) if status else []
    else:
        found = list(_check(new, old if old is not None else _NOTHING, schema, "", ""))
    found += _check_scale(info, new)
    errors = errors + found
    if any(error.reason in _BLOCKING for error in errors):
        return [*errors, _NOT_CHECKED]
    errors += check_lists(new, old, schema, "")
    return errors + check_rules(schema, new, old)


def _check(value: Any, old: Any, schema: Json, path: str, told: str) -> Iterator[FieldError]:
    """`path` is where causes point; `told` is what messages call it."""
    if old is not _NOTHING and value == old and type(value) is type(old):
        return
    if value is None:
        if not schema.get("nullable") and schema.get("type"):
            yield _type_error(path, told, schema["type"], "null")
        return
    wrong = _wrong_type(value, schema)
    if wrong:
        wanted, got = wrong
        yield _type_error(path, told, wanted, got)
        if wanted in _INT_FORMATS:
            detail = f"Checked value must be of type integer with format {wanted} in {told or path}"
            yield FieldError("FieldValueInvalid", "<nil>", detail, "")
        return
    yield from _check_combinations(value, schema, path, told)
    enum = schema.get("enum")
    if enum is not None and value not in enum:
        names = ", ".join(orjson.dumps(choice).decode() for choice in enum)
        yield FieldError("FieldValueNotSupported", path, f"supported values: {names}", value)
    if isinstance(value, str):
        yield from _check_string(value, schema, path, told)
    elif isinstance(value, bool):
        return
    elif isinstance(value, int | float):
        yield from _check_number(value, schema, path, told)
    elif isinstance(value, list):
        yield from _check_array(value, old, schema, path, told)
    elif isinstance(value, dict):
        yield from _check_object(value, old, schema, path, told)


def _wrong_type(value: Any, schema: Json) -> tuple[str, str] | None:
    """The type wanted and the type found, where they do not fit."""
    if schema.get("x-kubernetes-int-or-string"):
        fits = isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool))
        return None if fits else ("integer,string", _name_of(value))
    wanted = schema.get("type")
    if not wanted:
        return None
    got = _name_of(value)
    if wanted == "integer":
        if isinstance(value, bool) or not isinstance(value, int | float):
            return wanted, got
        if isinstance(value, float) and not value.is_integer():
            form = schema.get("format")
            return (form, "float64") if form in _INT_FORMATS else (wanted, got)
        bits = _INT_FORMATS.get(schema.get("format", ""))
        if bits and not -(2 ** (bits - 1)) <= value < 2 ** (bits - 1):
            return str(schema["format"]), "int64"
        return None
    if wanted == "number":
        return None if got in ("integer", "number") else (wanted, got)
    return None if got == wanted else (wanted, got)


def _name_of(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    names: dict[type, str] = {str: "string", float: "number", list: "array", dict: "object"}
    return names.get(type(value), "null")


def _type_error(path: str, told: str, wanted: str, got: str) -> FieldError:
    return FieldError(
        "FieldValueTypeInvalid", path, f'{told or path} in body must be of type {wanted}: "{got}"', got
    )


def _check_string(value: str, schema: Json, path: str, told: str) -> Iterator[FieldError]:
    longest, shortest = schema.get("maxLength"), schema.get("minLength")
    if longest is not None and len(value) > longest:
        yield FieldError("FieldValueTooLong", path, f"may not be more than {longest} bytes")
    if shortest is not None and len(value) < shortest:
        yield FieldError(
            "FieldValueInvalid",
            path,
            f"{told or path} in body should be at least {shortest} chars long",
            value,
        )
    pattern = schema.get("pattern")
    if pattern is not None and not _matches(pattern, value):
        yield FieldError("FieldValueInvalid", path, f"{told or path} in body should match '{pattern}'", value)
    form = schema.get("format")
    if form and form in _FORMATS and not _FORMATS[form](value):
        yield FieldError(
            "FieldValueInvalid", path, f'{told or path} in body must be of type {form}: "{value}"', value
        )


def _matches(pattern: str, value: str) -> bool:
    return _compiled(pattern).search(value) is not None


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> Any:
    return re2.compile(pattern)


def _check_number(value: float, schema: Json, path: str, told: str) -> Iterator[FieldError]:
    name = told or path
    most, least = schema.get("maximum"), schema.get("minimum")
    if most is not None and (value > most or (schema.get("exclusiveMaximum") and value == most)):
        word = "less than" if schema.get("exclusiveMaximum") else "less than or equal to"
        yield FieldError("FieldValueInvalid", path, f"{name} in body should be {word} {most}", value)
    if least is not None and (value < least or (schema.get("exclusiveMinimum") and value == least)):
        word = "greater than" if schema.get("exclusiveMinimum") else "greater than or equal to"
        yield FieldError("FieldValueInvalid", path, f"{name} in body should be {word} {least}", value)
    step = schema.get("multipleOf")
    if step and (value / step) % 1 != 0:
        yield FieldError("FieldValueInvalid", path, f"{name} in body should be a multiple of {step}", value)


def _check_array(value: list[Any], old: Any, schema: Json, path: str, told: str) -> Iterator[FieldError]:
    most, least = schema.get("maxItems"), schema.get("minItems")
    if most is not None and len(value) > most:
        yield FieldError("FieldValueTooMany", path, f"must have at most {most} items", len(value))
    if least is not None and len(value) < least:
        yield FieldError(
            "FieldValueInvalid",
            path,
            f"{told or path} in body should have at least {least} items",
            len(value),
        )
    items = schema.get("items")
    if isinstance(items, dict):
        before = _correlated(old, schema)
        for index, item in enumerate(value):
            was = before(index, item)
            yield from _check(item, was, items, f"{path}[{index}]", f"{told or path}[{index}]")


def _correlated(old: Any, schema: Json) -> Any:
    """A function from an item to the item it was: by keys in list maps, by value in sets; else nothing."""
    keys = schema.get("x-kubernetes-list-map-keys")
    if not isinstance(old, list) or schema.get("x-kubernetes-list-type") != "map" or not keys:
        return lambda _index, _item: _NOTHING
    by_key = {_key_of(item, keys): item for item in old if isinstance(item, dict)}
    return lambda _index, item: (
        by_key.get(_key_of(item, keys), _NOTHING) if isinstance(item, dict) else _NOTHING
    )


def _key_of(item: Json, keys: list[str]) -> bytes:
    return orjson.dumps([item.get(key) for key in keys])


def _check_object(value: Json, old: Any, schema: Json, path: str, told: str) -> Iterator[FieldError]:
    most, least = schema.get("maxProperties"), schema.get("minProperties")
    if most is not None and len(value) > most:
        yield FieldError("FieldValueTooMany", path, f"must have at most {most} items", len(value))
    if least is not None and len(value) < least:
        yield FieldError(
            "FieldValueInvalid",
            path,
            f"{told or path} in body should have at least {least} properties",
            len(value),
        )
    properties: Json = schema.get("properties") or {}
    before = old if isinstance(old, dict) else {}
    for name in schema.get("required") or ():
        if name not in value:
            yield FieldError("FieldValueRequired", _join(path, name))
    rest = schema.get("additionalProperties")
    is_root = path == ""
    for name, item in value.items():
        if is_root and name in ("apiVersion", "kind", "metadata"):
            continue
        child = properties.get(name, rest if isinstance(rest, dict) else None)
        if child is not None:
            was = before.get(name, _NOTHING)
            yield from _check(item, was, child, _join(path, name), _join(told, name))


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _check_combinations(value: Any, schema: Json, path: str, told: str) -> Iterator[FieldError]:
    name = told or path

    def fits(branch: Json) -> bool:
        return next(_check(value, _NOTHING, branch, path, told), None) is None

    if schema.get("x-kubernetes-int-or-string"):
        branches = [b for b in schema.get("allOf") or () if "anyOf" not in b]
    else:
        branches = schema.get("allOf") or []
        if schema.get("anyOf") and not any(fits(branch) for branch in schema["anyOf"]):
            yield FieldError(
                "FieldValueInvalid", path, f"{name} in body must validate at least one schema (anyOf)", value
            )
        if schema.get("oneOf") and sum(fits(branch) for branch in schema["oneOf"]) != 1:
            yield FieldError(
                "FieldValueInvalid",
                path,
                f"{name} in body must validate one and only one schema (oneOf)",
                value,
            )
    for branch in branches:
        yield from _check(value, _NOTHING, branch, path, told)
    if schema.get("not") and fits(schema["not"]):
        yield FieldError(
            "FieldValueInvalid", path, f"{name} in body must not validate the schema (not)", value
        )


def check_lists(new: Any, old: Any, schema: Json, path: str) -> list[FieldError]:
    """Duplicates in sets and list maps."""
    if old is not None and new == old:
        return []
    errors: list[FieldError] = []
    if isinstance(new, dict):
        properties: Json = schema.get("properties") or {}
        rest = schema.get("additionalProperties")
        before = old if isinstance(old, dict) else {}
        for name, item in new.items():
            child = properties.get(name, rest if isinstance(rest, dict) else None)
            if child is not None and isinstance(item, dict | list):
                errors += check_lists(item, before.get(name), child, _join(path, name))
    elif isinstance(new, list):
        kind = schema.get("x-kubernetes-list-type")
        if kind in ("set", "map"):
            errors += _duplicates(new, schema, kind, path)
        items = schema.get("items")
        if isinstance(items, dict):
            for index, item in enumerate(new):
                if isinstance(item, dict | list):
                    errors += check_lists(item, None, items, f"{path}[{index}]")
    return errors


def _duplicates(items: list[Any], schema: Json, kind: str, path: str) -> Iterator[FieldError]:
    seen: set[bytes] = set()
    keys = schema.get("x-kubernetes-list-map-keys") or ()
    for index, item in enumerate(items):
        shown = (
            {key: item[key] for key in keys if key in item}
            if kind == "map" and isinstance(item, dict)
            else item
        )
        probe = orjson.dumps(shown, option=orjson.OPT_SORT_KEYS)
        if probe in seen:
            yield FieldError("FieldValueDuplicate", f"{path}[{index}]", "", shown)
        seen.add(probe)


def _check_scale(info: ResourceInfo, new: Json) -> Iterator[FieldError]:
    """The numbers of the scale subresource must be countable whatever the schema says."""
    if info.scale is None:
        return
    for path in (info.scale.spec_replicas, info.scale.status_replicas):
        value: Any = new
        for part in path.lstrip(".").split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int):
            go_type = {str: "string", float: "float64", bool: "bool"}.get(
                type(value), "map[string]interface {}"
            )
            detail = f"{path} accessor error: {value} is of the type {go_type}, expected int64"
            yield FieldError("FieldValueInvalid", path, detail, 0)
        elif value < 0:
            yield FieldError("FieldValueInvalid", path, "should be a non-negative integer", value)


def _is_time(text: str) -> bool:
    return _parses(lambda: datetime.fromisoformat(text)) and "T" in text.upper()


def _parses(parse: Any) -> bool:
    try:
        parse()
    except ValueError:
        return False
    return True


_UUID = r"(?i)[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}"
_DURATION = r"[-+]?(0|((\d+(\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h))+)"
_FORMATS: dict[str, Any] = {
    "date-time": _is_time,
    "date": lambda text: _parses(lambda: date.fromisoformat(text)),
    "byte": lambda text: _parses(lambda: b64decode(text, validate=True)),
    "ipv4": lambda text: _parses(lambda: ipaddress.IPv4Address(text)),
    "ipv6": lambda text: _parses(lambda: ipaddress.IPv6Address(text)),
    "cidr": lambda text: _parses(lambda: ipaddress.ip_network(text, strict=False)) and "/" in text,
    "uuid": lambda text: re.fullmatch(_UUID, text) is not None,
    "uri": lambda text: "://" in text or text.startswith("/"),
    "email": lambda text: re.fullmatch(r"[^@\s]+@[^@\s]+", text) is not None,
    "hostname": lambda text: re.fullmatch(r"[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?", text) is not None,
    "mac": lambda text: re.fullmatch(r"(?i)([0-9a-f]{2}[:-]){5}[0-9a-f]{2}", text) is not None,
    "duration": lambda text: re.fullmatch(_DURATION, text) is not None,
}
