"""The kinds of routes in a sandbox under test, installed and removed at will."""

from __future__ import annotations

from e2e.providers import Cluster

from switchyard.adapters.resources import HTTP_ROUTES, VIRTUAL_SERVICES, Resource
from switchyard.sandbox.gateway.kinds import FAMILIES, build_definitions

from .operator_process import CRDS, wait_until

_BOTH = (HTTP_ROUTES, VIRTUAL_SERVICES)


def install_route_kinds(cluster: Cluster, *resources: Resource) -> None:
    """Returns when the kinds are served; both, when none is named."""
    names = {_name(each) for each in resources or _BOTH}
    for body in build_definitions(list(FAMILIES)):
        if body["metadata"]["name"] in names:
            answer = cluster.http.post(CRDS, body)
            assert answer.code in (201, 409), answer.text
    for each in resources or _BOTH:
        wait_until(f"{each.kind} is served", lambda each=each: cluster.http.get(each.path()).code == 200)


def remove_route_kinds(cluster: Cluster, *resources: Resource) -> None:
    """Returns when the kinds are gone."""
    for each in resources or _BOTH:
        cluster.http.delete(f"{CRDS}/{_name(each)}")
        wait_until(f"{each.kind} is gone", lambda each=each: cluster.http.get(each.path()).code == 404)


def _name(resource: Resource) -> str:
    return f"{resource.plural}.{resource.group}"
