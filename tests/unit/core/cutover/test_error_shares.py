"""How a plan's probabilities of error are divided among its gates, and that its status says so."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.core.cutover.evidence_world import (
    ALL,
    ERRORS,
    HEALTHY,
    LATENCY,
    PARITY,
    Look,
    make_counts,
    make_facts,
    make_samples,
    make_state,
)

from switchyard.api.cutover_status import GateStatus
from switchyard.core.cutover.describe import describe_gate
from switchyard.core.cutover.types import GateFacts, GateReport, SegmentFacts, SegmentState, StepFacts

STABILITY = GateFacts("stability", "stability", ALL, max_restarts=1)


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("names", [("rest",), ("batch", "shop", "rest")])
def test_what_gates_may_err_with_adds_up_to_what_the_plan_may(names, steps):
    path = tuple(StepFacts(50, 60.0, 100, 3600.0) for _ in range(steps))
    segments = tuple(SegmentFacts(name, None, path) for name in names)
    parity = replace(PARITY, stages=frozenset({"shadow", "canary"}))
    facts = make_facts(ERRORS, LATENCY, parity, STABILITY, segments=segments)
    places = tuple(SegmentState(name, "Moving" if name == names[0] else "Baseline", 50) for name in names)
    plan = Look(facts, make_state(segments=places), HEALTHY).settle()
    told = {
        each.name: each
        for each in plan.count(make_samples(make_counts(200), make_counts(200), segment=names[0])).reports
    }
    stages, runs = steps + 2, len(names)
    rollback = sum(each.false_rollback_probability for each in told.values())
    assert rollback * stages * runs == pytest.approx(facts.false_rollback_probability)
    passing = {each.name: each.false_promotion_probability * stages * runs for each in told.values()}
    whole = pytest.approx(facts.false_promotion_probability)
    assert passing == {
        "errors": whole,
        "latency": whole,
        "parity": whole,
        "stability": 0,
        "RouteNotEffective": 0,
    }
    assert told["errors"].false_rollback_probability == 2 * told["latency"].false_rollback_probability


def test_the_status_says_what_each_gate_may_err_with_and_leaves_out_gates_without_chance():
    plan = Look(make_facts(ERRORS, STABILITY), make_state(), HEALTHY).settle()
    errors, stability = map(
        describe_gate, plan.count(make_samples(make_counts(200), make_counts(200))).reports[:2]
    )
    assert errors["falseRollbackProbability"] == "0.00133"  # of 0.01, two tests of three in one stage of five
    assert errors["falsePromotionProbability"] == "0.01"
    assert not {"falseRollbackProbability", "falsePromotionProbability"} & set(stability)
    shown = GateStatus.model_validate(errors).model_dump(mode="json", by_alias=True, exclude_none=True)
    assert shown == errors


@pytest.mark.parametrize(
    ("probability", "text"),
    [(1e-9, "0.000000001"), (0.01 / 3 / 7, "0.000476"), (0.5, "0.5"), (0.1 + 0.2, "0.3")],
)
def test_a_probability_is_shown_with_three_figures_and_no_exponent(probability: float, text: str):
    report = replace(GateReport("errors", "Pass"), false_rollback_probability=probability)
    assert describe_gate(report)["falseRollbackProbability"] == text
