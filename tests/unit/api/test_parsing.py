"""Objects of the API become models; what can't be read is named with field, value and way out."""

from __future__ import annotations

import copy
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from switchyard.api import ApiValueError, parse_pool, parse_workload


def workload(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "switchyard.dev/v1alpha1",
        "kind": "InferenceWorkload",
        "metadata": {"name": "chat", "namespace": "team"},
        "spec": {
            "demand": {"requestsPerSecond": "5"},
            "variants": [
                {"name": "gpu", "accelerators": ["nvidia-l4"], "container": {"image": "example.com/server:1"}}
            ],
            **spec,
        },
    }


def pool(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "l4"}, "spec": {"accelerator": "nvidia-l4", **spec}}


def test_what_is_left_out_of_a_workload_gets_its_default() -> None:
    parsed = parse_workload(workload())
    assert (parsed.spec.tier, parsed.spec.port) == ("internal", 8080)
    assert parsed.spec.demand.peak_factor == Decimal(1)
    assert parsed.spec.demand.deadline is None
    assert parsed.spec.variants[0].devices_per_replica == 1
    assert (parsed.spec.scaling.min_replicas, parsed.spec.scaling.max_replicas) == (1, 100)
    policy = parsed.spec.placement
    assert (policy.mode, policy.migration, policy.estimate) == ("single", "propose", "never")
    assert (policy.stabilisation.seconds, policy.horizon.seconds) == (600, 86_400)
    assert (parsed.spec.signals, parsed.spec.fallback) == (None, ())
    assert parsed.status.observed_generation == -1


def test_a_learned_profile_can_be_pasted_into_a_variant() -> None:
    learned = {
        "iteration": "6.5ms",
        "perSequence": "60us",
        "perPrefillToken": "85us",
        "maxBatch": 256,
        "prefixHitRatio": "0.25",
    }
    body = workload()
    body["status"] = {
        "learnedProfiles": [{"variant": "gpu", "pool": "l4", "state": "Proposed", "tokens": learned}]
    }
    (found,) = parse_workload(body).status.learned_profiles
    assert found.tokens is not None
    shown = found.tokens.model_dump(mode="json", by_alias=True, exclude_none=True)
    body["spec"]["variants"][0]["profile"] = {"tokens": shown, "source": "learned"}
    pasted = parse_workload(body).spec.variants[0].profile
    assert pasted is not None
    assert pasted.tokens == found.tokens


def test_what_is_left_out_of_a_pool_gets_its_default() -> None:
    spec = parse_pool(pool()).spec
    assert (spec.capacity_type, spec.maturity, spec.cordoned) == ("on-demand", "production", False)
    assert spec.allowed_namespaces is None


def test_the_fields_of_a_cost_are_typed() -> None:
    cost = parse_pool(
        pool(
            cost={
                "energy": {"pricePerKWh": "0.22", "pue": "1.3"},
                "owned": {"purchasePrice": "32000", "lifetimeMonths": 48},
                "asOf": "2026-07-20",
            }
        )
    ).spec.cost
    assert cost is not None
    assert cost.energy is not None
    assert cost.energy.price_per_kwh == Decimal("0.22")
    assert cost.as_of == date(2026, 7, 20)


def test_a_field_of_a_later_release_is_ignored() -> None:
    body = workload(warmStart={"requests": {}})
    body["spec"]["variants"][0]["adapters"] = ["support"]
    body["status"] = {"observedGeneration": 3, "attainment": {}}
    parsed = parse_workload(body)
    assert parsed.spec == parse_workload(workload()).spec
    assert parsed.status.observed_generation == 3


def test_a_container_goes_back_to_core_v1_as_it_came() -> None:
    container = {
        "image": "example.com/server:1",
        "args": ["--model=chat"],
        "env": [
            {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "hub", "key": "token"}}},
            {"name": "EMPTY", "value": ""},
        ],
        "resources": {"requests": {"cpu": "2", "memory": "8Gi"}},
        "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
        "readinessProbe": {"httpGet": {"path": "/health", "port": "http", "scheme": "HTTP"}},
        "livenessProbe": {"exec": {"command": ["true"]}},
        "volumes": [{"name": "scratch", "emptyDir": {}}],
        "volumeMounts": [{"name": "scratch", "mountPath": "/tmp"}],
    }
    body = workload(variants=[{"name": "gpu", "accelerators": ["gpu"], "container": container}])
    read = parse_workload(body).spec.variants[0].container
    assert read is not None
    assert read.model_dump(mode="json", by_alias=True, exclude_none=True) == container


BAD_WORKLOADS = {
    "a negative rate": (
        {"demand": {"requestsPerSecond": "-5"}},
        ["spec.demand.requestsPerSecond", "'-5'", "'12.5'"],
    ),
    "a deadline past a day": (
        {"demand": {"requestsPerDay": 10, "deadline": "48h"}},
        ["spec.demand.deadline", "'48h'", "at most 24h"],
    ),
    "a deadline of nothing": (
        {"demand": {"requestsPerDay": 10, "deadline": "0s"}},
        ["spec.demand.deadline", "more than 0s"],
    ),
    "a horizon of nothing": (
        {"placement": {"horizon": "0s"}},
        ["spec.placement.horizon", "'0s'", "1m to 8760h"],
    ),
    "an unknown preset": (
        {"demand": {"signal": {"preset": "abacus"}}},
        ["spec.demand.signal.preset", "'abacus'", "'vllm'"],
    ),
    "a prompt of half a token": (
        {"demand": {"inputTokens": {"mean": "0.5"}}},
        ["spec.demand.inputTokens.mean", "'0.5'", "at least 1"],
    ),
    "an unknown tier": ({"tier": "vip"}, ["spec.tier", "'vip'", "'customer-facing'"]),
    "ten thousand replicas": (
        {"scaling": {"maxReplicas": 10_000}},
        ["spec.scaling.maxReplicas", "10000", "1000"],
    ),
    "a percentile of 100": (
        {"objectives": [{"percentile": 100, "target": "1s"}]},
        ["spec.objectives[0].percentile", "100", "99"],
    ),
    "a target that is none": (
        {"objectives": [{"percentile": 95, "target": "fast"}]},
        ["spec.objectives[0].target", "'fast'", "300ms"],
    ),
    "no demand": ({"demand": None}, ["spec.demand", "None"]),
    "no accelerators": (
        {"variants": [{"name": "a", "accelerators": []}]},
        ["spec.variants[0].accelerators", "[]"],
    ),
}


@pytest.mark.parametrize(("spec", "told"), BAD_WORKLOADS.values(), ids=BAD_WORKLOADS)
def test_a_bad_workload_is_named_by_field_and_value(spec: dict[str, Any], told: list[str]) -> None:
    with pytest.raises(ApiValueError) as caught:
        parse_workload(workload(**spec))
    message = str(caught.value)
    assert all(part in message for part in told), message
    assert message.count(";") == 0, "one problem, one sentence"


def test_several_problems_are_told_together_and_not_without_end() -> None:
    objectives = [{"percentile": 0, "target": "fast"} for _ in range(5)]
    with pytest.raises(ApiValueError) as caught:
        parse_workload(workload(tier="vip", objectives=objectives))
    assert str(caught.value).endswith("; and 6 more")


def test_a_missing_spec_says_what_must_be_given() -> None:
    with pytest.raises(ApiValueError, match=r"spec\.variants: must be given"):
        parse_workload({"metadata": {"name": "empty"}})


def test_what_was_read_can_not_be_changed() -> None:
    spec = parse_workload(workload()).spec
    with pytest.raises(ValidationError):
        spec.port = 1


def test_reading_leaves_the_body_as_it_was() -> None:
    body = workload()
    before = copy.deepcopy(body)
    parse_workload(body)
    assert body == before
