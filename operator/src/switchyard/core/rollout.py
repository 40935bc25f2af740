"""What to write for what placement grants: children to apply, tracks to follow and delete, the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from switchyard.api import Reason, labels
from switchyard.core.decisions import Apply, Delete, EventNote, ObjectDecision
from switchyard.core.desired import (
    Track,
    build_deployment,
    build_disruption_budget,
    build_stable_service,
    build_track_service,
    name_track,
)
from switchyard.core.drift import differs
from switchyard.core.errors import TemplateError
from switchyard.core.placement.admission import Option
from switchyard.core.placement.explain import Rejection
from switchyard.core.placement.facts import WorkloadFacts
from switchyard.core.placement.problem import Placement
from switchyard.core.readings import Readings
from switchyard.core.reports import write_status
from switchyard.core.tracks import Standing, choose_doomed, choose_serving
from switchyard.core.workload_status import Outcome, describe_workload
from switchyard.core.world import PodTemplate, Workload, World

_KIND = "InferenceWorkload"
Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Grant:
    """What placement gives one workload, and why not more. `gives_way`: a higher tier took its devices."""

    placement: Placement | None
    option: Option | None
    rejections: tuple[Rejection, ...]
    misfortune: tuple[Reason, str] | None
    objection: str
    gives_way: bool


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

    @property
    def namespace(self) -> str:
        """The workload's."""
        return self.workload.meta.namespace

    @property
    def refusal(self) -> tuple[Reason, str] | None:
        """Why the API server took no child of it last time."""
        refusal = self.world.refusals.get((_KIND, *self.workload.key))
        if refusal is None:
            return None
        reason = Reason.NameConflict if refusal.is_name_taken else Reason.ChildRefused
        return reason, refusal.message


@dataclass(frozen=True, slots=True)
class _Turn:
    """Who should serve, who does, and how many pods of each track are ready."""

    wanted: Track | None
    serving: str
    ready: Mapping[str, int]

    @property
    def wanted_name(self) -> str:
        return self.wanted.name if self.wanted else ""


def roll_out(scene: Scene, names: NameRegister) -> ObjectDecision:
    """All effects for one workload, in their order: applies, deletes, status, events."""
    turn = _take_turn(scene)
    bodies, stall = _build(scene, turn, names)
    applies = _applies(scene, bodies)
    deletes = () if stall else _deletes(scene, turn)
    fields, findings = describe_workload(_describe(scene, turn, stall or scene.refusal))
    meta = scene.workload.meta
    status, events = write_status(
        _KIND, meta, scene.workload.status, fields=fields, findings=findings, now=scene.world.now
    )
    return ObjectDecision(
        _KIND,
        meta.namespace,
        meta.name,
        applies=applies,
        deletes=deletes,
        status=status,
        events=(*_move_event(scene.workload, scene.grant), *events),
    )


def _take_turn(scene: Scene) -> _Turn:
    wanted = None
    if scene.grant.placement is not None:
        candidate, replicas = scene.grant.placement.candidate, scene.grant.placement.replicas
        name = name_track(scene.workload, candidate.variant, candidate.pool)
        wanted = Track(name, candidate.variant, candidate.pool, replicas, candidate.unit_devices)
    names = {track.name for track in scene.standing.tracks} | ({wanted.name} if wanted else set())
    ready = {name: scene.readings.fleet.track((scene.namespace, name)).ready for name in sorted(names)}
    serving = choose_serving(scene.standing, wanted.name if wanted else "", ready)
    if scene.grant.gives_way:
        serving = wanted.name if wanted else ""
    return _Turn(wanted, serving, ready)


def _build(scene: Scene, turn: _Turn, names: NameRegister) -> tuple[list[Body], tuple[Reason, str] | None]:
    """The children that should exist, or why none can. A workload without a place keeps what it has."""
    wanted, workload = turn.wanted, scene.workload
    if wanted is None:
        return [], None
    claims = (
        ("Deployment", wanted.name),
        ("Service", wanted.name),
        ("Service", workload.meta.name),
        ("PodDisruptionBudget", workload.meta.name),
    )
    conflicts = [problem for kind, name in claims if (problem := names.claim(workload, kind, name))]
    if conflicts:
        return [], (Reason.NameConflict, conflicts[0])
    bodies: list[Body] = []
    try:
        template = _find_template(workload, wanted.variant, scene.world)
        bodies.append(build_deployment(workload, wanted, scene.readings.pools[wanted.pool].facts, template))
    except TemplateError as error:
        if scene.standing.track(wanted.name) is None:
            return [], (Reason.InvalidSpec, str(error))
    bodies += [
        build_track_service(workload, wanted),
        build_stable_service(workload, turn.serving),
        build_disruption_budget(workload),
    ]
    return bodies, None


def _find_template(workload: Workload, variant_name: str, world: World) -> PodTemplate | None:
    variant = next(each for each in workload.spec.variants if each.name == variant_name)
    if variant.pod_template_ref is None:
        return None
    wanted = (workload.meta.namespace, variant.pod_template_ref.name)
    return next((each for each in world.pod_templates if (each.namespace, each.name) == wanted), None)


def _applies(scene: Scene, bodies: list[Body]) -> tuple[Apply, ...]:
    observed = {(child.kind, child.meta.name): child for child in scene.standing.children}
    owner = (_KIND, *scene.workload.key)
    needed = []
    for body in bodies:
        child = observed.get((body["kind"], body["metadata"]["name"]))
        if child is None or differs(body, child.body):
            needed.append(Apply(owner, body))
    return tuple(needed)


def _deletes(scene: Scene, turn: _Turn) -> tuple[Delete, ...]:
    """Children of doomed tracks, and of tracks whose Deployment is gone."""
    tracks = choose_doomed(
        scene.standing, turn.wanted_name, turn.serving, turn.ready, gives_way=scene.grant.gives_way
    )
    doomed = {track.name for track in tracks}
    kept = {track.name for track in scene.standing.tracks} | {turn.serving, turn.wanted_name}
    return tuple(
        Delete((_KIND, *scene.workload.key), child)
        for child in sorted(scene.standing.children, key=lambda each: (each.kind, each.meta.name))
        if (track := child.meta.labels.get(labels.TRACK))
        and (track in doomed or track not in kept)
        and not child.meta.is_deleting
    )


def _describe(scene: Scene, turn: _Turn, stall: tuple[Reason, str] | None) -> Outcome:
    grant = scene.grant
    option, replicas = grant.option, grant.placement.replicas if grant.placement else 0
    pods = scene.readings.fleet.track((scene.namespace, turn.wanted_name or turn.serving))
    return Outcome(
        facts=scene.facts,
        option=option,
        replicas=replicas,
        pool=scene.readings.pools[option.pool].facts if option else None,
        cost_per_hour=option.allocated_per_hour * replicas / option.replicas if option else Decimal(0),
        rejections=grant.rejections,
        misfortune=grant.misfortune,
        objection=grant.objection,
        wanted_track=turn.wanted_name,
        serving_track=turn.serving,
        wanted_ready=min(replicas, turn.ready.get(turn.wanted_name, 0)),  # a roll-out may have one more
        serving_ready=turn.ready.get(turn.serving, 0),
        waiting_for=pods.unschedulable_message or pods.waiting_reason,
        stall=stall,
        is_reachable=bool(scene.standing.pointed_at),
    )


def _move_event(workload: Workload, grant: Grant) -> tuple[EventNote, ...]:
    """An event when a workload that had a place gets another one."""
    before = workload.status.placements
    if not before or grant.option is None:
        return ()
    old = (before[0].variant, before[0].pool)
    new = (grant.option.variant, grant.option.pool)
    if old == new:
        return ()
    message = f"moves from variant {old[0]} on pool {old[1]} to variant {new[0]} on pool {new[1]}"
    return (EventNote(_KIND, workload.meta, "Warning", Reason.Replacing.value, message),)
