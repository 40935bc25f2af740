"""What the server itself puts into objects of built-in kinds on their way into the store.

Such as a new pod's phase, QoS class, priority and tolerations, a new node's taint, a Service's address.
Source: the strategies of k8s.io/kubernetes/pkg/registry and the admission plug-ins Priority,
DefaultTolerationSeconds and TaintNodesByCondition.
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Callable, Iterable

from switchyard.sandbox.apiserver.builtins.pod_defaults import containers_of
from switchyard.sandbox.apiserver.builtins.quantities import parse_quantity
from switchyard.sandbox.apiserver.errors import ApiError, forbidden
from switchyard.sandbox.apiserver.resources import Json, ResourceInfo

# Addresses of Services are loopback addresses: what forwards them listens there without any privilege.
SERVICE_NETWORK = ipaddress.ip_network("127.96.0.0/12")
NODE_PORTS = range(30000, 32768)
_TOLERATION_SECONDS = 300
_NOT_READY = {"effect": "NoSchedule", "key": "node.kubernetes.io/not-ready"}

ServiceList = Callable[[], Iterable[Json]]
PriorityClasses = Callable[[], Iterable[Json]]


def prepare_pod(info: ResourceInfo, pod: Json, classes: PriorityClasses) -> None:
    """Gives a new pod its status, priority and tolerations, in place. Raises 403 for an unknown PriorityClass."""
    spec: Json = pod["spec"]
    pod["status"] = {"phase": "Pending", "qosClass": qos_class(spec)}
    if spec.get("schedulingGates"):
        gated = {
            "type": "PodScheduled",
            "status": "False",
            "reason": "SchedulingGated",
            "message": "Scheduling is blocked due to non-empty scheduling gates",
            "lastProbeTime": None,
            "lastTransitionTime": None,
        }
        pod["status"]["conditions"] = [gated]
    tolerations = spec.setdefault("tolerations", [])
    for key in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"):
        if not any(_tolerates(toleration, key) for toleration in tolerations):
            tolerations.append(
                {
                    "effect": "NoExecute",
                    "key": key,
                    "operator": "Exists",
                    "tolerationSeconds": _TOLERATION_SECONDS,
                }
            )
    _set_priority(info, pod, list(classes()))


def _tolerates(toleration: Json, key: str) -> bool:
    return toleration.get("key", "") in ("", key) and toleration.get("effect", "") in ("", "NoExecute")


def _set_priority(info: ResourceInfo, pod: Json, classes: list[Json]) -> None:
    spec = pod["spec"]
    wanted = spec.get("priorityClassName")
    if wanted:
        found = next((c for c in classes if c["metadata"]["name"] == wanted), None)
        if found is None:
            raise forbidden(
                info, pod["metadata"].get("name", ""), f"no PriorityClass with name {wanted} was found"
            )
    else:
        found = next((c for c in classes if c.get("globalDefault")), None)
        if found is not None:
            spec["priorityClassName"] = found["metadata"]["name"]
    spec["priority"] = found.get("value", 0) if found else 0
    spec.setdefault("preemptionPolicy", (found or {}).get("preemptionPolicy", "PreemptLowerPriority"))


def qos_class(spec: Json) -> str:
    """Guaranteed, Burstable or BestEffort, from the cpu and memory of a pod's containers."""
    amounts: list[tuple[Json, Json]] = []
    for container in containers_of(spec):
        resources = container.get("resources") or {}
        amounts.append((_counted(resources.get("requests")), _counted(resources.get("limits"))))
    if not any(requests or limits for requests, limits in amounts):
        return "BestEffort"
    is_guaranteed = all(
        set(limits) == {"cpu", "memory"} and requests == limits for requests, limits in amounts
    )
    return "Guaranteed" if is_guaranteed else "Burstable"


def _counted(amounts: Json | None) -> Json:
    return {
        name: str(parse_quantity(amount))
        for name, amount in (amounts or {}).items()
        if name in ("cpu", "memory") and parse_quantity(amount).value
    }


def prepare_node(node: Json) -> None:
    """Taints a new node as not ready, as a real server does until a controller finds it ready."""
    taints = node["spec"].setdefault("taints", [])
    if not any(t.get("key") == _NOT_READY["key"] and t.get("effect") == _NOT_READY["effect"] for t in taints):
        taints.append(dict(_NOT_READY))


def prepare_namespace(namespace: Json) -> None:
    """Gives a new namespace its finalizer and phase."""
    finalizers = namespace["spec"].setdefault("finalizers", [])
    if "kubernetes" not in finalizers:
        finalizers.append("kubernetes")
    namespace["status"] = {"phase": "Active"}


def prepare_service(service: Json, old: Json | None, services: ServiceList) -> None:
    """Gives a Service its addresses and node ports and keeps those it has, in place. Raises 422 for a taken one."""
    spec = service["spec"]
    if spec["type"] == "ExternalName":
        for field in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"):
            spec.pop(field, None)
        return
    before = (old or {}).get("spec", {})
    if not spec.get("clusterIP"):
        spec["clusterIP"] = before.get("clusterIP", "")
    if spec["clusterIP"] != before.get("clusterIP") and spec.get("clusterIPs") == before.get("clusterIPs"):
        spec.pop("clusterIPs", None)
    if not spec["clusterIP"]:
        spec["clusterIP"] = _free_address({s["spec"].get("clusterIP", "") for s in services()})
    spec.setdefault("clusterIPs", [spec["clusterIP"]])
    spec.setdefault("ipFamilies", ["IPv4"])
    spec.setdefault("ipFamilyPolicy", "SingleStack")
    if spec["type"] in ("NodePort", "LoadBalancer"):
        _set_node_ports(spec, before, services)
    else:
        for port in spec.get("ports") or ():
            if port.get("nodePort") and before.get("type") in ("NodePort", "LoadBalancer"):
                del port["nodePort"]


def _free_address(taken: set[str]) -> str:
    while True:
        host = random.randrange(10, SERVICE_NETWORK.num_addresses - 1)  # noqa: S311  # an address, not a secret
        address = str(SERVICE_NETWORK[host])
        if address not in taken:
            return address


def _set_node_ports(spec: Json, before: Json, services: ServiceList) -> None:
    kept = {
        (p.get("protocol"), p["port"]): p["nodePort"] for p in before.get("ports") or () if "nodePort" in p
    }
    taken = {p.get("nodePort") for s in services() for p in s["spec"].get("ports") or ()}
    taken |= {port.get("nodePort") for port in spec.get("ports") or ()}
    free = [number for number in NODE_PORTS if number not in taken]
    for port in spec.get("ports") or ():
        if port.get("nodePort"):
            continue
        port["nodePort"] = kept.get((port.get("protocol"), port.get("port"))) or random.choice(free)  # noqa: S311  # a port, not a secret


def check_pod_service_account(info: ResourceInfo, pod: Json, is_there: Callable[[str], bool]) -> None:
    """Raises 403 for a pod that names a service account which does not exist."""
    name = pod["spec"].get("serviceAccountName")
    if name and name != "default" and not is_there(name):
        namespace = pod["metadata"].get("namespace", "")
        raise _no_account(
            info,
            pod,
            f'error looking up service account {namespace}/{name}: serviceaccount "{name}" not found',
        )


def _no_account(info: ResourceInfo, pod: Json, why: str) -> ApiError:
    return forbidden(info, pod["metadata"].get("name", ""), why)
