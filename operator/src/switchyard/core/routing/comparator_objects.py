"""The Service that mirrors send copies to: a pure builder. Its pods are router pods in replay mode."""

from __future__ import annotations

from typing import Any

from switchyard.api import labels
from switchyard.core.drift import seal
from switchyard.core.owned import build_owned_metadata
from switchyard.core.routing.plan import Target, TrafficPlan
from switchyard.core.routing.router_objects import COMPARATOR, name_router, select_routers


def find_comparator(plan: TrafficPlan) -> Target:
    """Where mirrors send copies; its pods listen on the port of the plan's baseline."""
    return Target(name_router(plan.workload, COMPARATOR), plan.baseline.port)


def build_comparator_service(plan: TrafficPlan) -> dict[str, Any]:
    """The Service in front of the comparator's pods."""
    target = find_comparator(plan)
    selector = select_routers(plan.workload, COMPARATOR)
    marks = {labels.MANAGED_BY: labels.MANAGER, **selector}
    port = {"name": "http", "port": target.port, "targetPort": target.port, "protocol": "TCP"}
    return seal(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": build_owned_metadata(
                plan.namespace, plan.workload, plan.workload_uid, target.service, marks
            ),
            "spec": {"type": "ClusterIP", "selector": selector, "ports": [port]},
        }
    )
