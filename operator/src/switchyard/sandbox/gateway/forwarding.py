"""What a proxy does to the headers of a message: pure.

Sources: RFC 9110 section 7.6.1 (hop-by-hop fields), RFC 9112 (framing), and the X-Forwarded-* convention.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from urllib.parse import parse_qsl, urlsplit

from multidict import CIMultiDict, CIMultiDictProxy

from switchyard.sandbox.gateway.table import HeaderChanges, RequestLine

Headers = CIMultiDict[str]

_HOP_BY_HOP = (
    "Connection",
    "Keep-Alive",
    "Proxy-Authenticate",
    "Proxy-Authorization",
    "Proxy-Connection",
    "TE",
    "Trailer",
    "Transfer-Encoding",
    "Upgrade",
)


def read_line(method: str, target: str, headers: Mapping[str, str] | CIMultiDictProxy[str]) -> RequestLine:
    """What of a request routing looks at; `target` may be in absolute form (RFC 9112 section 3.2.2)."""
    parts = urlsplit(target) if "://" in target.partition("?")[0] else None
    authority = parts.netloc if parts else headers.get("Host", "")
    path, _, query = target_path(target).partition("?")
    queries: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        queries.setdefault(name, value)
    joined: dict[str, str] = {}
    for name, value in headers.items():
        key = name.lower()
        joined[key] = f"{joined[key]},{value}" if key in joined else value
    return RequestLine(method, strip_port(authority).lower().rstrip("."), path, joined, queries)


def target_path(target: str) -> str:
    """Path and query of a request target, as they were sent."""
    if target.startswith("/") or "://" not in target:
        return target
    rest = target.partition("://")[2]
    cut = min((rest.find(mark) for mark in "/?" if mark in rest), default=-1)
    return "/" if cut < 0 else rest[cut:] if rest[cut] == "/" else f"/{rest[cut:]}"


def strip_port(authority: str) -> str:
    """The host of an authority, brackets of an IPv6 address included."""
    if authority.startswith("["):
        return authority.partition("]")[0] + "]"
    return authority.partition(":")[0]


def request_headers(
    headers: CIMultiDictProxy[str], *, peer: str, host: str, changes: HeaderChanges
) -> Headers:
    """The headers as they go to a backend: the host stays, who asked is added, changes come last."""
    kept = end_to_end(headers)
    kept.popall("Expect", None)  # answered by this hop
    kept["Host"] = host
    chain = [value for value in kept.popall("X-Forwarded-For", []) if value]
    kept["X-Forwarded-For"] = ", ".join([*chain, peer])
    kept.setdefault("X-Forwarded-Proto", "http")
    kept.setdefault("X-Forwarded-Host", host)
    kept.setdefault("X-Request-Id", str(uuid.uuid4()))
    change_headers(kept, changes)
    return kept


def end_to_end(headers: CIMultiDictProxy[str]) -> Headers:
    """The headers without those that concern one connection alone."""
    kept: Headers = CIMultiDict(headers)
    named = [name.strip() for value in headers.getall("Connection", []) for name in value.split(",")]
    for name in (*_HOP_BY_HOP, *named):
        kept.popall(name, None)
    return kept


def change_headers(headers: Headers, changes: HeaderChanges) -> None:
    """Do what a rule asks for."""
    for name in changes.remove:
        headers.popall(name, None)
    for name, value in changes.set:
        headers[name] = value
    for name, value in changes.add:
        headers.add(name, value)


def shadow_host(host: str, suffix: str) -> str:
    """The host of a mirrored copy: the suffix stands before the port, as Envoy writes it."""
    name = strip_port(host)
    return f"{name}{suffix}{host[len(name) :]}"
