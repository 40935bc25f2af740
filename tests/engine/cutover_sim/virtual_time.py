"""An event loop on which waiting costs nothing: when nothing is ready, the clock jumps to what is due next."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

T = TypeVar("T")
BEGIN = datetime(2026, 11, 21, 12, tzinfo=UTC)


def moment(seconds: float) -> datetime:
    """Wall-clock time so many simulated seconds after the begin."""
    return BEGIN + timedelta(seconds=seconds)


class _Skipping(selectors.SelectSelector):
    """Waits for nothing: what it would have waited is added to the clock."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise AssertionError("everything waits for something that never comes")
        self.seconds += max(0.0, timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """Deterministic: threads are not used, what would run in one runs at once."""

    def __init__(self, seconds: float) -> None:
        self._skipping = _Skipping()
        super().__init__(self._skipping)
        self._skipping.seconds = seconds

    def time(self) -> float:
        return self._skipping.seconds

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:
        done: asyncio.Future[T] = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - handed on to whoever awaits it
            done.set_exception(error)
        return done


class LoopClock:
    """The clock of the engine, on the time of the running loop."""

    def now(self) -> datetime:
        return moment(self.monotonic_seconds())

    def monotonic_seconds(self) -> float:
        return asyncio.get_running_loop().time()


def run_virtually(body: Coroutine[Any, Any, T], begin_seconds: float = 0.0) -> T:
    """What the coroutine returns, started at that second of the simulated clock."""
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(begin_seconds)) as runner:
        return runner.run(body)
