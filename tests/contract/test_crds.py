"""The generated definitions: in step with the models, structural, bounded, and true to every model field."""

from __future__ import annotations

import copy
import importlib.util
import re
import sys
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from switchyard.api.crd import KINDS, Kind, build_definition, build_schema, render_definition
from switchyard.sandbox.apiserver.checking import check_custom
from switchyard.sandbox.apiserver.definitions import check_definition, infos_of
from switchyard.sandbox.apiserver.pruning import prune
from switchyard.sandbox.apiserver.resources import ResourceInfo

ROOT = Path(__file__).parents[2]
SCHEMAS = {kind.name: build_schema(kind) for kind in KINDS}
LARGEST_DEFINITION_BYTES = 131_072  # half of what kubectl apply can keep in its annotation
each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


def walk(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema below a schema, with where it stands."""
    yield path, schema
    for name, each in schema.get("properties", {}).items():
        if (path, name) != ("", "metadata"):
            yield from walk(each, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from walk(schema[key], f"{path}[]")


NODES = [(name, path, schema) for name, whole in SCHEMAS.items() for path, schema in walk(whole)]


def offenders(is_wrong: Any) -> list[str]:
    return [f"{name}{path}" for name, path, schema in NODES if is_wrong(path, schema)]


def resource_info(kind: str) -> ResourceInfo:
    definition = build_definition(next(each for each in KINDS if each.name == kind))
    definition["metadata"]["uid"] = "any"
    (info,) = infos_of(definition)
    return info


# -- in step with the models


@pytest.fixture
def generator(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    spec = importlib.util.spec_from_file_location("generate", ROOT / "scripts" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_generated_files_are_as_their_sources_make_them(generator: types.ModuleType) -> None:
    rendered = generator.render_all()
    assert generator.find_drift(rendered, ROOT) == ""
    assert generator.find_leftovers(rendered, ROOT) == []
    assert {Path("crds") / kind.file_name for kind in KINDS} <= set(rendered)


def test_drift_is_shown_as_a_diff_and_fails_the_check(
    generator: types.ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setattr(generator, "ROOT", tmp_path)
    monkeypatch.setattr(generator, "render_all", lambda: {Path("crds/a.yaml"): "new: 1\n"})
    monkeypatch.setattr(sys, "argv", ["generate.py"])
    assert generator.main() == 0
    (tmp_path / "crds/a.yaml").write_text("old: 1\n")
    (tmp_path / "crds/gone.yaml").write_text("gone: 1\n")
    monkeypatch.setattr(sys, "argv", ["generate.py", "--check"])
    assert generator.main() == 1
    told = capsys.readouterr().out
    assert "-old: 1\n+new: 1" in told
    assert "crds/gone.yaml" in told
    assert (tmp_path / "crds/a.yaml").read_text() == "old: 1\n", "a check writes nothing"


@each_kind
def test_a_definition_is_small_enough_for_client_side_apply(kind: Kind) -> None:
    assert len(render_definition(kind).encode()) < LARGEST_DEFINITION_BYTES


@each_kind
def test_an_api_server_finds_nothing_wrong_with_the_definition(kind: Kind) -> None:
    definition = build_definition(kind)
    crds = ResourceInfo(
        group="apiextensions.k8s.io",
        version="v1",
        plural="customresourcedefinitions",
        singular="customresourcedefinition",
        kind="CustomResourceDefinition",
        list_kind="CustomResourceDefinitionList",
        namespaced=False,
    )
    assert check_definition(crds, definition, None, "") == []


# -- structural and bounded


def test_the_walk_sees_the_whole_schema() -> None:
    paths = {f"{name}{path}" for name, path, _ in NODES}
    assert "InferenceWorkload.spec.variants[].container.env[].valueFrom.secretKeyRef.key" in paths
    assert "AcceleratorPool.status.conditions[].reason" in paths
    assert len(paths) > 250


def test_nothing_is_left_that_a_structural_schema_can_not_say() -> None:
    forbidden = {
        "$ref",
        "$defs",
        "oneOf",
        "allOf",
        "not",
        "const",
        "title",
        "examples",
        "nullable",
        "propertyNames",
    }
    assert offenders(lambda _, schema: forbidden & set(schema)) == []
    assert offenders(lambda _, schema: "anyOf" in schema and "x-kubernetes-int-or-string" not in schema) == []
    assert (
        offenders(lambda _, schema: "type" not in schema and "x-kubernetes-int-or-string" not in schema) == []
    )


def test_no_part_takes_unknown_fields() -> None:
    assert offenders(lambda _, schema: "x-kubernetes-preserve-unknown-fields" in schema) == []
    assert (
        offenders(
            lambda path, schema: (
                schema.get("type") == "object"
                and "properties" not in schema
                and "additionalProperties" not in schema
            )
        )
        == []
    )


def test_every_field_is_described_with_default_or_example() -> None:
    def is_field(path: str) -> bool:
        return bool(path) and not path.endswith("[]")

    assert offenders(lambda path, schema: is_field(path) and len(schema.get("description", "")) < 8) == []
    undocumented = offenders(
        lambda path, schema: (
            path.startswith(".spec.") and is_field(path) and "Example: " not in schema["description"]
        )
    )
    assert undocumented == []


def test_an_optional_field_says_what_its_absence_means() -> None:
    silent = []
    for name, path, schema in NODES:
        for field, each in schema.get("properties", {}).items():
            is_leaf = each.get("type") != "object" and path.startswith(".spec")
            is_optional = field not in schema.get("required", [])
            is_choice = "x-kubernetes-validations" in schema
            if is_leaf and is_optional and not is_choice and "Default: " not in each["description"]:
                silent.append(f"{name}{path}.{field}")
    assert silent == []


def test_every_string_is_bounded() -> None:
    own = {".apiVersion", ".kind"}
    assert (
        offenders(
            lambda path, schema: (
                path not in own
                and schema.get("type") == "string"
                and "maxLength" not in schema
                and "enum" not in schema
            )
        )
        == []
    )


def test_every_list_is_bounded_and_says_how_it_merges() -> None:
    def is_wrong(_: str, schema: dict[str, Any]) -> bool:
        kind = schema.get("x-kubernetes-list-type")
        return schema.get("type") == "array" and (
            "maxItems" not in schema
            or kind not in {"atomic", "set", "map"}
            or (kind == "map") != bool(schema.get("x-kubernetes-list-map-keys"))
        )

    assert offenders(is_wrong) == []


def test_the_keys_of_a_list_are_always_there() -> None:
    def is_wrong(_: str, schema: dict[str, Any]) -> bool:
        keys = schema.get("x-kubernetes-list-map-keys", ())
        items = schema.get("items", {})
        return any(
            key not in items.get("required", []) and "default" not in items["properties"][key] for key in keys
        )

    assert offenders(is_wrong) == []


def test_every_map_is_bounded() -> None:
    assert (
        offenders(lambda _, schema: "additionalProperties" in schema and "maxProperties" not in schema) == []
    )


def test_every_number_is_bounded() -> None:
    assert (
        offenders(
            lambda _, schema: (
                schema.get("type") in {"integer", "number"} and not {"minimum", "maximum"} <= set(schema)
            )
        )
        == []
    )
    assert offenders(lambda _, schema: "exclusiveMinimum" in schema or "exclusiveMaximum" in schema) == []


def test_every_pattern_is_whole_and_compiles() -> None:
    def is_wrong(_: str, schema: dict[str, Any]) -> bool:
        pattern = schema.get("pattern", "^$")
        return not (pattern.startswith("^") and pattern.endswith("$") and re.compile(pattern))

    assert offenders(is_wrong) == []


def test_every_rule_has_a_message_that_says_what_to_do() -> None:
    rules = [each for _, _, schema in NODES for each in schema.get("x-kubernetes-validations", ())]
    assert len(rules) >= 10
    assert all(len(each["message"]) > 15 and each["message"][0].islower() for each in rules)


def test_the_status_begins_as_not_looked_at_yet() -> None:
    assert {
        schema["properties"]["status"]["default"]["observedGeneration"] for schema in SCHEMAS.values()
    } == {-1}


# -- true to the models


def full_document(model: type[BaseModel]) -> dict[str, Any]:
    """A document with every field of a model, made of the fields' examples."""
    made = {}
    for name, field in model.model_fields.items():
        inner = _inner_model(field.annotation)
        alias = field.alias or name
        if inner is None:
            assert field.examples, f"{model.__name__}.{name} has no example"
            made[alias] = copy.deepcopy(field.examples[0])
        else:
            value = full_document(inner)
            made[alias] = [value] if _is_list(field.annotation) else value
    return made


def _inner_model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if typing.get_origin(annotation) is dict:
        return None
    return next((found for each in typing.get_args(annotation) if (found := _inner_model(each))), None)


def _is_list(annotation: Any) -> bool:
    return typing.get_origin(annotation) is tuple or any(
        _is_list(each) for each in typing.get_args(annotation)
    )


@each_kind
def test_every_model_field_survives_the_schema(kind: Kind) -> None:
    document = full_document(kind.model)
    pruned = copy.deepcopy(document)
    assert prune(pruned, SCHEMAS[kind.name]) == []
    assert pruned == document


@each_kind
def test_every_example_of_a_field_is_one_that_models_and_schema_take(kind: Kind) -> None:
    document = full_document(kind.model)
    written = kind.model.model_validate(document).model_dump(mode="json", by_alias=True, exclude_none=True)
    assert kind.model.model_validate(written) == kind.model.model_validate(document)
    body = {
        "apiVersion": "switchyard.dev/v1alpha1",
        "kind": kind.name,
        "metadata": {"name": "full"},
        **written,
    }
    # with every field given, all choices are made twice; only the rules on choices may object
    problems = check_custom(resource_info(kind.name), body, None, "", [])
    messages = {
        each["message"] for _, _, schema in NODES for each in schema.get("x-kubernetes-validations", ())
    }
    unexpected = [each for each in problems if not any(message in str(each) for message in messages)]
    assert unexpected == []


@each_kind
def test_every_schema_field_is_one_that_the_models_read(kind: Kind) -> None:
    """Nothing is accepted and ignored."""

    def fields(model: type[BaseModel], path: str) -> set[str]:
        found = set()
        for name, field in model.model_fields.items():
            here = f"{path}.{field.alias or name}"
            inner = _inner_model(field.annotation)
            found.add(here)
            if inner is not None:
                found |= fields(inner, f"{here}[]" if _is_list(field.annotation) else here)
        return found

    own = {".apiVersion", ".kind", ".metadata"}
    in_schema = {
        path
        for path, schema in walk(SCHEMAS[kind.name])
        if path and path not in own and not path.endswith("[]")
    }
    assert in_schema == fields(kind.model, "")
