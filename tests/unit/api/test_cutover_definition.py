"""The definition of CutoverPlan: what the API server takes of authors by it, and what it refuses."""

from __future__ import annotations

import copy
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.contract.schema_rules import rule_messages
from tests.unit.api.cutover_cases import BAD, FREE, FROZEN, GOOD, PHASES_AT_REST, PHASES_UNDER_WAY, plan

from switchyard.api import ApiValueError
from switchyard.api.crd import CUTOVER_PLAN, build_definition, build_schema, render_definition
from switchyard.api.cutover import CutoverPlan
from switchyard.api.parsing import parse_plan
from switchyard.sandbox.apiserver.checking import check_custom
from switchyard.sandbox.apiserver.definitions import check_definition, infos_of
from switchyard.sandbox.apiserver.errors import FieldError
from switchyard.sandbox.apiserver.pruning import default, prune
from switchyard.sandbox.apiserver.resources import ResourceInfo

ROOT = Path(__file__).parents[3]
EXAMPLES_PATH = ROOT / "crds" / "examples"
EXAMPLES = [
    pytest.param(document, id=document["metadata"]["name"])
    for path in sorted((EXAMPLES_PATH / "cutover").glob("*.yaml"))
    for document in yaml.safe_load_all(path.read_text())
]
SCHEMA = build_schema(CUTOVER_PLAN)
LARGEST_DEFINITION_BYTES = 131_072  # half of what kubectl apply can keep in its annotation


@cache
def resource_info() -> ResourceInfo:
    definition = build_definition(CUTOVER_PLAN)
    definition["metadata"]["uid"] = "any"
    (info,) = infos_of(definition)
    return info


def admit(body: dict[str, Any], old: dict[str, Any] | None = None) -> tuple[dict[str, Any], list[FieldError]]:
    """The object as it would be stored, and what a server has against it."""
    body = copy.deepcopy(body)
    assert prune(body, SCHEMA) == [], "strict validation refuses unknown fields"
    default(body, SCHEMA)
    return body, check_custom(resource_info(), body, old, "", [])


def in_phase(phase: str | None) -> dict[str, Any]:
    body = {**plan(), "status": {"observedGeneration": 1, **({"phase": phase} if phase else {})}}
    return admit(body)[0]


def test_an_api_server_finds_nothing_wrong_with_the_definition() -> None:
    crds = ResourceInfo(
        group="apiextensions.k8s.io",
        version="v1",
        plural="customresourcedefinitions",
        singular="customresourcedefinition",
        kind="CustomResourceDefinition",
        list_kind="CustomResourceDefinitionList",
        namespaced=False,
    )
    assert check_definition(crds, build_definition(CUTOVER_PLAN), None, "") == []
    assert len(render_definition(CUTOVER_PLAN).encode()) < LARGEST_DEFINITION_BYTES


def test_every_default_keeps_the_rules_before_its_own_defaults_are_filled_in() -> None:
    """A server judges the definition's defaults by the rules as they are written: `{}` stays `{}`."""

    def broken(schema: dict[str, Any], path: str) -> list[str]:
        found = []
        if schema.get("default") is not None and schema["type"] in {"object", "array"}:
            wrapped = {"type": "object", "properties": {"it": schema}}
            info = ResourceInfo(**{**vars_of(resource_info()), "schema": wrapped})
            found = [
                f"{path}: {each}" for each in check_custom(info, {"it": schema["default"]}, None, "", [])
            ]
        for name, each in schema.get("properties", {}).items():
            found += broken(each, f"{path}.{name}")
        if "items" in schema:
            found += broken(schema["items"], f"{path}[]")
        return found

    assert broken(SCHEMA, "") == []


def vars_of(info: ResourceInfo) -> dict[str, Any]:
    return {name: getattr(info, name) for name in info.__dataclass_fields__}


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_is_taken_and_read_as_it_is_stored(example: dict[str, Any]) -> None:
    stored, problems = admit(example)
    assert problems == []
    assert CutoverPlan.model_validate(stored).spec == CutoverPlan.model_validate(example).spec


def test_the_examples_name_workloads_variants_and_pools_of_the_other_examples() -> None:
    documents = [
        document
        for path in EXAMPLES_PATH.rglob("*.yaml")
        for document in yaml.safe_load_all(path.read_text())
    ]
    pools = {each["metadata"]["name"] for each in documents if each["kind"] == "AcceleratorPool"}
    variants = {
        (each["metadata"]["name"], variant["name"])
        for each in documents
        if each["kind"] == "InferenceWorkload"
        for variant in each["spec"]["variants"]
    }
    specs = [each.values[0]["spec"] for each in EXAMPLES]
    assert {(each["workloadRef"]["name"], each["target"]["variant"]) for each in specs} <= variants
    assert {each["target"]["pool"] for each in specs if "pool" in each["target"]} <= pools


def test_what_the_page_tells_people_to_write_is_taken() -> None:
    page = (ROOT / "docs" / "cutover.md").read_text()
    blocks = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)]
    plans = [plan(**{**plan()["spec"], **block["spec"]}) for block in blocks if set(block) >= {"spec"}]
    assert len(plans) == len(blocks) >= 2
    assert [admit(each)[1] for each in plans] == [[]] * len(plans)


def test_there_is_an_example_for_each_router_and_one_with_everything_that_waits() -> None:
    specs = [each.values[0]["spec"] for each in EXAMPLES]
    assert {each.get("traffic", {}).get("router", "auto") for each in specs} == {
        "auto",
        "builtin",
        "gatewayAPI",
        "istio",
    }
    assert any({"segments", "approvals", "windows"} <= set(each) for each in specs)


@pytest.mark.parametrize("body", GOOD.values(), ids=GOOD)
def test_good_input_is_taken_and_read(body: dict[str, Any]) -> None:
    stored, problems = admit(body)
    assert problems == []
    assert CutoverPlan.model_validate(stored).spec == CutoverPlan.model_validate(body).spec


@pytest.mark.parametrize(("body", "field"), BAD.values(), ids=BAD)
def test_bad_input_is_refused_by_field(body: dict[str, Any], field: str) -> None:
    _, problems = admit(body)
    assert any(str(problem.field).startswith(field) for problem in problems), problems


def test_every_rule_is_broken_by_some_bad_input() -> None:
    told = " ".join(str(problem) for body, _ in BAD.values() for problem in admit(body)[1])
    messages = set(rule_messages(SCHEMA["properties"]))
    assert len(messages) > 25
    assert {message for message in messages if message not in told} == set()


@pytest.mark.parametrize("phase", PHASES_UNDER_WAY)
@pytest.mark.parametrize(("change", "field"), FROZEN.values(), ids=FROZEN)
def test_a_plan_under_way_keeps_workload_and_target(change: dict[str, Any], field: str, phase: str) -> None:
    old = in_phase(phase)
    (problem,) = admit({**plan(**change), "status": old["status"]}, old)[1]
    assert str(problem.field) == field
    assert "the plan is under way: abort it first" in str(problem)


@pytest.mark.parametrize("phase", PHASES_AT_REST)
@pytest.mark.parametrize("change", [change for change, _ in FROZEN.values()], ids=FROZEN)
def test_a_plan_at_rest_may_get_another_target(change: dict[str, Any], phase: str | None) -> None:
    old = in_phase(phase)
    assert admit({**plan(**change), "status": old["status"]}, old)[1] == []


@pytest.mark.parametrize("change", FREE.values(), ids=FREE)
def test_a_plan_under_way_takes_all_other_changes(change: dict[str, Any]) -> None:
    old = in_phase("Canary")
    assert admit({**plan(**change), "status": old["status"]}, old)[1] == []


def test_the_phases_of_these_tests_are_all_there_are() -> None:
    phases = SCHEMA["properties"]["status"]["properties"]["phase"]["enum"]
    assert {*PHASES_UNDER_WAY, *PHASES_AT_REST} - {None} == set(phases)


def test_defaults_stand_in_what_is_stored() -> None:
    stored = admit(plan())[0]
    assert stored["spec"] == {
        "workloadRef": {"name": "chat"},
        "target": {"variant": "neuron"},
        "traffic": {"router": "auto"},
        "shadow": {
            "percent": 20,
            "minDuration": "10m",
            "minSamples": 500,
            "maxDuration": "24h",
            "maxConcurrency": 32,
            "maxCandidateUtilisation": "0.8",
            "replayPercent": 10,
            "noiseArmPercent": 10,
        },
        "steps": [
            {"weight": weight, "minDuration": "5m", "minSamples": 100, "maxDuration": "24h"}
            for weight in (5, 25, 50, 100)
        ],
        "analysis": {
            "interval": "30s",
            "falseRollbackProbability": "0.01",
            "falsePromotionProbability": "0.05",
            "onInconclusive": "pause",
            "inconclusiveAfter": "15m",
        },
        "rollback": {"automatic": True, "scope": "segment", "retainBaseline": "1h"},
        "suspend": False,
        "abort": False,
    }
    assert stored["status"] == {"observedGeneration": -1}


def test_a_plan_is_read_and_what_can_not_be_read_is_named() -> None:
    assert parse_plan(plan(target={"variant": "neuron", "pool": "inf2"})).spec.target.pool == "inf2"
    with pytest.raises(ApiValueError, match=r"spec\.steps\[0\]\.weight: 'all'"):
        parse_plan(plan(steps=[{"weight": "all"}]))


def test_fields_of_a_later_release_are_ignored() -> None:
    assert parse_plan({**plan(omens=["owl"]), "status": {"mood": "fine"}}) == parse_plan(plan())
