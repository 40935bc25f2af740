"""The data of server-sent events (WHATWG HTML section 9.2.6)."""

from __future__ import annotations

from collections.abc import Iterator

from switchyard.dataplane.compare.coding import UnreadableError

MAX_EVENTS = 1 << 16


def is_event_stream(content: bytes, content_type: str) -> bool:
    """Whether a body is a stream of events, by its type or, where that says nothing, by its first line."""
    if content_type.partition(";")[0].strip().lower() == "text/event-stream":
        return True
    return (
        content.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n").startswith((b"data:", b"event:", b"id:", b":"))
    )


def read_events(content: bytes) -> Iterator[str]:
    """The data of each event in order; several data lines of an event are joined by a line feed.

    Lines end in CR LF, LF or CR. An event that no blank line closes is given too: it is whole where its
    sender left out the last line, and its reader sees from its data where it is not. Raises UnreadableError
    past MAX_EVENTS.
    """
    text = content.decode("utf-8", "backslashreplace").removeprefix("\ufeff")
    lines: list[str] = []
    count = 0
    for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        if line.startswith("data"):
            name, _, value = line.partition(":")
            if name == "data":
                lines.append(value.removeprefix(" "))
        elif not line and lines:
            count += 1
            if count > MAX_EVENTS:
                raise UnreadableError(f"more than {MAX_EVENTS} events", is_different=False)
            yield "\n".join(lines)
            lines = []
    if lines:
        yield "\n".join(lines)
