"""What to write for what placement grants: children to apply, tracks to follow and delete, the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
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
from switchyard.core.exposure import (
    ROUTE_KINDS,
    build_routes,
    find_route_kind,
    find_unwanted_routes,
    judge_exposure,
    list_addresses,
)
from switchyard.core.holding import TRAFFIC_FIELDS
from switchyard.core.outcome import Entry, Outcome
from switchyard.core.reports import write_status
from switchyard.core.scene import NameRegister, Scene, Share
from switchyard.core.tracks import SHARED, choose_doomed, choose_serving, may_share
from switchyard.core.workload_status import describe_workload
from switchyard.core.world import Child, PodTemplate, Workload, World

_KIND = "InferenceWorkload"
Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Turn:
    """Which tracks should serve, what the stable Service selects, and the ready pods of each track.

    `leaving`: pods by track that serve until their node is taken back; `extra`: these and pods on nodes that
    do not answer. Successors of both are asked for now.
    """

    wanted: tuple[Track, ...]
    serving: str
    ready: Mapping[str, int]
    leaving: Mapping[str, int]
    extra: Mapping[str, int]
    guest: Track | None = None

    @property
    def tracks(self) -> tuple[Track, ...]:
        """All that should exist."""
        return (*self.wanted, self.guest) if self.guest is not None else self.wanted

    @property
    def replicas(self) -> dict[str, int]:
        return {each.name: each.replicas for each in self.tracks}


def roll_out(scene: Scene, names: NameRegister) -> ObjectDecision:
    """All effects for one workload, in their order: applies, deletes, status, events."""
    turn = _take_turn(scene)
    bodies, stall = _build(scene, turn, names)
    applies = _applies(scene, bodies)
    deletes = () if stall else _deletes(scene, turn)
    fields, findings = describe_workload(_describe(scene, turn, bodies, stall or scene.refusal))
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
        events=(*_own_events(scene, turn, applies), *events),
    )


def _take_turn(scene: Scene) -> _Turn:
    wanted = tuple(_build_track(scene, share) for share in scene.grant.shares)
    guest = _build_track(scene, scene.guest.share) if scene.guest and scene.guest.share else None
    names = {track.name for track in scene.standing.tracks} | {track.name for track in wanted}
    names |= {guest.name} if guest is not None else set()
    pods = {name: scene.readings.fleet.track((scene.namespace, name)) for name in sorted(names)}
    ready = {name: each.ready for name, each in pods.items()}
    leaving = {name: each.leaving for name, each in pods.items() if each.leaving}
    extra = {name: each.to_succeed for name, each in pods.items() if each.to_succeed}
    return _Turn(wanted, _choose_selection(scene, wanted, ready), ready, leaving, extra, guest)


def _build_track(scene: Scene, share: Share) -> Track:
    return Track(
        name=name_track(scene.workload, share.option.variant, share.option.pool),
        variant=share.option.variant,
        pool=share.option.pool,
        replicas=share.replicas,
        unit_devices=share.option.unit_devices,
    )


def _choose_selection(scene: Scene, wanted: Sequence[Track], ready: Mapping[str, int]) -> str:
    """What the stable Service is to select: a track, SHARED, or empty."""
    standing = scene.standing
    fullest = sorted(wanted, key=lambda each: (-ready.get(each.name, 0), each.name))
    first = fullest[0] if fullest else None
    if standing.holders and not scene.grant.gives_way:
        return SHARED if scene.facts.mode == "mixed" else standing.served or (first.name if first else "")
    if scene.facts.mode == "mixed":
        if first is None and standing.pointed_at == SHARED:
            return SHARED
        if first is not None and may_share(standing):
            return SHARED
    if scene.grant.gives_way:
        return first.name if first else ""
    if standing.pointed_at == SHARED and first is not None and ready.get(first.name, 0) < first.replicas:
        others = any(count for name, count in ready.items() if name != first.name)
        if others:
            return SHARED
    return choose_serving(standing, first.name if first else "", ready)


def _build(scene: Scene, turn: _Turn, names: NameRegister) -> tuple[list[Body], tuple[Reason, str] | None]:
    """The children that should exist, or why none can. A workload without a place keeps what it has."""
    workload = scene.workload
    if not turn.wanted:
        return [], None
    claims = [
        *((kind, track.name) for track in turn.tracks for kind in ("Deployment", "Service")),
        ("Service", workload.meta.name),
        ("PodDisruptionBudget", workload.meta.name),
    ]
    route_kind = find_route_kind(workload)
    claims += [(route_kind, workload.meta.name)] if route_kind else []
    conflicts = [problem for kind, name in claims if (problem := names.claim(workload, kind, name))]
    if conflicts:
        return [], (Reason.NameConflict, conflicts[0])
    bodies: list[Body] = []
    for track in turn.tracks:
        pool = scene.readings.pools[track.pool].facts
        try:
            template = _find_template(workload, track.variant, scene.world)
            bodies.append(build_deployment(workload, _enlarge(track, turn), pool, template))
        except TemplateError as error:
            if scene.standing.track(track.name) is None:
                return [], (Reason.InvalidSpec, str(error))
        bodies.append(build_track_service(workload, track))
    held = scene.standing.holders
    bodies.append(build_stable_service(workload, turn.serving, is_held="Service" in held))
    bodies.append(build_disruption_budget(workload))
    if route_kind in scene.world.route_kinds:
        bodies += build_routes(workload, is_held=route_kind in held)
    return bodies, None


def _enlarge(track: Track, turn: _Turn) -> Track:
    """The track with a replica more for each pod that needs a successor beside it."""
    return replace(track, replicas=track.replicas + turn.extra.get(track.name, 0))


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
            needed.append(Apply(owner, body, resource_version=_find_version(scene, child)))
    return tuple(needed)


def _find_version(scene: Scene, child: Child | None) -> str:
    """The version that an apply builds upon, where an older picture could take traffic from its holder."""
    if child is None or child.kind not in TRAFFIC_FIELDS or child.meta.name != scene.workload.meta.name:
        return ""
    return child.meta.resource_version


def _deletes(scene: Scene, turn: _Turn) -> tuple[Delete, ...]:
    """Children of doomed tracks, and of tracks whose Deployment is gone; nothing of what a holder may use.

    A holder may name the Service of a track to which it sends nothing, so that stays until it lets go.
    """
    given_up = frozenset({scene.guest.track} if scene.guest and scene.guest.is_idle else ())
    tracks = choose_doomed(
        scene.standing,
        turn.replicas,
        turn.serving,
        turn.ready,
        gives_way=scene.grant.gives_way,
        given_up=given_up,
    )
    doomed = {track.name for track in tracks}
    if scene.standing.holders and not scene.grant.gives_way:
        return tuple(
            Delete((_KIND, *scene.workload.key), child)
            for child in scene.standing.children
            if child.kind == "Deployment" and child.meta.name in doomed and not child.meta.is_deleting
        )
    kept = {track.name for track in scene.standing.tracks} | {turn.serving, *turn.replicas}
    left = [
        child
        for child in scene.standing.children
        if (track := child.meta.labels.get(labels.TRACK)) and (track in doomed or track not in kept)
    ]
    left += find_unwanted_routes(scene.workload, scene.standing.children, scene.world.route_kinds)
    return tuple(
        Delete((_KIND, *scene.workload.key), child)
        for child in sorted(left, key=lambda each: (each.kind, each.meta.name))
        if not child.meta.is_deleting
    )


def _describe(scene: Scene, turn: _Turn, bodies: Sequence[Body], stall: tuple[Reason, str] | None) -> Outcome:
    grant = scene.grant
    fullest = sorted(turn.ready, key=lambda name: (-turn.ready[name], name))
    serving = turn.serving
    if serving == SHARED:
        serving = next((name for name in fullest if turn.ready[name]), "") or next(iter(turn.replicas), "")
    shown = next((each.name for each in turn.wanted if turn.ready.get(each.name, 0) < each.replicas), serving)
    pods = scene.readings.fleet.track((scene.namespace, shown))
    all_ready = sum(turn.ready.values())
    return Outcome(
        facts=scene.facts,
        entries=tuple(
            _describe_share(scene, turn, share, track.name)
            for share, track in zip(grant.shares, turn.wanted, strict=True)
        ),
        rejections=grant.rejections,
        misfortune=grant.misfortune,
        objection=next((each.objection for each in grant.shares if each.objection), ""),
        unserved_ratio=grant.unserved_ratio,
        limit=grant.limit,
        serving_track=serving,
        is_shared=turn.serving == SHARED,
        serving_ready=all_ready if turn.serving == SHARED else turn.ready.get(turn.serving, 0),
        waiting_for=pods.unschedulable_message or pods.waiting_reason or scene.standing.refusal(shown),
        stall=stall,
        is_reachable=bool(scene.standing.pointed_at or scene.standing.holders),
        demand=scene.demand,
        addresses=tuple(list_addresses(scene.workload)),
        exposed=judge_exposure(
            scene.workload,
            scene.standing.children,
            scene.world.route_kinds,
            is_written=any(each["kind"] in ROUTE_KINDS for each in bodies),
            problem=stall,
        ),
        waiting=scene.sizing.plan.waiting if scene.sizing else None,
        recommendation=scene.recommendation.recommendation,
        learned=scene.world.learned.get(scene.workload.key),
        stored_learned=scene.workload.status.learned_profiles,
        guest=_describe_share(scene, turn, scene.guest.share, turn.guest.name)
        if scene.guest and scene.guest.share and turn.guest
        else None,
    )


def _describe_share(scene: Scene, turn: _Turn, share: Share, track: str) -> Entry:
    view = scene.readings.pools[share.option.pool]
    return Entry(
        option=share.option,
        replicas=share.replicas,
        wanted=share.wanted,
        ready=min(share.replicas, turn.ready.get(track, 0)),  # a roll-out may have one more
        track=track,
        pool=view.facts,
        device_hour=view.device_hour,
        degradation=share.degradation,
    )


def _own_events(scene: Scene, turn: _Turn, applies: Sequence[Apply]) -> tuple[EventNote, ...]:
    return (
        *_move_event(scene),
        *_interruption_event(scene, turn, applies),
        *_recommendation_event(scene),
    )


def _move_event(scene: Scene) -> tuple[EventNote, ...]:
    """An event when a workload that had a place gets another one."""
    before = {(each.variant, each.pool) for each in scene.workload.status.placements}
    now = {share.option.name for share in scene.grant.shares}
    if not before or not now or before & now:
        return ()
    left, gained = min(before), min(now)
    message = f"moves from variant {left[0]} on pool {left[1]} to variant {gained[0]} on pool {gained[1]}"
    return (EventNote(_KIND, scene.workload.meta, "Warning", Reason.Replacing.value, message),)


def _interruption_event(scene: Scene, turn: _Turn, applies: Sequence[Apply]) -> tuple[EventNote, ...]:
    """An event when replicas are asked for in place of those whose nodes are taken back."""
    before = {
        child.meta.name: int((child.body.get("spec") or {}).get("replicas") or 0)
        for child in scene.standing.children
        if child.kind == "Deployment"
    }
    grown = {
        each.body["metadata"]["name"]
        for each in applies
        if each.body["kind"] == "Deployment"
        and each.body["spec"]["replicas"] > before.get(each.body["metadata"]["name"], 0)
    }
    found = [each.name for each in turn.wanted if each.name in grown and turn.leaving.get(each.name)]
    if not found:
        return ()
    count = sum(turn.leaving[name] for name in found)
    are, their = ("replicas are", "their") if count > 1 else ("replica is", "its")
    message = (
        f"{count} {are} on nodes that the provider takes back: as many are started elsewhere "
        f"before {their} node goes (track {', '.join(found)})"
    )
    return (EventNote(_KIND, scene.workload.meta, "Warning", Reason.SpotInterruption.value, message),)


def _recommendation_event(scene: Scene) -> tuple[EventNote, ...]:
    plan = scene.recommendation
    if not plan.is_newly_settled or plan.recommendation is None:
        return ()
    reason, message = Reason.RecommendationReady.value, plan.recommendation.message
    return (EventNote(_KIND, scene.workload.meta, "Normal", reason, message),)
