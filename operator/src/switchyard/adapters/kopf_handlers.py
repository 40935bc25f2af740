"""What wakes us: every kopf handler of the operator. None writes: no finalizers, no annotations.

Indexes keep a projection per object, never the body; events only trigger the loop. kopf calls no event
handler before every index has been filled once: the first call is therefore the sign that the indexes
are complete (there is always a namespace to cause one). An index is named as its kind in the API.

A kind that the cluster does not serve has no handler: kopf would wait for none of its lists, and warn of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import kopf

from switchyard.adapters.observed import Entry, ObjectName, WatchMemory, entry_of
from switchyard.adapters.projection import (
    project_child,
    project_node,
    project_plan,
    project_pod,
    project_pod_template,
    project_pool,
    project_quota,
    project_workload,
)
from switchyard.adapters.resources import (
    CHILDREN,
    NAMESPACES,
    NODES,
    PLANS,
    POD_TEMPLATES,
    PODS,
    POOLS,
    RESOURCE_QUOTAS,
    ROUTES,
    WORKLOADS,
    Resource,
)

_PROJECTIONS: Mapping[Resource, Callable[[Mapping[str, Any]], Any]] = {
    POOLS: project_pool,
    WORKLOADS: project_workload,
    PLANS: project_plan,
    NODES: project_node,
    PODS: project_pod,
    NAMESPACES: lambda namespace: dict(namespace["metadata"].get("labels") or {}),
    POD_TEMPLATES: project_pod_template,
    RESOURCE_QUOTAS: project_quota,
    **dict.fromkeys((*CHILDREN, *ROUTES), project_child),
}


def build_registry(resources: Iterable[Resource]) -> kopf.OperatorRegistry:
    """Handlers for these kinds, in a registry of their own.

    Not kopf's global one: nothing else that is ever imported can add a handler that writes.
    """
    registry = kopf.OperatorRegistry()
    kopf.on.login(registry=registry)(login)
    kopf.on.startup(registry=registry)(hand_over_indexes)
    for resource in resources:
        address: dict[str, Any] = {
            "group": resource.group,
            "version": resource.version,
            "plural": resource.plural,
            "registry": registry,
        }
        kopf.index(id=resource.plural, **address)(_build_index(_PROJECTIONS[resource]))
        kopf.on.event(**address)(wake)
    return registry


async def login(memo: WatchMemory, **_: Any) -> kopf.ConnectionInfo:
    """The way in that our own connection has; credentials are read anew."""
    connection = memo.connection
    await connection.reload()
    conf = connection.configuration
    token = await conf.get_api_key_with_prefix("BearerToken", alias="authorization") or ""
    scheme, __, value = token.rpartition(" ")
    return kopf.ConnectionInfo(
        server=conf.host,
        ca_path=conf.ssl_ca_cert,
        insecure=not conf.verify_ssl,
        username=conf.username or None,
        password=conf.password or None,
        scheme=scheme or None,
        token=value or None,
        certificate_path=conf.cert_file,
        private_key_path=conf.key_file,
        proxy_url=conf.proxy,
        default_namespace=connection.default_namespace,
    )


async def hand_over_indexes(memo: WatchMemory, **kwargs: Any) -> None:
    memo.take_indexes(kwargs)


async def wake(memo: WatchMemory, resource: kopf.Resource, **_: Any) -> None:
    memo.woken_by(resource.plural)


def _build_index(project: Callable[[Mapping[str, Any]], Any]) -> Any:
    async def index(body: kopf.Body, **_: Any) -> dict[ObjectName, Entry]:
        return entry_of(body, project)

    return index
