"""Which tracks a workload has, which of them its plan is made of, and what may be followed and deleted next.

    no track --place--> wanted --ready pods--> serving --lost all, nothing fits--> replaced
                          ^                                                          |
                          +---------------------- new track ------------------------+

In single mode the stable Service selects one track: it follows a new one when that has ready pods, or when
the old one has none. In mixed mode it selects the pods of all tracks. An old track goes once nobody reaches
it: when the Service has been seen to point elsewhere, or in a mix when all that is wanted is ready. While
somebody holds the traffic, any track may be reached by a way of its own: none goes, and the one that served
counts as serving.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from switchyard.api import labels
from switchyard.core.holding import TRAFFIC_FIELDS, find_holder
from switchyard.core.naming import label_value
from switchyard.core.placement.ballot import Track
from switchyard.core.placement.capacity import Fleet
from switchyard.core.placement.facts import WorkloadFacts
from switchyard.core.world import Child, Workload

SHARED = "*"  # in place of a track's name: the stable Service selects the pods of all tracks


@dataclass(frozen=True, slots=True)
class Standing:
    """What exists of a workload. `tracks` by name; `served`: the one that serves or served last, or empty."""

    children: tuple[Child, ...]
    tracks: tuple[Track, ...]
    planned: tuple[Track, ...]  # of the present plan: those that serve, or are being started
    served: str
    pointed_at: str  # what the stable Service selects now: a track, SHARED, or empty without such a Service
    # kind -> who moves its traffic: of the stable Service (`pointed_at` is empty then) and of the route
    holders: Mapping[str, str] = field(default_factory=dict)

    def track(self, name: str) -> Track | None:
        """The track of that name."""
        return next((each for each in self.tracks if each.name == name), None)

    def refusal(self, name: str) -> str:
        """Why the API server takes no more pods of a track: a quota, a webhook; empty when it takes them."""
        for child in self.children:
            if child.kind == "Deployment" and child.meta.name == name:
                for each in (child.body.get("status") or {}).get("conditions") or ():
                    if each.get("type") == "ReplicaFailure" and each.get("status") == "True":
                        # before that it names a pod, another one at each attempt
                        return str(each.get("message") or "").rpartition(" is forbidden: ")[2]
        return ""


def find_standing(
    workload: Workload,
    facts: WorkloadFacts,
    pool_names: Sequence[str],
    children: Sequence[Child],
    fleet: Fleet,
    *,
    bound_to: str = "",
) -> Standing:
    """What exists of the workload among `children`, all owned by it.

    `bound_to`: the track that serves by the word of a cutover, whatever is ready.
    """
    pools = {label_value(name): name for name in pool_names}
    variants = {label_value(each.name): each.name for each in facts.variants}
    granted = {(each.variant, each.pool): each.replicas for each in workload.status.placements}
    tracks = []
    pointed_at = ""
    holders = {}
    for child in children:
        marks = child.meta.labels
        if child.kind == "Deployment" and labels.TRACK in marks and not child.meta.is_deleting:
            variant, pool = marks.get(labels.VARIANT, ""), marks.get(labels.POOL, "")
            variant, pool = variants.get(variant, variant), pools.get(pool, pool)
            pods = fleet.track((workload.meta.namespace, child.meta.name))
            asked = int((child.body.get("spec") or {}).get("replicas") or 0)
            replicas = granted.get((variant, pool)) or max(0, asked - pods.to_succeed) or asked
            tracks.append(Track(child.meta.name, variant, pool, replicas, pods))
        if child.kind in TRAFFIC_FIELDS and child.meta.name == workload.meta.name:
            if holder := find_holder(child.body):
                holders[child.kind] = holder
            elif child.kind == "Service":
                pointed_at = _read_selector(child)
    tracks.sort(key=lambda each: each.name)
    served = _find_served(workload, tracks)
    usable = [each for each in tracks if each.variant in variants.values() and each.pool in pools.values()]
    planned = _find_planned(usable, served, granted, is_mixed=facts.mode == "mixed")
    if bound_to:
        served, planned = bound_to, tuple(each for each in usable if each.name == bound_to)
    return Standing(tuple(children), tuple(tracks), planned, served, pointed_at, holders)


def _read_selector(service: Child) -> str:
    selector = (service.body.get("spec") or {}).get("selector") or {}
    return str(selector.get(labels.TRACK, "")) or (SHARED if labels.SHARED in selector else "")


def _find_served(workload: Workload, tracks: Sequence[Track]) -> str:
    ready = {each.name: each.pods.ready for each in tracks}
    recorded = workload.status.active_track or ""
    if recorded in ready and (ready[recorded] or not any(ready.values())):
        return recorded
    serving = sorted((-count, name) for name, count in ready.items() if count)
    return serving[0][1] if serving else ""


def _find_planned(
    tracks: Sequence[Track], served: str, granted: Mapping[tuple[str, str], int], *, is_mixed: bool
) -> tuple[Track, ...]:
    """The tracks of the present plan: what was granted last; without a record, what serves or exists."""
    recorded = tuple(each for each in tracks if (each.variant, each.pool) in granted)
    if is_mixed:
        if any(each.pods.ready for each in recorded):
            return recorded
        return tuple(each for each in tracks if each.pods.ready) or recorded or tuple(tracks)
    serving = tuple(each for each in tracks if each.name == served)
    if serving:
        return serving
    fullest = sorted(recorded or tracks, key=lambda each: (-each.pods.total, each.name))
    return tuple(fullest[:1])


def choose_serving(standing: Standing, wanted: str, ready: Mapping[str, int]) -> str:
    """The track for the stable Service to point to: the wanted one, or the old one while only that serves.

    Callers are never led away from ready pods to none, whoever led them there.
    """
    for name in (wanted, standing.served, standing.pointed_at):
        if name and ready.get(name, 0):
            return name
    return wanted or standing.served


def may_share(standing: Standing) -> bool:
    """True when every pod that serves carries the label that a shared Service selects by."""
    return not any(each.pods.unshared for each in standing.tracks)


def choose_doomed(
    standing: Standing,
    wanted: Mapping[str, int],
    serving: str,
    ready: Mapping[str, int],
    *,
    gives_way: bool,
    given_up: frozenset[str] = frozenset(),
) -> tuple[Track, ...]:
    """Tracks to delete: not wanted, and nobody reaches them any more or a higher tier needs the devices.

    `wanted`: replicas by track. While the traffic is held, a track goes when a higher tier needs its devices,
    or when the holder says that no request goes there (`given_up`).
    """
    if standing.holders and not gives_way:
        return tuple(each for each in standing.tracks if each.name in given_up and each.name not in wanted)
    is_complete = bool(wanted) and all(ready.get(name, 0) >= count for name, count in wanted.items())
    doomed = []
    for track in standing.tracks:
        if track.name in wanted or (track.name == serving and not gives_way):
            continue
        is_selected = standing.pointed_at == track.name or (standing.pointed_at == SHARED and not is_complete)
        is_reached = is_selected and ready.get(track.name, 0) > 0
        if gives_way or not is_reached:
            doomed.append(track)
    return tuple(doomed)
