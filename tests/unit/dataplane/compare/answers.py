"""Answers and comparators as tests write them down."""

from __future__ import annotations

import json
from typing import Any

from switchyard.core.routing.document import Comparator as ComparatorRequest
from switchyard.dataplane.compare.port import Comparator
from switchyard.dataplane.compare.registry import build_comparators
from switchyard.dataplane.exchange import Answer, BodyTap, Failure

KEPT_BYTES = 1 << 20


def comparator(kind: str, **options: Any) -> Comparator:
    return build_comparators([ComparatorRequest(type=kind, options=options)])[0]


def answer(
    content: Any = b"",
    *,
    status: int = 200,
    failure: Failure = "",
    kept_bytes: int = KEPT_BYTES,
    **headers: str,
) -> Answer:
    """An answer with bytes, or with the JSON of anything else."""
    tap = BodyTap(kept_bytes)
    tap.feed(content if isinstance(content, bytes) else json.dumps(content).encode())
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status=status, headers=named, body=tap.close(), failure=failure)


def events(*chunks: Any, line_end: str = "\n") -> bytes:
    """A stream of events: strings as they are, the rest as JSON."""
    lines = [chunk if isinstance(chunk, str) else json.dumps(chunk) for chunk in chunks]
    return "".join(f"data: {line}{line_end}{line_end}" for line in lines).encode()


def chunk(text: str | None = None, finish: str | None = None, index: int = 0) -> dict[str, Any]:
    """A chunk of a streamed chat completion."""
    delta = {} if text is None else {"content": text}
    return {"id": "c-1", "choices": [{"index": index, "delta": delta, "finish_reason": finish}]}


def completion(text: str, finish: str = "stop") -> dict[str, Any]:
    """A whole completion."""
    return {"id": "c-2", "choices": [{"index": 0, "text": text, "finish_reason": finish}]}
