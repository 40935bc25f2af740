"""What a way of routing by objects must bring: how a split is written and read, and what takes copies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from switchyard.adapters.resources import Resource
from switchyard.api.exposure import Exposure
from switchyard.core.routing.plan import Share, Target, TrafficPlan
from switchyard.core.routing.samples import Samples
from switchyard.engine.ports import Failed
from switchyard.engine.routing import RouteResult

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Confirmation:
    """What the system that reads the route says of it. Both empty: the rules in the object are in force."""

    waiting_for: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class MirrorState:
    """What takes the copies. `copies`: how many arrived since its life began, None when it did not say."""

    version: int | None = None
    copies: int | None = None
    waiting_for: str = ""
    problem: str = ""


class RouteForm(Protocol):
    """How one API writes a split of traffic down."""

    @property
    def resource(self) -> Resource:
        """The kind of the route."""
        ...

    @property
    def field(self) -> str:
        """The field of its spec that holds the rules: an atomic list."""
        ...

    @property
    def exposure(self) -> str:
        """The field of the workload's spec.exposure that asks for it."""
        ...

    @property
    def defaulted(self) -> frozenset[str]:
        """Fields that the API server adds within a rule."""
        ...

    @property
    def least_release(self) -> str:
        """What to install where the CRD lacks a field."""
        ...

    def build(self, plan: TrafficPlan, exposure: Exposure, mirror: Target | None) -> list[dict[str, Any]]:
        """The rules of a plan; copies go to `mirror`."""
        ...

    def read_shares(self, entries: Any, plan: TrafficPlan) -> dict[str, Share]:
        """The shares that rules give to the plan's segments and candidate; what is unreadable is left out."""
        ...

    def read_confirmation(self, route: Json) -> Confirmation:
        """What is said of the route as it is now; what was said of an older one counts for nothing."""
        ...


class Comparator(Protocol):
    """What takes mirrored copies, asks the arms itself, and compares."""

    def target(self, plan: TrafficPlan) -> Target: ...
    async def apply(self, plan: TrafficPlan) -> RouteResult: ...
    async def observe(self, plan: TrafficPlan) -> MirrorState: ...
    async def remove(self, plan: TrafficPlan) -> RouteResult: ...
    async def read_samples(self, plan: TrafficPlan) -> tuple[Samples, ...] | Failed: ...


def is_shadowed(plan: TrafficPlan) -> bool:
    """True when any segment is copied."""
    return plan.candidate is not None and any(segment.shadow_percent for segment in plan.segments)


def choose_mirror(plan: TrafficPlan, comparator: Target) -> Target | None:
    """Where copies go: to the candidate itself only where nothing is compared and anything may be repeated.

    A mirror knows neither methods nor exclusions; the comparator drops what must not be asked twice.
    """
    if not is_shadowed(plan):
        return None
    return comparator if needs_comparator(plan) else plan.candidate


def needs_comparator(plan: TrafficPlan) -> bool:
    """True when copies must pass the comparator."""
    may_repeat_all = not plan.shadow.exclude and {"PUT", "PATCH", "DELETE"} <= {*plan.shadow.methods}
    return is_shadowed(plan) and (bool(plan.comparators) or not may_repeat_all)
