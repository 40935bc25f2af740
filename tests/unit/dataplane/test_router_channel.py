"""The channel to a worker: each question finds its own answer, and the end of either side is seen."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchyard.dataplane.control.channel import (
    Asking,
    Channel,
    ChannelClosed,
    Frame,
    Kind,
    WorkerFailed,
)


def play(story: Callable[[Asking, Channel, socket.socket], Awaitable[None]]) -> None:
    """A story between the supervisor's side and a worker whose part the story plays."""

    async def run() -> None:
        ours, theirs = socket.socketpair()
        asking, worker = Asking(await Channel.open(ours)), await Channel.open(theirs)
        try:
            async with asyncio.timeout(20):
                await story(asking, worker, theirs)
        finally:
            await asking.close()
            worker.close()

    asyncio.run(run())


@given(st.lists(st.binary(max_size=200_000), min_size=1, max_size=6), st.randoms())
def test_questions_find_their_answers_in_whatever_order_these_come(
    payloads: list[bytes], dice: object
) -> None:
    async def story(asking: Asking, worker: Channel, _: socket.socket) -> None:
        asked = [
            asyncio.create_task(asking.ask(Kind.SAMPLES, payload, timeout_seconds=10)) for payload in payloads
        ]
        frames = [await worker.receive() for _ in payloads]
        assert [frame.payload for frame in frames] == payloads
        dice.shuffle(frames)  # type: ignore[attr-defined]
        for frame in frames:
            await worker.send(Frame(Kind.DONE, frame.number, frame.payload[::-1]))
        assert [await each for each in asked] == [payload[::-1] for payload in payloads]

    play(story)


def test_an_answer_that_comes_too_late_is_for_nobody() -> None:
    async def story(asking: Asking, worker: Channel, _: socket.socket) -> None:
        with pytest.raises(TimeoutError):
            await asking.ask(Kind.PING, timeout_seconds=0.01)
        late = await worker.receive()
        next_one = asyncio.create_task(asking.ask(Kind.PING, timeout_seconds=10))
        frame = await worker.receive()
        await worker.send(Frame(Kind.DONE, late.number, b"late"))
        await worker.send(Frame(Kind.DONE, frame.number, b"right"))
        assert await next_one == b"right"

    play(story)


def test_a_refusal_carries_the_reason_of_the_worker() -> None:
    async def story(asking: Asking, worker: Channel, _: socket.socket) -> None:
        asked = asyncio.create_task(asking.ask(Kind.START, timeout_seconds=10))
        frame = await worker.receive()
        await worker.send(Frame(Kind.FAILED, frame.number, b"OSError: in use"))
        with pytest.raises(WorkerFailed, match="OSError: in use"):
            await asked

    play(story)


@pytest.mark.parametrize("sent", [b"", b"\x07", b"\x07" + b"\0" * 8 + b"\0\0\0\x09half", b"\xff" * 13])
def test_an_end_in_the_middle_of_anything_and_what_is_no_frame_close_the_channel(sent: bytes) -> None:
    async def story(asking: Asking, worker: Channel, end: socket.socket) -> None:
        asked = asyncio.create_task(asking.ask(Kind.PING, timeout_seconds=10))
        await worker.receive()
        end.send(sent)
        end.shutdown(socket.SHUT_RDWR)
        with pytest.raises(ChannelClosed):
            await asked
        await asking.wait_closed()
        with pytest.raises(ChannelClosed):
            await asking.ask(Kind.PING, timeout_seconds=10)

    play(story)


def test_a_worker_learns_of_the_end_of_the_supervisor() -> None:
    async def story(asking: Asking, worker: Channel, _: socket.socket) -> None:
        await asking.close()
        with pytest.raises(ChannelClosed):
            await worker.receive()

    play(story)
