"""What one workload may choose from, why not the rest, and what it holds.

A variant is judged by the objectives first, then as each fallback that names it: by relaxed objectives, or by
none. A pool that has no variant made for it is refused once, without a variant.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from switchyard.core.learning.learned import LearnedProfile
from switchyard.core.placement.admission import assess
from switchyard.core.placement.capacity import TrackPods
from switchyard.core.placement.case import (
    Case,
    Option,
    Standard,
    Verdict,
    build_option,
)
from switchyard.core.placement.evidence import find_evidence
from switchyard.core.placement.facts import PoolFacts, VariantFacts, WorkloadFacts
from switchyard.core.placement.pool_view import PoolView
from switchyard.core.placement.problem import Quota
from switchyard.core.placement.quotas import count_allowance

Pair = tuple[str, str]  # variant, pool


@dataclass(frozen=True, slots=True)
class Track:
    """A track that exists. `replicas`: what it was last granted; `pods` of it by what they do."""

    name: str
    variant: str
    pool: str
    replicas: int
    pods: TrackPods = field(default_factory=TrackPods)


@dataclass(frozen=True, slots=True)
class Held:
    """A track of the present plan, and the option that it would be now; `objection`: why not any more."""

    option: Option
    track: Track
    objection: Verdict | None = None


@dataclass(frozen=True, slots=True)
class Ballot:
    """All that a workload may choose from, and why not the rest.

    `held`: the tracks of its present plan, whether they serve or are starting. `is_frozen`: its demand is not
    known now, so nothing is taken from it.
    """

    facts: WorkloadFacts
    options: Mapping[tuple[str, str, int], Option]  # by variant, pool, degradation
    rejections: Mapping[Pair, Verdict]
    held: tuple[Held, ...] = ()
    is_frozen: bool = False

    @property
    def is_live(self) -> bool:
        """True while a track of the present plan has a pod that serves."""
        return any(each.track.pods.ready for each in self.held)

    @property
    def is_rooted(self) -> bool:
        """True while one of these pods is on a node that stays."""
        return any(each.track.pods.ready > each.track.pods.ready_leaving for each in self.held)

    def find_held(self, pair: Pair) -> Held | None:
        """What is held of that variant in that pool."""
        return next((each for each in self.held if each.option.name == pair), None)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all workloads of a namespace have in common."""

    pools: Mapping[str, PoolView]
    namespace_labels: Mapping[str, str] = field(default_factory=dict)
    templates: frozenset[str] = frozenset()
    quotas: tuple[Quota, ...] = ()


@dataclass(frozen=True, slots=True)
class Terms:
    """By what a variant is judged in a pool, and what was learned of it there."""

    standard: Standard
    learned: LearnedProfile | None = None


def draw_up(
    workload: WorkloadFacts,
    around: Surroundings,
    *,
    learned: Sequence[LearnedProfile] = (),
    tracks: Sequence[Track] = (),
    is_frozen: bool = False,
) -> Ballot:
    """The ballot of one workload. `tracks`: those of its present plan."""
    options: dict[tuple[str, str, int], Option] = {}
    rejections: dict[Pair, Verdict] = {}
    for case in list_cases(workload, around, learned):
        outcome = assess(case)
        pair = (case.variant.name, case.pool.name)
        if isinstance(outcome, Option):
            options[*pair, outcome.degradation] = outcome
            continue
        is_made_for = _names(case.variant.accelerators, case.pool)
        rejections.setdefault(pair if is_made_for else ("", case.pool.name), outcome)
    held = [
        _hold(workload, around, learned, track)
        for track in tracks
        if track.pool in around.pools and workload.variant(track.variant) is not None
    ]
    if not any(each.track.pods.ready for each in held):  # nothing is lost by choosing anew
        held = [each for each in held if (*each.option.name, each.option.degradation) in options]
    return Ballot(workload, options, rejections, tuple(held), is_frozen)


def list_cases(
    workload: WorkloadFacts, around: Surroundings, learned: Sequence[LearnedProfile] = ()
) -> Iterator[Case]:
    """Every variant in every pool that it is made for, by each standard; by pool, variant, degradation.

    Of a pool that no variant is made for, the first variant alone.
    """
    evidence = _index(learned) if workload.learning == "use" else {}
    for pool_name in sorted(around.pools):
        view = around.pools[pool_name]
        relevant = [each for each in workload.variants if _names(each.accelerators, view.facts)]
        for variant in relevant or workload.variants[:1]:
            for standard in list_standards(workload, variant.name)[: None if relevant else 1]:
                known = evidence.get((variant.name, pool_name))
                yield _case(workload, variant, view, around, Terms(standard, known))


def list_standards(workload: WorkloadFacts, variant: str) -> list[Standard]:
    """By what the variant is judged: full service unless it is a fallback only, then as each fallback."""
    found = []
    is_only_fallback = any(each.variant == variant and each.objectives is None for each in workload.fallbacks)
    if not is_only_fallback:
        found.append(Standard(0, workload.objectives))
    for place, fallback in enumerate(workload.fallbacks, start=1):
        if fallback.variant == variant:
            found.append(Standard(place, fallback.objectives or ()))
    return found


def _index(learned: Sequence[LearnedProfile]) -> dict[Pair, LearnedProfile]:
    return {(each.variant, each.pool): each for each in learned}


def _names(accelerators: Sequence[str], pool: PoolFacts) -> bool:
    return any(kind in accelerators for kind in pool.kinds)


def _case(
    workload: WorkloadFacts,
    variant: VariantFacts,
    view: PoolView,
    around: Surroundings,
    terms: Terms,
) -> Case:
    return Case(
        workload=workload,
        variant=variant,
        pool=view.facts,
        capacity=view.capacity,
        device_hour=view.device_hour,
        evidence=find_evidence(workload, variant, view.facts, terms.learned),
        standard=terms.standard,
        namespace_labels=around.namespace_labels,
        has_pod_template=variant.pod_template in around.templates,
        doors=view.doors,
        quota_devices=count_allowance(around.quotas, workload.namespace, view.facts.name)
        if around.quotas
        else None,
    )


def _hold(
    workload: WorkloadFacts, around: Surroundings, learned: Sequence[LearnedProfile], track: Track
) -> Held:
    """What a track of the plan is worth now, by the best standard that it still meets.

    Without a rate to size it by, it stays as large as it is; so it does while its pod template is missing.
    """
    variant = workload.variant(track.variant)
    if variant is None:
        raise KeyError(track.variant)
    evidence = _index(learned) if workload.learning == "use" else {}
    known = evidence.get((track.variant, track.pool))
    view = around.pools[track.pool]
    refused: list[tuple[Case, Verdict]] = []
    for standard in list_standards(workload, variant.name):
        case = _case(workload, variant, view, around, Terms(standard, known))
        outcome = assess(case, is_inside=True)
        if isinstance(outcome, Option):
            return Held(_limit(case, outcome), track)
        refused.append((case, outcome))
    case, objection = refused[0]
    is_unknown = case.promised.rate <= 0 or bool(case.variant.pod_template and not case.has_pod_template)
    if is_unknown:
        return Held(build_option(case, max(track.replicas, workload.min_replicas)), track, objection)
    return Held(_limit(case, build_option(case)), track, objection)


def _limit(case: Case, option: Option) -> Option:
    most = case.workload.max_replicas
    return option if option.replicas <= most else build_option(case, most)
