"""Copies of requests that a gateway's mirror sends: answered at once, and replayed to both backends.

The user's answer passes elsewhere. So the baseline is asked as well, for a share of the copies, and its
answer stands for the user's (`plan_copies`).
"""

from __future__ import annotations

import os
import re
from typing import Protocol

from switchyard.core.routing.document import RoutingDocument, Segment
from switchyard.core.routing.matching import find_segment, may_repeat
from switchyard.dataplane.allowance import Share
from switchyard.dataplane.exchange import BodyTap, Headers, Request
from switchyard.dataplane.http.fields import REQUEST_ID, SHADOW_MARK, build_answer_head, is_sane_id
from switchyard.dataplane.http.front import FrontConnection
from switchyard.dataplane.http.incoming import Incoming
from switchyard.dataplane.shadow import Copy

_BYTES_PER_TOKEN = 4
# Envoy, and so Istio, marks a mirrored request thus, before the port where there is one
_MIRRORED_HOST = re.compile(rb"(.+)-shadow(:[0-9]+)?")


class Shadows(Protocol):
    """Takes copies; never raises, never waits."""

    def open_share(self) -> Share:
        """Room for what is kept of one request."""
        ...

    def offer(self, copy: Copy) -> bool:
        """False where there is no room."""
        ...

    def refuse(self, segment: str, reason: str) -> None:
        """Count a copy that can't be made."""
        ...


class Core(Protocol):
    """What requests share."""

    @property
    def document(self) -> RoutingDocument: ...
    @property
    def shadows(self) -> Shadows: ...
    @property
    def is_draining(self) -> bool: ...
    def exchange_ended(self, exchange: MirrorExchange) -> None: ...


class MirrorExchange:
    """One mirrored request: read whole, answered with 202 and nothing more, or 503 where it was dropped."""

    def __init__(self, core: Core, connection: FrontConnection, incoming: Incoming) -> None:
        self._core = core
        self._front = connection
        self._incoming = incoming
        self._document = core.document
        given = incoming.fields.get("x-request-id", "").encode("latin-1")
        self._request_id = given if is_sane_id(given) else os.urandom(16).hex().encode()
        target = incoming.target.decode("ascii")
        self._segment = find_segment(self._document, target, incoming.fields)
        self._obstacle = find_obstacle(self._document, self._segment, incoming)
        self._share = core.shadows.open_share()
        limit_bytes = self._document.shadow.max_body_bytes
        self._tap = None if self._obstacle is not None else BodyTap(limit_bytes, self._share)
        self._is_over = False
        incoming.upgrade = b""  # a wish for another protocol is declined: RFC 9110 section 7.8

    def start(self) -> None:
        """Ask a caller that waits for it to send the body."""
        if not self._incoming.is_complete:
            self._front.ask_for_body(self._incoming)

    def request_body(self, data: bytes) -> None:
        if self._tap is not None:
            self._tap.feed(data)

    def request_end(self) -> None:
        is_taken = self._offer()
        keep = self._incoming.is_keep_alive and not self._incoming.is_old and not self._core.is_draining
        fields: list[tuple[bytes, bytes]] = [(b"Content-Length", b"0"), (REQUEST_ID, self._request_id)]
        if not keep:
            fields.append((b"Connection", b"close"))
        status, reason = (202, b"Accepted") if is_taken else (503, b"Service Unavailable")
        self._incoming.is_answering = True
        self._front.write(build_answer_head(status, reason, fields))
        self._end()
        self._front.finish(self._incoming, keep=keep)

    def caller_lost(self) -> None:
        self._end()

    def caller_full(self, *, is_full: bool) -> None: ...
    def caller_tunnel(self, data: bytes) -> None: ...

    def judge_age(self, now: float) -> None:
        """Nothing here takes time but the caller, whose connection keeps its own."""

    def cut(self) -> None:
        """End it now."""
        self._end()
        self._front.abort()

    def _offer(self) -> bool:
        """Whether there was room, where a copy is to be made at all."""
        incoming, shadows, segment = self._incoming, self._core.shadows, self._segment
        tap, self._tap, obstacle = self._tap, None, self._obstacle
        body = None if tap is None else tap.close()
        if tap is not None and body is not None and not body.is_complete:
            obstacle = "memory" if tap.is_starved else "body"
        if obstacle:
            shadows.refuse(segment.name, obstacle)
        if obstacle is not None or body is None:
            self._share.release()
            return True
        request = Request(
            method=incoming.method.decode("ascii"),
            target=incoming.target.decode("ascii"),
            headers=restore_host(incoming.headers),
            request_id=self._request_id.decode(),
            segment=segment.name,
            caller=self._request_id.decode(),
            input_tokens=incoming.received_bytes // _BYTES_PER_TOKEN,
        )
        return shadows.offer(
            Copy(
                request=request,
                body=body.prefix,
                document=self._document,
                segment=segment,
                peer=self._front.peer,
                answered=None,
                share=self._share,
            )
        )

    def _end(self) -> None:
        if not self._is_over:
            self._is_over = True
            if self._tap is not None:
                self._tap = None
                self._share.release()
            self._core.exchange_ended(self)


def find_obstacle(document: RoutingDocument, segment: Segment, incoming: Incoming) -> str | None:
    """Why a mirrored request is not replayed, as its drop is counted; None where it is.

    Empty, and not counted, where the segment shadows nothing: mirrors hear of that later than this does. The
    mirror has drawn which requests to send, so none is left out by the segment's percentage here.
    """
    if not segment.shadow_percent:
        return ""
    shadow = document.shadow
    if SHADOW_MARK.decode() in incoming.fields:
        return "loop"  # itself a copy: a mirror in front of a backend would multiply it without end
    is_excluded = not may_repeat(shadow, incoming.method.decode("ascii"), incoming.target.decode("ascii"))
    if is_excluded or incoming.upgrade:
        return "excluded"
    return "body" if (incoming.length or 0) > shadow.max_body_bytes else None


def restore_host(headers: Headers) -> Headers:
    """The fields as the user's request had them, without the mark that Envoy sets on Host."""
    return tuple(
        (name, b"".join(found.groups(b"")))
        if name.lower() == b"host" and (found := _MIRRORED_HOST.fullmatch(value))
        else (name, value)
        for name, value in headers
    )
