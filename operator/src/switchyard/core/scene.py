"""What the roll-out of a workload is decided from: what is granted, what exists, whose names are whose."""

from __future__ import annotations

from dataclasses import dataclass, field

from switchyard.api import Reason
from switchyard.core.placement.case import Option
from switchyard.core.placement.explain import Rejection
from switchyard.core.placement.facts import WorkloadFacts
from switchyard.core.readings import Readings
from switchyard.core.sizing import Sizing
from switchyard.core.stability.demand import DemandPlan
from switchyard.core.stability.recommend import RecommendationPlan
from switchyard.core.tracks import Standing
from switchyard.core.world import Workload, World


@dataclass(frozen=True, slots=True)
class Share:
    """What a workload gets of one option. `degradation`: of what is granted; `is_kept`: it is held already.

    `objection`: why it would be refused if it were new.
    """

    option: Option
    replicas: int
    wanted: int
    degradation: int = 0
    is_kept: bool = False
    objection: str = ""


@dataclass(frozen=True, slots=True)
class Grant:
    """What placement gives one workload, and why not more. `gives_way`: a higher tier took its devices.

    `limit`: what allows no more where devices are free.
    """

    shares: tuple[Share, ...]
    rejections: tuple[Rejection, ...]
    misfortune: tuple[Reason, str] | None
    gives_way: bool
    unserved_ratio: float = 0.0
    limit: tuple[Reason, str] | None = None


@dataclass(frozen=True, slots=True)
class Guest:
    """The other side of a cutover. `share` None: placement gives it nothing, or the plan wants nothing.

    `is_idle`: by the plan, no request goes to its track.
    """

    track: str
    share: Share | None = None
    is_idle: bool = True


class NameRegister:
    """Who may use the name of a child: the owner that has it, else the first to ask in this pass."""

    def __init__(self, world: World) -> None:
        self._owners = {
            (child.kind, child.meta.namespace, child.meta.name): child.owner_uid for child in world.children
        }

    def claim(self, workload: Workload, kind: str, name: str) -> str:
        """Why the name cannot be used; empty when it can."""
        owner = self._owners.setdefault((kind, workload.meta.namespace, name), workload.meta.uid)
        if owner == workload.meta.uid:
            return ""
        return f"{kind} {name} belongs to somebody else: remove it, or rename the workload, variant or pool"


@dataclass(frozen=True, slots=True)
class Scene:
    """One workload with all that its roll-out depends on."""

    workload: Workload
    facts: WorkloadFacts
    standing: Standing
    grant: Grant
    readings: Readings
    world: World
    demand: DemandPlan
    sizing: Sizing | None = None
    recommendation: RecommendationPlan = field(default_factory=RecommendationPlan)
    guest: Guest | None = None

    @property
    def namespace(self) -> str:
        """The workload's."""
        return self.workload.meta.namespace

    @property
    def refusal(self) -> tuple[Reason, str] | None:
        """Why the API server took no child of it last time."""
        refusal = self.world.refusals.get(("InferenceWorkload", *self.workload.key))
        if refusal is None:
            return None
        reason = Reason.NameConflict if refusal.is_name_taken else Reason.ChildRefused
        return reason, refusal.message
