"""A router as a whole: its workers, its configuration and its admin port, from the start to the drain."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Callable, Sequence

from switchyard.core.routing.document import Measure, RoutingDocument
from switchyard.core.routing.samples import Samples
from switchyard.dataplane.control.access import Access
from switchyard.dataplane.control.admin import AdminPort, AdminView
from switchyard.dataplane.control.config import ConfigHolder
from switchyard.dataplane.control.config_file import look_at_file, watch_file
from switchyard.dataplane.control.fleet import EngineFactory, Fleet, LoneWorker, count_cpus
from switchyard.dataplane.control.supervisor import Supervisor
from switchyard.dataplane.options import RouterOptions

logger = logging.getLogger(__name__)


def build_fleet(options: RouterOptions, make_engine: EngineFactory) -> Fleet:
    """The workers that the options ask for: one in this event loop, or several processes."""
    count = options.workers or count_cpus()
    return LoneWorker(make_engine(options)) if count == 1 else Supervisor(options, count)


class RouterService:
    """What the command runs, and the sandbox runs within its own event loop.

    `render_samples`: a reading in Prometheus' text format. `find_problems`: what is wrong with a document
    beyond its form.
    """

    def __init__(
        self,
        options: RouterOptions,
        fleet: Fleet,
        *,
        render_samples: Callable[[Samples, Measure], str],
        find_problems: Callable[[RoutingDocument], Sequence[str]],
    ) -> None:
        self._options = options
        self._fleet = fleet
        self._watch: asyncio.Task[None] | None = None
        self.is_draining = False
        self.holder = ConfigHolder(fleet.configure, find_problems)
        self._admin = AdminPort(
            AdminView(
                fleet,
                self.holder,
                Access(options.admin_token_sha256, options.admin_token_file),
                is_draining=lambda: self.is_draining,
                render_samples=render_samples,
            )
        )

    @property
    def port(self) -> int:
        """Of traffic."""
        return self._fleet.port

    @property
    def admin_port(self) -> int:
        """Of probes, metrics and configuration."""
        return self._admin.port

    async def start(self) -> None:
        """Read the file, then listen. Raises OSError where a port can't be had."""
        path = self._options.config
        if path is not None:
            await look_at_file(self.holder, path, None)
        try:
            await self._fleet.start()
            await self._admin.start(self._options.admin_host, self._options.admin_port)
        except BaseException:
            await self.stop(0.0)
            raise
        if path is not None:
            self._watch = asyncio.create_task(watch_file(self.holder, path))
        logger.info("the router listens", extra={"port": self.port, "admin_port": self.admin_port})

    async def drain(self, hurry: asyncio.Event | None = None) -> None:
        """End without a failed request: first be not ready, then take no more, then let requests end.

        Connections are still taken for a while, since the endpoints of a Service take time to reach every
        node. `hurry`, when set, cuts the rest short.
        """
        self.is_draining = True
        self._fleet.drain()
        logger.info("the router drains", extra={"drain_delay_seconds": self._options.drain_delay_seconds})
        hurry = hurry or asyncio.Event()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._options.drain_delay_seconds):
                await hurry.wait()
        stopping = asyncio.create_task(self._fleet.stop(self._options.grace_seconds))
        hurried = asyncio.create_task(hurry.wait())
        await asyncio.wait({stopping, hurried}, return_when=asyncio.FIRST_COMPLETED)
        hurried.cancel()
        if not stopping.done():
            stopping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await stopping
        await self.stop(0.0)

    async def stop(self, grace_seconds: float) -> None:
        """End at once, or after the grace period at the latest."""
        self.is_draining = True
        if self._watch is not None:
            self._watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watch
            self._watch = None
        await self._fleet.stop(grace_seconds)
        await self._admin.stop()


async def serve_until_signal(service: RouterService) -> int:
    """The exit code after SIGTERM or SIGINT and the drain; a second signal cuts the drain short."""
    loop = asyncio.get_running_loop()
    told, hurry = asyncio.Event(), asyncio.Event()

    def hear() -> None:
        if told.is_set():
            hurry.set()
        told.set()

    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, hear)
    await service.start()
    await told.wait()
    await service.drain(hurry)
    return 0
