"""ClusterIPs as loopback listeners: each port of a Service is proxied to one of its ready endpoints."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random

from switchyard.sandbox.client import Json
from switchyard.sandbox.cluster.addresses import listen_address
from switchyard.sandbox.cluster.controller import WorkQueue
from switchyard.sandbox.cluster.events import Recorder
from switchyard.sandbox.cluster.informer import Informer, Key, key_of

log = logging.getLogger(__name__)

_CHUNK_BYTES = 64 * 1024
_CONNECT_SECONDS = 2.0
_DRAIN_SECONDS = 30.0  # connections of a deleted Service may go on this long

Backend = tuple[str, int]


class Listener:
    """One port of one Service."""

    def __init__(self, address: str, port: int) -> None:
        self.address = address
        self.port = port
        self.backends: tuple[Backend, ...] = ()
        self._open: dict[Backend, int] = {}
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen. OSError when the address can't be bound."""
        self._server = await asyncio.start_server(self._accept, self.address, self.port, backlog=512)

    async def stop(self, *, drain_seconds: float = 0.0) -> None:
        """Stop listening; open connections may go on for a while."""
        if self._server is not None:
            self._server.close()
            self._server = None
        pending = set(self._connections)
        if pending and drain_seconds:
            _, pending = await asyncio.wait(pending, timeout=drain_seconds)
        for task in pending:
            task.cancel()

    def order(self) -> list[Backend]:
        """The endpoints to try: fewest open connections first, ties at random."""
        backends = list(self.backends)
        random.shuffle(backends)
        return sorted(backends, key=lambda backend: self._open.get(backend, 0))

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)
        try:
            await self._serve(reader, writer)
        except asyncio.CancelledError:
            writer.transport.abort()  # the listener is gone; asyncio wants no exception from here
        finally:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for backend in self.order():
            self._open[backend] = self._open.get(backend, 0) + 1
            try:
                try:
                    async with asyncio.timeout(_CONNECT_SECONDS):
                        up_reader, up_writer = await asyncio.open_connection(*backend)
                except (OSError, TimeoutError):
                    continue  # nothing was sent yet, so the next endpoint may have it
                try:
                    await asyncio.gather(_pump(reader, up_writer), _pump(up_reader, writer))
                finally:
                    up_writer.close()
                return
            finally:
                self._open[backend] -= 1
                if not self._open[backend]:
                    del self._open[backend]
        # No endpoint: the connection breaks, as kube-proxy rejects it.
        writer.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy until the end of one side, then end the other's."""
    with contextlib.suppress(OSError):  # also ENOTCONN, which is no ConnectionError
        while data := await reader.read(_CHUNK_BYTES):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()


class ServiceForwarder:
    """Keeps a listener for every port of every Service with an address of its own."""

    def __init__(self, services: Informer, slices: Informer, recorder: Recorder) -> None:
        self._services = services
        self._slices = slices
        self._recorder = recorder
        self._listeners: dict[Key, dict[int, Listener]] = {}
        self._refused: set[tuple[str, int]] = set()
        self._stopping: set[asyncio.Task[None]] = set()
        self.queue: WorkQueue[Key] = WorkQueue("forwarder", self._sync, workers=2)
        slices.add_index("of-service", _service_entry)
        services.add_handler(self._service_changed)
        slices.add_handler(self._slice_changed)

    def _service_changed(self, old: Json | None, new: Json | None) -> None:
        body = new or old
        if body is not None:
            self.queue.add(key_of(body))

    def _slice_changed(self, old: Json | None, new: Json | None) -> None:
        for body in (old, new):
            for entry in _service_entry(body) if body else ():
                namespace, _, name = entry.partition("/")
                self.queue.add((namespace, name))

    async def close(self) -> None:
        """Stop all listeners at once."""
        everything = [one for group in self._listeners.values() for one in group.values()]
        self._listeners.clear()
        await asyncio.gather(*(listener.stop() for listener in everything))
        for task in list(self._stopping):
            task.cancel()

    async def _sync(self, key: Key) -> None:
        service = self._services.get(*key)
        address = (service or {}).get("spec", {}).get("clusterIP", "")
        ports: list[Json] = []
        if (
            service is not None
            and address not in ("", "None")
            and service["spec"].get("type") != "ExternalName"
        ):
            ports = [p for p in service["spec"].get("ports") or [] if p.get("protocol", "TCP") == "TCP"]
        here = listen_address(address)
        present = self._listeners.setdefault(key, {})
        wanted = {int(port["port"]): port for port in ports}
        for number, listener in list(present.items()):
            if number not in wanted or listener.address != here:
                del present[number]
                task = asyncio.create_task(listener.stop(drain_seconds=_DRAIN_SECONDS))
                self._stopping.add(task)
                task.add_done_callback(self._stopping.discard)
        slices = self._slices.indexed("of-service", "/".join(key))
        for number, port in wanted.items():
            listener = present.get(number) or Listener(here, number)
            listener.backends = read_backends(slices, port.get("name", ""))
            if number not in present and service is not None and await self._start(service, listener):
                present[number] = listener
        if not present:
            del self._listeners[key]

    async def _start(self, service: Json, listener: Listener) -> bool:
        place = (listener.address, listener.port)
        if not place[0].startswith("127."):
            return False  # an address that this machine does not have
        try:
            await listener.start()
        except OSError as error:
            if place not in self._refused:
                self._refused.add(place)
                hint = (
                    "; ports below 1024 need a privilege that this process lacks: choose a higher port"
                    if isinstance(error, PermissionError)
                    else ""
                )
                text = f"Can't listen on {place[0]}:{place[1]} for this Service: {error.strerror}{hint}"
                log.warning("%s/%s: %s", *key_of(service), text)
                self._recorder.record("sandbox-forwarder", service, "FailedToListen", text, kind="Warning")
            return False
        return True


def read_backends(slices: list[Json], port_name: str) -> tuple[Backend, ...]:
    """Where a named port is served: the ready endpoints, or the terminating ones that still serve."""
    ready: list[Backend] = []
    last_resort: list[Backend] = []
    for body in slices:
        number = next(
            (p["port"] for p in body.get("ports") or [] if (p.get("name") or "") == port_name), None
        )
        if number is None:
            continue
        for endpoint in body.get("endpoints") or []:
            conditions = endpoint.get("conditions") or {}
            places = [(listen_address(address), int(number)) for address in endpoint["addresses"]]
            if conditions.get("ready", True):
                ready += places
            elif conditions.get("serving") and conditions.get("terminating"):
                last_resort += places
    return tuple(sorted(set(ready or last_resort)))


def _service_entry(body: Json) -> list[str]:
    name = (body["metadata"].get("labels") or {}).get("kubernetes.io/service-name")
    return [f"{body['metadata']['namespace']}/{name}"] if name else []
