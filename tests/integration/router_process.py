"""A whole router around the stand-in engine, as a process: arguments are a release file, then the router's."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from pathlib import Path

from tests.integration.router_worker import FakeEngine

from switchyard.dataplane.control.fleet import LoneWorker
from switchyard.dataplane.control.service import RouterService, serve_until_signal
from switchyard.dataplane.control.supervisor import Supervisor
from switchyard.dataplane.options import parse_router_options


class _Ports(logging.Handler):
    """Tells the ports on standard output, as one line, when the router listens."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage() == "the router listens":
            ports = {"port": record.__dict__["port"], "admin": record.__dict__["admin_port"]}
            print(json.dumps(ports), flush=True)


async def main() -> int:
    release, *arguments = sys.argv[1:]
    options = parse_router_options(arguments, {})
    command = (sys.executable, str(Path(__file__).with_name("router_worker.py")), release)
    fleet = (
        LoneWorker(FakeEngine(options, Path(release)))
        if options.workers == 1
        else Supervisor(options, options.workers, command)
    )
    service = RouterService(options, fleet, render_samples=lambda *_: "", find_problems=lambda _: ())
    logging.basicConfig(level=logging.INFO, handlers=[_Ports()])
    return await serve_until_signal(service)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
