"""The status of a plan for people: where it is, what its gates say, what it costs, and its conditions.

Once the way back has begun, the verdicts that led to it stay; an end keeps its last figures. Money stays as
it is from when the baseline is let go: nothing is left to compare with. Figures that move by less than a
fiftieth are not written again.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from switchyard.api.cutover_status import CutoverPlanStatus, SideStatus
from switchyard.core.conditions import Finding
from switchyard.core.cutover.economics import (
    expect_dual_run,
    find_break_even,
    find_dual_run_rate,
    find_payback,
    find_saving,
)
from switchyard.core.cutover.judging import list_reports
from switchyard.core.cutover.plan_conditions import find_plan_conditions
from switchyard.core.cutover.stored import write_state
from switchyard.core.cutover.traffic import find_acting_phase
from switchyard.core.cutover.types import TERMINAL, GateReport, Observation, PlanFacts, SideView, State
from switchyard.core.placement.cost import format_money
from switchyard.core.stability.recommend import write_duration

_WORST_FIRST = ("Fail", "Error", "Inconclusive", "Pass")
_DEAD_BAND = Decimal("0.02")
_LONGEST_LINE = 256
_FIGURES = frozenset(
    {
        "dualRunPerHour",
        "expectedDualRun",
        "savingPerHour",
        "breakEvenRequestsPerSecond",
        "baselinePerThousand",
        "candidatePerThousand",
        "observedPerThousand",
    }
)


def describe_plan(
    facts: PlanFacts, state: State, seen: Observation, before: CutoverPlanStatus
) -> tuple[dict[str, Any], list[Finding]]:
    """The fields of the status but its conditions, and what the conditions are to say."""
    plain = before.model_dump(mode="json", by_alias=True, exclude_none=True)
    is_over = state.phase in TERMINAL and before.phase == state.phase
    fields = write_state(state)
    gates = _describe_gates(facts, state, seen, plain)
    if gates:
        fields["gates"] = gates
    fields["cost"] = {
        **(plain.get("cost", {}) if is_over else _describe_cost(facts, state, seen, plain.get("cost", {}))),
        **fields["cost"],
    }
    fields["segments"] = _describe_segments(fields.get("segments", []), seen)
    if not fields["segments"]:
        del fields["segments"]
    for name, view in (("baseline", seen.baseline_view), ("candidate", seen.candidate_view)):
        if name in fields:
            kept = plain.get(name, {}) if is_over else _describe_side(view)
            fields[name] = {**kept, **fields[name]}
    if "candidate" in fields and seen.target.accelerator:
        fields["candidate"]["accelerator"] = seen.target.accelerator
    fields |= _describe_place(facts, state)
    fields["summary"] = {
        "target": _summarise_target(facts, state),
        "weight": _summarise_weight(state),
        "verdict": _find_worst(gates),
    }
    return fields, find_plan_conditions(facts, state)


def describe_gate(report: GateReport) -> dict[str, Any]:
    """A gate's report as the status has it."""
    told: dict[str, Any] = {
        "name": report.name,
        "segment": report.segment,
        "verdict": report.verdict,
        "observed": report.observed[:_LONGEST_LINE],
        "margin": report.margin[:_LONGEST_LINE],
        "samples": report.samples,
        "harmPercent": _percent(report.harm_ratio),
        "safePercent": _percent(report.safe_ratio),
        "missing": report.missing,
        "message": report.message[:_LONGEST_LINE],
    }
    if report.false_rollback_probability:
        told["falseRollbackProbability"] = _write_probability(report.false_rollback_probability)
    if report.false_promotion_probability:
        told["falsePromotionProbability"] = _write_probability(report.false_promotion_probability)
    if report.needed is not None:
        told["needed"] = report.needed
    if report.eta_seconds is not None:
        told["eta"] = str(write_duration(report.eta_seconds))
    return told


def _describe_gates(
    facts: PlanFacts, state: State, seen: Observation, before: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Of the present stage; on the way back and after the end, those that were said last."""
    is_leaving = state.phase in TERMINAL | {"RollingBack"}
    if is_leaving and before.get("phase") in TERMINAL | {"RollingBack"}:
        return list(before.get("gates", []))
    if is_leaving:
        return [describe_gate(each) for each in seen.reports]
    return [describe_gate(each) for each in list_reports(facts, state, seen)]


def _describe_cost(
    facts: PlanFacts, state: State, seen: Observation, before: Mapping[str, Any]
) -> dict[str, Any]:
    if seen.target.replicas < 1:
        return dict(before)
    phase = find_acting_phase(state)
    if before and phase in TERMINAL | {"Completing"}:
        return {**before, "dualRunPerHour": format_money(find_dual_run_rate(state, seen))}
    payback, break_even = find_payback(facts, seen), find_break_even(seen)
    told: dict[str, Any] = {
        "dualRunPerHour": format_money(find_dual_run_rate(state, seen)),
        "expectedDualRun": format_money(expect_dual_run(facts, seen)),
        "savingPerHour": format_money(find_saving(seen)),
    }
    if seen.baseline_cost_per_thousand is not None:
        told["baselinePerThousand"] = format_money(seen.baseline_cost_per_thousand)
    if seen.target.cost_per_thousand is not None:
        told["candidatePerThousand"] = format_money(seen.target.cost_per_thousand)
    if seen.observed_per_thousand is not None:
        told["observedPerThousand"] = format_money(seen.observed_per_thousand)
    elif "observedPerThousand" in before and phase in {"Soaking", "RollingBack"}:
        told["observedPerThousand"] = before["observedPerThousand"]
    if payback is not None:
        told["payback"] = str(write_duration(payback))
    if break_even is not None:
        told["breakEvenRequestsPerSecond"] = format(break_even, "f")
    return {key: _steady(key, value, before) for key, value in told.items()}


def _steady(key: str, value: str, before: Mapping[str, Any]) -> str:
    """The figure as it was written before, where it is hardly another one."""
    if key not in before or key not in _FIGURES:
        return value
    old, new = Decimal(before[key]), Decimal(value)
    return str(before[key]) if abs(new - old) <= _DEAD_BAND * abs(old) else value


def _describe_side(view: SideView) -> dict[str, Any]:
    told = SideStatus(
        variant="",
        pool="",
        replicas=view.wanted,
        ready=view.ready,
        cost_per_hour=format_money(view.cost_per_hour),
    )
    return told.model_dump(mode="json", by_alias=True, include={"replicas", "ready", "cost_per_hour"})


def _describe_segments(segments: list[dict[str, Any]], seen: Observation) -> list[dict[str, Any]]:
    shares = seen.route.shares if seen.route is not None else {}
    return [
        {**each, "observedWeight": round(shares[each["name"]].candidate_percent)}
        if each["name"] in shares
        else each
        for each in segments
    ]


def _describe_place(facts: PlanFacts, state: State) -> dict[str, Any]:
    """Segment, step and weight while a segment moves."""
    if find_acting_phase(state) != "Canary" or not state.segment_index < len(facts.segments):
        return {}
    moving = state.segments[state.segment_index]
    return {"segment": moving.name, "step": state.step_index + 1, "weight": moving.weight_percent}


def _summarise_target(facts: PlanFacts, state: State) -> str:
    pool = state.candidate.pool if state.candidate is not None else facts.pool
    return f"{facts.variant} on {pool}" if pool else facts.variant


def _summarise_weight(state: State) -> str:
    """One figure where all that moves has the same, else one for each segment."""
    moving = [each for each in state.segments if each.place != "Stays"]
    weights = {each.weight_percent for each in moving}
    if state.phase == "Completed" and len(moving) == len(state.segments):
        return "100%"
    if len(weights) < 2 and len(moving) == len(state.segments):
        return f"{max(weights, default=0)}%"
    return ", ".join(f"{each.name} {each.weight_percent}%" for each in state.segments)[:_LONGEST_LINE]


def _find_worst(gates: list[dict[str, Any]]) -> str:
    verdicts = {each["verdict"] for each in gates}
    return next((verdict for verdict in _WORST_FIRST if verdict in verdicts), "")


def _write_probability(probability: float) -> str:
    """Three figures, without an exponent."""
    return format(Decimal(f"{probability:.3g}"), "f")


def _percent(ratio: float) -> int:
    return round(100 * min(1.0, max(0.0, ratio)))
