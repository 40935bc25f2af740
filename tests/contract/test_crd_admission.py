"""What the API server takes of authors by the definitions, and what it refuses."""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.contract.admission_cases import BAD, GOOD, workload
from tests.contract.schema_rules import rule_messages

from switchyard.api import ApiValueError, parse_pool, parse_workload
from switchyard.api.crd import KINDS, build_definition, build_schema
from switchyard.api.parsing import parse_plan
from switchyard.api.pool import Family
from switchyard.catalog import load_catalog
from switchyard.sandbox.apiserver.checking import check_custom
from switchyard.sandbox.apiserver.definitions import infos_of
from switchyard.sandbox.apiserver.errors import FieldError
from switchyard.sandbox.apiserver.pruning import default, prune
from switchyard.sandbox.apiserver.resources import ResourceInfo

ROOT = Path(__file__).parents[2]
SCHEMAS = {kind.name: build_schema(kind) for kind in KINDS}
EXAMPLES = [
    pytest.param(document, id=f"{path.stem}: {document['metadata']['name']}")
    for path in sorted((ROOT / "crds" / "examples").rglob("*.yaml"))
    for document in yaml.safe_load_all(path.read_text())
    if document["kind"] in SCHEMAS
]
PARSERS = {"AcceleratorPool": parse_pool, "InferenceWorkload": parse_workload, "CutoverPlan": parse_plan}


@cache
def resource_info(kind: str) -> ResourceInfo:
    definition = build_definition(next(each for each in KINDS if each.name == kind))
    definition["metadata"]["uid"] = "any"
    (info,) = infos_of(definition)
    return info


def admit(body: dict[str, Any]) -> tuple[dict[str, Any], list[FieldError]]:
    """The object as it would be stored, and what a server has against it."""
    body = copy.deepcopy(body)
    schema = SCHEMAS[body["kind"]]
    assert prune(body, schema) == [], "strict validation refuses unknown fields"
    default(body, schema)
    return body, check_custom(resource_info(body["kind"]), body, None, "", [])


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_is_taken_by_schema_rules_and_models(example: dict[str, Any]) -> None:
    body, problems = admit(example)
    assert problems == []
    parse = PARSERS[example["kind"]]
    assert parse(body).spec == parse(example).spec, "models and schema have the same defaults"


def test_the_examples_cover_the_kinds_the_tiers_and_every_family() -> None:
    documents = [parameter.values[0] for parameter in EXAMPLES]
    pools = [each["spec"] for each in documents if each["kind"] == "AcceleratorPool"]
    workloads = [each["spec"] for each in documents if each["kind"] == "InferenceWorkload"]
    assert {each["tier"] for each in workloads} == {"customer-facing", "internal", "batch"}
    catalog = load_catalog()
    entries = [catalog.get(each["accelerator"]) for each in pools]
    assert None not in entries
    assert {entry.family for entry in entries if entry} == set(get_args(Family))


# -- bad input


@pytest.mark.parametrize(("body", "field"), BAD.values(), ids=BAD)
def test_bad_input_is_refused_by_field(body: dict[str, Any], field: str) -> None:
    _, problems = admit(body)
    assert any(str(problem.field).startswith(field) for problem in problems), problems


def test_every_rule_is_broken_by_some_bad_input() -> None:
    told = " ".join(str(problem) for body, _ in BAD.values() for problem in admit(body)[1])
    schemas = [
        schema for kind, schema in SCHEMAS.items() if kind != "CutoverPlan"
    ]  # tests/unit/api has these
    messages = {message for schema in schemas for message in rule_messages(schema["properties"])}
    assert len(messages) > 25
    assert {message for message in messages if message not in told} == set()


@pytest.mark.parametrize("name", ["Chat", "1chat", "chat.v2", "c" * 64, "chat-"])
def test_a_name_that_no_service_can_have_is_refused(name: str) -> None:
    body = workload()
    body["metadata"]["name"] = name
    _, (problem,) = admit(body)
    assert "the name becomes that of a Service" in str(problem)


@pytest.mark.parametrize("body", GOOD.values(), ids=GOOD)
def test_good_input_is_taken(body: dict[str, Any]) -> None:
    stored, problems = admit(body)
    assert problems == []
    PARSERS[body["kind"]](stored)


# -- whatever is taken can be read


def documents(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values that keep to a schema, its CEL rules aside."""
    if schema.get("x-kubernetes-int-or-string"):
        return _strings(schema) | st.integers(schema.get("minimum", 0), schema.get("maximum", 10**6))
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    match schema["type"]:
        case "string":
            return _strings(schema)
        case "integer":
            return st.integers(schema["minimum"], schema["maximum"])
        case "boolean":
            return st.booleans()
        case "array":
            keys = schema.get("x-kubernetes-list-map-keys")
            fields = schema["items"].get("properties", {})
            items = documents(schema["items"])

            def unique(item: Any) -> str:
                return str([item.get(key, fields[key].get("default")) for key in keys] if keys else item)

            return st.lists(items, min_size=schema.get("minItems", 0), max_size=2, unique_by=unique)
    if "properties" not in schema:
        least = schema.get("minProperties", 0)
        values = documents(schema["additionalProperties"])
        return st.dictionaries(st.sampled_from(["a", "example.com/b"]), values, min_size=least, max_size=2)
    fields = {name: documents(each) for name, each in schema["properties"].items()}
    required = set(schema.get("required", []))
    return st.fixed_dictionaries(
        {name: each for name, each in fields.items() if name in required},
        optional={name: each for name, each in fields.items() if name not in required},
    )


def _strings(schema: dict[str, Any]) -> st.SearchStrategy[str]:
    longest = schema.get("maxLength", 20)
    if schema.get("format") == "date":
        return st.dates().map(str)
    if "pattern" not in schema:
        return st.text("abc-/ ", min_size=schema.get("minLength", 0), max_size=min(longest, 12))
    ascii_only = st.characters(codec="ascii")
    return st.from_regex(schema["pattern"], fullmatch=True, alphabet=ascii_only).filter(
        lambda text: schema.get("minLength", 0) <= len(text) <= longest
    )


def specs(kind: str) -> st.SearchStrategy[dict[str, Any]]:
    spec = documents(SCHEMAS[kind]["properties"]["spec"])
    return st.fixed_dictionaries(
        {
            "apiVersion": st.just("switchyard.dev/v1alpha1"),
            "kind": st.just(kind),
            "metadata": st.just({"name": "it"}),
            "spec": spec,
        }
    )


@settings(max_examples=120, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(body=st.one_of([specs(kind) for kind in sorted(SCHEMAS)]))
def test_whatever_the_schema_takes_the_models_read(body: dict[str, Any]) -> None:
    stored, problems = admit(body)
    complaint = what_a_reader_says(stored)
    refused = {str(problem.field) for problem in problems}
    # of all rules in CEL, the models repeat only those on spans that something is divided by
    repeated = {field for field in ("spec.demand.deadline", "spec.placement.horizon") if field in complaint}
    assert bool(complaint) == bool(repeated)
    assert repeated <= refused
    assert all(problem.reason == "FieldValueInvalid" for problem in problems), "only rules may object"


def what_a_reader_says(body: dict[str, Any]) -> str:
    try:
        PARSERS[body["kind"]](body)
    except ApiValueError as error:
        return str(error)
    return ""
