"""What is asked of the outside for a plan's traffic, what to look at, and what came of it: values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from switchyard.core.cutover.types import Router
from switchyard.core.routing.plan import TrafficPlan

TRAFFIC_FINALIZER = "switchyard.dev/traffic"  # on a plan while it holds traffic: it must not go before that


@dataclass(frozen=True, slots=True)
class TrafficOrder:
    """Bring `plan` into force; or, with `release_to`, send all to the track with that Service and let go."""

    router: Router
    plan: TrafficPlan
    release_to: str = ""


@dataclass(frozen=True, slots=True)
class Carried:
    """How far an order is. `waiting_for`: what holds a rest of it back; `problem`: why it was refused."""

    order: TrafficOrder
    waiting_for: str = ""
    problem: str = ""

    @property
    def is_done(self) -> bool:
        """True when everything of it is written."""
        return not self.waiting_for and not self.problem


@dataclass(frozen=True, slots=True)
class TrafficWatch:
    """Traffic to look at, compared with `plan`, every so often.

    `is_unsettled`: something is awaited, so look more often; samples keep the interval. `counts_from`: looks
    come right after whole intervals from then on, where windows of evidence end.
    """

    key: tuple[str, str]  # of the CutoverPlan
    router: Router
    plan: TrafficPlan
    interval_seconds: float
    is_unsettled: bool = False
    counts_from: datetime | None = None
    needs_support: bool = False
    needs_samples: bool = False
