"""Copies beside users' requests in a canary: how many a step asks for, and what is judged by them. Pure.

A gate of parity compares answers to the same request, so it needs copies of what the baseline answers. At a
weight of 100 % the baseline answers nothing: there is nothing to copy, and such a gate is not judged.
"""

from __future__ import annotations

from switchyard.core.cutover.types import GateFacts, GateStage, PlanFacts, State

_FULL_PERCENT = 100


def ask_copies(facts: PlanFacts, weight_percent: int) -> int:
    """The share of the baseline's requests to copy at a step with that weight; 0 where no gate needs it."""
    has_gate = any(gate.kind == "parity" and "canary" in gate.stages for gate in facts.gates)
    return facts.shadow.percent if has_gate and weight_percent < _FULL_PERCENT else 0


def ask_load(facts: PlanFacts, weight_percent: int) -> int:
    """The share of a segment's requests that the candidate answers at a step, copies included."""
    copied = ask_copies(facts, weight_percent) * (_FULL_PERCENT - weight_percent)
    return weight_percent - (-copied // _FULL_PERCENT)


def list_gates(facts: PlanFacts, state: State, stage: GateStage | None) -> tuple[GateFacts, ...]:
    """The gates that the stage is judged by."""
    can_compare = stage != "canary" or _find_weight(state) < _FULL_PERCENT
    return tuple(
        gate for gate in facts.gates if stage in gate.stages and (gate.kind != "parity" or can_compare)
    )


def _find_weight(state: State) -> int:
    """The weight of the segment that moves."""
    if not 0 <= state.segment_index < len(state.segments):
        return 0
    return state.segments[state.segment_index].weight_percent
