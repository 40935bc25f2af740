"""What of an object the loop keeps: bodies as the API sends them -> the types of `core.world`. Pure.

Pod requests follow the scheduler: containers and sidecars side by side, init containers one after the
other on top of the sidecars started before them, plus the overhead of the runtime class.
Source: kubernetes.io/docs/concepts/workloads/pods/sidecar-containers, "Resource sharing within containers".
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from switchyard.adapters.resources import PLANS, POOLS, WORKLOADS
from switchyard.api import ApiValueError, parse_pool, parse_workload
from switchyard.api.labels import TRAFFIC_HELD_BY
from switchyard.api.parsing import parse_plan
from switchyard.core.world import (
    Child,
    Meta,
    Node,
    Plan,
    Pod,
    PodTemplate,
    Pool,
    ResourceQuotaView,
    Taint,
    Unreadable,
    Workload,
)

Body = Mapping[str, Any]
Amounts = dict[str, float]  # resource name -> devices, or cores of cpu

_SUFFIXES = {
    "n": 1e-9, "u": 1e-6, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18,
    "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40, "Pi": 2.0**50, "Ei": 2.0**60,
}  # fmt: skip


# replicas run on, and ask for devices: BestEffort, Terminating and priority classes are others' pods
_SCOPES_OF_OURS = frozenset({"NotTerminating", "NotBestEffort"})


def project_pool(body: Body) -> Pool | Unreadable:
    """The pool, or what stands in the way of reading it."""
    try:
        parsed = parse_pool(body)
    except ApiValueError as error:
        return _unreadable(POOLS.kind, body, error)
    return Pool(project_meta(body), parsed.spec, parsed.status)


def project_workload(body: Body) -> Workload | Unreadable:
    """The workload, or what stands in the way of reading it."""
    try:
        parsed = parse_workload(body)
    except ApiValueError as error:
        return _unreadable(WORKLOADS.kind, body, error)
    return Workload(project_meta(body), parsed.spec, parsed.status)


def project_plan(body: Body) -> Plan | Unreadable:
    """The plan, or what stands in the way of reading it."""
    try:
        parsed = parse_plan(body)
    except ApiValueError as error:
        return _unreadable(PLANS.kind, body, error)
    return Plan(project_meta(body), parsed.spec, parsed.status)


def project_child(body: Body) -> Child:
    """The whole object but for managedFields, which no diff needs and which is most of its size.

    They are kept while the annotation says that somebody holds its traffic: they tell whether that is so.
    """
    is_marked = TRAFFIC_HELD_BY in (body["metadata"].get("annotations") or {})
    left_out = () if is_marked else ("managedFields",)
    metadata = {key: value for key, value in body["metadata"].items() if key not in left_out}
    return Child(
        api_version=str(body.get("apiVersion", "")),
        kind=str(body.get("kind", "")),
        meta=project_meta(body),
        owner_uid=controller_uid(body),
        body={**body, "metadata": metadata},
    )


def project_node(body: Body) -> Node:
    spec, status = body.get("spec") or {}, body.get("status") or {}
    conditions = {c["type"]: c["status"] for c in status.get("conditions") or ()}
    return Node(
        name=body["metadata"]["name"],
        labels=dict(body["metadata"].get("labels") or {}),
        taints=tuple(
            Taint(t["key"], t.get("value") or "", t["effect"])
            for t in spec.get("taints") or ()
            if "effect" in t
        ),
        capacity=_devices(status.get("capacity") or {}),
        allocatable=_devices(status.get("allocatable") or {}),
        is_ready=conditions.get("Ready") == "True",
        is_unschedulable=bool(spec.get("unschedulable")),
    )


def project_pod(body: Body) -> Pod | None:
    """The pod, or None when it neither holds nor wants devices: it ended, or asks for none."""
    spec, status, metadata = body.get("spec") or {}, body.get("status") or {}, body["metadata"]
    phase = str(status.get("phase") or "Pending")
    requests = {} if phase in ("Succeeded", "Failed") else pod_requests(spec)
    if not requests:
        return None
    conditions = {c["type"]: c for c in status.get("conditions") or ()}
    scheduled = conditions.get("PodScheduled") or {}
    ready = conditions.get("Ready") or {}
    is_refused = scheduled.get("status") == "False" and scheduled.get("reason") != "SchedulingGated"
    return Pod(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        labels=dict(metadata.get("labels") or {}),
        node_name=spec.get("nodeName") or "",
        phase=phase,
        is_ready=ready.get("status") == "True",
        is_deleting="deletionTimestamp" in metadata,
        requests=requests,
        unschedulable_message=scheduled.get("message") or "" if scheduled.get("status") == "False" else "",
        waiting_reason=_waiting_reason(status),
        owner_uid=controller_uid(body),
        address=str(status.get("podIP") or ""),
        created_at=_time(metadata.get("creationTimestamp")),
        unschedulable_since=_time(scheduled.get("lastTransitionTime")) if is_refused else None,
        scheduled_at=_time(scheduled.get("lastTransitionTime"))
        if scheduled.get("status") == "True"
        else None,
        restarts=sum(int(each.get("restartCount") or 0) for each in _container_statuses(status)),
        has_lost_readiness=_has_lost_readiness(status, ready),
    )


def project_quota(body: Body) -> ResourceQuotaView | None:
    """The limits on devices of a ResourceQuota, or None when it has none, or does not count our pods.

    A request for an extended resource can be limited as `requests.<name>` only; `cpu` under either name.
    """
    spec, status, metadata = body.get("spec") or {}, body.get("status") or {}, body["metadata"]
    if set(spec.get("scopes") or ()) - _SCOPES_OF_OURS or spec.get("scopeSelector"):
        return None
    hard = _devices(_requested(status.get("hard") or spec.get("hard") or {}))
    if not hard:
        return None
    used = {
        name: math.ceil(amount - 1e-9) for name, amount in _numbers(_requested(status.get("used"))).items()
    }
    return ResourceQuotaView(metadata["namespace"], metadata["name"], hard, used)


def _requested(quantities: Any) -> dict[str, Any]:
    """Quantities of a quota by resource name as in a pod's requests."""
    return {
        name.removeprefix("requests."): value for name, value in (quantities or {}).items() if _asks(name)
    }


def _asks(name: str) -> bool:
    return name == "cpu" or name.startswith("requests.")


def project_pod_template(body: Body) -> PodTemplate:
    metadata = body["metadata"]
    return PodTemplate(
        metadata["namespace"], metadata["name"], metadata["resourceVersion"], body.get("template") or {}
    )


def project_meta(body: Body) -> Meta:
    metadata = body["metadata"]
    return Meta(
        name=metadata["name"],
        namespace=metadata.get("namespace") or "",
        uid=metadata.get("uid") or "",
        resource_version=metadata.get("resourceVersion") or "",
        generation=int(metadata.get("generation") or 0),
        created_at=_time(metadata.get("creationTimestamp")),
        labels=dict(metadata.get("labels") or {}),
        is_deleting="deletionTimestamp" in metadata,
        finalizers=tuple(metadata.get("finalizers") or ()),
    )


def controller_uid(body: Body) -> str:
    """The uid of the owner that controls the object, empty when none does."""
    references = body["metadata"].get("ownerReferences") or ()
    return next((str(r.get("uid", "")) for r in references if r.get("controller")), "")


def pod_requests(spec: Body) -> dict[str, int]:
    """What the scheduler reserves for a pod: devices per extended resource, `cpu` in cores, rounded up."""
    running: Amounts = {}
    for container in spec.get("containers") or ():
        running = _sum(running, _container_requests(container))
    peak: Amounts = {}
    sidecars: Amounts = {}
    for container in spec.get("initContainers") or ():
        wants = _sum(sidecars, _container_requests(container))
        if container.get("restartPolicy") == "Always":
            sidecars = wants
        peak = _max(peak, wants)
    total = _max(_sum(running, sidecars), peak)
    pod_level = _numbers((spec.get("resources") or {}).get("requests") or {})
    total = _sum({**total, **pod_level}, _numbers(spec.get("overhead") or {}))
    # 1e-9 takes back what adding milli-cores as floats may have added
    return {name: math.ceil(amount - 1e-9) for name, amount in total.items() if amount > 0}


def _container_requests(container: Body) -> Amounts:
    resources = container.get("resources") or {}
    # a request that is not given is defaulted to the limit by the API server
    return _numbers({**(resources.get("limits") or {}), **(resources.get("requests") or {})})


def _numbers(quantities: Body) -> Amounts:
    return {name: _quantity(value) for name, value in quantities.items() if _is_counted(name)}


def _sum(left: Amounts, right: Amounts) -> Amounts:
    return {name: left.get(name, 0.0) + right.get(name, 0.0) for name in {**left, **right}}


def _max(left: Amounts, right: Amounts) -> Amounts:
    return {name: max(left.get(name, 0.0), right.get(name, 0.0)) for name in {**left, **right}}


def _devices(quantities: Body) -> dict[str, int]:
    return {name: math.floor(amount) for name, amount in _numbers(quantities).items()}


def _is_counted(resource: str) -> bool:
    """True for extended resources (they have a domain) and cpu."""
    return resource == "cpu" or "/" in resource


def _quantity(text: Any) -> float:
    """The number that a Kubernetes quantity stands for; 0 for what is none (the API server lets none in)."""
    text = str(text)
    for length in (2, 1):
        if text[-length:] in _SUFFIXES:
            text, scale = text[:-length], _SUFFIXES[text[-length:]]
            break
    else:
        scale = 1.0
    try:
        return float(text) * scale
    except ValueError:
        return 0.0


def _container_statuses(status: Body) -> list[Body]:
    return [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]


def _has_lost_readiness(status: Body, ready: Body) -> bool:
    """True when Ready turned False after all that runs had begun; of one that never was ready it is older."""
    changed_at = _time(ready.get("lastTransitionTime"))
    if ready.get("status") != "False" or changed_at is None:
        return False
    states = [each.get("state") or {} for each in status.get("containerStatuses") or ()]
    began = [_time((each.get("running") or {}).get("startedAt")) for each in states]
    known = [each for each in began if each is not None]
    return bool(known) and len(known) == len(began) and changed_at > max(known)


def _waiting_reason(status: Body) -> str:
    waiting = ((s.get("state") or {}).get("waiting") or {} for s in _container_statuses(status))
    return next((str(w["reason"]) for w in waiting if w.get("reason")), "")


def _unreadable(kind: str, body: Body, error: ApiValueError) -> Unreadable:
    return Unreadable(kind, project_meta(body), str(error), dict(body.get("status") or {}))


def _time(text: Any) -> datetime | None:
    return datetime.fromisoformat(text) if isinstance(text, str) else None
