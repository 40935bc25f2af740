"""Instant queries to one Prometheus server: the series of the answer, or in a few words why not."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import aiohttp

from switchyard.adapters.signals.bounded_http import Bounds, NoAnswer, fetch_json, open_session
from switchyard.engine.settings import MetricSource
from switchyard.engine.signals import STALE_SECONDS

BOUNDS = Bounds(timeout_seconds=10.0, most_bytes=16 * 1024 * 1024)
MOST_SERIES = 20_000
_QUERIES_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Series:
    """One series of an instant vector. `value` may be NaN: whoever asked judges."""

    labels: Mapping[str, str]
    value: float
    at_seconds: float


@dataclass
class Asker:
    """Asks one server as of one moment, a few queries at a time."""

    session: aiohttp.ClientSession
    source: MetricSource
    bounds: Bounds
    now: datetime
    free: asyncio.Semaphore

    async def ask(self, query: str) -> list[Series]:
        """The series of the answer; none when nothing matches. Raises NoAnswer."""
        async with self.free:
            document = await fetch_json(
                self.session,
                f"{self.source.url}/api/v1/query",
                self.bounds,
                form={"query": query, "time": f"{self.now.timestamp():.3f}"},
                token_file=self.source.token_file,
            )
        return _read_vector(document)


@asynccontextmanager
async def open_asker(source: MetricSource, bounds: Bounds, now: datetime) -> AsyncIterator[Asker]:
    """An asker for the queries of one look."""
    async with open_session(bounds, connections=_QUERIES_AT_ONCE) as session:
        yield Asker(session, source, bounds, now, asyncio.Semaphore(_QUERIES_AT_ONCE))


def _read_vector(document: Mapping[str, Any]) -> list[Series]:
    try:
        data = document["data"]
        if document["status"] != "success" or data["resultType"] not in ("vector", "scalar"):
            raise NoAnswer("an answer that is no instant vector")
        rows = data["result"]
        if data["resultType"] == "scalar":
            rows = [{"metric": {}, "value": rows}]
        if len(rows) > MOST_SERIES:
            raise NoAnswer(f"{len(rows)} series, more than {MOST_SERIES}")
        return [
            Series(
                {str(name): str(value) for name, value in row["metric"].items()},
                float(row["value"][1]),
                float(row["value"][0]),
            )
            for row in rows
        ]
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise NoAnswer("an answer that is no instant vector") from error


def read_single(series: Sequence[Series], now: datetime) -> float:
    """The value of the only series. Raises NoAnswer where there is none, or not one alone."""
    if len(series) != 1:
        raise NoAnswer(f"{len(series)} series where one is wanted" if series else "an empty answer")
    value = series[0].value
    if not is_usable(value):
        raise NoAnswer(f"the value {value}")
    if now.timestamp() - series[0].at_seconds > STALE_SECONDS:
        raise NoAnswer(f"a sample older than {STALE_SECONDS:.0f} s")
    return value


def is_usable(value: float) -> bool:
    """False for NaN and infinities: they pass every comparison the wrong way."""
    return math.isfinite(value)
