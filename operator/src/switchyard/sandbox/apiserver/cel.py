"""Validation rules of custom resources (x-kubernetes-validations), compiled once per schema.

Rules run on Google's CEL runtime: it type-checks, knows macros and optionals, and takes functions written in
Python, which is how Kubernetes' own are added (cel_library). A rule that looks at `oldSelf` runs on updates
only, unless it says optionalOldSelf; a value that did not change is not checked again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import orjson

from switchyard.sandbox.apiserver.cel_cost import Estimate
from switchyard.sandbox.apiserver.cel_library import environment
from switchyard.sandbox.apiserver.cel_names import type_name, whole_value
from switchyard.sandbox.apiserver.cel_syntax import Node, Tree, identifiers, parse
from switchyard.sandbox.apiserver.errors import OMITTED, FieldError
from switchyard.sandbox.apiserver.resources import Json

RULES = "x-kubernetes-validations"
_NOTHING = object()
_CHAIN = re.compile(r"[A-Za-z_]\w*")
_MISSING_KEY = re.compile(r'Key not found in map : "([^"]*)"')
_OPTIONAL_OLD = "cel.bind(oldSelf, old_values.size() == 0 ? optional.none() : optional.of(old_values[0]), {})"


class RuleError(Exception):
    """A rule that does not compile; the text is the compiler's."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One compiled rule."""

    source: Json
    program: Any
    message_program: Any
    is_transition: bool
    has_optional_old: bool


@dataclass(slots=True)
class Rules:
    """The rules on a value and below it."""

    schema: Json
    own: list[Rule] = field(default_factory=list)
    properties: dict[str, Rules] = field(default_factory=dict)
    items: Rules | None = None
    rest: Rules | None = None

    @property
    def is_empty(self) -> bool:
        """Whether there is no rule here or below."""
        return not (self.own or self.properties or self.items or self.rest)


def compile_rule(source: str, schema: Json, *, optional_old: bool = False) -> tuple[Any, Tree]:
    """A rule's program and its syntax tree. Raises RuleError."""
    return _compile(source, _ByContent(schema), optional_old)


class _ByContent:
    """A schema as a cache key: what it says, whichever definition says it."""

    __slots__ = ("_content", "schema")

    def __init__(self, schema: Json) -> None:
        self.schema = schema
        self._content = orjson.dumps(schema, option=orjson.OPT_SORT_KEYS)

    def __hash__(self) -> int:
        return hash(self._content)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ByContent) and other._content == self._content


@lru_cache(maxsize=512)
def _compile(source: str, key: _ByContent, optional_old: bool) -> tuple[Any, Tree]:  # noqa: FBT001 - compile_rule's
    schema = key.schema
    env = environment("dyn" if optional_old else type_name(schema))
    try:
        plain = env.compile(source)
        tree = parse(plain.serialize())
        text = with_times_read(source, tree, schema)
        if not optional_old:
            return (plain if text == source else env.compile(text)), tree
        return env.compile(_OPTIONAL_OLD.format(text)), tree
    except RuntimeError as error:
        raise RuleError(_compiler_message(error)) from None


def with_times_read(source: str, tree: Tree, schema: Json) -> str:
    """The rule with `timestamp(…)` and `duration(…)` around the fields of those formats.

    The runtime takes such values only at the top: inside of objects they are given as text.
    """
    estimate = Estimate(schema)
    estimate.cost(tree.root)
    inserts: list[tuple[int, str]] = []
    for node, reader in estimate.formatted:
        span = _span(source, node, tree)
        if span is not None and (span[0], f"{reader}(") not in inserts:
            inserts += [(span[0], f"{reader}("), (span[1], ")")]
    for position, text in sorted(inserts, reverse=True):
        source = source[:position] + text + source[position:]
    return source


def _span(source: str, node: Node, tree: Tree) -> tuple[int, int] | None:
    """Where a chain of names stands in a rule, None where it is not written as one."""
    root = node
    while root.kind == "select" and root.operand is not None:
        root = root.operand
    start = tree.positions.get(root.number)
    found = _CHAIN.match(source, start) if root.kind == "ident" and start is not None else None
    if found is None:
        return None
    if node.kind == "ident":
        return found.start(), found.start() + len(node.name)
    dot = tree.positions.get(node.number, -1)
    end = dot + 1 + len(node.name)
    return (found.start(), end) if source[dot + 1 : end] == node.name else None


def _compiler_message(error: RuntimeError) -> str:
    text = str(error).removeprefix("INVALID_ARGUMENT: ")
    return text.removesuffix(" [INVALID_ARGUMENT]")


class _BySelf:
    """A schema as a cache key: the very same dict, kept alive by the key."""

    __slots__ = ("schema",)

    def __init__(self, schema: Json) -> None:
        self.schema = schema

    def __hash__(self) -> int:
        return id(self.schema)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _BySelf) and other.schema is self.schema


@lru_cache(maxsize=256)
def _rules_by(key: _BySelf) -> Rules:
    return _collect(key.schema)


def _collect(schema: Json) -> Rules:
    out = Rules(schema)
    for source in schema.get(RULES) or ():
        out.own.append(_rule(source, schema))
    for name, child in (schema.get("properties") or {}).items():
        below = _collect(child)
        if not below.is_empty:
            out.properties[name] = below
    for key in ("items", "additionalProperties"):
        child = schema.get(key)
        if isinstance(child, dict):
            below = _collect(child)
            if not below.is_empty:
                if key == "items":
                    out.items = below
                else:
                    out.rest = below
    return out


def _rule(source: Json, schema: Json) -> Rule:
    optional_old = bool(source.get("optionalOldSelf"))
    program, tree = compile_rule(source["rule"], schema, optional_old=optional_old)
    message_program = None
    if source.get("messageExpression"):
        message_program = compile_rule(source["messageExpression"], schema, optional_old=optional_old)[0]
    uses_old = optional_old or "oldSelf" in set(identifiers(tree.root))
    return Rule(source, program, message_program, uses_old and not optional_old, optional_old)


def check_rules(schema: Json, new: Json, old: Json | None) -> list[FieldError]:
    """The rules that a custom resource breaks; it must fit its schema already."""
    rules = _rules_by(_BySelf(schema))
    if rules.is_empty:
        return []
    return _check(rules, new, old if old is not None else _NOTHING, "")


def _check(rules: Rules, new: Any, old: Any, path: str) -> list[FieldError]:
    if new is None:
        return []
    errors: list[FieldError] = []
    is_unchanged = old is not _NOTHING and new == old
    for rule in rules.own:
        if rule.is_transition and old is _NOTHING:
            continue
        if is_unchanged and not rule.is_transition and not rule.has_optional_old:
            continue
        error = _run(rule, rules.schema, new, old, path)
        if error is not None:
            errors.append(error)
    if isinstance(new, dict):
        before = old if isinstance(old, dict) else {}
        for name, item in new.items():
            below = rules.properties.get(name)
            if below is not None:
                errors += _check(below, item, before.get(name, _NOTHING), f"{path}.{name}" if path else name)
            elif rules.rest is not None:
                errors += _check(rules.rest, item, before.get(name, _NOTHING), f"{path}[{name}]")
    elif isinstance(new, list) and rules.items is not None:
        was = _items_by_key(old, rules.schema)
        for index, item in enumerate(new):
            errors += _check(
                rules.items, item, was.get(_key(item, rules.schema), _NOTHING), f"{path}[{index}]"
            )
    return errors


def _items_by_key(old: Any, schema: Json) -> dict[Any, Any]:
    """The items of an old list that can be told again: those of a list map."""
    if not isinstance(old, list) or schema.get("x-kubernetes-list-type") != "map":
        return {}
    return {_key(item, schema): item for item in old}


def _key(item: Any, schema: Json) -> Any:
    if not isinstance(item, dict):
        return None
    return tuple(str(item.get(name)) for name in schema.get("x-kubernetes-list-map-keys") or ())


def _run(rule: Rule, schema: Json, new: Any, old: Any, path: str) -> FieldError | None:
    data: Json = {"self": _shown(new, schema, path)}
    shown_old = None if old is _NOTHING or old is None else _shown(old, schema, path)
    if rule.is_transition:
        data["oldSelf"] = shown_old
    if rule.has_optional_old:
        data["old_values"] = [] if shown_old is None else [shown_old]
    outcome = rule.program.eval(data=data)
    value = outcome.plain_value() if outcome.type().name() == "BOOL" else outcome.value()
    if value is True:
        return None
    text = rule.source["rule"]
    detail = rule.source.get("message") or f"failed rule: {text}"
    if rule.message_program is not None:
        answer = rule.message_program.eval(data=data)
        told = answer.value() if answer.type().name() == "STRING" else ""
        if told.strip() and "\n" not in told and len(told) <= 5 * 1024:
            detail = told
    if value is not False:
        detail = f"{_describe_failure(value)} evaluating rule: {rule.source.get('message') or text}"
    reason = rule.source.get("reason") or "FieldValueInvalid"
    where = path + (rule.source.get("fieldPath") or "")
    shown = new if isinstance(new, str | int | float | bool) and not rule.source.get("fieldPath") else OMITTED
    return FieldError(reason, where.removeprefix("."), detail.strip(), shown)


def _shown(value: Any, schema: Json, path: str) -> Any:
    out = whole_value(value, schema)
    if path == "" and isinstance(value, dict) and isinstance(value.get("metadata"), dict):
        names = ("name", "generateName")
        out["metadata"] = {name: value["metadata"][name] for name in names if name in value["metadata"]}
    return out


def _describe_failure(value: Any) -> str:
    """Why a rule came to no result, in the words of the real server where they are known."""
    missing = _MISSING_KEY.search(f"{value}")
    return f"no such key: {missing[1]}" if missing else f"rule evaluation error: {value}"
