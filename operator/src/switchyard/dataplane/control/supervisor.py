"""Several workers on one port: each a process of its own, the kernel spreads connections over them.

The supervisor carries no traffic. It holds the document that all should have and the counts of workers that
died, and it is the only one that outside callers speak to.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import reduce

from switchyard.core.routing.document import RoutingDocument
from switchyard.core.routing.samples import Samples, add_samples
from switchyard.dataplane.control.fleet import NotConfirmed, WorkerState, find_lowest_version
from switchyard.dataplane.control.lives import close_life
from switchyard.dataplane.control.worker_process import Patience, WorkerProcess
from switchyard.dataplane.measure.layout import means_the_same
from switchyard.dataplane.options import RouterOptions

COMMAND = (sys.executable, "-m", "switchyard", "router")
_DEFAULT_PATIENCE = Patience()


class Supervisor:
    """A fleet of processes."""

    def __init__(
        self,
        options: RouterOptions,
        count: int,
        command: Sequence[str] = COMMAND,
        patience: Patience = _DEFAULT_PATIENCE,
    ) -> None:
        self._options = options
        self._command = command
        self._patience = patience
        self._wanted: RoutingDocument | None = None
        self._past = Samples()
        self._turn = asyncio.Lock()  # no reading while some workers have a document and others not yet
        self._reserved: socket.socket | None = None
        self._draining: set[asyncio.Task[None]] = set()
        self.processes = tuple(
            WorkerProcess(str(index), self._arguments, lambda: self._wanted, self._bury, patience)
            for index in range(count)
        )

    @property
    def port(self) -> int:
        """The port that all share. Only after `start`."""
        if self._reserved is None:
            raise RuntimeError("the supervisor has not been started")
        return int(self._reserved.getsockname()[1])

    def workers(self) -> tuple[WorkerState, ...]:
        """Each worker as it is now."""
        return tuple(process.state for process in self.processes)

    async def configure(self, document: RoutingDocument) -> None:
        """Have every worker take the document. Raises NotConfirmed with a line per worker that has not."""
        async with self._turn:
            if self._wanted is not None and not means_the_same(self._wanted, document):
                self._past = Samples()  # every worker begins a new life, so nothing is to be added to it
            self._wanted = document
            if self._reserved is None:
                return
            try:
                async with asyncio.timeout(self._patience.configure_seconds):
                    await asyncio.gather(*(process.confirm(document) for process in self.processes))
            except TimeoutError:
                pass
            late = [state for state in self.workers() if state.version != document.version]
            if late:
                raise NotConfirmed(tuple(_describe(state) for state in late))

    async def read_samples(self) -> Samples:
        """All counts of living and dead. Raises SamplesMissing where a living worker can't be asked."""
        async with self._turn:
            readings = await asyncio.gather(*(process.read_samples() for process in self.processes))
            total = reduce(add_samples, readings, self._past)
            return replace(total, version=find_lowest_version(self.workers()))

    async def start(self) -> None:
        """Take the port and start every worker; `workers` tells when they listen. Raises OSError."""
        self._reserved = reserve_port(self._options.host, self._options.port)
        for process in self.processes:
            process.start()

    def drain(self) -> None:
        """Have every worker ask its callers to leave."""
        for process in self.processes:
            task = asyncio.create_task(process.drain())
            self._draining.add(task)
            task.add_done_callback(self._draining.discard)

    async def stop(self, grace_seconds: float) -> None:
        """End every worker."""
        await asyncio.gather(*(process.stop(grace_seconds) for process in self.processes))
        if self._reserved is not None:
            self._reserved.close()

    def _bury(self, last: Samples) -> None:
        self._past = add_samples(self._past, close_life(last, secrets.token_hex(8)))

    def _arguments(self, channel: int) -> tuple[str, ...]:
        options = self._options
        return (
            *self._command,
            f"--mode={options.mode}",
            f"--host={options.host}",
            f"--port={self.port}",
            f"--grace={options.grace_seconds:f}s",
            f"--log-level={options.log_level}",
            f"--backlog={options.backlog}",
            f"--worker-channel={channel}",
        )


def reserve_port(host: str, port: int) -> socket.socket:
    """A socket that holds the port for sockets that share it, and takes no connection itself.

    Raises OSError where something else listens there, be it willing to share.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    address = socket.getaddrinfo(
        host or None, port, family=family, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0][4]
    if port:
        # a second router with the same port would take half of the connections unnoticed
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    reserved = socket.socket(family, socket.SOCK_STREAM)
    try:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reserved.bind(address)
    except OSError:
        reserved.close()
        raise
    return reserved


def _describe(state: WorkerState) -> str:
    if state.problem:
        return f"worker {state.name}: {state.problem}"
    has = "no document" if state.version is None else f"version {state.version}"
    return f"worker {state.name}: has {has} and has not confirmed in time"
