"""The custom resources of `switchyard.dev/v1alpha1` as types, and the words that conditions use."""

from __future__ import annotations

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
