"""What is wrong with a pod or a pod template; the checks that its authors run into, not all that there are.

Source: k8s.io/kubernetes/pkg/apis/core/validation/validation.go.
"""

from __future__ import annotations

import copy
import re
from typing import Any

from switchyard.sandbox.apiserver.builtins.field_errors import (
    Errors,
    dns_label,
    duplicate,
    forbidden,
    invalid,
    label_map,
    non_negative,
    not_found,
    one_of,
    port_name,
    port_number,
    required,
)
from switchyard.sandbox.apiserver.builtins.resource_amounts import check_container_resources
from switchyard.sandbox.apiserver.resources import Json

RESTART_POLICIES = ("Always", "OnFailure", "Never")
_DNS_POLICIES = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
_PULL_POLICIES = ("Always", "IfNotPresent", "Never")
_PROTOCOLS = ("SCTP", "TCP", "UDP")
_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_ENV_NAME = re.compile(r"[^=\x00-\x1f\x7f]+")
_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc")
_WHAT_MAY_CHANGE = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)


def check_pod_spec(spec: Json, field: str) -> Errors:
    """Nothing for a spec, of a pod or a template, that can run."""
    volumes = yield from _check_volumes(spec.get("volumes") or [], f"{field}.volumes")
    containers = spec.get("containers") or []
    if not containers:
        yield required(f"{field}.containers")
    names: set[str] = set()
    for part in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(part) or ()):
            path = f"{field}.{part}[{index}]"
            yield from _check_container(container, volumes, path)
            if container.get("name") in names:
                yield duplicate(f"{path}.name", container["name"])
            names.add(container.get("name", ""))
    yield from one_of(f"{field}.restartPolicy", spec.get("restartPolicy"), RESTART_POLICIES)
    yield from one_of(f"{field}.dnsPolicy", spec.get("dnsPolicy"), _DNS_POLICIES)
    yield from non_negative(
        f"{field}.terminationGracePeriodSeconds", spec.get("terminationGracePeriodSeconds")
    )
    yield from label_map(f"{field}.nodeSelector", spec.get("nodeSelector"))
    for index, toleration in enumerate(spec.get("tolerations") or ()):
        yield from _check_toleration(toleration, f"{field}.tolerations[{index}]")


def _check_volumes(volumes: list[Json], field: str) -> Any:
    names: set[str] = set()
    for index, volume in enumerate(volumes):
        name = volume.get("name", "")
        yield from dns_label(f"{field}[{index}].name", name)
        if name in names:
            yield duplicate(f"{field}[{index}].name", name)
        names.add(name)
        sources = [key for key in volume if key != "name"]
        if not sources:
            yield required(f"{field}[{index}]", "must specify a volume type")
        for extra in sources[1:]:
            yield forbidden(f"{field}[{index}].{extra}", "may not specify more than 1 volume type")
    return names


def _check_container(container: Json, volumes: set[str], field: str) -> Errors:
    yield from dns_label(f"{field}.name", container.get("name"))
    image = container.get("image", "")
    if not image:
        yield required(f"{field}.image")
    elif image != image.strip():
        yield invalid(f"{field}.image", image, "must not have leading or trailing whitespace")
    yield from one_of(f"{field}.imagePullPolicy", container.get("imagePullPolicy"), _PULL_POLICIES)
    yield from _check_ports(container.get("ports") or [], f"{field}.ports")
    for index, variable in enumerate(container.get("env") or ()):
        yield from _check_variable(variable, f"{field}.env[{index}]")
    paths: set[str] = set()
    for index, mount in enumerate(container.get("volumeMounts") or ()):
        path = f"{field}.volumeMounts[{index}]"
        if not mount.get("name"):
            yield required(f"{path}.name")
        elif mount["name"] not in volumes:
            yield not_found(f"{path}.name", mount["name"])
        if not mount.get("mountPath"):
            yield required(f"{path}.mountPath")
        elif mount["mountPath"] in paths:
            yield invalid(f"{path}.mountPath", mount["mountPath"], "must be unique")
        paths.add(mount.get("mountPath", ""))
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if name in container:
            yield from _check_probe(container[name], f"{field}.{name}", is_readiness=name == "readinessProbe")
    yield from check_container_resources(container.get("resources") or {}, f"{field}.resources")


def _check_ports(ports: list[Json], field: str) -> Errors:
    names: set[str] = set()
    for index, port in enumerate(ports):
        path = f"{field}[{index}]"
        if name := port.get("name"):
            yield from port_name(f"{path}.name", name)
            if name in names:
                yield duplicate(f"{path}.name", name)
            names.add(name)
        if not port.get("containerPort"):
            yield required(f"{path}.containerPort")
        else:
            yield from port_number(f"{path}.containerPort", port["containerPort"])
        if port.get("hostPort"):
            yield from port_number(f"{path}.hostPort", port["hostPort"])
        yield from one_of(f"{path}.protocol", port.get("protocol"), _PROTOCOLS)


def _check_variable(variable: Json, field: str) -> Errors:
    name = variable.get("name", "")
    if not name:
        yield required(f"{field}.name")
    elif not _ENV_NAME.fullmatch(name):
        yield invalid(
            f"{field}.name",
            name,
            "a valid environment variable name must consist only of printable characters other than '='",
        )
    source = variable.get("valueFrom")
    if source is not None:
        if variable.get("value"):
            yield invalid(f"{field}.valueFrom", "", "may not be specified when `value` is not empty")
        if not source:
            yield invalid(
                f"{field}.valueFrom",
                "",
                "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`",
            )


def _check_probe(probe: Json, field: str, *, is_readiness: bool) -> Errors:
    handlers = [name for name in _HANDLERS if name in probe]
    if not handlers:
        yield required(field, "must specify a handler type")
    for extra in handlers[1:]:
        yield forbidden(f"{field}.{extra}", "may not specify more than 1 handler type")
    for name in ("httpGet", "tcpSocket", "grpc"):
        port = probe.get(name, {}).get("port") if name in probe else 1
        if isinstance(port, str):
            yield from port_name(f"{field}.{name}.port", port)
        else:
            yield from port_number(f"{field}.{name}.port", port)
    for name in (
        "initialDelaySeconds",
        "timeoutSeconds",
        "periodSeconds",
        "successThreshold",
        "failureThreshold",
    ):
        yield from non_negative(f"{field}.{name}", probe.get(name))
    if not is_readiness and probe.get("successThreshold", 1) != 1:
        yield invalid(f"{field}.successThreshold", probe["successThreshold"], "must be 1")


def _check_toleration(toleration: Json, field: str) -> Errors:
    operator = toleration.get("operator") or "Equal"
    yield from one_of(f"{field}.operator", operator, ("Equal", "Exists", "Gt", "Lt"))
    if not toleration.get("key") and operator != "Exists":
        yield invalid(
            f"{field}.operator",
            operator,
            'operator must be Exists when `key` is empty, which means "match all values and all keys"',
        )
    if operator == "Exists" and toleration.get("value"):
        yield invalid(
            f"{field}.operator", toleration["value"], "value must be empty when `operator` is 'Exists'"
        )
    yield from one_of(f"{field}.effect", toleration.get("effect"), _EFFECTS, is_required=False)
    if toleration.get("tolerationSeconds") is not None and toleration.get("effect") != "NoExecute":
        yield invalid(
            f"{field}.effect",
            toleration.get("effect", ""),
            "effect must be 'NoExecute' when `tolerationSeconds` is set",
        )


def check_pod_update(new: Json, old: Json) -> Errors:
    """Nothing when a pod's spec changed only where it may."""
    added = new.get("tolerations") or []
    if any(toleration not in added for toleration in old.get("tolerations") or ()):
        yield forbidden(
            "spec.tolerations", "existing toleration can not be modified except its tolerationSeconds"
        )
    before, after = _immutable_part(old), _immutable_part(new)
    if old.get("schedulingGates") and _is_extended(after.get("nodeSelector"), before.get("nodeSelector")):
        after["nodeSelector"] = before.get("nodeSelector")
    if before != after:
        yield forbidden("spec", _WHAT_MAY_CHANGE)


def _immutable_part(spec: Json) -> Json:
    part = copy.deepcopy(spec)
    for field in ("activeDeadlineSeconds", "tolerations", "schedulingGates", "ephemeralContainers"):
        part.pop(field, None)
    for field in ("containers", "initContainers"):
        for container in part.get(field) or ():
            container.pop("image", None)
    part.setdefault("nodeSelector", None)
    return part


def _is_extended(new: Json | None, old: Json | None) -> bool:
    return all((new or {}).get(key) == value for key, value in (old or {}).items())
