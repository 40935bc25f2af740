"""When the first token of an answer passed, and how quickly the others followed."""

from __future__ import annotations

from switchyard.dataplane.exchange import Timing

# Token streams send one event per token, each with one data line, and close with a mark that is no token.
_DATA = b"\ndata:"
_SPACED_END, _PLAIN_END = b"\ndata: [DONE]", b"\ndata:[DONE]"


def is_event_stream(content_type: str, content_encoding: str = "") -> bool:
    """Whether a body is a stream of server-sent events that can be read as it passes (not compressed)."""
    media_type = content_type.partition(";")[0].strip().lower()
    return media_type == "text/event-stream" and content_encoding.strip().lower() in ("", "identity")


class StreamMeter:
    """Times one answer as its body passes, in constant memory. Times are of one clock that never goes back.

    Events are told by their data lines (HTML standard, 9.2.6: a line ends in CR, LF or both), an event by the
    first bytes that show it not to be the closing mark. A body that is no stream, or has no event, has only
    the time of its first byte.
    """

    __slots__ = (
        "_events",
        "_first_byte_at",
        "_first_event_at",
        "_is_stream",
        "_last_event_at",
        "_open",
        "_started_at",
    )

    def __init__(self, started_at: float, is_stream: bool) -> None:  # noqa: FBT001 - called once, by the relay
        self._started_at = started_at
        self._is_stream = is_stream
        self._first_byte_at: float | None = None
        self._first_event_at = 0.0
        self._last_event_at = 0.0
        self._events = 0
        self._open = (
            b"\n"  # the end of what came, where it may yet turn out to be an event; first, a line begins
        )

    def feed(self, data: bytes, at: float) -> None:
        """Take note of the next bytes of the body."""
        if self._first_byte_at is None:
            if not data:
                return
            self._first_byte_at = at
        if self._is_stream:
            events = self._count_events(data)
            if events:
                if not self._events:
                    self._first_event_at = at
                self._events += events
                self._last_event_at = at

    def close(self, at: float) -> Timing:
        """The times of the answer, given when its last byte passed."""
        latency_seconds = at - self._started_at
        if not self._events:
            first = self._first_byte_at
            return Timing(latency_seconds, None if first is None else first - self._started_at)
        spread_seconds = self._last_event_at - self._first_event_at
        return Timing(
            latency_seconds,
            self._first_event_at - self._started_at,
            spread_seconds / (self._events - 1) if self._events > 1 else None,
            self._events,
        )

    def _count_events(self, data: bytes) -> int:
        if b"\r" in data:
            data = data.replace(b"\r", b"\n")
        text = self._open + data
        line = text.rfind(b"\n", -len(_SPACED_END))
        self._open = b""
        if line >= 0:
            tail = text[line:]
            if _SPACED_END.startswith(tail) or _PLAIN_END.startswith(tail):
                self._open = tail
                text = text[:line]
        events = text.count(_DATA)
        if events and b"[DONE]" in text:
            events -= text.count(_SPACED_END) + text.count(_PLAIN_END)
        return events
