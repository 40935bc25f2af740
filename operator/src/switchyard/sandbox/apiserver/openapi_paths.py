"""The paths of OpenAPI documents: what kubectl looks a kind up by, and which options a request may carry."""

from __future__ import annotations

from typing import Any

from switchyard.sandbox.apiserver.openapi_schemas import Components
from switchyard.sandbox.apiserver.resources import Json, ResourceInfo

_PATCH_TYPES = ("application/apply-patch+yaml", "application/json-patch+json", "application/merge-patch+json")
_STRATEGIC = "application/strategic-merge-patch+json"
_WRITE_OPTIONS = (
    ("dryRun", "All: the request is checked and nothing is stored."),
    ("fieldManager", "Who owns the fields that are written."),
    ("fieldValidation", "What unknown fields lead to: Ignore, Warn or Strict."),
)
_LIST_OPTIONS = (
    ("continue", "The token of the page before."),
    ("fieldSelector", "Only objects with these fields."),
    ("labelSelector", "Only objects with these labels."),
    ("limit", "The most objects of one page."),
    ("resourceVersion", "The version to read at."),
    ("watch", "Changes as they happen, instead of a list."),
)


def paths_of(info: ResourceInfo, components: Components, *, is_v2: bool = False) -> Json:
    """The path items of a resource and its subresources."""
    root = f"/apis/{info.api_version}" if info.group else f"/api/{info.version}"
    home = f"{root}/namespaces/{{namespace}}/{info.plural}" if info.namespaced else f"{root}/{info.plural}"
    names = ("namespace",) if info.namespaced else ()
    writer = _Writer(info, components.name_of(info), is_v2=is_v2)
    paths = {home: writer.item({"get": "list", "post": "create", "delete": "deletecollection"}, names)}
    if info.namespaced and "list" in info.verbs:
        paths[f"{root}/{info.plural}"] = writer.item({"get": "list"}, ())
    one = {"get": "get", "put": "update", "patch": "patch", "delete": "delete"}
    paths[f"{home}/{{name}}"] = writer.item(one, (*names, "name"))
    for sub in info.subresources:
        below = {"get": "get", "post": "create", "put": "update", "patch": "patch"}
        group, version = (sub.group, sub.version) if sub.version else (info.group, info.version)
        kind = {"group": group, "version": version, "kind": sub.kind}
        schema = components.names.get((group, version, sub.kind), "")
        below_writer = _Writer(info, schema, is_v2=is_v2, verbs=sub.verbs, kind=kind, suffix=sub.name)
        paths[f"{home}/{{name}}/{sub.name}"] = below_writer.item(below, (*names, "name"))
    return {path: item for path, item in paths.items() if len(item) > 1 or "parameters" not in item}


class _Writer:
    def __init__(
        self,
        info: ResourceInfo,
        schema: str,
        *,
        is_v2: bool,
        verbs: tuple[str, ...] | None = None,
        kind: Json | None = None,
        suffix: str = "",
    ) -> None:
        self._info = info
        self._schema = schema
        self._is_v2 = is_v2
        self._verbs = info.verbs if verbs is None else verbs
        self._kind = kind or {"group": info.group, "version": info.version, "kind": info.kind}
        self._suffix = suffix

    def item(self, methods: dict[str, str], in_path: tuple[str, ...]) -> Json:
        item: Json = {
            method: self._operation(verb, in_path) for method, verb in methods.items() if verb in self._verbs
        }
        if in_path:
            item["parameters"] = [self._parameter(name, "", where="path") for name in in_path]
        return item

    def _operation(self, verb: str, in_path: tuple[str, ...]) -> Json:
        info = self._info
        scope = "Namespaced" if "namespace" in in_path else ""
        group = info.group.split(".")[0].title() or "Core"
        schema = f"{self._schema}List" if verb == "list" and self._schema else self._schema
        options: tuple[tuple[str, str], ...] = _LIST_OPTIONS if verb in ("list", "deletecollection") else ()
        if verb in ("create", "update", "patch"):
            options = _WRITE_OPTIONS
        action = {"create": "post", "update": "put"}.get(verb, verb)
        operation: Json = {
            "operationId": f"{verb}{group}{info.version.title()}{scope}{info.kind}{self._suffix.title()}",
            "tags": [f"{group.lower()}_{info.version}"],
            "parameters": [self._parameter(name, about) for name, about in options],
            "responses": {"200": self._content("OK", schema)},
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": self._kind,
        }
        if verb == "patch":
            patches = _PATCH_TYPES if not info.is_builtin else (*_PATCH_TYPES, _STRATEGIC)
            if self._is_v2:
                operation["consumes"] = list(patches)
            else:
                operation["requestBody"] = {
                    "required": True,
                    "content": {media: {"schema": {"type": "object"}} for media in patches},
                }
        elif verb in ("create", "update") and not self._is_v2 and self._schema:
            operation["requestBody"] = {"required": True, **self._content("", schema, told=False)}
        return operation

    def _parameter(self, name: str, about: str, where: str = "query") -> Json:
        kind: Json = {"type": "boolean" if name == "watch" else "integer" if name == "limit" else "string"}
        parameter: Json = {"name": name, "in": where}
        if where == "path":
            parameter["required"] = True
        parameter["description"] = about or f"{name} of the object"
        return {**parameter, **kind} if self._is_v2 else {**parameter, "schema": kind}

    def _content(self, description: str, schema: str, *, told: bool = True) -> Json:
        answer: dict[str, Any] = {"description": description} if told else {}
        if not schema:
            return answer
        if self._is_v2:
            answer["schema"] = {"$ref": f"#/definitions/{schema}"}
        else:
            reference = {"$ref": f"#/components/schemas/{schema}"}
            answer["content"] = {"application/json": {"schema": reference}}
        return answer
