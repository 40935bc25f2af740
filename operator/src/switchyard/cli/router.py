"""`switchyard router`: the data plane as a process of its own."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

import click

from switchyard.dataplane.options import PARAMETERS, RouterOptions, merge_router_options


def _run(**flags: Any) -> None:
    try:
        options = merge_router_options(flags, os.environ)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    _choose_runner()(_serve(options))


def _choose_runner() -> Any:
    """The quicker event loop where there is one."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run
    return uvloop.run


async def _serve(options: RouterOptions) -> None:
    from switchyard.dataplane.control.fleet import LoneWorker
    from switchyard.dataplane.router import RunningRouter, make_engine

    running = RunningRouter(options, LoneWorker(make_engine(options)))
    try:
        await running.start()
    except OSError as error:
        raise click.ClickException(
            f"can't listen on {options.host}:{options.port} or {options.admin_host}:{options.admin_port}: "
            f"{error.strerror or error}"
        ) from error
    click.echo(
        f"router listens on {options.host}:{running.port}, admin on {options.admin_host}:{running.admin_port}"
    )
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stop.set)
    await stop.wait()
    await running.stop(options.grace_seconds)


command = click.Command(
    "router",
    params=list(PARAMETERS),
    callback=_run,
    help="Carry users' requests to a baseline and a candidate: split by segment and weight, shadow a share, "
    "compare the answers, measure both. What to do stands in a routing document (docs/router.md), read from "
    "a file and from the admin port.",
)
