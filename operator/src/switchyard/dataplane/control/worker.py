"""A worker process: runs one engine and does what the supervisor asks, until it is stopped or orphaned."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Awaitable

from switchyard.core.routing.document import parse_routing_document
from switchyard.dataplane.control.channel import Channel, ChannelClosed, Frame, Kind
from switchyard.dataplane.control.fleet import Engine, EngineFactory
from switchyard.dataplane.options import RouterOptions

logger = logging.getLogger(__name__)


async def run_worker(options: RouterOptions, make_engine: EngineFactory) -> int:
    """The exit code, once the supervisor said stop or ended itself.

    An orphan takes no more connections at once, and ends with its last request or the grace period.
    """
    if options.worker_channel is None:
        raise ValueError("--worker-channel must be given to a worker")
    # a terminal's Ctrl-C and a service manager's SIGTERM reach the whole group; the supervisor decides
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, signal.SIG_IGN)
    channel = await Channel.open(socket.socket(fileno=options.worker_channel))
    engine = make_engine(options)
    try:
        return await _Worker(channel, engine, options.grace_seconds).serve()
    finally:
        channel.close()


class _Worker:
    def __init__(self, channel: Channel, engine: Engine, grace_seconds: float) -> None:
        self._channel, self._engine = channel, engine
        self._grace_seconds = grace_seconds
        self._started: asyncio.Task[bytes] | None = None
        self._stopped: asyncio.Task[bytes] | None = None
        self._answering: set[asyncio.Task[None]] = set()

    async def serve(self) -> int:
        """Answer until the supervisor leaves, then stop where that has not been asked."""
        await self._receive()
        if self._stopped is None:
            logger.warning("the supervisor has ended; so does this worker")
            self._stopped = asyncio.create_task(self._stop(self._grace_seconds))
        await self._stopped
        await asyncio.gather(*self._answering, return_exceptions=True)
        return 0

    async def _receive(self) -> None:
        """Take each question in order. Only starting and stopping take time, and hold up no other."""
        while True:
            try:
                frame = await self._channel.receive()
            except ChannelClosed:
                return
            match frame.kind:
                case Kind.START:
                    self._started = self._started or asyncio.create_task(self._start())
                    self._answer_later(frame, self._started)
                case Kind.STOP:
                    if self._stopped is not None:
                        self._stopped.cancel()  # somebody is in a hurry
                    self._stopped = asyncio.create_task(self._stop(float(frame.payload)))
                    self._answer_later(frame, self._stopped)
                case _:
                    await self._answer(frame, self._do(frame))

    async def _do(self, frame: Frame) -> bytes:
        match frame.kind:
            case Kind.CONFIGURE:
                self._engine.configure(parse_routing_document(frame.payload))
            case Kind.SAMPLES:
                return self._engine.samples().encode()
            case Kind.DRAIN:
                self._engine.drain()
        return b""

    async def _start(self) -> bytes:
        await self._engine.start()
        return b"%d" % self._engine.port

    async def _stop(self, grace_seconds: float) -> bytes:
        if self._started is not None:
            await asyncio.wait({self._started})
        await self._engine.stop(grace_seconds)
        return b""

    def _answer_later(self, frame: Frame, doing: asyncio.Task[bytes]) -> None:
        async def wait() -> bytes:
            return await asyncio.shield(doing)

        task = asyncio.create_task(self._answer(frame, wait()))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _answer(self, frame: Frame, doing: Awaitable[bytes]) -> None:
        try:
            answer = Frame(Kind.DONE, frame.number, await doing)
        except Exception as error:
            logger.exception("a worker could not do what it was asked", extra={"asked": frame.kind.name})
            answer = Frame(Kind.FAILED, frame.number, f"{type(error).__name__}: {error}".encode())
        try:
            await self._channel.send(answer)
        except ChannelClosed:
            logger.debug("nobody is left to answer")
