"""CRDs of the two kinds of routes, as small as a server takes them: content is kept, not judged."""

from __future__ import annotations

from typing import Any

from e2e.providers import Cluster

from switchyard.adapters.resources import HTTP_ROUTES, VIRTUAL_SERVICES, Resource

from .operator_process import CRDS, wait_until


def build_route_definition(resource: Resource) -> dict[str, Any]:
    """A CRD for the kind, with status as a subresource."""
    part = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{resource.plural}.{resource.group}",
            "annotations": {"api-approved.kubernetes.io": "unapproved, for tests"},
        },
        "spec": {
            "group": resource.group,
            "scope": "Namespaced",
            "names": {
                "kind": resource.kind,
                "plural": resource.plural,
                "singular": resource.kind.lower(),
                "listKind": f"{resource.kind}List",
            },
            "versions": [
                {
                    "name": resource.version,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "schema": {
                        "openAPIV3Schema": {"type": "object", "properties": {"spec": part, "status": part}}
                    },
                }
            ],
        },
    }


def install_route_kinds(cluster: Cluster, *resources: Resource) -> None:
    """Returns when the kinds are served; both, when none is named."""
    for resource in resources or (HTTP_ROUTES, VIRTUAL_SERVICES):
        answer = cluster.http.post(CRDS, build_route_definition(resource))
        assert answer.code in (201, 409), answer.text
        wait_until(
            f"{resource.kind} is served",
            lambda resource=resource: cluster.http.get(resource.path()).code == 200,
        )


def remove_route_kinds(cluster: Cluster, *resources: Resource) -> None:
    """Returns when the kinds are gone."""
    for resource in resources or (HTTP_ROUTES, VIRTUAL_SERVICES):
        cluster.http.delete(f"{CRDS}/{resource.plural}.{resource.group}")
        wait_until(
            f"{resource.kind} is gone",
            lambda resource=resource: cluster.http.get(resource.path()).code == 404,
        )
