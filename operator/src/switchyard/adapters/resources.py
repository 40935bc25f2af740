"""The kinds that the operator touches: how the API addresses them and how the loop sees them."""

from __future__ import annotations

from dataclasses import dataclass

from switchyard.api import GROUP, VERSION
from switchyard.api.labels import MANAGED_BY

MANAGED_SELECTOR = f"{MANAGED_BY}=switchyard"


@dataclass(frozen=True, slots=True)
class Resource:
    group: str
    version: str
    plural: str
    kind: str
    is_namespaced: bool = True

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The path of the collection (all namespaces when none is given), an object or its subresource."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        middle = f"/namespaces/{namespace}" if self.is_namespaced and namespace else ""
        tail = "".join(f"/{part}" for part in (name, subresource) if part)
        return f"{root}{middle}/{self.plural}{tail}"


POOLS = Resource(GROUP, VERSION, "acceleratorpools", "AcceleratorPool", is_namespaced=False)
WORKLOADS = Resource(GROUP, VERSION, "inferenceworkloads", "InferenceWorkload")
PLANS = Resource(GROUP, VERSION, "cutoverplans", "CutoverPlan")
NODES = Resource("", "v1", "nodes", "Node", is_namespaced=False)
PODS = Resource("", "v1", "pods", "Pod")
NAMESPACES = Resource("", "v1", "namespaces", "Namespace", is_namespaced=False)
POD_TEMPLATES = Resource("", "v1", "podtemplates", "PodTemplate")
RESOURCE_QUOTAS = Resource("", "v1", "resourcequotas", "ResourceQuota")
DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment")
SERVICES = Resource("", "v1", "services", "Service")
DISRUPTION_BUDGETS = Resource("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget")
HTTP_ROUTES = Resource("gateway.networking.k8s.io", "v1", "httproutes", "HTTPRoute")
GATEWAYS = Resource("gateway.networking.k8s.io", "v1", "gateways", "Gateway")
GATEWAY_CLASSES = Resource(
    "gateway.networking.k8s.io", "v1", "gatewayclasses", "GatewayClass", is_namespaced=False
)
VIRTUAL_SERVICES = Resource("networking.istio.io", "v1", "virtualservices", "VirtualService")
EVENTS = Resource("", "v1", "events", "Event")
LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease")

CHILDREN = (DEPLOYMENTS, SERVICES, DISRUPTION_BUDGETS)
ROUTES = (HTTP_ROUTES, VIRTUAL_SERVICES)  # children too, where the cluster knows them
WATCHED = (POOLS, WORKLOADS, PLANS, NODES, PODS, NAMESPACES, POD_TEMPLATES, RESOURCE_QUOTAS, *CHILDREN)
BY_KIND = {resource.kind: resource for resource in (*WATCHED, *ROUTES, EVENTS, LEASES)}
