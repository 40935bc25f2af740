"""What somebody else needs to judge a cutover, without what is nobody's business. Pure but for the tar.

Left out: environment, arguments and commands of containers, values of header fields, annotations that are
not ours, passwords in addresses, and whatever is named like a secret.
"""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from switchyard.api import GROUP
from switchyard.cli.cutover_plan import read_plan
from switchyard.cli.cutover_report import describe_status, format_moment

SCHEMA = "switchyard.dev/cutover-report/v1"
REDACTED = "redacted"

_EMPTIED = frozenset({"env", "envFrom", "args", "command"})
_LEFT_OUT = frozenset({"managedFields", "selfLink"})
_SECRET = re.compile(
    r"passw(or)?d|secret|credential|api[-_]?key|private[-_]?key|authorization|^token$|(access|auth|bearer)[-_]?token",
    re.IGNORECASE,
)
_USER_IN_ADDRESS = re.compile(r"(?<=://)[^/\s@]+@")
_SECRET_IN_QUERY = re.compile(r"(?i)([?&][a-z_-]*(?:token|key|password|secret|signature)=)[^&\s\"']+")
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[a-z0-9._~+/=-]{8,}")


def build_bundle(
    plan: Mapping[str, Any],
    workload: Mapping[str, Any] | None,
    events: Iterable[Mapping[str, Any]],
    *,
    notes: Iterable[str],
    now: datetime,
) -> dict[str, Any]:
    """The redacted bundle. `notes`: what could not be read, and why."""
    return {
        "schema": SCHEMA,
        "madeAt": format_moment(now),
        "status": redact(describe_status(read_plan(plan))),
        "plan": redact(plan),
        "workload": redact(workload),
        "events": [redact(each) for each in events],
        "notes": list(notes),
    }


def redact(value: Any, name: str = "") -> Any:
    """The value without secrets."""
    if isinstance(value, Mapping):
        return {
            key: each
            for key, each in ((key, _redact_field(key, each, name)) for key, each in value.items())
            if each is not None or value[key] is None
        }
    if isinstance(value, list | tuple):
        return [redact(each, name) for each in value]
    if not isinstance(value, str):
        return value
    text = _USER_IN_ADDRESS.sub(f"{REDACTED}@", value)
    return _BEARER.sub(rf"\1 {REDACTED}", _SECRET_IN_QUERY.sub(rf"\1{REDACTED}", text))


def encode_bundle(bundle: Mapping[str, Any]) -> str:
    """The bundle as JSON."""
    return json.dumps(bundle, indent=2, ensure_ascii=False) + "\n"


def pack_bundle(bundle: Mapping[str, Any], directory: str, *, is_compressed: bool) -> bytes:
    """The bundle as a tar archive with one file per part."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz" if is_compressed else "w") as archive:
        for part in ("status", "plan", "workload", "events", "notes"):
            text = json.dumps(bundle[part], indent=2, ensure_ascii=False) + "\n"
            entry = tarfile.TarInfo(f"{directory}/{part}.json")
            content = text.encode()
            entry.size, entry.mode = len(content), 0o600
            archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def _redact_field(key: str, value: Any, parent: str) -> Any:
    """The value of a field; None for one that is left out."""
    if key in _LEFT_OUT:
        return None
    if key in _EMPTIED and isinstance(value, list):
        return f"{REDACTED} ({len(value)})"
    if key == "annotations" and isinstance(value, Mapping):
        ours = {name: each for name, each in value.items() if name.partition("/")[0].endswith(GROUP)}
        return redact(ours)
    if isinstance(value, str) and (
        _SECRET.search(key) or (parent in {"headers", "httpHeaders"} and key == "value")
    ):
        return REDACTED
    return redact(value, key)
