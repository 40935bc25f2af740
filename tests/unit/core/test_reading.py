"""What placement reads of pools and workloads: every field of the API as a number with a unit."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.core.worlds import pool, variant, workload

from switchyard.catalog import load_catalog
from switchyard.core.placement.facts import (
    DemandReading,
    FallbackFacts,
    PoolFacts,
    SignalFacts,
    WorkloadFacts,
)
from switchyard.core.placement.latency import (
    Objective,
    Percentiles,
    TokensProfile,
    Traffic,
    describe_gap,
    predict,
)
from switchyard.core.placement.linear_profile import convert_linear
from switchyard.core.placement.reading import read_pool, read_workload
from switchyard.core.placement.tokens import saturation_rate
from switchyard.core.world import PriceReading

CATALOG = load_catalog()


def facts_of_pool(**spec: Any) -> PoolFacts:
    return read_pool(pool("p", **spec), CATALOG)


def facts(measured: DemandReading | None = None, **spec: Any) -> WorkloadFacts:
    return read_workload(workload("w", **spec), measured)


# -- pools


def test_a_pool_that_says_nothing_of_spot_or_growth_has_neither() -> None:
    found = facts_of_pool()
    assert (found.interruptions_per_day, found.notice_seconds) == (0.0, None)
    assert (found.growth_limit_devices, found.provisioning_seconds) == (None, 0.0)


def test_a_spot_pool_says_how_often_it_goes_and_with_what_notice() -> None:
    found = facts_of_pool(capacityType="spot", spot={"interruptionsPerDay": "0.5", "noticePeriod": "2m"})
    assert found.capacity_type == "spot"
    assert found.interruptions_per_day == 0.5
    assert found.notice_seconds == 120


@pytest.mark.parametrize(("stated", "seconds"), [({"provisioningTime": "90s"}, 90), ({}, 300)])
def test_an_elastic_pool_may_grow_and_takes_its_time(stated: dict[str, str], seconds: float) -> None:
    found = facts_of_pool(capacity={"mode": "elastic", "maxDevices": 64, "reservedDevices": 8, **stated})
    assert found.growth_limit_devices == 64
    assert found.reserved_devices == 8
    assert found.provisioning_seconds == seconds


def test_a_price_says_where_it_comes_from() -> None:
    assert facts_of_pool(cost={"devicePerHour": "1", "source": "list price"}).price.source == "list price"
    assert facts_of_pool(cost=None).price.source == ""


def test_a_price_from_outside_takes_the_place_of_price_and_purchase_and_leaves_energy() -> None:
    reading = PriceReading(Decimal("0.91"), "opencost:cluster", datetime(2026, 11, 20, 9, tzinfo=UTC))
    bought = {
        "owned": {"purchasePrice": "32000", "lifetimeMonths": 48},
        "energy": {"pricePerKWh": "0.22"},
        "source": "accounts",
    }
    stated = read_pool(pool("p", cost=bought, capacityType="owned"), CATALOG).price
    assert (stated.device_per_hour, stated.purchase_price) == (None, 32000)
    price = read_pool(pool("p", cost=bought, capacityType="owned"), CATALOG, reading).price
    assert (price.device_per_hour, price.purchase_price) == (Decimal("0.91"), None)
    assert (price.source, price.as_of) == ("opencost:cluster", date(2026, 11, 20))
    assert price.energy_price_per_kwh == Decimal("0.22")


# -- demand


DEMANDS = {
    "a rate": ({"requestsPerSecond": "10", "peakFactor": "1.5"}, (10.0, 15.0, "Planned")),
    "a daily batch in its deadline": (
        {"requestsPerDay": 86_400, "deadline": "6h"},
        (1.0, 4.0, "Planned"),
    ),
    "a signal with a plan until it answers": (
        {"requestsPerSecond": "10", "signal": {"preset": "vllm"}},
        (10.0, 10.0, "Planned"),
    ),
    "a signal that never answered": ({"signal": {"preset": "vllm"}}, (0.0, 0.0, "None")),
}


@pytest.mark.parametrize(("demand", "expected"), DEMANDS.values(), ids=DEMANDS)
def test_the_plan_is_read_as_mean_and_peak(
    demand: dict[str, Any], expected: tuple[float, float, str]
) -> None:
    found = facts(demand=demand)
    assert (found.mean_rate, found.peak_rate, found.demand_source) == expected


def test_a_measured_rate_takes_the_place_of_the_plan_and_keeps_the_peak_factor() -> None:
    demand = {"requestsPerSecond": "10", "peakFactor": "2", "signal": {"preset": "vllm"}}
    found = facts(DemandReading(7.5, "LastKnown"), demand=demand)
    assert (found.mean_rate, found.peak_rate, found.demand_source) == (7.5, 15.0, "LastKnown")


SIZES = {"inputTokens": {"mean": "812", "cv": "0.9"}, "outputTokens": {"mean": "230"}}


def test_request_sizes_are_read_and_measured_ones_win() -> None:
    demand = {"requestsPerSecond": "10", **SIZES}
    assert facts(demand=demand).traffic == Traffic(812, 0.9, 230, 0)
    measured = Traffic(700, 1, 200, 1)
    assert facts(DemandReading(5, "Signal", measured), demand=demand).traffic == measured
    assert facts(DemandReading(5, "Signal"), demand=demand).traffic == Traffic(812, 0.9, 230, 0)
    assert facts().traffic is None


SIGNALS = {
    "its own preset": ({"preset": "nginx", "source": "a"}, None, SignalFacts("a", "nginx")),
    "the engine's source and preset": (
        {},
        {"source": "main", "preset": "vllm"},
        SignalFacts("main", "vllm"),
    ),
    "its own before the engine's": (
        {"preset": "istio"},
        {"source": "main", "preset": "vllm"},
        SignalFacts("main", "istio"),
    ),
    "a template, and then no preset": (
        {"template": "t"},
        {"source": "main", "preset": "vllm"},
        SignalFacts("main", "", "t"),
    ),
    "the pods themselves": ({}, {"preset": "sglang"}, SignalFacts("", "sglang")),
}


@pytest.mark.parametrize(("signal", "engine", "expected"), SIGNALS.values(), ids=SIGNALS)
def test_a_demand_signal_takes_what_it_lacks_from_the_signals(
    signal: dict[str, str], engine: dict[str, str] | None, expected: SignalFacts
) -> None:
    assert facts(demand={"signal": signal}, signals=engine).signal == expected


def test_the_window_is_five_minutes_unless_stated() -> None:
    for stated, seconds in (({}, 300), ({"window": "10m"}, 600)):
        found = facts(demand={"signal": {"preset": "vllm"}, **stated}).signal
        assert found is not None
        assert found.window_seconds == seconds


LEARNING = {
    "nothing without signals": (None, "off", None),
    "proposals by default": ({"preset": "vllm"}, "propose", SignalFacts("", "vllm")),
    "use where asked for": (
        {"preset": "vllm", "source": "main", "learning": "use"},
        "use",
        SignalFacts("main", "vllm"),
    ),
    "nothing where it is off": ({"preset": "vllm", "learning": "off"}, "off", None),
    "nothing without an engine": ({"source": "main"}, "off", None),
}


@pytest.mark.parametrize(("signals", "learning", "source"), LEARNING.values(), ids=LEARNING)
def test_learning_needs_an_engine_and_leave(
    signals: dict[str, str] | None, learning: str, source: SignalFacts | None
) -> None:
    found = facts(signals=signals)
    assert (found.learning, found.learning_signal) == (learning, source)


# -- what is asked of the placement


def test_a_workload_that_asks_for_nothing_has_the_defaults_of_the_facts() -> None:
    found = facts()
    plain = WorkloadFacts("team", "w", "internal", 1, 1, (), ())
    for name in (
        "mode",
        "migration",
        "min_saving_ratio",
        "stabilisation_seconds",
        "horizon_seconds",
        "scale_down_delay_seconds",
        "max_pool_ratio",
        "max_zone_ratio",
        "spot_survival_ratio",
        "min_firm_replicas",
        "fallbacks",
        "allows_estimate",
        "learning",
        "signal",
        "parameters",
        "kv_bytes_per_token",
    ):
        assert getattr(found, name) == getattr(plain, name), name


def test_the_policy_is_read_in_ratios_and_seconds() -> None:
    found = facts(
        placement={
            "mode": "mixed",
            "migration": "manual",
            "minSavingPercent": 25,
            "stabilisation": "30m",
            "horizon": "48h",
            "estimate": "allow",
        },
        scaling={"scaleDownDelay": "15m"},
        constraints={
            "spread": {"maxPercentPerPool": 60, "maxPercentPerZone": 50},
            "spot": {"survivalPercent": 70, "minFirmReplicas": 2},
        },
        model={"name": "m", "parameters": 8_000_000_000, "kvBytesPerToken": "128Ki"},
    )
    assert (found.mode, found.migration, found.allows_estimate) == ("mixed", "manual", True)
    assert found.min_saving_ratio == 0.25
    assert (found.stabilisation_seconds, found.horizon_seconds) == (1800, 172_800)
    assert found.scale_down_delay_seconds == 900
    assert (found.max_pool_ratio, found.max_zone_ratio) == (0.6, 0.5)
    assert (found.spot_survival_ratio, found.min_firm_replicas) == (0.7, 2)
    assert (found.parameters, found.kv_bytes_per_token) == (8_000_000_000, 131_072)


def test_fallbacks_keep_their_order_and_tell_no_objectives_from_relaxed_ones() -> None:
    relaxed = {"variant": "b", "objectives": [{"metric": "ttft", "percentile": 95, "target": "2s"}]}
    found = facts(variants=[variant("a"), variant("b"), variant("c")], fallback=[{"variant": "c"}, relaxed])
    assert found.fallbacks == (FallbackFacts("c"), FallbackFacts("b", (Objective(95, 2.0, "ttft"),)))


def test_an_objective_says_what_it_measures() -> None:
    written = [
        {"metric": "tpot", "percentile": 99, "target": "40ms"},
        {"percentile": 95, "target": "3s"},
    ]
    assert facts(objectives=written).objectives == (Objective(95, 3.0), Objective(99, 0.04, "tpot"))


# -- profiles


ENGINE = {"iteration": "6.5ms", "perSequence": "60us", "perPrefillToken": "85us", "maxBatch": 256}


def profile_of(**profile: Any) -> tuple[Any, str]:
    (found,) = facts(variants=[variant(profile=profile)]).variants
    return found.profile, found.profile_problem


def test_a_tokens_profile_is_read_in_seconds() -> None:
    assert profile_of(tokens=ENGINE) == (TokensProfile(0.0065, 60e-6, 85e-6, max_batch=256), "")
    more = {
        "perCachedToken": "30ns",
        "maxBatchedTokens": 8192,
        "cacheTokens": 420_000,
        "prefixHitRatio": "0.3",
    }
    assert profile_of(tokens={**ENGINE, **more}) == (
        TokensProfile(0.0065, 60e-6, 85e-6, 30e-9, 256, 8192, 420_000, 0.3),
        "",
    )


LINEAR = {
    "decodeAlpha": "20ms",
    "decodeBeta": "400us",
    "prefillGamma": "5ms",
    "prefillDelta": "100us",
    "maxBatch": 64,
}


def test_the_form_of_other_tools_is_read_as_tokens() -> None:
    assert profile_of(linear=LINEAR) == (TokensProfile(0.02, 400e-6, 100e-6, max_batch=64), "")


def test_what_a_prefill_takes_beyond_a_token_is_laid_on_the_prompt() -> None:
    demand = {"requestsPerSecond": "1", "inputTokens": {"mean": "1000"}, "outputTokens": {"mean": "10"}}
    slow = variant(profile={"linear": {**LINEAR, "prefillGamma": "70ms"}})
    (found,) = facts(demand=demand, variants=[slow]).variants
    assert isinstance(found.profile, TokensProfile)
    assert found.profile.per_prefill_token_seconds == pytest.approx(150e-6)


def test_a_curve_keeps_what_was_measured_of_first_tokens_and_gaps() -> None:
    whole = {"p50": "1s", "p95": "2s", "p99": "3s"}
    first, gap = {"p50": "10ms", "p95": "20ms", "p99": "30ms"}, {"p50": "1ms", "p95": "2ms", "p99": "3ms"}
    curve, _ = profile_of(points=[{"rate": "4", **whole, "ttft": first, "tpot": gap}])
    assert predict(curve, 2).ttft == Percentiles(0.01, 0.02, 0.03)
    assert predict(curve, 2).tpot == Percentiles(0.001, 0.002, 0.003)
    in_part, _ = profile_of(points=[{"rate": "4", **whole, "ttft": first}, {"rate": "8", **whole}])
    assert predict(in_part, 2).ttft is None
    assert "ttft" in describe_gap(in_part, (Objective(95, 1.0, "ttft"),))


ENGINES = st.fixed_dictionaries(
    {
        "decode_alpha_seconds": st.floats(1e-3, 0.1),
        "decode_beta_seconds": st.floats(1e-6, 1e-2),
        "prefill_gamma_seconds": st.floats(0, 0.2),
        "prefill_delta_seconds": st.floats(1e-6, 1e-3),
        "max_batch": st.integers(1, 512),
    }
)


@given(engine=ENGINES, prompt=st.integers(1, 5000), answer=st.integers(1, 1000))
def test_a_converted_engine_carries_no_more_than_the_published_one(
    engine: dict[str, Any], prompt: int, answer: int
) -> None:
    batch = engine["max_batch"]
    prefill_seconds = engine["prefill_gamma_seconds"] + engine["prefill_delta_seconds"] * prompt * batch
    token_seconds = engine["decode_alpha_seconds"] + engine["decode_beta_seconds"] * batch
    published_seconds = prefill_seconds + (answer - 1) * token_seconds
    converted = convert_linear(**engine, input_mean=prompt)
    rate = saturation_rate(converted, Traffic(prompt, 0, answer, 0))
    assert rate <= batch / published_seconds * (1 + 1e-9)


IMPOSSIBLE = {
    "an engine of no time": ({"linear": {**LINEAR, "decodeAlpha": "0s"}}, "decodeAlpha"),
    "an iteration of nothing": ({"tokens": {**ENGINE, "iteration": "0s"}}, "iteration"),
    "a server of no time": ({"concurrency": {"slots": 1, "base": "0s"}}, "base"),
    "a first token of no time": (
        {
            "points": [
                {"rate": "1", "p50": "1ms", "p95": "2ms", "p99": "3ms"}
                | {"ttft": {"p50": "0s", "p95": "1ms", "p99": "1ms"}}
            ]
        },
        "not above 0",
    ),
    "two points at one rate": (
        {"points": [{"rate": "1", "p50": "1ms", "p95": "2ms", "p99": "3ms"}] * 2},
        "rising rates",
    ),
}


@pytest.mark.parametrize(("profile", "told"), IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_a_profile_that_no_server_can_have_is_left_out_with_the_reason(
    profile: dict[str, Any], told: str
) -> None:
    found, problem = profile_of(**profile)
    assert found is None
    assert told in problem


def test_quality_is_read_and_may_be_unknown() -> None:
    found = facts(variants=[variant("a", quality="0.92"), variant("b")]).variants
    assert [each.quality for each in found] == [0.92, None]
