"""What a connection of a caller asks of where it belongs, and of who works on its requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from switchyard.dataplane.http.front import FrontConnection
    from switchyard.dataplane.http.incoming import Incoming


class Handler(Protocol):
    """Works on one request: gets its body, writes its answer through the connection."""

    def request_body(self, data: bytes) -> None: ...
    def request_end(self) -> None: ...
    def caller_lost(self) -> None:
        """The caller has gone."""
        ...

    def caller_full(self, *, is_full: bool) -> None:
        """The caller takes no more for now, or again."""
        ...

    def caller_tunnel(self, data: bytes) -> None:
        """Bytes of the protocol that was changed to."""
        ...


class Limits(Protocol):
    """What a caller may take, read anew for each request."""

    @property
    def max_body_bytes(self) -> int: ...
    @property
    def max_head_bytes(self) -> int: ...
    @property
    def header_timeout_seconds(self) -> float: ...
    @property
    def idle_timeout_seconds(self) -> float: ...
    @property
    def keep_alive_seconds(self) -> float: ...


class Host(Protocol):
    """Where connections belong: gives their limits, and a handler for each request."""

    @property
    def limits(self) -> Limits: ...
    @property
    def is_draining(self) -> bool: ...
    def open_handler(self, connection: FrontConnection, request: Incoming) -> Handler: ...
    def connection_opened(self, connection: FrontConnection) -> bool:
        """False when there are too many."""
        ...

    def connection_closed(self, connection: FrontConnection) -> None: ...
    def note_refused(self, status: int) -> None:
        """A request was refused before it had a handler."""
        ...
