"""A router's admin port as the operator asks it: bounded in time and size, never sent elsewhere."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from switchyard.adapters.routing.router_key import Token
from switchyard.adapters.signals.bounded_http import Bounds, NoAnswer, open_session
from switchyard.core.errors import RoutingDocumentError, SamplesError
from switchyard.core.routing.document import RoutingDocument, parse_routing_document
from switchyard.core.routing.router_document import build_url
from switchyard.core.routing.samples import Samples, parse_samples

_CONNECTIONS = 32
_CHUNK_BYTES = 64 * 1024
_SHOWN_LENGTH = 300


@dataclass(frozen=True, slots=True)
class Report:
    """What a router says of itself. `document`: the last that it took. `version`: in force in each worker."""

    version: int | None
    document: RoutingDocument | None

    @property
    def in_force(self) -> RoutingDocument | None:
        """The document that every worker follows; None while one does not."""
        document = self.document
        return document if document is not None and document.version == self.version else None


class Refused(Exception):  # noqa: N818 - reads as what is wrong
    """The router does not take the document; the message is its own. `is_final`: it never will."""

    def __init__(self, message: str, *, is_final: bool) -> None:
        super().__init__(message)
        self.is_final = is_final


@dataclass
class AdminClient:
    """Asks routers at `address` and `port`. Raises NoAnswer where there is none that can be used."""

    bounds: Bounds = field(default_factory=lambda: Bounds(timeout_seconds=3.0, most_bytes=16 << 20))
    _session: aiohttp.ClientSession | None = None

    async def read_config(self, address: str, port: int, token: Token) -> Report:
        """What is in force."""
        status, body = await self._ask("GET", f"{build_url(address, port)}/v1/config", token)
        plain = _parse_object(body)
        if status != 200:
            raise NoAnswer(_describe(status, plain))
        version, document = plain.get("version"), plain.get("document")
        try:
            parsed = None if document is None else parse_routing_document(json.dumps(document))
        except RoutingDocumentError as error:
            raise NoAnswer(f"a document that this operator can't read: {_shorten(str(error))}") from None
        return Report(version if isinstance(version, int) else None, parsed)

    async def put_config(self, address: str, port: int, token: Token, document: RoutingDocument) -> None:
        """Returns once the document is in force in every worker. Raises Refused."""
        status, body = await self._ask(
            "PUT", f"{build_url(address, port)}/v1/config", token, document.encode()
        )
        plain = _parse_object(body)
        if status == 200:
            return
        if status in {409, 413, 422, 503}:
            raise Refused(_describe(status, plain), is_final=status in {413, 422})
        raise NoAnswer(_describe(status, plain))

    async def read_samples(self, address: str, port: int, token: Token) -> Samples:
        """A reading of all workers."""
        status, body = await self._ask("GET", f"{build_url(address, port)}/v1/samples", token)
        if status != 200:
            raise NoAnswer(_describe(status, _parse_object(body)))
        try:
            return parse_samples(body)
        except SamplesError as error:
            raise NoAnswer(f"samples that this operator can't read: {_shorten(str(error))}") from None

    async def close(self) -> None:
        """End what is open."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _ask(self, method: str, url: str, token: Token, body: bytes | None = None) -> tuple[int, bytes]:
        if self._session is None:
            self._session = open_session(self.bounds, connections=_CONNECTIONS)
        headers = {"Authorization": f"Bearer {token.text}", "Content-Type": "application/json"}
        try:
            async with self._session.request(
                method, url, data=body, headers=headers, allow_redirects=False
            ) as answer:
                found = bytearray()
                async for chunk in answer.content.iter_chunked(_CHUNK_BYTES):
                    found += chunk
                    if len(found) > self.bounds.most_bytes:
                        raise NoAnswer(f"an answer of more than {self.bounds.most_bytes} bytes")
                return answer.status, bytes(found)
        except TimeoutError as error:
            raise NoAnswer(f"no answer within {self.bounds.timeout_seconds:g} s") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise NoAnswer(type(error).__name__) from error


def _parse_object(body: bytes) -> Mapping[str, Any]:
    try:
        plain = json.loads(body)
    except (ValueError, RecursionError):
        raise NoAnswer("an answer that is no JSON") from None
    if not isinstance(plain, dict):
        raise NoAnswer("an answer that is no JSON object")
    return plain


def _describe(status: int, plain: Mapping[str, Any]) -> str:
    problems = plain.get("problems")
    lines = [str(plain.get("error") or ""), *(map(str, problems) if isinstance(problems, list) else [])]
    return _shorten("; ".join(filter(None, lines))) or f"HTTP {status}"


def _shorten(text: str) -> str:
    plain = " ".join(text.split())
    return plain if len(plain) <= _SHOWN_LENGTH else f"{plain[:_SHOWN_LENGTH]}…"
