"""Label and field selectors: parsed from queries, matched against objects."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from switchyard.sandbox.apiserver.errors import bad_request
from switchyard.sandbox.apiserver.metadata import check_label_key, check_label_value
from switchyard.sandbox.apiserver.resources import Json, ResourceInfo

_ALIASES = {  # where a field of a selector stands in the stored object, if not at its own path
    "reportingController": ("reportingComponent",),
    "source": ("source.component",),
    "status.successful": ("status.succeeded",),
}
_ZERO_FIELDS = {"spec.unschedulable": "false", "spec.hostNetwork": "false", "status.replicas": "0"}

_TOKEN = re.compile(r"\s*(==|!=|=|>|<|!|\(|\)|,|[^\s=!<>(),]+)")


@dataclass(frozen=True, slots=True)
class Requirement:
    """One term of a label selector. `operator` is =, !=, in, notin, exists, !exists, > or <."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether labels meet it; an absent label meets != and notin."""
        value = labels.get(self.key)
        match self.operator:
            case "exists":
                return value is not None
            case "!exists":
                return value is None
            case "=" | "in":
                return value is not None and value in self.values
            case "!=" | "notin":
                return value is None or value not in self.values
            case _:
                return value is not None and _compares(value, self.operator, self.values[0])


def _compares(value: str, operator: str, bound: str) -> bool:
    try:
        left, right = int(value), int(bound)
    except ValueError:
        return False
    return left > right if operator == ">" else left < right


def parse_label_selector(text: str) -> tuple[Requirement, ...]:
    """The terms of a selector such as `app=x,tier in (a, b),!gone`. Raises a 400 ApiError."""
    tokens = _tokens(text)
    out: list[Requirement] = []
    position = 0
    while position < len(tokens):
        requirement, position = _requirement(text, tokens, position)
        out.append(requirement)
        if position < len(tokens):
            if tokens[position] != "," or position + 1 == len(tokens):
                raise _unparsable(text, f"found '{tokens[position]}', expected: ',' or 'end of string'")
            position += 1
    return tuple(out)


def _tokens(text: str) -> list[str]:
    out, position = [], 0
    stripped = text.rstrip()
    while position < len(stripped):
        found = _TOKEN.match(stripped, position)
        if found is None:
            raise _unparsable(text, f"unexpected character at {position}")
        out.append(found.group(1))
        position = found.end()
    return out


def _requirement(text: str, tokens: list[str], position: int) -> tuple[Requirement, int]:
    def take(index: int) -> str:
        return tokens[index] if index < len(tokens) else ""

    first = take(position)
    if first == "!":
        key = take(position + 1)
        _check_key(text, key)
        return Requirement(key, "!exists"), position + 2
    _check_key(text, first)
    operator = take(position + 1)
    if operator in ("", ","):
        return Requirement(first, "exists"), position + 1
    if operator in ("in", "notin"):
        if take(position + 2) != "(":
            raise _unparsable(text, f"found '{take(position + 2)}', expected: '('")
        values, index = [], position + 3
        expects_value = True
        while (word := take(index)) != ")":
            if not word:
                raise _unparsable(text, "found '', expected: ',', ')' or identifier")
            if word == ",":
                if expects_value:
                    values.append("")
                expects_value = True
            else:
                values.append(_value(text, word))
                expects_value = False
            index += 1
        if expects_value:
            values.append("")
        return Requirement(first, operator, tuple(values)), index + 1
    if operator in ("=", "==", "!=", ">", "<"):
        value = take(position + 2)
        end = position + 3
        if value in ("", ","):
            value, end = "", position + 2
        if operator in "><" and not re.fullmatch(r"-?\d+", value):
            raise _unparsable(text, f"for 'Gt', 'Lt' operators, the value must be an integer, not '{value}'")
        return Requirement(first, operator.replace("==", "="), (_value(text, value),)), end
    raise _unparsable(text, f"found '{operator}', expected: in, notin, =, ==, !=, gt, lt")


def _check_key(text: str, key: str) -> None:
    wrong = check_label_key(key)
    if wrong:
        raise _unparsable(text, f'key: Invalid value: "{key}": {wrong[0]}')


def _value(text: str, value: str) -> str:
    wrong = check_label_value(value)
    if wrong:
        raise _unparsable(text, f'values[0]: Invalid value: "{value}": {wrong[0]}')
    return value


def _unparsable(text: str, why: str) -> Exception:
    return bad_request(f"unable to parse requirement: {why} (in {text!r})")


def from_label_selector(selector: Json) -> tuple[Requirement, ...]:
    """The terms of a LabelSelector object (matchLabels, matchExpressions)."""
    out = [Requirement(key, "=", (value,)) for key, value in (selector.get("matchLabels") or {}).items()]
    operators = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!exists"}
    out.extend(
        Requirement(term["key"], operators[term["operator"]], tuple(term.get("values") or ()))
        for term in selector.get("matchExpressions") or ()
    )
    return tuple(out)


def parse_field_selector(text: str, info: ResourceInfo) -> tuple[tuple[tuple[str, ...], bool, str], ...]:
    """Terms: paths of which the first present counts, whether it must equal, the value. Raises 400."""
    supported = {"metadata.name", "metadata.namespace", *info.selectable_fields}
    if not info.namespaced:
        supported.discard("metadata.namespace")
    out = []
    for term in filter(None, re.split(r"(?<!\\),", text)):
        found = re.fullmatch(r"([^=!]+?)\s*(==|!=|=)\s*(.*)", term.strip())
        if found is None:
            raise bad_request(f"invalid selector: '{text}'; can't understand '{term}'")
        path, operator, value = found.groups()
        if path not in supported:
            raise bad_request(f"field label not supported: {path}")
        if path.startswith("regarding."):
            path = path.replace("regarding.", "involvedObject.", 1)
        out.append((_ALIASES.get(path, (path,)), operator != "!=", re.sub(r"\\(.)", r"\1", value)))
    return tuple(out)


def _field(obj: Json, paths: tuple[str, ...]) -> str:
    for path in paths:
        value: Any = obj
        for part in path.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, str | int | float):
            return str(value)
    return _ZERO_FIELDS.get(paths[0], "")


def selector(info: ResourceInfo, labels: str, fields: str) -> Callable[[Json], bool] | None:
    """A test whether an object is selected, None where every object is. Raises a 400 ApiError."""
    requirements = parse_label_selector(labels) if labels.strip() else ()
    terms = parse_field_selector(fields, info) if fields.strip() else ()
    if not requirements and not terms:
        return None

    def is_selected(obj: Json) -> bool:
        if requirements:
            own = obj["metadata"].get("labels") or {}
            if not all(requirement.matches(own) for requirement in requirements):
                return False
        return all((_field(obj, paths) == value) is equal for paths, equal, value in terms)

    return is_selected
