"""The admin port: probes and metrics for all, configuration and samples for the bearer of the token.

    GET /healthz      200 while the event loop turns
    GET /readyz       200 while a document is in force and every worker listens, 503 from the drain on
    GET /metrics      Prometheus' text format
    GET /v1/config    the version in force, per worker too, what became of the last documents, the document
    PUT /v1/config    a routing document; 200 once it is in force on every worker
    GET /v1/samples   a reading of all workers

A connection is good for one request and is cut after a while whatever it does, so that nobody holds one by
sending or reading slowly. Every refusal is {"error": "...", "problems": ["..."]}.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from switchyard.core.routing.document import Measure
from switchyard.core.routing.samples import Samples
from switchyard.dataplane.control.access import Access
from switchyard.dataplane.control.config import MAX_DOCUMENT_BYTES, PUSH, ConfigHolder, Outcome
from switchyard.dataplane.control.fleet import Fleet, SamplesMissing, find_lowest_version
from switchyard.dataplane.control.gauges import render_state

logger = logging.getLogger(__name__)

_STATUS = {
    Outcome.APPLIED: 200,
    Outcome.UNCHANGED: 200,
    Outcome.OLDER: 409,
    Outcome.CONTRADICTING: 409,
    Outcome.INVALID: 422,
    Outcome.UNCONFIRMED: 503,
}
_ERROR = {
    Outcome.OLDER: "a newer document is in force",
    Outcome.CONTRADICTING: "another document with this version is in force",
    Outcome.INVALID: "no router can follow this document; the last good one stays in force",
    Outcome.UNCONFIRMED: "the document is not in force on every worker yet; ask again with the same one",
}

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class AdminLimits:
    """What a caller may take."""

    body_bytes: int = MAX_DOCUMENT_BYTES
    body_seconds: float = 10.0
    connection_seconds: float = 30.0
    connections: int = 128


@dataclass(frozen=True, slots=True)
class AdminView:
    """What the port shows and changes. `render_samples`: a reading in Prometheus' text format."""

    fleet: Fleet
    holder: ConfigHolder
    access: Access
    is_draining: Callable[[], bool]
    render_samples: Callable[[Samples, Measure], str]


class AdminPort:
    """The server. `start` raises OSError where the address can't be had."""

    def __init__(self, view: AdminView, limits: AdminLimits = AdminLimits()) -> None:
        self._limits = limits
        self._runner = web.AppRunner(
            create_app(view, limits),
            access_log=None,
            auto_decompress=False,
            lingering_time=1.0,
            shutdown_timeout=1.0,
        )
        self._server: asyncio.Server | None = None
        self._sweep: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """The port that is listened on. Only after `start`."""
        if self._server is None:
            raise RuntimeError("the admin port has not been started")
        return int(self._server.sockets[0].getsockname()[1])

    async def start(self, host: str, port: int) -> None:
        """Listen; port 0 takes a free one."""
        await self._runner.setup()
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._accept, host, port)
        self._sweep = asyncio.create_task(self._cut_old_connections())

    async def stop(self) -> None:
        """Stop listening and end what is open."""
        if self._sweep is not None:
            self._sweep.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sweep
        if self._server is not None:
            self._server.close()
        await self._runner.cleanup()

    def _accept(self) -> asyncio.Protocol:
        server = self._runner.server
        if server is None or len(server.connections) >= self._limits.connections:
            return _Closed()
        return server()

    async def _cut_old_connections(self) -> None:
        loop = asyncio.get_running_loop()
        since: dict[web.RequestHandler, float] = {}
        while self._runner.server is not None:
            now = loop.time()
            since = {each: since.get(each, now) for each in self._runner.server.connections}
            for each, seen_at in since.items():
                if now - seen_at >= self._limits.connection_seconds and each.transport is not None:
                    each.transport.abort()
            await asyncio.sleep(self._limits.connection_seconds / 8)


class _Closed(asyncio.Protocol):
    """For connections above the limit."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


def create_app(view: AdminView, limits: AdminLimits) -> web.Application:
    """The endpoints."""

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="[+] loop: turns\n")

    async def readyz(_: web.Request) -> web.Response:
        checks = judge_readiness(view)
        text = "".join(f"[{'+' if is_ok else '-'}] {line}\n" for is_ok, line in checks)
        return web.Response(status=200 if all(is_ok for is_ok, _ in checks) else 503, text=text)

    async def metrics(_: web.Request) -> web.Response:
        document = view.holder.document
        measure = Measure() if document is None else document.measure
        try:
            text = view.render_samples(await view.fleet.read_samples(), measure)
            has_samples = True
        except SamplesMissing:
            text, has_samples = "", False
        state = render_state(
            view.holder, view.fleet.workers(), is_draining=view.is_draining(), has_samples=has_samples
        )
        headers = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        return web.Response(body=(state + text).encode(), headers=headers)

    async def show_config(_: web.Request) -> web.Response:
        return web.json_response(describe_config(view))

    async def put_config(request: web.Request) -> web.Response:
        try:
            async with asyncio.timeout(limits.body_seconds):
                text = await request.read()
        except TimeoutError:
            return refuse(408, f"the document did not arrive within {limits.body_seconds:g} s")
        report = await view.holder.take(text, PUSH)
        status = _STATUS[report.outcome]
        if status == 200:
            return web.json_response({"version": report.version})
        return refuse(status, _ERROR[report.outcome], report.problems)

    async def show_samples(_: web.Request) -> web.Response:
        try:
            samples = await view.fleet.read_samples()
        except SamplesMissing as missing:
            return refuse(503, str(missing))
        return web.Response(body=samples.encode(), content_type="application/json")

    app = web.Application(middlewares=[_answer_in_json], client_max_size=limits.body_bytes)
    app.add_routes(
        [
            web.get("/healthz", healthz),
            web.get("/readyz", readyz),
            web.get("/metrics", metrics),
            web.get("/v1/config", _only_for_bearers(view.access, show_config)),
            web.put("/v1/config", _only_for_bearers(view.access, put_config)),
            web.get("/v1/samples", _only_for_bearers(view.access, show_samples)),
        ]
    )
    return app


def judge_readiness(view: AdminView) -> list[tuple[bool, str]]:
    """What must hold for users' requests to be sent here, and how it is."""
    workers = view.fleet.workers()
    silent = [f"worker {each.name}: {each.problem}" for each in workers if not each.is_listening]
    version = find_lowest_version(workers)
    return [
        (not view.is_draining(), "drain: under way" if view.is_draining() else "drain: none"),
        (
            version is not None,
            f"document: {'not on every worker' if version is None else f'version {version}'}",
        ),
        (not silent, "; ".join(silent) or f"workers: {len(workers)} of {len(workers)} listen"),
    ]


def describe_config(view: AdminView) -> dict[str, Any]:
    """What is in force. `version`: on every worker, None while one has none; `taken`: on its way to all."""
    workers, holder = view.fleet.workers(), view.holder
    error = holder.last_error
    return {
        "version": find_lowest_version(workers),
        "taken": None if holder.document is None else holder.document.version,
        "isDraining": view.is_draining(),
        "workers": [
            {
                "name": each.name,
                "isListening": each.is_listening,
                "version": each.version,
                "restarts": each.restarts,
                "problem": each.problem,
            }
            for each in workers
        ],
        "lastError": None if error is None else error.to_json(),
        "reports": [report.to_json() for _, report in sorted(holder.reports.items())],
        "document": None if holder.document is None else json.loads(holder.document.encode()),
    }


def refuse(status: int, error: str, problems: tuple[str, ...] = ()) -> web.Response:
    """An answer that says why not."""
    return web.json_response({"error": error, "problems": list(problems)}, status=status)


@web.middleware
async def _answer_in_json(request: web.Request, handler: _Handler) -> web.StreamResponse:
    try:
        response = await handler(request)
    except web.HTTPRequestEntityTooLarge as error:
        response = refuse(413, error.text or error.reason)
    except web.HTTPException as error:
        response = refuse(error.status, f"{request.method} {request.path[:100]}: {error.reason}")
        if "Allow" in error.headers:
            response.headers["Allow"] = error.headers["Allow"]
    except Exception:
        logger.exception("the admin port failed to answer", extra={"path": request.path[:100]})
        response = refuse(500, "the router failed to answer; its log says why")
    response.force_close()
    return response


def _only_for_bearers(access: Access, handler: _Handler) -> _Handler:
    async def judge(request: web.Request) -> web.StreamResponse:
        refused = await access.judge(request.headers.get("Authorization"))
        if refused is None:
            return await handler(request)
        response = refuse(refused.status, refused.reason)
        if refused.challenge:
            response.headers["WWW-Authenticate"] = refused.challenge
        return response

    return judge
