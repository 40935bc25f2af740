"""Bad input: refused with field and way out, or told in a condition; everybody else goes on."""

from __future__ import annotations

import pytest
from e2e.objects import condition, pool, variant, workload
from e2e.scene import Scene


def _without_profile() -> dict:
    bare = variant()
    del bare["profile"]
    return bare


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({"demand": {"requestsPerSecond": "-5"}}, "requestsPerSecond"),
        ({"demand": {}}, "demand"),
        ({"demand": {"requestsPerSecond": "5", "requestsPerDay": 100}}, "demand"),
        ({"scaling": {"minReplicas": 1, "maxReplicas": 10_000}}, "maxReplicas"),
        ({"tier": "vip"}, "tier"),
        ({"variants": []}, "variants"),
        ({"variants": [variant(), variant()]}, "variants"),
        ({"replicas": 3}, "replicas"),
        ({"objectives": [{"metric": "latency", "percentile": 95, "target": "fast"}]}, "target"),
        ({"port": 0}, "port"),
    ],
    ids=[
        "a negative rate",
        "no demand",
        "two kinds of demand",
        "ten thousand replicas",
        "a tier that does not exist",
        "no variant",
        "a variant twice",
        "an unknown field",
        "a target that is no duration",
        "port zero",
    ],
)
def test_a_workload_that_makes_no_sense_is_refused_by_field(scene: Scene, spec: dict, told: str) -> None:
    message = scene.apply(workload("bad", **spec), expect=1)
    assert told in message
    assert "No resources found" in scene.kubectl("get", "iw")


def test_a_pool_without_any_selector_is_refused_or_says_so(scene: Scene) -> None:
    body = pool("e2e-any", "none", device={"family": "fpga", "resourceName": "example.com/any"})
    del body["spec"]["accelerator"]
    del body["spec"]["nodeSelector"]
    message = scene.apply(body, expect=1)
    assert "nodeSelector" in message


@pytest.mark.parametrize(
    ("spec", "kind", "reason", "told"),
    [
        ({"variants": [variant(accelerators=["nvidia-l5"])]}, "Placed", "UnknownAccelerator", "nvidia-l4"),
        ({"variants": [_without_profile()]}, "Placed", "ProfileMissing", "profile"),
        (
            {"objectives": [{"metric": "latency", "percentile": 95, "target": "1ms"}]},
            "Placed",
            "ObjectiveUnreachable",
            "1ms",
        ),
        (
            {"variants": [{**variant(), "container": None, "podTemplateRef": {"name": "missing"}}]},
            "Placed",
            "PodTemplateNotFound",
            "missing",
        ),
        ({"demand": {"requestsPerSecond": "1000000"}}, "Placed", None, ""),
        ({"budget": {"perHour": "0.01"}}, "Placed", "OverBudget", "0.01"),
    ],
    ids=[
        "an unknown accelerator",
        "a missing profile",
        "an objective out of reach",
        "a template that is missing",
        "demand beyond every pool",
        "a budget below every price",
    ],
)
def test_a_workload_that_can_not_be_placed_says_why_while_others_go_on(
    scene: Scene, spec: dict, kind: str, reason: str | None, told: str
) -> None:
    ((node, _),) = scene.nodes_with_l4(1)
    scene.apply(pool("e2e-good", node), _clean(workload("bad", **spec)), workload("good"))
    found = scene.until(
        lambda: condition(scene.get("iw", "bad"), kind),
        lambda seen: seen.get("status") == "False" and reason in {None, seen.get("reason")},
        f"{kind} is False because of {reason}",
    )
    assert told in found["message"]
    assert len(found["message"]) > 20
    scene.wait("Ready", "good")


def _clean(body: dict) -> dict:
    """Without what is None: kubectl would send null."""
    body["spec"]["variants"] = [
        {name: value for name, value in each.items() if value is not None}
        for each in body["spec"]["variants"]
    ]
    return body


def test_a_pool_without_nodes_says_so(scene: Scene) -> None:
    scene.apply(pool("e2e-nowhere", "no-such-node"), workload("waits"))
    found = scene.until(
        lambda: condition(scene.get("apool", "e2e-nowhere"), "Ready"),
        lambda seen: seen.get("status") == "False",
        "the pool is not ready",
    )
    assert found["reason"] == "NoNodes"
    placed = scene.until(
        lambda: condition(scene.get("iw", "waits"), "Placed"),
        lambda seen: seen.get("status") == "False",
        "the workload is not placed",
    )
    assert placed["message"]


def test_a_name_that_is_taken_is_never_overwritten(scene: Scene) -> None:
    ((node, _),) = scene.nodes_with_l4(1)
    scene.kubectl("create", "service", "clusterip", "taken", "--tcp=80:80")
    before = scene.get("service", "taken")
    scene.apply(pool("e2e-taken", node), workload("taken"))
    found = scene.until(
        lambda: condition(scene.get("iw", "taken"), "Ready"),
        lambda seen: seen.get("reason") == "NameConflict",
        "Ready says that a name is taken",
    )
    assert found["status"] == "False"
    assert "taken" in found["message"]
    assert scene.get("service", "taken") == before
