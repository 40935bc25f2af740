"""Replays recorded requests, and says how the answers differ from a real server's.

A recording is one request of a group with the answer that it got. A group runs in order in its own
namespace; a value saved from one answer (`save`) fills `${name}` in later requests; a step with `wait`
is asked again until its condition holds, or for a while where it did not hold on the real server either.
Names that begin with _ only prepare what follows.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from e2e.providers import PlainHttp
from tests.conformance.comparison import differences, essence, pick

RECORDINGS = Path(__file__).parent / "recordings" / "recordings.jsonl"
ASK_AGAIN_SECONDS = 0.25
WATCH_PATIENCE_SECONDS = 15
# what the real server did not come to in all the time that it had is not waited for as long again
IN_VAIN_SECONDS = 3


@dataclass(frozen=True, slots=True)
class Recording:
    group: str
    step: Mapping[str, Any]
    answer: Mapping[str, Any]

    @property
    def is_compared(self) -> bool:
        return not self.step["name"].startswith("_")

    @property
    def level(self) -> str:
        return str(self.step.get("level", "must"))

    @property
    def title(self) -> str:
        return f"{self.step['name']}: {self.step['method']} {self.step['path']}"


def load(path: Path = RECORDINGS) -> dict[str, list[Recording]]:
    """The recordings by group, both in the order in which they were taken."""
    with path.open() as lines:
        recordings = [Recording(**json.loads(line)) for line in lines]
    return {name: list(members) for name, members in groupby(recordings, lambda recording: recording.group)}


def replay(http: PlainHttp, recordings: list[Recording]) -> Iterator[tuple[Recording, list[str]]]:
    """Each compared recording of one group with its differences, as it is replayed."""
    namespace = f"conf-{recordings[0].group}"
    saved: dict[str, Any] = {"ns": namespace}
    http.post(
        "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
    )
    for recording in recordings:
        answer = _ask_until(http, recording, saved)
        for name, path in recording.step.get("save", {}).items():
            if (value := pick(answer.get("body"), path)) is not None:
                saved[name] = value
        if recording.is_compared:
            paths = recording.step.get("compare")
            yield recording, differences(essence(recording.answer, paths), essence(answer, paths))


def _ask_until(http: PlainHttp, recording: Recording, saved: Mapping[str, Any]) -> dict[str, Any]:
    step = recording.step
    wait = step.get("wait")
    patience_seconds = (wait or {}).get("timeout", 0)
    if wait and not _holds(wait, recording.answer):
        patience_seconds = min(patience_seconds, IN_VAIN_SECONDS)
    deadline = time.monotonic() + patience_seconds
    answer = _ask(http, step, saved)
    while wait and not _holds(wait, answer) and time.monotonic() < deadline:
        time.sleep(ASK_AGAIN_SECONDS)
        answer = _ask(http, step, saved)
    return answer


def _ask(http: PlainHttp, step: Mapping[str, Any], saved: Mapping[str, Any]) -> dict[str, Any]:
    """The answer in the form of the recordings: code with body, events or text."""
    answer = http.call(
        step["method"],
        _fill(step["path"], saved),
        _fill(json.dumps(step["body"]), saved) if "body" in step else None,
        query={name: _fill(str(value), saved) for name, value in step.get("query", {}).items()},
        headers={name: _fill(value, saved) for name, value in step.get("headers", {}).items()},
        timeout_seconds=step.get("watch", 0) + WATCH_PATIENCE_SECONDS,
    )
    if answer.code == 0:
        return {"code": 0, "error": answer.text}
    if "watch" in step and answer.code == 200 and answer.events is not None:
        return {"code": 200, "events": answer.events}
    if answer.body is not None or not answer.text:
        return {"code": answer.code, "body": answer.body}
    return {"code": answer.code, "text": answer.text[:2000]}


def _holds(wait: Mapping[str, Any], answer: Mapping[str, Any]) -> bool:
    seen = pick(answer.get("body"), wait["path"]) if "path" in wait else None
    if "gone" in wait:
        return answer["code"] == 404
    if "equals" in wait:
        return bool(seen == wait["equals"])
    if "atleast" in wait:
        count = len(seen) if isinstance(seen, list) else seen
        return isinstance(count, int) and count >= wait["atleast"]
    return seen not in (None, [], "")


def _fill(text: str, saved: Mapping[str, Any]) -> str:
    return re.sub(r"\$\{(\w+)\}", lambda found: str(saved.get(found[1], found[0])), text)
