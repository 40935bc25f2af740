"""The data path: listens, finds the rule of each request, and passes it on unbuffered in both directions.

    client ── listener ── rule ── backend ── endpoint
                            └── mirrors (copies, see mirroring.py)

The table is replaced as a whole; a request keeps the rule that it began with. Answers of its own: 404 no
rule, 500 no valid backend, 503 no endpoint, 502 no or a broken answer, 504 too late. A break after the
answer's head has gone to the client breaks the client's connection: half an answer must not look whole.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection
from functools import partial

import aiohttp
from aiohttp import web
from multidict import CIMultiDict

from switchyard.sandbox.gateway.counters import GatewayCounts
from switchyard.sandbox.gateway.forwarding import (
    Headers,
    change_headers,
    end_to_end,
    read_line,
    request_headers,
    target_path,
)
from switchyard.sandbox.gateway.mirroring import (
    BodyCopy,
    FindEndpoints,
    MirrorLimits,
    MirrorSender,
    Original,
    endpoint_url,
    open_session,
)
from switchyard.sandbox.gateway.table import Backend, Mirror, Rule, Table

Place = tuple[str, int]

_DRAIN_SECONDS = 10.0


class GatewayProxy:
    """Listeners on any number of addresses and ports, served from one table. `seed` makes draws repeat."""

    def __init__(
        self,
        find_endpoints: FindEndpoints,
        *,
        seed: int | None = None,
    ) -> None:
        self.table = Table()
        self.counts = GatewayCounts()
        self._find_endpoints = find_endpoints
        self._draws = random.Random(seed)  # noqa: S311  (spreads traffic, no secret)
        self._mirrors = MirrorSender(find_endpoints, self.counts, MirrorLimits())
        self._listeners: dict[Place, _Listener] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._session: aiohttp.ClientSession | None = None

    async def listen(self, places: Collection[Place]) -> dict[Place, OSError]:
        """Listen at these places and no others; what went wrong where. Requests in flight may finish."""
        for place in set(self._listeners) - set(places):
            task = asyncio.create_task(self._listeners.pop(place).stop(drain_seconds=_DRAIN_SECONDS))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
        errors: dict[Place, OSError] = {}
        for place in set(places) - set(self._listeners):
            listener = _Listener(partial(self._handle, place))
            try:
                await listener.start(place)
            except OSError as error:
                errors[place] = error
                await listener.stop()
            else:
                self._listeners[place] = listener
        return errors

    def limit_mirrors(self, limits: MirrorLimits) -> None:
        """Hold copies to other limits from now on."""
        self._mirrors.limits = limits

    async def close(self) -> None:
        """Stop everything at once."""
        for task in list(self._closing):
            task.cancel()
        listeners, self._listeners = list(self._listeners.values()), {}
        await asyncio.gather(
            *(listener.stop() for listener in listeners), *self._closing, return_exceptions=True
        )
        await self._mirrors.close()
        if self._session is not None:
            await self._session.close()

    # -- one request -----------------------------------------------------------------------------

    async def _handle(self, place: Place, request: web.BaseRequest) -> web.StreamResponse:
        path = target_path(request.raw_path)
        if not path.startswith("/"):
            return _answer(400, f"this gateway has no use for the request target {path!r}")
        rule = self.table.find(*place, read_line(request.method, request.raw_path, request.headers))
        if rule is None:
            self.counts.unmatched += 1
            return _answer(404, "no route takes this request")
        backend = rule.choose(self._draws.random())
        self.counts.note_request(rule.name, backend.name if backend else "")
        exchange = _Exchange(request, path, rule)
        try:
            async with asyncio.timeout(rule.request_timeout_seconds):
                response = await self._pass_on(exchange, backend)
        except TimeoutError:
            response = exchange.fail(504, "the route's time is up")
        except (aiohttp.ClientError, OSError) as error:
            response = exchange.fail(502, f"the backend broke off: {error}")
        self.counts.note_status(rule.name, 0 if exchange.is_broken else response.status)
        return response

    async def _pass_on(self, exchange: _Exchange, backend: Backend | None) -> web.StreamResponse:
        if backend is None:
            return _answer(500, "the route has no backend")
        if backend.target is None:
            return _answer(backend.status_without_target, f"the route's backend {backend.name} is not there")
        rule, request = exchange.rule, exchange.request
        headers = request_headers(
            request.headers,
            peer=request.remote or "",
            host=request.headers.get("Host", ""),
            changes=rule.request_changes,
        )
        mirrors = [m for m in rule.mirrors if self._draws.random() * m.denominator < m.numerator]
        body = self._start_body(exchange, headers, mirrors)
        change_headers(headers, backend.request_changes)  # for this backend alone, so not for copies
        endpoints = list(self._find_endpoints(backend.target))
        self._draws.shuffle(endpoints)
        self._session = self._session or open_session()
        async with asyncio.timeout(rule.backend_timeout_seconds):
            for endpoint in endpoints:
                try:
                    async with self._session.request(
                        request.method,
                        endpoint_url(endpoint, exchange.path),
                        headers=headers,
                        data=exchange.invite_body(body) if body is not None else None,
                        allow_redirects=False,
                    ) as answer:
                        return await exchange.relay(answer, backend)
                except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
                    continue  # nothing was sent yet, so the next endpoint may have it
        return _answer(503, f"no endpoint of {backend.name} takes connections")

    def _start_body(self, exchange: _Exchange, headers: Headers, mirrors: list[Mirror]) -> BodyCopy | None:
        """The body to send, None where there is none; copies go out as soon as it is complete."""
        original = Original(exchange.rule.name, exchange.request.method, exchange.path, CIMultiDict(headers))

        def send_copies(body: BodyCopy | None) -> None:
            for mirror in mirrors:
                if body is not None and body.is_oversized:
                    self._mirrors.skip(mirror, original.rule)
                else:
                    self._mirrors.send(mirror, original, body.data if body is not None else None)

        if not exchange.request.can_read_body:
            send_copies(None)
            return None
        limit_bytes = self._mirrors.limits.body_bytes if mirrors else 0
        return BodyCopy(exchange.request.content, limit_bytes, send_copies)


class _Listener:
    """One address and port."""

    def __init__(self, handle: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]) -> None:
        self._handle = handle
        self._in_flight = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._runner: web.ServerRunner | None = None
        self._site: web.TCPSite | None = None

    async def start(self, place: Place) -> None:
        """Listen. OSError when the place can't be had."""
        server = web.Server(self._serve, handler_cancellation=True, access_log=None)
        self._runner = web.ServerRunner(server, shutdown_timeout=0.05)
        await self._runner.setup()
        self._site = web.TCPSite(self._runner, *place, backlog=512)
        await self._site.start()

    async def stop(self, *, drain_seconds: float = 0.0) -> None:
        """Take no more connections, let requests in flight finish for a while, then cut them."""
        if self._site is not None and drain_seconds:
            await self._site.stop()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), drain_seconds)
        if self._runner is not None:
            await self._runner.cleanup()

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        self._in_flight += 1
        self._idle.clear()
        try:
            return await self._handle(request)
        finally:
            self._in_flight -= 1
            if not self._in_flight:
                self._idle.set()


class _Exchange:
    """A request and the answer to it as far as it has gone out."""

    def __init__(self, request: web.BaseRequest, path: str, rule: Rule) -> None:
        self.request = request
        self.path = path
        self.rule = rule
        self.is_broken = False
        self._response: web.StreamResponse | None = None

    async def invite_body(self, body: BodyCopy) -> AsyncGenerator[bytes, None]:
        """The body's chunks; a client that waits for it is told to go on (RFC 9110 section 10.1.1)."""
        if self.request.headers.get("Expect", "").lower() == "100-continue":
            await self.request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.request.writer.output_size = 0
        async with contextlib.aclosing(body.chunks()) as chunks:
            async for chunk in chunks:
                yield chunk

    async def relay(self, answer: aiohttp.ClientResponse, backend: Backend) -> web.StreamResponse:
        """The answer, passed to the client chunk by chunk."""
        headers = end_to_end(answer.headers)
        change_headers(headers, backend.response_changes)
        change_headers(headers, self.rule.response_changes)
        response = web.StreamResponse(status=answer.status, reason=answer.reason, headers=headers)
        self._response = response
        await response.prepare(self.request)
        async for chunk in answer.content.iter_any():
            await response.write(chunk)
        await response.write_eof()
        return response

    def fail(self, status: int, text: str) -> web.StreamResponse:
        """An answer that says so, or a broken connection where another one has begun."""
        if self._response is None:
            return _answer(status, text)
        self.is_broken = True
        if self.request.transport is not None:
            self.request.transport.abort()
        return self._response


def _answer(status: int, text: str) -> web.Response:
    return web.Response(status=status, text=f"{text}\n", headers={"X-Switchyard-Gateway": "sandbox"})
