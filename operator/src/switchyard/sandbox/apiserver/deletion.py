"""Deleting: preconditions, grace, finalizers and propagation.

DELETE → preconditions → grace period of the kind → finalizers of the propagation policy
       ├─ nothing left to wait for: gone
       └─ else: deletionTimestamp, and gone with the last finalizer (and, for a pod on a node,
          when the node's agent deletes it with grace 0)
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from switchyard.sandbox.apiserver.backend import Answer, Backend, Place
from switchyard.sandbox.apiserver.definitions import DEFINITIONS, FINALIZER
from switchyard.sandbox.apiserver.errors import ApiError, FieldError, bad_request, forbidden, invalid
from switchyard.sandbox.apiserver.resources import Json, ResourceInfo
from switchyard.sandbox.apiserver.store import Stored
from switchyard.sandbox.apiserver.versions import read_as

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"
_DELETE_OPTIONS = ResourceInfo("meta.k8s.io", "v1", "", "", "DeleteOptions", "", namespaced=False)
_POLICIES = ("Background", "Foreground", "Orphan")


def delete(backend: Backend, place: Place, options: Json, *, is_dry_run: bool = False) -> tuple[Answer, bool]:
    """The object's last or current state, and whether it is gone. Raises ApiError."""
    info, namespace, name = place.info, place.namespace, place.name
    found = backend.required(place)
    check_preconditions(info, found.obj, options.get("preconditions") or {})
    _check_options(options)
    if _is_protected(info, name):
        raise forbidden(info, name, "this namespace may not be deleted")
    obj = found.copy()
    metadata = obj["metadata"]
    finalizers = _finalizers(metadata.get("finalizers") or [], options)
    if info.storage_key == DEFINITIONS and FINALIZER not in finalizers:
        finalizers = [*finalizers, FINALIZER]  # the objects that it brought go first
    grace = _grace_seconds(info, obj, options)
    first_time = not metadata.get("deletionTimestamp")
    if finalizers:
        metadata["finalizers"] = finalizers
    else:
        metadata.pop("finalizers", None)
    must_stay = bool(finalizers) or grace > 0 or _has_namespace_finalizer(info, obj)
    if not must_stay:
        if is_dry_run:
            return Answer(read_as(info, found)), True
        if metadata.get("deletionTimestamp"):
            metadata["deletionGracePeriodSeconds"] = 0
        gone = backend.store.remove(info.storage_key, (namespace if info.namespaced else "", name), obj)
        return Answer(read_as(info, gone or found)), True
    if first_time:
        metadata["deletionTimestamp"] = (backend.now() + timedelta(seconds=grace)).strftime(
            "%Y-%m-%dT%H:%M:%SZ"
        )
        metadata["deletionGracePeriodSeconds"] = grace
        if metadata.get("generation"):
            metadata["generation"] += 1
        if info.storage_key == ("", "namespaces"):
            obj["status"] = {**(obj.get("status") or {}), "phase": "Terminating"}
            metadata.pop("deletionGracePeriodSeconds")
    elif info.storage_key != ("", "namespaces") and grace < metadata.get("deletionGracePeriodSeconds", 0):
        now = backend.now()
        metadata["deletionTimestamp"] = (now + timedelta(seconds=grace)).strftime("%Y-%m-%dT%H:%M:%SZ")
        metadata["deletionGracePeriodSeconds"] = grace
    if obj == found.obj:
        return Answer(read_as(info, found)), False
    if is_dry_run:
        return Answer(Stored(obj, found.version)), False
    return Answer(read_as(info, backend.store.put(info.storage_key, obj))), False


def deleted_status(info: ResourceInfo, stored: Stored) -> Json:
    """The Status that tells that an object is gone."""
    details: Json = {"name": stored.obj["metadata"]["name"], "kind": info.plural}
    if info.group:
        details["group"] = info.group
    details["uid"] = stored.obj["metadata"]["uid"]
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}


def returns_object(info: ResourceInfo, *, is_gone: bool) -> bool:
    """Whether DELETE answers with the object: where it stays for now, and for kinds that always show it."""
    always = {("", "pods"), ("", "services"), ("", "serviceaccounts"), ("", "persistentvolumes")}
    return not is_gone or info.storage_key in always


def check_preconditions(info: ResourceInfo, obj: Json, preconditions: Mapping[str, Any]) -> None:
    """Raises 409 where uid or version are not those that the caller saw."""
    metadata = obj["metadata"]
    checks = (("uid", "UID", "UID"), ("resourceVersion", "ResourceVersion", "ResourceVersion"))
    for key, word, record_word in checks:
        wanted = preconditions.get(key)
        if wanted is not None and wanted != metadata[key]:
            name = metadata["name"]
            details: Json = {"name": name, "kind": info.kind}
            if info.group:
                details["group"] = info.group
            raise ApiError(
                409,
                "Conflict",
                f'Operation cannot be fulfilled on {info.qualified_kind} "{name}": '
                f"the {word} in the precondition ({wanted}) does not match the {record_word} in record "
                f"({metadata[key]}). The object might have been deleted and then recreated",
                details,
            )


def merged_options(body: Json, query: Mapping[str, str]) -> Json:
    """Delete options from the body, or from the query where there is no body."""
    if body:
        kind = body.get("kind", "DeleteOptions")
        if kind != "DeleteOptions":
            raise bad_request(f'no kind "{kind}" is registered: expected DeleteOptions')
        return body
    options: Json = {}
    if "gracePeriodSeconds" in query:
        try:
            options["gracePeriodSeconds"] = int(query["gracePeriodSeconds"])
        except ValueError as error:
            raise bad_request(f"gracePeriodSeconds: {error}") from error
    for key in ("propagationPolicy", "orphanDependents"):
        if key in query:
            options[key] = query[key] == "true" if key == "orphanDependents" else query[key]
    return options


def _check_options(options: Json) -> None:
    policy = options.get("propagationPolicy")
    if policy is not None and policy not in _POLICIES:
        supported = 'supported values: "Foreground", "Background", "Orphan", "nil"'
        raise invalid(
            _DELETE_OPTIONS,
            "",
            [FieldError("FieldValueNotSupported", "propagationPolicy", supported, policy)],
        )
    if policy is not None and options.get("orphanDependents") is not None:
        wrong = "orphanDependents and deletionPropagation cannot be both set"
        raise invalid(
            _DELETE_OPTIONS, "", [FieldError("FieldValueInvalid", "propagationPolicy", wrong, policy)]
        )


def _finalizers(present: list[str], options: Json) -> list[str]:
    policy = options.get("propagationPolicy")
    if policy is None and options.get("orphanDependents") is not None:
        policy = "Orphan" if options["orphanDependents"] else "Background"
    if policy is None:
        return present
    kept = [finalizer for finalizer in present if finalizer not in (FOREGROUND, ORPHAN)]
    if policy == "Foreground":
        kept.append(FOREGROUND)
    elif policy == "Orphan":
        kept.append(ORPHAN)
    return kept


def _grace_seconds(info: ResourceInfo, obj: Json, options: Json) -> int:
    """How long a pod that runs somewhere gets; nothing else has grace, and nothing that does not run."""
    given = options.get("gracePeriodSeconds")
    if given is not None and (not isinstance(given, int) or isinstance(given, bool)):
        raise bad_request("json: cannot unmarshal gracePeriodSeconds into Go struct field of type int64")
    if given is not None and given < 0:
        given = 1
    if info.storage_key != ("", "pods"):
        return 0
    spec = obj.get("spec") or {}
    phase = (obj.get("status") or {}).get("phase")
    if not spec.get("nodeName") or phase in ("Succeeded", "Failed"):
        return 0
    before = obj["metadata"].get("deletionGracePeriodSeconds")
    wanted = int(given if given is not None else spec.get("terminationGracePeriodSeconds", 30))
    if obj["metadata"].get("deletionTimestamp") and before is not None:
        return min(int(before), wanted) if given is not None else int(before)
    return wanted


def _has_namespace_finalizer(info: ResourceInfo, obj: Json) -> bool:
    return info.storage_key == ("", "namespaces") and bool((obj.get("spec") or {}).get("finalizers"))


def _is_protected(info: ResourceInfo, name: str) -> bool:
    return info.storage_key == ("", "namespaces") and name in ("default", "kube-system", "kube-public")
