"""An operator that dies between any two writes: the next one goes on, and callers never notice."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from switchyard.adapters.connection import Connection
from switchyard.adapters.rbac import (
    CLUSTER_RULES,
    ROUTING_NAMESPACE_RULES,
    ROUTING_RULES,
    PolicyRule,
)
from switchyard.adapters.routing.admin_client import AdminClient
from switchyard.adapters.routing.builtin import BuiltinRouter
from switchyard.core.routing.document import RoutingDocument
from switchyard.core.routing.plan import TrafficPlan
from switchyard.core.routing.router_document import is_same
from switchyard.engine.routing import Applied, RouteResult

from .builtin_rig import BASELINE, CANDIDATE, HOLDER, OPERATOR_NAMESPACE, ROUTER, Rig, batch, rest, with_rig

VERBS = {"POST": "create", "PATCH": "patch", "DELETE": "delete", "PUT": "update"}

Call = Callable[[BuiltinRouter], Awaitable[RouteResult]]


class Died(Exception):  # noqa: N818 - what happened to the process
    """The process of the operator is gone."""


@dataclass
class Life:
    """How many writes are left to a process. `is_heard`: its last one arrives before it dies."""

    left: int
    is_heard: bool
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def write(self, send: Callable[[], Awaitable[Any]]) -> Any:
        async with self.turn:
            self.left -= 1
            if self.left > 0:
                return await send()
            if self.left == 0 and self.is_heard:
                await send()
            raise Died


@dataclass
class MortalConnection:
    connection: Connection
    life: Life

    async def request(self, method: str, path: str, **more: Any) -> Any:
        if method == "GET":
            return await self.connection.request(method, path, **more)
        return await self.life.write(lambda: self.connection.request(method, path, **more))


@dataclass
class MortalAdmin(AdminClient):
    life: Life = field(default_factory=lambda: Life(10**6, True))

    async def put_config(self, *what: Any) -> None:
        await self.life.write(lambda: super(MortalAdmin, self).put_config(*what))


@dataclass
class Deaths:
    """Lives of processes in turn; the story's write number `at` is the last of the one that writes it."""

    at: int
    is_heard: bool
    before: Life | None = None

    def __call__(self) -> Life:
        done = self.at if self.before is None else self.before.left
        self.before = Life(10**6 if done <= 0 else done, self.is_heard)
        return self.before

    @property
    def was_survived(self) -> bool:
        """True when the story ended before that write."""
        return self.before is not None and 0 < self.before.left < 10**3


async def survive(rig: Rig, call: Call, lives: Callable[[], Life]) -> int:
    """How many processes it took until nothing was missing, each with a life of its own."""
    for number in range(1, 60):
        life = lives()
        mortal: Any = MortalConnection(rig.connection, life)
        adapter = rig.adapter(mortal)
        adapter.admin = MortalAdmin(life=life)
        try:
            result = await call(adapter)
            assert isinstance(result, Applied), result
            if not result.waiting_for:
                return number
        except Died:
            pass
        finally:
            await adapter.close()
        await check_callers(rig)
        await rig.settle()
        await check_callers(rig)
    raise AssertionError("it never ends")


async def check_callers(rig: Rig) -> None:
    """Callers reach a track, or routers of which each has a document; then somebody holds the traffic."""
    if await rig.points_to() == ROUTER:
        assert rig.routers
        assert all(router.holder.document is not None for router in rig.routers.values())
        assert (await rig.stable())[1] == HOLDER


async def tell_story(rig: Rig, number: int, lives: Callable[[], Life]) -> int:
    """Engage, shift, give back to either track; the fewest processes that a part of it took."""
    first, second = (
        rig.plan(3 * number + 1, batch(10), rest(0, 20)),
        rig.plan(3 * number + 2, batch(100), rest(50)),
    )
    counts = [
        await survive(rig, lambda adapter: adapter.apply(first), lives),
        await survive(rig, lambda adapter: adapter.apply(second), lives),
    ]
    await check_in_force(rig, second)
    service = CANDIDATE if number % 2 else BASELINE
    counts.append(await survive(rig, lambda adapter: adapter.release(second, service), lives))
    assert await rig.points_to() == service
    assert (await rig.stable())[1] == ""
    assert await rig.left() == []
    await rig.settle()
    await rig.placement_passes()
    await rig.settle()
    return min(counts)


async def check_in_force(rig: Rig, plan: TrafficPlan) -> None:
    written = await rig.document()
    adapter = rig.adapter()
    state = await adapter.observe(plan)
    await adapter.close()
    assert (state.version, state.waiting_for, state.drift) == (plan.version, "", ())
    found: list[RoutingDocument | None] = [each.holder.document for each in rig.routers.values()]
    assert len(found) == 2
    assert all(each is not None and is_same(each, written) for each in found)


@pytest.mark.parametrize("fate", ["its last write arrives", "its last write is lost"])
def test_a_process_that_dies_at_any_write_is_succeeded_by_one_that_finishes(fate: str) -> None:
    async def scenario(rig: Rig) -> None:
        for number in range(1, 30):
            deaths = Deaths(number, is_heard=fate == "its last write arrives")
            await tell_story(rig, number, deaths)
            if deaths.was_survived:
                return
        raise AssertionError("the story has more writes than that; let it die at later ones too")

    with_rig(scenario)


def test_processes_that_live_for_one_write_each_finish_together() -> None:
    async def scenario(rig: Rig) -> None:
        for number in (1, 2):
            assert await tell_story(rig, number, lambda: Life(1, True)) > 3

    with_rig(scenario)


def test_a_lost_answer_of_the_api_server_is_no_lost_write() -> None:
    async def scenario(rig: Rig) -> None:
        for number in (1, 2):
            await tell_story(rig, number, lambda: Life(2, True))

    with_rig(scenario)


def _allows(rules: tuple[PolicyRule, ...]) -> set[tuple[str, str, str]]:
    return {
        (group, resource, verb)
        for rule in rules
        for group in rule.api_groups
        for resource in rule.resources
        for verb in rule.verbs
    }


def test_it_asks_for_every_right_that_is_declared_for_it_and_for_no_other() -> None:
    asked: dict[bool, set[tuple[str, str, str]]] = {True: set(), False: set()}

    @dataclass
    class Recording:
        connection: Connection

        async def request(self, method: str, path: str, **more: Any) -> Any:
            answer = await self.connection.request(method, path, **more)
            group, _, rest_of_path = path.removeprefix("/apis/").removeprefix("/api/").partition("/")
            if path.startswith("/api/"):
                group = ""
            else:
                rest_of_path = rest_of_path.partition("/")[2]
            _, namespace, resource, *name = rest_of_path.split("/")
            verb = VERBS.get(method, "get" if name else "list")
            own = asked[namespace == OPERATOR_NAMESPACE]
            own.add((group, resource, verb))
            if verb == "patch" and getattr(answer, "status", 0) == 201:
                own.add((group, resource, "create"))
            return answer

    async def scenario(rig: Rig) -> None:
        recording: Any = Recording(rig.connection)
        adapter = rig.adapter(recording)
        plan = rig.plan(1, rest(10))
        await rig.drive(lambda: adapter.apply(plan))
        await adapter.observe(plan)
        await adapter.read_samples(plan)
        await adapter.supports(plan)
        await rig.drive(lambda: adapter.release(plan, BASELINE))
        await adapter.close()

    with_rig(scenario)
    # what a Gateway can do is asked by another way of routing
    declared = {each for each in _allows(ROUTING_RULES) if each[0] != "gateway.networking.k8s.io"}
    assert declared <= asked[False] <= declared | _allows(CLUSTER_RULES)
    assert asked[True] == _allows(ROUTING_NAMESPACE_RULES)
