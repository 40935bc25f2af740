"""Checks of what every object has: its name, labels, annotations, owners and finalizers.

The messages and limits are those of k8s.io/apimachinery (util/validation, api/validation/objectmeta.go).
"""

from __future__ import annotations

import re

from switchyard.sandbox.apiserver.errors import ApiError, FieldError, bad_request
from switchyard.sandbox.apiserver.resources import Json, ResourceInfo

_DNS_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_DNS_SUBDOMAIN = rf"{_DNS_LABEL}(\.{_DNS_LABEL})*"
_DNS_1035 = "[a-z]([-a-z0-9]*[a-z0-9])?"
_NAME_PART = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_LABEL_VALUE = f"({_NAME_PART})?"
_ANNOTATIONS_MAX_BYTES = 256 * 1024

_is_dns_label = re.compile(_DNS_LABEL).fullmatch
_is_dns_subdomain = re.compile(_DNS_SUBDOMAIN).fullmatch
_is_dns_1035 = re.compile(_DNS_1035).fullmatch
_is_name_part = re.compile(_NAME_PART).fullmatch
_is_label_value = re.compile(_LABEL_VALUE).fullmatch

_LABEL_NAMED = {("", "namespaces"), ("", "services")}
_PATH_NAMED_GROUPS = {"rbac.authorization.k8s.io"}


_STANDARD_FINALIZERS = {"foregroundDeletion", "kubernetes", "orphan"}
_TEXTS = ("name", "namespace", "generateName", "uid", "resourceVersion", "creationTimestamp")
_OWNER_TEXTS = ("apiVersion", "kind", "name", "uid")


def metadata_of(obj: Json) -> Json:
    """An object's metadata, made if it was not there. Raises 400 where it cannot be read."""
    metadata = obj.get("metadata")
    if metadata is None:
        metadata = obj["metadata"] = {}
    if not isinstance(metadata, dict):
        raise _unreadable("metadata", metadata)
    for key in [key for key, value in metadata.items() if value is None and key != "managedFields"]:
        del metadata[key]
    for key in _TEXTS:
        if not isinstance(metadata.get(key, ""), str):
            raise _unreadable(f"metadata.{key}", metadata[key])
    for key in ("labels", "annotations"):
        value = metadata.get(key, {})
        if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
            raise _unreadable(f"metadata.{key}", value)
    finalizers = metadata.get("finalizers", [])
    if not isinstance(finalizers, list) or not all(isinstance(name, str) for name in finalizers):
        raise _unreadable("metadata.finalizers", finalizers)
    for key in ("ownerReferences", "managedFields"):
        items = metadata.get(key) or []
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise _unreadable(f"metadata.{key}", items)
    for owner in metadata.get("ownerReferences", ()):
        for key in _OWNER_TEXTS:
            if not isinstance(owner.get(key, ""), str):
                raise _unreadable(f"metadata.ownerReferences.{key}", owner[key])
    for entry in metadata.get("managedFields") or ():
        if not isinstance(entry.get("fieldsV1", {}), dict):
            raise _unreadable("metadata.managedFields.fieldsV1", entry["fieldsV1"])
    return metadata


def _unreadable(field: str, value: object) -> ApiError:
    kinds = {str: "string", bool: "bool", int: "number", float: "number", list: "array", dict: "object"}
    return bad_request(
        f"json: cannot unmarshal {kinds.get(type(value), 'value')} into Go struct field ObjectMeta.{field}"
    )


def drop_empty(metadata: Json) -> None:
    """Drops the maps and lists that say nothing, in place."""
    for key in ("labels", "annotations", "finalizers", "ownerReferences", "generateName"):
        if key in metadata and not metadata[key]:
            del metadata[key]


def check_dns_subdomain(text: str) -> list[str]:
    """What is wrong with a DNS subdomain (most names)."""
    out = [] if len(text) <= 253 else ["must be no more than 253 bytes"]
    if not _is_dns_subdomain(text):
        out.append(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' "
            "or '.', and "
            "must start and end with an alphanumeric character (e.g. 'example.com', regex used for "
            "validation "
            f"is '{_DNS_SUBDOMAIN}')"
        )
    return out


def check_dns_label(text: str) -> list[str]:
    """What is wrong with a DNS label (names of namespaces and services)."""
    out = [] if len(text) <= 63 else ["must be no more than 63 bytes"]
    if not _is_dns_label(text):
        out.append(
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', "
            "and must start "
            "and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for "
            "validation is "
            f"'{_DNS_LABEL}')"
        )
    return out


def check_dns_1035_label(text: str) -> list[str]:
    """What is wrong with a DNS label that must begin with a letter (names of CRDs' kinds)."""
    out = [] if len(text) <= 63 else ["must be no more than 63 bytes"]
    if not _is_dns_1035(text):
        out.append(
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with "
            "an alphabetic "
            "character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex "
            "used for "
            f"validation is '{_DNS_1035}')"
        )
    return out


def check_path_segment(text: str) -> list[str]:
    """What is wrong with a name that only has to fit into a path (RBAC)."""
    if text in (".", ".."):
        return [f"may not be '{text}'"]
    return [f"may not contain '{char}'" for char in "/%" if char in text]


def check_label_key(key: str) -> list[str]:
    """What is wrong with a qualified name: the key of a label or an annotation."""
    prefix, slash, name = key.rpartition("/")
    out: list[str] = []
    if slash:
        if not prefix:
            out.append("prefix part must be non-empty")
        elif "/" in prefix:
            wrong = (
                "a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must "
                "start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', "
                f"regex used for validation is '{_NAME_PART}') with an optional DNS subdomain prefix and '/' "
                "(e.g. 'example.com/MyName')"
            )
            return [wrong]
        else:
            out += [f"prefix part {part}" for part in check_dns_subdomain(prefix)]
    if not name:
        out.append("name part must be non-empty")
    elif len(name) > 63:
        out.append("name part must be no more than 63 bytes")
    if not _is_name_part(name):
        out.append(
            "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and "
            "end with an "
            "alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for "
            "validation is "
            f"'{_NAME_PART}')"
        )
    return out


def check_label_value(value: str) -> list[str]:
    """What is wrong with the value of a label."""
    out = [] if len(value) <= 63 else ["must be no more than 63 bytes"]
    if not _is_label_value(value):
        out.append(
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' "
            "or '.', and must "
            "start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or "
            "'12345', regex used "
            f"for validation is '{_LABEL_VALUE}')"
        )
    return out


def check_labels(labels: Json, field: str) -> list[FieldError]:
    """What is wrong with a map of labels."""
    out = []
    for key, value in labels.items():
        out += [FieldError("FieldValueInvalid", field, wrong, key) for wrong in check_label_key(key)]
        out += [FieldError("FieldValueInvalid", field, wrong, value) for wrong in check_label_value(value)]
    return out


def check_name(info: ResourceInfo, name: str) -> list[str]:
    """What is wrong with the name of an object of a kind."""
    if info.is_builtin and info.storage_key in _LABEL_NAMED:
        return check_dns_label(name)
    if info.group in _PATH_NAMED_GROUPS:
        return check_path_segment(name)
    return check_dns_subdomain(name)


def check_metadata(info: ResourceInfo, metadata: Json) -> list[FieldError]:
    """What is wrong with an object's metadata."""
    out: list[FieldError] = []
    generate = metadata.get("generateName")
    if generate:
        # a generated name is cut to fit and continues the prefix, so a trailing dash is fine
        probe = generate[:-1] + "a" if generate.endswith("-") and len(generate) > 1 else generate
        out += [
            FieldError("FieldValueInvalid", "metadata.generateName", wrong, generate)
            for wrong in check_name(info, probe)
        ]
    name = metadata.get("name")
    if not name:
        out.append(FieldError("FieldValueRequired", "metadata.name", "name or generateName is required"))
    else:
        out += [
            FieldError("FieldValueInvalid", "metadata.name", wrong, name) for wrong in check_name(info, name)
        ]
    out += check_labels(metadata.get("labels") or {}, "metadata.labels")
    out += _check_annotations(metadata.get("annotations") or {})
    out += _check_owners(metadata.get("ownerReferences") or [])
    for index, finalizer in enumerate(metadata.get("finalizers") or []):
        if info.is_builtin and "/" not in finalizer and finalizer not in _STANDARD_FINALIZERS:
            wrong = "name is neither a standard finalizer name nor is it fully qualified"
            out.append(FieldError("FieldValueInvalid", f"metadata.finalizers[{index}]", wrong, finalizer))
        out += [
            FieldError("FieldValueInvalid", "metadata.finalizers", wrong, finalizer)
            for wrong in check_label_key(finalizer)
        ]
    return out


def _check_annotations(annotations: Json) -> list[FieldError]:
    out = []
    size = 0
    for key, value in annotations.items():
        out += [
            FieldError("FieldValueInvalid", "metadata.annotations", wrong, key)
            for wrong in check_label_key(key.lower())
        ]
        size += len(key.encode()) + len(value.encode())
    if size > _ANNOTATIONS_MAX_BYTES:
        out.append(
            FieldError(
                "FieldValueTooLong",
                "metadata.annotations",
                f"may not be more than {_ANNOTATIONS_MAX_BYTES} bytes",
            )
        )
    return out


def _check_owners(owners: list[Json]) -> list[FieldError]:
    out = []
    controllers = 0
    for owner in owners:
        if not owner.get("apiVersion"):
            out.append(
                FieldError(
                    "FieldValueInvalid",
                    "metadata.ownerReferences.apiVersion",
                    "version must not be empty",
                    "",
                )
            )
        for part in ("kind", "name", "uid"):
            if not owner.get(part):
                field = f"metadata.ownerReferences.{part}"
                wrong = "must not be empty"
                out.append(FieldError("FieldValueInvalid", field, wrong, ""))
        controllers += bool(owner.get("controller"))
    if controllers > 1:
        out.append(
            FieldError(
                "FieldValueInvalid",
                "metadata.ownerReferences",
                "Only one reference can have Controller set to true. Found more than one",
                owners,
            )
        )
    return out


def check_metadata_update(new: Json, old: Json) -> list[FieldError]:
    """What an update of metadata may not do; both are the metadata of the same name."""
    out: list[FieldError] = []
    if old.get("deletionTimestamp"):
        known = set(old.get("finalizers") or [])
        added = [f for f in new.get("finalizers") or [] if f not in known]
        if added:
            quoted = ", ".join(f'"{name}"' for name in added)
            out.append(
                FieldError(
                    "FieldValueForbidden",
                    "metadata.finalizers",
                    "no new finalizers can be added if the object is being deleted, found new finalizers "
                    f"[]string{{{quoted}}}",
                )
            )
    for part in ("name", "namespace", "uid", "creationTimestamp"):
        was, now = old.get(part), new.get(part)
        if was and now != was:
            out.append(FieldError("FieldValueInvalid", f"metadata.{part}", "field is immutable", now or ""))
    return out
