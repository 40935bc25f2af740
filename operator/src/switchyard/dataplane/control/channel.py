"""The channel between the supervisor and a worker: questions, each answered once, over a socket pair.

A frame is kind (1 byte), number of the question (8), length of the payload (4), payload. Either side learns
of the other's end, however sudden, by the end of the stream.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import struct
from dataclasses import dataclass
from enum import IntEnum

_HEADER = struct.Struct(">BQI")
_MAX_PAYLOAD_BYTES = 256 << 20


class Kind(IntEnum):
    """What a frame is."""

    CONFIGURE = 1  # payload: a routing document
    START = 2
    SAMPLES = 3  # answered with a reading
    PING = 4
    DRAIN = 5
    STOP = 6  # payload: the grace period in seconds; answered when it is over
    DONE = 7
    FAILED = 8  # payload: why


class ChannelClosed(Exception):  # noqa: N818 - says what happened
    """The other side has ended."""


class WorkerFailed(Exception):  # noqa: N818 - says what happened
    """The worker could not do what it was asked; the message is the worker's."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One message."""

    kind: Kind
    number: int
    payload: bytes = b""


class Channel:
    """One side's end of the socket pair."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, end: socket.socket) -> Channel:
        """The channel over a connected socket, which it owns from now on."""
        reader, writer = await asyncio.open_unix_connection(sock=end)
        return cls(reader, writer)

    async def receive(self) -> Frame:
        """The next frame. Raises ChannelClosed."""
        try:
            kind, number, length = _HEADER.unpack(await self._reader.readexactly(_HEADER.size))
            if length > _MAX_PAYLOAD_BYTES:
                raise ChannelClosed(f"a frame of {length} bytes")
            return Frame(Kind(kind), number, await self._reader.readexactly(length))
        except (OSError, EOFError, ValueError) as error:
            raise ChannelClosed(str(error)) from None

    async def send(self, frame: Frame) -> None:
        """Write a frame. Raises ChannelClosed."""
        try:
            self._writer.write(_HEADER.pack(frame.kind, frame.number, len(frame.payload)) + frame.payload)
            await self._writer.drain()
        except OSError as error:
            raise ChannelClosed(str(error)) from None

    def close(self) -> None:
        """Close this end."""
        self._writer.close()


class Asking:
    """The supervisor's side: asks and keeps questions and answers together."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[bytes]] = {}
        self._listening = asyncio.create_task(self._listen())

    async def ask(self, kind: Kind, payload: bytes = b"", *, timeout_seconds: float) -> bytes:
        """The answer. Raises TimeoutError, ChannelClosed or WorkerFailed."""
        if self._listening.done():
            raise ChannelClosed("ended")
        number = next(self._numbers)
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._channel.send(Frame(kind, number, payload))
                return await answer
        finally:
            self._waiting.pop(number, None)

    async def wait_closed(self) -> None:
        """Return when the worker has ended."""
        await asyncio.wait({self._listening})

    async def close(self) -> None:
        """Close the channel, which tells the worker to end."""
        self._listening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._listening
        self._channel.close()

    async def _listen(self) -> None:
        try:
            while True:
                frame = await self._channel.receive()
                answer = self._waiting.get(frame.number)
                if answer is None or answer.done():
                    continue  # too late: nobody waits for it any more
                if frame.kind is Kind.DONE:
                    answer.set_result(frame.payload)
                else:
                    answer.set_exception(WorkerFailed(frame.payload.decode(errors="replace")))
        except ChannelClosed:
            pass
        finally:
            for answer in self._waiting.values():
                if not answer.done():
                    answer.set_exception(ChannelClosed("ended"))
