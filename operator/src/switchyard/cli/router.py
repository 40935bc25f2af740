"""`switchyard router`: the data plane as a process of its own."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import sys
from typing import Any

import click

from switchyard.dataplane.options import PARAMETERS, RouterOptions, merge_router_options


def _run(**flags: Any) -> None:
    from switchyard.adapters.logs import configure_logging

    try:
        options = merge_router_options(flags, os.environ)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    configure_logging("json")
    logging.getLogger("switchyard").setLevel(options.log_level.upper())
    sys.exit(_choose_runner()(_serve(options)))


def _choose_runner() -> Any:
    """The quicker event loop where there is one."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run
    return uvloop.run


async def _serve(options: RouterOptions) -> int:
    from switchyard.dataplane.control.service import serve_until_signal
    from switchyard.dataplane.control.worker import run_worker
    from switchyard.dataplane.router import build_router, make_engine

    # what was imported stays: collections that look through it each time would hold requests up
    gc.collect()
    gc.freeze()
    if options.worker_channel is not None:
        return await run_worker(options, make_engine)
    running = build_router(options)
    try:
        return await serve_until_signal(running, options.grace_seconds, log=click.echo)
    except OSError as error:
        raise click.ClickException(
            f"can't listen on {options.host}:{options.port} or {options.admin_host}:{options.admin_port}: "
            f"{error.strerror or error}"
        ) from error


command = click.Command(
    "router",
    params=list(PARAMETERS),
    callback=_run,
    help="Carry users' requests to a baseline and a candidate: split by segment and weight, shadow a share, "
    "compare the answers, measure both. What to do stands in a routing document (docs/router.md), read from "
    "a file and from the admin port.",
)
