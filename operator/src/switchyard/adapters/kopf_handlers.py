"""What wakes us: every kopf decorator of the operator. None writes: no finalizers, no annotations.

Indexes keep a projection per object, never the body; events only trigger the loop. kopf calls no event
handler before every index has been filled once: the first call is therefore the sign that the indexes
are complete (there is always a namespace to cause one). An index is named as its kind in the API.
"""

from __future__ import annotations

from typing import Any

import kopf

from switchyard.adapters.observed import Entry, ObjectName, WatchMemory, entry_of
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
    DEPLOYMENTS,
    DISRUPTION_BUDGETS,
    NAMESPACES,
    NODES,
    POD_TEMPLATES,
    PODS,
    POOLS,
    RESOURCE_QUOTAS,
    SERVICES,
    WORKLOADS,
    Resource,
)

# not kopf's global one: nothing else that is ever imported can add a handler that writes
registry = kopf.OperatorRegistry()


def _named(resource: Resource) -> dict[str, Any]:
    return {
        "group": resource.group,
        "version": resource.version,
        "plural": resource.plural,
        "registry": registry,
    }


@kopf.on.login(registry=registry)
async def login(memo: WatchMemory, **_: Any) -> kopf.ConnectionInfo:
    return await memo.connection.login()


@kopf.on.startup(registry=registry)
async def hand_over_indexes(memo: WatchMemory, **kwargs: Any) -> None:
    memo.take_indexes(kwargs)


@kopf.index(**_named(POOLS))
async def acceleratorpools(body: kopf.Body, **_: Any) -> dict[ObjectName, Entry]:
    return entry_of(body, project_pool)


@kopf.index(**_named(WORKLOADS))
async def inferenceworkloads(body: kopf.Body, **_: Any) -> dict[ObjectName, Entry]:
    return entry_of(body, project_workload)


@kopf.index(**_named(NODES))
async def nodes(body: kopf.Body, **_: Any) -> dict[ObjectName, Entry]:
    return entry_of(body, project_node)


@kopf.index(**_named(PODS))
async def pods(body: kopf.Body, **_: Any) -> dict[ObjectName, Entry]:
    return entry_of(body, project_pod)


@kopf.index(**_named(NAMESPACES))
async def namespaces(body: kopf.Body, **_: Any) -> dict[ObjectName, Entry]:
    return entry_of(body, lambda namespace: dict(namespace["metadata"].get("labels") or {}))


@kopf.index(**_named(POD_TEMPLATES))
async def podtemplates(body: kopf.Body, **_: Any) -> dict[ObjectName, Entry]:
    return entry_of(body, project_pod_template)


@kopf.index(**_named(RESOURCE_QUOTAS))
async def resourcequotas(body: kopf.Body, **_: Any) -> dict[ObjectName, Entry]:
    return entry_of(body, project_quota)


@kopf.index(**_named(DEPLOYMENTS))
async def deployments(body: kopf.Body, **_: Any) -> dict[ObjectName, Entry]:
    return entry_of(body, project_child)


@kopf.index(**_named(SERVICES))
async def services(body: kopf.Body, **_: Any) -> dict[ObjectName, Entry]:
    return entry_of(body, project_child)


@kopf.index(**_named(DISRUPTION_BUDGETS))
async def poddisruptionbudgets(body: kopf.Body, **_: Any) -> dict[ObjectName, Entry]:
    return entry_of(body, project_child)


@kopf.on.event(**_named(POOLS))
@kopf.on.event(**_named(WORKLOADS))
@kopf.on.event(**_named(NODES))
@kopf.on.event(**_named(PODS))
@kopf.on.event(**_named(NAMESPACES))
@kopf.on.event(**_named(POD_TEMPLATES))
@kopf.on.event(**_named(RESOURCE_QUOTAS))
@kopf.on.event(**_named(DEPLOYMENTS))
@kopf.on.event(**_named(SERVICES))
@kopf.on.event(**_named(DISRUPTION_BUDGETS))
async def wake(memo: WatchMemory, resource: kopf.Resource, **_: Any) -> None:
    memo.woken_by(resource.plural)
