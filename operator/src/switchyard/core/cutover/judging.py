"""What the gates' reports mean for the present stage: failed, passed, or why nobody can tell. Pure.

Nothing counts before the stage's traffic is confirmed; nothing but harm counts in the interval after that,
when connections and caches still come from before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from switchyard.core.cutover.copies import list_gates
from switchyard.core.cutover.moves import find_segment, find_step
from switchyard.core.cutover.traffic import find_acting_phase
from switchyard.core.cutover.types import GateReport, GateStage, Observation, Phase, PlanFacts, State
from switchyard.core.stability.recommend import write_duration

GRACE_INTERVALS = 3  # that a side may be missing before the plan says that it waits

_STAGES: dict[Phase, GateStage] = {"Shadowing": "shadow", "Canary": "canary", "Soaking": "soak"}


def find_stage(state: State) -> GateStage | None:
    """The stage whose gates count, also during a pause; None where none does."""
    return _STAGES.get(find_acting_phase(state))


def is_judged(state: State, seen: Observation) -> bool:
    """True when what is seen is of the present stage's traffic."""
    return find_stage(state) is not None and state.stage_since is not None and seen.now > state.stage_since


def settles_at(facts: PlanFacts, state: State) -> datetime | None:
    """When evidence of the stage begins; None before its traffic is confirmed."""
    if state.stage_since is None:
        return None
    return state.stage_since + timedelta(seconds=facts.interval_seconds)


def adopt_evidence(facts: PlanFacts, state: State, seen: Observation) -> State:
    """The state with what the newest window brought.

    After a time without readings the window under way is dropped: what happened in it, nobody saw.
    """
    settled = settles_at(facts, state)
    if find_stage(state) is None or settled is None:
        return state
    if seen.is_blind:
        return replace(state, reading="", reading_at=None)
    if seen.reading_at is None or seen.reading_at < settled or seen.window_index < state.window_index:
        return state
    if state.reading_at is not None and seen.reading_at < state.reading_at:
        return state
    return replace(
        state,
        reading=seen.reading,
        reading_at=seen.reading_at,
        window_index=seen.window_index,
        evidence=seen.evidence,
    )


def list_reports(facts: PlanFacts, state: State, seen: Observation) -> tuple[GateReport, ...]:
    """The reports of this stage, of all segments: of its gates, and of what no gate asks for."""
    left_out = {gate.name for gate in facts.gates} - _name_gates(facts, state)
    return tuple(each for each in seen.reports if each.name not in left_out)


def find_failures(facts: PlanFacts, state: State, seen: Observation) -> tuple[GateReport, ...]:
    """The gates that failed; none before the stage's traffic is confirmed."""
    if not is_judged(state, seen):
        return ()
    return tuple(each for each in list_reports(facts, state, seen) if each.verdict == "Fail")


def has_passed(facts: PlanFacts, state: State, seen: Observation) -> bool:
    """True when every gate of the stage says Pass of what moves, and nothing says otherwise."""
    settled = settles_at(facts, state)
    if not is_judged(state, seen) or settled is None or seen.now < settled or seen.is_blind:
        return False
    reports = _list_relevant(facts, state, seen)
    heard = {each.name for each in reports}
    return _name_gates(facts, state) <= heard and all(each.verdict == "Pass" for each in reports)


def find_lack(facts: PlanFacts, state: State, seen: Observation) -> str:
    """Why there is no evidence at all, in words; empty where some comes in."""
    settled = settles_at(facts, state)
    if not is_judged(state, seen) or settled is None or seen.now < settled:
        return ""
    if seen.is_blind:
        return "no samples for more than three intervals"
    if seen.candidate_view.ready < 1:
        return "the candidate has no ready pod"
    reports = _list_relevant(facts, state, seen)
    silent = sorted(_name_gates(facts, state) - {each.name for each in reports})
    if silent:
        return f"no verdict of gate {', '.join(silent)}"
    lacking = next((each for each in reports if each.verdict == "Error" or each.missing), None)
    return describe_report(lacking) if lacking is not None else ""


def describe_reports(reports: Sequence[GateReport]) -> str:
    """The reports as one line, with figures."""
    return "; ".join(describe_report(each) for each in reports)


def describe_report(report: GateReport) -> str:
    """A report with metric, value, margin and samples, and what follows from them."""
    name = f"gate {report.name}" + (f" in segment {report.segment}" if report.segment else "")
    figures = []
    if report.observed:
        allowed = f" (allowed: {report.margin})" if report.margin else ""
        figures.append(f"{report.observed}{allowed}")
    if report.samples:
        figures.append(f"{report.samples} samples")
    if report.missing:
        side = "both sides are" if report.missing == "both" else f"the {report.missing} is"
        figures.append(f"{side} without data")
    parts = [name, ", ".join(figures), report.message]
    return ": ".join(each for each in (*parts, "" if any(parts[1:]) else report.verdict) if each)


def find_shortfall(facts: PlanFacts, state: State, seen: Observation) -> str:
    """What the stage's minima still ask for, in words; empty when they are met."""
    min_seconds, min_samples = find_minima(facts, state)
    since = state.stage_since
    if since is None:
        return "the traffic of this stage is not confirmed yet"
    left = min_seconds - (seen.now - since).total_seconds()
    if left > 0:
        return f"{write_duration(left)} to go of the shortest time"
    if seen.samples < min_samples:
        return f"{seen.samples} of at least {min_samples} samples"
    return ""


def find_minima(facts: PlanFacts, state: State) -> tuple[float, int]:
    """The shortest time of the stage in seconds, and its fewest samples."""
    stage = find_stage(state)
    if stage == "shadow":
        return facts.shadow.min_seconds, facts.shadow.min_samples
    step = find_step(facts, state)
    if stage == "canary" and step is not None:
        return step.min_seconds, step.min_samples
    return facts.retain_seconds, 0


def find_longest(facts: PlanFacts, state: State) -> float:
    """The longest time of the stage in seconds. Soaking may take a step's longest more than it must."""
    stage = find_stage(state)
    if stage == "shadow":
        return facts.shadow.max_seconds
    step = find_step(facts, state)
    if stage == "canary" and step is not None:
        return step.max_seconds
    longest = max((each.max_seconds for segment in facts.segments for each in segment.steps), default=0.0)
    return facts.retain_seconds + longest


def _name_gates(facts: PlanFacts, state: State) -> set[str]:
    return {gate.name for gate in list_gates(facts, state, find_stage(state))}


def _list_relevant(facts: PlanFacts, state: State, seen: Observation) -> tuple[GateReport, ...]:
    """The reports that a step forward needs: in a canary, of the segment that moves."""
    reports = list_reports(facts, state, seen)
    segment = find_segment(facts, state)
    if find_stage(state) != "canary" or segment is None:
        return reports
    return tuple(each for each in reports if each.segment in {"", segment.name})
