"""A stand-in for the router's engine, and a worker process around it: what tests of the supervisor start.

GET /        who answers: {"pid": …, "version": …}
GET /hang    blocks the event loop for good
GET /stream  says "first", then every 20 ms "more", and "last" once a file with that name appears; X-Pid tells who
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import sys
import time
from pathlib import Path

from aiohttp import web

from switchyard.core.routing.document import RoutingDocument
from switchyard.core.routing.samples import ArmSamples, Counts, Samples, SegmentSamples
from switchyard.dataplane.options import RouterOptions, parse_router_options


class FakeEngine:
    """Counts requests and says which document it has."""

    def __init__(self, options: RouterOptions, release: Path | None = None) -> None:
        self._options = options
        self._release = release
        self._runner: web.AppRunner | None = None
        self._site: web.TCPSite | None = None
        self._epoch = secrets.token_hex(8)
        self.document: RoutingDocument | None = None
        self.requests = 0
        self.is_draining = False
        self.port = options.port

    def configure(self, document: RoutingDocument) -> None:
        if document.workload == "unbearable":
            raise ValueError("can't bear it")
        self.document = document

    def samples(self) -> Samples:
        arm = ArmSamples({"p0o0": Counts(requests=self.requests)})
        segment = SegmentSamples(started={"baseline": self.requests}, arms={"baseline": arm})
        version = None if self.document is None else self.document.version
        return Samples(self._epoch, version, None, {"default": segment})

    async def start(self) -> None:
        app = web.Application()
        app.add_routes(
            [
                web.get("/", self._answer),
                web.get("/hang", self._hang),
                web.get("/stream", self._stream),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=self._options.grace_seconds)
        await self._runner.setup()
        options = self._options
        is_shared = options.worker_channel is not None
        self._site = web.TCPSite(self._runner, options.host, options.port, reuse_port=is_shared)
        await self._site.start()
        self.port = self._runner.addresses[0][1]

    def drain(self) -> None:
        self.is_draining = True

    async def stop(self, grace_seconds: float) -> None:
        if self._site is not None:
            with contextlib.suppress(RuntimeError):
                await self._site.stop()
        if self._runner is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace_seconds):
                    await self._runner.cleanup()

    async def _answer(self, _: web.Request) -> web.Response:
        self.requests += 1
        version = None if self.document is None else self.document.version
        response = web.json_response({"pid": os.getpid(), "version": version})
        response.force_close()  # so that each request may reach another worker
        return response

    async def _hang(self, _: web.Request) -> web.Response:
        time.sleep(3600)  # noqa: ASYNC251 - the loop is to hang
        return web.Response()

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"X-Pid": str(os.getpid())})
        await response.prepare(request)
        await response.write(b"first\n")
        while self._release is not None and not self._release.exists():
            await asyncio.sleep(0.02)
            await response.write(b"more\n")
        await response.write(b"last\n")
        return response


def main() -> None:
    """The process: first argument a file whose appearance ends streams, then what the supervisor gives."""
    from switchyard.dataplane.control.worker import run_worker

    release, *arguments = sys.argv[1:]
    options = parse_router_options(arguments, {})
    if (Path(release).parent / "broken").exists():
        sys.exit(3)
    print(json.dumps({"pid": os.getpid()}), file=sys.stderr, flush=True)
    sys.exit(asyncio.run(run_worker(options, lambda given: FakeEngine(given, Path(release)))))


if __name__ == "__main__":
    main()
