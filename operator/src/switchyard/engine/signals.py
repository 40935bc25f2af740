"""Demand and the pace of engines as metrics tell them: what is asked, what came, and when it is news.

    wants of the world -> a source measures -> readings (kept while missing) -> news? -> the loop looks

Missing is never zero: a figure that nobody gave is None, and the reading says which query or pod is missing
and why, with the last figures beside it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol

from switchyard.api import labels
from switchyard.catalog.signal_presets import SignalPreset
from switchyard.core.learning.learned import LearnedProfile
from switchyard.core.learning.sample import EngineSample
from switchyard.core.naming import label_value
from switchyard.core.placement.facts import SignalFacts
from switchyard.core.placement.reading import read_workload
from switchyard.core.world import Pod, PriceReading, SignalReading, Workload, World

WorkloadKey = tuple[str, str]  # namespace, name

NEWS_RATIO = 0.05
LEARNING_WINDOW_SECONDS = 60.0
STALE_SECONDS = 300.0  # as Prometheus' lookback: what is older is not the present
_NONE = "\0"  # no name begins so
YOUNG_SECONDS = 30.0  # a pod of this age may not answer yet, and nobody misses it
WARM_SECONDS = 120.0  # caches and compiled graphs are in place; slower minutes before teach nothing


@dataclass(frozen=True, slots=True)
class PodRef:
    """One pod of a workload's own tracks, and where its metrics are asked."""

    workload: WorkloadKey
    name: str
    uid: str
    address: str
    port: int
    variant: str
    pool: str
    created_at: datetime | None
    is_ready: bool
    track: str = ""
    restarts: int = 0  # of its containers

    def age_seconds(self, now: datetime) -> float:
        """How long it exists; infinite when nobody says."""
        return math.inf if self.created_at is None else (now - self.created_at).total_seconds()


@dataclass(frozen=True, slots=True)
class Want:
    """What is to be measured of one workload: its demand, windows of its engines, or both."""

    workload: WorkloadKey
    signal: SignalFacts
    pods: tuple[PodRef, ...]
    is_demand: bool = True
    is_learning: bool = False


@dataclass(frozen=True, slots=True)
class Figures:
    """What the terms of a preset say together. None: not told, or nothing happened that could tell."""

    requests_per_second: float | None = None
    input_tokens: float | None = None
    output_tokens: float | None = None
    inter_token_seconds: float | None = None
    ttft_seconds: float | None = None
    running: float | None = None
    kv_tokens: float | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """One answer of a source: figures, or a problem that says which query or pod and why.

    `is_waiting`: the source answers, and a rate needs more than has been seen. `samples`: windows of engines
    that ended since the last answer.
    """

    figures: Figures = Figures()
    problem: str = ""
    is_waiting: bool = False
    samples: tuple[EngineSample, ...] = ()


class SignalSource(Protocol):
    async def measure(self, wants: Sequence[Want], now: datetime) -> Sequence[Measured]:
        """An answer for each want, in order; whatever the other side does is an answer too."""
        ...


@dataclass
class Outside:
    """What the collectors know at this moment; the reader copies it into each world."""

    signals: dict[WorkloadKey, SignalReading] = field(default_factory=dict)
    learned: dict[WorkloadKey, tuple[LearnedProfile, ...]] = field(default_factory=dict)
    prices: dict[str, PriceReading] = field(default_factory=dict)


def combine_terms(preset: SignalPreset, rates: Mapping[str, float], levels: Mapping[str, float]) -> Figures:
    """Figures from growth per second of the counters and stocks, and from the levels of the gauges.

    Terms that are absent leave their figures None. Requests that came = those that ended + growth of those
    that are inside; a draining queue may make that negative by the error of two clocks, hence the floor.
    """
    grown = [value for name, value in rates.items() if name.startswith(("requests.", "stock."))]
    is_told = any(name.startswith("requests.") for name in rates)
    kv_tokens = levels.get("kv_tokens")
    if preset.kv_tokens is not None and (preset.kv_tokens.times_gauge or preset.kv_tokens.times_labels):
        factor = levels.get("kv_tokens.times")
        kv_tokens = None if kv_tokens is None or factor is None else kv_tokens * factor
    return Figures(
        requests_per_second=max(0.0, sum(grown)) if is_told else None,
        input_tokens=_ratio(preset, "input_tokens", rates),
        output_tokens=_ratio(preset, "output_tokens", rates),
        inter_token_seconds=_ratio(preset, "inter_token", rates),
        ttft_seconds=_ratio(preset, "ttft", rates),
        running=levels.get("running"),
        kv_tokens=kv_tokens,
    )


def _ratio(preset: SignalPreset, name: str, rates: Mapping[str, float]) -> float | None:
    total, count = rates.get(f"{name}.sum"), rates.get(f"{name}.count")
    if total is None or count is None or count <= 0:
        return None
    scale: float = getattr(preset, name).scale
    return total / count * scale


def find_wants(world: World, presets: Mapping[str, SignalPreset]) -> tuple[Want, ...]:
    """What is to be measured in this world. Demand and learning from one place are one want.

    Copies of requests are no demand: pods that answer nothing else are left out of it.
    """
    found: list[Want] = []
    copied_to = _find_tracks_of_copies(world)
    for workload in world.workloads:
        spec = workload.spec
        if workload.meta.is_deleting or (spec.demand.signal is None and spec.signals is None):
            continue
        try:
            facts = read_workload(workload)
        except Exception:  # noqa: BLE001, S112  (the loop reads it as well, and says what is wrong with it)
            continue
        demand, learning = facts.signal, facts.learning_signal
        is_shared = (
            demand is not None
            and learning is not None
            and (demand.source, demand.preset, demand.template) == (learning.source, learning.preset, "")
        )
        if demand is not None:
            pods = find_pods(workload, world, presets.get(demand.preset))
            asked = tuple(
                each for each in pods if not each.name.startswith(copied_to.get(each.workload, _NONE))
            )
            is_shared = is_shared and asked == pods
            found.append(Want(workload.key, demand, asked, is_learning=is_shared))
        if learning is not None and not is_shared:
            pods = find_pods(workload, world, presets.get(learning.preset))
            found.append(Want(workload.key, learning, pods, is_demand=False, is_learning=True))
    return tuple(found)


def make_sample(pod: PodRef, figures: Figures, at: datetime, *, is_warm: bool) -> EngineSample | None:
    """One window of one replica, or None when it tells nothing: no token interval ended in it."""
    if figures.running is None or figures.inter_token_seconds is None or not pod.variant or not pod.pool:
        return None
    return EngineSample(
        at=at,
        variant=pod.variant,
        pool=pod.pool,
        running=figures.running,
        inter_token_seconds=figures.inter_token_seconds,
        ttft_seconds=figures.ttft_seconds,
        request_rate=figures.requests_per_second or 0.0,
        input_tokens=figures.input_tokens,
        output_tokens=figures.output_tokens,
        kv_tokens=figures.kv_tokens,
        is_warm=is_warm,
    )


def find_pods(workload: Workload, world: World, preset: SignalPreset | None) -> tuple[PodRef, ...]:
    """The running pods of the workload's own tracks.

    A pod counts by its labels, its name and its owner together, and only when the track's Deployment is
    the workload's: a label alone makes nobody's pod ours.
    """
    tracks = {
        child.meta.name
        for child in world.children
        if child.kind == "Deployment" and child.owner_uid == workload.meta.uid
    }
    variants = {label_value(each.name): each.name for each in workload.spec.variants}
    pools = {label_value(each.meta.name): each.meta.name for each in world.pools}
    port = preset.port if preset is not None and preset.port else workload.spec.port
    return tuple(
        PodRef(
            workload=workload.key,
            name=pod.name,
            uid=pod.uid,
            address=pod.address,
            port=port,
            variant=variants.get(pod.labels.get(labels.VARIANT, ""), ""),
            pool=pools.get(pod.labels.get(labels.POOL, ""), ""),
            created_at=pod.created_at,
            is_ready=pod.is_ready,
            track=pod.labels.get(labels.TRACK, ""),
            restarts=pod.restarts,
        )
        for pod in world.pods
        if pod.namespace == workload.meta.namespace and _is_of_track(pod, workload, tracks)
    )


def _find_tracks_of_copies(world: World) -> dict[WorkloadKey, str]:
    """By workload, how the names of pods begin that get copies of requests and no request of a user."""
    found = {}
    for plan in world.plans:
        status = plan.status
        has_copies = status.machine is not None and status.machine.shadow_percent > 0
        if has_copies and status.candidate is not None and not any(each.weight for each in status.segments):
            found[plan.workload_key] = f"{status.candidate.track}-"
    return found


def _is_of_track(pod: Pod, workload: Workload, tracks: Iterable[str]) -> bool:
    track = pod.labels.get(labels.TRACK, "")
    return (
        track in tracks
        and pod.labels.get(labels.WORKLOAD) == label_value(workload.meta.name)
        and pod.name.startswith(f"{track}-")
        and bool(pod.owner_uid)
        and bool(pod.address)
        and pod.phase == "Running"
    )


def update_reading(before: SignalReading | None, measured: Measured, now: datetime) -> SignalReading:
    """The reading after one more answer; with a problem the last figures stay, with their moment."""
    figures = measured.figures
    if measured.problem or figures.requests_per_second is None:
        return replace(before or SignalReading(), problem=measured.problem or "no figure came")
    return SignalReading(now, figures.requests_per_second, figures.input_tokens, figures.output_tokens)


def is_news(before: SignalReading | None, after: SignalReading) -> bool:
    """True when a figure differs by more than 5 %, or the signal broke or came back.

    `before`: the last reading that was news. So small steps in one direction add up to news.
    """
    if before is None:
        return True
    if bool(before.problem) != bool(after.problem):
        return True
    pairs = (
        (before.requests_per_second, after.requests_per_second),
        (before.input_tokens, after.input_tokens),
        (before.output_tokens, after.output_tokens),
    )
    return any(differs(old, new, NEWS_RATIO) for old, new in pairs)


def differs(old: float | None, new: float | None, ratio: float) -> bool:
    """True when one is missing and the other not, or they differ by more than a share of the older."""
    if old is None or new is None:
        return old is not new
    return abs(new - old) > ratio * abs(old)
