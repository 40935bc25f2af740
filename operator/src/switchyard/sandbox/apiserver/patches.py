"""Patched copies of objects: JSON Patch (RFC 6902) and JSON Merge Patch (RFC 7386)."""

from __future__ import annotations

from typing import Any

import jsonpatch
import jsonpointer
import orjson

from switchyard.sandbox.apiserver.errors import ApiError, bad_request
from switchyard.sandbox.apiserver.resources import Json, ResourceInfo

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
_MAX_OPERATIONS = 10_000


def merge(target: Any, patch: Any) -> Any:
    """The target after a merge patch: maps merge, null removes, else it replaces. Shares what is kept."""
    if not isinstance(patch, dict):
        return patch
    out = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            out.pop(key, None)
        elif isinstance(value, dict):
            out[key] = merge(out.get(key), value)
        else:
            out[key] = value
    return out


def apply_operations(target: Json, operations: Any) -> Json:
    """The target after the operations of a JSON patch. Raises 400 for a bad patch, 422 for one that fails."""
    if not isinstance(operations, list):
        raise bad_request("json: cannot unmarshal object into Go value of type jsonpatch.Patch")
    if len(operations) > _MAX_OPERATIONS:
        raise ApiError(
            413,
            "RequestEntityTooLarge",
            f"The allowed maximum operations in a JSON patch is {_MAX_OPERATIONS}, got {len(operations)}",
        )
    try:
        patched = jsonpatch.apply_patch(target, operations)
    except jsonpatch.InvalidJsonPatch as error:
        raise bad_request(f"error decoding patch: {error}") from error
    except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException, TypeError, KeyError) as error:
        raise ApiError(
            422, "Invalid", f"the server rejected our request due to an error in our request: {error}", {}
        ) from error
    if not isinstance(patched, dict):
        raise bad_request("the patched object is not a map")
    return patched


def apply_json_body_patch(info: ResourceInfo, target: Json, raw: bytes, content_type: str) -> Json:
    """The target after a JSON or merge patch, by content type. Raises 400, 415 or 422."""
    media = content_type.partition(";")[0].strip()
    if media not in (JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH):
        raise unsupported(info, media)
    patch = parse(raw)
    if media == JSON_PATCH:
        return apply_operations(target, patch)
    if not isinstance(patch, dict):
        raise bad_request("json: cannot unmarshal array into Go value of type map[string]interface {}")
    merged: Json = merge(target, patch)
    return merged


def parse(raw: bytes) -> Any:
    """The patch in a body. Raises 400."""
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise bad_request(f"error decoding patch: {error}") from error


def unsupported(info: ResourceInfo, media: str) -> ApiError:
    """415 for a kind of patch that a resource does not take."""
    accepted = [JSON_PATCH, MERGE_PATCH, *([STRATEGIC_PATCH] if info.is_builtin else []), APPLY_PATCH]
    return ApiError(
        415,
        "UnsupportedMediaType",
        "the body of the request was in an unknown format - accepted media types include: "
        f"{', '.join(accepted)}" + (f" (got {media})" if media else ""),
    )
