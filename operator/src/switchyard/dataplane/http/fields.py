"""Header fields that a proxy drops, changes or makes, and the heads it writes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import NamedTuple

from switchyard.dataplane.exchange import Headers

REQUEST_ID = b"x-request-id"
SHADOW_MARK = b"x-switchyard-shadow"
REASON = b"x-switchyard-reason"

# RFC 9110 section 7.6.1; Upgrade is put back where the connection really changes its protocol, Expect is
# answered here, and trailers are not passed on.
_HOP_BY_HOP = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade")
)
_FRAMING = frozenset((b"content-length", b"host"))  # never dropped because a Connection field names them
_FORWARDED = (b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host")
_SANE_ID = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")


def list_tokens(value: bytes) -> list[bytes]:
    """The members of a comma-separated field in lower case (RFC 9110 section 5.6.1)."""
    return [token for part in value.split(b",") if (token := part.strip().lower())]


def drop_hop_by_hop(headers: Headers) -> list[tuple[bytes, bytes]]:
    """The fields that concern the other end, without those that end at this hop."""
    named: set[bytes] = set()
    for name, value in headers:
        if name.lower() == b"connection":
            named.update(list_tokens(value))
    dropped = (_HOP_BY_HOP | named) - _FRAMING
    return [field for field in headers if field[0].lower() not in dropped]


def is_sane_id(value: bytes) -> bool:
    """True when a caller's request id may be kept, logged and passed on."""
    return _SANE_ID.fullmatch(value) is not None


def build_request_head(
    method: bytes, target: bytes, headers: Headers, *, peer: str, request_id: bytes, extra: Headers = ()
) -> bytes:
    """The head that a backend gets: the caller's fields, who the caller is, and the request's id."""
    lines = [b"%b %b HTTP/1.1" % (method, target)]
    known: dict[bytes, list[bytes]] = {name: [] for name in _FORWARDED}
    host: bytes | None = None
    for name, value in drop_hop_by_hop(headers):
        lower = name.lower()
        if lower in known:
            known[lower].append(value)
        elif lower not in {REQUEST_ID, SHADOW_MARK, b"expect"}:
            lines.append(b"%b: %b" % (name, value))
            if lower == b"host":
                host = value
    if host is None:  # of HTTP/1.0
        host = b"localhost"
        lines.append(b"Host: localhost")
    if peer:
        known[b"x-forwarded-for"].append(peer.encode())
    known[b"x-forwarded-proto"] = known[b"x-forwarded-proto"] or [b"http"]
    known[b"x-forwarded-host"] = known[b"x-forwarded-host"] or [host]
    lines += [b"%b: %b" % (name, b", ".join(values)) for name, values in known.items() if any(values)]
    lines.append(b"%b: %b" % (REQUEST_ID, request_id))
    lines += [b"%b: %b" % field for field in extra]
    return b"\r\n".join(lines) + b"\r\n\r\n"


class Framing(NamedTuple):
    """How a caller can tell where an answer ends. `is_told`: by something else than the connection's end."""

    is_chunked: bool
    is_told: bool
    is_kept: bool


def frame_answer(status: int, *, is_head: bool, has_length: bool, is_old: bool, may_keep: bool) -> Framing:
    """How an answer is framed for a caller (RFC 9112 section 6.3)."""
    has_body = not is_head and status not in {204, 304}
    is_chunked = has_body and not has_length and not is_old
    is_told = has_length or is_chunked or not has_body
    return Framing(is_chunked, is_told, may_keep and is_told)


def build_answer_fields(
    status: int, headers: Headers, framing: Framing, *, is_old: bool
) -> list[tuple[bytes, bytes]]:
    """The fields that a caller gets: the backend's, and those of this hop."""
    fields = drop_hop_by_hop(headers)
    if status == 204:  # RFC 9110 section 8.6
        fields = [field for field in fields if field[0].lower() != b"content-length"]
    if framing.is_chunked:
        fields.append((b"Transfer-Encoding", b"chunked"))
    if not framing.is_kept:
        fields.append((b"Connection", b"close"))
    elif is_old:
        fields.append((b"Connection", b"keep-alive"))
    return fields


def build_answer_head(status: int, reason: bytes, fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The head that a caller gets."""
    lines = [b"HTTP/1.1 %d %b" % (status, reason)]
    lines += [b"%b: %b" % field for field in fields]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def build_refusal(status: int, message: str, *, request_id: bytes = b"", reason: str = "") -> bytes:
    """A whole answer of the router itself, after which the connection ends."""
    body = f"{message}\n".encode()
    fields = [
        (b"Content-Type", b"text/plain; charset=utf-8"),
        (b"Content-Length", str(len(body)).encode()),
        (b"Connection", b"close"),
    ]
    if request_id:
        fields.append((REQUEST_ID, request_id))
    if reason:
        fields.append((REASON, reason.encode()))
    return build_answer_head(status, HTTPStatus(status).phrase.encode(), fields) + body


def frame_chunk(data: bytes) -> bytes:
    """One chunk of the chunked coding (RFC 9112 section 7.1)."""
    return b"%x\r\n%b\r\n" % (len(data), data)


LAST_CHUNK = b"0\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
