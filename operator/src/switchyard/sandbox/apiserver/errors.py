"""What the server answers when it refuses: Kubernetes Status objects, raised as exceptions.

ApiError
 ├─ field errors: `invalid(info, name, errors)` gives 422 with causes
 └─ the rest: one function per reason
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from switchyard.sandbox.apiserver.resources import Json, ResourceInfo

# Reason of a cause -> how its message begins (k8s.io/apimachinery, field/errors.go).
_PREFIXES = {
    "FieldValueRequired": "Required value",
    "FieldValueInvalid": "Invalid value",
    "FieldValueDuplicate": "Duplicate value",
    "FieldValueForbidden": "Forbidden",
    "FieldValueNotSupported": "Unsupported value",
    "FieldValueNotFound": "Not found",
    "FieldValueTooLong": "Too long",
    "FieldValueTooMany": "Too many",
    "FieldValueTypeInvalid": "Invalid value",
}
_WITHOUT_VALUE = {"FieldValueRequired", "FieldValueForbidden", "FieldValueTooLong"}
OMITTED = object()  # as a value: too large to show


@dataclass(frozen=True, slots=True)
class FieldError:
    """One reason why an object is invalid. `reason` is a cause's reason, such as FieldValueRequired."""

    reason: str
    field: str
    detail: str = ""
    value: Any = None

    @property
    def message(self) -> str:
        """The cause's message: `Invalid value: "x": must be …`."""
        prefix = _PREFIXES.get(self.reason, self.reason)
        if self.reason not in _WITHOUT_VALUE and self.value is not OMITTED:
            shown = self.value if isinstance(self.value, RawText) else orjson.dumps(self.value).decode()
            prefix = f"{prefix}: {shown}"
        return f"{prefix}: {self.detail}" if self.detail else prefix


class RawText(str):
    """A value shown as it is, without quotes."""

    __slots__ = ()


class ApiError(Exception):
    """A refusal with the Status that tells it."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        details: Json | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details
        self.headers = headers or {}

    def status(self) -> Json:
        """The Status object of the refusal."""
        body: Json = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
        }
        if not self.reason:
            del body["reason"]
        if self.details is not None:
            body["details"] = self.details
        body["code"] = self.code
        return body


def details_of(info: ResourceInfo, name: str = "", *, by_kind: bool = False) -> Json:
    """The `details` that name an object; `kind` is the plural, or the kind where a body was at fault."""
    out: Json = {"name": name} if name else {}
    if info.group:
        out["group"] = info.group
    out["kind"] = info.kind if by_kind else info.plural
    return out


def bad_request(message: str) -> ApiError:
    """400 BadRequest."""
    return ApiError(400, "BadRequest", message)


def unauthorized() -> ApiError:
    """401 Unauthorized."""
    return ApiError(401, "Unauthorized", "Unauthorized")


def forbidden(info: ResourceInfo | None, name: str, why: str) -> ApiError:
    """403 Forbidden for an object of a known resource; `why` completes the sentence."""
    if info is None:
        return ApiError(403, "Forbidden", f"forbidden: {why}", {})
    quoted = f' "{name}"' if name else ""
    return ApiError(
        403, "Forbidden", f"{info.qualified_plural}{quoted} is forbidden: {why}", details_of(info, name)
    )


def not_found(info: ResourceInfo, name: str) -> ApiError:
    """404 for an object that is not there."""
    return ApiError(404, "NotFound", f'{info.qualified_plural} "{name}" not found', details_of(info, name))


def no_such_path() -> ApiError:
    """404 for a resource that the server does not know."""
    return ApiError(404, "NotFound", "the server could not find the requested resource", {})


def already_exists(info: ResourceInfo, name: str) -> ApiError:
    """409 AlreadyExists."""
    return ApiError(
        409, "AlreadyExists", f'{info.qualified_plural} "{name}" already exists', details_of(info, name)
    )


def conflict(info: ResourceInfo, name: str, why: str) -> ApiError:
    """409 Conflict; `why` completes "Operation cannot be fulfilled on …"."""
    return ApiError(
        409,
        "Conflict",
        f'Operation cannot be fulfilled on {info.qualified_plural} "{name}": {why}',
        details_of(info, name),
    )


def expired(message: str) -> ApiError:
    """410 Expired: history before this point is gone."""
    return ApiError(410, "Expired", message)


def method_not_allowed(info: ResourceInfo | None = None) -> ApiError:
    """405 MethodNotAllowed."""
    details = {} if info is None else details_of(info)
    return ApiError(
        405, "MethodNotAllowed", "the server does not allow this method on the requested resource", details
    )


def too_many_requests(message: str, retry_after_seconds: int = 0, causes: Sequence[Json] = ()) -> ApiError:
    """429 TooManyRequests, as an eviction gets that a budget does not allow."""
    details: Json = {"causes": list(causes)} if causes else {}
    headers = {"Retry-After": str(retry_after_seconds)} if retry_after_seconds else {}
    return ApiError(429, "TooManyRequests", message, details, headers)


def invalid(info: ResourceInfo, name: str, errors: Sequence[FieldError]) -> ApiError:
    """422 Invalid with one cause per error."""
    lines = [f"{e.field}: {e.message}" for e in errors]
    told = lines[0] if len(lines) == 1 else "[" + ", ".join(lines) + "]"
    details = details_of(info, name, by_kind=True)
    details["causes"] = [{"reason": e.reason, "message": e.message, "field": e.field} for e in errors]
    return ApiError(422, "Invalid", f'{info.qualified_kind} "{name}" is invalid: {told}', details)
