"""What a server serves, as clients ask for it: group and resource lists, in the old and the aggregated form.

Source: the aggregated form is apidiscovery.k8s.io/v2 (KEP-3352).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from itertools import groupby

from switchyard.sandbox.apiserver.builtins.kinds import GROUP_ORDER
from switchyard.sandbox.apiserver.resources import Json, Registry, ResourceInfo

_CUSTOM_VERBS = ("delete", "deletecollection", "get", "list", "patch", "create", "update", "watch")
AGGREGATED_TYPE = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


def accepts_aggregated(accept: str) -> bool:
    """Whether an Accept header prefers the aggregated form."""
    return any(
        "as=APIGroupDiscoveryList" in clause and "v=v2" in clause.replace("v=v2beta1", "")
        for clause in accept.split(",")
    )


def api_versions(address: str) -> Json:
    """The answer to /api."""
    return {
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
    }


def group_list(registry: Registry) -> Json:
    """The answer to /apis: all groups but the core one."""
    groups = [_group(name, infos) for name, infos in _by_group(registry) if name]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def group_of(registry: Registry, name: str) -> Json | None:
    """The answer to /apis/GROUP, None for an unknown group."""
    infos = [info for info in registry.all() if info.group == name]
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(name, infos)} if name and infos else None


def resource_list(registry: Registry, group: str, version: str) -> Json | None:
    """The answer to /api/v1 or /apis/GROUP/VERSION, None for an unknown version."""
    infos = [info for info in registry.all() if (info.group, info.version) == (group, version)]
    if not infos:
        return None
    api_version = infos[0].api_version
    resources = [entry for info in _in_order(infos) for entry in _resources(info)]
    body: Json = {"kind": "APIResourceList", "groupVersion": api_version, "resources": resources}
    return body if not group else {"kind": body.pop("kind"), "apiVersion": "v1", **body}


def aggregated_groups(registry: Registry, *, is_core: bool) -> Json:
    """The answer to /api or /apis in the aggregated form."""
    items: list[Json] = []
    for name, infos in _by_group(registry):
        if is_core == bool(name):
            continue
        versions = [
            {
                "version": version,
                "resources": [_aggregated(info) for info in _in_order(served)],
                "freshness": "Current",
            }
            for version, served in _by_version(infos)
        ]
        items.append({"metadata": {"name": name} if name else {}, "versions": versions})
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items,
    }


def _by_group(registry: Registry) -> Iterable[tuple[str, list[ResourceInfo]]]:
    def rank(info: ResourceInfo) -> tuple[int, str]:
        known = info.group in GROUP_ORDER
        return (GROUP_ORDER.index(info.group), "") if known else (len(GROUP_ORDER), info.group)

    for _, infos in groupby(sorted(registry.all(), key=rank), key=rank):
        found = list(infos)
        yield found[0].group, found


def version_rank(version: str) -> tuple[int, int, int, str]:
    """A sort key that puts stable versions before beta before alpha, later ones first, odd names last."""
    digits = version.removeprefix("v")
    for stage, mark in ((1, "beta"), (2, "alpha")):
        major, found, minor = digits.partition(mark)
        if found and major.isdigit() and minor.isdigit():
            return (stage, -int(major), -int(minor), "")
    return (0, -int(digits), 0, "") if version.startswith("v") and digits.isdigit() else (3, 0, 0, version)


def _by_version(infos: Iterable[ResourceInfo]) -> list[tuple[str, list[ResourceInfo]]]:
    versions: dict[str, list[ResourceInfo]] = {}
    for info in infos:
        versions.setdefault(info.version, []).append(info)
    return sorted(versions.items(), key=lambda pair: version_rank(pair[0]))


def _in_order(infos: Sequence[ResourceInfo]) -> list[ResourceInfo]:
    return sorted(infos, key=lambda info: info.plural)


def _group(name: str, infos: Sequence[ResourceInfo]) -> Json:
    versions = [
        {"groupVersion": f"{name}/{version}", "version": version} for version, _ in _by_version(infos)
    ]
    return {"name": name, "versions": versions, "preferredVersion": versions[0]}


def _resources(info: ResourceInfo) -> Iterable[Json]:
    entry: Json = {
        "name": info.plural,
        "singularName": info.singular,
        "namespaced": info.namespaced,
        "kind": info.kind,
        "verbs": _verbs(info),
    }
    if info.short_names:
        entry["shortNames"] = list(info.short_names)
    if info.categories:
        entry["categories"] = list(info.categories)
    if "list" in info.verbs:
        entry["storageVersionHash"] = _storage_hash(info)
    yield entry
    for sub in info.subresources:
        below: Json = {
            "name": f"{info.plural}/{sub.name}",
            "singularName": "",
            "namespaced": info.namespaced,
            "kind": sub.kind,
            "verbs": sorted(sub.verbs),
        }
        if sub.group:
            below["group"], below["version"] = sub.group, sub.version
        yield below


def _verbs(info: ResourceInfo) -> list[str]:
    """The verbs in the order in which a real server lists them: custom resources have their own."""
    return sorted(info.verbs) if info.is_builtin else [verb for verb in _CUSTOM_VERBS if verb in info.verbs]


def _storage_hash(info: ResourceInfo) -> str:
    named = f"{info.group}/{info.version}/{info.kind}"
    return base64.b64encode(hashlib.sha256(named.encode()).digest()[:8]).decode()


def _aggregated(info: ResourceInfo) -> Json:
    entry: Json = {
        "resource": info.plural,
        "responseKind": _kind(info, "", "", info.kind),
        "scope": "Namespaced" if info.namespaced else "Cluster",
        "singularResource": info.singular,
        "verbs": _verbs(info),
    }
    if info.short_names:
        entry["shortNames"] = list(info.short_names)
    if info.categories:
        entry["categories"] = list(info.categories)
    if info.subresources:
        entry["subresources"] = [
            {
                "subresource": sub.name,
                "responseKind": _kind(info, sub.group, sub.version, sub.kind),
                "verbs": sorted(sub.verbs),
            }
            for sub in info.subresources
        ]
    return entry


def _kind(info: ResourceInfo, group: str, version: str, kind: str) -> Json:
    """A response kind; one of the same group version is named in full for custom resources only."""
    if not version and not info.is_builtin:
        group, version = info.group, info.version
    return {"group": group, "version": version, "kind": kind}
