"""What a printer column's path finds: the JSONPath of CustomResourceDefinitions, as kubectl knows it.

Understood: `.name`, `['na.me']`, `[0]`, `[-1]`, `[0:2]`, `[*]`, `.*`, and filters
`[?(@.type=="Ready")]` with ==, !=, <, <=, >, >= or bare existence.
Source: k8s.io/client-go/util/jsonpath.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

Step = Callable[[Any], Iterable[Any]]

_NAME = re.compile(r"\.?((?:\\\.|[^.\[\]\\])+)")
_FILTER = re.compile(r"\?\(\s*@(?P<path>[^=!<>]*?)\s*(?:(?P<sign>==|!=|<=|>=|<|>)\s*(?P<value>.+?))?\s*\)")
_SIGNS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def find(obj: Any, path: str) -> list[Any]:
    """All values at a path, in order; empty for a path that does not parse or finds nothing."""
    try:
        steps = _parse(path)
    except ValueError:
        return []
    found = [obj]
    for step in steps:
        found = [value for part in found for value in step(part)]
    return found


@cache
def _parse(path: str) -> tuple[Step, ...]:
    text = path.strip().removeprefix("{").removesuffix("}").strip().removeprefix("$")
    steps: list[Step] = []
    while text:
        if text.startswith("["):
            inside, text = _bracket(text)
            steps.append(_bracket_step(inside))
            continue
        match = _NAME.match(text)
        if match is None or text.startswith(".."):
            raise ValueError(path)
        name = match[1].replace("\\.", ".")
        steps.append(_all if name == "*" else _field(name))
        text = text[match.end() :]
    return tuple(steps)


def _bracket(text: str) -> tuple[str, str]:
    """What stands between a bracket and its partner, and the rest; quotes may hold brackets."""
    quote = ""
    depth = 0
    for index, char in enumerate(text):
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char == "[":
            depth += 1
        elif char == "]":
            depth -= 1
            if depth == 0:
                return text[1:index].strip(), text[index + 1 :]
    raise ValueError(text)


def _bracket_step(inside: str) -> Step:
    if inside == "*":
        return _all
    if inside[:1] in ("'", '"'):
        return _field(inside[1:-1])
    if match := _FILTER.fullmatch(inside):
        return _filter(match["path"], match["sign"], match["value"])
    if ":" in inside:
        start, _, end = inside.partition(":")
        return _slice(int(start) if start else None, int(end) if end else None)
    return _index(int(inside))


def _field(name: str) -> Step:
    def step(value: Any) -> Iterable[Any]:
        return [value[name]] if isinstance(value, dict) and value.get(name) is not None else []

    return step


def _index(position: int) -> Step:
    def step(value: Any) -> Iterable[Any]:
        return [value[position]] if isinstance(value, list) and -len(value) <= position < len(value) else []

    return step


def _slice(start: int | None, end: int | None) -> Step:
    def step(value: Any) -> Iterable[Any]:
        return value[start:end] if isinstance(value, list) else []

    return step


def _all(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _filter(path: str, sign: str | None, literal: str | None) -> Step:
    steps = _parse(path)
    wanted = _literal(literal) if literal is not None else None

    def holds(item: Any) -> bool:
        found = [item]
        for step in steps:
            found = [value for part in found for value in step(part)]
        if sign is None:
            return bool(found)
        try:
            return bool(found) and _SIGNS[sign](found[0], wanted)
        except TypeError:
            return False

    def step(value: Any) -> Iterable[Any]:
        return [item for item in value if holds(item)] if isinstance(value, list) else []

    return step


def _literal(text: str) -> Any:
    if text[:1] in ("'", '"'):
        return text[1:-1]
    if text in ("true", "false"):
        return text == "true"
    return float(text) if "." in text else int(text)
