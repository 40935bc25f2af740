"""What a caller's request says, read strictly: what two servers might read differently is refused.

RFC 9112 sections 3.2, 5, 6.1, 6.3 and 11.2.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from switchyard.dataplane.exchange import Headers
from switchyard.dataplane.http.ports import Handler

_TARGET = re.compile(rb"[\x21\x22\x24-\x7e]+")  # a fragment (#) stays with the caller: RFC 9112 section 3.2
_HOST = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:%\[\]-]*")  # RFC 3986 section 3.2.2
_MAX_FIELDS = 256


class RefusalError(Exception):
    """The request is answered with this status, and the connection ends."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Incoming:
    """One request of a caller, as far as it was read."""

    __slots__ = (
        "fields",
        "handler",
        "head_bytes",
        "headers",
        "is_answering",
        "is_chunked",
        "is_complete",
        "is_keep_alive",
        "is_old",
        "length",
        "method",
        "received_bytes",
        "target",
        "upgrade",
        "waiting",
        "wants_continue",
    )

    def __init__(self, method: bytes, headers: Headers) -> None:
        self.method = method
        self.target = b""
        self.headers = headers
        self.fields: dict[str, str] = {}  # names in lower case; repeated ones joined
        self.head_bytes = 0
        self.length: int | None = None
        self.is_chunked = False
        self.is_old = False  # HTTP/1.0
        self.is_keep_alive = True
        self.is_complete = False
        self.is_answering = False  # a part of its answer has been written
        self.upgrade = b""
        self.wants_continue = False
        self.received_bytes = 0
        self.waiting: list[bytes] = []  # of the body, before there was a handler
        self.handler: Handler | None = None


def read_request(
    method: bytes, target: bytes, headers: Headers, *, version: str, max_head_bytes: int, max_body_bytes: int
) -> Incoming:
    """The request of a head. Raises RefusalError for what can't be served or has no single meaning."""
    if version not in {"1.1", "1.0"}:
        raise RefusalError(505, "only HTTP/1.1 and HTTP/1.0 are known here")
    request = Incoming(method, headers)
    request.is_old = version == "1.0"
    _read_fields(request, max_head_bytes)
    _read_target(request, target)
    _read_framing(request, max_body_bytes)
    expected = request.fields.get("expect")
    if expected is not None:
        if expected.lower() != "100-continue":
            raise RefusalError(417, "of expectations only 100-continue is known here")
        request.wants_continue = not request.is_old
    return request


def _read_fields(request: Incoming, max_head_bytes: int) -> None:
    if len(request.headers) > _MAX_FIELDS:
        raise RefusalError(431, f"the head of the request has more than {_MAX_FIELDS} fields")
    fields = request.fields
    size = 0
    for name, value in request.headers:
        size += len(name) + len(value) + 4
        key = name.lower().decode("ascii", "replace")
        text = value.decode("latin-1")
        if key not in fields:
            fields[key] = text
        elif key in {"host", "content-length"}:
            raise RefusalError(400, f"give one {name.decode('ascii', 'replace')} field")
        else:
            fields[key] = f"{fields[key]}; {text}" if key == "cookie" else f"{fields[key]}, {text}"
    if size > max_head_bytes:
        raise RefusalError(431, f"the head of the request is above {max_head_bytes} bytes")
    request.head_bytes = size


def _read_target(request: Incoming, target: bytes) -> None:
    """Keep the target in origin form; of the absolute form the host goes into Host."""
    host = request.fields.get("host")
    if host is None and not request.is_old:
        raise RefusalError(400, "give a Host field")
    if host is not None and not _HOST.fullmatch(host):
        raise RefusalError(400, "Host must be the name of a host, with or without a port")
    if request.method == b"CONNECT":
        raise RefusalError(501, "CONNECT is not for this server")
    if not _TARGET.fullmatch(target):
        raise RefusalError(400, "the request target has characters that must be percent-encoded")
    request.target = target
    if target.startswith(b"/") or (target == b"*" and request.method == b"OPTIONS"):
        return
    try:
        parts = urlsplit(target.decode("ascii"))
    except ValueError:
        raise RefusalError(400, "the request target is not valid") from None
    if parts.scheme not in {"http", "https"} or not parts.netloc or not _HOST.fullmatch(parts.netloc):
        raise RefusalError(400, "the request target must begin with /")
    request.headers = (
        (b"Host", parts.netloc.encode()),
        *(field for field in request.headers if field[0].lower() != b"host"),
    )
    request.fields["host"] = parts.netloc
    path = parts.path or "/"
    request.target = (f"{path}?{parts.query}" if parts.query else path).encode()


def _read_framing(request: Incoming, max_body_bytes: int) -> None:
    fields = request.fields
    coding, length = fields.get("transfer-encoding"), fields.get("content-length")
    if coding is not None:
        if request.is_old or length is not None:
            raise RefusalError(400, "Transfer-Encoding can't stand beside Content-Length or in HTTP/1.0")
        if coding.lower() != "chunked":
            raise RefusalError(501, "of the transfer codings only chunked is known here")
        request.is_chunked = True
    if length is not None:
        if not (length.isascii() and length.isdigit()) or len(length) > 18:
            raise RefusalError(400, "Content-Length must be a number")
        request.length = int(length)
        if request.length > max_body_bytes:
            raise RefusalError(413, f"the body is above {max_body_bytes} bytes")
