"""Both ends of a router under test: raw clients, a backend that does as it is told, and the router between."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

import uvloop

from switchyard.core.routing.document import RoutingDocument
from switchyard.core.routing.samples import Samples
from switchyard.dataplane.engine import RouterEngine

PATIENCE_SECONDS = 10.0
Headers = list[tuple[str, str]]
Thing = TypeVar("Thing")


def wait_until(reached: Callable[[], object], what: str = "") -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not reached():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {PATIENCE_SECONDS:g} s: {what or reached}")
        time.sleep(0.002)


class ClosedError(Exception):
    """The other end closed before what was expected. `rest`: what came of it."""

    def __init__(self, rest: bytes = b"") -> None:
        super().__init__(f"closed after {rest[:200]!r}")
        self.rest = rest


class Wire:
    """A socket with a memory of what was received and not yet read."""

    def __init__(self, plug: socket.socket) -> None:
        self.plug = plug
        plug.settimeout(PATIENCE_SECONDS)
        plug.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.rest = b""

    def send(self, *parts: bytes) -> None:
        self.plug.sendall(b"".join(parts))

    def receive(self, size: int = 1 << 16) -> bytes:
        """The next bytes; empty at the end."""
        if self.rest:
            data, self.rest = self.rest, b""
            return data
        return self.plug.recv(size)

    def read_until(self, mark: bytes) -> bytes:
        data = b""
        while mark not in data:
            more = self.receive()
            if not more:
                raise ClosedError(data)
            data += more
        head, found, self.rest = data.partition(mark)
        return head + found

    def read_exactly(self, size: int) -> bytes:
        parts, left = [], size
        while left:
            more = self.receive()
            if not more:
                raise ClosedError(b"".join(parts))
            parts.append(more[:left])
            self.rest = more[left:]
            left -= len(parts[-1])
        return b"".join(parts)

    def read_to_end(self) -> bytes:
        """All that comes until the other end closes; a reset counts as an end."""
        parts = []
        with contextlib.suppress(ConnectionError):
            while more := self.receive():
                parts.append(more)
        return b"".join(parts)

    def read_chunked(self) -> tuple[bytes, Headers]:
        parts = []
        while True:
            size = int(self.read_until(b"\r\n").partition(b";")[0], 16)
            if not size:
                return b"".join(parts), read_fields(self)
            parts.append(self.read_exactly(size))
            assert self.read_exactly(2) == b"\r\n", "a chunk does not end where it should"

    def is_closed(self) -> bool:
        """True when the other end has closed or reset; what it sent before can still be read."""
        while select.select([self.plug], [], [], 0)[0]:
            try:
                data = self.plug.recv(1 << 16)
            except OSError:
                return True
            if not data:
                return True
            self.rest += data
        return False

    def wait_closed(self) -> None:
        wait_until(self.is_closed, "the other end closes")

    def is_silent(self) -> bool:
        """True when nothing is there to be read and the other end is open."""
        return not self.rest and not select.select([self.plug], [], [], 0)[0]

    def finish_sending(self) -> None:
        self.plug.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.plug.close()

    def reset(self) -> None:
        with contextlib.suppress(OSError):
            self.plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.plug.close()


def read_fields(wire: Wire) -> Headers:
    fields: Headers = []
    while (line := wire.read_until(b"\r\n")) != b"\r\n":
        name, colon, value = line[:-2].decode("latin-1").partition(":")
        assert colon, f"no header field: {line!r}"
        fields.append((name, value.strip(" \t")))
    return fields


def find(headers: Headers, name: str) -> list[str]:
    """All values of a field, in order."""
    return [value for key, value in headers if key.lower() == name.lower()]


@dataclass
class Answer:
    status: int
    reason: str
    headers: Headers
    body: bytes = b""
    interim: list[tuple[int, Headers]] = field(default_factory=list)

    def values(self, name: str) -> list[str]:
        return find(self.headers, name)

    def value(self, name: str) -> str:
        values = self.values(name)
        assert len(values) == 1, f"{name}: {values}"
        return values[0]


class Client(Wire):
    """A caller that writes bytes and reads answers as strictly as they can be read."""

    def __init__(self, port: int, *, receive_bytes: int | None = None) -> None:
        plug = socket.socket()
        if receive_bytes is not None:
            plug.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        plug.settimeout(PATIENCE_SECONDS)
        plug.connect(("127.0.0.1", port))
        super().__init__(plug)

    def read_head(self) -> Answer:
        version, status, *reason = self.read_until(b"\r\n")[:-2].decode("latin-1").split(" ", 2)
        assert version == "HTTP/1.1", version
        return Answer(int(status), "".join(reason), read_fields(self))

    def read_answer(self, *, to: str = "GET") -> Answer:
        """A whole answer. Raises ClosedError with a shortened one in `rest` when it is cut."""
        interim = []
        while (answer := self.read_head()).status < 200 and answer.status != 101:
            interim.append((answer.status, answer.headers))
        answer.interim = interim
        if to == "HEAD" or answer.status in {101, 204, 304}:
            return answer
        lengths, codings = answer.values("content-length"), answer.values("transfer-encoding")
        assert len(lengths) + len(codings) <= 1, f"framed twice: {answer.headers}"
        if lengths:
            answer.body = self.read_exactly(int(lengths[0]))
        elif codings:
            assert codings == ["chunked"]
            answer.body, _ = self.read_chunked()
        else:
            assert answer.values("connection") == ["close"]
            parts = []
            while more := self.receive():
                parts.append(more)
            answer.body = b"".join(parts)
        return answer

    def get(self, target: str = "/", *fields: str, method: str = "GET", body: bytes | None = None) -> Answer:
        """A plain exchange on this connection, which is kept."""
        self.send(build_request(target, *fields, method=method, body=body))
        return self.read_answer(to=method)


def build_request(
    target: str = "/", *fields: str, method: str = "GET", body: bytes | None = None, version: str = "1.1"
) -> bytes:
    lines = [f"{method} {target} HTTP/{version}", "Host: router.test", *fields]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (body or b"")


@dataclass
class Seen:
    """A request as the backend read it."""

    method: str
    target: str
    version: str
    headers: Headers
    body: bytes = b""
    connection: int = 0

    def values(self, name: str) -> list[str]:
        return find(self.headers, name)

    def value(self, name: str) -> str:
        values = self.values(name)
        assert len(values) == 1, f"{name}: {values}"
        return values[0]


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Talk(Wire):
    """One connection to a backend, as its script sees it."""

    def __init__(self, backend: Backend, plug: socket.socket, number: int) -> None:
        super().__init__(plug)
        self._backend = backend
        self.number = number

    def read_head(self) -> Seen:
        """The head of the next request. Raises ClosedError when there is none."""
        line = self.read_until(b"\r\n")[:-2].decode("latin-1")
        method, target, version = line.split(" ")
        seen = Seen(method, target, version, read_fields(self), connection=self.number)
        assert not (seen.values("content-length") and seen.values("transfer-encoding"))
        return seen

    def read_body(self, seen: Seen) -> None:
        if seen.values("transfer-encoding"):
            assert seen.value("transfer-encoding") == "chunked"
            seen.body, trailers = self.read_chunked()
            assert not trailers, trailers
        elif seen.values("content-length"):
            seen.body = self.read_exactly(int(seen.value("content-length")))

    def read_request(self) -> Seen:
        """The next whole request, written down."""
        seen = self.read_head()
        self._backend.heads.append(seen)
        self.read_body(seen)
        self._backend.requests.append(seen)
        return seen


Script = Callable[[Talk], None]


def answer_always(answer: bytes = OK) -> Script:
    """Answers every request on a connection in the same way."""

    def script(talk: Talk) -> None:
        while True:
            talk.read_request()
            talk.send(answer)

    return script


class Backend:
    """A server of threads: `script` is called with every connection and does what it likes with it."""

    def __init__(self, script: Script | None = None, *, port: int = 0) -> None:
        self.script = script or answer_always()
        self.heads: list[Seen] = []
        self.requests: list[Seen] = []
        self.talks: list[Talk] = []
        self.wrong: list[BaseException] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", port), backlog=512)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._is_open = True
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def _accept(self) -> None:
        while self._is_open:
            try:
                plug, _ = self._listener.accept()
            except OSError:
                return
            talk = Talk(self, plug, len(self.talks))
            self.talks.append(talk)
            thread = threading.Thread(target=self._serve, args=(talk,), daemon=True)
            thread.start()
            self._threads.append(thread)

    def _serve(self, talk: Talk) -> None:
        try:
            self.script(talk)
        except (ClosedError, OSError):
            pass
        except BaseException as error:  # noqa: BLE001  (told to the test that owns it)
            self.wrong.append(error)
        finally:
            talk.close()

    @property
    def targets(self) -> list[str]:
        return [seen.target for seen in list(self.requests)]

    def close(self) -> None:
        self._is_open = False
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for talk in list(self.talks):
            with contextlib.suppress(OSError):
                talk.plug.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        assert not self.wrong, self.wrong


class Router:
    """A router engine in a thread of its own, with the clients that talk to it."""

    def __init__(
        self,
        document: Mapping[str, Any],
        *,
        make_loop: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop,
    ) -> None:
        self._clients: list[Client] = []
        self.errors: list[dict[str, Any]] = []
        self._calls: queue.Queue[Exception | None] = queue.Queue()
        self._make_loop = make_loop
        self._document = document
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        failed = self._calls.get(timeout=PATIENCE_SECONDS)
        if failed is not None:
            raise failed

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=self._make_loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.loop.set_exception_handler(lambda _loop, context: self.errors.append(context))
        self._stopping = asyncio.Event()
        try:
            self.engine = RouterEngine(host="127.0.0.1", port=0)
            self.engine.configure(RoutingDocument.model_validate(dict(self._document)))
            await self.engine.start()
        except Exception as error:  # noqa: BLE001  (raised in the test's thread)
            self._calls.put(error)
            return
        self._calls.put(None)
        await self._stopping.wait()
        await self.engine.stop(0.0)

    def ask(self, call: Callable[[], Thing]) -> Thing:
        """What a call returns in the loop of the router."""

        async def run() -> Thing:
            return call()

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(PATIENCE_SECONDS)

    @contextlib.contextmanager
    def standing_still(self) -> Iterator[None]:
        """The loop of the router does nothing: what arrives meanwhile, it finds all at once."""
        has_begun, is_over = threading.Event(), threading.Event()

        def stand() -> None:
            has_begun.set()
            is_over.wait(PATIENCE_SECONDS)

        self.loop.call_soon_threadsafe(stand)
        assert has_begun.wait(PATIENCE_SECONDS)
        try:
            yield
        finally:
            is_over.set()

    @property
    def port(self) -> int:
        return self.engine.port

    def configure(self, document: Mapping[str, Any]) -> None:
        parsed = RoutingDocument.model_validate(dict(document))
        self.ask(lambda: self.engine.configure(parsed))

    def samples(self) -> Samples:
        return self.ask(self.engine.samples)

    def connect(self, *, receive_bytes: int | None = None) -> Client:
        client = Client(self.port, receive_bytes=receive_bytes)
        self._clients.append(client)
        return client

    def get(self, target: str = "/", *fields: str, method: str = "GET", body: bytes | None = None) -> Answer:
        """One exchange on a connection of its own."""
        client = self.connect()
        try:
            return client.get(target, *fields, method=method, body=body)
        finally:
            client.close()

    def is_quiet(self) -> bool:
        """True when nothing of any caller is left in the router."""
        return self.ask(lambda: (self.engine.open_requests, self.engine.open_connections)) == (0, 0)

    def close(self) -> None:
        for client in self._clients:
            client.close()
        try:
            wait_until(self.is_quiet, "the router lets go of all connections and requests")
        finally:
            self.loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join(PATIENCE_SECONDS)
        assert not self._thread.is_alive(), "the router does not stop"
        assert not self.errors, self.errors

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.close()
            return
        with contextlib.suppress(AssertionError):  # the first failure is the one to be told
            self.close()


def build_document(baseline: str, candidate: str | None = None, **fields: Any) -> dict[str, Any]:
    """A routing document in its JSON form."""
    arms = {"baseline": {"url": baseline}}
    if candidate is not None:
        arms["candidate"] = {"url": candidate}
    return {"version": 1, "arms": arms, **fields}


@contextlib.contextmanager
def route_to(script: Script | None = None, **fields: Any) -> Iterator[tuple[Router, Backend]]:
    """A router in front of one backend; afterwards both must have been left in order."""
    with Backend(script) as backend, Router(build_document(backend.url, **fields)) as router:
        yield router, backend
