"""Which kinds the API server serves, for those who must look at all of them."""

from __future__ import annotations

import asyncio
import logging

import aiohttp

from switchyard.sandbox.client import ApiClient, ApiError, Json, Resource

log = logging.getLogger(__name__)

_NEEDED = frozenset({"list", "watch", "delete"})


async def discover_kinds(client: ApiClient) -> dict[Resource, frozenset[str]]:
    """Every resource that can be listed, watched and deleted, in its preferred version, with its verbs."""
    groups = [("", "v1", "/api/v1")]
    document = await client.request("GET", "/apis")
    for group in document.get("groups") or []:
        version = (group.get("preferredVersion") or group["versions"][0])["version"]
        groups.append((group["name"], version, f"/apis/{group['name']}/{version}"))
    answers = await asyncio.gather(
        *(client.request("GET", path) for _, _, path in groups), return_exceptions=True
    )
    found: dict[Resource, frozenset[str]] = {}
    for (group, version, path), answer in zip(groups, answers, strict=True):
        if isinstance(answer, BaseException):
            # One broken group must not blind us for the others; the next round asks again.
            if not isinstance(answer, (ApiError, ConnectionError, aiohttp.ClientError, TimeoutError)):
                raise answer
            log.info("discovery of %s failed: %s", path, answer)
            continue
        found.update(_read_group(group, version, answer))
    return found


def _read_group(group: str, version: str, answer: Json) -> dict[Resource, frozenset[str]]:
    found = {}
    for entry in answer.get("resources") or []:
        verbs = frozenset(entry.get("verbs") or ())
        if "/" in entry["name"] or not verbs >= _NEEDED:
            continue
        resource = Resource(group, version, entry["name"], entry["kind"], is_namespaced=entry["namespaced"])
        found[resource] = verbs
    return found
