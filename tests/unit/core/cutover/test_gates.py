"""What each gate says of a stage, over readings of a router that counts made-up requests."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from switchyard.core.cutover.bench import Surroundings, share_probabilities
from switchyard.core.cutover.gates import ROUTE_NOT_EFFECTIVE
from switchyard.core.cutover.judging import describe_report
from switchyard.core.cutover.orders import SignalValue
from switchyard.core.cutover.types import (
    GateFacts,
    SegmentFacts,
    SegmentState,
    SideView,
    StepFacts,
    TargetView,
)
from switchyard.core.routing.document import Stickiness
from switchyard.core.routing.samples import (
    ArmSamples,
    PairCounts,
    Samples,
    SegmentSamples,
    ShadowCounts,
    Table,
    name_threshold,
)

from .evidence_world import (
    ALL,
    BOUND,
    EPOCH,
    ERRORS,
    HEALTHY,
    INTERVAL,
    LATENCY,
    PARITY,
    Look,
    at,
    draw,
    make_counts,
    make_facts,
    make_pairs,
    make_samples,
    make_state,
)

STABILITY = GateFacts("stability", "stability", ALL, max_restarts=1)
COST = GateFacts("cost", "cost", ALL, max_increase_ratio=0.1)
SIGNAL = GateFacts("refusals", "signal", ALL, source="prom", template="refused", max_value=0.05)
WIDE = replace(ERRORS, absolute_ratio=0.02)
SHADOWED = ShadowCounts(sampled=100, sent=200, completed=200)


def look(
    *gates: GateFacts, stage: str = "canary", weight: int = 50, around: Surroundings = HEALTHY, **changes
) -> Look:
    return Look(make_facts(*gates, **changes), make_state(stage, weight), around).settle()


def find(plan: Look, name: str = "errors"):
    return next(each for each in plan.judged.reports if each.name == name)


def both(requests=200, bad=(0, 0), slow=(0, 0), **rest) -> Samples:
    counts = [make_counts(requests, *each) for each in zip(bad, slow, strict=True)]
    return make_samples(*counts, **rest)


# -- errors and latency, both arms under load


@pytest.mark.parametrize(
    ("gate", "bad", "slow", "verdict"),
    [
        (WIDE, (1, 1), (0, 0), "Pass"),
        (WIDE, (1, 30), (0, 0), "Fail"),
        (WIDE, (1, 5), (0, 0), "Inconclusive"),
        (LATENCY, (0, 0), (2, 2), "Pass"),
        (LATENCY, (0, 0), (2, 40), "Fail"),
        (LATENCY, (0, 40), (2, 2), "Fail"),  # a failed answer is a late one
    ],
)
def test_a_candidate_is_told_by_its_share_of_bad_requests(gate, bad, slow, verdict):
    plan = look(gate)
    plan.count(both(bad=bad, slow=slow), 30)
    report = find(plan, gate.name)
    assert report.verdict == verdict
    assert report.samples == 30 * 200
    assert " against " in report.observed
    assert report.harm_ratio == 1.0 if verdict == "Fail" else report.harm_ratio < 1.0
    assert (report.needed is not None) == (report.eta_seconds is not None)


def test_an_open_gate_says_how_many_requests_it_needs_and_how_long_that_takes():
    plan = look(WIDE)
    plan.count(both(bad=(1, 1)), 3)
    report = find(plan)
    assert report.verdict == "Inconclusive"
    took = 0
    while find(plan).verdict == "Inconclusive":
        plan.count(both(bad=(1, 1)))
        took += 400
    assert 0.4 < report.needed / took < 2.5
    assert report.eta_seconds == pytest.approx(report.needed / (400 / INTERVAL))


def test_a_candidate_that_fails_every_request_is_stopped_in_its_first_window():
    plan = look(WIDE, weight=5)
    plan.count(make_samples(make_counts(400, 1), make_counts(20, 20), run=20))
    report = find(plan)
    assert report.verdict == "Fail"
    assert report.message.startswith("hard stop: more than 50 % fail")


def test_a_mix_of_lengths_that_differs_between_the_arms_is_no_regression():
    plan, rng = look(LATENCY, weight=50), np.random.default_rng(5)
    for _ in range(30):
        short = make_samples(draw(rng, 300, 0.0, 0.01), draw(rng, 30, 0.0, 0.01), stratum="p0o0")
        long = make_samples(draw(rng, 30, 0.0, 0.3), draw(rng, 300, 0.0, 0.3), stratum="p3o3")
        arms = {
            arm: ArmSamples(
                {**short.segments["rest"].arms[arm].strata, **long.segments["rest"].arms[arm].strata}
            )
            for arm in ("baseline", "candidate")
        }
        plan.count(replace(short, segments={"rest": SegmentSamples(arms=arms)}))
    report = find(plan, "latency")
    assert report.observed.startswith("28 % against 3.71 %")
    assert report.verdict != "Fail"


CHANCE = r"\(such evidence, if it were not, has a probability of at most 0\.0\d+\)"


@pytest.mark.parametrize(
    ("bad", "windows", "told"),
    [
        (30, 20, rf"15 % against .*, 4000 samples: the candidate is worse than the margin allows {CHANCE}"),
        (1, 30, rf"0.5 % against .*, 6000 samples: the candidate is within the margin {CHANCE}"),
        (
            1,
            1,
            (
                r"0.5 % against .*, 200 samples: undecided, with evidence of harm at 0 % of what a rollback "
                r"needs, and of safety at \d+ % of what a pass needs"
            ),
        ),
    ],
)
def test_what_people_read_of_a_gate_is_one_sentence(bad, windows, told):
    plan = look(WIDE)
    plan.count(both(bad=(1, bad)), windows)
    told = told.replace(".*", r"0.5 % failed \(allowed: odds x1.5 or \+2 %\)")
    assert re.fullmatch(f"gate errors in segment rest: {told}", describe_report(find(plan)))


def test_what_people_read_of_a_gate_without_data_says_which_side_and_why():
    plan = look(WIDE)
    plan.count(make_samples(make_counts(50), None))
    assert describe_report(find(plan)) == (
        "gate errors in segment rest: the candidate is without data: no request reached the candidate"
    )


# -- what is missing


@pytest.mark.parametrize(
    ("counts", "missing", "said"),
    [
        ((None, None), "both", "no request reached either side"),
        ((make_counts(50), None), "candidate", "no request reached the candidate"),
        ((None, make_counts(50)), "baseline", "no request reached the baseline"),
    ],
)
@pytest.mark.parametrize("gate", [ERRORS, LATENCY])
def test_a_gate_names_the_side_that_says_nothing_and_never_passes(gate, counts, missing, said):
    plan = look(gate)
    plan.count(make_samples(*counts), 40)
    report = find(plan, gate.name)
    assert (report.verdict, report.missing, report.message) == ("Inconclusive", missing, said)


def test_before_the_first_window_a_gate_waits_and_no_side_is_missing():
    plan = look(ERRORS)
    report = find(plan)
    assert (report.verdict, report.missing) == ("Inconclusive", "")
    assert report.message == "no window of evidence has ended yet"


def test_a_bound_that_is_no_edge_of_a_bucket_is_said_and_never_guessed():
    plan = look(LATENCY)
    counts = make_counts(100, bound=0.4)
    plan.count(make_samples(counts, counts), 40)
    report = find(plan, "latency")
    assert (report.verdict, report.missing) == ("Inconclusive", "both")
    assert "0.5 s is no edge of the latency buckets" in report.message


# -- the stage with copies


def test_copies_that_fail_where_the_users_answer_did_not_fail_the_stage():
    plan = look(ERRORS, stage="shadow")
    plan.count(make_samples(pairs=make_pairs((90, 10, 0, 0)), shadow=SHADOWED), 3)
    assert find(plan).verdict == "Fail"
    assert find(plan).observed == "10 % against 0 % failed"
    assert plan.judged.samples == 300


def test_copies_that_do_as_well_pass():
    plan = look(WIDE, LATENCY, stage="shadow")
    plan.count(make_samples(pairs=make_pairs((98, 1, 1, 0), slow=(98, 1, 1, 0)), shadow=SHADOWED), 60)
    assert {each.verdict for each in plan.judged.reports} == {"Pass"}


@pytest.mark.parametrize(
    ("shadow", "missing", "said"),
    [
        (ShadowCounts(), "both", "NoShadowTraffic: no request was drawn"),
        (ShadowCounts(sampled=40, dropped={"busy": 40}), "candidate", "NoShadowTraffic: 120 of 120 copies"),
        (ShadowCounts(sampled=40, sent=80), "candidate", "NoShadowTraffic: none of 120 copies has an answer"),
    ],
)
def test_a_stage_without_copies_says_why_and_never_passes(shadow, missing, said):
    plan = look(ERRORS, stage="shadow")
    plan.count(make_samples(make_counts(200), shadow=shadow), 3)
    report = find(plan)
    assert (report.verdict, report.missing) == ("Inconclusive", missing)
    assert report.message.startswith(said)


def test_slow_copies_above_the_cap_of_utilisation_do_not_count_but_failed_ones_do():
    busy = replace(HEALTHY, candidate=replace(HEALTHY.candidate, utilisation_ratio=0.71))
    plan = look(WIDE, LATENCY, stage="shadow", around=busy)
    slow = make_samples(pairs=make_pairs((100, 0, 0, 0), slow=(50, 50, 0, 0)), shadow=SHADOWED)
    plan.count(slow, 4)
    report = find(plan, "latency")
    assert (report.verdict, report.samples) == ("Inconclusive", 0)
    assert "4 windows did not count: copies bring the candidate above 70 % utilisation" in report.message
    assert find(plan).samples == 400
    plan.around = HEALTHY
    plan.count(slow, 4)
    assert find(plan, "latency").verdict == "Fail"


def test_users_own_slow_requests_count_however_busy_the_candidate_is():
    busy = replace(HEALTHY, candidate=replace(HEALTHY.candidate, utilisation_ratio=0.99))
    plan = look(LATENCY, around=busy)
    plan.count(both(slow=(2, 60)), 20)
    assert find(plan, "latency").verdict == "Fail"


# -- parity


@pytest.mark.parametrize(
    ("noise_percent", "hundredths", "verdict"),
    [(5, 0, "Pass"), (5, 10, "Fail"), (0, 0, "Pass"), (0, 10, "Fail")],
)
def test_answers_are_held_to_the_noise_arm_or_to_likeness(noise_percent, hundredths, verdict):
    facts = make_facts(PARITY)
    facts = replace(facts, shadow=replace(facts.shadow, noise_percent=noise_percent))
    plan = Look(facts, make_state("shadow"), HEALTHY).settle()
    pairs = make_pairs((100, 0, 0, 0), differences={hundredths: 100})
    scores = pairs.scores["json"]
    if not noise_percent:
        scores = replace(
            scores, candidate=replace(scores.candidate, scores={100 - hundredths: 100}), differences={}
        )
    plan.count(make_samples(pairs=replace(pairs, scores={"json": scores}), shadow=SHADOWED), 12)
    report = find(plan, "parity")
    assert report.verdict == verdict
    assert report.margin.endswith("the noise arm's" if noise_percent else "1 (no noise arm)")
    assert report.samples == 1200


def test_an_answer_as_unlike_as_the_baselines_own_second_answer_is_no_mismatch():
    """A model that never says the same twice."""
    plan, rng = look(PARITY, stage="shadow"), np.random.default_rng(7)
    for _ in range(60):
        losses, times = np.unique(rng.integers(-60, 61, 100), return_counts=True)
        differences = dict(zip(losses.tolist(), times.tolist(), strict=True))
        plan.count(make_samples(pairs=make_pairs((100, 0, 0, 0), differences=differences), shadow=SHADOWED))
    assert find(plan, "parity").verdict == "Pass"


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        (make_pairs((10, 0, 0, 0), incomparable=10), "comparator json could compare none of 30 pairs"),
        (make_pairs((10, 0, 0, 0)), "no pair has scores of comparator json and of the noise arm yet"),
    ],
)
def test_answers_that_could_not_be_compared_are_said(pairs, said):
    plan = look(PARITY, stage="shadow")
    plan.count(make_samples(pairs=pairs, shadow=SHADOWED), 3)
    assert (find(plan, "parity").verdict, find(plan, "parity").message) == ("Inconclusive", said)


def test_the_share_of_answers_that_could_not_be_compared_is_told_beside_the_verdict():
    plan = look(PARITY, stage="shadow")
    pairs = make_pairs((100, 0, 0, 0), differences={0: 75}, incomparable=25)
    plan.count(make_samples(pairs=pairs, shadow=SHADOWED), 12)
    assert find(plan, "parity").verdict == "Pass"
    assert "25 % of the pairs could not be compared" in find(plan, "parity").message


# -- the candidate answers all


@pytest.mark.parametrize(("stage", "weight"), [("canary", 100), ("soak", 100)])
@pytest.mark.parametrize(("bad", "verdict"), [(1, "Pass"), (20, "Fail")])
def test_once_it_answers_all_the_candidate_is_held_to_the_share_of_the_baseline_before(
    stage, weight, bad, verdict
):
    gate = replace(WIDE, absolute_ratio=0.03)
    plan = look(gate, LATENCY)
    plan.count(both(bad=(1, 1)), 30)
    plan = plan.go_on(stage, weight)
    plan.count(make_samples(None, make_counts(200, bad)), 30)
    report = find(plan)
    assert report.verdict == verdict
    assert ": at most " in report.margin


@pytest.mark.parametrize("requests", [200, 20_000])
def test_a_candidate_that_goes_bad_while_soaking_is_found_within_windows_that_double_the_evidence(requests):
    plan = look(ERRORS)
    plan.count(both(requests, bad=(requests // 200,) * 2), 10)
    plan = plan.go_on("soak", 100)
    plan.count(make_samples(None, make_counts(requests, requests // 200)), 10)
    windows = 0
    while find(plan).verdict != "Fail":
        plan.count(make_samples(None, make_counts(requests, requests // 5)))
        windows += 1
    # Ten good windows count against it, as much as each of them can be worth.
    assert windows <= 10 + 2 + np.ceil(-np.log2(share_probabilities(plan.facts)[0] / 2))


def test_without_any_share_of_the_baseline_to_compare_with_a_gate_says_what_to_do():
    plan = look(ERRORS, weight=100)
    plan.count(make_samples(None, make_counts(200)), 20)
    report = find(plan)
    assert (report.verdict, report.missing) == ("Inconclusive", "baseline")
    assert "begin with copies or a smaller weight" in report.message


def test_a_new_attempt_does_not_go_by_the_baseline_of_the_one_before():
    plan = look(ERRORS)
    plan.count(both(), 5)
    plan = plan.go_on("canary", 100)
    plan.state = replace(plan.state, attempt=2)
    plan.count(make_samples(None, make_counts(200)), 3)
    assert find(plan).missing == "baseline"


def test_no_evidence_outlives_its_stage():
    plan = look(WIDE)
    plan.count(both(bad=(1, 30)), 20)
    assert find(plan).verdict == "Fail"
    later = replace(plan.state, stage_since=at(700), reading="", reading_at=None, window_index=0)
    plan = Look(plan.facts, later, plan.around)
    plan.see((replace(plan.total, at=at(701)),), 701)
    assert (find(plan).verdict, find(plan).samples) == ("Inconclusive", 0)


# -- stability, cost, signals


@pytest.mark.parametrize(
    ("restarts", "before", "ready", "verdict", "missing"),
    [
        (0, 0, 2, "Pass", ""),
        (5, 4, 2, "Pass", ""),
        (6, 4, 2, "Fail", ""),
        (2, 9, 2, "Fail", ""),  # other pods, which began at 0
        (0, 0, 0, "Inconclusive", "candidate"),
        (2, 0, 0, "Fail", ""),
    ],
)
def test_restarts_since_the_stage_began_are_counted(restarts, before, ready, verdict, missing):
    around = replace(HEALTHY, candidate=SideView(wanted=2, ready=ready, restarts=restarts))
    plan = look(STABILITY, around=around)
    plan.state = replace(plan.state, restarts_before=before)
    plan.count(both())
    assert (find(plan, "stability").verdict, find(plan, "stability").missing) == (verdict, missing)


def costs(baseline="2.0", predicted="2.0", per_hour="7.2") -> Surroundings:
    """At 7.2 per hour, planned for 1 request per second, a thousand cost 2."""
    return Surroundings(
        candidate=SideView(ready=2, cost_per_hour=Decimal(per_hour)),
        target=TargetView(
            cost_per_hour=Decimal("7.2"), cost_per_thousand=None if predicted is None else Decimal(predicted)
        ),
        baseline_cost_per_thousand=None if baseline is None else Decimal(baseline),
    )


@pytest.mark.parametrize(
    ("around", "verdict", "missing", "said"),
    [
        (costs(), "Pass", "", ""),
        (costs(predicted="2.2"), "Pass", "", ""),
        (costs(predicted="2.21"), "Fail", "", "costs more than allowed, as predicted"),
        (costs(baseline=None), "Inconclusive", "baseline", "its pool needs a price"),
        (costs(baseline="0"), "Inconclusive", "baseline", "its pool needs a price"),
        (costs(predicted=None), "Inconclusive", "candidate", "its pool needs a price"),
    ],
)
def test_the_predicted_cost_of_a_thousand_requests_is_held_to_the_baselines(around, verdict, missing, said):
    plan = look(COST, around=around)
    plan.count(both())
    report = find(plan, "cost")
    assert (report.verdict, report.missing) == (verdict, missing)
    assert said in report.message


@pytest.mark.parametrize(
    ("answered", "per_hour", "verdict"),
    [
        (30, "7.2", "Pass"),  # per window of 30 s: what was planned for
        (3000, "7.2", "Pass"),
        (6, "7.2", "Pass"),  # less demand than planned makes either side dearer
        (30, "9", "Fail"),  # more pods than planned
        (6, "9", "Fail"),
    ],
)
def test_while_soaking_the_cost_is_observed(answered, per_hour, verdict):
    plan = look(COST, stage="soak", weight=100, around=costs(per_hour=per_hour))
    plan.count(make_samples(None, make_counts(answered)), -(-1000 // answered))
    report = find(plan, "cost")
    assert report.verdict == verdict
    assert "observed" in report.observed


def test_an_observed_cost_needs_answers():
    plan = look(COST, stage="soak", weight=100, around=costs())
    plan.count(make_samples(None, make_counts(30, 3)), 10)
    assert find(plan, "cost").verdict == "Inconclusive"
    assert "270 of 1000 answers" in find(plan, "cost").message


@pytest.mark.parametrize(
    ("signals", "verdict", "said"),
    [
        ({"refusals": SignalValue(0.05)}, "Pass", ""),
        ({"refusals": SignalValue(0.051)}, "Fail", "above its bound"),
        ({"refusals": SignalValue(float("nan"))}, "Inconclusive", "no usable value"),
        ({"refusals": SignalValue(float("inf"))}, "Inconclusive", "no usable value"),
        ({"refusals": SignalValue(None, "3 series where one was asked for")}, "Inconclusive", "3 series"),
        ({}, "Inconclusive", "no usable value of template refused from prom"),
        ({"other": SignalValue(0.0)}, "Inconclusive", "no usable value"),
    ],
)
def test_a_signal_is_held_to_its_bound_and_no_value_is_no_pass(signals, verdict, said):
    plan = look(SIGNAL, around=replace(HEALTHY, signals=signals))
    plan.count(both())
    report = find(plan, "refusals")
    assert report.verdict == verdict
    assert said in report.message
    assert report.missing == ("candidate" if verdict == "Inconclusive" else "")


# -- the share of requests


@pytest.mark.parametrize(
    ("weight", "counts", "verdict"),
    [(10, (900, 100), "Pass"), (10, (1000, 0), "Fail"), (10, (500, 500), "Fail"), (100, (0, 1000), "Pass")],
)
def test_a_route_that_does_not_send_what_its_weight_asks_is_not_in_effect(weight, counts, verdict):
    plan = look(ERRORS, weight=weight)
    plan.count(make_samples(*(make_counts(each) if each else None for each in counts)), 5)
    report = find(plan, ROUTE_NOT_EFFECTIVE)
    assert report.verdict == verdict
    assert report.margin == f"{weight} % to the candidate"


def test_where_sessions_stick_to_an_arm_shares_of_requests_say_nothing():
    facts = make_facts(ERRORS)
    stuck = replace(facts.segments[0], sticky=Stickiness(cookie="s"))
    plan = Look(replace(facts, segments=(stuck,)), make_state(weight=10), HEALTHY).settle()
    plan.count(make_samples(make_counts(1000), None), 5)
    assert [each.name for each in plan.judged.reports] == ["errors"]


# -- which gates and segments are judged


@pytest.mark.parametrize(("stage", "weight"), [("shadow", 0), ("canary", 50), ("soak", 100)])
def test_only_the_gates_of_a_stage_speak(stage, weight):
    gates = [replace(ERRORS, name=each, stages=frozenset({each})) for each in ("shadow", "canary", "soak")]
    plan = look(*gates, stage=stage, weight=weight)
    plan.count(both())
    assert {each.name for each in plan.judged.reports} - {ROUTE_NOT_EFFECTIVE} == {stage}


def test_in_a_canary_the_segment_that_moves_is_judged_and_while_soaking_those_that_did():
    step = (StepFacts(50, 60.0, 100, 3600.0),)
    segments = (
        SegmentFacts("first", None, step),
        SegmentFacts("second", None, step),
        SegmentFacts("never", None, (), stays=True),
    )
    facts = make_facts(ERRORS, segments=segments)
    places = (
        SegmentState("first", "Candidate", 100),
        SegmentState("second", "Moving", 50),
        SegmentState("never", "Stays", 0),
    )
    for stage, judged in (
        ("canary", {"second"}),
        ("soak", {"first", "second"}),
        ("shadow", {"first", "second"}),
    ):
        state = make_state(stage, segments=places, segment_index=1)
        plan = Look(facts, state, HEALTHY).settle()
        assert {each.segment for each in plan.judged.reports if each.name == "errors"} == judged


def test_during_a_pause_the_gates_of_the_stage_go_on():
    state = make_state(phase="Paused", resume_phase="Canary")
    plan = Look(make_facts(WIDE), state, HEALTHY).settle()
    plan.count(both(bad=(1, 30)), 20)
    assert find(plan).verdict == "Fail"


# -- what is remembered


def crowded(segments: int, gates: int) -> tuple[Look, Samples]:
    """A plan of many segments, gates and strata in full swing, with a window of it."""
    names = [f"segment-with-a-long-name-{each}" for each in range(segments)]
    bounds = [BOUND + each for each in range(gates - 2)]
    latencies = [
        replace(LATENCY, name=f"latency-{each}", threshold_seconds=bound) for each, bound in enumerate(bounds)
    ]
    facts = make_facts(
        ERRORS,
        PARITY,
        *latencies,
        segments=tuple(SegmentFacts(name, None, (StepFacts(50, 60.0, 100, 3600.0),)) for name in names),
    )
    places = tuple(SegmentState(name, "Candidate", 50) for name in names)
    plan = Look(facts, make_state("soak", segments=places), HEALTHY)
    rng = np.random.default_rng(3)

    def arm(seed: int) -> ArmSamples:
        strata = {f"p{p}o{o}": make_counts(100_000 + seed, 999, 888) for p in range(4) for o in range(4)}
        return ArmSamples(strata, 3, 17)

    told = {}
    for name in names:
        losses, times = np.unique(rng.integers(-90, 91, 3000), return_counts=True)
        pairs = make_pairs(
            (123_456, 1234, 1212, 99), differences=dict(zip(losses.tolist(), times.tolist(), strict=True))
        )
        slow = {name_threshold("latency", bound): Table(123_456, 1234, 1212, 99) for bound in bounds}
        told[name] = SegmentSamples(
            started={"baseline": 1_600_000, "candidate": 1_600_000},
            arms={"baseline": arm(1), "candidate": arm(2)},
            shadows={"candidate": arm(3)},
            shadow=ShadowCounts(123_456, 246_912, 246_912, {"busy": 12, "large": 3}),
            pairs={f"p{p}o0": PairCounts(pairs.pairs, pairs.failures, slow, pairs.scores) for p in range(4)},
        )
    return plan, Samples(EPOCH, 1, at(0), told)


@pytest.mark.parametrize("stage", ["shadow", "soak"])
def test_what_a_large_plan_remembers_fits_in_its_status(stage):
    plan, window = crowded(9, 6)
    if stage == "shadow":
        places = tuple(replace(each, place="Baseline", weight_percent=0) for each in plan.state.segments)
        plan.state = make_state("shadow", segments=places)
    plan.settle()
    plan.count(window, 2)
    assert len(plan.judged.reports) >= 45
    assert plan.taken.window is not None
    kept = sum(len(key) + len(text) for key, text in plan.state.evidence.items()) + len(plan.state.reading)
    assert 1_000 < kept < 100 * 1024


BROKEN = ("{", "[]", "null", "0", '["x"]', "[" * 5000)


@pytest.mark.parametrize("stage", ["shadow", "canary", "soak"])
@pytest.mark.parametrize("how", [*BROKEN, "cut", "negative", "words"])
def test_evidence_that_nobody_can_have_written_is_an_error_once_and_gathered_anew(stage, how):
    gates = (WIDE, LATENCY, PARITY)
    plan = look(*gates)
    plan.count(both(), 3)
    plan = plan.go_on(stage, {"shadow": 0, "canary": 50, "soak": 100}[stage])
    pairs = make_pairs((100, 0, 0, 0), slow=(100, 0, 0, 0), differences={0: 100})
    window = replace(
        both(), segments=make_samples(*[make_counts(200)] * 2, pairs=pairs, shadow=SHADOWED).segments
    )
    plan.count(window, 3)

    def spoil(text: str) -> str:
        if how in BROKEN:
            return how
        if how == "cut":
            return text[: len(text) // 2]
        parts = json.loads(text)
        if how == "words":
            return json.dumps([*parts[:2], *("many" for _ in parts[2:])])
        return json.dumps(
            [*parts[:2], *([-5 for _ in each] if isinstance(each, list) else -5 for each in parts[2:])]
        )

    spoiled = {
        key: text if key.startswith("reference/") else spoil(text)
        for key, text in plan.state.evidence.items()
    }
    plan.state = replace(plan.state, evidence=spoiled)
    plan.count(window)
    assert {each.verdict for each in plan.judged.reports} <= {"Error", "Inconclusive", "Pass"}
    for report in plan.judged.reports:
        if report.verdict == "Error":
            assert "gathered anew" in report.message
    plan.count(window, 40)
    assert {each.verdict for each in plan.judged.reports} == {"Pass"}
