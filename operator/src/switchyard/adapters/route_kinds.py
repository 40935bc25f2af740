"""Which kinds of routes the cluster serves to us: found before the watches start, and looked at from then on.

kopf watches what is there when it starts: with its scanning on it would want to watch all CRDs, and hold up
every event while it lists a new kind. So a change of the set ends the process, which starts anew in its own
place.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field

from switchyard.adapters.connection import Answer, Connection
from switchyard.adapters.resources import ROUTES, Resource
from switchyard.engine.backoff import Backoff

logger = logging.getLogger(__name__)

_NO_SUCH_KIND, _NO_RIGHT = 404, (401, 403)


class KindsChanged(Exception):  # noqa: N818 - no error, a reason to start anew, as LeaseLost is one to end
    """The cluster serves other kinds of routes than those that are watched."""


@dataclass
class RouteKinds:
    """Of `ROUTES`, those that can be listed. A kind without the right to list it counts as missing."""

    connection: Connection
    look_seconds: float = 10.0
    served: tuple[Resource, ...] = ()
    _is_found: asyncio.Event = field(default_factory=asyncio.Event)

    async def find(self) -> tuple[Resource, ...]:
        """The kinds that are served now; asks until the API server says it of each."""
        for delay in Backoff(base_seconds=0.5, ceiling_seconds=10.0):
            found = await self._look()
            if found is not None:
                self.served = found
                break
            await asyncio.sleep(delay)
        logger.info(
            "kinds of routes", extra={"kinds": ", ".join(each.kind for each in self.served) or "none"}
        )
        self._is_found.set()
        return self.served

    async def wait_for_change(self) -> None:
        """Raises KindsChanged once other kinds are served than were found.

        A kind that goes must be missed twice: an API server that starts does not serve all at once.
        """
        await self._is_found.wait()
        was_missed = False
        while True:
            await asyncio.sleep(self.look_seconds)
            found = await self._look()
            if found is None:
                continue
            is_missed = not set(self.served) <= set(found)
            if set(found) - set(self.served) or (is_missed and was_missed):
                raise KindsChanged(_describe(self.served, found))
            was_missed = is_missed

    async def find_change(self) -> KindsChanged | None:
        """How the kinds differ now from those that were found; it may be why a watch ended."""
        found = await self._look()
        if found is None or set(found) == set(self.served):
            return None
        return KindsChanged(_describe(self.served, found))

    async def _look(self) -> tuple[Resource, ...] | None:
        """The kinds that can be listed; None where an answer leaves it open."""
        found = []
        for resource in ROUTES:
            # without a selector: looking for a first match may mean reading all that there are
            answer = await self.connection.request("GET", resource.path(), query={"limit": "1"})
            if not isinstance(answer, Answer):
                return None
            if answer.is_success:
                found.append(resource)
            elif answer.status in _NO_RIGHT:
                logger.debug("no right to list", extra={"kind": resource.kind, "problem": answer.message})
            elif answer.status != _NO_SUCH_KIND:
                return None
        return tuple(found)


def _describe(served: tuple[Resource, ...], found: tuple[Resource, ...]) -> str:
    came = [f"{each.kind} came" for each in found if each not in served]
    return ", ".join(came + [f"{each.kind} went" for each in served if each not in found])
