"""How long one simulated replica takes, by accelerator.

The built-in numbers are invented for a small model, ordered as the hardware is: they make a demo
plausible and are no measurement of anything. A workload that wants other figures passes them as flags.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServiceProfile:
    """A replica with `slots` parallel places; the mean service time grows by `slope` per busy neighbour.

    `cv2` is the squared coefficient of variation of the service time (0: always the mean).
    """

    slots: int
    base_seconds: float
    slope_seconds: float
    cv2: float

    def __post_init__(self) -> None:
        """Raise ValueError for a profile that no server could have."""
        if self.slots < 1:
            raise ValueError(f"slots must be at least 1, not {self.slots}")
        for name in ("base_seconds", "slope_seconds", "cv2"):
            value = getattr(self, name)
            if not math.isfinite(value) or value < 0:
                raise ValueError(f"{name} must be a number of at least 0, not {value}")

    def mean_seconds(self, busy: int) -> float:
        """Mean service time of a request that starts as the `busy`-th in service."""
        return self.base_seconds + self.slope_seconds * max(0, busy - 1)

    def sample_seconds(self, busy: int, source: random.Random) -> float:
        """One service time, lognormal around `mean_seconds` with the squared variation `cv2`."""
        mean = self.mean_seconds(busy)
        if self.cv2 == 0 or mean == 0:
            return mean
        variance = math.log1p(self.cv2)
        return source.lognormvariate(math.log(mean) - variance / 2, math.sqrt(variance))


# First entry whose words all occur in the accelerator's name wins, so the special stand before the general.
_BUILT_IN: tuple[tuple[tuple[str, ...], ServiceProfile], ...] = (
    (("b200",), ServiceProfile(32, 0.030, 0.0004, 0.15)),
    (("h200",), ServiceProfile(32, 0.035, 0.0005, 0.15)),
    (("h100",), ServiceProfile(24, 0.040, 0.0006, 0.15)),
    (("a100",), ServiceProfile(16, 0.060, 0.0012, 0.2)),
    (("l40s",), ServiceProfile(16, 0.070, 0.0015, 0.2)),
    (("l4",), ServiceProfile(8, 0.110, 0.004, 0.25)),
    (("a10g",), ServiceProfile(8, 0.100, 0.004, 0.25)),
    (("t4",), ServiceProfile(4, 0.180, 0.012, 0.3)),
    (("jetson",), ServiceProfile(2, 0.120, 0.020, 0.3)),
    (("orin",), ServiceProfile(2, 0.120, 0.020, 0.3)),
    (("mi300",), ServiceProfile(24, 0.045, 0.0007, 0.15)),
    (("mi2",), ServiceProfile(12, 0.075, 0.002, 0.2)),
    (("gaudi",), ServiceProfile(16, 0.065, 0.0015, 0.15)),
    (("inferentia", "2"), ServiceProfile(8, 0.090, 0.003, 0.1)),
    (("inferentia",), ServiceProfile(4, 0.140, 0.008, 0.1)),
    (("inf2",), ServiceProfile(8, 0.090, 0.003, 0.1)),
    (("trainium", "2"), ServiceProfile(16, 0.050, 0.001, 0.1)),
    (("trainium",), ServiceProfile(8, 0.080, 0.0025, 0.1)),
    (("trn",), ServiceProfile(8, 0.080, 0.0025, 0.1)),
    (("tpu", "v6e"), ServiceProfile(16, 0.050, 0.001, 0.1)),
    (("tpu", "v5p"), ServiceProfile(16, 0.055, 0.001, 0.1)),
    (("tpu",), ServiceProfile(8, 0.085, 0.0025, 0.1)),
    (("coral",), ServiceProfile(1, 0.012, 0.0, 0.05)),
    (("hailo",), ServiceProfile(2, 0.010, 0.001, 0.05)),
    (("fpga",), ServiceProfile(1, 0.006, 0.0, 0.02)),
    (("alveo",), ServiceProfile(1, 0.006, 0.0, 0.02)),
    (("akida",), ServiceProfile(1, 0.015, 0.0, 0.05)),
    (("loihi",), ServiceProfile(1, 0.015, 0.0, 0.05)),
    (("neuromorphic",), ServiceProfile(1, 0.015, 0.0, 0.05)),
    (("amx",), ServiceProfile(4, 0.250, 0.030, 0.3)),
    (("cpu",), ServiceProfile(2, 0.400, 0.080, 0.4)),
    (("gpu",), ServiceProfile(8, 0.110, 0.004, 0.25)),
)
UNKNOWN_ACCELERATOR = ServiceProfile(4, 0.100, 0.010, 0.25)


def choose_profile(accelerator: str) -> ServiceProfile:
    """The built-in profile of an accelerator by catalog name or family; a middling one when unknown."""
    name = accelerator.lower()
    for words, profile in _BUILT_IN:
        if all(word in name for word in words):
            return profile
    return UNKNOWN_ACCELERATOR
