"""When to look again: soon after the last of a burst of triggers, bounded from its first."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field


def due_at(first_trigger: float, last_trigger: float, idle_seconds: float, cap_seconds: float) -> float:
    """The moment a burst is worth acting on: quiet for `idle_seconds`, or `cap_seconds` after it began."""
    return min(last_trigger + idle_seconds, first_trigger + cap_seconds)


@dataclass
class Debounce:
    """Triggers from anywhere on the event loop; one waiter.

        quiet --trigger--> gathering --idle or cap--> due --wait() returns--> quiet
                            ^ trigger (extends, up to the cap)

    A trigger that comes while the waiter works starts the next burst: none is lost.
    """

    idle_seconds: float = 0.2
    cap_seconds: float = 2.0
    _first: float | None = None
    _last: float = 0.0
    _woken: asyncio.Event = field(default_factory=asyncio.Event)

    def trigger(self) -> None:
        """Something changed: the waiter looks soon."""
        now = asyncio.get_running_loop().time()
        if self._first is None:
            self._first = now
        self._last = now
        self._woken.set()

    async def wait(self, at_most_seconds: float) -> bool:
        """True when a burst of triggers is due, False when none came for `at_most_seconds`."""
        loop = asyncio.get_running_loop()
        if self._first is None:
            try:
                async with asyncio.timeout(at_most_seconds):
                    await self._woken.wait()
            except TimeoutError:
                return False
        while self._first is not None:
            remaining = due_at(self._first, self._last, self.idle_seconds, self.cap_seconds) - loop.time()
            if remaining <= 0:
                break
            await asyncio.sleep(remaining)
        self._first = None
        self._woken.clear()
        return True
