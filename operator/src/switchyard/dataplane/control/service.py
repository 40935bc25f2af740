"""A router as a whole: its workers, its configuration and its admin port, from the start to the drain."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Sequence

from switchyard.core.routing.document import Measure, RoutingDocument
from switchyard.core.routing.samples import Samples
from switchyard.dataplane.control.access import Access
from switchyard.dataplane.control.admin import AdminPort, AdminView
from switchyard.dataplane.control.config import ConfigHolder
from switchyard.dataplane.control.config_file import look_at_file, watch_file
from switchyard.dataplane.control.fleet import Fleet
from switchyard.dataplane.options import RouterOptions


class RunningRouter:
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
        self._is_draining = False
        self.holder = ConfigHolder(fleet.configure, find_problems)
        self._admin = AdminPort(
            AdminView(
                fleet,
                self.holder,
                Access(options.admin_token_sha256, options.admin_token_file),
                is_draining=lambda: self._is_draining,
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

    @property
    def address(self) -> str:
        """Host and port of traffic."""
        return f"{self._options.host}:{self.port}"

    @property
    def admin_address(self) -> str:
        """Host and port of the admin port."""
        return f"{self._options.admin_host}:{self.admin_port}"

    async def start(self) -> None:
        """Read the file, then listen. Raises OSError where a port can't be had."""
        path = self._options.config
        if path is not None:
            await look_at_file(self.holder, path, None)
        await self._fleet.start()
        try:
            await self._admin.start(self._options.admin_host, self._options.admin_port)
        except BaseException:
            await self._fleet.stop(0.0)
            raise
        if path is not None:
            self._watch = asyncio.create_task(watch_file(self.holder, path))

    async def stop(self, grace_seconds: float, hurry: asyncio.Event | None = None) -> None:
        """End without a failed request: first be not ready, then take no more, then let requests end.

        Connections are still taken for the drain delay, since the endpoints of a Service take time to reach
        every node. All of it takes the grace period at the most; `hurry`, when set, cuts the rest short.
        """
        hurry = hurry or asyncio.Event()
        deadline = asyncio.get_running_loop().time() + grace_seconds
        self._is_draining = True
        self._fleet.drain()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(self._options.drain_delay_seconds, grace_seconds)):
                await hurry.wait()
        if self._watch is not None:
            self._watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watch
        left_seconds = max(0.0, deadline - asyncio.get_running_loop().time())
        await _stop_or_hurry(self._fleet, left_seconds, hurry)
        await self._admin.stop()


async def _stop_or_hurry(fleet: Fleet, grace_seconds: float, hurry: asyncio.Event) -> None:
    stopping = asyncio.create_task(fleet.stop(grace_seconds))
    hurried = asyncio.create_task(hurry.wait())
    await asyncio.wait({stopping, hurried}, return_when=asyncio.FIRST_COMPLETED)
    hurried.cancel()
    if not stopping.done():
        stopping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await stopping
        await fleet.stop(0.0)
    else:
        await stopping


async def serve_until_signal(router: RunningRouter, grace_seconds: float, log: Callable[[str], None]) -> int:
    """The exit code after SIGTERM or SIGINT and the drain; a second signal cuts the drain short.

    `log` is told where the router listens. Raises OSError where a port can't be had.
    """
    loop = asyncio.get_running_loop()
    told, hurry = asyncio.Event(), asyncio.Event()

    def hear() -> None:
        if told.is_set():
            hurry.set()
        told.set()

    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, hear)
    await router.start()
    log(f"router listens on {router.address}, admin on {router.admin_address}")
    await told.wait()
    log("router drains")
    await router.stop(grace_seconds, hurry)
    return 0
