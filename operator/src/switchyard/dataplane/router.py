"""The router's parts put together: for the command, its worker processes, and the sandbox's event loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from switchyard.core.routing.document import RoutingDocument
from switchyard.dataplane.compare.registry import check_comparators
from switchyard.dataplane.control.fleet import LoneWorker, count_cpus
from switchyard.dataplane.control.service import RunningRouter
from switchyard.dataplane.control.supervisor import Supervisor
from switchyard.dataplane.engine import RouterEngine
from switchyard.dataplane.measure.exposition import render_metrics
from switchyard.dataplane.options import RouterOptions, parse_router_options
from switchyard.dataplane.relay import Exchange
from switchyard.dataplane.replay import MirrorExchange


def build_router(options: RouterOptions) -> RunningRouter:
    """A router with as many workers as the options say: one in this event loop, or several processes."""
    count = options.workers or count_cpus()
    fleet = LoneWorker(make_engine(options)) if count == 1 else Supervisor(options, count)
    return RunningRouter(options, fleet, render_samples=render_metrics, find_problems=_find_problems)


def make_engine(options: RouterOptions) -> RouterEngine:
    """The engine of one event loop. A worker process shares its port with the others."""
    return RouterEngine(
        host=options.host,
        port=options.port,
        backlog=options.backlog,
        reuse_port=options.worker_channel is not None,
        make_exchange=MirrorExchange if options.mode == "replay" else Exchange,
    )


async def start_router(
    args: Sequence[str], environment: Mapping[str, str], host: str, log: Callable[[str], None]
) -> RunningRouter:
    """A router in the caller's event loop, listening on `host` for traffic and administration.

    It has one worker whatever the options say. Raises ValueError for options that are not understood, OSError
    where a port can't be had.
    """
    options = replace(parse_router_options(args, environment), host=host, admin_host=host, workers=1)
    running = build_router(options)
    await running.start()
    log(f"router listens on {running.address}, admin on {running.admin_address}")
    return running


def _find_problems(document: RoutingDocument) -> Sequence[str]:
    return check_comparators(document.comparators)
