"""Field errors as the validation of built-in kinds words them, and the formats of names that they check.

Source: k8s.io/apimachinery/pkg/util/validation (names) and pkg/util/validation/field (errors).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from switchyard.sandbox.apiserver.errors import FieldError, RawText

Errors = Iterator[FieldError]

_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_DNS_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_QUALIFIED = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_CONFIG_KEY = re.compile(r"[-._a-zA-Z0-9]+")
_PORT_NAME = re.compile(r"(?=.*[a-z])[a-z0-9]+(-[a-z0-9]+)*")

DNS_LABEL_RULE = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start "
    "and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
LABEL_VALUE_RULE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must "
    "start and end with an alphanumeric character"
)
NAME_PART_RULE = "name part must consist of alphanumeric characters, '-', '_' or '.'"
CONFIG_KEY_RULE = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or "
    "'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
)


def required(field: str, detail: str = "") -> FieldError:
    """A value that is missing."""
    return FieldError("FieldValueRequired", field, detail)


def invalid(field: str, value: Any, detail: str) -> FieldError:
    """A value that breaks a rule."""
    return FieldError("FieldValueInvalid", field, detail, value)


def forbidden(field: str, detail: str) -> FieldError:
    """A value that must not be set here."""
    return FieldError("FieldValueForbidden", field, detail)


def duplicate(field: str, value: Any) -> FieldError:
    """A value that is there twice."""
    return FieldError("FieldValueDuplicate", field, "", value)


def not_found(field: str, value: Any) -> FieldError:
    """A name that refers to nothing."""
    return FieldError("FieldValueNotFound", field, "", value)


def not_supported(field: str, value: Any, allowed: Sequence[str]) -> FieldError:
    """A value outside the allowed ones."""
    told = ", ".join(f'"{choice}"' for choice in allowed)
    return FieldError("FieldValueNotSupported", field, f"supported values: {told}", value)


def too_long(field: str, most_bytes: int) -> FieldError:
    """A value of more bytes than may be stored."""
    return FieldError("FieldValueTooLong", field, f"may not be more than {most_bytes} bytes")


def one_of(field: str, value: Any, allowed: Sequence[str], *, is_required: bool = True) -> Errors:
    """Nothing when the value is one of those allowed."""
    if value in (None, ""):
        if is_required:
            yield required(field)
    elif value not in allowed:
        yield not_supported(field, value, allowed)


def immutable(field: str, new: Any, old: Any) -> Errors:
    """Nothing when the value is as it was."""
    if new != old:
        yield invalid(field, new, "field is immutable")


def non_negative(field: str, value: Any) -> Errors:
    """Nothing when the number is zero or more, or absent."""
    if isinstance(value, int) and value < 0:
        yield invalid(field, value, "must be greater than or equal to 0")


def dns_label(field: str, value: Any) -> Errors:
    """Nothing for a DNS label of at most 63 characters."""
    if not value:
        yield required(field)
    elif not _DNS_LABEL.fullmatch(str(value)):
        yield invalid(field, value, DNS_LABEL_RULE)
    elif len(str(value)) > 63:
        yield invalid(field, value, "must be no more than 63 characters")


def config_keys(field: str, data: Iterable[str]) -> Errors:
    """Nothing when every key may name an entry of a ConfigMap or Secret."""
    for key in data:
        if not _CONFIG_KEY.fullmatch(key):
            yield invalid(f"{field}[{key}]", key, CONFIG_KEY_RULE)
        elif len(key) > 253:
            yield invalid(f"{field}[{key}]", key, "must be no more than 253 characters")


def port_number(field: str, value: Any) -> Errors:
    """Nothing for a number from 1 to 65535."""
    if not isinstance(value, int) or not 1 <= value <= 65535:
        yield invalid(field, value, "must be between 1 and 65535, inclusive")


def port_name(field: str, value: str) -> Errors:
    """Nothing for an IANA service name of at most 15 characters."""
    if len(value) > 15:
        yield invalid(field, value, "must be no more than 15 characters")
    elif not _PORT_NAME.fullmatch(value):
        yield invalid(
            field,
            value,
            "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-), at least one letter, "
            "and no two hyphens in a row",
        )


def is_dns_subdomain(value: str) -> bool:
    """Whether the text is a DNS subdomain."""
    return len(value) <= 253 and bool(_DNS_SUBDOMAIN.fullmatch(value))


def is_qualified_name(value: str) -> bool:
    """Whether the text is a label key or resource name: `name` or `prefix/name`."""
    prefix, slash, name = value.rpartition("/")
    if slash and not is_dns_subdomain(prefix):
        return False
    return len(name) <= 63 and bool(_QUALIFIED.fullmatch(name))


def is_label_value(value: str) -> bool:
    """Whether the text may be the value of a label."""
    return value == "" or (len(value) <= 63 and bool(_QUALIFIED.fullmatch(value)))


def label_map(field: str, labels: Any) -> Errors:
    """Nothing when keys and values are those of labels."""
    for key, value in (labels or {}).items():
        if not is_qualified_name(key):
            yield invalid(field, key, NAME_PART_RULE)
        if not is_label_value(str(value)):
            yield invalid(
                field,
                value,
                LABEL_VALUE_RULE,
            )


def as_text(value: Any) -> RawText:
    """A value that a message shows without quotes."""
    return RawText(str(value))
