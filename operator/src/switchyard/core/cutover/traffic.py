"""What a plan asks of the traffic, read from what it remembers. Pure and absolute.

Shadowing to Soaking           the path is held, with the weights and copies of the state
RollingBack, not confirmed     the same, with what goes back at 0
RollingBack, confirmed         all to the baseline, and let go
Completing                     all to the candidate, and let go
an end with shares left        held as it is: segments that passed, or others that stay on the baseline
"""

from __future__ import annotations

from switchyard.core.cutover.facts import list_comparators
from switchyard.core.cutover.types import TERMINAL, Phase, PlanFacts, SegmentFacts, SegmentState, State
from switchyard.core.routing.document import Comparator, Measure, Segment, Shadow, Threshold
from switchyard.core.routing.plan import Target, TrafficPlan

# with a stage whose gates are judged, over traffic that the plan holds
HELD: frozenset[Phase] = frozenset({"Shadowing", "Canary", "Soaking"})


def find_acting_phase(state: State) -> Phase:
    """The phase, or the one that a pause interrupted."""
    return state.resume_phase or state.phase if state.phase == "Paused" else state.phase


def is_split(state: State) -> bool:
    """True for a plan that has ended with users on both sides."""
    return state.phase in TERMINAL and state.candidate_replicas > 0 and has_weight(state)


def has_weight(state: State) -> bool:
    """True when users are to be served by the candidate."""
    return any(each.weight_percent > 0 for each in state.segments)


def wants_traffic(state: State) -> bool:
    """True when the traffic plan is to be in force."""
    phase = find_acting_phase(state)
    return phase in HELD or (phase == "RollingBack" and not wants_release(state)) or is_split(state)


def wants_release(state: State) -> bool:
    """True when the traffic is to be given back, all of it on one side: `find_release_track`."""
    if state.phase == "Completing":
        return True
    return state.phase == "RollingBack" and state.stage_since is not None and not has_weight(state)


def find_release_track(state: State) -> str:
    """The track that all traffic goes to when it is given back; empty while it is not."""
    side = state.candidate if state.phase == "Completing" else state.baseline
    return side.track if wants_release(state) and side is not None else ""


def find_copied_percent(state: State, segment: SegmentState) -> int:
    """The share of a segment's requests on the baseline that is copied: in a canary of what moves alone."""
    if segment.place == "Stays" or (find_acting_phase(state) == "Canary" and segment.place != "Moving"):
        return 0
    return state.shadow_percent


def build_traffic_plan(facts: PlanFacts, state: State, *, workload_uid: str, port: int) -> TrafficPlan:
    """The traffic that the state asks for. Raises ValueError before both sides are chosen."""
    if state.baseline is None or state.candidate is None:
        raise ValueError(f"plan {facts.namespace}/{facts.name} has not chosen its sides yet")
    weights = {each.name: each.weight_percent for each in state.segments}
    copied = {each.name: find_copied_percent(state, each) for each in state.segments}
    return TrafficPlan(
        namespace=facts.namespace,
        workload=facts.workload,
        workload_uid=workload_uid,
        holder=facts.name,
        version=state.traffic_version,
        baseline=Target(state.baseline.track, port),
        candidate=Target(state.candidate.track, port),
        segments=tuple(
            _build_segment(each, weights.get(each.name, 0), copied.get(each.name, 0))
            for each in facts.segments
        ),
        shadow=Shadow(
            max_concurrency=facts.shadow.max_concurrency,
            noise_percent=facts.shadow.noise_percent,
            replay_percent=facts.shadow.replay_percent,
            exclude=facts.shadow.exclude,
        ),
        comparators=list_comparators(facts.gates) or (Comparator(type="exact"),),
        measure=Measure(thresholds=_list_thresholds(facts)),
    )


def _build_segment(facts: SegmentFacts, weight_percent: int, shadow_percent: int) -> Segment:
    return Segment(
        name=facts.name,
        match=facts.match,
        candidate_percent=0 if facts.stays else weight_percent,
        shadow_percent=0 if facts.stays else shadow_percent,
        sticky=facts.sticky,
    )


def _list_thresholds(facts: PlanFacts) -> tuple[Threshold, ...]:
    found = {
        (gate.metric, gate.threshold_seconds): Threshold(metric=gate.metric, seconds=gate.threshold_seconds)
        for gate in facts.gates
        if gate.kind == "latency" and gate.threshold_seconds > 0
    }
    return tuple(found.values())
