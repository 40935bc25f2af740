"""The ordered checks: which objects first, and with what words."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from switchyard.core.placement.admission import allows_namespace, assess
from switchyard.core.placement.capacity import PoolCapacity
from switchyard.core.placement.case import Case, Doors, Evidence, Option, Standard
from switchyard.core.placement.cost import price_device_hour
from switchyard.core.placement.facts import PoolFacts, PriceFacts, VariantFacts, WorkloadFacts
from switchyard.core.placement.latency import Objective
from switchyard.core.placement.queueing import ConcurrencyProfile

GIB = 2**30
POOL = PoolFacts(
    "l4-eu",
    "nvidia-l4",
    "gpu",
    "nvidia.com/gpu",
    ({"pool": "l4-eu"},),
    memory_bytes=24 * GIB,
    precisions=("fp16", "int8"),
    runtimes=("cuda",),
    unit_devices=(1, 2, 4),
    zones=("eu-1a",),
    residency=("eu",),
    price=PriceFacts(Decimal("0.80")),
)
VARIANT = VariantFacts(
    "trt", ("nvidia-l4",), 1, profile=ConcurrencyProfile(4, 0.1, 0, 0.2), profile_source="benchmark"
)
CHAT = WorkloadFacts("team", "chat", "internal", 100.0, 100.0, (Objective(95, 0.3),), (VARIANT,))
CASE = Case(
    workload=CHAT,
    variant=VARIANT,
    pool=POOL,
    capacity=PoolCapacity("l4-eu", largest_node_devices=4),
    device_hour=price_device_hour(POOL),
    evidence=Evidence(VARIANT.profile, "benchmark"),
    standard=Standard(0, CHAT.objectives),
)


def with_workload(**changes):
    made = replace(CHAT, **changes)
    return replace(CASE, workload=made, standard=Standard(0, made.objectives))


def with_variant(**changes):
    made = replace(VARIANT, **changes)
    return replace(CASE, variant=made, evidence=Evidence(made.profile, made.profile_source))


def with_pool(**changes):
    return replace(CASE, pool=replace(POOL, **changes))


def test_what_nothing_speaks_against_becomes_an_option():
    option = assess(CASE)
    assert isinstance(option, Option)
    assert option.replicas == 5  # 100 requests/s x 1.2 over 28.6 of one replica
    assert option.allocated_per_hour == Decimal("4.0")


REFUSALS = [
    (
        "the namespace",
        with_pool(namespace_labels={"team": "red"}),
        "NamespaceNotAllowed",
        "pool l4-eu does not take workloads of namespace team",
    ),
    ("the pool is not ready", replace(CASE, doors=Doors("no node")), "PoolNotReady", "pool l4-eu: no node"),
    (
        "the pool is cordoned",
        with_pool(is_cordoned=True),
        "PoolCordoned",
        "pool l4-eu is cordoned: it takes nothing new",
    ),
    (
        "the accelerator",
        with_variant(accelerators=("tpu",)),
        "AcceleratorMismatch",
        "variant trt runs on tpu; the pool has nvidia-l4 of family gpu",
    ),
    (
        "the family",
        with_workload(families=("tpu",)),
        "AcceleratorMismatch",
        "constraints.families is tpu; the pool has nvidia-l4 of family gpu",
    ),
    (
        "residency",
        with_workload(residency=("eu", "hipaa")),
        "ResidencyMismatch",
        "needs residency hipaa; the pool states eu",
    ),
    (
        "zones",
        with_workload(zones=("eu-1b",)),
        "ZoneMismatch",
        "allowed zones are eu-1b; the pool states eu-1a",
    ),
    (
        "the capacity type",
        replace(with_workload(capacity_types=("on-demand",)), pool=replace(POOL, capacity_type="spot")),
        "CapacityTypeMismatch",
        "allowed capacity types are on-demand; the pool is spot",
    ),
    (
        "a pilot nobody asked for",
        with_pool(maturity="pilot"),
        "MaturityMismatch",
        "allowed maturity is production; the pool is pilot",
    ),
    (
        "devices beyond the largest unit",
        with_variant(devices_per_replica=5),
        "AllocationUnit",
        "a replica needs 5 devices; the pool allocates at most 4 together",
    ),
    (
        "devices beyond the largest node",
        replace(with_variant(devices_per_replica=3), capacity=PoolCapacity("l4-eu", largest_node_devices=3)),
        "AllocationUnit",
        "a replica needs 4 devices on one node; the largest open node has 3",
    ),
    (
        "memory",
        replace(with_workload(memory_bytes=50 * GIB), variant=replace(VARIANT, devices_per_replica=2)),
        "InsufficientMemory",
        "the model needs 50Gi; 2 devices of 24Gi hold 48Gi",
    ),
    (
        "precision",
        with_variant(precision="fp8"),
        "PrecisionUnsupported",
        "needs precision fp8; the pool has fp16, int8",
    ),
    (
        "the runtime",
        with_variant(runtime="neuron"),
        "RuntimeUnsupported",
        "needs runtime neuron; the pool has cuda",
    ),
    (
        "the pod template",
        with_variant(pod_template="tpl"),
        "PodTemplateNotFound",
        "PodTemplate tpl does not exist in namespace team: create it or give variant trt a container",
    ),
    (
        "the profile",
        with_variant(profile=None),
        "ProfileMissing",
        "variant trt states no profile: nobody knows what a replica can carry until it has a profile, which",
    ),
    (
        "the objective",
        replace(
            with_workload(objectives=(Objective(95, 0.1),)), pool=replace(POOL, network_latency_seconds=0.02)
        ),
        "ObjectiveUnreachable",
        "p95 ≤ 100ms is out of reach: p95 is 204ms at best, 20ms of it network",
    ),
    (
        "the replicas",
        with_workload(max_replicas=4),
        "MaxReplicasExceeded",
        "100 requests/s with 20% headroom need 5 replicas at",
    ),
    (
        "the budget per hour",
        with_workload(budget_per_hour=Decimal("3.00")),
        "OverBudget",
        "5 replicas cost 4.00 per hour; the budget is 3.00",
    ),
    (
        "the budget per thousand requests",
        with_workload(budget_per_thousand=Decimal("0.001")),
        "OverBudget",
        "5 replicas cost 0.011111 per thousand requests; the budget is 0.001",
    ),
]


@pytest.mark.parametrize(
    ("case", "reason", "words"), [case[1:] for case in REFUSALS], ids=[case[0] for case in REFUSALS]
)
def test_refusal(case, reason, words):
    verdict = assess(case)
    assert (verdict.reason.value, verdict.message[: len(words)]) == (reason, words)


def test_the_first_objection_is_the_reason():
    worst = replace(with_pool(is_cordoned=True, maturity="pilot"), doors=Doors("no node"))
    assert assess(worst).reason.value == "PoolNotReady"
    assert assess(replace(worst, doors=Doors())).reason.value == "PoolCordoned"


def test_what_is_unknown_of_a_device_refuses_nothing():
    case = with_pool(memory_bytes=None, precisions=(), runtimes=())
    case = replace(
        case, variant=replace(VARIANT, precision="fp8"), workload=replace(CHAT, memory_bytes=999 * GIB)
    )
    assert isinstance(assess(case), Option)


SELECTORS = [
    ("no selector takes all", None, (), True),
    ("an empty selector takes all", {}, (), True),
    ("a label that it has", {"env": "prod"}, (), True),
    ("a label that it lacks", {"env": "dev"}, (), False),
    ("its own name", {"kubernetes.io/metadata.name": "team"}, (), True),
    ("In", {}, (("env", "In", ("prod", "dev")),), True),
    ("In without the label", {}, (("zone", "In", ("a",)),), False),
    ("NotIn", {}, (("env", "NotIn", ("prod",)),), False),
    ("NotIn without the label", {}, (("zone", "NotIn", ("a",)),), True),
    ("Exists", {}, (("env", "Exists", ()),), True),
    ("DoesNotExist", {}, (("env", "DoesNotExist", ()),), False),
]


@pytest.mark.parametrize(
    ("wanted", "expressions", "expected"),
    [case[1:] for case in SELECTORS],
    ids=[case[0] for case in SELECTORS],
)
def test_namespace_selector(wanted, expressions, expected):
    pool = replace(POOL, namespace_labels=wanted, namespace_expressions=expressions)
    assert allows_namespace(pool, "team", {"env": "prod"}) is expected
