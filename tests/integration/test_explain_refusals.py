"""Every reason for a refusal in words, and remedies that lift it when they are tried."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.integration.what_if_files import GPU, chat, node, pool, switchyard, variant, write

from switchyard.cli.explanation import explain
from switchyard.cli.what_if import plan_files

KEY = ("team", "chat")

# What refuses the option, the reason in words with numbers, and what it would take.
_REFUSALS: dict[str, tuple[dict[str, Any], dict[str, Any], str, str, str]] = {
    "residency": (
        {"location": {"residency": ["us"]}},
        {"constraints": {"residency": ["eu"]}},
        "ResidencyMismatch",
        "needs residency eu; the pool states us",
        "--set 'pool/a.location.residency=[us,eu]'",
    ),
    "zone": (
        {"location": {"zones": ["z1", "z2"]}},
        {"constraints": {"zones": ["z1"]}},
        "ZoneMismatch",
        "allowed zones are z1; the pool states z1, z2",
        "--set 'iw/team/chat.constraints.zones=[z1,z2]'",
    ),
    "spot": (
        {"capacityType": "spot"},
        {"constraints": {"capacityTypes": ["on-demand"]}},
        "CapacityTypeMismatch",
        "allowed capacity types are on-demand; the pool is spot",
        "--set 'iw/team/chat.constraints.capacityTypes=[on-demand,spot]'",
    ),
    "pilot": (
        {"maturity": "pilot", "pilot": {"reviewBy": "2027-01-01"}},
        {},
        "MaturityMismatch",
        "allowed maturity is production; the pool is pilot",
        "--set 'iw/team/chat.constraints.maturity=[production,pilot]'",
    ),
    "cordon": ({"cordoned": True}, {}, "PoolCordoned", "pool a is cordoned", "--set pool/a.cordoned=false"),
    "namespace": (
        {"allowedNamespaces": {"matchLabels": {"team": "blue"}}},
        {},
        "NamespaceNotAllowed",
        "pool a does not take workloads of namespace team",
        "--namespace-labels team:team=blue",
    ),
    "budget": (
        {},
        {"budget": {"perHour": "0.75"}},
        "OverBudget",
        "1 replicas cost 1.00 per hour; the budget is 0.75",
        "--set iw/team/chat.budget.perHour=1.00",
    ),
    "budget per thousand": (
        {},
        {"budget": {"perThousandRequests": "0.005"}},
        "OverBudget",
        "per thousand requests; the budget is 0.005",
        "--set iw/team/chat.budget.perThousandRequests=0.0093",
    ),
    "memory": (
        {},
        {"model": {"name": "m", "memory": "40Gi"}},
        "InsufficientMemory",
        "the model needs 40Gi; 1 device of 24Gi hold 24Gi",
        "--set 'iw/team/chat.variants[v].devicesPerReplica=2'",
    ),
    "precision": (
        {"device": {"family": "gpu", "resourceName": GPU, "precisions": ["fp16"]}},
        {"variants": [variant(precision="fp8")]},
        "PrecisionUnsupported",
        "needs precision fp8; the pool has fp16",
        "",
    ),
    "runtime": (
        {"device": {"family": "gpu", "resourceName": GPU, "runtimes": ["onnxruntime"]}},
        {"variants": [variant(runtime="tensorrt")]},
        "RuntimeUnsupported",
        "needs runtime tensorrt; the pool has onnxruntime",
        "",
    ),
    "unit": (
        {"unitDevices": [1, 4, 8]},
        {"variants": [variant(devicesPerReplica=5)]},
        "AllocationUnit",
        "a replica needs 8 devices on one node; the largest open node has 4",
        "",
    ),
    "objective": (
        {"location": {"networkLatency": "30ms"}},
        {"objectives": [{"percentile": 95, "target": "50ms"}]},
        "ObjectiveUnreachable",
        "p95 ≤ 50ms is out of reach",
        "--set 'iw/team/chat.objectives[latency,95].target=",
    ),
    "most replicas": (
        {},
        {"demand": {"requestsPerSecond": "100"}, "scaling": {"maxReplicas": 2, "headroomPercent": 0}},
        "MaxReplicasExceeded",
        "need 3 replicas",
        "--set iw/team/chat.scaling.maxReplicas=3",
    ),
    "room": (
        {},
        {"demand": {"requestsPerSecond": "170"}},
        "InsufficientCapacity",
        "needs 5 x ",
        "--set pool/a.devices=5",
    ),
    "profile": ({}, {"variants": [variant(profile=None)]}, "ProfileMissing", "states no profile", ""),
    "accelerator": (
        {},
        {"constraints": {"families": ["tpu"]}},
        "AcceleratorMismatch",
        "constraints.families is tpu",
        "--set 'iw/team/chat.constraints.families=[tpu,gpu]'",
    ),
}


@pytest.mark.parametrize("case", _REFUSALS)
def test_a_refusal_is_told_with_its_numbers_and_what_lifts_it(tmp_path: Path, case: str) -> None:
    pool_spec, workload_spec, reason, message, option = _REFUSALS[case]
    files = str(write(tmp_path / "w.yaml", pool("a", **pool_spec), node("n", "a"), chat(**workload_spec)))
    planned = plan_files([files], (), ())[1]
    row = next(each for each in explain(planned, KEY).rows if each.pool == "a")
    assert row.standing == "refused"
    assert row.reason == reason
    assert message in row.message
    assert [each.reason for each in row.remedies] == [reason]
    assert row.remedies[0].message
    shown = switchyard("plan", "-f", files)
    assert shown.code == 1
    if not option:
        assert row.remedies[0].option == ""
        return
    assert option in shown.err
    settings, labels = _as_arguments(row.remedies[0].option)
    mended = plan_files([files], settings, labels)[1]
    assert mended.seats.get(KEY), explain(mended, KEY).rows


def _as_arguments(option: str) -> tuple[list[str], list[str]]:
    flag, _, value = option.partition(" ")
    return ([value], []) if flag == "--set" else ([], [value])


def test_all_objections_are_listed_not_only_the_first(tmp_path: Path) -> None:
    spec = {"budget": {"perHour": "0.50"}, "constraints": {"residency": ["eu"], "maturity": ["pilot"]}}
    files = str(write(tmp_path / "w.yaml", pool("a", cordoned=True), node("n", "a"), chat(**spec)))
    (row,) = explain(plan_files([files], (), ())[1], KEY).rows
    assert [each.reason.value for each in row.remedies] == [
        "PoolCordoned",
        "ResidencyMismatch",
        "MaturityMismatch",
        "OverBudget",
    ]
    settings = [each.option.removeprefix("--set ") for each in row.remedies]
    assert plan_files([files], settings, ())[1].seats.get(KEY)
