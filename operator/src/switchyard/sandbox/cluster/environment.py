"""A container's environment as a kubelet puts it together, and the references that it may hold."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any

from switchyard.sandbox.client import CONFIG_MAPS, SECRETS, ApiClient, ApiError, Resource
from switchyard.sandbox.cluster.quantities import parse_quantity

Json = dict[str, Any]


class ConfigError(Exception):
    """The container can't be started as it is written; the text goes into its waiting message."""


def expand(text: str, env: Mapping[str, str]) -> str:
    """The text with `$(NAME)` replaced where NAME is known, and `$$` as a literal dollar sign."""

    def value(match: re.Match[str]) -> str:
        if match.group(0) == "$$":
            return "$"
        return env.get(match.group(1), match.group(0))

    return re.sub(r"\$\$|\$\(([A-Za-z_][A-Za-z0-9_.-]*)\)", value, text)


async def read_environment(
    client: ApiClient, pod: Json, container: Mapping[str, Any], fields: Mapping[str, str]
) -> dict[str, str]:
    """The container's environment. `fields`: what fieldRefs into the status give, such as status.podIP.

    ConfigError when a ConfigMap, Secret or key that is not optional does not exist.
    """
    env: dict[str, str] = {}
    namespace = pod["metadata"]["namespace"]
    for source in container.get("envFrom") or []:
        for kind, key in ((CONFIG_MAPS, "configMapRef"), (SECRETS, "secretRef")):
            if key in source:
                data = await _read_data(client, kind, namespace, source[key])
                env |= {f"{source.get('prefix', '')}{name}": text for name, text in data.items()}
    for entry in container.get("env") or []:
        name, origin = entry["name"], entry.get("valueFrom")
        if origin is None:
            env[name] = expand(str(entry.get("value") or ""), env)
            continue
        text = await _read_origin(client, pod, container, origin, fields)
        if text is not None:
            env[name] = text
    return env


async def _read_origin(
    client: ApiClient, pod: Json, container: Mapping[str, Any], origin: Json, fields: Mapping[str, str]
) -> str | None:
    if "fieldRef" in origin:
        return read_field(pod, origin["fieldRef"]["fieldPath"], fields)
    if "resourceFieldRef" in origin:
        return _read_resource(container, origin["resourceFieldRef"])
    for kind, key in ((CONFIG_MAPS, "configMapKeyRef"), (SECRETS, "secretKeyRef")):
        if key in origin:
            reference = origin[key]
            data = await _read_data(client, kind, pod["metadata"]["namespace"], reference)
            if reference["key"] in data:
                return data[reference["key"]]
            if not reference.get("optional"):
                raise ConfigError(f"couldn't find key {reference['key']} in {kind.kind} {reference['name']}")
    return None


def read_field(pod: Json, path: str, fields: Mapping[str, str]) -> str:
    """What a downward-API field path gives for this pod."""
    if path in fields:
        return fields[path]
    match = re.fullmatch(r"metadata\.(labels|annotations)\['(.+)'\]", path)
    if match:
        return str((pod["metadata"].get(match.group(1)) or {}).get(match.group(2), ""))
    value: Any = pod
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return "" if value is None else str(value)


def _read_resource(container: Mapping[str, Any], reference: Json) -> str:
    part, _, name = reference["resource"].partition(".")
    quantity = ((container.get("resources") or {}).get(part) or {}).get(name, "0")
    divisor = parse_quantity(str(reference.get("divisor") or "1")) or 1
    return str(int((parse_quantity(str(quantity)) / divisor).to_integral_value(rounding="ROUND_CEILING")))


async def _read_data(client: ApiClient, kind: Resource, namespace: str, reference: Json) -> dict[str, str]:
    try:
        body = await client.get(kind, namespace, reference["name"])
    except ApiError as error:
        if not error.is_not_found:
            raise
        if reference.get("optional"):
            return {}
        raise ConfigError(f'{kind.kind.lower()} "{reference["name"]}" not found') from error
    data: dict[str, str] = body.get("data") or {}
    if kind == SECRETS:
        return {name: base64.b64decode(text).decode(errors="replace") for name, text in data.items()}
    return data
