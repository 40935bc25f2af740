"""The rules of ClusterRoles that are made of others.

Source: k8s.io/kubernetes/pkg/controller/clusterroleaggregation.
"""

from __future__ import annotations

from collections.abc import Iterable

from switchyard.sandbox.client import CLUSTER_ROLES, ApiClient, Json
from switchyard.sandbox.cluster.controller import WorkQueue
from switchyard.sandbox.cluster.informer import Informer
from switchyard.sandbox.cluster.selectors import matches_selector


class AggregationController:
    """Writes into every role with an aggregationRule what the roles it selects allow."""

    def __init__(self, client: ApiClient, roles: Informer) -> None:
        self._client = client.as_agent("clusterrole-aggregation-controller")
        self._roles = roles
        self.queue: WorkQueue[str] = WorkQueue("aggregation", self._sync, workers=1)
        roles.add_handler(self._changed)

    def _changed(self, _old: Json | None, _new: Json | None) -> None:
        for role in self._roles.values():
            if role.get("aggregationRule"):
                self.queue.add(_name(role))

    async def _sync(self, name: str) -> None:
        role = self._roles.get("", name)
        if role is None or not role.get("aggregationRule"):
            return
        rules = gather_rules(role, self._roles.values())
        if rules != (role.get("rules") or []):
            # Not an apply, as upstream does it: that would create a role anew which was just deleted.
            version = {"resourceVersion": role["metadata"]["resourceVersion"]}
            patch = {"metadata": version, "rules": rules}
            self._roles.observe(await self._client.patch(CLUSTER_ROLES, "", name, patch))


def gather_rules(role: Json, roles: Iterable[Json]) -> list[Json]:
    """The rules of the other roles that `role` selects: selector by selector, by name, each rule once."""
    ordered = sorted((other for other in roles if _name(other) != _name(role)), key=_name)
    rules: list[Json] = []
    for selector in role["aggregationRule"].get("clusterRoleSelectors") or ():
        for other in ordered:
            if matches_selector(selector, other["metadata"].get("labels") or {}):
                for rule in other.get("rules") or ():
                    if rule not in rules:
                        rules.append(rule)
    return rules


def _name(role: Json) -> str:
    name: str = role["metadata"]["name"]
    return name
