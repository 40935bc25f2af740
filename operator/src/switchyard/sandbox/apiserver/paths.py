"""Which resource, object and action a request's path and method name."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote

from switchyard.sandbox.apiserver.hooks import Attributes

_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


@dataclass(frozen=True, slots=True)
class Target:
    """A resource path taken apart. `is_resource` is False for discovery and other paths."""

    is_resource: bool = False
    group: str = ""
    version: str = ""
    plural: str = ""
    namespace: str = ""
    name: str = ""
    subresource: str = ""


def parse_path(path: str) -> Target:
    """What a path points at.

    `/api/v1/…` and `/apis/GROUP/VERSION/…`, then `[namespaces/NS/]PLURAL[/NAME[/SUBRESOURCE]]`;
    `namespaces/NS` itself is an object, and `namespaces/NS/status|finalize` its subresources.
    """
    parts = [unquote(part) for part in path.strip("/").split("/")]
    if len(parts) >= 3 and parts[0] == "api":
        group, version, rest = "", parts[1], parts[2:]
    elif len(parts) >= 4 and parts[0] == "apis":
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return Target()
    namespace = ""
    if rest[0] == "namespaces" and len(rest) >= 2:
        if group == "" and (len(rest) == 2 or (len(rest) == 3 and rest[2] in ("status", "finalize"))):
            return Target(True, group, version, "namespaces", "", rest[1], rest[2] if len(rest) == 3 else "")
        if len(rest) == 2:
            return Target()
        namespace, rest = rest[1], rest[2:]
    if len(rest) > 3 and rest[2] != "proxy":
        return Target()
    return Target(
        is_resource=True,
        group=group,
        version=version,
        plural=rest[0],
        namespace=namespace,
        name=rest[1] if len(rest) > 1 else "",
        subresource="/".join(rest[2:]),
    )


def attributes_of(method: str, path: str, query: str, target: Target) -> Attributes:
    """The request as authorizers see it."""
    if not target.is_resource:
        return Attributes(verb=method.lower(), path=path, is_resource=False)
    verb = _VERBS.get(method)
    name = target.name
    if verb is None:
        if "watch=" in query and _is_watch(query):
            verb = "watch"
            name = name or _name_selected(query)
        else:
            verb = "get" if name else "list"
            name = name or _name_selected(query)
    elif verb == "delete" and not name:
        verb = "deletecollection"
    is_namespace = target.plural == "namespaces" and target.group == ""
    return Attributes(
        verb=verb,
        path=path,
        group=target.group,
        version=target.version,
        resource=target.plural,
        subresource=target.subresource,
        namespace=target.name if is_namespace else target.namespace,
        name=name,
    )


def _is_watch(query: str) -> bool:
    return any(part in ("watch=1", "watch=true", "watch=True") for part in query.split("&"))


def _name_selected(query: str) -> str:
    """The name in `fieldSelector=metadata.name=x`: lists and watches of one name are authorized by it."""
    for part in query.split("&"):
        key, _, value = part.partition("=")
        if key == "fieldSelector":
            field, _, name = unquote(value.replace("+", " ")).partition("=")
            if field == "metadata.name" and "," not in name:
                return name.lstrip("=")
    return ""
