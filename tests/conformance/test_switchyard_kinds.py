"""The project's own kinds on a server: installed, explained, defaulted, and hard to get wrong."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from e2e.objects import pool, variant, workload
from e2e.providers import Cluster
from e2e.providers.plain_http import poll
from tests.conformance.widgets import CRDS_PATH, causes
from tests.contract.admission_cases import BAD, GOOD

CRDS = Path(__file__).parents[2] / "crds"
API = "/apis/switchyard.dev/v1alpha1"
POOLS = f"{API}/acceleratorpools"
TABLE = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
EXAMPLES = [
    pytest.param(document, id=f"{path.stem}: {document['kind']} {document['metadata']['name']}")
    for path in sorted((CRDS / "examples").rglob("*.yaml"))
    for document in yaml.safe_load_all(path.read_text())
    if document and document["kind"] != "CutoverPlan"  # test_cutover_kind.py has these
]


@pytest.fixture(scope="module")
def kinds(cluster: Cluster) -> Iterator[None]:
    """The CRDs of the repository, served."""
    definitions = [yaml.safe_load(path.read_text()) for path in sorted(CRDS.glob("*.yaml"))]
    assert len(definitions) == 3
    for definition in definitions:
        answer = cluster.http.post(CRDS_PATH, definition, fieldValidation="Strict")
        assert answer.code == 201, answer.text
    for plural in ("acceleratorpools", "inferenceworkloads", "cutoverplans"):
        path = f"{API}/{plural}"
        assert poll(lambda path=path: cluster.http.get(path).code, lambda code: code == 200) == 200
    yield
    for definition in definitions:
        path = f"{CRDS_PATH}/{definition['metadata']['name']}"
        cluster.http.delete(path)
        poll(lambda path=path: cluster.http.get(path).code, lambda code: code == 404)


@pytest.fixture
def workloads(kinds: None, namespace: str) -> str:
    del kinds
    return f"{API}/namespaces/{namespace}/inferenceworkloads"


def _create(http, path: str, body: dict[str, Any], **query: str):
    return http.post(path, body, **{"fieldValidation": "Strict", "dryRun": "All", **query})


def _spec(body: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The object with changes to its spec; None removes a field."""
    changed = copy.deepcopy(body)
    for name, value in changes.items():
        if value is None:
            changed["spec"].pop(name, None)
        else:
            changed["spec"][name] = value
    return changed


@pytest.mark.parametrize("plural", ["acceleratorpools", "inferenceworkloads"])
def test_the_definition_is_established_without_complaints(http, kinds, plural: str) -> None:
    """NonStructuralSchema and KubernetesAPIApprovalPolicyConformant are how a server complains."""
    del kinds

    def conditions() -> dict[str, str]:
        found = http.get(f"{CRDS_PATH}/{plural}.switchyard.dev").body["status"]["conditions"]
        return {each["type"]: each["status"] for each in found}

    assert poll(conditions, lambda seen: seen.get("Established") == "True") == {
        "NamesAccepted": "True",
        "Established": "True",
    }


def test_short_names_and_category_find_the_kinds(cluster: Cluster, kinds) -> None:
    del kinds
    told = cluster.kubectl("api-resources", "--categories=switchyard", "--no-headers").stdout
    assert {line.split()[0]: line.split()[1] for line in told.splitlines()} == {
        "acceleratorpools": "apool",
        "cutoverplans": "cutover",
        "inferenceworkloads": "iw",
    }


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_is_accepted_with_strict_validation(http, namespace, kinds, example: dict) -> None:
    del kinds
    paths = {
        "AcceleratorPool": POOLS,
        "InferenceWorkload": f"{API}/namespaces/{namespace}/inferenceworkloads",
        "PodTemplate": f"/api/v1/namespaces/{namespace}/podtemplates",
        "ConfigMap": f"/api/v1/namespaces/{namespace}/configmaps",
        "Namespace": "/api/v1/namespaces",
    }
    body = copy.deepcopy(example)
    body["metadata"].pop("namespace", None)
    answer = _create(http, paths[body["kind"]], body)
    assert answer.code in {201, 409}, answer.text
    assert answer.code == 201 or body["kind"] == "Namespace"


def test_there_are_examples_of_both_kinds() -> None:
    assert {example.values[0]["kind"] for example in EXAMPLES} >= {"AcceleratorPool", "InferenceWorkload"}


def test_the_smallest_objects_get_their_defaults(http, workloads) -> None:
    made = _create(http, workloads, workload("small"))
    assert made.code == 201, made.text
    spec, status = made.body["spec"], made.body["status"]
    assert (spec["tier"], spec["port"]) == ("internal", 8080)
    assert spec["demand"]["peakFactor"] == "1"
    assert spec["variants"][0]["devicesPerReplica"] == 1
    assert status["observedGeneration"] == -1
    assert _create(http, POOLS, pool("small", "n")).body["spec"]["capacityType"] == "on-demand"


BAD_WORKLOADS = {
    "a negative rate": ({"demand": {"requestsPerSecond": "-1"}}, "spec.demand.requestsPerSecond"),
    "a rate that is no number": ({"demand": {"requestsPerSecond": "many"}}, "spec.demand.requestsPerSecond"),
    "no demand": ({"demand": {}}, "spec.demand"),
    "demand per second and per day": (
        {"demand": {"requestsPerSecond": "1", "requestsPerDay": 10}},
        "spec.demand",
    ),
    "a deadline past a day": (
        {"demand": {"requestsPerDay": 10, "deadline": "48h"}},
        "spec.demand.deadline",
    ),
    "10,000 replicas": ({"scaling": {"maxReplicas": 10_000}}, "spec.scaling.maxReplicas"),
    "more at least than at most": (
        {"scaling": {"minReplicas": 5, "maxReplicas": 2}},
        "spec.scaling",
    ),
    "an unknown tier": ({"tier": "gold"}, "spec.tier"),
    "no variants": ({"variants": []}, "spec.variants"),
    "two variants of a name": ({"variants": [variant("a"), variant("a")]}, "spec.variants[1]"),
    "a variant without accelerators": (
        {"variants": [variant(accelerators=[])]},
        "spec.variants[0].accelerators",
    ),
    "a variant without devices": (
        {"variants": [variant(devices=0)]},
        "spec.variants[0].devicesPerReplica",
    ),
    "a container and a template": (
        {"variants": [variant(podTemplateRef={"name": "t"})]},
        "spec.variants[0]",
    ),
    "neither container nor template": (
        {"variants": [{k: v for k, v in variant().items() if k != "container"}]},
        "spec.variants[0]",
    ),
    "a percentile of 100": (
        {"objectives": [{"metric": "latency", "percentile": 100, "target": "1s"}]},
        "spec.objectives[0].percentile",
    ),
    "a target that is no duration": (
        {"objectives": [{"metric": "latency", "percentile": 95, "target": "quick"}]},
        "spec.objectives[0].target",
    ),
    "the same objective twice": (
        {"objectives": [{"metric": "latency", "percentile": 95, "target": t} for t in ("1s", "2s")]},
        "spec.objectives[1]",
    ),
    "a budget that is no money": ({"budget": {"perHour": "1,50"}}, "spec.budget.perHour"),
    "a port out of range": ({"port": 70_000}, "spec.port"),
}


@pytest.mark.parametrize(("changes", "field"), BAD_WORKLOADS.values(), ids=BAD_WORKLOADS)
def test_a_bad_workload_is_refused_with_field_and_message(http, workloads, changes: dict, field: str) -> None:
    answer = _create(http, workloads, _spec(workload("bad"), **changes))
    assert answer.code == 422, answer.text
    told = dict(causes(answer.body))
    assert any(name.startswith(field) for name in told), told
    assert all(told.values())


BAD_POOLS = {
    "neither accelerator nor device": ({"accelerator": None}, "spec"),
    "an unknown capacity type": ({"capacityType": "borrowed"}, "spec.capacityType"),
    "a negative price": ({"cost": {"devicePerHour": "-1"}}, "spec.cost.devicePerHour"),
    "a date that is none": ({"cost": {"devicePerHour": "1", "asOf": "yesterday"}}, "spec.cost.asOf"),
    "an unknown family": (
        {"device": {"family": "abacus", "resourceName": "example.com/abacus"}},
        "spec.device.family",
    ),
    "an unknown maturity": ({"maturity": "experimental"}, "spec.maturity"),
    "no allocation unit": ({"unitDevices": [0]}, "spec.unitDevices[0]"),
}


@pytest.mark.parametrize(("changes", "field"), BAD_POOLS.values(), ids=BAD_POOLS)
def test_a_bad_pool_is_refused_with_field_and_message(http, kinds, changes: dict, field: str) -> None:
    del kinds
    answer = _create(http, POOLS, _spec(pool("bad", "n"), **changes))
    assert answer.code == 422, answer.text
    told = dict(causes(answer.body))
    assert any(name.startswith(field) for name in told), told


def _path(body: dict[str, Any], namespace: str) -> str:
    of_workloads = f"{API}/namespaces/{namespace}/inferenceworkloads"
    return POOLS if body["kind"] == "AcceleratorPool" else of_workloads


@pytest.mark.parametrize(("body", "field"), BAD.values(), ids=BAD)
def test_what_breaks_schema_or_rules_is_refused_by_field(
    http, kinds, namespace: str, body: dict[str, Any], field: str
) -> None:
    del kinds
    answer = _create(http, _path(body, namespace), body)
    assert answer.code == 422, answer.text
    told = dict(causes(answer.body))
    assert any(name.startswith(field) for name in told), told


@pytest.mark.parametrize("body", GOOD.values(), ids=GOOD)
def test_what_keeps_schema_and_rules_is_taken(http, kinds, namespace: str, body: dict[str, Any]) -> None:
    del kinds
    answer = _create(http, _path(body, namespace), body)
    assert answer.code == 201, answer.text


@pytest.mark.parametrize("field", ["rollout", "approvals", "windows"], ids="{} is of no release yet".format)
def test_a_field_without_behaviour_is_not_accepted(http, workloads, field: str) -> None:
    answer = _create(http, workloads, _spec(workload("early"), **{field: {}}))
    assert answer.code == 400
    assert f'unknown field "spec.{field}"' in answer.body["message"]


def test_status_is_written_only_through_its_subresource(http, workloads) -> None:
    http.post(workloads, workload("a"))
    http.patch(f"{workloads}/a", {"status": {"replicas": 7}})
    assert "replicas" not in http.get(f"{workloads}/a").body["status"]
    conditions = [
        {
            "type": "Ready",
            "status": "True",
            "reason": "Serving",
            "message": "all",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
    ]
    answer = http.patch(f"{workloads}/a/status", {"status": {"replicas": 7, "conditions": conditions}})
    assert answer.body["status"]["replicas"] == 7, answer.text
    assert answer.body["metadata"]["generation"] == 1


@pytest.mark.parametrize(
    ("plural", "columns"),
    [
        (
            "inferenceworkloads",
            ["Name", "Tier", "Placement", "Replicas", "$/h", "p95 (target)", "Objectives", "Ready", "Age"],
        ),
        ("acceleratorpools", ["Name", "Accelerator", "Type", "Devices", "Used", "$/dev-h", "Ready", "Age"]),
    ],
)
def test_the_columns_answer_the_first_questions(http, kinds, plural: str, columns: list[str]) -> None:
    del kinds
    table = http.call("GET", f"{API}/{plural}", headers=TABLE).body
    assert [each["name"] for each in table["columnDefinitions"] if each["priority"] == 0] == columns


@pytest.mark.parametrize(
    "path",
    [
        "acceleratorpool.spec.cost",
        "acceleratorpool.spec.location",
        "acceleratorpool.spec.capacity",
        "acceleratorpool.spec.spot",
        "acceleratorpool.status.backOff",
        "inferenceworkload.spec.variants.profile",
        "inferenceworkload.spec.demand",
        "inferenceworkload.spec.variants.profile.tokens",
        "inferenceworkload.spec.demand.signal",
        "inferenceworkload.spec.placement",
        "inferenceworkload.spec.fallback",
        "inferenceworkload.spec.exposure.gateway.parentRefs",
        "inferenceworkload.spec.exposure.istio",
        "inferenceworkload.status.placements",
        "inferenceworkload.status.recommendation",
        "inferenceworkload.status.learnedProfiles",
    ],
)
def test_explain_describes_every_field(cluster: Cluster, kinds, path: str) -> None:
    del kinds
    done = poll(
        lambda: cluster.kubectl("explain", path, expect=None), lambda done: done.returncode == 0, every=0.5
    )
    assert done.returncode == 0, done.stderr
    assert "<no description>" not in done.stdout
