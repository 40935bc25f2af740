"""A tokens profile made from data sheets, for devices on which nobody measured.

The roofline (Williams, Waterman, Patterson, CACM 2009): an iteration reads all weights once and the cache of
its sequences, and computes two operations per parameter and token; engines reach `_REACHED` of the sheet.
Such figures are guesses: placement derates them to 70 percent, and only where the workload allows estimates.
"""

from __future__ import annotations

from dataclasses import dataclass

from switchyard.core.errors import ProfileError
from switchyard.core.placement.tokens import TokensProfile

_REACHED = 0.5  # of bandwidth and of peak; 0.4 to 0.6 is usual for language models
_OVERHEAD_SECONDS = 0.002  # of an iteration: scheduling and launches
_USED_MEMORY_RATIO = 0.9  # engines leave the rest to the runtime
_MOST_SEQUENCES = 256  # what engines are set to when nobody says
PRECISION_BYTES = {
    "fp32": 4.0,
    "tf32": 4.0,
    "bf16": 2.0,
    "fp16": 2.0,
    "fp8": 1.0,
    "cfp8": 1.0,
    "int8": 1.0,
    "fp4": 0.5,
    "int4": 0.5,
}


@dataclass(frozen=True, slots=True)
class DeviceSheet:
    """What a data sheet says of one device."""

    memory_bytes: float
    bandwidth_bytes_per_second: float
    peak_operations_per_second: float  # in the precision of the weights

    def __post_init__(self) -> None:
        """Raise ProfileError for a sheet that no device can have."""
        figures = (self.memory_bytes, self.bandwidth_bytes_per_second, self.peak_operations_per_second)
        if min(figures) <= 0:
            raise ProfileError(f"a device needs memory, bandwidth and peak above 0, not {figures}")


def estimate_tokens(
    *,
    parameters: float,
    weight_bytes: float,
    kv_bytes_per_token: float,
    device: DeviceSheet,
    devices: int = 1,
) -> TokensProfile:
    """The tokens profile of a model on `devices` that share its work evenly.

    `weight_bytes` per parameter, see PRECISION_BYTES. Raises ProfileError when the weights leave no room for
    a cache.
    """
    if min(parameters, weight_bytes, kv_bytes_per_token) <= 0 or devices < 1:
        raise ProfileError("an estimate needs parameters, kvBytesPerToken and devices above 0")
    weights = parameters * weight_bytes
    room = devices * device.memory_bytes * _USED_MEMORY_RATIO - weights
    if room < kv_bytes_per_token:
        raise ProfileError(
            f"{weights / 1e9:.4g} GB of weights leave no room for a cache in "
            f"{devices * device.memory_bytes / 1e9:.4g} GB: take more devices or a smaller precision"
        )
    bandwidth = devices * device.bandwidth_bytes_per_second * _REACHED
    token_seconds = 2 * parameters / (devices * device.peak_operations_per_second * _REACHED)
    return TokensProfile(
        iteration_seconds=weights / bandwidth + _OVERHEAD_SECONDS,
        per_sequence_seconds=token_seconds,
        per_prefill_token_seconds=token_seconds,
        per_cached_token_seconds=kv_bytes_per_token / bandwidth,
        max_batch=_MOST_SEQUENCES,
        cache_tokens=int(room / kv_bytes_per_token),
    )
