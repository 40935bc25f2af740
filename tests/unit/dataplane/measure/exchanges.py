"""Documents, requests and answers to measure, with defaults for what a test does not speak of."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime

from switchyard.core.routing.document import RoutingDocument
from switchyard.dataplane.exchange import Answer, Body, Request, Timing
from switchyard.dataplane.measure import Measurements

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def make_document(*names: str, version: int = 1, **fields) -> RoutingDocument:
    segments = [{"name": name, "match": {"pathPrefix": f"/{name}"}} for name in names]
    return RoutingDocument.model_validate(
        {
            "version": version,
            "arms": {"baseline": {"url": "http://old:80"}, "candidate": {"url": "http://new:80"}},
            "segments": [*segments, {"name": "default"}],
            **fields,
        }
    )


def make_measurements(document: RoutingDocument | None = None) -> Measurements:
    """Measurements whose epochs are 1, 2, 3 and so on."""
    numbers = itertools.count(1)
    return Measurements(document or make_document(), lambda: f"{next(numbers):016x}")


def ask(input_tokens: int = 10) -> Request:
    return Request("POST", "/v1/completions", (), "id", input_tokens=input_tokens)


def answer(
    latency_seconds: float = 0.1,
    ttft_seconds: float | None = None,
    tpot_seconds: float | None = None,
    output_tokens: int | None = 10,
    *,
    failure: str = "",
    length: int = 0,
) -> Answer:
    timing = Timing(latency_seconds, ttft_seconds, tpot_seconds, output_tokens)
    return Answer(200, {}, Body(length=length), failure, timing)
