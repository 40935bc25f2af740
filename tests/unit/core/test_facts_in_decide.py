"""What else decides: token traffic, estimates, quotas, nodes to come, pools that are not believed, spot."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.unit.core.worlds import (
    GPU,
    NOW,
    apply,
    condition,
    foreign_pod,
    node,
    place_of,
    pool,
    settle,
    status_of,
    variant,
    workload,
    world,
)

from switchyard.catalog import load_catalog
from switchyard.core.decide import decide
from switchyard.core.world import ResourceQuotaView, World

TOKENS = {
    "tokens": {
        "iteration": "8ms", "perSequence": "80us", "perPrefillToken": "20us", "maxBatch": 64, "cacheTokens": 400_000,
    },
    "source": "benchmark",
}  # fmt: skip
SIZES = {"inputTokens": {"mean": "800", "cv": "1"}, "outputTokens": {"mean": "250", "cv": "0.8"}}
FIRST_TOKEN = [
    {"metric": "ttft", "percentile": 95, "target": "500ms"},
    {"metric": "tpot", "percentile": 95, "target": "40ms"},
]


def language_model(**spec: Any):
    demand = {"requestsPerSecond": "20", **SIZES}
    return workload(
        "chat", **{"variants": [variant(profile=TOKENS)], "demand": demand, "objectives": FIRST_TOKEN, **spec}
    )


def rejection(at: World, name: str, pool_name: str) -> dict[str, Any]:
    return next(each for each in status_of(at, name)["rejected"] if each["pool"] == pool_name)


def test_a_language_model_is_placed_by_its_tokens_and_tells_what_they_cost():
    status = status_of(settle(world(pool("p"), node("n1", "p", 8), language_model())), "chat")
    (placed,) = status["placements"]
    assert placed["replicas"] == 2
    assert {"p50", "p95", "p99"} == placed["ttft"].keys() == placed["tpot"].keys()
    assert status["summary"]["latency"].startswith("tpot p95 ") or status["summary"]["latency"].startswith(
        "ttft p95 "
    )
    assert float(status["costPerTenThousandTokens"]) == pytest.approx(
        2 / (20 * 1050 * 3600) * 10_000, rel=0.01
    )
    assert condition(status, "ObjectivesMet")[:2] == ("True", "PredictedWithinTargets")


def test_a_tokens_profile_without_sizes_of_requests_says_what_to_give():
    at = world(pool("p"), node("n1", "p", 8), language_model(demand={"requestsPerSecond": "20"}))
    placed = condition(status_of(at, "chat"), "Placed")
    assert placed[:2] == ("False", "ProfileMissing")
    assert "give demand.inputTokens and demand.outputTokens" in placed[2]


def test_a_first_token_asked_of_a_profile_that_does_not_tell_it_is_refused():
    at = world(pool("p"), node("n1", "p", 8), workload("chat", objectives=FIRST_TOKEN[:1]))
    assert "the profile does not tell ttft" in condition(status_of(at, "chat"), "Placed")[2]


@pytest.fixture
def sheet() -> str:
    """An accelerator of which the data sheet is in the catalog."""
    return next(
        each.name
        for each in load_catalog()
        if each.memory_bytes and each.memory_bandwidth_gbps and each.peak_tflops.get("bf16")
    )


def estimated(sheet: str, policy: str, **model: Any) -> World:
    family = load_catalog().get(sheet).family
    spec = {
        "variants": [variant(accelerators=[family], profile=None, precision="bf16")],
        "model": {"name": "m", "parameters": 1_000_000_000, "kvBytesPerToken": "100k", **model},
        "demand": {"requestsPerSecond": "1", **SIZES},
        "placement": {"estimate": policy},
    }
    device = {"family": family, "resourceName": GPU, "precisions": ["bf16"]}
    return world(pool("p", accelerator=sheet, device=device), node("n1", "p", 8), workload("chat", **spec))


def test_an_estimate_is_used_only_where_it_is_allowed(sheet):
    assert condition(status_of(estimated(sheet, "never"), "chat"), "Placed")[:2] == (
        "False",
        "ProfileMissing",
    )
    placed = condition(status_of(estimated(sheet, "allow"), "chat"), "Placed")
    assert placed[:2] == ("True", "ProfileEstimated")
    assert "what v carries is estimated from data sheets" in placed[2]


def test_an_estimate_that_lacks_a_number_says_which(sheet):
    placed = condition(status_of(estimated(sheet, "allow", parameters=None), "chat"), "Placed")
    assert placed[:2] == ("False", "ProfileMissing")
    assert placed[2] == (
        "variant v states no profile, and an estimate lacks model.parameters: nobody knows what a replica can "
        "carry until it has a profile, which `switchyard profile` measures"
    )


@pytest.mark.parametrize(
    ("accelerator", "model", "lacks"),
    [
        ("nvidia-l4", {"kvBytesPerToken": None}, "model.kvBytesPerToken"),
        ("nvidia-t4", {}, "the peak of nvidia-t4 in bf16"),
        ("intel-max-1100", {}, "the memory bandwidth of intel-max-1100, the peak of intel-max-1100 in bf16"),
    ],
)
def test_a_figure_that_nobody_knows_is_named(accelerator, model, lacks):
    placed = condition(status_of(estimated(accelerator, "allow", **model), "chat"), "Placed")
    assert placed[:2] == ("False", "ProfileMissing")
    assert f"an estimate lacks {lacks}:" in placed[2]


@pytest.mark.parametrize(
    "accelerator",
    [
        "nvidia-a10g",
        "nvidia-l4",
        "nvidia-l40s",
        "nvidia-a100-40gb",
        "nvidia-a100-80gb",
        "nvidia-h100",
        "nvidia-h200",
        "nvidia-b200",
        "amd-mi250",
        "amd-mi300x",
        "intel-gaudi2",
        "intel-gaudi3",
        "aws-inferentia2",
        "aws-trainium1",
        "aws-trainium2",
        "google-tpu-v5e",
        "google-tpu-v6e",
    ],
)
def test_the_catalog_knows_enough_for_an_estimate(accelerator):
    placed = condition(status_of(estimated(accelerator, "allow"), "chat"), "Placed")
    assert placed[:2] == ("True", "ProfileEstimated")


def with_quota(at: World, hard: int, used: int = 0) -> World:
    return replace(at, quotas=(ResourceQuotaView("team", "gpus", {GPU: hard}, {GPU: used}),))


def test_a_quota_below_one_replica_refuses_the_pool():
    at = with_quota(
        world(pool("p"), node("n1", "p", 8), workload("chat", variants=[variant(devicesPerReplica=4)])), 3
    )
    assert condition(status_of(at, "chat"), "Placed") == (
        "False",
        "QuotaExceeded",
        f"1 replica of 4 {GPU} need 4; a ResourceQuota of namespace team leaves 3",
    )


def test_a_quota_is_shared_by_the_workloads_of_its_namespace():
    at = with_quota(world(pool("p"), node("n1", "p", 8), workload("a", 2), workload("b", 3)), 4)
    placed = {name: place_of(at, name) for name in ("a", "b")}
    assert sorted(placed.values(), key=str) == [("v", "p", 2), None]
    assert condition(status_of(at, "b"), "Placed") == (
        "False",
        "QuotaExceeded",
        f"needs 3 x {GPU} units; ResourceQuota gpus leaves 2 of 4 devices",
    )


def test_what_others_use_of_a_quota_is_gone_and_what_is_ours_is_not():
    at = settle(with_quota(world(pool("p"), node("n1", "p", 8), workload("chat", 2)), 4))
    assert place_of(with_quota(at, 4, used=4), "chat") == ("v", "p", 2)  # 2 ours, 2 somebody else's
    new = world(pool("p"), node("n1", "p", 8), workload("chat", 2))
    assert condition(status_of(with_quota(new, 4, used=3), "chat"), "Placed")[1] == "QuotaExceeded"


def test_what_serves_and_may_not_grow_names_the_quota_and_not_the_pool():
    at = settle(with_quota(world(pool("p"), node("n1", "p", 8), workload("chat", 2)), 2))
    serving = at.workloads[0]
    grown = replace(at, workloads=(replace(workload("chat", 4), status=serving.status),))
    assert place_of(grown, "chat") == ("v", "p", 2)
    says = "4 replicas are wanted at 120 requests/s; there is room for 2: "
    says += "ResourceQuota gpus leaves 0 of 2 devices"
    for kind, truth in (("Degraded", "True"), ("ObjectivesMet", "False")):
        assert condition(status_of(grown, "chat"), kind) == (truth, "QuotaExceeded", says)
    full = replace(grown, nodes=(node("n1", "p", 2),))
    assert condition(status_of(full, "chat"), "Degraded")[1] == "InsufficientCapacity"


def test_why_the_api_server_takes_no_pods_is_told_without_the_name_of_a_pod():
    at = world(pool("p"), node("n1", "p"), workload("chat"))
    at = replace(apply(at, decide(at)), pods=())
    why = 'pods "chat-v-p-77c9-x2x8k" is forbidden: failed quota: cpus: must specify requests.cpu for: server'
    refused = {"conditions": [{"type": "ReplicaFailure", "status": "True", "message": why}]}
    children = tuple(
        replace(each, body={**each.body, "status": refused}) if each.kind == "Deployment" else each
        for each in at.children
    )
    assert condition(status_of(replace(at, children=children), "chat"), "Ready") == (
        "False",
        "WaitingForPods",
        "0 of 1 replicas ready on track chat-v-p: failed quota: cpus: must specify requests.cpu for: server",
    )


def test_nodes_to_come_count_as_room():
    elastic = {"capacity": {"mode": "elastic", "maxDevices": 4, "provisioningTime": "2m"}}
    at = world(pool("p", **elastic), workload("a", 3), workload("b", 3))
    assert place_of(at, "a") == ("v", "p", 3)
    assert condition(status_of(at, "b"), "Placed")[2] == (
        f"needs 3 x {GPU} units, 1 free in pool p on its nodes and those that may come"
    )
    waiting = apply(at, decide(at), are_pods_starting=False)
    assert decide(waiting).objects == ()


def test_a_pool_in_back_off_takes_nothing_new_and_says_until_when():
    closed = pool("p")
    back_off = {"reason": "PoolBackOff", "failures": 1, "since": "2026-11-21T11:58:00Z",
                "until": "2026-11-21T12:03:00Z", "message": "1 pod found no node for 60 s: team/x"}  # fmt: skip
    closed = replace(closed, status=type(closed.status).model_validate({"backOff": back_off}))
    at = world(closed, pool("q", "9"), node("n1", "p", 8), node("n2", "q", 8), workload("chat"))
    assert place_of(at, "chat") == ("v", "q", 1)
    refusal = rejection(at, "chat", "p")
    assert refusal["reason"] == "PoolBackOff"
    assert "takes nothing new until 2026-11-21T12:03:00Z" in refusal["message"]
    assert decide(at).recheck_at == NOW.replace(minute=3)


def test_back_off_is_the_reason_only_where_nothing_else_is_in_the_way():
    back_off = {"reason": "PoolBackOff", "failures": 1, "since": "2026-11-21T11:58:00Z",
                "until": "2026-11-21T12:03:00Z", "message": "1 pod found no node for 60 s: team/x"}  # fmt: skip
    closed = pool("p")
    closed = replace(closed, status=type(closed.status).model_validate({"backOff": back_off}))
    at = world(closed, node("n1", "p", 8), workload("chat", variants=[variant(accelerators=["nvidia-l4"])]))
    assert condition(status_of(at, "chat"), "Placed")[1] == "AcceleratorMismatch"
    slow = workload("chat", objectives=[{"metric": "latency", "percentile": 95, "target": "1ms"}])
    assert rejection(world(closed, node("n1", "p", 8), slow), "chat", "p")["reason"] == "ObjectiveUnreachable"


SPOT: dict[str, Any] = {"capacityType": "spot", "spot": {"interruptionsPerDay": "24", "noticePeriod": "0s"}}


def test_a_spot_pool_that_is_interrupted_all_the_time_is_dearer_than_it_looks():
    firm, spot = pool("firm", "1.00"), pool("spot", "0.99", **SPOT)
    at = world(firm, spot, node("n1", "firm"), node("n2", "spot"), workload("chat"))
    assert place_of(at, "chat") == ("v", "firm", 1)
    calm = replace(spot, spec=pool("spot", "0.99", capacityType="spot").spec)
    assert place_of(replace(at, pools=(firm, calm)), "chat") == ("v", "spot", 1)


ALONE = [
    ("survival", {"spot": {"survivalPercent": 50}}, "SpotNotSurvivable", "survivalPercent is 50%"),
    ("firm floor", {"spot": {"minFirmReplicas": 2}}, "FirmFloorUnreachable", "minFirmReplicas is 2"),
    ("spread", {"spread": {"maxPercentPerPool": 60}}, "SpreadUnreachable", "maxPercentPerPool is 60%"),
]


@pytest.mark.parametrize(
    ("constraints", "reason", "words"), [case[1:] for case in ALONE], ids=[case[0] for case in ALONE]
)
def test_what_one_pool_alone_cannot_keep_is_refused_with_the_way_out(constraints, reason, words):
    at = world(pool("spot", **SPOT), node("n1", "spot", 8), workload("chat", constraints=constraints))
    refusal = rejection(at, "chat", "spot")
    assert refusal["reason"] == reason
    assert words in refusal["message"]
    assert "placement.mode: mixed" in refusal["message"]


def test_firm_replicas_are_kept_in_a_pool_that_is_firm():
    firm = {"constraints": {"spot": {"minFirmReplicas": 3}}}
    at = world(pool("p"), node("n1", "p", 8), workload("chat", **firm))
    assert place_of(at, "chat") == ("v", "p", 3)


def test_a_workload_that_grows_takes_no_replica_of_an_equal_that_serves():
    at = settle(world(pool("p"), node("n1", "p", 4), workload("a", 1), workload("b", 3)))
    grown = workload("a", 6)
    at = settle(replace(at, workloads=(replace(at.workloads[0], spec=grown.spec), at.workloads[1])))
    assert place_of(at, "a") == ("v", "p", 1)
    assert place_of(at, "b") == ("v", "p", 3)


def test_foreign_pods_do_not_make_a_lost_pod_of_ours():
    at = settle(world(pool("p"), node("n1", "p", 8), foreign_pod("x", "n9"), workload("chat", 2)))
    assert [child.body["spec"]["replicas"] for child in at.children if child.kind == "Deployment"] == [2]
