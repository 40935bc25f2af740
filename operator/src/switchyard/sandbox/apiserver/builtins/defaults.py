"""What an object of a built-in kind contains when its author did not say; pods' specs are in `pod_defaults`.

Source: the defaults.go of each group of k8s.io/kubernetes/pkg/apis. A field that Go writes even when it is
empty (no omitempty) is written here too, since clients see it.
"""

from __future__ import annotations

import base64
from collections.abc import Callable

from switchyard.sandbox.apiserver.builtins.pod_defaults import default_pod, default_pod_template
from switchyard.sandbox.apiserver.resources import Json, ResourceInfo


def default_object(info: ResourceInfo, obj: Json) -> None:
    """Fills in the defaults of an object whose types are known to fit (see `decoding`), in place."""
    fill = _BY_KIND.get((info.group, info.kind))
    if fill is not None:
        fill(obj)


def _part(obj: Json, name: str) -> Json:
    """The object below a field, put there if it is missing."""
    if obj.get(name) is None:
        obj[name] = {}
    part: Json = obj[name]
    return part


def _put(obj: Json, **values: object) -> None:
    for name, value in values.items():
        if obj.get(name) is None:
            obj[name] = value


def _pod(obj: Json) -> None:
    default_pod(_part(obj, "spec"))
    for condition in _part(obj, "status").get("conditions") or ():
        condition.setdefault("lastProbeTime", None)
        condition.setdefault("lastTransitionTime", None)
    status = obj["status"]
    if status.get("podIP") and not status.get("podIPs"):
        status["podIPs"] = [{"ip": status["podIP"]}]
    if status.get("hostIP") and not status.get("hostIPs"):
        status["hostIPs"] = [{"ip": status["hostIP"]}]


def _template(spec: Json) -> None:
    template = _part(spec, "template")
    _part(template, "metadata")
    default_pod_template(_part(template, "spec"))


def _deployment(obj: Json) -> None:
    spec = _part(obj, "spec")
    _template(spec)
    _put(spec, replicas=1, revisionHistoryLimit=10, progressDeadlineSeconds=600)
    strategy = _part(spec, "strategy")
    _put(strategy, type="RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        _put(_part(strategy, "rollingUpdate"), maxSurge="25%", maxUnavailable="25%")
    _part(obj, "status")


def _replica_set(obj: Json) -> None:
    spec = _part(obj, "spec")
    if spec.get("template") is not None:
        _template(spec)
    _put(spec, replicas=1)
    _put(_part(obj, "status"), replicas=0)


def _stateful_set(obj: Json) -> None:
    spec = _part(obj, "spec")
    _template(spec)
    _put(spec, replicas=1, revisionHistoryLimit=10, podManagementPolicy="OrderedReady", serviceName="")
    strategy = _part(spec, "updateStrategy")
    _put(strategy, type="RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        _put(_part(strategy, "rollingUpdate"), partition=0)
    _put(_part(spec, "persistentVolumeClaimRetentionPolicy"), whenDeleted="Retain", whenScaled="Retain")
    _put(_part(obj, "status"), replicas=0, availableReplicas=0)


def _daemon_set(obj: Json) -> None:
    spec = _part(obj, "spec")
    _template(spec)
    _put(spec, revisionHistoryLimit=10)
    strategy = _part(spec, "updateStrategy")
    _put(strategy, type="RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        _put(_part(strategy, "rollingUpdate"), maxSurge=0, maxUnavailable=1)
    _put(
        _part(obj, "status"),
        currentNumberScheduled=0,
        numberMisscheduled=0,
        desiredNumberScheduled=0,
        numberReady=0,
    )


def _job_spec(spec: Json) -> None:
    _template(spec)
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = 1
    _put(
        spec, parallelism=1, backoffLimit=6, completionMode="NonIndexed", suspend=False, manualSelector=False
    )
    _put(spec, podReplacementPolicy="TerminatingOrFailed")


def _job(obj: Json) -> None:
    _job_spec(_part(obj, "spec"))
    _part(obj, "status")


def _cron_job(obj: Json) -> None:
    spec = _part(obj, "spec")
    _put(
        spec, concurrencyPolicy="Allow", suspend=False, successfulJobsHistoryLimit=3, failedJobsHistoryLimit=1
    )
    template = _part(spec, "jobTemplate")
    _part(template, "metadata")
    job = _part(template, "spec")
    default_pod_template(_part(_part(job, "template"), "spec"))
    _part(job["template"], "metadata")
    _part(obj, "status")


def _service(obj: Json) -> None:
    spec = _part(obj, "spec")
    _put(spec, sessionAffinity="None", type="ClusterIP")
    if spec["sessionAffinity"] == "ClientIP":
        _put(_part(_part(spec, "sessionAffinityConfig"), "clientIP"), timeoutSeconds=10800)
    for port in spec.get("ports") or ():
        _put(port, protocol="TCP")
        if port.get("targetPort") in (None, "", 0) and "port" in port:
            port["targetPort"] = port["port"]
    if spec["type"] in ("NodePort", "LoadBalancer"):
        _put(spec, externalTrafficPolicy="Cluster")
    if spec["type"] == "LoadBalancer":
        _put(spec, allocateLoadBalancerNodePorts=True)
    if spec["type"] != "ExternalName":
        _put(spec, internalTrafficPolicy="Cluster")
    _part(_part(obj, "status"), "loadBalancer")


_NODE_INFO = (
    "architecture",
    "bootID",
    "containerRuntimeVersion",
    "kernelVersion",
    "kubeProxyVersion",
    "kubeletVersion",
    "machineID",
    "operatingSystem",
    "osImage",
    "systemUUID",
)


def _node(obj: Json) -> None:
    _part(obj, "spec")
    status = _part(obj, "status")
    if status.get("capacity") and not status.get("allocatable"):
        status["allocatable"] = dict(status["capacity"])
    _put(_part(_part(status, "daemonEndpoints"), "kubeletEndpoint"), Port=0)
    _put(_part(status, "nodeInfo"), **dict.fromkeys(_NODE_INFO, ""))
    for condition in status.get("conditions") or ():
        condition.setdefault("lastHeartbeatTime", None)
        condition.setdefault("lastTransitionTime", None)


def _namespace(obj: Json) -> None:
    _part(obj, "spec")
    _put(_part(obj, "status"), phase="Active")
    if name := obj.get("metadata", {}).get("name"):
        _put(_part(obj["metadata"], "labels"), **{"kubernetes.io/metadata.name": name})


def _secret(obj: Json) -> None:
    _put(obj, type="Opaque")
    if written := obj.pop("stringData", None):
        encoded = {name: base64.b64encode(text.encode()).decode() for name, text in written.items()}
        obj["data"] = {**(obj.get("data") or {}), **encoded}


def _quota(obj: Json) -> None:
    _part(obj, "spec")
    _part(obj, "status")


def _pvc(obj: Json) -> None:
    _put(_part(obj, "spec"), volumeMode="Filesystem")
    _put(_part(obj, "status"), phase="Pending")


def _pv(obj: Json) -> None:
    _put(_part(obj, "spec"), volumeMode="Filesystem", persistentVolumeReclaimPolicy="Retain")
    _put(_part(obj, "status"), phase="Pending")


def _event(obj: Json) -> None:
    for name in ("eventTime", "firstTimestamp", "lastTimestamp"):
        obj.setdefault(name, None)
    for name in ("reportingComponent", "reportingInstance"):
        _put(obj, **{name: ""})
    _part(obj, "source")
    _part(obj, "involvedObject")


def _new_event(obj: Json) -> None:
    for name in ("eventTime", "deprecatedFirstTimestamp", "deprecatedLastTimestamp"):
        obj.setdefault(name, None)
    _part(obj, "deprecatedSource")
    _part(obj, "regarding")


def _pod_template(obj: Json) -> None:
    _template(obj)


def _disruption_budget(obj: Json) -> None:
    _part(obj, "spec")
    _put(_part(obj, "status"), disruptionsAllowed=0, currentHealthy=0, desiredHealthy=0, expectedPods=0)


_SCALE_UP = {
    "stabilizationWindowSeconds": 0,
    "selectPolicy": "Max",
    "policies": [
        {"type": "Pods", "value": 4, "periodSeconds": 15},
        {"type": "Percent", "value": 100, "periodSeconds": 15},
    ],
}
_SCALE_DOWN = {"selectPolicy": "Max", "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}]}


def _autoscaler(obj: Json) -> None:
    spec = _part(obj, "spec")
    _put(spec, minReplicas=1)
    if not spec.get("metrics"):
        target = {"type": "Utilization", "averageUtilization": 80}
        spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    if behavior := spec.get("behavior"):
        for field, rules in (("scaleUp", _SCALE_UP), ("scaleDown", _SCALE_DOWN)):
            _put(_part(behavior, field), **rules)
    status = _part(obj, "status")
    status.setdefault("currentMetrics", None)
    _put(status, desiredReplicas=0)


def _role(obj: Json) -> None:
    obj.setdefault("rules", None)


def _binding(obj: Json) -> None:
    reference = _part(obj, "roleRef")
    _put(reference, apiGroup="rbac.authorization.k8s.io")
    for subject in obj.get("subjects") or ():
        if subject.get("kind") in ("User", "Group"):
            _put(subject, apiGroup="rbac.authorization.k8s.io")


def _lease(obj: Json) -> None:
    _part(obj, "spec")


def _endpoint_slice(obj: Json) -> None:
    obj.setdefault("endpoints", None)
    obj.setdefault("ports", None)
    for port in obj["ports"] or ():
        _put(port, name="", protocol="TCP")
    for endpoint in obj["endpoints"] or ():
        _part(endpoint, "conditions")


def _endpoints(obj: Json) -> None:
    for subset in obj.get("subsets") or ():
        for port in subset.get("ports") or ():
            _put(port, protocol="TCP")


def _network_policy(obj: Json) -> None:
    spec = _part(obj, "spec")
    _part(spec, "podSelector")
    for rule in (*(spec.get("ingress") or ()), *(spec.get("egress") or ())):
        for port in rule.get("ports") or ():
            _put(port, protocol="TCP")
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", *(["Egress"] if spec.get("egress") else [])]


def _ingress(obj: Json) -> None:
    _part(_part(obj, "status"), "loadBalancer")


def _storage_class(obj: Json) -> None:
    _put(obj, reclaimPolicy="Delete", volumeBindingMode="Immediate")


def _priority_class(obj: Json) -> None:
    _put(obj, preemptionPolicy="PreemptLowerPriority")


_BY_KIND: dict[tuple[str, str], Callable[[Json], None]] = {
    ("", "Pod"): _pod,
    ("", "PodTemplate"): _pod_template,
    ("", "Service"): _service,
    ("", "Node"): _node,
    ("", "Namespace"): _namespace,
    ("", "Secret"): _secret,
    ("", "ResourceQuota"): _quota,
    ("", "PersistentVolumeClaim"): _pvc,
    ("", "PersistentVolume"): _pv,
    ("", "Event"): _event,
    ("", "Endpoints"): _endpoints,
    ("apps", "Deployment"): _deployment,
    ("apps", "ReplicaSet"): _replica_set,
    ("apps", "StatefulSet"): _stateful_set,
    ("apps", "DaemonSet"): _daemon_set,
    ("batch", "Job"): _job,
    ("batch", "CronJob"): _cron_job,
    ("events.k8s.io", "Event"): _new_event,
    ("autoscaling", "HorizontalPodAutoscaler"): _autoscaler,
    ("policy", "PodDisruptionBudget"): _disruption_budget,
    ("coordination.k8s.io", "Lease"): _lease,
    ("discovery.k8s.io", "EndpointSlice"): _endpoint_slice,
    ("networking.k8s.io", "NetworkPolicy"): _network_policy,
    ("networking.k8s.io", "Ingress"): _ingress,
    ("storage.k8s.io", "StorageClass"): _storage_class,
    ("scheduling.k8s.io", "PriorityClass"): _priority_class,
    ("rbac.authorization.k8s.io", "Role"): _role,
    ("rbac.authorization.k8s.io", "ClusterRole"): _role,
    ("rbac.authorization.k8s.io", "RoleBinding"): _binding,
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): _binding,
}
