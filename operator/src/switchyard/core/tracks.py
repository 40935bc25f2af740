"""Which tracks a workload has, which one serves, and what may be created, followed and deleted next.

    no track --place--> wanted --ready pods--> serving --lost all, nothing fits--> replaced
                          ^                                                          |
                          +---------------------- new track ------------------------+

The stable Service follows a new track when that has ready pods, or when the old one has none. The old track
goes once the Service has been seen to point elsewhere, so that no request meets a Service without a track.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from switchyard.api import labels
from switchyard.core.naming import label_value
from switchyard.core.placement.capacity import Fleet
from switchyard.core.placement.facts import WorkloadFacts
from switchyard.core.placement.pose import Track
from switchyard.core.world import Child, Workload


@dataclass(frozen=True, slots=True)
class Standing:
    """What exists of a workload. `tracks` by name; `served`: the one that serves or served last, or empty."""

    children: tuple[Child, ...]
    tracks: tuple[Track, ...]
    served: str
    pointed_at: str  # the track that the stable Service selects now, empty when there is no such Service

    def track(self, name: str) -> Track | None:
        """The track of that name."""
        return next((each for each in self.tracks if each.name == name), None)


def find_standing(
    workload: Workload,
    facts: WorkloadFacts,
    pool_names: Sequence[str],
    children: Sequence[Child],
    fleet: Fleet,
) -> Standing:
    """What exists of the workload among `children`, all owned by it."""
    pools = {label_value(name): name for name in pool_names}
    variants = {label_value(each.name): each.name for each in facts.variants}
    tracks = []
    pointed_at = ""
    for child in children:
        if child.kind == "Deployment" and not child.meta.is_deleting:
            marks = child.meta.labels
            variant, pool = marks.get(labels.VARIANT, ""), marks.get(labels.POOL, "")
            replicas = int((child.body.get("spec") or {}).get("replicas") or 0)
            tracks.append(
                Track(child.meta.name, variants.get(variant, variant), pools.get(pool, pool), replicas)
            )
        if child.kind == "Service" and child.meta.name == workload.meta.name:
            selector = (child.body.get("spec") or {}).get("selector") or {}
            pointed_at = str(selector.get(labels.TRACK, ""))
    tracks.sort(key=lambda each: each.name)
    return Standing(tuple(children), tuple(tracks), _find_served(workload, tracks, fleet), pointed_at)


def _find_served(workload: Workload, tracks: Sequence[Track], fleet: Fleet) -> str:
    names = {each.name for each in tracks}
    recorded = workload.status.active_track or ""
    ready = {name: fleet.track((workload.meta.namespace, name)).ready for name in names}
    if recorded in names and (ready[recorded] or not any(ready.values())):
        return recorded
    serving = sorted((-count, name) for name, count in ready.items() if count)
    return serving[0][1] if serving else ""


def choose_serving(standing: Standing, wanted: str, ready: Mapping[str, int]) -> str:
    """The track for the stable Service to point to: the wanted one, or the old one while only that serves."""
    if wanted and ready.get(wanted, 0):
        return wanted
    if standing.served and ready.get(standing.served, 0):
        return standing.served
    return wanted or standing.served


def choose_doomed(
    standing: Standing, wanted: str, serving: str, ready: Mapping[str, int], *, gives_way: bool
) -> tuple[Track, ...]:
    """Tracks to delete: not wanted, and nobody reaches them any more or a higher tier needs the devices."""
    doomed = []
    for track in standing.tracks:
        if track.name in {wanted, serving} and not (gives_way and track.name != wanted):
            continue
        is_reached = standing.pointed_at == track.name and ready.get(track.name, 0) > 0
        if gives_way or not is_reached:
            doomed.append(track)
    return tuple(doomed)
