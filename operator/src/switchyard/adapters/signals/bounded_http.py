"""One request to a metrics endpoint, bounded in time and size: its body, or in a few words why not.

The other side may be anything: it gets no credentials but those meant for it, is never followed elsewhere,
and nothing that it says is repeated to users.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

TIMEOUT_SECONDS = 5.0
_CHUNK_BYTES = 64 * 1024


class NoAnswer(Exception):  # noqa: N818 - reads as what is wrong
    """There is no usable answer; the message says why, in words of ours."""


@dataclass(frozen=True, slots=True)
class Bounds:
    timeout_seconds: float = TIMEOUT_SECONDS
    most_bytes: int = 4 * 1024 * 1024


def open_session(bounds: Bounds, *, connections: int) -> aiohttp.ClientSession:
    """A session without cookies, proxies or credentials of the cluster."""
    return aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=bounds.timeout_seconds),
        connector=aiohttp.TCPConnector(limit=connections),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        # a small compressed body may be a huge one
        auto_decompress=False,
        headers={"Accept-Encoding": "identity", "User-Agent": "switchyard-operator"},
    )


async def fetch_text(
    session: aiohttp.ClientSession,
    url: str,
    bounds: Bounds,
    *,
    form: Mapping[str, str] | None = None,
    token_file: str | None = None,
    accept: str = "text/plain;version=0.0.4",
) -> str:
    """The body of a 200. `form`: sent with POST. Raises NoAnswer."""
    headers = {"Accept": accept}
    try:
        if token_file:
            token = await asyncio.to_thread(Path(token_file).read_text, "utf-8")
            headers["Authorization"] = f"Bearer {token.strip()}"
        method = "GET" if form is None else "POST"
        async with session.request(
            method, url, data=form, headers=headers, allow_redirects=False
        ) as response:
            if response.status != 200:
                raise NoAnswer(f"HTTP {response.status}")
            if response.headers.get("Content-Encoding", "identity") != "identity":
                raise NoAnswer("a compressed answer, which was not asked for")
            body = bytearray()
            async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
                body += chunk
                if len(body) > bounds.most_bytes:
                    raise NoAnswer(f"an answer of more than {bounds.most_bytes} bytes")
            return body.decode("utf-8")
    except TimeoutError as error:
        raise NoAnswer(f"no answer within {bounds.timeout_seconds:g} s") from error
    except UnicodeDecodeError as error:
        raise NoAnswer("an answer that is no text") from error
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise NoAnswer(type(error).__name__) from error


async def fetch_json(
    session: aiohttp.ClientSession, url: str, bounds: Bounds, **how: Any
) -> Mapping[str, Any]:
    """The JSON object in the body of a 200. Raises NoAnswer."""
    text = await fetch_text(session, url, bounds, accept="application/json", **how)
    try:
        document = json.loads(text)
    except ValueError as error:
        raise NoAnswer("an answer that is no JSON") from error
    if not isinstance(document, dict):
        raise NoAnswer("an answer that is no JSON object")
    return document
