"""What is kept of a user's request and answer for its copy, within one share of what may be held."""

from __future__ import annotations

import asyncio
from typing import Protocol

from switchyard.core.routing.document import RoutingDocument, Segment
from switchyard.dataplane.allowance import Share
from switchyard.dataplane.exchange import Answer, Body, BodyTap, Request
from switchyard.dataplane.shadow import Copy


class Shadows(Protocol):
    """Takes copies of requests; never raises, never waits."""

    def open_share(self) -> Share:
        """Room for what is kept of one request."""
        ...

    def offer(self, copy: Copy) -> bool:
        """False where there is no room."""
        ...

    def refuse(self, segment: str, reason: str) -> None:
        """Count a copy that can't be made."""
        ...


class Duplicate:
    """One copy in the making: offered when its request is whole, and told the user's answer in the end."""

    def __init__(self, shadows: Shadows, document: RoutingDocument, segment: Segment, peer: str) -> None:
        self._shadows = shadows
        self._document, self._segment, self._peer = document, segment, peer
        self._share = shadows.open_share()
        self._request_tap = BodyTap(document.shadow.max_body_bytes, self._share)
        self._answer_tap = BodyTap(document.shadow.max_body_bytes, self._share)
        self._answered: asyncio.Future[Answer] | None = None

    def feed_request(self, data: bytes) -> None:
        """Take note of more of the request's body."""
        self._request_tap.feed(data)

    def feed_answer(self, data: bytes) -> None:
        """Take note of more of the answer's body."""
        self._answer_tap.feed(data)

    def offer(self, request: Request) -> bool:
        """Hand the copy over; False where it is dropped."""
        tap = self._request_tap
        body = tap.close()
        if not body.is_complete:
            self._shadows.refuse(self._segment.name, "memory" if tap.is_starved else "body")
            self._share.release()
            return False
        answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        copy = Copy(
            request=request,
            body=body.prefix,
            document=self._document,
            segment=self._segment,
            peer=self._peer,
            answered=answered,
            share=self._share,
        )
        if not self._shadows.offer(copy):
            self._share.release()
            return False
        self._answered = answered
        return True

    def close_answer(self) -> Body:
        """What was kept of the answer."""
        return self._answer_tap.close()

    def settle(self, answer: Answer) -> None:
        """Tell the copy what the user got, or forget about it where it was never offered."""
        if self._answered is None:
            self._share.release()
        elif not self._answered.done():
            self._answered.set_result(answer)
