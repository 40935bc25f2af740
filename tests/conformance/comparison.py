"""What of two servers' answers must be alike, and where they differ.

Alike are: the status code; of a refusal its reason, its details and its causes without the texts; of an
object everything after normalisation, or the paths that the step names; of a watch the sequence of
events. Times, uids, versions, addresses and tokens are any value of their kind.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

PLACEHOLDERS = {
    **dict.fromkeys(
        (
            "acquireTime",
            "creationTimestamp",
            "deletionTimestamp",
            "eventTime",
            "expirationTimestamp",
            "firstTimestamp",
            "lastHeartbeatTime",
            "lastProbeTime",
            "lastTimestamp",
            "lastTransitionTime",
            "lastUpdateTime",
            "renewTime",
            "startTime",
            "time",
        ),
        "<time>",
    ),
    "clusterIP": "<address>",
    "continue": "<token>",
    "healthCheckNodePort": "<port>",
    "nodePort": "<port>",
    "pod-template-hash": "<hash>",
    "resourceVersion": "<version>",
    "selfLink": "<link>",
    "token": "<token>",
    "uid": "<uid>",
}
SHOWN_CHARACTERS = 120


def normalise(value: Any, key: str | None = None) -> Any:
    """The value with everything that no two servers share replaced by a placeholder."""
    if isinstance(value, dict):
        return {name: normalise(inner, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [normalise(inner, "clusterIP" if key == "clusterIPs" else None) for inner in value]
    # headless is written None, and that is not an address
    return PLACEHOLDERS[key] if key in PLACEHOLDERS and value and value != "None" else value


def pick(document: Any, path: str) -> Any:
    """What stands at a dotted path (list items by number, ~ for a dot in a key), or None."""
    for part in path.split(".") if path else ():
        if isinstance(document, dict):
            document = document.get(part.replace("~", "."))
        elif isinstance(document, list) and part.isdigit() and int(part) < len(document):
            document = document[int(part)]
        else:
            return None
    return document


def essence(answer: Mapping[str, Any], compared_paths: Sequence[str] | None) -> dict[str, Any]:
    """The part of an answer `{code, body | events | text}` that is compared."""
    kept: dict[str, Any] = {"code": answer["code"]}
    body = answer.get("body")
    if "events" in answer:
        return kept | {"events": [_event_essence(event, compared_paths) for event in answer["events"]]}
    if isinstance(body, dict) and (body.get("kind"), body.get("status")) == ("Status", "Failure"):
        details = body.get("details") or {}
        causes = [[cause.get("reason"), cause.get("field")] for cause in details.get("causes") or ()]
        return kept | {
            "reason": body.get("reason"),
            "details": {name: details[name] for name in ("name", "group", "kind") if details.get(name)},
            "causes": sorted(causes, key=str),
        }
    if compared_paths is not None:
        normal = normalise(body)
        return kept | {"fields": {path: pick(normal, path) for path in compared_paths}}
    if body is not None:
        kept["body"] = normalise(body)
    if "text" in answer:
        kept["text"] = answer["text"]
    return kept


def _event_essence(event: Mapping[str, Any], compared_paths: Sequence[str] | None) -> list[Any]:
    shown = normalise(event.get("object"))
    if event["type"] == "BOOKMARK":
        # servers send bookmarks of their own accord; what matters is the kind and the end-of-list mark
        shown = {"kind": shown.get("kind"), "annotations": pick(shown, "metadata.annotations")}
    elif compared_paths is not None:
        shown = {path: pick(shown, path) for path in compared_paths}
    return [event["type"], shown]


def differences(want: Any, got: Any, path: str = "") -> list[str]:
    """One line for each place where they differ, by path; empty when alike."""
    if type(want) is not type(got):
        return [f"{path or '.'}: want {_shorten(want)}, got {_shorten(got)}"]
    if isinstance(want, dict):
        found = []
        for name in sorted(want.keys() | got.keys()):
            if name not in got:
                found.append(f"{path}.{name}: missing, want {_shorten(want[name])}")
            elif name not in want:
                found.append(f"{path}.{name}: unexpected {_shorten(got[name])}")
            else:
                found += differences(want[name], got[name], f"{path}.{name}")
        return found
    if isinstance(want, list):
        found = [] if len(want) == len(got) else [f"{path}: want {len(want)} items, got {len(got)}"]
        for index, (one, other) in enumerate(zip(want, got, strict=False)):
            found += differences(one, other, f"{path}[{index}]")
        return found
    return [] if want == got else [f"{path or '.'}: want {_shorten(want)}, got {_shorten(got)}"]


def _shorten(value: Any) -> str:
    text = json.dumps(value, sort_keys=True)
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"
