"""The scale subresource: how many replicas, without knowing the kind."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from switchyard.sandbox.apiserver.backend import Backend, Place, WriteOptions
from switchyard.sandbox.apiserver.decoding import decode_body
from switchyard.sandbox.apiserver.errors import FieldError, bad_request, conflict, invalid
from switchyard.sandbox.apiserver.patches import apply_json_body_patch
from switchyard.sandbox.apiserver.resources import Json, ResourceInfo, ScalePaths
from switchyard.sandbox.apiserver.writes import STALE, update

_BUILTIN_PATHS = ScalePaths(".spec.replicas", ".status.replicas", ".spec.selector")
_SCALE = ResourceInfo("autoscaling", "v1", "scales", "scale", "Scale", "ScaleList", namespaced=True)


def handle(backend: Backend, place: Place, request: web.Request, raw: bytes, options: WriteOptions) -> Json:
    """The Scale of an object, after the write where one is asked for. Raises ApiError."""
    info = place.info
    content_type = request.headers.get("Content-Type", "")
    found = backend.required(place)
    scale = to_scale(info, found.obj)
    if request.method == "GET":
        return scale
    if request.method == "PUT":
        wanted = decode_body(raw, content_type, backend.surface.decode_protobuf)
    else:
        wanted = apply_json_body_patch(_SCALE, scale, raw, content_type)
    version = (wanted.get("metadata") or {}).get("resourceVersion")
    if version and version != found.obj["metadata"]["resourceVersion"]:
        raise conflict(info, place.name, STALE)
    replicas = (wanted.get("spec") or {}).get("replicas", 0)
    if not isinstance(replicas, int) or isinstance(replicas, bool):
        raise bad_request("json: cannot unmarshal spec.replicas into Go struct field ScaleSpec of type int32")
    if replicas < 0:
        wrong = FieldError(
            "FieldValueInvalid", "spec.replicas", "must be greater than or equal to 0", replicas
        )
        raise invalid(_SCALE, place.name, [wrong])

    def change(obj: Json) -> Json:
        _put(obj, (info.scale or _BUILTIN_PATHS).spec_replicas, replicas)
        return obj

    options = WriteOptions(
        user=options.user,
        field_manager=options.field_manager,
        has_field_manager=options.has_field_manager,
        field_validation="Ignore",
        is_dry_run=options.is_dry_run,
    )
    answer = update(backend, place, change, options)
    return to_scale(info, answer.stored.obj)


def to_scale(info: ResourceInfo, obj: Json) -> Json:
    """The Scale that an object shows."""
    paths = info.scale or _BUILTIN_PATHS
    metadata = obj["metadata"]
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    status: Json = {"replicas": _at(obj, paths.status_replicas) or 0}
    if paths.label_selector:
        found = _at(obj, paths.label_selector)
        if found:
            status["selector"] = _selector_text(found) if isinstance(found, dict) else found
    spec: Json = {}
    if replicas := _at(obj, paths.spec_replicas):
        spec["replicas"] = replicas
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {key: metadata[key] for key in kept if key in metadata},
        "spec": spec,
        "status": status,
    }


def _at(obj: Json, path: str) -> Any:
    value: Any = obj
    for part in path.lstrip(".").split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _put(obj: Json, path: str, value: Any) -> None:
    *parents, last = path.lstrip(".").split(".")
    for part in parents:
        obj = obj.setdefault(part, {})
    obj[last] = value


def _selector_text(selector: Json) -> str:
    labels = selector.get("matchLabels")
    if labels is None and "matchExpressions" not in selector:
        labels = selector  # of a ReplicationController
    terms = [f"{key}={value}" for key, value in sorted((labels or {}).items())]
    words = {"In": "in", "NotIn": "notin"}
    for term in selector.get("matchExpressions") or ():
        operator, key = term["operator"], term["key"]
        if operator in words:
            terms.append(f"{key} {words[operator]} ({','.join(sorted(term.get('values') or ()))})")
        else:
            terms.append(key if operator == "Exists" else f"!{key}")
    return ",".join(terms)
