"""Asks each metric source now and then whether it answers. What they measure is asked elsewhere."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from switchyard.engine.settings import MetricSource

logger = logging.getLogger(__name__)

PROBE_INTERVAL_SECONDS = 30.0
PROBE_TIMEOUT_SECONDS = 10.0
# constants: no text from anywhere becomes part of a query
_PROBE_PATHS = {"prometheus": "/api/v1/query?query=vector(1)", "opencost": "/metrics"}


async def probe(session: aiohttp.ClientSession, source: MetricSource) -> str:
    """Empty when the source answers, else why not. Never the body: it could be anything."""
    headers = {}
    try:
        if source.token_file:
            token = await asyncio.to_thread(Path(source.token_file).read_text)
            headers["Authorization"] = f"Bearer {token.strip()}"
        async with session.get(
            source.url + _PROBE_PATHS[source.type], headers=headers, allow_redirects=False
        ) as response:
            return "" if response.status == 200 else f"HTTP {response.status}"
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        return type(error).__name__


@dataclass
class MetricSourceProbe:
    sources: Sequence[MetricSource]
    on_result: Callable[[str, bool], None]
    interval_seconds: float = PROBE_INTERVAL_SECONDS
    _problems: dict[str, str] = field(default_factory=dict)

    async def run(self) -> None:
        """Probe for ever. The session knows no credentials of the cluster and no proxies."""
        timeout = aiohttp.ClientTimeout(total=PROBE_TIMEOUT_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout, trust_env=False) as session:
            while True:
                await asyncio.gather(*(self._probe_one(session, source) for source in self.sources))
                await asyncio.sleep(self.interval_seconds)

    async def _probe_one(self, session: aiohttp.ClientSession, source: MetricSource) -> None:
        problem = await probe(session, source)
        if problem != self._problems.get(source.name):
            log = logger.warning if problem else logger.info
            log(
                "a metric source does not answer" if problem else "a metric source answers",
                extra={"source": source.name, **({"problem": problem} if problem else {})},
            )
        self._problems[source.name] = problem
        self.on_result(source.name, not problem)
