"""The component schemas of OpenAPI documents: built-in kinds by their models, custom ones by their CRD."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from switchyard.sandbox.apiserver.builtins.kinds import stored_models
from switchyard.sandbox.apiserver.builtins.schemas import (
    MICRO_TIME_FORMAT,
    QUANTITY_FORMAT,
    component,
    reachable_models,
    split_model,
)
from switchyard.sandbox.apiserver.resources import Json, ResourceInfo

_META = "io.k8s.apimachinery.pkg.apis.meta.v1"
_QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"
_INT_OR_STRING = "io.k8s.apimachinery.pkg.util.intstr.IntOrString"
_META_MODELS = frozenset(
    f"V1{name}"
    for name in (
        "Condition",
        "DeleteOptions",
        "LabelSelector",
        "LabelSelectorRequirement",
        "ListMeta",
        "ManagedFieldsEntry",
        "ObjectMeta",
        "OwnerReference",
        "Preconditions",
    )
)
_PACKAGES = {
    "": "io.k8s.api.core",
    "apiextensions.k8s.io": "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions",
    "apiregistration.k8s.io": "io.k8s.kube-aggregator.pkg.apis.apiregistration",
}
_SHARED: dict[str, Json] = {
    _QUANTITY: {
        "description": "A number with a suffix: 500m, 2, 4Gi.",
        "oneOf": [{"type": "string"}, {"type": "number"}],
    },
    _INT_OR_STRING: {
        "description": "A whole number or a text, such as a percentage or the name of a port.",
        "format": "int-or-string",
        "oneOf": [{"type": "integer"}, {"type": "string"}],
    },
}
_API_VERSION = {
    "type": "string",
    "description": "The version of the schema that this object follows: group/version.",
}
_KIND = {"type": "string", "description": "The kind of this object, in CamelCase."}


@dataclass
class Components:
    """The schemas of one document, by component name."""

    schemas: dict[str, Json] = field(default_factory=dict)
    names: dict[tuple[str, str, str], str] = field(default_factory=dict)

    def name_of(self, info: ResourceInfo) -> str:
        """The component that describes a resource's kind, empty when there is none."""
        return self.names.get((info.group, info.version, info.kind), "")


@cache
def _homes() -> Mapping[str, str]:
    """By model: the group that it belongs to, which is the first whose kinds reach it."""
    homes: dict[str, str] = {}
    for group, model in stored_models():
        for name in reachable_models(model):
            homes.setdefault(name, group)
    return homes


def component_name(model: str) -> str:
    """The name of a model's component: io.k8s.api.core.v1.PodSpec."""
    version, short = split_model(model)
    if model in _META_MODELS:
        return f"{_META}.{short}"
    group = _homes().get(model, "")
    package = _PACKAGES.get(group) or f"io.k8s.api.{group.split('.')[0]}"
    return f"{package}.{version}.{short}"


def add_models(components: Components, models: Mapping[str, Json], info: ResourceInfo) -> None:
    """Adds all models that describe a built-in kind, the kind itself first, and the list of the kind."""
    for model, schema in models.items():
        name = component_name(model)
        if name not in components.schemas:
            components.schemas[name] = _to_component(schema, components)
    root = component_name(next(iter(models)))
    components.schemas[root] = {
        **components.schemas[root],
        "x-kubernetes-group-version-kind": [_gvk(info)],
    }
    components.names[info.group, info.version, info.kind] = root
    _add_list(components, info, root)


def _add_list(components: Components, info: ResourceInfo, item: str) -> None:
    if "list" not in info.verbs:
        return
    _add_meta(components)
    components.schemas[f"{item}List"] = {
        "description": f"{info.list_kind} is a list of {info.kind}",
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": _API_VERSION,
            "items": {"type": "array", "items": _reference(item), "description": f"List of {info.plural}."},
            "kind": _KIND,
            "metadata": {
                "allOf": [_reference(f"{_META}.ListMeta")],
                "description": "Standard list metadata.",
            },
        },
        "x-kubernetes-group-version-kind": [{**_gvk(info), "kind": info.list_kind}],
    }


def _add_meta(components: Components) -> None:
    for root in ("V1ObjectMeta", "V1ListMeta", "V1DeleteOptions"):
        for model in reachable_models(root):
            name = component_name(model)
            if name not in components.schemas:
                components.schemas[name] = _to_component(component(model), components)


def _gvk(info: ResourceInfo) -> Json:
    return {"group": info.group, "kind": info.kind, "version": info.version}


def _reference(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _to_component(schema: Json, components: Components) -> Json:
    whole = dict(schema)
    if "properties" in schema:
        whole["properties"] = {
            name: _to_property(child, components) for name, child in schema["properties"].items()
        }
    return whole


def _to_property(schema: Json, components: Components) -> Json:
    own = {name: value for name, value in schema.items() if name in _KEPT or name.startswith("x-kubernetes-")}
    form = schema.get("format")
    if reference := schema.get("$ref"):
        own["allOf"] = [_reference(component_name(reference))]
        return own if len(own) > 1 else own["allOf"][0]
    if form in (QUANTITY_FORMAT, "int-or-string"):
        name = _QUANTITY if form == QUANTITY_FORMAT else _INT_OR_STRING
        components.schemas.setdefault(name, _SHARED[name])
        own.pop("x-kubernetes-int-or-string", None)
        own["allOf"] = [_reference(name)]
        return own if len(own) > 1 else own["allOf"][0]
    if form is not None:
        own["format"] = "date-time" if form == MICRO_TIME_FORMAT else form
    for part in ("items", "additionalProperties"):
        if isinstance(schema.get(part), dict):
            own[part] = _to_property(schema[part], components)
    return own


_KEPT = ("type", "description", "default")


def add_custom_resource(components: Components, info: ResourceInfo) -> None:
    """Adds the schema of a custom resource, its list, and what both refer to."""
    _add_meta(components)
    name = ".".join([*reversed(info.group.split(".")), info.version, info.kind])
    schema = dict(info.schema or {"type": "object"})
    schema["properties"] = {
        "apiVersion": _API_VERSION,
        "kind": _KIND,
        "metadata": {
            "allOf": [_reference(f"{_META}.ObjectMeta")],
            "description": "Standard object's metadata.",
        },
        **{
            field_name: child
            for field_name, child in schema.get("properties", {}).items()
            if field_name not in ("apiVersion", "kind", "metadata")
        },
    }
    schema["x-kubernetes-group-version-kind"] = [_gvk(info)]
    components.schemas[name] = schema
    components.names[info.group, info.version, info.kind] = name
    _add_list(components, info, name)


_V2_DROPPED = frozenset({"nullable", "oneOf", "anyOf", "not"})


def to_swagger(schema: Any) -> Any:
    """A schema as OpenAPI v2 can say it: references by definition, without what v2 lacks."""
    if isinstance(schema, list):
        return [to_swagger(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    only = schema.get("allOf")
    if isinstance(only, list) and len(only) == 1 and "$ref" in only[0]:
        rest = {key: value for key, value in schema.items() if key == "description"}
        return {**rest, **to_swagger(only[0])}
    swagger: Json = {}
    for key, value in schema.items():
        if key in _V2_DROPPED:
            continue
        if key == "$ref" and isinstance(value, str):
            swagger[key] = value.replace("#/components/schemas/", "#/definitions/")
        elif key == "properties" and isinstance(value, dict):
            swagger[key] = {name: to_swagger(child) for name, child in value.items()}
        elif key in ("default", "enum", "x-kubernetes-validations"):
            swagger[key] = value
        else:
            swagger[key] = to_swagger(value)
    return swagger
