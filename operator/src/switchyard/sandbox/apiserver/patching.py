"""PATCH by content type: which patch it is, what it may ask for, and the write that follows."""

from __future__ import annotations

from switchyard.sandbox.apiserver import managed
from switchyard.sandbox.apiserver.backend import Answer, Backend, Place, WriteOptions
from switchyard.sandbox.apiserver.decoding import decode_yaml
from switchyard.sandbox.apiserver.errors import (
    FieldError,
    bad_request,
    conflict,
    forbidden,
    invalid,
    not_found,
)
from switchyard.sandbox.apiserver.hooks import Attributes, denial
from switchyard.sandbox.apiserver.metadata import metadata_of
from switchyard.sandbox.apiserver.patches import (
    APPLY_PATCH,
    JSON_PATCH,
    MERGE_PATCH,
    STRATEGIC_PATCH,
    apply_operations,
    merge,
    parse,
    unsupported,
)
from switchyard.sandbox.apiserver.resources import Json, ResourceInfo
from switchyard.sandbox.apiserver.strategic import strategic_merge
from switchyard.sandbox.apiserver.versions import read_as
from switchyard.sandbox.apiserver.writes import check_type, create, settle, update

_PATCH_OPTIONS = ResourceInfo("meta.k8s.io", "v1", "", "", "PatchOptions", "", namespaced=False)


def patch(backend: Backend, place: Place, raw: bytes, content_type: str, options: WriteOptions) -> Answer:
    """The patched object. Raises ApiError."""
    info = place.info
    media = content_type.partition(";")[0].strip()
    known = {JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, APPLY_PATCH, "application/apply-patch+cbor"}
    if media not in known or (media == STRATEGIC_PATCH and not info.is_builtin):
        raise unsupported(info, media)
    if media == APPLY_PATCH:
        if not options.has_field_manager:
            wrong = FieldError("FieldValueRequired", "fieldManager", "is required for apply patch")
            raise invalid(_PATCH_OPTIONS, "", [wrong])
        return apply(backend, place, decode_yaml(raw), options)
    if options.is_forced is not None:
        wrong = FieldError("FieldValueForbidden", "force", "may not be specified for non-apply patch")
        raise invalid(_PATCH_OPTIONS, "", [wrong])
    backend.required(place)
    document = parse(raw)
    if media != JSON_PATCH and not isinstance(document, dict):
        raise bad_request("json: cannot unmarshal array into Go value of type map[string]interface {}")

    def change(obj: Json) -> Json:
        if media == JSON_PATCH:
            return apply_operations(obj, document)
        if media == STRATEGIC_PATCH:
            return strategic_merge(obj, document, info.schema or {})
        merged: Json = merge(obj, document)
        return merged

    return update(backend, place, change, options)


def apply(backend: Backend, place: Place, config: Json, options: WriteOptions) -> Answer:
    """The object after a server-side apply, created if it was not there. Raises ApiError."""
    info, namespace, name = place.info, place.namespace, place.name
    change = managed.Change(
        options.field_manager, place.subresource, backend.timestamp(), is_forced=bool(options.is_forced)
    )
    metadata = metadata_of(config)
    if metadata.get("managedFields"):
        raise bad_request("metadata.managedFields must be nil")
    check_type(info, config)
    given = metadata.setdefault("name", name)
    if given != name:
        raise bad_request(f"the name of the object ({given}) does not match the name on the URL ({name})")
    if info.namespaced:
        metadata.setdefault("namespace", namespace)
    warnings = settle(backend, info, config, options, fills_defaults=False)
    found = backend.store.stored(info, namespace, name)
    if found is None:
        if place.subresource:
            raise not_found(info, name)
        if metadata.get("uid"):
            raise conflict(
                info,
                name,
                f"uid mismatch: the provided object specified uid {metadata['uid']}, and no existing "
                "object was found",
            )
        _check_may_create(backend, place, options)
        applied = managed.apply(info, None, config, change)
        answer = create(backend, place, applied, options, records_fields=False)
    else:
        live = read_as(info, found)
        version = metadata.get("resourceVersion")
        applied = managed.apply(info, live.copy(), config, change)
        if version:
            applied["metadata"]["resourceVersion"] = version
        answer = update(backend, place, lambda _: applied, options, records_fields=False)
    answer.warnings[:0] = [warning for warning in warnings if warning not in answer.warnings]
    return answer


def _check_may_create(backend: Backend, place: Place, options: WriteOptions) -> None:
    """Raises 403 for who may patch but not create: an apply of what is not there creates it."""
    info = place.info
    attributes = Attributes(
        verb="create",
        path="",
        group=info.group,
        version=info.version,
        resource=info.plural,
        namespace=place.namespace,
        name=place.name,
    )
    if not backend.surface.authorize(options.user, attributes).is_allowed:
        raise forbidden(info, place.name, denial(options.user, attributes))
