"""Orders for traffic: the newest wins, what waits is tried again, and nobody is held up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import count

import pytest

from switchyard.core.cutover.orders import Carried
from switchyard.core.routing.plan import TrafficPlan
from switchyard.engine.backoff import Backoff
from switchyard.engine.ports import Conflict, Denied, Failed
from switchyard.engine.routing import Applied, RouteResult
from switchyard.engine.traffic import TrafficDesk

from .fake_routing import KEY, FakeRouter, order, traffic_plan
from .fakes import until

DONE = Applied()
AT_ONCE = Backoff(base_seconds=0.001, ceiling_seconds=0.002)


def desk(router: FakeRouter, **changes: object) -> TrafficDesk:
    made = {"routers": {"builtin": router}, "waiting": AT_ONCE, "failing": AT_ONCE}
    return TrafficDesk(**{**made, **changes})  # type: ignore[arg-type]


def run(body: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await body()

    asyncio.run(bounded())


def after(
    number: int, then: RouteResult = DONE, first: RouteResult | None = None
) -> Callable[..., RouteResult]:
    """An answer that comes after so many others."""
    turns = count()
    return lambda _plan: then if next(turns) >= number else (first or Failed("not yet"))


def test_an_order_is_carried_out_once() -> None:
    router = FakeRouter()

    async def body() -> None:
        made = desk(router)
        made.submit(KEY, order(1, 25))
        await made.wait_idle()
        assert made.carried == {KEY: Carried(order(1, 25))}
        assert router.asked["apply"] == 1

    run(body)
    assert router.in_force == traffic_plan(1, 25)


def test_a_release_names_the_track_that_gets_all() -> None:
    router = FakeRouter()

    async def body() -> None:
        made = desk(router)
        made.submit(KEY, order(3, release_to="chat-new"))
        await made.wait_idle()
        assert made.carried[KEY].is_done

    run(body)
    assert router.released_to == ["chat-new"]


@pytest.mark.parametrize(
    ("first", "seen"),
    [
        (Applied("a ready pod"), Carried(order(), waiting_for="a ready pod")),
        (Conflict("changed meanwhile"), Carried(order(), waiting_for="changed meanwhile")),
        (Failed("no answer"), Carried(order(), problem="no answer")),
        (Denied(422, "refused"), Carried(order(), problem="refused")),
    ],
)
def test_what_is_not_done_is_said_and_tried_again(first: RouteResult, seen: Carried) -> None:
    router, woken = FakeRouter(answer=after(3, first=first)), []

    async def body() -> None:
        made = desk(router, wake=lambda: woken.append(made.carried[KEY]))
        made.submit(KEY, order())
        await made.wait_idle()

    run(body)
    assert woken == [seen, Carried(order())]
    assert router.asked["apply"] == 4


def test_a_newer_order_overtakes_one_that_waits() -> None:
    router = FakeRouter(answer=lambda plan: Applied("" if plan.version > 1 else "anything"))

    async def body() -> None:
        made = desk(router, waiting=Backoff(base_seconds=60, ceiling_seconds=60))
        made.submit(KEY, order(1))
        await until(lambda: made.carried)
        made.submit(KEY, order(2))
        await made.wait_idle()
        assert made.carried == {KEY: Carried(order(2))}

    run(body)
    assert router.versions == [1, 2]


def test_a_newer_order_comes_after_one_that_runs() -> None:
    router = FakeRouter()

    async def body() -> None:
        router.gate = asyncio.Event()
        made = desk(router)
        made.submit(KEY, order(1))
        await until(lambda: router.running)
        made.submit(KEY, order(2))
        made.submit(KEY, order(3))
        router.gate.set()
        await made.wait_idle()

    run(body)
    assert router.versions == [1, 3]
    assert router.most_running == 1


def test_the_same_order_again_does_not_hurry_one_that_waits() -> None:
    router = FakeRouter(answer=lambda _plan: Applied("anything"))

    async def body() -> None:
        made = desk(router, waiting=Backoff(base_seconds=60, ceiling_seconds=60))
        for _ in range(20):
            made.submit(KEY, order())
            await asyncio.sleep(0)
        await until(lambda: made.carried)
        made.submit(KEY, order())
        await asyncio.sleep(0.01)
        await made.close()

    run(body)
    assert router.asked["apply"] == 1


def test_what_nobody_wants_any_more_is_given_up() -> None:
    router = FakeRouter(answer=lambda _plan: Failed("never"))

    async def body() -> None:
        made = desk(router)
        made.submit(KEY, order())
        await until(lambda: router.asked["apply"] > 2)
        made.retain((), (KEY,))
        await made.wait_idle()
        assert made.carried
        made.retain((), ())
        assert not made.carried

    run(body)


def test_a_slow_router_holds_up_neither_the_caller_nor_other_plans() -> None:
    slow, quick = FakeRouter(), FakeRouter()

    async def body() -> None:
        slow.gate = asyncio.Event()
        made = TrafficDesk({"builtin": slow, "istio": quick}, deadline_seconds=60)
        made.submit(KEY, order())
        other = type(order())("istio", traffic_plan(workload="other"))
        made.submit(("shop", "other"), other)
        await until(lambda: quick.asked["apply"])
        assert ("shop", "other") in made.carried
        await made.close()

    run(body)


def test_no_more_orders_run_at_a_time_than_allowed() -> None:
    router = FakeRouter()

    async def body() -> None:
        made = desk(router, concurrency=3)
        for number in range(12):
            made.submit(("shop", f"plan-{number}"), order(number))
        await made.wait_idle()

    run(body)
    assert router.most_running == 3
    assert sorted(router.versions) == list(range(12))


def test_an_attempt_without_an_end_is_broken_off_and_said() -> None:
    router = FakeRouter()

    async def body() -> None:
        router.gate = asyncio.Event()
        made = desk(router, deadline_seconds=0.01)
        made.submit(KEY, order())
        await until(lambda: made.carried)
        assert "did not come to an end" in made.carried[KEY].problem
        router.gate.set()
        await made.wait_idle()
        assert made.carried[KEY].is_done

    run(body)


def test_a_bug_in_an_adapter_is_an_outcome_like_others() -> None:
    def burst(_plan: TrafficPlan) -> RouteResult:
        raise ZeroDivisionError("oh")

    router = FakeRouter(answer=burst)

    async def body() -> None:
        made = desk(router)
        made.submit(KEY, order())
        await until(lambda: made.carried)
        assert made.carried[KEY].problem == "bug: ZeroDivisionError: oh"
        router.answer = lambda _plan: Applied()
        await made.wait_idle()
        assert made.carried[KEY].is_done

    run(body)


def test_a_router_that_the_operator_does_not_have_is_said() -> None:
    async def body() -> None:
        made = TrafficDesk({})
        made.submit(KEY, order())
        await until(lambda: made.carried)
        assert made.carried[KEY].problem == "the operator has no router builtin"
        await made.close()

    run(body)


def test_who_may_not_act_moves_nothing() -> None:
    router = FakeRouter()

    async def body() -> None:
        made = desk(router, may_act=lambda: False)
        made.submit(KEY, order())
        await made.wait_idle()

    run(body)
    assert not router.asked
