"""What an engine measured of itself in one window: the input of learning."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class EngineSample:
    """One window (a minute) of one replica. All values are means over the window and of this replica alone.

    `is_warm`: the replica was past its warm-up when the window began and did not restart in it. A window
    without a finished token interval gives no sample. None: the engine does not tell.
    """

    at: datetime  # the end of the window
    variant: str
    pool: str
    running: float  # requests in the batch
    inter_token_seconds: float
    ttft_seconds: float | None
    request_rate: float  # requests per second
    input_tokens: float | None  # per request
    output_tokens: float | None
    kv_tokens: float | None  # held in the cache by all running requests together
    is_warm: bool
