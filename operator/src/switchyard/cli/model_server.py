"""`switchyard model-server`: one simulated replica as a process of its own."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from typing import Any

import click

from switchyard.sandbox.modelserver.options import PARAMETERS, merge_options


def _run(**flags: Any) -> None:
    from switchyard.sandbox.modelserver.server import ModelServer

    try:
        options = merge_options(flags, os.environ)
    except ValueError as error:
        raise click.UsageError(str(error)) from error

    async def serve() -> int:
        stop = asyncio.Event()
        code = 0

        def die(exit_code: int, reason: str) -> None:
            nonlocal code
            code = exit_code
            print(reason, file=sys.stderr, flush=True)
            stop.set()

        server = ModelServer(
            options, name=socket.gethostname(), on_exit=die, log=lambda line: print(line, flush=True)
        )
        try:
            await server.start()
        except OSError as error:
            raise click.ClickException(f"can't listen on {options.host}:{options.port}: {error}") from error
        loop = asyncio.get_running_loop()
        for name in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(name, stop.set)
        await stop.wait()
        await server.stop(grace_seconds=0.0 if code else 20.0)
        return code

    sys.exit(asyncio.run(serve()))


command = click.Command(
    "model-server",
    params=list(PARAMETERS),
    callback=_run,
    help="Serve a simulated model over HTTP: OpenAI-style completions, chat and embeddings, plain JSON at "
    "/predict, vLLM-style /metrics. Latency follows the accelerator and the load; answers are invented but "
    "always the same for the same prompt.",
)
