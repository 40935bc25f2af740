"""The connections to one backend: kept between requests, and checked before they are used again."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

from switchyard.dataplane.http.back import BackConnection

# Pods that replace one another refuse connections for a moment; who has none for longer is told so soon.
_CONNECT_PAUSES_SECONDS = (0.05, 0.1, 0.2, 0.4)

Acquired = Callable[[BackConnection | None], None]


class BackPool:
    """The connections to one address. An attempt to connect that failed sent nothing: it may be repeated."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        connect_seconds: float,
        make_connection: type[BackConnection] = BackConnection,
    ) -> None:
        self.host, self.port = host, port
        self._make_connection = make_connection
        self.connect_seconds = connect_seconds
        self._idle: deque[BackConnection] = deque()
        self._open: set[BackConnection] = set()
        self._connecting: set[asyncio.Task[None]] = set()
        self.is_closed = False

    @property
    def open_connections(self) -> int:
        """Idle and busy ones."""
        return len(self._open)

    def acquire(self, acquired: Acquired, *, is_new: bool = False) -> Callable[[], None] | None:
        """Hand a connection to `acquired`, at once when one is idle, None when there is no way to get one.

        `is_new`: none that was used before. Returns how to give up waiting; None when the call has been
        answered.
        """
        while self._idle and not is_new:
            connection = self._idle.popleft()  # the one that waited longest: requests spread over all
            if connection.is_young and connection.is_untouched():
                acquired(connection)
                return None
            connection.close()
        task = asyncio.get_running_loop().create_task(self._connect(acquired))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

        def give_up() -> None:
            task.cancel()

        return give_up

    async def _connect(self, acquired: Acquired) -> None:
        connection: BackConnection | None = None
        deadline = time.monotonic() + self.connect_seconds
        for pause_seconds in (*_CONNECT_PAUSES_SECONDS, None):
            try:
                connection = await self._try_to_connect(deadline - time.monotonic())
                break
            except TimeoutError:
                break
            except OSError:
                if pause_seconds is None or time.monotonic() + pause_seconds >= deadline:
                    break
                await asyncio.sleep(pause_seconds)
        if connection is not None:
            self._open.add(connection)
        acquired(connection)

    async def _try_to_connect(self, seconds: float) -> BackConnection:
        async with asyncio.timeout(max(seconds, 0.001)):
            _, connection = await asyncio.get_running_loop().create_connection(
                lambda: self._make_connection(self._released), self.host, self.port
            )
        return connection

    def _released(self, connection: BackConnection) -> None:
        if connection.is_young and not self.is_closed:
            self._idle.append(connection)
            return
        self._open.discard(connection)
        connection.close()

    def sweep(self) -> None:
        """Close connections that have been idle for too long."""
        for _ in range(len(self._idle)):
            connection = self._idle.popleft()
            if connection.is_young:
                self._idle.append(connection)
            else:
                connection.close()

    def close(self) -> None:
        """Close idle connections now, busy ones when their answer ends."""
        self.is_closed = True
        while self._idle:
            self._idle.popleft().close()

    def abort(self) -> None:
        """Close everything now."""
        self.close()
        for task in list(self._connecting):
            task.cancel()
        for connection in list(self._open):
            connection.close(at_once=True)
