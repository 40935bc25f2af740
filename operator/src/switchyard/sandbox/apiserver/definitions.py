"""CustomResourceDefinitions: defaulted, checked, and turned into resources that the server serves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson

from switchyard.sandbox.apiserver.errors import FieldError
from switchyard.sandbox.apiserver.metadata import check_dns_1035_label, check_dns_subdomain
from switchyard.sandbox.apiserver.resources import (
    Json,
    PrinterColumn,
    Registry,
    ResourceInfo,
    ScalePaths,
    Subresource,
)
from switchyard.sandbox.apiserver.structural import check_schema

DEFINITIONS = ("apiextensions.k8s.io", "customresourcedefinitions")
FINALIZER = "customresourcecleanup.apiextensions.k8s.io"
# The order in which discovery tells the verbs of a custom resource.
_CUSTOM_VERBS = ("delete", "deletecollection", "get", "list", "patch", "create", "update", "watch")


def is_definition(info: ResourceInfo) -> bool:
    """Whether the objects of a resource are CustomResourceDefinitions."""
    return info.storage_key == DEFINITIONS


def prepare_definition(info: ResourceInfo, new: Json, old: Json | None) -> None:
    """Fills in what a CustomResourceDefinition may leave out, in place; nothing for other kinds."""
    if not is_definition(info):
        return
    spec = new.get("spec")
    if not isinstance(spec, dict):
        return
    spec.setdefault("conversion", {"strategy": "None"})
    names = spec.setdefault("names", {})
    kind = names.get("kind", "")
    names.setdefault("listKind", f"{kind}List" if kind else "")
    names.setdefault("singular", kind.lower())
    if old is not None:
        new.setdefault("status", old.get("status", {}))


def check_definition(info: ResourceInfo, new: Json, old: Json | None, subresource: str) -> list[FieldError]:
    """What is wrong with a CustomResourceDefinition; empty for other kinds and for status."""
    if not is_definition(info) or subresource:
        return []
    spec = new.get("spec") or {}
    names = spec.get("names") or {}
    plural, group = names.get("plural", ""), spec.get("group", "")
    errors: list[FieldError] = []
    name = new["metadata"].get("name", "")
    if name != f"{plural}.{group}":
        errors.append(
            FieldError("FieldValueInvalid", "metadata.name", 'must be spec.names.plural+"."+spec.group', name)
        )
    errors += _check_names(names, group, spec.get("scope"))
    versions = spec.get("versions") or []
    errors += _check_versions(versions, old)
    if old is not None:
        errors += _check_unchanged(spec, old.get("spec") or {})
    return errors


def _check_names(names: Json, group: str, scope: Any) -> list[FieldError]:
    errors = []
    if not group:
        errors.append(FieldError("FieldValueRequired", "spec.group"))
    elif wrong := check_dns_subdomain(group):
        errors.append(FieldError("FieldValueInvalid", "spec.group", wrong[0], group))
    elif "." not in group:
        errors.append(
            FieldError("FieldValueInvalid", "spec.group", "should be a domain with at least one dot", group)
        )
    if scope not in ("Cluster", "Namespaced"):
        supported = 'supported values: "Cluster", "Namespaced"'
        errors.append(FieldError("FieldValueNotSupported", "spec.scope", supported, scope or ""))
    for key in ("plural", "singular", "kind", "listKind"):
        value = names.get(key, "")
        if not value:
            errors.append(FieldError("FieldValueRequired", f"spec.names.{key}"))
        else:
            probe = value.lower() if key in ("kind", "listKind") else value
            errors += [
                FieldError("FieldValueInvalid", f"spec.names.{key}", wrong, value)
                for wrong in check_dns_1035_label(probe)
            ]
    if names.get("kind") and names.get("kind") == names.get("listKind"):
        errors.append(
            FieldError(
                "FieldValueInvalid",
                "spec.names.listKind",
                "kind and listKind may not be the same",
                names["listKind"],
            )
        )
    return errors


def _check_versions(versions: list[Json], old: Json | None) -> list[FieldError]:
    if not versions:
        return [FieldError("FieldValueRequired", "spec.versions", "must have at least one version")]
    errors: list[FieldError] = []
    storage = [version for version in versions if version.get("storage")]
    if len(storage) != 1:
        shown = "must have exactly one version marked as storage version"
        errors.append(FieldError("FieldValueInvalid", "spec.versions", shown, versions))
    seen: set[str] = set()
    old_schemas = [v.get("schema") for v in ((old or {}).get("spec") or {}).get("versions") or ()]
    # a real server folds a schema that all versions share into spec.validation before it checks
    is_shared = (
        len({orjson.dumps(version.get("schema"), option=orjson.OPT_SORT_KEYS) for version in versions}) == 1
    )
    for index, version in enumerate(versions):
        field = f"spec.versions[{index}]"
        name = version.get("name", "")
        if wrong := check_dns_1035_label(name):
            errors.append(FieldError("FieldValueInvalid", f"{field}.name", wrong[0], name))
        if name in seen:
            errors.append(FieldError("FieldValueDuplicate", f"{field}.name", "", name))
        seen.add(name)
        schema = (version.get("schema") or {}).get("openAPIV3Schema")
        where = "spec.validation.openAPIV3Schema" if is_shared else f"{field}.schema.openAPIV3Schema"
        if schema is None:
            errors.append(
                FieldError("FieldValueRequired", f"{field}.schema.openAPIV3Schema", "schemas are required")
            )
        elif version.get("schema") not in old_schemas and (index == 0 or not is_shared):
            errors += check_schema(schema, where)
        errors += _check_columns(
            version.get("additionalPrinterColumns") or (), f"{field}.additionalPrinterColumns"
        )
    return errors


def _check_columns(columns: Iterable[Json], field: str) -> list[FieldError]:
    errors = []
    for index, column in enumerate(columns):
        here = f"{field}[{index}]"
        if not column.get("name"):
            errors.append(FieldError("FieldValueRequired", f"{here}.name"))
        if column.get("type") not in ("integer", "number", "string", "boolean", "date"):
            wrong = "must be one of integer, number, string, boolean, date"
            errors.append(FieldError("FieldValueInvalid", f"{here}.type", wrong, column.get("type", "")))
        if not str(column.get("jsonPath", "")).startswith("."):
            wrong = "is an invalid simple json path with leading ."
            errors.append(
                FieldError("FieldValueInvalid", f"{here}.jsonPath", wrong, column.get("jsonPath", ""))
            )
    return errors


def _check_unchanged(spec: Json, old: Json) -> list[FieldError]:
    errors = []
    fixed = (("group", ()), ("scope", ()), ("names.kind", ()), ("names.plural", ()))
    for path, _ in fixed:
        new_value, old_value = _at(spec, path), _at(old, path)
        if new_value != old_value:
            errors.append(FieldError("FieldValueInvalid", f"spec.{path}", "field is immutable", new_value))
    return errors


def _at(value: Any, path: str) -> Any:
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def infos_of(definition: Json) -> list[ResourceInfo]:
    """The resources that a CustomResourceDefinition brings: one per served version, in its order."""
    spec = definition["spec"]
    names = spec["names"]
    return [
        _info_of(definition, spec, names, version) for version in spec["versions"] if version.get("served")
    ]


def _info_of(definition: Json, spec: Json, names: Json, version: Json) -> ResourceInfo:
    given = version.get("subresources") or {}
    subresources: list[Subresource] = []
    scale = None
    if "status" in given:
        subresources.append(Subresource("status", names["kind"]))
    if "scale" in given:
        paths = given["scale"]
        subresources.append(Subresource("scale", "Scale", group="autoscaling", version="v1"))
        scale = ScalePaths(
            paths["specReplicasPath"], paths["statusReplicasPath"], paths.get("labelSelectorPath")
        )
    columns = tuple(
        PrinterColumn(
            column["name"],
            column["type"],
            column["jsonPath"],
            column.get("description", ""),
            column.get("format", ""),
            column.get("priority", 0),
        )
        for column in version.get("additionalPrinterColumns") or ()
    )
    is_deprecated = bool(version.get("deprecated"))
    told = f"{spec['group']}/{version['name']} {names['kind']} is deprecated"
    return ResourceInfo(
        group=spec["group"],
        version=version["name"],
        plural=names["plural"],
        singular=names["singular"],
        kind=names["kind"],
        list_kind=names["listKind"],
        namespaced=spec["scope"] == "Namespaced",
        short_names=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()),
        verbs=_CUSTOM_VERBS,
        subresources=tuple(subresources),
        scale=scale,
        schema=(version.get("schema") or {}).get("openAPIV3Schema") or {},
        printer_columns=columns,
        is_builtin=False,
        is_storage_version=bool(version.get("storage")),
        is_deprecated=is_deprecated,
        deprecation_warning=(version.get("deprecationWarning") or told) if is_deprecated else "",
        selectable_fields=tuple(
            field["jsonPath"].lstrip(".") for field in version.get("selectableFields") or ()
        ),
        uid=definition["metadata"]["uid"],
    )


def established_status(definition: Json, timestamp: str) -> Json:
    """The status of a definition whose names are free: as its controllers would write it."""
    spec = definition["spec"]
    before = definition.get("status") or {}
    stored_versions = list(before.get("storedVersions") or [])
    for version in spec["versions"]:
        if version.get("storage") and version["name"] not in stored_versions:
            stored_versions.append(version["name"])
    conditions = {condition["type"]: condition for condition in before.get("conditions") or ()}
    for kind, reason, message in (
        ("NamesAccepted", "NoConflicts", "no conflicts found"),
        ("Established", "InitialNamesAccepted", "the initial names have been accepted"),
    ):
        if conditions.get(kind, {}).get("status") != "True":
            conditions[kind] = {
                "lastTransitionTime": timestamp,
                "message": message,
                "reason": reason,
                "status": "True",
                "type": kind,
            }
    return {
        "acceptedNames": spec["names"],
        "conditions": list(conditions.values()),
        "storedVersions": stored_versions,
    }


def register(registry: Registry, definition: Json) -> None:
    """Serves what a definition brings, in place of what an earlier state of it brought."""
    spec = definition["spec"]
    registry.replace_custom(spec["group"], spec["names"]["plural"], infos_of(definition))
