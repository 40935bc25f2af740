"""What is wrong with the other built-in kinds: Service, Node, ConfigMap, Secret, Lease, Event, RBAC, slices.

Source: k8s.io/kubernetes/pkg/apis/{core,coordination,events,rbac,discovery}/validation.
"""

from __future__ import annotations

from switchyard.sandbox.apiserver.builtins.field_errors import (
    Errors,
    config_keys,
    dns_label,
    duplicate,
    forbidden,
    immutable,
    invalid,
    is_dns_subdomain,
    is_qualified_name,
    label_map,
    non_negative,
    not_supported,
    one_of,
    port_name,
    port_number,
    required,
    too_long,
)
from switchyard.sandbox.apiserver.builtins.resource_amounts import check_node_amounts, check_quota
from switchyard.sandbox.apiserver.resources import Json

MAX_DATA_BYTES = 1024 * 1024
_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_RBAC = "rbac.authorization.k8s.io"


def check_service(new: Json, old: Json | None) -> Errors:
    """Nothing for a Service that can be stored."""
    spec = new["spec"]
    kind = spec.get("type")
    yield from one_of("spec.type", kind, _TYPES)
    ports = spec.get("ports") or []
    if not ports and kind != "ExternalName" and spec.get("clusterIP") != "None":
        yield required("spec.ports")
    if kind == "ExternalName":
        if not is_dns_subdomain((spec.get("externalName") or "").rstrip(".")):
            yield invalid(
                "spec.externalName",
                spec.get("externalName", ""),
                "a lowercase RFC 1123 subdomain must consist of lower case letters, digits, '-' or '.'",
            )
        if spec.get("clusterIP"):
            yield forbidden("spec.clusterIPs", "may not be set for ExternalName services")
    if kind in ("NodePort", "LoadBalancer") and spec.get("clusterIP") == "None":
        yield invalid("spec.clusterIPs[0]", "None", f"may not be set to 'None' for {kind} services")
    yield from _check_service_ports(ports, is_node_port=kind in ("NodePort", "LoadBalancer"))
    yield from label_map("spec.selector", spec.get("selector"))
    yield from one_of("spec.sessionAffinity", spec.get("sessionAffinity"), ("ClientIP", "None"))
    if old is not None:
        yield from _check_cluster_ip(spec, old["spec"])


def _check_service_ports(ports: list[Json], *, is_node_port: bool) -> Errors:
    names: set[str] = set()
    seen: set[tuple[object, object]] = set()
    for index, port in enumerate(ports):
        path = f"spec.ports[{index}]"
        name = port.get("name", "")
        if len(ports) > 1 or name:
            yield from dns_label(f"{path}.name", name)
        if name and name in names:
            yield duplicate(f"{path}.name", name)
        names.add(name)
        yield from port_number(f"{path}.port", port.get("port", 0))
        yield from one_of(f"{path}.protocol", port.get("protocol"), ("SCTP", "TCP", "UDP"))
        target = port.get("targetPort")
        if isinstance(target, str):
            yield from port_name(f"{path}.targetPort", target)
        elif target is not None:
            yield from port_number(f"{path}.targetPort", target)
        if port.get("nodePort") and not is_node_port:
            yield forbidden(f"{path}.nodePort", "may not be used when `type` is 'ClusterIP'")
        key = (port.get("protocol"), port.get("port"))
        if key in seen:
            yield duplicate(path, {"port": port.get("port"), "protocol": port.get("protocol")})
        seen.add(key)


def _check_cluster_ip(new: Json, old: Json) -> Errors:
    if "ExternalName" in (new.get("type"), old.get("type")):
        return
    before, after = old.get("clusterIPs") or [], new.get("clusterIPs") or []
    if before and after[:1] != before[:1]:
        yield invalid("spec.clusterIPs[0]", after, "may not change once set")


def check_node(new: Json, old: Json | None) -> Errors:
    """Nothing for a Node that can be stored."""
    seen: set[tuple[object, object]] = set()
    for index, taint in enumerate(new["spec"].get("taints") or ()):
        path = f"metadata.taints[{index}]"  # so a real server names the field
        if not is_qualified_name(taint.get("key", "")):
            yield invalid(f"{path}.key", taint.get("key", ""), "name part must be non-empty")
        yield from one_of(f"{path}.effect", taint.get("effect"), _EFFECTS)
        key = (taint.get("key"), taint.get("effect"))
        if key in seen:
            yield duplicate(path, taint)
        seen.add(key)
    yield from check_node_amounts(new.get("status") or {})
    given = old["spec"].get("providerID") if old is not None else None
    if given and new["spec"].get("providerID") != given:
        yield forbidden("spec.providerID", 'node updates may not change providerID except from "" to valid')


def check_config_map(new: Json, old: Json | None) -> Errors:
    """Nothing for a ConfigMap that can be stored."""
    data, binary = new.get("data") or {}, new.get("binaryData") or {}
    yield from config_keys("data", data)
    yield from config_keys("binaryData", binary)
    for key in data.keys() & binary.keys():
        yield invalid("data", key, "duplicate of key present in binaryData")
    yield from _check_size(
        sum(len(v.encode()) for v in data.values()) + sum(len(v) * 3 // 4 for v in binary.values()), ""
    )
    yield from _check_frozen(new, old, ("data", "binaryData"))


def check_secret(new: Json, old: Json | None) -> Errors:
    """Nothing for a Secret that can be stored."""
    data = new.get("data") or {}
    yield from config_keys("data", data)
    yield from _check_size(sum(len(v) * 3 // 4 for v in data.values()), "data")
    if new.get("type") == "kubernetes.io/tls":
        for key in ("tls.crt", "tls.key"):
            if key not in data:
                yield required(f"data[{key}]")
    if old is not None:
        yield from immutable("type", new.get("type"), old.get("type"))
    yield from _check_frozen(new, old, ("data",))


def _check_size(size_bytes: int, field: str) -> Errors:
    if size_bytes > MAX_DATA_BYTES:
        yield too_long(field, MAX_DATA_BYTES)


def _check_frozen(new: Json, old: Json | None, fields: tuple[str, ...]) -> Errors:
    if old is None or not old.get("immutable"):
        return
    if not new.get("immutable"):
        yield forbidden("immutable", "field is immutable when `immutable` is set")
    for field in fields:
        if new.get(field) != old.get(field):
            yield forbidden(field, "field is immutable when `immutable` is set")


def check_lease(new: Json, old: Json | None) -> Errors:
    """Nothing for a Lease that can be stored."""
    del old
    spec = new["spec"]
    duration = spec.get("leaseDurationSeconds")
    if duration is not None and duration <= 0:
        yield invalid("spec.leaseDurationSeconds", duration, "must be greater than 0")
    yield from non_negative("spec.leaseTransitions", spec.get("leaseTransitions"))


def check_event(new: Json, old: Json | None) -> Errors:
    """Nothing for an Event, as the core group shows it, that can be stored."""
    namespace = new["metadata"].get("namespace", "")
    involved = new["involvedObject"].get("namespace", "")
    is_clusters = not involved and namespace in ("default", "kube-system")
    if involved != namespace and not is_clusters:
        yield invalid("involvedObject.namespace", involved, "does not match event.namespace")
    if new.get("eventTime") is None or old is not None:
        return
    for field in ("reportingComponent", "reportingInstance", "action", "reason"):
        if not new.get(field):
            yield required({"reportingComponent": "reportingController"}.get(field, field))
    if len(new.get("message", "")) > 1024:
        yield invalid("message", "", "can have at most 1024 characters")
    yield from one_of("type", new.get("type"), ("Normal", "Warning"))


def check_new_event(new: Json, old: Json | None) -> Errors:
    """Nothing for an Event, as events.k8s.io shows it, that can be stored."""
    namespace = new["metadata"].get("namespace", "")
    about = (new.get("regarding") or {}).get("namespace", "")
    if about != namespace and (about or namespace not in ("default", "kube-system")):
        yield invalid("regarding.namespace", about, "does not match event.namespace")
    if old is not None:
        return
    if new.get("eventTime") is None:
        yield required("eventTime")
        return
    for field in ("reportingController", "reportingInstance", "action", "reason"):
        if not new.get(field):
            yield required(field)
    if len(new.get("note", "")) > 1024:
        yield invalid("note", "", "can have at most 1024 characters")
    yield from one_of("type", new.get("type"), ("Normal", "Warning"))


def check_resource_quota(new: Json, old: Json | None) -> Errors:
    """Nothing for a ResourceQuota that can be stored."""
    del old
    yield from check_quota(new["spec"])


def check_role(new: Json, old: Json | None) -> Errors:
    """Nothing for a Role or ClusterRole that can be stored."""
    del old
    is_namespaced = "namespace" in new["metadata"]
    for index, rule in enumerate(new.get("rules") or ()):
        path = f"rules[{index}]"
        if not rule.get("verbs"):
            yield required(f"{path}.verbs", "verbs must contain at least one value")
        if rule.get("nonResourceURLs"):
            if is_namespaced:
                yield invalid(
                    f"{path}.nonResourceURLs",
                    rule["nonResourceURLs"],
                    "namespaced rules cannot apply to non-resource URLs",
                )
            if rule.get("apiGroups") or rule.get("resources") or rule.get("resourceNames"):
                yield invalid(
                    f"{path}.nonResourceURLs",
                    rule["nonResourceURLs"],
                    "rules cannot apply to both regular resources and non-resource URLs",
                )
            continue
        if not rule.get("apiGroups"):
            yield required(f"{path}.apiGroups", "resource rules must supply at least one api group")
        if not rule.get("resources"):
            yield required(f"{path}.resources", "resource rules must supply at least one resource")


def check_role_binding(new: Json, old: Json | None) -> Errors:
    """Nothing for a RoleBinding or ClusterRoleBinding that can be stored."""
    reference = new["roleRef"]
    is_namespaced = "namespace" in new["metadata"]
    if reference.get("apiGroup") != _RBAC:
        yield not_supported("roleRef.apiGroup", reference.get("apiGroup", ""), (_RBAC,))
    allowed = ("Role", "ClusterRole") if is_namespaced else ("ClusterRole",)
    if reference.get("kind") not in allowed:
        yield not_supported("roleRef.kind", reference.get("kind", ""), allowed)
    if not reference.get("name"):
        yield required("roleRef.name")
    for index, subject in enumerate(new.get("subjects") or ()):
        path = f"subjects[{index}]"
        if not subject.get("name"):
            yield required(f"{path}.name")
        if subject.get("kind") == "ServiceAccount":
            if not subject.get("namespace") and not is_namespaced:
                yield required(f"{path}.namespace")
        elif subject.get("kind") not in ("User", "Group"):
            yield not_supported(f"{path}.kind", subject.get("kind", ""), ("Group", "ServiceAccount", "User"))
    if old is not None and old["roleRef"] != reference:
        yield invalid("roleRef", reference, "cannot change roleRef")


def check_endpoint_slice(new: Json, old: Json | None) -> Errors:
    """Nothing for an EndpointSlice that can be stored; loopback addresses are what the sandbox has."""
    yield from one_of("addressType", new.get("addressType"), ("FQDN", "IPv4", "IPv6"))
    for index, endpoint in enumerate(new.get("endpoints") or ()):
        if not endpoint.get("addresses"):
            yield required(f"endpoints[{index}].addresses", "must contain at least 1 address")
    if old is not None:
        yield from immutable("addressType", new.get("addressType"), old.get("addressType"))


def check_priority_class(new: Json, old: Json | None) -> Errors:
    """Nothing for a PriorityClass that can be stored."""
    if not new["metadata"].get("name", "").startswith("system-") and new.get("value", 0) > 1_000_000_000:
        yield forbidden("value", "maximum allowed value of a user defined priority is 1000000000")
    if old is not None and old.get("value", 0) != new.get("value", 0):
        yield forbidden("value", "may not be changed in an update.")
