"""Percentiles of language-model engines against an independent simulation, and the rates made from them.

The simulation's figures are stored (tests/data/engine, with their generator); a sample of them is run again here.
At the p95 a figure agrees when it is within 10 percent, or lies between the simulation's p94 and p96: where waits
begin, and where one gap in twenty meets a prompt, the figure itself jumps severalfold from one percent to the next.
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.core.engine_cases import CASES, LOADS, METRICS
from tests.unit.core.engine_simulation import simulate

from switchyard.core.errors import ProfileError
from switchyard.core.placement.latency import (
    Objective,
    TokensProfile,
    Traffic,
    describe_gap,
    max_rate,
    percentile_seconds,
    predict,
)
from switchyard.core.placement.linear_profile import convert_linear
from switchyard.core.placement.token_percentiles import LOADS as GRID
from switchyard.core.placement.token_percentiles import figure_at, find_token_load, token_percentile_seconds
from switchyard.core.placement.tokens import balance, mean_chunks, saturation_rate, settle_traffic

OBSERVED = json.loads(
    (Path(__file__).parents[2] / "data" / "engine" / "observed.json").read_text(encoding="utf-8")
)
CHAT, TALK = CASES["chat"]
PINNED = (0.111164, 0.0320329, 9.32073)  # chat at 80 percent: first token, gap, answer


@pytest.mark.parametrize("load", LOADS)
@pytest.mark.parametrize("name", CASES)
def test_the_p95_agrees_with_the_simulation(name, load):
    """Both ways up to 85 percent of saturation; above it the model may be late, never early."""
    figures = figure_at(*CASES[name], load)
    for metric in METRICS:
        seen = OBSERVED[name][str(load)][metric]
        predicted = figures.read(metric, 95)
        lowest = min(0.90 * seen["95"], 0.99 * seen["94"])
        highest = max(1.10 * seen["95"], 1.01 * seen["96"]) if load <= 0.85 else math.inf
        assert lowest <= predicted <= highest, metric


@pytest.mark.parametrize("load", LOADS)
@pytest.mark.parametrize("name", [each for each in CASES if each != "one token out"])
def test_the_median_answer_agrees_with_the_simulation_within_15_percent(name, load):
    figures = figure_at(*CASES[name], load)
    assert figures.read("latency", 50) == pytest.approx(OBSERVED[name][str(load)]["latency"]["50"], rel=0.15)


@pytest.mark.parametrize(
    ("name", "load"),
    [("chat", 0.5), ("retrieval, prompts of three chunks", 0.7), ("one sequence at a time", 0.3)],
)
def test_the_stored_figures_are_what_the_simulation_answers(name, load):
    profile, traffic = CASES[name]
    run = simulate(profile, traffic, rate=load * saturation_rate(profile, traffic), requests=30_000, seed=1)
    for metric in METRICS:
        assert run.percentile(metric, 95) == pytest.approx(OBSERVED[name][str(load)][metric]["95"], rel=0.05)


PROMISES = [
    ("chat", Objective(95, 0.2, "ttft")),
    ("chat", Objective(95, 0.030, "tpot")),
    ("chat on a small device", Objective(95, 15.0)),
    ("retrieval, prompts of three chunks", Objective(95, 1.5, "ttft")),
    ("the cache binds", Objective(99, 1.0, "ttft")),
    ("short answers at a high rate", Objective(99, 0.030, "tpot")),
]


@pytest.mark.parametrize(("name", "objective"), PROMISES, ids=[f"{name}: {each}" for name, each in PROMISES])
def test_the_promised_rate_keeps_its_objective_in_the_simulation(name, objective):
    profile, traffic = CASES[name]
    capacity = max_rate(profile, (objective,), traffic=traffic)
    assert capacity.rate > 0
    run = simulate(profile, traffic, rate=capacity.rate, requests=30_000, seed=5)
    assert run.percentile(objective.metric, objective.percentile) <= objective.target_seconds


@pytest.mark.parametrize("name", CASES)
def test_the_simulation_is_stable_just_below_saturation_and_not_above(name):
    profile, traffic = CASES[name]
    if profile.cache_tokens is not None:
        pytest.skip("engines fill the cache to the brim, the model to nine tenths")
    limit = saturation_rate(profile, traffic)
    waits = [
        simulate(profile, traffic, rate=load * limit, requests=3_000, seed=2).percentile("ttft", 50)
        for load in (0.9, 1.2)
    ]
    assert waits[1] > 3 * waits[0]


def test_the_tightest_objective_binds_whatever_its_metric():
    loose, tight = Objective(95, 0.5, "ttft"), Objective(95, 0.020, "tpot")
    capacity = max_rate(CHAT, (loose, tight), traffic=TALK)
    assert capacity.binding == tight
    assert capacity.rate == max_rate(CHAT, (tight,), traffic=TALK).rate


def test_an_objective_that_one_request_misses_gives_nothing_and_the_best_that_can_be_promised():
    capacity = max_rate(CHAT, (Objective(95, 0.010, "ttft"),), 0.02, traffic=TALK)
    assert capacity.rate == 0
    assert capacity.best_seconds == pytest.approx(
        percentile_seconds(CHAT, 0.0, 95, 0.02, traffic=TALK, metric="ttft")
    )
    reachable = Objective(95, capacity.best_seconds + 0.02, "ttft")
    assert max_rate(CHAT, (reachable,), 0.02, traffic=TALK).rate > 0


@pytest.mark.parametrize(
    ("source", "ratio"), [("benchmark", 0.9), ("learned", 0.8), ("vendor", 0.7), ("estimate", 0.7)]
)
def test_headroom_is_left_by_how_the_profile_is_known(source, ratio):
    limit = saturation_rate(CHAT, settle_traffic(TALK))
    capacity = max_rate(CHAT, (), 0.0, source, TALK)
    assert capacity.binding is None
    assert capacity.rate == pytest.approx(0.95 * ratio * limit, rel=1e-5)


def test_the_way_to_the_pool_delays_the_first_token_and_not_the_gaps():
    near, far = (predict(CHAT, 8.0, seconds, TALK) for seconds in (0.0, 0.05))
    assert far.tpot == near.tpot
    assert far.ttft.p95_seconds == pytest.approx(near.ttft.p95_seconds + 0.05)
    assert far.p95_seconds == pytest.approx(near.p95_seconds + 0.05)


def test_nothing_is_promised_when_no_sequence_fits_the_cache():
    tiny = replace(CHAT, cache_tokens=500)
    assert saturation_rate(tiny, TALK) == 0
    assert max_rate(tiny, (Objective(95, 9.0),), traffic=TALK).rate == 0
    assert predict(tiny, 1.0, 0.0, TALK).p95_seconds == math.inf
    assert predict(tiny, 1.0, 0.0, TALK).utilisation_ratio == 1.0


def test_nothing_finite_is_predicted_past_saturation():
    past = saturation_rate(CHAT, TALK) * 1.05
    assert predict(CHAT, past, 0.0, TALK).ttft.p50_seconds == math.inf


def test_without_the_size_of_requests_the_profile_is_refused_with_the_way_out():
    with pytest.raises(ProfileError, match=r"demand\.inputTokens"):
        max_rate(CHAT, ())
    assert describe_gap(CHAT, (Objective(95, 1.0, "tpot"),), TALK) == ""


def test_figures_are_the_same_on_every_machine():
    """Pinned: what another processor or library computes must agree to the last of six digits."""
    figures = figure_at(CHAT, TALK, 0.8)
    assert (figures.read("ttft", 95), figures.read("tpot", 95), figures.read("latency", 95)) == pytest.approx(
        PINNED, rel=2e-6
    )


def test_traffic_is_moved_by_no_more_than_its_step():
    settled = settle_traffic(Traffic(1155, 0.96, 211, 0.77))
    assert settled.input_mean == pytest.approx(1155, rel=0.011)
    assert settled.output_mean == pytest.approx(211, rel=0.011)
    assert settle_traffic(settled) == settled
    assert (settled.input_cv, settled.output_cv) == (0.95, 0.75)


@pytest.mark.parametrize(
    ("mean", "cv", "chunk", "chunks"), [(100, 0, 100, 1), (101, 0, 100, 2), (1, 1.0, 2048, 1.0)]
)
def test_prompts_are_cut_into_chunks(mean, cv, chunk, chunks):
    assert mean_chunks(mean, cv, chunk) == pytest.approx(chunks)


PUBLISHED = [  # alpha, beta, gamma, delta in milliseconds, and the batch
    ("gamma below alpha", (20.58, 0.41, 5.2, 0.1, 4), 0.99),
    ("a wide batch", (6.973, 0.027, 5.2, 0.1, 64), 0.99),
    ("gamma above alpha", (7.47, 0.044, 15.415, 0.000337, 512), 0.25),
]


@pytest.mark.parametrize(
    ("engine", "lowest"), [case[1:] for case in PUBLISHED], ids=[c[0] for c in PUBLISHED]
)
@pytest.mark.parametrize(("prompt", "answer"), [(128, 128), (1024, 256), (4000, 100), (512, 1000)])
def test_a_converted_engine_is_never_faster_than_published(engine, lowest, prompt, answer):
    alpha, beta, gamma, delta, batch = engine
    profile = convert_linear(
        decode_alpha_seconds=alpha / 1e3,
        decode_beta_seconds=beta / 1e3,
        prefill_gamma_seconds=gamma / 1e3,
        prefill_delta_seconds=delta / 1e3,
        max_batch=batch,
        input_mean=prompt,
    )
    published = batch / (gamma + delta * prompt * batch + (answer - 1) * (alpha + beta * batch)) * 1e3
    ratio = saturation_rate(profile, Traffic(prompt, 0, answer, 0)) / published
    assert lowest <= ratio <= 1.001
    alone = percentile_seconds(profile, 0.0, 50, traffic=Traffic(prompt, 0, answer, 0))
    written = (gamma + delta * prompt + (answer - 1) * (alpha + beta)) / 1e3
    assert alone == pytest.approx(written, rel=0.03)


def test_shared_prefixes_save_their_work_and_not_their_place_in_the_cache():
    half = replace(CHAT, prefix_hit_ratio=0.5, cache_tokens=40_000)
    assert balance(half, TALK).fresh_tokens == 400
    assert balance(half, TALK).places == balance(replace(half, prefix_hit_ratio=0), TALK).places


@pytest.mark.parametrize(
    "change",
    [
        {"iteration_seconds": 0},
        {"per_sequence_seconds": -1},
        {"per_prefill_token_seconds": math.nan},
        {"per_cached_token_seconds": math.inf},
        {"max_batch": 0},
        {"max_batched_tokens": 0},
        {"cache_tokens": 0},
        {"prefix_hit_ratio": 1.0},
    ],
)
def test_numbers_that_no_engine_has_are_refused(change):
    with pytest.raises(ProfileError):
        replace(CHAT, **change)


@pytest.mark.parametrize(
    "sizes", [(0, 1, 10, 1), (10, -1, 10, 1), (10, 1, math.nan, 1), (10, 1, 10, math.inf)]
)
def test_sizes_that_no_request_has_are_refused(sizes):
    with pytest.raises(ProfileError):
        Traffic(*sizes)


profiles = st.builds(
    TokensProfile,
    st.floats(0.002, 0.1),
    st.floats(0.0, 0.002),
    st.floats(0.0, 2e-4),
    st.sampled_from([0.0, 1e-8, 1e-7]),
    st.integers(1, 300),
    st.sampled_from([256, 2048, 16384]),
)
traffics = st.builds(Traffic, st.floats(1, 8000), st.floats(0, 2), st.floats(1, 2000), st.floats(0, 2))


@settings(max_examples=40, deadline=None)
@given(profiles, traffics, st.sampled_from(METRICS), st.sampled_from([50, 95]), st.floats(0.0, 0.9))
def test_more_load_never_answers_much_sooner(profile, traffic, metric, percent, load):
    traffic = settle_traffic(traffic)
    less, more = (
        token_percentile_seconds(profile, traffic, each, percent, metric) for each in (load, load + 0.09)
    )
    assert 0 <= less <= more * 1.10


@settings(max_examples=30, deadline=None)
@given(profiles, traffics, st.sampled_from(METRICS), st.sampled_from([50, 95, 99]), st.floats(0.005, 20.0))
def test_the_load_found_keeps_its_promise_and_a_higher_one_does_not(
    profile, traffic, metric, percent, target
):
    load = find_token_load(profile, traffic, (percent, metric, target), highest=0.95)
    if load > 0:
        assert token_percentile_seconds(profile, traffic, load, percent, metric) <= target * (1 + 1e-6)
    if load < 0.95:
        step = next(each for each in GRID if each > load)
        assert token_percentile_seconds(profile, traffic, step, percent, metric) > target * (1 - 1e-6)
