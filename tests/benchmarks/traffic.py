"""What the benchmark itself does to the API: writes with bounded concurrency, and watches what comes of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml
from tests.benchmarks.scale import NAMESPACE

from switchyard.api.labels import MANAGED_BY, WORKLOAD
from switchyard.sandbox.client import (
    CRDS,
    DEPLOYMENTS,
    DISRUPTION_BUDGETS,
    NAMESPACES,
    SERVICES,
    ApiClient,
    ApiError,
    Connection,
    Resource,
)

_MANAGER = "benchmark"
_DEFINITIONS = Path(__file__).parents[2] / "crds"
_OURS = {"labelSelector": f"{MANAGED_BY}=switchyard"}
_POOLS = Resource("switchyard.dev", "v1alpha1", "acceleratorpools", "AcceleratorPool", is_namespaced=False)
_WORKLOADS = Resource("switchyard.dev", "v1alpha1", "inferenceworkloads", "InferenceWorkload")
_CHILDREN = (DEPLOYMENTS, SERVICES, DISRUPTION_BUDGETS)
_BY_KIND = {resource.kind: resource for resource in (_POOLS, _WORKLOADS, *_CHILDREN)}
_SERVER_FIELDS = ("uid", "resourceVersion", "generation", "creationTimestamp", "managedFields")

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Progress:
    """Seconds since the first apply was sent."""

    applied_seconds: float
    children_seconds: float
    placed_seconds: float
    ready_seconds: float


class Traffic:
    """A client of the API server; `concurrency` bounds the writes that are under way."""

    def __init__(self, connection: Connection, concurrency: int) -> None:
        self._client = ApiClient(connection, agent=_MANAGER)
        self._free = asyncio.Semaphore(concurrency)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.close()

    async def install_definitions(self) -> None:
        """Return when our kinds are served and the namespace is there."""
        for file in sorted(_DEFINITIONS.glob("*.yaml")):
            await self._client.apply(CRDS, yaml.safe_load(file.read_text()), manager=_MANAGER)
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
        await self._client.apply(NAMESPACES, namespace, manager=_MANAGER)
        deadline = time.monotonic() + 30
        for resource in (_POOLS, _WORKLOADS):
            while not await self._is_served(resource):
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{resource.plural} are not served")
                await asyncio.sleep(0.05)

    async def place(self, objects: list[Json], workloads: int, patience_seconds: float) -> Progress:
        """When the objects had what is to come of them. TimeoutError when it does not come."""
        seen = _Seen()
        async with asyncio.timeout(patience_seconds), asyncio.TaskGroup() as tasks:
            watches = [
                tasks.create_task(self._follow(resource, seen))
                for resource in (_WORKLOADS, DEPLOYMENTS, SERVICES)
            ]
            start = time.perf_counter()
            await self._apply_all(objects)
            applied = time.perf_counter()
            await seen.wait_until(lambda: min(map(len, seen.all())) >= workloads)
            for watch in watches:
                watch.cancel()
        return Progress(
            applied - start,
            max(*seen.deployments.values(), *seen.services.values()) - start,
            max(seen.placed.values()) - start,
            max(seen.ready.values()) - start,
        )

    async def write_plainly(self, objects: list[Json]) -> float:
        """The seconds that it takes to apply these objects."""
        start = time.perf_counter()
        await self._apply_all(objects)
        return time.perf_counter() - start

    async def read_versions(self) -> dict[str, str]:
        """uid -> resourceVersion of the users' objects and of the children.

        Of Deployments the generation instead: their controller keeps its own status in the same object.
        """
        found = {}
        for resource in (_POOLS, _WORKLOADS, *_CHILDREN):
            field = "generation" if resource is DEPLOYMENTS else "resourceVersion"
            for item in (await self._client.list(resource))["items"]:
                found[item["metadata"]["uid"]] = str(item["metadata"][field])
        return found

    async def read_children(self) -> list[Json]:
        """The children as a client would write them: without owners, status and what the server sets."""
        found = []
        for resource in _CHILDREN:
            for item in (await self._client.list(resource, NAMESPACE, params=_OURS))["items"]:
                kept = {key: value for key, value in item.items() if key not in {"status", "metadata"}}
                metadata = {
                    key: value
                    for key, value in item["metadata"].items()
                    if key not in {*_SERVER_FIELDS, "ownerReferences"}
                }
                for field in ("clusterIP", "clusterIPs"):
                    kept["spec"].pop(field, None)
                found.append(
                    {**kept, "apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata}
                )
        return found

    async def _is_served(self, resource: Resource) -> bool:
        try:
            await self._client.list(resource)
        except ApiError as error:
            if error.is_not_found:
                return False
            raise
        return True

    async def _apply_all(self, objects: list[Json]) -> None:
        async def apply(body: Json) -> None:
            async with self._free:
                await self._client.apply(_BY_KIND[body["kind"]], body, manager=_MANAGER)

        async with asyncio.TaskGroup() as tasks:
            for body in objects:
                tasks.create_task(apply(body))

    async def _follow(self, resource: Resource, seen: _Seen) -> None:
        path = resource.path(NAMESPACE)
        version = (await self._client.list(resource, NAMESPACE))["metadata"]["resourceVersion"]
        async for event in self._client.watch(path, version):
            if event["type"] in {"ADDED", "MODIFIED"}:
                seen.note(resource, event["object"], time.perf_counter())


class _Seen:
    """When each workload first had its parts."""

    def __init__(self) -> None:
        self.deployments: dict[str, float] = {}
        self.services: dict[str, float] = {}
        self.placed: dict[str, float] = {}
        self.ready: dict[str, float] = {}
        self._changed = asyncio.Event()

    def all(self) -> tuple[dict[str, float], ...]:
        return (self.deployments, self.services, self.placed, self.ready)

    def note(self, resource: Resource, item: Json, at_seconds: float) -> None:
        metadata, status = item["metadata"], item.get("status") or {}
        if resource is not _WORKLOADS:
            parts = self.deployments if resource is DEPLOYMENTS else self.services
            owner = (metadata.get("labels") or {}).get(WORKLOAD)
            if owner:
                parts.setdefault(owner, at_seconds)
        else:
            if status.get("placements"):
                self.placed.setdefault(metadata["name"], at_seconds)
            conditions = {each["type"]: each["status"] for each in status.get("conditions") or ()}
            if conditions.get("Ready") == "True":
                self.ready.setdefault(metadata["name"], at_seconds)
        self._changed.set()

    async def wait_until(self, is_true: Callable[[], bool]) -> None:
        while not is_true():
            self._changed.clear()
            await self._changed.wait()
