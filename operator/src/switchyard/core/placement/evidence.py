"""What is known of one replica of a variant in a pool: learned, stated by the author, or estimated.

learned and in use > the variant's profile > an estimate by data sheets, where the workload allows it
"""

from __future__ import annotations

from functools import lru_cache

from switchyard.core.errors import ProfileError
from switchyard.core.learning.learned import LearnedProfile
from switchyard.core.placement.capacity import round_up_to_unit
from switchyard.core.placement.case import Evidence
from switchyard.core.placement.estimate import PRECISION_BYTES, DeviceSheet, estimate_tokens
from switchyard.core.placement.facts import PoolFacts, VariantFacts, WorkloadFacts
from switchyard.core.placement.tokens import TokensProfile


def find_evidence(
    workload: WorkloadFacts, variant: VariantFacts, pool: PoolFacts, learned: LearnedProfile | None = None
) -> Evidence:
    """The best that is known. `learned`: of this variant in this pool."""
    if learned is not None and learned.tokens is not None and learned.state == "Used":
        return Evidence(learned.tokens, "learned")
    if variant.profile is None and not variant.profile_problem and workload.allows_estimate:
        return _estimate(workload, variant, pool)
    return Evidence(variant.profile, variant.profile_source, variant.profile_problem)


def _estimate(workload: WorkloadFacts, variant: VariantFacts, pool: PoolFacts) -> Evidence:
    missing = _list_missing(workload, variant, pool)
    if missing:
        return Evidence(None, problem=f"states no profile, and an estimate lacks {', '.join(missing)}")
    unit = round_up_to_unit(variant.devices_per_replica, pool.unit_devices) or variant.devices_per_replica
    sheet = (
        float(pool.memory_bytes or 0),
        pool.bandwidth_bytes_per_second or 0.0,
        pool.peak_operations_per_second[variant.precision],
    )
    try:
        profile = _make(
            float(workload.parameters or 0),
            PRECISION_BYTES[variant.precision],
            workload.kv_bytes_per_token or 0.0,
            sheet,
            unit,
        )
    except ProfileError as error:
        return Evidence(None, problem=f"states no profile and can't be estimated: {error}")
    return Evidence(profile, "estimate", is_estimate=True)


def _list_missing(workload: WorkloadFacts, variant: VariantFacts, pool: PoolFacts) -> list[str]:
    """What an estimate needs and nobody says."""
    name = pool.accelerator or pool.name
    checks = (
        (workload.parameters is None, "model.parameters"),
        (workload.kv_bytes_per_token is None, "model.kvBytesPerToken"),
        (
            variant.precision not in PRECISION_BYTES,
            f"a precision of {', '.join(PRECISION_BYTES)}",
        ),
        (pool.memory_bytes is None, f"the memory of {name}"),
        (pool.bandwidth_bytes_per_second is None, f"the memory bandwidth of {name}"),
        (
            variant.precision in PRECISION_BYTES and variant.precision not in pool.peak_operations_per_second,
            f"the peak of {name} in {variant.precision}",
        ),
    )
    return [message for is_missing, message in checks if is_missing]


@lru_cache(maxsize=4096)
def _make(
    parameters: float,
    weight_bytes: float,
    kv_bytes_per_token: float,
    sheet: tuple[float, float, float],
    devices: int,
) -> TokensProfile:
    return estimate_tokens(
        parameters=parameters,
        weight_bytes=weight_bytes,
        kv_bytes_per_token=kv_bytes_per_token,
        device=DeviceSheet(*sheet),
        devices=devices,
    )
