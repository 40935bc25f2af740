"""Plans read into facts: what is stated is kept, and what is not is filled in, also from the workload."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchyard.api.cutover import CutoverPlanSpec
from switchyard.api.workload import InferenceWorkloadSpec
from switchyard.core.cutover.facts import find_gaps, list_comparators, read_plan
from switchyard.core.cutover.types import GateFacts, PlanFacts, StepFacts, WindowFacts
from switchyard.core.errors import PlanError
from switchyard.core.routing.document import Exclusion, Match, Stickiness
from switchyard.dataplane.compare.registry import build_comparators

LEAST = {"workloadRef": {"name": "chat"}, "target": {"variant": "neuron"}}


def workload(*objectives: tuple[str, int, str]) -> InferenceWorkloadSpec:
    return InferenceWorkloadSpec.model_validate(
        {
            "demand": {"requestsPerSecond": "5"},
            "objectives": [
                {"metric": metric, "percentile": percentile, "target": target}
                for metric, percentile, target in objectives
            ],
            "variants": [
                {
                    "name": "neuron",
                    "accelerators": ["aws-inferentia2"],
                    "container": {"image": "example.com/a:1"},
                }
            ],
        }
    )


PLAIN = workload(("latency", 95, "400ms"))


def read(of: InferenceWorkloadSpec | None = PLAIN, **spec: Any) -> PlanFacts:
    return read_plan(
        CutoverPlanSpec.model_validate({**LEAST, **spec}),
        of,
        namespace="ml",
        name="to-neuron",
        uid="u-1",
        generation=3,
    )


def gate(kind: str, name: str = "it", **fields: Any) -> dict[str, Any]:
    stages = fields.pop("stages", None)
    return {"name": name, kind: fields, **({"stages": stages} if stages else {})}


def read_gate(kind: str, of: InferenceWorkloadSpec | None = PLAIN, **fields: Any) -> GateFacts:
    (found,) = read(of, gates=[gate(kind, **fields)]).gates
    return found


# -- the smallest plan


def test_the_smallest_plan_moves_all_traffic_in_four_steps() -> None:
    facts = read()
    assert (facts.namespace, facts.name, facts.uid, facts.generation) == ("ml", "to-neuron", "u-1", 3)
    assert (facts.workload, facts.variant, facts.pool, facts.router) == ("chat", "neuron", None, "auto")
    (segment,) = facts.segments
    assert (segment.name, segment.match, segment.stays, segment.rolls_back_plan) == (
        "all",
        None,
        False,
        False,
    )
    assert segment.steps == tuple(StepFacts(weight, 300.0, 100, 86_400.0) for weight in (5, 25, 50, 100))


def test_the_smallest_plan_has_the_limits_that_the_facts_have_by_default() -> None:
    facts = read()
    bare = PlanFacts(
        namespace="ml",
        name="to-neuron",
        uid="u-1",
        generation=3,
        workload="chat",
        variant="neuron",
        pool=None,
        router="auto",
        shadow=facts.shadow,
        segments=facts.segments,
        gates=facts.gates,
    )
    assert facts == bare


def test_what_a_plan_states_is_kept() -> None:
    facts = read(
        target={"variant": "neuron", "pool": "inf2"},
        traffic={"router": "istio"},
        analysis={
            "interval": "1m",
            "falseRollbackProbability": "0.02",
            "falsePromotionProbability": "0.1",
            "onInconclusive": "rollback",
            "inconclusiveAfter": "20m",
        },
        rollback={"automatic": False, "retainBaseline": "2h"},
        budget={"maxDualRunCost": "250.00", "deadline": "72h"},
        economics={"engineeringCost": "2000", "requirePaybackWithin": "2160h"},
        suspend=True,
        abort=True,
        restartToken="again",
    )
    assert (facts.pool, facts.router, facts.interval_seconds) == ("inf2", "istio", 60.0)
    assert (facts.false_rollback_probability, facts.false_promotion_probability) == (0.02, 0.1)
    assert (facts.on_inconclusive, facts.inconclusive_seconds) == ("rollback", 1200.0)
    assert (facts.is_automatic, facts.retain_seconds) == (False, 7200.0)
    assert (facts.max_dual_run_cost, facts.deadline_seconds) == (Decimal("250.00"), 259_200.0)
    assert (facts.engineering_cost, facts.payback_seconds) == (Decimal(2000), 7_776_000.0)
    assert (facts.is_suspended, facts.is_aborted, facts.restart_token) == (True, True, "again")


def test_a_plan_that_is_being_deleted_says_so() -> None:
    spec = CutoverPlanSpec.model_validate(LEAST)
    facts = read_plan(spec, PLAIN, namespace="ml", name="x", uid="u", generation=1, is_deleting=True)
    assert facts.is_deleting
    assert not read().is_deleting


# -- traffic


def test_what_no_segment_takes_stays_on_the_baseline() -> None:
    facts = read(segments=[{"name": "batch", "match": {"tier": "batch"}}])
    assert [(each.name, each.match is None, each.stays) for each in facts.segments] == [
        ("batch", False, False),
        ("rest", True, True),
    ]
    assert facts.segments[-1].steps == ()


def test_a_last_segment_without_match_takes_the_rest() -> None:
    facts = read(segments=[{"name": "batch", "match": {"tier": "batch"}}, {"name": "others"}])
    assert [each.name for each in facts.segments] == ["batch", "others"]
    assert facts.segments[-1].match is None
    assert not facts.segments[-1].stays


def test_a_segment_that_stays_has_no_steps() -> None:
    facts = read(segments=[{"name": "batch", "match": {"tier": "batch"}}, {"name": "rest", "stay": True}])
    assert (facts.segments[1].stays, facts.segments[1].steps) == (True, ())


def test_a_match_is_the_one_that_routers_know() -> None:
    match = {
        "headers": [{"name": "x-team", "value": "research"}, {"name": "x-env", "value": "test"}],
        "pathPrefix": "/v1",
        "tier": "batch",
    }
    facts = read(segments=[{"name": "some", "match": match}])
    assert facts.segments[0].match == Match(
        headers={"x-team": "research", "x-env": "test"}, path_prefix="/v1", tier="batch"
    )


def test_steps_of_a_segment_win_over_those_of_the_plan() -> None:
    own = [{"weight": 50, "minDuration": "1m", "minSamples": 7, "maxDuration": "1h"}, {"weight": 100}]
    facts = read(
        steps=[{"weight": 100}],
        segments=[{"name": "batch", "match": {"tier": "batch"}, "steps": own}, {"name": "rest"}],
    )
    assert facts.segments[0].steps[0] == StepFacts(50, 60.0, 7, 3600.0)
    assert [each.weight_percent for each in facts.segments[1].steps] == [100]


def test_stickiness_of_a_segment_wins_over_that_of_the_plan() -> None:
    facts = read(
        traffic={"sticky": {"header": "x-session"}},
        segments=[
            {"name": "batch", "match": {"tier": "batch"}, "sticky": {"cookie": "who"}},
            {"name": "rest"},
        ],
    )
    assert [each.sticky for each in facts.segments] == [
        Stickiness(cookie="who"),
        Stickiness(header="x-session"),
    ]


@pytest.mark.parametrize(
    ("scope", "on_failure", "scope_here"),
    [
        ("segment", None, "segment"),
        ("plan", None, "plan"),
        ("segment", "rollbackPlan", "plan"),
        ("plan", "rollbackSegment", "segment"),
    ],
)
def test_what_goes_back_is_the_segments_word_else_the_plans(
    scope: str, on_failure: str | None, scope_here: str
) -> None:
    facts = read(rollback={"scope": scope}, segments=[{"name": "batch", "onFailure": on_failure}])
    assert facts.segments[0].rolls_back_plan == (scope_here == "plan")


def test_a_shadow_is_read_in_seconds_and_ratios() -> None:
    shadow = read(
        shadow={
            "percent": 5,
            "minDuration": "1m",
            "minSamples": 9,
            "maxDuration": "2h",
            "maxConcurrency": 3,
            "maxCandidateUtilisation": "0.7",
            "noiseArmPercent": 4,
            "replayPercent": 60,
            "exclude": [{"method": "POST", "pathPrefix": "/v1/files"}],
        }
    ).shadow
    assert (shadow.percent, shadow.min_seconds, shadow.min_samples, shadow.max_seconds) == (5, 60, 9, 7200)
    assert (shadow.max_concurrency, shadow.max_utilisation_ratio) == (3, 0.7)
    assert (shadow.noise_percent, shadow.replay_percent) == (4, 60)
    assert shadow.exclude == (Exclusion(method="POST", path_prefix="/v1/files"),)


def test_approvals_come_from_the_list_and_from_segments() -> None:
    facts = read(
        segments=[{"name": "batch", "match": {"tier": "batch"}, "approval": True}, {"name": "rest"}],
        approvals=["promote", "segment:rest"],
        approved=["promote"],
    )
    assert facts.approvals == {"segment:batch", "segment:rest", "promote"}
    assert facts.approved == {"promote"}


def test_windows_are_read_in_weekdays_and_minutes() -> None:
    facts = read(
        windows=[
            {"days": ["mon", "sun"], "start": "22:30", "end": "04:00", "timeZone": "Europe/Berlin"},
            {"start": "00:00", "end": "23:59"},
        ]
    )
    assert facts.windows == (
        WindowFacts(frozenset({0, 6}), 1350, 240, "Europe/Berlin"),
        WindowFacts(frozenset(range(7)), 0, 1439, "UTC"),
    )


# -- gates


def test_a_plan_without_gates_has_errors_latency_and_stability() -> None:
    facts = read(
        workload(("ttft", 50, "200ms"), ("ttft", 99, "2s"), ("latency", 95, "9s"), ("ttft", 95, "1s"))
    )
    assert [(each.name, each.kind, each.metric, each.threshold_seconds) for each in facts.gates] == [
        ("errors", "errors", "latency", 0.0),
        ("latency", "latency", "latency", 9.0),
        ("ttft", "latency", "ttft", 2.0),
        ("stability", "stability", "latency", 0.0),
    ]


@pytest.mark.parametrize("of", [None, workload()], ids=["no workload", "no objectives"])
def test_without_objectives_nothing_is_known_of_latency(of: InferenceWorkloadSpec | None) -> None:
    facts = read(of)
    assert [each.name for each in facts.gates] == ["errors", "stability"]
    assert find_gaps(facts) == ()


def test_gates_of_the_author_take_the_place_of_the_default_ones() -> None:
    assert [each.name for each in read(gates=[gate("stability", "calm")]).gates] == ["calm"]


@pytest.mark.parametrize(
    ("kind", "fields", "stages"),
    [
        ("errors", {}, {"shadow", "canary", "soak"}),
        ("latency", {}, {"shadow", "canary", "soak"}),
        ("parity", {}, {"shadow"}),
        ("stability", {}, {"shadow", "canary", "soak"}),
        ("cost", {}, {"canary", "soak"}),
        ("signal", {"source": "p", "template": "t", "max": "1"}, {"shadow", "canary", "soak"}),
    ],
)
def test_a_gate_is_judged_where_its_kind_can_be_unless_it_says_where(
    kind: str, fields: dict[str, Any], stages: set[str]
) -> None:
    assert read_gate(kind, **fields).stages == stages
    assert read_gate(kind, stages=["canary"], **fields).stages == {"canary"}


def test_what_gates_state_is_kept() -> None:
    margin = {"oddsRatio": "1.2", "absolute": "0.01"}
    errors = read_gate("errors", margin=margin, hardStopRatio="0.3")
    assert (errors.odds_ratio, errors.absolute_ratio, errors.hard_stop_ratio) == (1.2, 0.01, 0.3)
    latency = read_gate("latency", metric="tpot", target="50ms", margin=margin)
    assert (latency.metric, latency.threshold_seconds) == ("tpot", 0.05)
    assert (latency.odds_ratio, latency.absolute_ratio) == (1.2, 0.01)
    assert read_gate("parity", margin="0.03").margin_ratio == 0.03
    assert read_gate("stability", maxRestarts=4).max_restarts == 4
    assert read_gate("cost", maxIncreasePercent=-10).max_increase_ratio == -0.1
    signal = read_gate("signal", source="prometheus", template="refusals", max="-0.5")
    assert (signal.source, signal.template, signal.max_value) == ("prometheus", "refusals", -0.5)


def test_gates_that_state_nothing_have_the_documented_margins() -> None:
    errors = read_gate("errors")
    assert (errors.odds_ratio, errors.absolute_ratio, errors.hard_stop_ratio) == (1.5, 0.002, 0.5)
    assert read_gate("parity").margin_ratio == 0.02
    assert read_gate("stability").max_restarts == 1
    assert read_gate("cost").max_increase_ratio == 0.0


def test_a_latency_gate_without_target_or_objective_is_a_gap() -> None:
    facts = read(gates=[gate("latency", "first", metric="ttft"), gate("latency", "whole")])
    assert find_gaps(facts) == (
        "gate first: the workload has no objective for ttft; give latency.target, or the workload an objective",
    )


def test_a_gate_without_a_kind_is_refused_by_name() -> None:
    with pytest.raises(PlanError, match="gate nothing: give exactly one of errors, latency"):
        read(gates=[{"name": "nothing"}])


@pytest.mark.parametrize(
    ("fields", "options"),
    [
        ({"comparator": "exact"}, {}),
        ({"comparator": "json", "threshold": "0"}, {"threshold": 0.0}),
        (
            {"comparator": "json", "ignoredPaths": ["/id", "/choices/*/x"], "numericTolerance": "0"},
            {"ignoredPaths": ["/id", "/choices/*/x"], "numericTolerance": 0.0},
        ),
        ({"comparator": "text", "pointer": "/answer"}, {"pointer": "/answer"}),
        ({"comparator": "tokens", "threshold": "0.8"}, {"threshold": 0.8}),
        ({"comparator": "embedding", "pointer": "/v"}, {"pointer": "/v"}),
        ({"comparator": "topk", "k": 3, "pointer": "/labels"}, {"k": 3, "pointer": "/labels"}),
    ],
)
def test_a_comparator_gets_the_options_that_are_stated_and_no_others(
    fields: dict[str, Any], options: dict[str, Any]
) -> None:
    found = read_gate("parity", **fields)
    assert found.comparator is not None
    assert (found.comparator.type, found.comparator.options) == (fields["comparator"], options)
    build_comparators([found.comparator])  # raises for what the router would refuse


@given(kinds=st.lists(st.sampled_from(["exact", "json", "text", "tokens", "embedding", "topk"]), max_size=8))
def test_comparators_bear_the_names_that_routers_give_them(kinds: list[str]) -> None:
    gates = [gate("errors", "errors")]
    for place, kind in enumerate(kinds):
        gates.append(gate("parity", f"p{place}", comparator=kind))
    gates.append(gate("stability", "stability"))
    facts = read(gates=gates)
    named = [each.comparator_name for each in facts.gates if each.kind == "parity"]
    assert named == [each.name for each in build_comparators(list_comparators(facts.gates))]
    assert {each.comparator_name for each in facts.gates if each.kind != "parity"} == {""}
