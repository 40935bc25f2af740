"""Whether a namespace's quotas leave room for a new pod: its requests, its limits, and itself.

Usage is counted from the pods that are there, so it is never behind. Other objects are not counted.
Source: k8s.io/kubernetes/pkg/quota/v1/evaluator/core and k8s.io/apiserver admission/plugin/resourcequota.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from fractions import Fraction

from switchyard.sandbox.apiserver.builtins.quantities import Quantity, parse_quantity
from switchyard.sandbox.apiserver.builtins.resource_amounts import is_extended_resource
from switchyard.sandbox.apiserver.errors import forbidden
from switchyard.sandbox.apiserver.resources import Json, ResourceInfo

Amounts = Mapping[str, Fraction]
_PLAIN = ("cpu", "memory", "ephemeral-storage")


def check_quotas(info: ResourceInfo, pod: Json, pods: Iterable[Json], quotas: Iterable[Json]) -> None:
    """Raises 403 for a pod that a quota of its namespace has no room for."""
    wanted = pod_usage(pod)
    used: Amounts | None = None
    for quota in quotas:
        hard = {name: parse_quantity(amount) for name, amount in (quota["spec"].get("hard") or {}).items()}
        touched = sorted(name for name in hard if wanted.get(name))
        missing = sorted(name for name in hard if _must_be_told(name) and name not in wanted)
        name, what = quota["metadata"]["name"], pod["metadata"].get("name", "")
        if missing:
            why = ",".join(f"{part} for: {_containers_of(pod)}" for part in missing)
            raise forbidden(info, what, f"failed quota: {name}: must specify {why}")
        if not touched:
            continue
        used = usage(pods) if used is None else used
        over = [part for part in touched if used.get(part, 0) + wanted[part] > hard[part].value]
        if over:
            told = {
                "requested": {part: wanted[part] for part in over},
                "used": {part: used.get(part, Fraction(0)) for part in over},
                "limited": {part: hard[part].value for part in over},
            }
            sentence = ", ".join(f"{label}: {_shown(amounts, hard)}" for label, amounts in told.items())
            raise forbidden(info, what, f"exceeded quota: {name}, {sentence}")


def _must_be_told(name: str) -> bool:
    return name in _PLAIN or name.removeprefix("requests.").removeprefix("limits.") in _PLAIN


def _containers_of(pod: Json) -> str:
    return ",".join(container.get("name", "") for container in pod["spec"].get("containers") or ())


def _shown(amounts: Amounts, hard: Mapping[str, Quantity]) -> str:
    return ",".join(
        f"{name}={Quantity(amount, is_binary=hard[name].is_binary)}" for name, amount in amounts.items()
    )


def usage(pods: Iterable[Json]) -> Amounts:
    """What the pods of a namespace use together; pods that have ended use nothing."""
    total: dict[str, Fraction] = defaultdict(Fraction)
    for pod in pods:
        if (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
            continue
        for name, amount in pod_usage(pod).items():
            total[name] += amount
    return total


def pod_usage(pod: Json) -> Amounts:
    """What one pod uses, by the names under which quotas count it."""
    found: dict[str, Fraction] = {"pods": Fraction(1), "count/pods": Fraction(1)}
    for part in ("requests", "limits"):
        for name, amount in _pod_amounts(pod["spec"], part).items():
            if part == "requests" or not is_extended_resource(name):
                found[f"{part}.{name}"] = amount
            if part == "requests" and name in _PLAIN:
                found[name] = amount
    return found


def _pod_amounts(spec: Json, part: str) -> Amounts:
    """The sum over containers, or what the largest init container needs where that is more."""
    total: dict[str, Fraction] = defaultdict(Fraction)
    for container in spec.get("containers") or ():
        for name, amount in ((container.get("resources") or {}).get(part) or {}).items():
            total[name] += parse_quantity(amount).value
    for container in spec.get("initContainers") or ():
        for name, amount in ((container.get("resources") or {}).get(part) or {}).items():
            total[name] = max(total[name], parse_quantity(amount).value)
    return total
