"""One worker process in the supervisor's hands: started, asked, watched, and started again when it dies."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from switchyard.core.routing.document import RoutingDocument
from switchyard.core.routing.samples import Samples, parse_samples
from switchyard.dataplane.control.channel import Asking, Channel, ChannelClosed, Kind, WorkerFailed
from switchyard.dataplane.control.fleet import SamplesMissing, WorkerState
from switchyard.dataplane.options import ENVIRONMENT_PREFIX

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a worker may take, in seconds. `missed_pings` in a row mean that it hangs."""

    start_seconds: float = 30.0
    configure_seconds: float = 5.0
    samples_seconds: float = 2.0
    ping_seconds: float = 2.0
    ping_answer_seconds: float = 3.0
    missed_pings: int = 5
    first_pause_seconds: float = 0.1
    longest_pause_seconds: float = 10.0
    stable_seconds: float = 30.0  # a life this long starts the pauses from the first again
    exit_seconds: float = 2.0


class WorkerProcess:
    """A worker's lives, one after the other.

    `command` gives the arguments for a channel's file descriptor. `wanted` is the document that it should
    have. `on_death` is called with the last reading of a life that ended by itself.
    """

    def __init__(
        self,
        name: str,
        command: Callable[[int], Sequence[str]],
        wanted: Callable[[], RoutingDocument | None],
        on_death: Callable[[Samples], None],
        patience: Patience,
    ) -> None:
        self._name = name
        self._command = command
        self._wanted = wanted
        self._on_death = on_death
        self._patience = patience
        self._asking: Asking | None = None
        self._is_listening = False
        self._is_stopping = False
        self._version: int | None = None
        self._last = Samples()
        self._restarts = 0
        self._problem = "not started"
        self._is_up = asyncio.Event()
        self._running: asyncio.Task[None] | None = None
        self.pid: int | None = None

    @property
    def state(self) -> WorkerState:
        """The worker as it is now."""
        return WorkerState(self._name, self._is_listening, self._version, self._restarts, self._problem)

    def start(self) -> None:
        """Begin the first life."""
        self._running = asyncio.create_task(self._live_again_and_again())

    async def confirm(self, document: RoutingDocument) -> None:
        """Return when the worker has the document, in this life or a later one, or says that it can't."""
        while self._version != document.version:
            await self._is_up.wait()
            asking = self._asking
            try:
                if asking is not None:
                    await self._push(asking, document)
            except TimeoutError:
                continue  # asked again for as long as the caller waits
            except ChannelClosed:
                if self._asking is asking:
                    self._is_up.clear()  # until the next life
            except WorkerFailed as failure:
                self._problem = str(failure)
                return

    async def read_samples(self) -> Samples:
        """What this life has counted; nothing between two lives. Raises SamplesMissing."""
        if self._asking is None:
            return Samples()
        try:
            text = await self._asking.ask(Kind.SAMPLES, timeout_seconds=self._patience.samples_seconds)
        except TimeoutError:
            seconds = self._patience.samples_seconds
            raise SamplesMissing(f"worker {self._name} has not answered within {seconds:g} s") from None
        except (ChannelClosed, WorkerFailed) as error:
            raise SamplesMissing(f"worker {self._name}: {error}") from None
        self._last = parse_samples(text)
        return self._last

    async def drain(self) -> None:
        """Ask the worker's callers to leave."""
        if self._asking is not None:
            with contextlib.suppress(ChannelClosed, WorkerFailed, TimeoutError):
                await self._asking.ask(Kind.DRAIN, timeout_seconds=self._patience.ping_answer_seconds)

    async def stop(self, grace_seconds: float) -> None:
        """End the worker: by itself within the grace period, else by force."""
        self._is_stopping = True
        self._is_listening, self._problem = False, "stopped"
        if self._asking is not None:
            with contextlib.suppress(ChannelClosed, WorkerFailed, TimeoutError):
                timeout_seconds = grace_seconds + self._patience.exit_seconds
                await self._asking.ask(
                    Kind.STOP, str(grace_seconds).encode(), timeout_seconds=timeout_seconds
                )
        if self._running is not None:
            self._running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._running

    async def _live_again_and_again(self) -> None:
        loop = asyncio.get_running_loop()
        pause_seconds = self._patience.first_pause_seconds
        while not self._is_stopping:
            born_at = loop.time()
            reason = await self._live()
            if self._is_stopping:
                return
            if loop.time() - born_at >= self._patience.stable_seconds:
                pause_seconds = self._patience.first_pause_seconds
            self._restarts += 1
            self._problem = f"{reason}; starts again within {pause_seconds:g} s"
            last, self._last = self._last, Samples()
            self._on_death(last)
            logger.error("a worker ended", extra={"worker": self._name, "reason": reason})
            await asyncio.sleep(pause_seconds)
            pause_seconds = min(2 * pause_seconds, self._patience.longest_pause_seconds)

    async def _live(self) -> str:
        """Why the life ended."""
        try:
            process, end = await self._spawn()
        except OSError as error:
            return f"can't be started: {error.strerror}"
        self.pid = process.pid
        asking = Asking(await Channel.open(end))
        try:
            return await self._serve(asking)
        except TimeoutError:
            return "did not answer in time"
        except ChannelClosed:
            return "ended"
        except WorkerFailed as failure:
            return f"failed to start: {failure}"
        except Exception as error:
            # whatever it is, the worker must be started again
            logger.exception("the supervisor failed over a worker", extra={"worker": self._name})
            return f"{type(error).__name__}: {error}"
        finally:
            self._asking, self.pid, self._version = None, None, None
            self._is_listening = False
            self._is_up.clear()
            await asking.close()
            await self._end(process)

    async def _spawn(self) -> tuple[asyncio.subprocess.Process, socket.socket]:
        """A new process and our end of its channel."""
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(ENVIRONMENT_PREFIX)
        }
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                process = await asyncio.create_subprocess_exec(
                    *self._command(theirs.fileno()),
                    pass_fds=(theirs.fileno(),),
                    stdin=asyncio.subprocess.DEVNULL,
                    env=environment,
                )
            except BaseException:
                ours.close()
                raise
        return process, ours

    async def _serve(self, asking: Asking) -> str:
        document = self._wanted()
        if document is not None:  # before it listens: nobody is to meet a router that knows nothing
            await self._push(asking, document, self._patience.start_seconds)
        await asking.ask(Kind.START, timeout_seconds=self._patience.start_seconds)
        self._asking = asking
        self._is_listening, self._problem = True, ""
        self._is_up.set()
        document = self._wanted()
        if document is not None and self._version != document.version:
            await self._push(asking, document)
        logger.info("a worker listens", extra={"worker": self._name, "pid": self.pid})
        return await self._watch(asking)

    async def _push(self, asking: Asking, document: RoutingDocument, timeout_seconds: float = 0.0) -> None:
        await asking.ask(
            Kind.CONFIGURE,
            document.encode(),
            timeout_seconds=timeout_seconds or self._patience.configure_seconds,
        )
        self._version = document.version
        if self._is_listening:
            self._problem = ""

    async def _watch(self, asking: Asking) -> str:
        closed = asyncio.create_task(asking.wait_closed())
        try:
            missed = 0
            while missed < self._patience.missed_pings:
                await asyncio.wait({closed}, timeout=self._patience.ping_seconds)
                if closed.done():
                    return "ended"
                try:
                    await asking.ask(Kind.PING, timeout_seconds=self._patience.ping_answer_seconds)
                    missed = 0
                except TimeoutError:
                    missed += 1
            return f"has not answered {missed} times"
        finally:
            closed.cancel()

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        """Wait for a process that was told to end by its closed channel, or kill it."""
        try:
            async with asyncio.timeout(self._patience.exit_seconds if self._is_stopping else 0.0):
                await process.wait()
        except (TimeoutError, asyncio.CancelledError):
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
