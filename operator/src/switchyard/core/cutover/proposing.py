"""The CutoverPlan that carries a recommendation out: what is written when `migration` is auto. Pure.

The plan says what its defaults do not: a gate for each objective of the workload, no person to wait for, and
what the workload's `placement.cutover` asks. All else is left to the kind, so that the plan reads as one that
a person would write; from then on it is the users' to edit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

from switchyard.api import GROUP, VERSION, labels
from switchyard.api.demand import LatencyObjective
from switchyard.api.policy import CutoverPolicy, PlacementPolicy
from switchyard.core.naming import label_value, part_name
from switchyard.core.owned import build_owned_metadata
from switchyard.core.world import Workload

KIND = "CutoverPlan"
Pair = tuple[str, str]  # variant, pool

_DIGEST_LENGTH = 8
_LEAST_TARGET, _MOST_TARGET = ("1ms", 0.001), ("1h", 3600.0)  # that a latency gate takes


def name_plan(workload: Workload, target: Pair, since: str) -> str:
    """The name of the plan for what has been recommended since then: the same in every process."""
    identity = "/".join((workload.meta.uid, *target, since))
    digest = hashlib.sha256(identity.encode()).hexdigest()[:_DIGEST_LENGTH]
    return part_name(workload.meta.name, f"to-{target[0]}-{digest}")


def build_plan(
    workload: Workload, target: Pair, since: str, *, must_repay: bool, must_be_cheaper: bool
) -> dict[str, Any]:
    """The plan that moves the workload there, owned by it.

    `must_repay`: not begun unless it repays within the horizon; `must_be_cheaper`: held to the baseline's
    price per request.
    """
    placement = workload.spec.placement
    variant, pool = target
    meta = workload.meta
    marks = {labels.MANAGED_BY: labels.MANAGER, labels.WORKLOAD: label_value(meta.name)}
    name = name_plan(workload, target, since)
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": KIND,
        "metadata": build_owned_metadata(meta.namespace, meta.name, meta.uid, name, marks),
        "spec": {
            "workloadRef": {"name": meta.name},
            "target": {"variant": variant, "pool": pool},
            "gates": _build_gates(workload, must_be_cheaper=must_be_cheaper),
            "analysis": {"onInconclusive": "rollback"},
            **_build_limits(placement),
            **({"economics": {"requirePaybackWithin": str(placement.horizon)}} if must_repay else {}),
        },
    }


def _build_gates(workload: Workload, *, must_be_cheaper: bool) -> list[dict[str, Any]]:
    """Errors, each objective, stability; the price and the answers where they can be judged."""
    policy = workload.spec.placement.cutover
    return [
        {"name": "errors", "errors": {}},
        *(
            {
                "name": f"{each.metric}-p{each.percentile}",
                "latency": {"metric": each.metric, "target": _fit_target(each)},
            }
            for each in _find_bounds(workload.spec.objectives)
        ),
        *([{"name": "parity", "parity": _dump(policy.parity)}] if policy and policy.parity else []),
        {"name": "stability", "stability": {}},
        *([{"name": "cost", "cost": {}}] if must_be_cheaper else []),
    ]


def _find_bounds(objectives: Iterable[LatencyObjective]) -> list[LatencyObjective]:
    """Of objectives with one metric and target the one with the highest percentile: one gate holds both."""
    highest: dict[tuple[str, float], LatencyObjective] = {}
    for each in sorted(objectives, key=lambda one: one.percentile):
        highest[each.metric, each.target.seconds] = each
    return sorted(highest.values(), key=lambda each: (each.metric, each.percentile))


def _fit_target(objective: LatencyObjective) -> str:
    seconds = objective.target.seconds
    if seconds < _LEAST_TARGET[1]:
        return _LEAST_TARGET[0]
    return _MOST_TARGET[0] if seconds > _MOST_TARGET[1] else str(objective.target)


def _build_limits(placement: PlacementPolicy) -> dict[str, Any]:
    """What the author asks of such plans, as a plan says it."""
    asked = _dump(placement.cutover or CutoverPolicy())
    return {name: asked[name] for name in ("approvals", "windows", "budget") if asked.get(name)}


def _dump(model: Any) -> dict[str, Any]:
    """What was stated: a field that is left out and one that is empty are not the same to every rule."""
    dumped: dict[str, Any] = model.model_dump(
        mode="json", by_alias=True, exclude_none=True, exclude_defaults=True
    )
    return dumped
