"""The ways of routing that an operator has, all over one connection."""

from __future__ import annotations

from dataclasses import dataclass, field

from switchyard.adapters.connection import Connection
from switchyard.adapters.routing.admin_client import AdminClient
from switchyard.adapters.routing.builtin import BuiltinRouter
from switchyard.adapters.routing.comparator import ReplayComparator
from switchyard.adapters.routing.gateway_api import GatewayApiRouter
from switchyard.adapters.routing.istio import IstioRouter
from switchyard.adapters.routing.objects_access import ObjectsAccess
from switchyard.adapters.routing.router_key import RouterKey
from switchyard.core.cutover.types import Router
from switchyard.core.routing.router_objects import RouterForm
from switchyard.engine.routing import TrafficRouter


@dataclass
class Ways:
    """Every way by its name in a plan. `namespace`: the operator's own, where the key of its routers is."""

    connection: Connection
    namespace: str
    form: RouterForm
    admin: AdminClient = field(default_factory=AdminClient)

    def build(self) -> dict[Router, TrafficRouter]:
        """The routers; they share the client that asks router pods."""
        key = RouterKey(self.connection, self.namespace)
        comparator = ReplayComparator(ObjectsAccess(self.connection), key, self.admin, self.form)
        return {
            "builtin": BuiltinRouter(self.connection, key, self.form, self.admin),
            "gatewayAPI": GatewayApiRouter(self.connection, comparator),
            "istio": IstioRouter(self.connection, comparator),
        }

    async def close(self) -> None:
        """End what is open."""
        await self.admin.close()
