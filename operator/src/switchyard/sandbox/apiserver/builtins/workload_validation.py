"""What is wrong with the kinds that own pods or act on them: workloads, budgets, scalers.

Source: k8s.io/kubernetes/pkg/apis/{apps,batch,policy,autoscaling}/validation.
"""

from __future__ import annotations

import re
from typing import Any

from switchyard.sandbox.apiserver.builtins.field_errors import (
    LABEL_VALUE_RULE,
    NAME_PART_RULE,
    Errors,
    forbidden,
    immutable,
    invalid,
    is_label_value,
    is_qualified_name,
    non_negative,
    not_supported,
    one_of,
    required,
)
from switchyard.sandbox.apiserver.builtins.pod_validation import check_pod_spec
from switchyard.sandbox.apiserver.resources import Json

_PERCENT = re.compile(r"\d+%")
_PERCENT_RULE = (
    "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex "
    "used for validation is '[0-9]+%')"
)


def check_selector(selector: Json | None, field: str) -> Errors:
    """Nothing for a label selector that can be evaluated."""
    for key, value in ((selector or {}).get("matchLabels") or {}).items():
        if not is_qualified_name(key):
            yield invalid(
                f"{field}.matchLabels",
                key,
                NAME_PART_RULE,
            )
        if not is_label_value(value):
            yield invalid(
                f"{field}.matchLabels",
                value,
                LABEL_VALUE_RULE,
            )
    for index, requirement in enumerate((selector or {}).get("matchExpressions") or ()):
        path = f"{field}.matchExpressions[{index}]"
        operator, values = requirement.get("operator", ""), requirement.get("values")
        if operator in ("In", "NotIn") and not values:
            yield required(f"{path}.values", "must be specified when `operator` is 'In' or 'NotIn'")
        elif operator in ("Exists", "DoesNotExist") and values:
            yield invalid(
                f"{path}.values", values, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            )
        elif operator not in ("In", "NotIn", "Exists", "DoesNotExist"):
            yield invalid(f"{path}.operator", operator, "not a valid selector operator")


def selects(selector: Json | None, labels: Json) -> bool:
    """Whether a label selector matches; None matches nothing."""
    if selector is None:
        return False
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    return all(_holds(requirement, labels) for requirement in selector.get("matchExpressions") or ())


def _holds(requirement: Json, labels: Json) -> bool:
    key, operator = requirement.get("key", ""), requirement.get("operator")
    values = requirement.get("values") or ()
    if operator == "In":
        return labels.get(key) in values
    if operator == "NotIn":
        return labels.get(key) not in values
    return (key in labels) == (operator == "Exists")


def check_pod_owner(spec: Json, kind: str) -> Errors:
    """Nothing when selector and template of a workload fit each other and the template can run."""
    selector = spec.get("selector")
    if selector is None:
        yield required("spec.selector")
    else:
        yield from check_selector(selector, "spec.selector")
        if not selector.get("matchLabels") and not selector.get("matchExpressions"):
            yield invalid("spec.selector", selector, f"empty selector is invalid for {kind}")
    template = spec.get("template") or {}
    labels = (template.get("metadata") or {}).get("labels") or {}
    is_empty = selector is not None and not any(selector.values())
    if not is_empty and not selects(selector, labels):
        yield invalid("spec.template.metadata.labels", labels, "`selector` does not match template `labels`")
    pod = template.get("spec") or {}
    yield from check_pod_spec(pod, "spec.template.spec")
    if pod.get("restartPolicy") not in (None, "Always"):
        yield not_supported("spec.template.spec.restartPolicy", pod["restartPolicy"], ("Always",))
    if pod.get("activeDeadlineSeconds") is not None:
        yield forbidden(
            "spec.template.spec.activeDeadlineSeconds", f"activeDeadlineSeconds in {kind} is not Supported"
        )
    yield from non_negative("spec.replicas", spec.get("replicas"))
    yield from non_negative("spec.minReadySeconds", spec.get("minReadySeconds"))
    yield from non_negative("spec.revisionHistoryLimit", spec.get("revisionHistoryLimit"))


def check_deployment(new: Json, old: Json | None) -> Errors:
    """Nothing for a Deployment that can be stored."""
    spec = new["spec"]
    yield from check_pod_owner(spec, "deployment")
    strategy = spec.get("strategy") or {}
    yield from one_of("spec.strategy.type", strategy.get("type"), ("Recreate", "RollingUpdate"))
    rolling = strategy.get("rollingUpdate")
    if strategy.get("type") == "Recreate" and rolling is not None:
        yield forbidden(
            "spec.strategy.rollingUpdate", "may not be specified when strategy `type` is 'Recreate'"
        )
    elif rolling is not None:
        for name in ("maxUnavailable", "maxSurge"):
            yield from check_count_or_percent(rolling.get(name), f"spec.strategy.rollingUpdate.{name}")
        if all(rolling.get(name) in (0, "0%") for name in ("maxUnavailable", "maxSurge")):
            yield invalid(
                "spec.strategy.rollingUpdate.maxUnavailable", 0, "may not be 0 when `maxSurge` is 0"
            )
    deadline, ready = spec.get("progressDeadlineSeconds"), spec.get("minReadySeconds", 0)
    if isinstance(deadline, int) and deadline <= ready:
        yield invalid("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds")
    if old is not None:
        yield from immutable("spec.selector", spec.get("selector"), old["spec"].get("selector"))


def check_replica_set(new: Json, old: Json | None) -> Errors:
    """Nothing for a ReplicaSet that can be stored."""
    yield from check_pod_owner(new["spec"], "replicaset")
    if old is not None:
        yield from immutable("spec.selector", new["spec"].get("selector"), old["spec"].get("selector"))


def check_stateful_set(new: Json, old: Json | None) -> Errors:
    """Nothing for a StatefulSet that can be stored."""
    yield from check_pod_owner(new["spec"], "statefulset")
    if old is not None:
        for name in ("selector", "serviceName", "podManagementPolicy", "volumeClaimTemplates"):
            yield from immutable(f"spec.{name}", new["spec"].get(name), old["spec"].get(name))


def check_daemon_set(new: Json, old: Json | None) -> Errors:
    """Nothing for a DaemonSet that can be stored."""
    yield from check_pod_owner(new["spec"], "daemonset")
    if old is not None:
        yield from immutable("spec.selector", new["spec"].get("selector"), old["spec"].get("selector"))


def check_job(new: Json, old: Json | None) -> Errors:
    """Nothing for a Job that can be stored."""
    spec = new["spec"]
    pod = spec["template"]["spec"]
    yield from check_pod_spec(pod, "spec.template.spec")
    if pod.get("restartPolicy") not in ("OnFailure", "Never"):
        yield not_supported(
            "spec.template.spec.restartPolicy", pod.get("restartPolicy"), ("OnFailure", "Never")
        )
    for name in (
        "parallelism",
        "completions",
        "backoffLimit",
        "activeDeadlineSeconds",
        "ttlSecondsAfterFinished",
    ):
        yield from non_negative(f"spec.{name}", spec.get(name))
    if old is not None:
        yield from immutable("spec.selector", spec.get("selector"), old["spec"].get("selector"))
        if not old["spec"].get("suspend"):
            yield from immutable("spec.template", spec["template"], old["spec"]["template"])


def check_count_or_percent(value: Any, field: str) -> Errors:
    """Nothing for a whole number or a percentage, or where it is absent."""
    if isinstance(value, str) and not _PERCENT.fullmatch(value):
        yield invalid(
            field,
            value,
            _PERCENT_RULE,
        )
    elif isinstance(value, int):
        yield from non_negative(field, value)
    elif isinstance(value, str) and field.endswith("Unavailable") and int(value[:-1]) > 100:
        yield invalid(field, value, "must not be greater than 100%")


def check_budget(new: Json, old: Json | None) -> Errors:
    """Nothing for a PodDisruptionBudget that can be stored."""
    del old
    spec = new["spec"]
    if spec.get("minAvailable") is not None and spec.get("maxUnavailable") is not None:
        yield invalid("spec", spec, "minAvailable and maxUnavailable cannot be both set")
    for name in ("minAvailable", "maxUnavailable"):
        yield from check_count_or_percent(spec.get(name), f"spec.{name}")
    yield from check_selector(spec.get("selector"), "spec.selector")


def check_autoscaler(new: Json, old: Json | None) -> Errors:
    """Nothing for a HorizontalPodAutoscaler that can be stored."""
    del old
    spec = new["spec"]
    least, most = spec.get("minReplicas", 1), spec.get("maxReplicas", 0)
    if least < 1:
        yield invalid("spec.minReplicas", least, "must be greater than or equal to 1")
    if most < 1:
        yield invalid("spec.maxReplicas", most, "must be greater than 0")
    elif most < least:
        yield invalid("spec.maxReplicas", most, "must be greater than or equal to `minReplicas`")
    target = spec.get("scaleTargetRef") or {}
    for name in ("kind", "name"):
        if not target.get(name):
            yield required(f"spec.scaleTargetRef.{name}")
    if "/" not in target.get("apiVersion", "") and target.get("kind") != "ReplicationController":
        yield invalid(
            "spec.scaleTargetRef.apiVersion",
            target.get("apiVersion", ""),
            "apiVersion must specify API group",
        )
