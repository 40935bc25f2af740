"""A latency profile that was learned, as the status shows it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from switchyard.core.placement.latency import TokensProfile

State = Literal["Proposed", "Used", "Insufficient"]


@dataclass(frozen=True, slots=True)
class LearnedProfile:
    """What was learned of a variant on a pool. `tokens` None: nothing yet, `message` says what is missing.

    `samples` counts windows with their weights. `relative_error` is that of iteration times on windows that
    the fit was not told. Used: placement takes it; Proposed: a person decides.
    """

    variant: str
    pool: str
    tokens: TokensProfile | None
    samples: int
    relative_error: float | None
    learned_at: datetime
    state: State
    message: str
