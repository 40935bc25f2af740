"""What was learned of an engine from its own metrics."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from switchyard.core.placement.tokens import TokensProfile

LearnedState = Literal["Proposed", "Used", "Insufficient"]


@dataclass(frozen=True, slots=True)
class LearnedProfile:
    """A profile of one variant on one pool, and how far it can be trusted.

    `tokens` None: too little was seen; `message` says what is missing. `relative_error`: of the predicted
    iteration times in windows that the fit did not use.
    """

    variant: str
    pool: str
    tokens: TokensProfile | None
    samples: int
    relative_error: float | None
    learned_at: datetime | None
    state: LearnedState = "Insufficient"
    message: str = ""
