"""Cluster addresses of Services, given from a loopback range, so that a ClusterIP can be reached."""

from __future__ import annotations

import ipaddress
import random

from switchyard.sandbox.apiserver.backend import Backend
from switchyard.sandbox.apiserver.errors import ApiError, FieldError, invalid
from switchyard.sandbox.apiserver.resources import Json, ResourceInfo

CLUSTER_RANGE = ipaddress.ip_network("127.96.0.0/16")
API_SERVER_ADDRESS = "127.96.0.1"  # the Service kubernetes in default


def align_addresses(info: ResourceInfo, new: Json, old: Json | None) -> None:
    """Makes clusterIP and clusterIPs of a Service say the same, in place: the one that changed leads.

    What an update leaves out of both is kept, as for clients that never heard of the fields.
    """
    if info.storage_key != ("", "services"):
        return
    spec = new.setdefault("spec", {})
    before = (old or {}).get("spec", {})
    if spec.get("type") == "ExternalName" or before.get("type") == "ExternalName":
        return
    if old is not None and not spec.get("clusterIP") and not spec.get("clusterIPs"):
        for key in ("clusterIP", "clusterIPs"):
            if key in before:
                spec[key] = before[key]
    single, many = spec.get("clusterIP"), spec.get("clusterIPs") or []
    if single and (not many or (single != before.get("clusterIP") and many == before.get("clusterIPs"))):
        spec["clusterIPs"] = [single]
    elif many and not single:
        spec["clusterIP"] = many[0]


def allocate_address(backend: Backend, info: ResourceInfo, new: Json, old: Json | None) -> None:
    """Gives a Service its address and what follows from it, in place. Raises 422 for one that is taken."""
    if info.storage_key != ("", "services"):
        return
    spec = new.setdefault("spec", {})
    if spec.get("type") == "ExternalName":
        for key in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
            spec.pop(key, None)
        return
    kept = (old or {}).get("spec", {}).get("clusterIP")
    if not spec.get("clusterIP"):
        spec["clusterIP"] = kept or _free_address(backend, info)
    elif spec["clusterIP"] != "None" and not kept:
        _check_free(backend, info, new["metadata"]["name"], spec["clusterIP"])
    spec["clusterIPs"] = [spec["clusterIP"]]
    spec.setdefault("ipFamilies", ["IPv4"])
    spec.setdefault("ipFamilyPolicy", "SingleStack")


def _taken(backend: Backend, info: ResourceInfo) -> set[str]:
    return {service.get("spec", {}).get("clusterIP", "") for service in backend.store.list(info)}


def _free_address(backend: Backend, info: ResourceInfo) -> str:
    taken = _taken(backend, info) | {API_SERVER_ADDRESS}
    # at random, so that servers side by side on one machine seldom give the same loopback address
    first, count = int(CLUSTER_RANGE.network_address) + 1, CLUSTER_RANGE.num_addresses - 2
    start = random.randrange(count)  # noqa: S311 an address, not a secret
    for step in range(count):
        address = str(ipaddress.ip_address(first + (start + step) % count))
        if address not in taken:
            return address
    raise ApiError(500, "InternalError", "failed to allocate a serviceIP: range is full")


def _check_free(backend: Backend, info: ResourceInfo, name: str, address: str) -> None:
    wrong = ""
    try:
        if ipaddress.ip_address(address) not in CLUSTER_RANGE:
            wrong = (
                "failed to allocate IP "
                f"{address}: the provided IP ({address}) is not in the valid range. The range of "
                "valid IPs is "
                f"{CLUSTER_RANGE}"
            )
    except ValueError:
        wrong = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
    if not wrong and address in _taken(backend, info):
        wrong = f"failed to allocate IP {address}: provided IP is already allocated"
    if wrong:
        raise invalid(info, name, [FieldError("FieldValueInvalid", "spec.clusterIPs", wrong, [address])])
