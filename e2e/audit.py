"""What a client asks of an API server, noted by a proxy in between, with the right that each needs."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from aiohttp import ClientSession, ClientTimeout, web

HOP_HEADERS = {"connection", "content-length", "host", "keep-alive", "transfer-encoding", "upgrade"}
VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


@dataclass(frozen=True, slots=True)
class Right:
    """What a rule of a role grants: one verb on one resource of one group."""

    group: str
    resource: str
    verb: str


@dataclass
class Audit:
    """Requests in the order of their answers. `url` is where the client has to ask."""

    url: str = ""
    seen: list[tuple[Right, int, str]] = field(default_factory=list)  # right, status, path

    @property
    def used(self) -> set[Right]:
        return {right for right, status, _ in self.seen if status < 400 or status in {404, 409}}

    @property
    def forbidden(self) -> list[tuple[Right, str]]:
        return [(right, path) for right, status, path in self.seen if status == 403]


def right_of(method: str, path: str, *, is_watch: bool) -> Right | None:
    """The right that a request needs, None for paths that are no resources."""
    parts = [part for part in path.split("/") if part]
    if parts[:1] == ["api"]:
        group, rest = "", parts[2:]
    elif parts[:1] == ["apis"] and len(parts) > 3:
        group, rest = parts[1], parts[3:]
    else:
        return None
    if rest[:1] == ["namespaces"] and len(rest) > 2:
        rest = rest[2:]
    if not rest:
        return None
    resource = "/".join(rest[:1] + rest[2:])
    if method == "GET":
        verb = "watch" if is_watch else "get" if len(rest) > 1 else "list"
    else:
        verb = VERBS[method] if len(rest) > 1 or method != "DELETE" else "deletecollection"
    return Right(group, resource, verb)


@contextmanager
def audit(url: str, ca_path: str) -> Iterator[Audit]:
    """A proxy before the API server at `url`, for as long as the context lasts."""
    noted = Audit()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    proxy = _Proxy(url, ca_path, noted)
    try:
        asyncio.run_coroutine_threadsafe(proxy.start(), loop).result(10)
        yield noted
    finally:
        asyncio.run_coroutine_threadsafe(proxy.stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)


class _Proxy:
    def __init__(self, url: str, ca_path: str, noted: Audit) -> None:
        self._url = url
        self._tls = ssl.create_default_context(cafile=ca_path)
        self._noted = noted

    async def start(self) -> None:
        self._session = ClientSession(timeout=ClientTimeout(total=None), auto_decompress=False)
        app = web.Application(client_max_size=16 * 1024 * 1024)
        app.router.add_route("*", "/{tail:.*}", self._pass_on)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self._noted.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        await self._runner.cleanup()
        await self._session.close()

    async def _pass_on(self, request: web.Request) -> web.StreamResponse:
        headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP_HEADERS}
        right = right_of(request.method, request.path, is_watch=request.query.get("watch") in {"1", "true"})
        async with self._session.request(
            request.method,
            self._url + request.raw_path,
            headers=headers,
            data=await request.read() or None,
            skip_auto_headers=("Content-Type",),  # servers refuse a type that the client did not send
            ssl=self._tls,
        ) as answer:
            if right is not None:
                self._noted.seen.append((right, answer.status, request.path))
                if right.verb == "patch" and answer.status == 201:  # an apply of what was not there
                    creation = Right(right.group, right.resource, "create")
                    self._noted.seen.append((creation, answer.status, request.path))
            kept = {name: value for name, value in answer.headers.items() if name.lower() not in HOP_HEADERS}
            response = web.StreamResponse(status=answer.status, headers=kept)
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
            return response
