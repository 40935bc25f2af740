"""How one process of the operator reaches what is outside of it: each request takes time, and may be its last."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from switchyard.engine.ports import Conflict, Denied, Failed

from .outside import Outside

T = TypeVar("T")
LATENCY_SECONDS = 0.02


class Refused(Exception):  # noqa: N818 - an answer, as the ports have it
    """The outside said no, or nothing."""

    def __init__(self, result: Conflict | Denied | Failed) -> None:
        super().__init__(result.message)
        self.result = result


@dataclass
class Connection:
    """`after_write`: told of each write that landed, with its number; what it says happens then.

    kill      the process ends: no answer comes, and nothing more is sent
    lost      the write landed and its answer did not
    """

    outside: Outside
    after_write: Callable[[int], str] = lambda _number: ""
    moved: asyncio.Event = field(default_factory=asyncio.Event)  # something outside is due at another time
    killed: asyncio.Event = field(default_factory=asyncio.Event)
    is_cut: bool = False
    is_leading: bool = True

    async def ask(self, what: str, do: Callable[[Outside], T]) -> T:
        """What `do` makes of the outside. Raises Refused while it does not answer."""
        await self._travel()
        outage = self.outside.outage(self.outside, what)
        if outage:
            await self._travel()
            raise Refused(Failed(outage))
        found = do(self.outside)
        await self._travel()
        return found

    async def write(self, what: str, do: Callable[[Outside], T], change: tuple[str, Any] | None = None) -> T:
        """As `ask`, of something that changes the outside."""
        self.outside.requests += 1
        await self._travel()
        outage = self.outside.outage(self.outside, what)
        if outage:
            await self._travel()
            raise Refused(Failed(outage))
        found = do(self.outside)
        self.outside.note(what, change)
        self.moved.set()
        fate = self.after_write(len(self.outside.landed))
        if fate == "kill":
            self.is_cut = True
            self.killed.set()
        await self._travel()
        if fate == "lost":
            raise Refused(Failed("no answer"))
        return found

    def begin(self, what: str) -> None:
        """Something is begun that writes; only who leads may."""
        if not self.is_leading:
            self.outside.blame(f"begun without leading: {what}")

    async def _travel(self) -> None:
        await asyncio.sleep(LATENCY_SECONDS / 2)
        if self.is_cut:
            await asyncio.get_running_loop().create_future()
        self.outside.advance(asyncio.get_running_loop().time())
