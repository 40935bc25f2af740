"""Copies of requests, sent beside the users' path: bounded in number, size and time, answers thrown away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from switchyard.sandbox.gateway.counters import GatewayCounts
from switchyard.sandbox.gateway.forwarding import Headers, shadow_host
from switchyard.sandbox.gateway.table import Mirror, Target

Endpoint = tuple[str, int]
FindEndpoints = Callable[[Target], Sequence[Endpoint]]


@dataclass(frozen=True, slots=True)
class MirrorLimits:
    """Copies in flight at the same time, bytes of a body that is copied, seconds that one may take."""

    in_flight: int = 256
    body_bytes: int = 1 << 20
    seconds: float = 30.0


@dataclass(frozen=True, slots=True)
class Original:
    """The request that is copied, as it goes to the backend."""

    rule: str
    method: str
    path: str
    headers: Headers


class BodyCopy:
    """A request body that passes through, and is kept up to a size."""

    def __init__(
        self, content: aiohttp.StreamReader, limit_bytes: int, on_end: Callable[[BodyCopy], None]
    ) -> None:
        self._content = content
        self._limit_bytes = limit_bytes
        self._on_end = on_end
        self._chunks: list[bytes] = []
        self._size_bytes = 0

    @property
    def is_oversized(self) -> bool:
        """Whether the body is larger than what is kept."""
        return self._size_bytes > self._limit_bytes

    @property
    def data(self) -> bytes:
        """The whole body; of an oversized one nothing."""
        return b"".join(self._chunks)

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The body as it comes in; at its end `on_end` is told."""
        async for chunk in self._content.iter_any():
            self._size_bytes += len(chunk)
            if self.is_oversized:
                self._chunks.clear()
            else:
                self._chunks.append(chunk)
            yield chunk
        self._on_end(self)


class MirrorSender:
    """Sends copies and forgets their answers."""

    def __init__(self, find_endpoints: FindEndpoints, counts: GatewayCounts, limits: MirrorLimits) -> None:
        self._find_endpoints = find_endpoints
        self._counts = counts
        self._tasks: set[asyncio.Task[None]] = set()
        self._session: aiohttp.ClientSession | None = None
        self.limits = limits

    def send(self, mirror: Mirror, original: Original, body: bytes | None) -> None:
        """Send a copy by and by, or drop it when too many are on their way."""
        if len(self._tasks) >= self.limits.in_flight:
            self._counts.note_mirror(original.rule, mirror.target.name, "dropped")
            return
        task = asyncio.create_task(self._send(mirror, original, body))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def skip(self, mirror: Mirror, rule: str) -> None:
        """Count a copy that can't be made because the body is too large."""
        self._counts.note_mirror(rule, mirror.target.name, "oversized")

    async def close(self) -> None:
        """Cut what is in flight."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    async def _send(self, mirror: Mirror, original: Original, body: bytes | None) -> None:
        name = mirror.target.name
        self._counts.note_mirror(original.rule, name, "sent")
        headers: Headers = CIMultiDict(original.headers)
        headers["Host"] = shadow_host(headers["Host"], mirror.host_suffix)
        self._session = self._session or open_session()
        try:
            async with asyncio.timeout(self.limits.seconds):
                endpoint = next(iter(self._find_endpoints(mirror.target)), None)
                if endpoint is None:
                    raise ConnectionError("no endpoint")
                async with self._session.request(
                    original.method,
                    endpoint_url(endpoint, original.path),
                    headers=headers,
                    data=body,
                    allow_redirects=False,
                ) as answer:
                    async for _ in answer.content.iter_any():
                        pass
        except (aiohttp.ClientError, OSError, TimeoutError):
            self._counts.note_mirror(original.rule, name, "failed")
        else:
            self._counts.note_mirror(original.rule, name, "answered")


def open_session() -> aiohttp.ClientSession:
    """A client that adds nothing to a message and takes nothing from it.

    Each request has a connection of its own: a kept one that its server closes at this moment would fail a
    request that can't be repeated.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, force_close=True),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=2.0),
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        trust_env=False,
    )


def endpoint_url(endpoint: Endpoint, path: str) -> URL:
    """The URL of a path at an endpoint, the path byte for byte as it was sent."""
    return URL(f"http://{endpoint[0]}:{endpoint[1]}{path}", encoded=True)
