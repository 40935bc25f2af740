"""How long a plan would take in truth: its shortest times, and the samples that its gates need. Pure.

Each stage takes the longest of three: its shortest time, its fewest samples, and the evidence that the gate
which needs most of it asks for, at the planned demand, spread evenly over the segments, with a candidate that
is no worse. Approvals, windows and the start of pods come on top.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from switchyard.api.workload import InferenceWorkloadSpec
from switchyard.core.cutover.bench import share_probabilities
from switchyard.core.cutover.copies import ask_copies
from switchyard.core.cutover.sequential.difference import grow_difference_safe
from switchyard.core.cutover.sequential.hypergeometric import Contrast
from switchyard.core.cutover.sequential.needed import (
    compute_needed,
    grow_betting_safe,
    grow_paired_safe,
    grow_ratio_safe,
)
from switchyard.core.cutover.sequential.self_normalised import grow_guarded_safe
from switchyard.core.cutover.sequential.split import to_threshold
from switchyard.core.cutover.types import GateFacts, GateStage, PlanFacts

Because = Literal["shortestTime", "fewestSamples", "evidence"]
_WHOLE = 1_000_000  # requests of a candidate that is as its workload's objectives allow


@dataclass(frozen=True, slots=True)
class StageTime:
    """A stage in truth. `samples`: the candidate's, by then."""

    stage: GateStage
    segment: str
    weight_percent: int
    seconds: float
    because: Because
    samples: int


def find_bad_ratios(facts: PlanFacts, workload: InferenceWorkloadSpec) -> dict[str, float]:
    """The share of requests that each gate finds bad on a side that just keeps the workload's objectives."""
    allowed = {
        (each.metric, each.target.seconds): 1 - each.percentile / 100
        for each in sorted(workload.objectives, key=lambda each: each.percentile)
    }
    return {
        gate.name: allowed[gate.metric, gate.threshold_seconds]
        for gate in facts.gates
        if gate.kind == "latency" and (gate.metric, gate.threshold_seconds) in allowed
    }


def estimate_stages(
    facts: PlanFacts, requests_per_second: float, bad_ratios: Mapping[str, float]
) -> list[StageTime]:
    """All stages in order. `bad_ratios`: share of bad requests on both sides, by name of the gate."""
    moving = [each for each in facts.segments if not each.stays]
    rate = requests_per_second / max(1, len(facts.segments))  # of each segment
    found: list[StageTime] = []
    if facts.shadow.percent:
        pairs = rate * facts.shadow.percent / 100
        copies = StageTime(
            "shadow",
            "",
            facts.shadow.percent,
            facts.shadow.min_seconds,
            "shortestTime",
            facts.shadow.min_samples,
        )
        found.append(_time(facts, copies, (pairs, pairs * len(moving)), rate, bad_ratios))
    for segment in moving:
        for step in segment.steps:
            candidate = rate * step.weight_percent / 100
            share = StageTime(
                "canary",
                segment.name,
                step.weight_percent,
                step.min_seconds,
                "shortestTime",
                step.min_samples,
            )
            found.append(_time(facts, share, (rate, candidate), rate, bad_ratios))
    warm = StageTime("soak", "", 100, facts.retain_seconds, "shortestTime", 0)
    found.append(_time(facts, warm, (rate, rate * len(moving)), rate, bad_ratios))
    return found


def _time(
    facts: PlanFacts,
    least: StageTime,
    rates: tuple[float, float],
    segment_rate: float,
    bad_ratios: Mapping[str, float],
) -> StageTime:
    """The stage as long as it takes. `least`: its minima; `rates`: of evidence, and of samples."""
    evidence_rate, sample_rate = rates
    if not evidence_rate or not sample_rate:
        return least
    per_window = segment_rate * facts.interval_seconds
    need = max(_list_needs(facts, least, per_window, bad_ratios), default=0.0)
    settling = facts.interval_seconds
    choices: list[tuple[float, Because]] = [
        (least.seconds, "shortestTime"),
        (settling + least.samples / sample_rate if least.samples else 0.0, "fewestSamples"),
        (settling + need / evidence_rate if need else 0.0, "evidence"),
    ]
    seconds, because = max(choices, key=lambda each: each[0])
    return replace(least, seconds=seconds, because=because, samples=round(sample_rate * seconds))


def _list_needs(
    facts: PlanFacts, stage: StageTime, per_window: float, bad_ratios: Mapping[str, float]
) -> Iterator[float]:
    """Pairs (in shadow) or requests of a segment on both sides that each gate of the stage needs."""
    _, promotion = share_probabilities(facts)
    threshold = to_threshold(promotion)
    for gate in facts.gates:
        if stage.stage not in gate.stages:
            continue
        if gate.kind == "parity":
            share = facts.shadow.noise_percent / 100 if facts.shadow.noise_percent else 1.0
            if stage.stage == "canary":  # of the requests on both sides, those that are copied
                weight = stage.weight_percent
                share *= ask_copies(facts, weight) * (100 - weight) / 10_000
            if share:
                yield compute_needed(0.0, threshold, grow_betting_safe(0.0, 0.0, gate.margin_ratio)) / share
        elif gate.kind in {"errors", "latency"}:
            bad = bad_ratios.get(gate.name, 0.0)
            if stage.stage == "shadow":
                growth = _grow_pairs(gate, bad)
            elif stage.weight_percent >= 100:
                growth = grow_betting_safe(bad, bad * (1.0 - bad), _widen(gate, bad))
            else:
                growth = _grow_contrast(gate, bad, stage.weight_percent, per_window)
            yield compute_needed(0.0, threshold, growth)


def _grow_pairs(gate: GateFacts, bad: float) -> float:
    """Log evidence per pair, of the test that gathers more: each side is bad by itself."""
    discordant = round(_WHOLE * bad * (1.0 - bad))
    by_ratio = grow_paired_safe(discordant, discordant, _WHOLE, gate.odds_ratio)
    return max(by_ratio, grow_betting_safe(0.0, 2.0 * bad * (1.0 - bad), gate.absolute_ratio))


def _grow_contrast(gate: GateFacts, bad: float, percent: int, per_window: float) -> float:
    """Log evidence per request of both sides: of the test that gathers more, and no more than its guard."""
    candidate = _WHOLE * percent // 100
    baseline = _WHOLE - candidate
    totals = Contrast(baseline, round(bad * baseline), candidate, round(bad * candidate))
    growth = max(
        grow_ratio_safe(totals, gate.odds_ratio),
        grow_difference_safe(totals, gate.absolute_ratio) if gate.absolute_ratio else 0.0,
    )
    windows = max(1, round(_WHOLE / per_window))
    guarded = grow_guarded_safe(totals, windows, gate.odds_ratio, gate.absolute_ratio)
    return min(growth, guarded) if guarded > 0 else growth


def _widen(gate: GateFacts, share: float) -> float:
    """The most that the candidate's share may be."""
    odds = gate.odds_ratio * share
    return min(1.0, max(odds / (1.0 - share + odds), share + gate.absolute_ratio))
