"""What to read for the gates of a stage beside what the path itself counts. Pure.

A router in the users' path counts every request, and so does the comparator of copies. Where a Gateway or a
mesh splits the traffic, users' requests are counted by the metrics of the tracks or of the proxies before
them: in canary and in soak.
"""

from __future__ import annotations

from collections.abc import Sequence

from switchyard.api import InferenceWorkloadSpec
from switchyard.catalog.signal_presets import load_signal_presets
from switchyard.core.cutover.evidence import BLIND_INTERVALS, counts_by_track
from switchyard.core.cutover.judging import find_stage
from switchyard.core.cutover.orders import EvidenceWatch, SignalQuery, TrackWatch
from switchyard.core.cutover.tally import find_bounds
from switchyard.core.cutover.types import GateFacts, GateStage, PlanFacts, Router, State
from switchyard.core.routing.document import BASELINE, CANDIDATE

_LEAST_WINDOW_SECONDS = 60.0  # a rate needs two scrapes in it
_WHOLE_PERCENT = 100


def find_evidence_watch(
    facts: PlanFacts, state: State, workload: InferenceWorkloadSpec
) -> EvidenceWatch | None:
    """What the gates of the present stage need of metrics; None where they need nothing of them."""
    stage, candidate = find_stage(state), state.candidate
    if stage is None or candidate is None:
        return None
    window_seconds = max(_LEAST_WINDOW_SECONDS, 2 * facts.interval_seconds)
    key = (facts.namespace, facts.workload)
    signals = {
        gate.name: SignalQuery(gate.source, gate.template, key, candidate.track, window_seconds)
        for gate in facts.gates
        if gate.kind == "signal" and stage in gate.stages
    }
    counts = _find_counts(facts, state, stage, workload) if counts_by_track(state, stage) else None
    return EvidenceWatch(counts, signals) if signals or counts is not None else None


def find_counting_gap(facts: PlanFacts, router: Router, workload: InferenceWorkloadSpec) -> str:
    """Why nobody would count users' requests for the gates of canary and soak; empty if somebody does."""
    needing = [
        each
        for each in facts.gates
        if each.kind in {"errors", "latency"} and each.stages & {"canary", "soak"}
    ]
    if router == "builtin" or not needing:
        return ""
    source, name = _choose_metrics(workload)
    preset = load_signal_presets().get(name)
    if preset is None or preset.answers is None:
        return _say_untold(facts, router, needing, name)
    if preset.kind == "service" and not source:
        return f"preset {name} is about a proxy, which only a Prometheus tells of: give signals.source"
    answers = preset.answers
    gaps = [
        f"gate {each.name}: preset {name} tells no {each.metric} of answers, and router {router} sees none; "
        "judge it in stages: [shadow], name another signals.preset, or let router builtin move it"
        for each in needing
        if each.kind == "latency" and not answers.find_histogram(each.metric)
    ]
    gaps += [
        f"segment {each.name} begins with 100 %, and router {router} counts no user of the baseline before "
        "that to compare with: begin with a smaller weight"
        for each in facts.segments
        if not each.stays and each.steps and each.steps[0].weight_percent == _WHOLE_PERCENT
    ]
    return "; ".join(gaps)


def _say_untold(facts: PlanFacts, router: Router, needing: Sequence[GateFacts], name: str) -> str:
    presets = load_signal_presets().values()
    telling = ", ".join(sorted(each.name for each in presets if each.answers is not None))
    names = ", ".join(each.name for each in needing)
    found = f"signals.preset {name} does not tell answers" if name else "signals.preset is not given"
    return (
        f"router {router} counts no requests of users, and gates {names} go by them: {found}; "
        f"give workload {facts.workload} one of {telling}, or let router builtin move it"
    )


def _find_counts(
    facts: PlanFacts, state: State, stage: GateStage, workload: InferenceWorkloadSpec
) -> TrackWatch | None:
    if state.baseline is None or state.candidate is None:
        return None
    source, preset = _choose_metrics(workload)
    return TrackWatch(
        workload=(facts.namespace, facts.workload),
        tracks={BASELINE: state.baseline.track, CANDIDATE: state.candidate.track},
        bounds=find_bounds(facts, stage),
        source=source,
        preset=preset,
        stale_seconds=BLIND_INTERVALS * facts.interval_seconds,
    )


def _choose_metrics(workload: InferenceWorkloadSpec) -> tuple[str, str]:
    """Source and preset: the engine's metrics before those that tell the demand, where they tell answers."""
    engine, demand = workload.signals, workload.demand.signal
    told = [(engine.source or "", engine.preset or "")] if engine is not None else []
    if demand is not None:
        inherited = engine.source if engine is not None else None
        told.append((demand.source or inherited or "", demand.preset or ""))
    named = [each for each in told if each[1]]
    presets = load_signal_presets()
    telling = [each for each in named if each[1] in presets and presets[each[1]].answers is not None]
    return next(iter((*telling, *named)), ("", ""))
