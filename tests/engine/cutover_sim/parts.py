"""What the simulated outside is made of: names, the times that things take, and values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from switchyard.core.routing.plan import TrafficPlan

Key = tuple[str, str, str]  # kind, namespace, name
Body = Mapping[str, Any]

SPACE, WORKLOAD, PLAN = "team", "chat", "move"
STABLE: Key = ("Service", SPACE, WORKLOAD)
THE_PLAN: Key = ("CutoverPlan", SPACE, PLAN)
OLD, NEW = "chat-v-old", "chat-v-new"
ROUTERS = "routers"  # in place of a track: what the stable Service selects meanwhile
FULL = 2  # replicas that carry all of the demand, on either side
GPU = "example.com/gpu"
CUTOVER = "switchyard-cutover"

WATCH_SECONDS = 0.1  # until the watches show a write
START_SECONDS = 10.0  # of a pod of the workload
ROUTER_START_SECONDS = 2.0
ENDPOINT_SECONDS = 0.5  # until callers follow a changed selector
MOUNT_SECONDS = 20.0  # until a router reads a changed document by itself
TERMINAL = {"Completed", "RolledBack", "Aborted"}


@dataclass(frozen=True, slots=True)
class SimPod:
    name: str
    track: str
    marks: Mapping[str, str]
    node: str
    ready_at: float
    is_lost: bool = False


@dataclass(frozen=True, slots=True)
class Doc:
    """What routers follow. `all_to`: a track that gets everything, in place of the plan's shares."""

    plan: TrafficPlan
    serial: int = 0
    all_to: str = ""

    @property
    def number(self) -> tuple[int, int]:
        return self.plan.version, self.serial

    def tell(self) -> tuple[Any, ...]:
        """What it does: each segment's shares on the candidate, of users and of copies."""
        shares = ((each.name, each.candidate_percent, each.shadow_percent) for each in self.plan.segments)
        return (self.all_to,) if self.all_to else tuple(shares)

    def says_same(self, other: Doc | None) -> bool:
        return other is not None and (self.plan, self.all_to) == (other.plan, other.all_to)


@dataclass(frozen=True, slots=True)
class SimRouter:
    """A router pod; `doc` None until it has read one."""

    epoch: str
    ready_at: float
    doc: Doc | None = None


@dataclass(frozen=True, slots=True)
class Landed:
    """A write that was accepted. `change`: the object and what is true of it now; None where nothing is."""

    at: float
    what: str
    change: tuple[str, Any] | None = None
