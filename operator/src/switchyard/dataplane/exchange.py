"""A request and its answer, as the router keeps them to measure, shadow and compare."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from switchyard.dataplane.allowance import Share

Headers = tuple[tuple[bytes, bytes], ...]  # as received: order and case kept

# connect: no connection; timeout: no answer in time; reset: broken before the end of the head; truncated:
# broken within the body; status: a complete answer with a status of 500 or above; malformed: not HTTP;
# cancelled: the caller went away, which says nothing of the backend
Failure = Literal["", "connect", "timeout", "reset", "truncated", "status", "malformed", "cancelled"]
FAILURES: tuple[Failure, ...] = ("connect", "timeout", "reset", "truncated", "status", "malformed")


@dataclass(frozen=True, slots=True)
class Body:
    """What is kept of a body: its first bytes, and length and digest of the whole.

    `is_complete`: `prefix` is all of it. `digest`: BLAKE2b with 16 bytes, in hex.
    """

    prefix: bytes = b""
    length: int = 0
    digest: str = ""
    is_complete: bool = True


class BodyTap:
    """Keeps what is to be kept of a body that passes by: at most `limit_bytes`, and what a share has."""

    __slots__ = ("_digest", "_kept", "_room_bytes", "_share", "is_starved", "length")

    def __init__(self, limit_bytes: int, share: Share | None = None) -> None:
        self._room_bytes = limit_bytes
        self._share = share
        self._kept = bytearray()
        self._digest = hashlib.blake2b(digest_size=16)
        self.is_starved = False  # there was room, and the share had none
        self.length = 0

    def feed(self, data: bytes) -> None:
        """Take note of the next bytes."""
        self.length += len(data)
        self._digest.update(data)
        size = min(len(data), self._room_bytes)
        if not size:
            return
        if self._share is not None and not self._share.take(size):
            self._room_bytes = 0
            self.is_starved = True
            return
        self._room_bytes -= size
        self._kept += data if size == len(data) else data[:size]

    def close(self) -> Body:
        """What was kept."""
        kept, self._kept = bytes(self._kept), bytearray()
        self._room_bytes = 0
        return Body(kept, self.length, self._digest.hexdigest(), len(kept) == self.length)


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it came, with where it belongs.

    `caller`: what its arm is drawn by (the value that it sticks to, else its id). `input_tokens`: of its
    prompt, estimated from its length.
    """

    method: str
    target: str
    headers: Headers
    request_id: str
    segment: str = ""
    caller: str = ""
    input_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds from the moment the request was passed on. None: there was none, or it can't be told.

    `ttft_seconds`: to the first event of a stream, else to the first byte of the body; `tpot_seconds`: mean
    time between the tokens after the first, of streams; `output_tokens`: events of a stream.
    """

    latency_seconds: float = 0.0
    ttft_seconds: float | None = None
    tpot_seconds: float | None = None
    output_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a backend made of a request. `status` is 0 where none came; `failure` is empty for a good answer.

    `headers`: names in lower case, the last value of each.
    """

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body = field(default_factory=Body)
    failure: Failure = ""
    timing: Timing = field(default_factory=Timing)
