"""Creating and updating objects: the pipeline that every write goes through.

    decode → prune → default → prepare → managed fields → admit → validate → store

A write that changes nothing keeps the resource version and causes no event.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Sequence

from switchyard.sandbox.apiserver import managed
from switchyard.sandbox.apiserver.backend import Answer, Backend, Place, WriteOptions
from switchyard.sandbox.apiserver.checking import check_custom
from switchyard.sandbox.apiserver.decoding import duplicate_fields
from switchyard.sandbox.apiserver.definitions import check_definition, prepare_definition
from switchyard.sandbox.apiserver.errors import (
    ApiError,
    FieldError,
    already_exists,
    bad_request,
    conflict,
    details_of,
    forbidden,
    invalid,
    not_found,
)
from switchyard.sandbox.apiserver.metadata import (
    check_metadata,
    check_metadata_update,
    drop_empty,
    metadata_of,
)
from switchyard.sandbox.apiserver.pruning import default, prune
from switchyard.sandbox.apiserver.resources import Json, ResourceInfo
from switchyard.sandbox.apiserver.services import align_addresses, allocate_address
from switchyard.sandbox.apiserver.store import Stored
from switchyard.sandbox.apiserver.versions import read_as, to_stored

_NAME_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"  # no vowels: generated names spell nothing
_SERVER_OWNED = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink")
_WITH_GENERATION = {
    "customresourcedefinitions",
    "cronjobs",
    "daemonsets",
    "deployments",
    "ingresses",
    "jobs",
    "networkpolicies",
    "poddisruptionbudgets",
    "pods",
    "replicasets",
    "replicationcontrollers",
    "statefulsets",
}
STALE = "the object has been modified; please apply your changes to the latest version and try again"


def create(
    backend: Backend,
    place: Place,
    obj: Json,
    options: WriteOptions,
    *,
    records_fields: bool = True,
) -> Answer:
    """The created object; without `records_fields` it brings its managedFields. Raises ApiError."""
    info, namespace = place.info, place.namespace
    metadata = metadata_of(obj)
    check_type(info, obj)
    if info.namespaced:
        given = metadata.setdefault("namespace", namespace) or namespace
        metadata["namespace"] = namespace
        if given != namespace:
            raise bad_request(
                "the namespace of the provided object does not match the namespace sent on the request"
            )
    else:
        metadata.pop("namespace", None)
    warnings = settle(backend, info, obj, options)
    if metadata.get("resourceVersion"):
        # an error inside of a real server, too
        raise ApiError(500, "", "resourceVersion should not be set on objects to be created")
    if not metadata.get("name") and metadata.get("generateName"):
        metadata["name"] = _generated_name(backend, info, namespace, metadata["generateName"])
    name = metadata.get("name", "")
    if info.namespaced:
        _check_namespace(backend, info, namespace, name)
    for key in (*_SERVER_OWNED, "generation", "resourceVersion"):
        metadata.pop(key, None)
    applied_fields = metadata.pop("managedFields", None)
    metadata["uid"] = str(uuid.uuid4())
    metadata["creationTimestamp"] = backend.timestamp()
    if info.subresource("status") and not _keeps_status_on_create(info):
        obj.pop("status", None)
    if has_generation(info):
        metadata["generation"] = 1
    drop_empty(metadata)
    if info.is_builtin:
        prepare_definition(info, obj, None)
    elif info.schema is not None:
        default(obj, info.schema)
    if not records_fields:
        metadata["managedFields"] = applied_fields
    else:
        managed.record_update(info, None, obj, managed.Change(options.field_manager, "", backend.timestamp()))
    if info.is_builtin:  # after the fields are recorded: nobody owns what the server adds here
        align_addresses(info, obj, None)
        backend.surface.prepare_builtin(info, obj, None, "", options.user)
    backend.surface.admit(info, obj, None, "", options.user)
    _refuse(info, name, validate(backend, info, obj, None, ""))
    if backend.store.stored(info, namespace, name) is not None:
        raise already_exists(info, name)
    allocate_address(backend, info, obj, None)
    if options.is_dry_run:
        return Answer(Stored(obj, 0), 201, warnings)
    stored = backend.store.put(info.storage_key, to_stored(info, obj))
    return Answer(read_as(info, stored), 201, warnings)


def update(
    backend: Backend,
    place: Place,
    change: Callable[[Json], Json],
    options: WriteOptions,
    *,
    records_fields: bool = True,
) -> Answer:
    """The updated object; `change` gets a private copy and gives the object wanted. Raises ApiError."""
    info, name, subresource = place.info, place.name, place.subresource
    found = backend.required(place)
    old_view = read_as(info, found)
    old = old_view.obj
    new = change(old_view.copy())
    metadata = metadata_of(new)
    check_type(info, new)
    warnings = settle(backend, info, new, options)
    _check_identity(place, new, old)
    for key in (*_SERVER_OWNED, "generation"):
        metadata.pop(key, None)
        if key in old["metadata"]:
            metadata[key] = old["metadata"][key]
    given_fields = metadata.pop("managedFields", None)
    if given_fields is None:
        given_fields = old["metadata"].get("managedFields")
    if given_fields and given_fields != [{}]:
        metadata["managedFields"] = given_fields
    metadata["resourceVersion"] = old["metadata"]["resourceVersion"]
    drop_empty(metadata)
    _keep_the_rest(info, new, old, subresource)
    if info.is_builtin:
        prepare_definition(info, new, old)
    elif info.schema is not None:
        default(new, info.schema)
    if records_fields:
        written = managed.Change(options.field_manager, subresource, backend.timestamp())
        managed.record_update(info, old, new, written)
    if info.is_builtin:
        align_addresses(info, new, old)
        backend.surface.prepare_builtin(info, new, old, subresource, options.user)
    if has_generation(info) and subresource not in ("status", "binding") and _spec_changed(info, new, old):
        metadata["generation"] = old["metadata"].get("generation", 0) + 1
    backend.surface.admit(info, new, old, subresource, options.user)
    _refuse(info, name, validate(backend, info, new, old, subresource))
    allocate_address(backend, info, new, old)
    if new == old:
        return Answer(old_view, 200, warnings)
    if options.is_dry_run:
        return Answer(Stored(new, found.version), 200, warnings)
    return Answer(_store(backend, info, new), 200, warnings)


def _store(backend: Backend, info: ResourceInfo, new: Json) -> Stored:
    """Stores an update, or removes an object that only waited for its last finalizer."""
    metadata = new["metadata"]
    kept = to_stored(info, new)
    if (
        metadata.get("deletionTimestamp")
        and not metadata.get("finalizers")
        and not metadata.get("deletionGracePeriodSeconds")
        and not (info.storage_key == ("", "namespaces") and (new.get("spec") or {}).get("finalizers"))
    ):
        gone = backend.store.remove(info.storage_key, (metadata.get("namespace", ""), metadata["name"]), kept)
        return read_as(info, gone) if gone else Stored(new, 0)
    return read_as(info, backend.store.put(info.storage_key, kept))


def settle(
    backend: Backend,
    info: ResourceInfo,
    obj: Json,
    options: WriteOptions,
    *,
    fills_defaults: bool = True,
) -> list[str]:
    """The warnings of decoding: drops unknown fields, fills in defaults. Raises 400 in strict mode.

    An applied configuration gets no defaults: they must not become the applier's own.
    """
    unknown = prune(obj, info.schema) if info.schema is not None else []
    warnings: list[str] = []
    if options.field_validation != "Ignore":
        problems = duplicate_fields(options.raw) if options.is_validation_asked and options.raw else []
        problems += [f'unknown field "{path}"' for path in unknown]
        if problems and options.field_validation == "Strict":
            raise bad_request(_strict_message(info, problems))
        warnings = problems
    if fills_defaults and info.is_builtin:
        backend.surface.default_builtin(info, obj)
    elif fills_defaults and info.schema is not None:
        default(obj, info.schema)
    if info.deprecation_warning:
        warnings.append(info.deprecation_warning)
    return warnings


def _strict_message(info: ResourceInfo, problems: Sequence[str]) -> str:
    told = "strict decoding error: " + ", ".join(problems)
    if info.is_builtin:
        return f'{info.kind} in version "{info.version}" cannot be handled as a {info.kind}: {told}'
    return told


def check_type(info: ResourceInfo, obj: Json) -> None:
    """Raises where kind or apiVersion are not the resource's."""
    kind, version = obj.get("kind"), obj.get("apiVersion")
    if not kind and not version and info.is_builtin:
        obj["kind"], obj["apiVersion"] = info.kind, info.api_version
        return
    if not kind:
        raise bad_request("Object 'Kind' is missing in the body")
    if version != info.api_version:
        raise bad_request(
            f"the API version in the data ({version}) does not match the expected API version "
            f"({info.api_version})"
        )
    if kind != info.kind:
        if info.is_builtin:
            raise bad_request(
                f'{kind} in version "{info.version}" cannot be handled as a {info.kind}: '
                f"converting ({kind}) to ({info.kind}): unknown conversion"
            )
        error = FieldError("FieldValueInvalid", "kind", f"must be {info.kind}", kind)
        refusal = invalid(info, metadata_of(obj).get("name", ""), [error])
        assert refusal.details is not None  # noqa: S101 invalid() always gives details
        refusal.details["kind"] = kind
        refusal.message = refusal.message.replace(info.qualified_kind, f"{kind}.{info.group}", 1)
        raise refusal


def validate(
    backend: Backend, info: ResourceInfo, new: Json, old: Json | None, subresource: str
) -> list[FieldError]:
    """Everything that is wrong with a write of an object."""
    errors = check_metadata(info, new["metadata"])
    if old is not None:
        update_errors = check_metadata_update(new["metadata"], old["metadata"])
        errors += update_errors
        if not info.is_builtin:
            errors += update_errors  # custom resources are checked twice, and their causes told twice
    if info.is_builtin:
        errors += backend.surface.validate_builtin(info, new, old, subresource)
        errors += check_definition(info, new, old, subresource)
    else:
        errors = check_custom(info, new, old, subresource, errors)
    return errors


def _refuse(info: ResourceInfo, name: str, errors: Sequence[FieldError]) -> None:
    if errors:
        raise invalid(info, name, errors)


def _check_namespace(backend: Backend, info: ResourceInfo, namespace: str, name: str) -> None:
    found = backend.namespace(namespace)
    if found is None:
        raise not_found(backend.builtin("", "v1", "namespaces"), namespace)
    if found["metadata"].get("deletionTimestamp"):
        refusal = forbidden(
            info,
            name,
            f"unable to create new content in namespace {namespace} because it is being terminated",
        )
        assert refusal.details is not None  # noqa: S101 forbidden() gives details for a known resource
        refusal.details["causes"] = [
            {
                "reason": "NamespaceTerminating",
                "message": f"namespace {namespace} is being terminated",
                "field": "metadata.namespace",
            }
        ]
        raise refusal


def _check_identity(place: Place, new: Json, old: Json) -> None:
    info, namespace, name = place.info, place.namespace, place.name
    metadata = new["metadata"]
    given_name = metadata.setdefault("name", name)
    if given_name != name:
        raise bad_request(
            f"the name of the object ({given_name}) does not match the name on the URL ({name})"
        )
    if info.namespaced:
        if (metadata.get("namespace") or namespace) != namespace:
            raise bad_request(
                "the namespace of the provided object does not match the namespace sent on the request"
            )
        metadata["namespace"] = namespace
    uid, old_uid = metadata.get("uid"), old["metadata"]["uid"]
    if uid and uid != old_uid:
        raise conflict(
            info,
            name,
            f"Precondition failed: UID in precondition: {uid}, UID in object meta: {old_uid}",
        )
    version = metadata.get("resourceVersion")
    if not version and not info.is_builtin:
        error = FieldError(
            "FieldValueInvalid", "metadata.resourceVersion", "must be specified for an update", 0
        )
        refusal = invalid(info, name, [error])
        refusal.details = {**details_of(info, name), "causes": (refusal.details or {})["causes"]}
        refusal.message = refusal.message.replace(info.qualified_kind, info.qualified_plural, 1)
        raise refusal
    if version and version != old["metadata"]["resourceVersion"]:
        raise conflict(info, name, STALE)


def _keep_the_rest(info: ResourceInfo, new: Json, old: Json, subresource: str) -> None:
    """Puts back what a request may not change through this (sub)resource."""
    if subresource == "status":
        for key in [key for key in new if key not in ("status", "metadata")]:
            del new[key]
        for key, value in old.items():
            if key not in ("status", "metadata"):
                new[key] = value
        if info.storage_key == ("apps", "deployments"):
            new["metadata"].pop("labels", None)
            if "labels" in old["metadata"]:
                new["metadata"]["labels"] = old["metadata"]["labels"]
        elif not info.is_builtin:
            fields = new["metadata"].get("managedFields")
            new["metadata"] = {k: v for k, v in old["metadata"].items() if k != "managedFields"}
            if fields:
                new["metadata"]["managedFields"] = fields
    elif subresource == "" and info.subresource("status"):
        new.pop("status", None)
        if "status" in old:
            new["status"] = old["status"]
        if info.storage_key == ("", "namespaces"):
            new["spec"] = old.get("spec", {})  # its finalizers are written through /finalize alone


def _spec_changed(info: ResourceInfo, new: Json, old: Json) -> bool:
    if info.storage_key == ("apps", "deployments"):
        # their annotations count as well (k8s.io/kubernetes pkg/registry/apps/deployment/strategy.go)
        before, after = (each["metadata"].get("annotations") or {} for each in (old, new))
        if before != after:
            return True
    ignored = ("metadata", "status")
    return {k: v for k, v in new.items() if k not in ignored} != {
        k: v for k, v in old.items() if k not in ignored
    }


def has_generation(info: ResourceInfo) -> bool:
    """Whether objects of the kind count the changes of their spec."""
    if info.has_generation is not None:
        return info.has_generation
    return not info.is_builtin or info.plural in _WITH_GENERATION


def _keeps_status_on_create(info: ResourceInfo) -> bool:
    return info.is_builtin and info.storage_key == ("", "nodes")  # an agent registers with its status


def _generated_name(backend: Backend, info: ResourceInfo, namespace: str, prefix: str) -> str:
    prefix = prefix[:58]
    for _ in range(8):
        name = prefix + "".join(random.choices(_NAME_ALPHABET, k=5))  # noqa: S311 a name, not a secret
        if backend.store.stored(info, namespace, name) is None:
            return name
    raise ApiError(
        409, "AlreadyExists", f'{info.qualified_plural} "{prefix}" already exists, no free name was found'
    )
