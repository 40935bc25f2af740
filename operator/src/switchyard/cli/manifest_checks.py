"""What is wrong with pools and workloads in files, as the API server would find it, and more strictly.

A field that the schema does not know is an error here, with the name that is near it: a server would drop it
or only warn. Rules between fields are CEL; they run where the `sandbox` extra brings an evaluator for them.
"""

from __future__ import annotations

import copy
import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import ValidationError

from switchyard.api import GROUP, VERSION
from switchyard.api.crd import KINDS, build_schema
from switchyard.cli.manifests import FieldPath, Manifest, format_path

Json = Mapping[str, Any]
API_VERSION = f"{GROUP}/{VERSION}"
UNCHECKED_RULES = (
    "rules between fields were not checked: pip install 'switchyard[sandbox]' brings the evaluator"
)
_LONGEST_VALUE = 60
_TOP = ("apiVersion", "kind", "metadata", "spec", "status")
_METADATA = (
    *("name", "namespace", "labels", "annotations", "finalizers", "generateName", "ownerReferences", "uid"),
    *("resourceVersion", "generation", "creationTimestamp", "deletionTimestamp"),
    *("deletionGracePeriodSeconds", "managedFields", "selfLink"),
)
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a field, and the way out."""

    path: FieldPath
    message: str

    def __str__(self) -> str:
        """`spec.demand.requestsPerSecond: message`."""
        return f"{format_path(self.path)}: {self.message}" if self.path else self.message


def check_manifest(manifest: Manifest) -> list[str]:
    """The problems of one pool or workload, each with file and line."""
    problems = sorted(check_body(manifest.body), key=lambda each: manifest.line(each.path))
    return [f"{manifest.place(each.path)}: {manifest.title}: {each}" for each in problems]


def check_body(body: Json) -> list[Problem]:
    """The problems of one pool or workload, in the order of its fields."""
    problems = list(_check_identity(body))
    schema = load_schema(str(body.get("kind")))
    problems += _check_fields(body, schema, ())
    broken = {problem.path for problem in problems}
    problems += [each for each in _check_values(body) if not _is_within(each.path, broken)]
    return problems or list(_check_rules(body, schema))


@cache
def load_schema(kind: str) -> dict[str, Any]:
    """The structural schema of one of our kinds."""
    return build_schema(next(each for each in KINDS if each.name == kind))


def has_rule_evaluator() -> bool:
    """True where rules between fields can be checked."""
    try:
        import switchyard.sandbox.apiserver.cel  # noqa: F401  (only whether it is there)
    except ImportError:
        return False
    return True


def suggest(name: str, known: Sequence[str]) -> str:
    """`; did you mean X?`, or empty when nothing is near."""
    lowered = {each.lower(): each for each in known}
    near = difflib.get_close_matches(name.lower(), list(lowered), 1, 0.6)
    return f"; did you mean {lowered[near[0]]}?" if near else ""


def _check_identity(body: Json) -> Iterator[Problem]:
    version = body.get("apiVersion")
    if version != API_VERSION:
        yield Problem(("apiVersion",), f"{version!r}: give {API_VERSION}")
    metadata = body.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if not name:
        yield Problem(("metadata", "name"), "must be given")
    elif not isinstance(name, str) or not _NAME.fullmatch(name) or len(name) > 253:
        yield Problem(
            ("metadata", "name"), f"{name!r}: give lower-case letters, digits, '-' and '.', at most 253"
        )
    for key in metadata if isinstance(metadata, dict) else ():
        if key not in _METADATA:
            yield Problem(("metadata", key), f"no such field{suggest(key, _METADATA)}")
    for key in body:
        if key not in _TOP:
            yield Problem((key,), f"no such field{suggest(key, _TOP)}")


def _check_fields(value: Any, schema: Json, path: FieldPath) -> Iterator[Problem]:
    """Unknown fields, values of a wrong type, and items that may be given once."""
    if value is None or path == ("status",):
        return
    wrong = _describe_type(value, schema)
    if wrong:
        yield Problem(path, wrong)
    elif isinstance(value, dict):
        yield from _check_object(value, schema, path)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _check_fields(item, schema.get("items") or {}, (*path, index))
        yield from _check_repeats(value, schema, path)


def _check_object(value: Json, schema: Json, path: FieldPath) -> Iterator[Problem]:
    properties = schema.get("properties") or {}
    rest = schema.get("additionalProperties")
    for key, item in value.items():
        if not path and key in {"apiVersion", "kind", "metadata"}:
            continue
        if key in properties:
            yield from _check_fields(item, properties[key], (*path, str(key)))
        elif isinstance(rest, dict):
            yield from _check_fields(item, rest, (*path, str(key)))
        elif path and properties:
            known = ", ".join(properties)
            hint = suggest(str(key), list(properties)) or f"; there are {known}"
            yield Problem((*path, str(key)), f"no such field{hint}")


def _describe_type(value: Any, schema: Json) -> str:
    if schema.get("x-kubernetes-int-or-string"):
        is_right = isinstance(value, int | str) and not isinstance(value, bool)
        return "" if is_right else f"{_show(value)}: give a string or an integer"
    wanted = schema.get("type")
    if wanted is None:
        return ""
    is_bool = isinstance(value, bool)
    if isinstance(value, _TYPES[wanted]) and (wanted == "boolean" or not is_bool):
        return ""
    if wanted == "string" and isinstance(value, int | float):
        shown = str(value).lower() if is_bool else value
        return f'{_show(value)}: must be a string; write it in quotes: "{shown}"'
    if wanted in {"integer", "number", "boolean"} and isinstance(value, str):
        return f"{_show(value)}: must be {_article(wanted)}; write it without quotes"
    return f"{_show(value)}: must be {_article(wanted)}"


def _article(kind: str) -> str:
    names = {"object": "a map of fields", "array": "a list", "integer": "an integer"}
    return names.get(kind, f"a {kind}")


def _check_repeats(items: Sequence[Any], schema: Json, path: FieldPath) -> Iterator[Problem]:
    kind = schema.get("x-kubernetes-list-type")
    keys = schema.get("x-kubernetes-list-map-keys") or ()
    seen: list[Any] = []
    defaults = {
        name: each["default"]
        for name, each in (schema.get("items") or {}).get("properties", {}).items()
        if "default" in each
    }
    for index, item in enumerate(items):
        if kind == "set":
            identity: Any = item
        elif kind == "map" and isinstance(item, dict):
            identity = [item.get(key, defaults.get(key)) for key in keys]
        else:
            continue
        if identity in seen:
            named = ", ".join(map(str, identity)) if isinstance(identity, list) else str(identity)
            yield Problem((*path, index), f"{named} is given twice: keep one")
        seen.append(identity)


def _check_values(body: Json) -> Iterator[Problem]:
    """What the models object to: formats, bounds, what must be given."""
    model = next(each for each in KINDS if each.name == body.get("kind")).model
    try:
        model.model_validate({"spec": body.get("spec") or {}})
    except ValidationError as error:
        for each in error.errors(include_url=False):
            path = tuple(each["loc"])
            if each["type"] == "missing":
                yield Problem(path, "must be given")
                continue
            told = str(each["msg"]).removeprefix("Value error, ")
            yield Problem(path, f"{_show(each['input'])}: {told[:1].lower()}{told[1:]}")


def _check_rules(body: Json, schema: dict[str, Any]) -> Iterator[Problem]:
    """The rules between fields that are broken; the object fits its schema already."""
    if not has_rule_evaluator():
        return
    from switchyard.sandbox.apiserver.cel import check_rules
    from switchyard.sandbox.apiserver.pruning import default

    whole = copy.deepcopy({key: value for key, value in body.items() if key != "status"})
    default(whole, schema)
    for error in check_rules(schema, whole, None):
        yield Problem(_split_path(error.field), error.detail)


def _split_path(text: str) -> FieldPath:
    steps = re.findall(r"[^.\[\]]+", text)
    return tuple(int(step) if step.isdigit() else step for step in steps if step != "<nil>")


def _is_within(path: FieldPath, broken: set[FieldPath]) -> bool:
    return any(path[: len(each)] == each or each[: len(path)] == path for each in broken if each)


def _show(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_VALUE else text[:_LONGEST_VALUE] + "…"
