"""Bursts become one wake-up, soon after the last trigger and never too late."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from switchyard.engine.backoff import Backoff
from switchyard.engine.debounce import Debounce, due_at

seconds = st.floats(0, 1e6)


@given(first=seconds, later=seconds, idle=st.floats(0.001, 10), cap=st.floats(0.001, 100))
def test_a_burst_is_never_due_later_than_the_cap_after_its_first_trigger(
    first: float, later: float, idle: float, cap: float
) -> None:
    due = due_at(first, first + later, idle, cap)
    assert due <= first + cap
    assert due <= first + later + idle


def test_many_triggers_wake_the_waiter_once() -> None:
    async def scenario() -> list[bool]:
        debounce = Debounce(idle_seconds=0.02, cap_seconds=1.0)
        for _ in range(100):
            debounce.trigger()
        return [await debounce.wait(5.0), await debounce.wait(0.05)]

    assert asyncio.run(scenario()) == [True, False]


def test_triggers_without_a_pause_do_not_hold_the_waiter_up_for_ever() -> None:
    async def scenario() -> float:
        debounce = Debounce(idle_seconds=0.05, cap_seconds=0.2)
        loop = asyncio.get_running_loop()

        async def chatter() -> None:
            while True:
                debounce.trigger()
                await asyncio.sleep(0.01)

        chatting = asyncio.create_task(chatter())
        start = loop.time()
        assert await debounce.wait(5.0)
        chatting.cancel()
        return loop.time() - start

    assert 0.15 <= asyncio.run(scenario()) < 3.0


def test_a_trigger_that_comes_while_the_waiter_works_is_not_lost() -> None:
    async def scenario() -> bool:
        debounce = Debounce(idle_seconds=0.001, cap_seconds=0.01)
        debounce.trigger()
        await debounce.wait(1.0)
        debounce.trigger()  # the waiter is busy now
        await asyncio.sleep(0.05)
        return await debounce.wait(0.0)

    assert asyncio.run(scenario())


def test_without_a_trigger_the_waiter_comes_back_when_its_time_is_up() -> None:
    assert asyncio.run(Debounce().wait(0.01)) is False


@given(attempt=st.integers(0, 10_000), base=st.floats(0.01, 10), ceiling=st.floats(0.01, 600))
def test_a_delay_is_positive_and_never_above_the_ceiling(attempt: int, base: float, ceiling: float) -> None:
    assert 0 < Backoff(base, ceiling).delay_seconds(attempt) <= ceiling


def test_a_backoff_can_be_iterated_without_end_and_anew() -> None:
    backoff = Backoff(base_seconds=1.0, ceiling_seconds=8.0)
    first = [delay for delay, _ in zip(backoff, range(500), strict=False)]
    assert 0.5 <= first[0] <= 1.0
    assert all(4.0 <= delay <= 8.0 for delay in first[3:])
    assert 0.5 <= next(iter(backoff)) <= 1.0
