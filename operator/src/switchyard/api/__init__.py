"""The custom resources of `switchyard.dev/v1alpha1` as types, and the words that conditions use.

Each is imported from its module when it is first asked for: a router needs none of the kinds, and building
them all would take half of its start.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from switchyard.api import labels
    from switchyard.api.base import Condition
    from switchyard.api.parsing import ApiValueError, parse_pool, parse_workload
    from switchyard.api.pool import AcceleratorPool, AcceleratorPoolSpec
    from switchyard.api.pool_status import AcceleratorPoolStatus
    from switchyard.api.reasons import Reason
    from switchyard.api.values import Duration, Money, Quantity
    from switchyard.api.workload import InferenceWorkload, InferenceWorkloadSpec
    from switchyard.api.workload_status import InferenceWorkloadStatus

GROUP = "switchyard.dev"
VERSION = "v1alpha1"

__all__ = [
    "GROUP",
    "VERSION",
    "AcceleratorPool",
    "AcceleratorPoolSpec",
    "AcceleratorPoolStatus",
    "ApiValueError",
    "Condition",
    "Duration",
    "InferenceWorkload",
    "InferenceWorkloadSpec",
    "InferenceWorkloadStatus",
    "Money",
    "Quantity",
    "Reason",
    "labels",
    "parse_pool",
    "parse_workload",
]

_MODULES = {
    "AcceleratorPool": "pool",
    "AcceleratorPoolSpec": "pool",
    "AcceleratorPoolStatus": "pool_status",
    "ApiValueError": "parsing",
    "Condition": "base",
    "Duration": "values",
    "InferenceWorkload": "workload",
    "InferenceWorkloadSpec": "workload",
    "InferenceWorkloadStatus": "workload_status",
    "Money": "values",
    "Quantity": "values",
    "Reason": "reasons",
    "parse_pool": "parsing",
    "parse_workload": "parsing",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    return found
