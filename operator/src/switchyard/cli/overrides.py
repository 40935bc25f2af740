"""What-if settings: `pool/l4-eu.cost.devicePerHour=0.50` applied to the objects of files or a cluster.

A path starts below `spec`. An item of a list is named by its position or by what tells it apart:
`variants[trt]`, `objectives[latency,95]`. `null` takes a field away. `pool/NAME.devices` is no field: it is
the number of devices that placement may give out.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import yaml

from switchyard.cli.manifest_checks import check_body, load_schema, suggest
from switchyard.cli.manifests import BadInputError, Manifest

_KINDS = {
    "pool": "AcceleratorPool",
    "apool": "AcceleratorPool",
    "iw": "InferenceWorkload",
}
_STEP = re.compile(r"\.?([^.\[\]]+)|\[([^\]]+)\]")
_WAY_OUT = "give KIND/NAME.PATH=VALUE, like pool/l4.cost.devicePerHour=0.50 or iw/team/chat.tier=batch"


@dataclass(frozen=True, slots=True)
class Overrides:
    """Settings as they were given: fields of objects, and devices of pools."""

    manifests: list[Manifest]
    devices: Mapping[str, int] = field(default_factory=dict)


def override(manifests: Sequence[Manifest], settings: Sequence[str]) -> Overrides:
    """The objects with the settings applied, in order. Raises BadInputError."""
    changed = list(manifests)
    devices: dict[str, int] = {}
    touched: dict[int, list[str]] = {}
    for setting in settings:
        try:
            place, path, value = _parse(changed, setting)
            target = changed[place]
            if target.kind == "AcceleratorPool" and path == ["devices"]:
                devices[target.name] = _read_count(value)
                continue
            body = copy.deepcopy(target.body)
            _assign(body, path, value)
        except _SettingError as error:
            raise BadInputError([f"--set {setting}: {error}"]) from None
        changed[place] = replace(target, body=body)
        touched.setdefault(place, []).append(f"--set {setting}")
    problems = [
        f"{' '.join(given)}: {problem}"
        for place, given in touched.items()
        for problem in check_body(changed[place].body)
    ]
    if problems:
        raise BadInputError(problems)
    return Overrides(changed, devices)


def read_namespace_labels(given: Sequence[str], namespaces: Sequence[str]) -> dict[str, dict[str, str]]:
    """Labels by namespace, of `NAMESPACE:KEY=VALUE,…` or of `KEY=VALUE,…` for all. Raises BadInputError."""
    labels: dict[str, dict[str, str]] = {name: {} for name in namespaces}
    for each in given:
        namespace, colon, pairs = each.rpartition(":")
        for pair in pairs.split(","):
            key, sign, value = pair.partition("=")
            if not sign or not key:
                raise BadInputError(
                    [f"--namespace-labels {each}: give NAMESPACE:KEY=VALUE,… or KEY=VALUE,… for all of them"]
                )
            for name in [namespace] if colon else namespaces:
                labels.setdefault(name, {})[key] = value
    return labels


class _SettingError(Exception):
    """Why a setting can't be applied."""


def _parse(manifests: Sequence[Manifest], setting: str) -> tuple[int, list[str], str]:
    """The object that is meant, by position, the steps of the path, and the value."""
    left, sign, value = setting.partition("=")
    if not sign:
        raise _SettingError(_WAY_OUT)
    return (*_find_target(manifests, left), value)


def _find_target(manifests: Sequence[Manifest], left: str) -> tuple[int, list[str]]:
    """The object that is meant, by position, and the steps of the path."""
    word, slash, rest = left.partition("/")
    kind = _KINDS.get(word.lower())
    if not slash or kind is None:
        raise _SettingError(_WAY_OUT)
    matches: list[tuple[int, int, str]] = []
    for place, each in enumerate(manifests):
        if each.kind != kind:
            continue
        for name in (f"{each.namespace or 'default'}/{each.name}", each.name):
            if rest.startswith((f"{name}.", f"{name}[")):
                matches.append((len(name), place, rest[len(name) :]))
                break
    if not matches:
        names = [each.name for each in manifests if each.kind == kind]
        asked = rest.split(".", maxsplit=1)[0].rpartition("/")[2]
        hint = suggest(asked, names) or (f"; there are {', '.join(names)}" if names else "; there is none")
        raise _SettingError(f"no {kind} is called {asked!r}{hint}")
    longest = max(length for length, _, _ in matches)
    best = [(place, path) for length, place, path in matches if length == longest]
    if len(best) > 1:
        raise _SettingError("two namespaces have one of that name: give iw/NAMESPACE/NAME")
    place, path = best[0]
    steps = [name or item for name, item in _STEP.findall(path)]
    if "".join(_STEP.split(path)[::3]) or not steps:
        raise _SettingError(f"{path!r} is no path; {_WAY_OUT}")
    return place, steps


def _read_count(value: str) -> int:
    if not value.isdigit():
        raise _SettingError(f"{value!r}: give a number of devices")
    return int(value)


def _assign(body: dict[str, Any], path: Sequence[str], value: str) -> None:
    schema = load_schema(str(body["kind"]))["properties"]["spec"]
    holder: Any = body.setdefault("spec", {})
    walked = ""
    for step in path[:-1]:
        holder, schema, walked = _descend(holder, schema, step, walked)
    last = path[-1]
    if schema.get("type") == "array":
        index = _find_item(holder, schema, last, walked)
        holder[index] = _read_value(value, schema["items"])
        return
    below = _below(schema, last, walked)
    if value == "null":
        holder.pop(last, None)
    else:
        holder[last] = _read_value(value, below)


def _descend(
    holder: Any, schema: Mapping[str, Any], step: str, walked: str
) -> tuple[Any, Mapping[str, Any], str]:
    if schema.get("type") == "array":
        return holder[_find_item(holder, schema, step, walked)], schema["items"], f"{walked}[{step}]"
    below = _below(schema, step, walked)
    if holder.get(step) is None:
        holder[step] = [] if below.get("type") == "array" else {}
    return holder[step], below, f"{walked}.{step}".lstrip(".")


def _below(schema: Mapping[str, Any], step: str, walked: str) -> Mapping[str, Any]:
    properties = schema.get("properties") or {}
    rest = schema.get("additionalProperties")
    if step in properties:
        found: Mapping[str, Any] = properties[step]
        return found
    if isinstance(rest, dict):
        return rest
    known = list(properties)
    hint = suggest(step, known) or (f"; there are {', '.join(known)}" if known else "")
    raise _SettingError(f"no field {step!r} in {walked or 'spec'}{hint}")


def _find_item(items: Sequence[Any], schema: Mapping[str, Any], step: str, walked: str) -> int:
    if step.isdigit() and int(step) < len(items):
        return int(step)
    keys = schema.get("x-kubernetes-list-map-keys") or ()
    fields = schema["items"].get("properties") or {}
    names = [
        ",".join(str(item.get(key, fields.get(key, {}).get("default"))) for key in keys)
        if keys and isinstance(item, dict)
        else str(item)
        for item in items
    ]
    if step in names:
        return names.index(step)
    raise _SettingError(
        f"no item {step!r} in {walked}{suggest(step, names) or '; there are ' + (', '.join(names) or 'none')}"
    )


def _read_value(text: str, schema: Mapping[str, Any]) -> Any:
    """The value as the schema wants it: strings need no quotes here."""
    if schema.get("type") == "string" or schema.get("x-kubernetes-int-or-string"):
        return text
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise _SettingError(f"{text!r} is not YAML") from None
    if schema.get("type") == "array" and schema["items"].get("type") == "string":
        return [str(each) for each in value] if isinstance(value, list) else [str(value)]
    return value
