import json
from typing import Any

import pytest
from tests.unit.sandbox.fake_objects import new_registry

from switchyard.sandbox.apiserver.builtins.merge_rules import MERGE_RULES
from switchyard.sandbox.apiserver.builtins.schemas import component, inline_schema, split_model
from switchyard.sandbox.apiserver.openapi import OpenApi
from switchyard.sandbox.apiserver.resources import Registry, ResourceInfo

_SCHEMA = {
    "type": "object",
    "description": "A widget.",
    "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer", "default": 1}}}},
}


@pytest.fixture(scope="module")
def registry() -> Registry:
    registry = new_registry()
    registry.add([_widgets(_SCHEMA)])
    return registry


@pytest.fixture(scope="module")
def openapi(registry: Registry) -> OpenApi:
    return OpenApi(registry)


def _widgets(schema: dict[str, Any]) -> ResourceInfo:
    return ResourceInfo(
        group="w.example.com",
        version="v1",
        plural="widgets",
        singular="widget",
        kind="Widget",
        list_kind="WidgetList",
        namespaced=True,
        schema=schema,
        is_builtin=False,
    )


def _references(value: Any) -> set[str]:
    if isinstance(value, list):
        return {found for part in value for found in _references(part)}
    if not isinstance(value, dict):
        return set()
    own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
    return own | {found for part in value.values() for found in _references(part)}


def test_every_reference_of_every_document_leads_somewhere(openapi: OpenApi) -> None:
    for path in openapi.group_versions():
        document = json.loads(openapi.document(path)[0])
        known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
        assert _references(document) <= known, path


def test_every_reference_of_the_old_document_leads_somewhere(openapi: OpenApi) -> None:
    document = openapi.swagger()
    assert _references(document) <= {f"#/definitions/{name}" for name in document["definitions"]}


def test_a_custom_resource_is_described_by_its_own_schema(openapi: OpenApi) -> None:
    document = json.loads(openapi.document("apis/w.example.com/v1")[0])
    schema = document["components"]["schemas"]["com.example.w.v1.Widget"]
    assert schema["properties"]["spec"]["properties"]["size"] == {"type": "integer", "default": 1}
    assert schema["x-kubernetes-group-version-kind"] == [
        {"group": "w.example.com", "kind": "Widget", "version": "v1"}
    ]
    patch = document["paths"]["/apis/w.example.com/v1/namespaces/{namespace}/widgets/{name}"]["patch"]
    assert "fieldValidation" in {parameter["name"] for parameter in patch["parameters"]}


def test_the_index_changes_with_a_schema_and_only_there() -> None:
    registry = new_registry()
    openapi = OpenApi(registry)
    registry.add([_widgets(_SCHEMA)])
    before = openapi.index()["paths"]
    registry.add([_widgets({**_SCHEMA, "description": "Another."})])
    after = openapi.index()["paths"]
    assert {path for path in after if after[path] != before[path]} == {"apis/w.example.com/v1"}


def test_a_removed_kind_has_no_document() -> None:
    registry = new_registry()
    openapi = OpenApi(registry)
    registry.add([_widgets(_SCHEMA)])
    assert openapi.document("apis/w.example.com/v1") is not None
    registry.replace_custom("w.example.com", "widgets", [])
    assert openapi.document("apis/w.example.com/v1") is None


def test_merge_rules_name_fields_that_exist() -> None:
    for model, field in MERGE_RULES:
        schema = component(model)
        assert field == "." or field in schema["properties"], (model, field)


def test_merge_keys_are_fields_of_the_items() -> None:
    for (model, field), rule in MERGE_RULES.items():
        keys = {*rule.keys, *([rule.merge_key] if rule.merge_key else ())}
        if keys and field != ".":
            items = inline_schema(model)["properties"][field]["items"]
            assert keys <= set(items["properties"]), (model, field)


@pytest.mark.parametrize(
    ("model", "parts"),
    [("V1Pod", ("v1", "Pod")), ("CoreV1Event", ("v1", "Event")), ("V2MetricSpec", ("v2", "MetricSpec"))],
)
def test_a_models_name_tells_its_version(model: str, parts: tuple[str, str]) -> None:
    assert split_model(model) == parts
