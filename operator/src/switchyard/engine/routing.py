"""How the loop moves traffic, as a Protocol: one adapter per way of routing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from switchyard.core.routing.plan import RouteState, Support, TrafficPlan
from switchyard.core.routing.samples import Samples
from switchyard.engine.ports import Conflict, Denied, Failed


@dataclass(frozen=True, slots=True)
class Applied:
    """Everything that could be written now is written. `waiting_for`: why a rest was held back, else empty.

    Called again with the same plan it goes on where it had to wait.
    """

    waiting_for: str = ""


RouteResult = Applied | Conflict | Denied | Failed


class TrafficRouter(Protocol):
    """One way of routing. No method raises for what the outside does; a result says it."""

    async def supports(self, plan: TrafficPlan) -> Support:
        """What this way can do for the workload, read from the cluster."""
        ...

    async def observe(self, plan: TrafficPlan) -> RouteState:
        """What is in force for the workload, compared with `plan`."""
        ...

    async def apply(self, plan: TrafficPlan) -> RouteResult:
        """Bring the plan into force, in an order in which no request is lost."""
        ...

    async def release(self, plan: TrafficPlan, service: str) -> RouteResult:
        """Send all to the track with that Service by the direct way, then remove what was put in between."""
        ...

    async def read_samples(self, plan: TrafficPlan) -> tuple[Samples, ...] | Failed:
        """The cumulative samples of every part of the path that measures; empty when this way has none."""
        ...
