"""The router of one event loop: takes connections, knows the document in force, and keeps time."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal, Protocol
from urllib.parse import urlsplit

from switchyard.core.routing.document import Limits, RoutingDocument
from switchyard.core.routing.samples import Samples
from switchyard.dataplane.http.back import BackConnection, SmallReadConnection
from switchyard.dataplane.http.fields import build_refusal
from switchyard.dataplane.http.front import FrontConnection
from switchyard.dataplane.http.incoming import Incoming
from switchyard.dataplane.http.pool import BackPool
from switchyard.dataplane.http.ports import Handler
from switchyard.dataplane.judging import Judge
from switchyard.dataplane.measure import Measurements
from switchyard.dataplane.relay import Exchange
from switchyard.dataplane.shadow import ShadowPool

Arm = Literal["baseline", "candidate"]
_SLOWEST_TICK_SECONDS = 1.0
_TICKS_PER_TIMEOUT = 4


class _Pools:
    """Connection pools by URL and purpose; copies never share one with users."""

    def __init__(self) -> None:
        self._pools: dict[tuple[str, str], BackPool] = {}

    def get(self, purpose: str, url: str, connect_seconds: float) -> BackPool:
        pool = self._pools.get((purpose, url))
        if pool is None:
            parts = urlsplit(url)
            pool = BackPool(
                parts.hostname or "",
                parts.port or 80,
                connect_seconds=connect_seconds,
                make_connection=SmallReadConnection if purpose == "shadow" else BackConnection,
            )
            self._pools[purpose, url] = pool
        pool.connect_seconds = connect_seconds
        return pool

    def keep_only(self, urls: set[str]) -> None:
        for key in [key for key in self._pools if key[1] not in urls]:
            self._pools.pop(key).close()

    def sweep(self) -> None:
        for pool in self._pools.values():
            pool.sweep()

    def abort(self) -> None:
        for pool in self._pools.values():
            pool.abort()

    @property
    def open_connections(self) -> int:
        return sum(pool.open_connections for pool in self._pools.values())


class _Refusing:
    """Answers a request for which there is no document yet."""

    def __init__(self, connection: FrontConnection, incoming: Incoming) -> None:
        incoming.is_answering = True
        connection.write(build_refusal(503, "the router has no configuration yet", reason="unconfigured"))
        asyncio.get_running_loop().call_soon(lambda: connection.finish(incoming, keep=False))

    def request_body(self, data: bytes) -> None: ...
    def request_end(self) -> None: ...
    def caller_lost(self) -> None: ...
    def caller_full(self, *, is_full: bool) -> None: ...
    def caller_tunnel(self, data: bytes) -> None: ...


class EngineExchange(Handler, Protocol):
    """One request under way."""

    def start(self) -> None: ...
    def judge_age(self, now: float) -> None: ...
    def cut(self) -> None: ...


class RouterEngine:
    """Splits, shadows and measures. `configure` swaps the document whole; requests under way keep theirs."""

    def __init__(
        self,
        *,
        host: str,
        port: int,
        backlog: int = 2048,
        reuse_port: bool = False,
        make_exchange: Callable[[RouterEngine, FrontConnection, Incoming], EngineExchange] = Exchange,
    ) -> None:
        self._host, self._port = host, port
        self._backlog, self._reuse_port = backlog, reuse_port
        self._document: RoutingDocument | None = None
        self._server: asyncio.Server | None = None
        self._ticking: asyncio.Task[None] | None = None
        self._connections: set[FrontConnection] = set()
        self._make_exchange = make_exchange
        self._exchanges: set[EngineExchange] = set()
        self._pools = _Pools()
        self._limits = Limits()
        self.is_draining = False
        self.recorder = Measurements()
        self.judge = Judge()
        self.shadows = ShadowPool(self, self.recorder, self.judge)

    # -- life ------------------------------------------------------------------------------------

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self._port

    @property
    def open_connections(self) -> int:
        """Of callers."""
        return len(self._connections)

    @property
    def open_requests(self) -> int:
        """Of callers, not answered yet."""
        return len(self._exchanges)

    async def start(self) -> None:
        """Listen. OSError when the address can't be bound."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: FrontConnection(self),
            self._host,
            self._port,
            backlog=self._backlog,
            reuse_address=True,
            reuse_port=self._reuse_port or None,
            family=socket.AF_UNSPEC if ":" in self._host else socket.AF_INET,
        )
        self._port = self._server.sockets[0].getsockname()[1]
        self._ticking = loop.create_task(self._tick())

    def drain(self) -> None:
        """Say `Connection: close` from now on, while new connections are still taken."""
        self.is_draining = True

    async def stop(self, grace_seconds: float) -> None:
        """Take no new connection, let requests end for that long, then cut them off."""
        self.is_draining = True
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.close_when_idle()
        deadline = time.monotonic() + grace_seconds
        while self._connections and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
            for connection in list(self._connections):
                connection.close_when_idle()
        for exchange in list(self._exchanges):
            exchange.cut()
        for connection in list(self._connections):
            connection.abort()
        await self.shadows.stop()
        self._pools.abort()
        self.judge.close()
        if self._ticking is not None:
            self._ticking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._ticking

    async def _tick(self) -> None:
        while True:
            limits = self._limits
            shortest = min(
                limits.header_timeout_seconds,
                limits.idle_timeout_seconds,
                limits.first_byte_timeout_seconds,
                limits.keep_alive_seconds,
            )
            await asyncio.sleep(min(_SLOWEST_TICK_SECONDS, shortest / _TICKS_PER_TIMEOUT))
            now = time.monotonic()
            for exchange in list(self._exchanges):
                exchange.judge_age(now)
            for connection in list(self._connections):
                connection.judge_age(now)
            self._pools.sweep()

    # -- configuration ---------------------------------------------------------------------------

    def configure(self, document: RoutingDocument) -> None:
        """Use this document for every request from now on."""
        self.recorder.reconfigure(document)
        self.judge.prepare(document)
        self._document = document
        self._limits = document.limits
        urls = {document.arms.baseline.url}
        if document.arms.candidate is not None:
            urls.add(document.arms.candidate.url)
        self._pools.keep_only(urls)

    @property
    def document(self) -> RoutingDocument:
        """The one in force."""
        if self._document is None:
            raise LookupError("there is no routing document yet")
        return self._document

    @property
    def is_configured(self) -> bool:
        """Whether a document is in force."""
        return self._document is not None

    def samples(self) -> Samples:
        """All that was measured since the epoch began."""
        return self.recorder.snapshot(datetime.now(UTC))

    # -- what connections and requests ask for ---------------------------------------------------

    @property
    def limits(self) -> Limits:
        """Of the document in force, or the defaults."""
        return self._limits

    def open_handler(self, connection: FrontConnection, request: Incoming) -> Handler:
        if self._document is None:
            return _Refusing(connection, request)
        exchange = self._make_exchange(self, connection, request)
        self._exchanges.add(exchange)
        exchange.start()
        return exchange

    def connection_opened(self, connection: FrontConnection) -> bool:
        self._connections.add(connection)
        return len(self._connections) <= self._limits.max_connections

    def connection_closed(self, connection: FrontConnection) -> None:
        self._connections.discard(connection)

    def note_refused(self, status: int) -> None:
        self.recorder.record_refused(status)

    def exchange_ended(self, exchange: EngineExchange) -> None:
        self._exchanges.discard(exchange)

    def pool(self, document: RoutingDocument, arm: Arm) -> BackPool:
        return self._pool_of("users", document, arm)

    def shadow_pool(self, document: RoutingDocument, arm: Arm) -> BackPool:
        return self._pool_of("shadow", document, arm)

    def _pool_of(self, purpose: str, document: RoutingDocument, arm: Arm) -> BackPool:
        arms = document.arms
        chosen = arms.candidate if arm == "candidate" and arms.candidate is not None else arms.baseline
        return self._pools.get(purpose, chosen.url, document.limits.connect_timeout_seconds)
