"""A world read once from a cluster, with the rights of whoever asks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from switchyard.adapters.connection import Answer, Connection, NoCluster, connect
from switchyard.adapters.projection import (
    project_child,
    project_node,
    project_pod,
    project_pod_template,
    project_pool,
    project_quota,
    project_workload,
)
from switchyard.adapters.resources import (
    CHILDREN,
    MANAGED_SELECTOR,
    NAMESPACES,
    NODES,
    POD_TEMPLATES,
    PODS,
    POOLS,
    RESOURCE_QUOTAS,
    WORKLOADS,
    Resource,
)
from switchyard.catalog import load_catalog
from switchyard.cli.file_world import give_devices
from switchyard.cli.manifests import BadInputError
from switchyard.cli.planning import Planned, make_plan
from switchyard.core.world import Pool, Unreadable, Workload, World

_PAGE = 500
# what is missing without the right to list them
_CONSEQUENCES = {
    NODES.plural: "devices are those of the pools' status",
    PODS.plural: "nobody's use of devices is known, and what serves is not either",
    NAMESPACES.plural: "labels of namespaces count as none",
    RESOURCE_QUOTAS.plural: "quotas count as none",
    POD_TEMPLATES.plural: "variants with a podTemplateRef look as if it did not exist",
    **{each.plural: "what serves is not known: all looks as if it were new" for each in CHILDREN},
}


@dataclass
class _Reader:
    connection: Connection
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    async def list(self, resource: Resource, selector: str = "") -> list[Mapping[str, Any]]:
        """All objects of a kind; none, with a note or a problem, where that is not allowed."""
        items: list[Mapping[str, Any]] = []
        query = {"limit": str(_PAGE), **({"labelSelector": selector} if selector else {})}
        while True:
            answer = await self.connection.request("GET", resource.path(), query=query)
            if not isinstance(answer, Answer):
                raise BadInputError([f"the API server does not answer: {answer.message}"])
            if not answer.is_success:
                self._refused(resource, answer)
                return []
            kind = {"apiVersion": resource.api_version, "kind": resource.kind}
            items += [{**kind, **item} for item in answer.body.get("items") or ()]
            token = (answer.body.get("metadata") or {}).get("continue")
            if not token:
                return items
            query["continue"] = token

    def _refused(self, resource: Resource, answer: Answer) -> None:
        if answer.status in {401, 403}:
            told = f"no right to list {resource.plural}: {answer.message}"
        elif answer.status == 404 and resource in {POOLS, WORKLOADS}:
            told = f"the cluster knows no {resource.plural}: install Switchyard's CRDs first"
        else:
            told = f"{resource.plural} can't be listed: {answer.message}"
        if resource in {POOLS, WORKLOADS}:
            self.problems.append(told)
        else:
            self.notes.append(f"{told}; {_CONSEQUENCES[resource.plural]}")


def plan_cluster(kubeconfig: str | None, context: str | None) -> tuple[Planned, str]:
    """What the operator would decide now, and the namespace of the context. Raises BadInputError."""
    try:
        return asyncio.run(_plan(kubeconfig, context))
    except NoCluster as error:
        raise BadInputError([f"{error} Or give -f FILE to look at files."]) from None


async def _plan(kubeconfig: str | None, context: str | None) -> tuple[Planned, str]:
    connection = await connect(kubeconfig, context)
    try:
        reader = _Reader(connection)
        world = await _read(reader)
        namespace = connection.default_namespace
    finally:
        await connection.close()
    if reader.problems:
        raise BadInputError(reader.problems)
    catalog = load_catalog()
    unlimited: frozenset[str] = frozenset()
    notes = list(reader.notes)
    if any(f"list {NODES.plural}" in note for note in notes):
        made = give_devices(world, catalog, {})
        world, unlimited = made.world, made.unlimited
        notes += made.notes
    return make_plan(world, catalog, notes=tuple(notes), unlimited=unlimited), namespace


async def _read(reader: _Reader) -> World:
    plain = (POOLS, WORKLOADS, NODES, PODS, NAMESPACES, POD_TEMPLATES, RESOURCE_QUOTAS)
    lists = await asyncio.gather(
        *(reader.list(each) for each in plain),
        *(reader.list(each, MANAGED_SELECTOR) for each in CHILDREN),
    )
    pools, workloads, nodes, pods, namespaces, templates, quotas, *children = lists
    read = [*_project(pools, project_pool), *_project(workloads, project_workload)]
    return World(
        now=datetime.now(UTC),
        pools=tuple(sorted((each for each in read if isinstance(each, Pool)), key=_by_name)),
        workloads=tuple(sorted((each for each in read if isinstance(each, Workload)), key=_by_name)),
        unreadable=tuple(each for each in read if isinstance(each, Unreadable)),
        nodes=tuple(sorted(_project(nodes, project_node), key=lambda each: each.name)),
        pods=tuple(
            sorted(
                (each for each in _project(pods, project_pod) if each is not None),
                key=lambda each: (each.namespace, each.name),
            )
        ),
        children=tuple(
            sorted(
                (child for items in children for child in _project(items, project_child)),
                key=lambda each: (each.meta.namespace, each.meta.name, each.kind),
            )
        ),
        pod_templates=tuple(
            sorted(_project(templates, project_pod_template), key=lambda each: (each.namespace, each.name))
        ),
        namespaces={
            each["metadata"]["name"]: dict(each["metadata"].get("labels") or {}) for each in namespaces
        },
        quotas=tuple(
            sorted(
                (each for each in _project(quotas, project_quota) if each is not None),
                key=lambda each: (each.namespace, each.name),
            )
        ),
    )


def _project(bodies: list[Mapping[str, Any]], project: Callable[[Mapping[str, Any]], Any]) -> list[Any]:
    return [project(body) for body in bodies]


def _by_name(thing: Pool | Workload) -> tuple[str, str]:
    return (thing.meta.namespace, thing.meta.name)
