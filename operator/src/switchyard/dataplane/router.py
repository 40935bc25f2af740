"""A router put together: engine or workers, configuration from file and admin port, start and drain."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from switchyard.core.routing.document import Measure, RoutingDocument
from switchyard.core.routing.samples import Samples
from switchyard.dataplane.compare.registry import check_comparators
from switchyard.dataplane.control.access import Access
from switchyard.dataplane.control.admin import AdminPort, AdminView
from switchyard.dataplane.control.config import ConfigHolder
from switchyard.dataplane.control.config_file import look_at_file, watch_file
from switchyard.dataplane.control.fleet import Fleet, LoneWorker
from switchyard.dataplane.engine import RouterEngine
from switchyard.dataplane.measure.exposition import render_metrics
from switchyard.dataplane.options import RouterOptions, parse_router_options


class RunningRouter:
    """A router that listens. Made by `start`."""

    def __init__(self, options: RouterOptions, fleet: Fleet) -> None:
        self._options = options
        self._fleet = fleet
        self._is_draining = False
        self._holder = ConfigHolder(fleet.configure, _find_problems)
        access = Access(options.admin_token_sha256, options.admin_token_file)
        self._admin = AdminPort(
            AdminView(fleet, self._holder, access, lambda: self._is_draining, self._render_samples)
        )
        self._watching: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """The port for traffic."""
        return self._fleet.port

    @property
    def admin_port(self) -> int:
        """The port of probes, metrics and configuration."""
        return self._admin.port

    async def start(self) -> None:
        """Listen, with the document of the file in force if there is a good one. Raises OSError."""
        config = self._options.config
        if config is not None:
            await look_at_file(self._holder, config, None)
        await self._fleet.start()
        try:
            await self._admin.start(self._options.admin_host, self._options.admin_port)
        except OSError:
            await self._fleet.stop(0.0)
            raise
        if config is not None:
            self._watching = asyncio.create_task(watch_file(self._holder, config))

    async def stop(self, grace_seconds: float) -> None:
        """Say that no more should come, wait until all have heard, then drain and end.

        The grace period counts from the call; the drain delay is part of it.
        """
        deadline = time.monotonic() + grace_seconds
        self._is_draining = True
        if self._watching is not None:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching
        await asyncio.sleep(min(self._options.drain_delay_seconds, grace_seconds))
        await self._fleet.stop(max(0.0, deadline - time.monotonic()))
        await self._admin.stop()

    def _render_samples(self, samples: Samples) -> str:
        document = self._holder.document
        return render_metrics(samples, document.measure if document is not None else Measure())


def _find_problems(document: RoutingDocument) -> Sequence[str]:
    return check_comparators(document.comparators)


def make_engine(options: RouterOptions, *, reuse_port: bool = False) -> RouterEngine:
    """The engine of one event loop."""
    return RouterEngine(host=options.host, port=options.port, backlog=options.backlog, reuse_port=reuse_port)


async def start_router(
    args: Sequence[str], environment: Mapping[str, str], host: str, log: Callable[[str], None]
) -> RunningRouter:
    """A router in the caller's event loop, listening on `host` for traffic and administration.

    It has one worker whatever the options say. Raises ValueError for options that are not understood, OSError
    where a port can't be had.
    """
    options = replace(parse_router_options(args, environment), host=host, admin_host=host)
    running = RunningRouter(options, LoneWorker(make_engine(options)))
    await running.start()
    log(f"router listens on {host}:{running.port}, admin on {host}:{running.admin_port}")
    return running
