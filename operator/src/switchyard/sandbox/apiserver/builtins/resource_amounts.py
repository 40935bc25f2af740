"""What is wrong with amounts of resources: those of containers, nodes and quotas, accelerators among them.

An extended resource (a name with a domain outside kubernetes.io, as device plugins use) is counted in whole
numbers and its request always equals its limit. Source: k8s.io/kubernetes/pkg/apis/core/validation.
"""

from __future__ import annotations

from typing import Any

from switchyard.sandbox.apiserver.builtins.field_errors import (
    Errors,
    invalid,
    is_qualified_name,
    required,
)
from switchyard.sandbox.apiserver.builtins.quantities import parse_quantity
from switchyard.sandbox.apiserver.resources import Json

_CONTAINER_RESOURCES = {"cpu", "memory", "ephemeral-storage"}
_QUOTA_COUNTS = {
    "pods",
    "services",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
}


def is_extended_resource(name: str) -> bool:
    """Whether a device plugin or an administrator brings the resource."""
    if "/" not in name or name.startswith("requests."):
        return False
    domain = name.split("/", maxsplit=1)[0]
    return domain != "kubernetes.io" and not domain.endswith(".kubernetes.io") and is_qualified_name(name)


def _is_hugepages(name: str) -> bool:
    return name.startswith("hugepages-")


def _must_be_whole(name: str) -> bool:
    return is_extended_resource(name) or name == "pods"


def check_amount(name: str, text: Any, field: str) -> Errors:
    """Nothing for an amount that the resource can have."""
    amount = parse_quantity(text)
    if amount.value < 0:
        yield invalid(field, str(amount), "must be greater than or equal to 0")
    if _must_be_whole(name) and not amount.is_whole:
        yield invalid(field, str(amount), "must be an integer")


def check_container_resources(resources: Json, field: str) -> Errors:
    """Nothing when the requests and limits of a container go together."""
    limits: Json = resources.get("limits") or {}
    requests: Json = resources.get("requests") or {}
    for part, amounts in (("limits", limits), ("requests", requests)):
        for name, amount in amounts.items():
            path = f"{field}.{part}[{name}]"
            yield from _check_container_resource_name(name, f"{field}.{part}[{name}]")
            yield from check_amount(name, amount, path)
    for name, amount in requests.items():
        yield from _check_against_limit(name, str(amount), limits.get(name), field)


def _check_container_resource_name(name: str, field: str) -> Errors:
    if name in _CONTAINER_RESOURCES or _is_hugepages(name):
        return
    if "/" not in name:
        yield invalid(field, name, "must be a standard resource type or fully qualified")
        yield invalid(field, name, "must be a standard resource for containers")
    elif not is_qualified_name(name):
        yield invalid(field, name, "name part must consist of alphanumeric characters, '-', '_' or '.'")
    elif not is_extended_resource(name):
        yield invalid(field, name, "must be a standard resource for containers")


def _check_against_limit(name: str, request: str, limit: Any, field: str) -> Errors:
    is_fixed = is_extended_resource(name) or _is_hugepages(name)
    if limit is None:
        if is_fixed:
            yield required(f"{field}.limits", "Limit must be set for non overcommitable resources")
        return
    wanted, most = parse_quantity(request), parse_quantity(limit)
    if is_fixed and wanted.value != most.value:
        yield invalid(f"{field}.requests", str(wanted), f"must be equal to {name} limit of {most}")
    elif not is_fixed and wanted.value > most.value:
        yield invalid(
            f"{field}.requests", str(wanted), f"must be less than or equal to {name} limit of {most}"
        )


def check_node_amounts(status: Json) -> Errors:
    """Nothing when a node's capacity and allocatable are amounts that its resources can have."""
    for part in ("capacity", "allocatable"):
        for name, amount in (status.get(part) or {}).items():
            yield from check_amount(name, amount, f"status.{part}.{name}")


def check_quota(spec: Json) -> Errors:
    """Nothing when a quota's hard limits name things that a quota can count."""
    for name, amount in (spec.get("hard") or {}).items():
        field = f"spec.hard[{name}]"
        plain = name.removeprefix("requests.").removeprefix("limits.")
        is_known = (
            plain in _CONTAINER_RESOURCES
            or _is_hugepages(plain)
            or name in _QUOTA_COUNTS
            or name == "requests.storage"
            or (name.startswith("count/") and is_qualified_name(name))
            or ("/" in name and is_qualified_name(name))
        )
        if not is_known:
            yield invalid(field, name, "must be a standard resource type or fully qualified")
            yield invalid(field, name, "must be a standard resource for quota")
        amount_of = parse_quantity(amount)
        if amount_of.value < 0:
            yield invalid(field, str(amount_of), "must be greater than or equal to 0")
        if (
            is_extended_resource(plain) or name in _QUOTA_COUNTS or name.startswith("count/")
        ) and not amount_of.is_whole:
            yield invalid(field, str(amount_of), "must be an integer")
