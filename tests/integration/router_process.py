"""A whole router around the stand-in engine, as a process: arguments are a release file, then the router's."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tests.integration.router_worker import FakeEngine

from switchyard.dataplane.control.fleet import LoneWorker
from switchyard.dataplane.control.service import RunningRouter, serve_until_signal
from switchyard.dataplane.control.supervisor import Supervisor
from switchyard.dataplane.options import parse_router_options


async def main() -> int:
    release, *arguments = sys.argv[1:]
    options = parse_router_options(arguments, {})
    command = (sys.executable, str(Path(__file__).with_name("router_worker.py")), release)
    fleet = (
        LoneWorker(FakeEngine(options, Path(release)))
        if options.workers == 1
        else Supervisor(options, options.workers, command)
    )
    router = RunningRouter(options, fleet, render_samples=lambda *_: "", find_problems=lambda _: ())
    return await serve_until_signal(router, options.grace_seconds, lambda line: print(line, flush=True))


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
