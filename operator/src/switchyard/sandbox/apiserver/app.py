"""The API server as a whole: its parts wired together, served over HTTP(S) on a loopback address."""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
import ssl
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import orjson
import trustme
from aiohttp import web

from switchyard.sandbox.apiserver.backend import Backend
from switchyard.sandbox.apiserver.errors import ApiError, forbidden
from switchyard.sandbox.apiserver.establishing import Definitions
from switchyard.sandbox.apiserver.handlers import Handlers
from switchyard.sandbox.apiserver.hooks import (
    Attributes,
    Surface,
    SurfaceFactory,
    SurfaceOptions,
    User,
    denial,
)
from switchyard.sandbox.apiserver.journal import FsyncPolicy, Journal
from switchyard.sandbox.apiserver.paths import Target, attributes_of, parse_path
from switchyard.sandbox.apiserver.resources import Json, Registry, ResourceInfo
from switchyard.sandbox.apiserver.store import Store

_log = logging.getLogger(__name__)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_MAX_BODY_BYTES = 3 * 1024 * 1024  # as kube-apiserver's limit for a request
_REASONS = {400: "BadRequest", 404: "NotFound", 405: "MethodNotAllowed", 413: "RequestEntityTooLarge"}


@dataclass(frozen=True)
class ServerOptions:
    """How a server is run."""

    host: str = "127.0.0.1"
    port: int = 0  # 0: any that is free
    is_tls: bool = True
    admin_token: str = ""  # empty: a new one
    state_dir: Path | None = None  # where CA and keys are kept between runs; None: in memory
    persist: Path | None = None  # the file that keeps the objects; None: in memory
    fsync: FsyncPolicy = "interval"
    history_per_resource: int = 8192  # events


@dataclass
class _Tls:
    ca: trustme.CA
    context: ssl.SSLContext


class ApiServer:
    """One server: `await start()`, then `url`, `admin_token` and `ca_pem`; `await stop()`."""

    def __init__(
        self, options: ServerOptions | None = None, surface_factory: SurfaceFactory | None = None
    ) -> None:
        self.options = options or ServerOptions()
        self.admin_token = self.options.admin_token or secrets.token_urlsafe(32)
        self.registry = Registry()
        self.store = Store(self.options.history_per_resource)
        self.ca_pem = b""
        self.url = ""
        self._tls = _make_tls(self.options) if self.options.is_tls else None
        if self._tls:
            self.ca_pem = self._tls.ca.cert_pem.bytes()
        self._surface_factory = surface_factory or _default_surface
        self._journal: Journal | None = None
        self._runner: web.AppRunner | None = None
        self.surface: Surface
        self.backend: Backend
        self.handlers: Handlers

    async def start(self) -> None:
        """Loads what was kept, creates what must exist and listens."""
        self._build()
        app = web.Application(client_max_size=_MAX_BODY_BYTES, middlewares=[self._answer_all])
        app.add_routes(self.surface.routes())
        app.router.add_route("*", "/{tail:.*}", self._resource)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1, handler_cancellation=True)
        await self._runner.setup()
        listener = socket.create_server((self.options.host, self.options.port), backlog=512)
        context = self._tls.context if self._tls else None
        await web.SockSite(self._runner, listener, ssl_context=context).start()
        host, port = listener.getsockname()[:2]
        self.url = f"{'https' if context else 'http'}://{host}:{port}"

    async def stop(self) -> None:
        """Ends all watches, closes the listener and the file of objects."""
        if self._runner is not None:
            self.cut_watches()
            await self._runner.cleanup()
            self._runner = None
        if self._journal is not None:
            self._journal.close()
            self._journal = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def cut_watches(self) -> int:
        """Ends all open watches; how many there were."""
        self.handlers.cut.set()
        self.handlers.cut = asyncio.Event()
        return self.handlers.watches

    def _build(self) -> None:
        key = _service_account_key(self.options)
        options = SurfaceOptions(
            admin_token=self.admin_token,
            ca_pem=self.ca_pem,
            url=lambda: self.url,
            service_account_key_pem=key,
            compact_history=self.store.compact,
            cut_watches=self.cut_watches,
        )
        self.surface = self._surface_factory(self.registry, self.store, options)
        self.registry.add(self.surface.builtin_resources())
        self.backend = Backend(self.registry, self.store, self.surface)
        self.handlers = Handlers(self.backend)
        if self.options.persist is not None:
            self._journal = Journal(self.options.persist, self.options.fsync)
            self._journal.load_into(self.store)
            self.store.on_write(self._journal.record)
        definitions_info = self.registry.lookup("apiextensions.k8s.io", "v1", "customresourcedefinitions")
        if definitions_info is not None:
            Definitions(self.backend, definitions_info).start()
        for info, obj in self.surface.bootstrap_objects():
            self._ensure(info, obj)

    def _ensure(self, info: ResourceInfo, obj: Json) -> None:
        metadata = obj["metadata"]
        if self.store.stored(info, metadata.get("namespace", ""), metadata["name"]) is None:
            metadata.setdefault("uid", str(uuid.uuid4()))
            metadata.setdefault("creationTimestamp", self.backend.timestamp())
            self.store.put(info.storage_key, obj)

    @web.middleware
    async def _answer_all(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """The answer, or a Status for every failure."""
        try:
            return await self._answer(request, handler)
        except ApiError as error:
            return _status_response(error)
        except web.HTTPException as error:
            reason = _REASONS.get(error.status, "")
            return _status_response(ApiError(error.status, reason, error.reason, {}))
        except (asyncio.CancelledError, ConnectionError):
            raise
        except Exception:  # noqa: BLE001 logged, and a 500: no request may end the server
            _log.exception("%s %s failed", request.method, request.path)
            told = "Internal error occurred: the server's log has the details"
            return _status_response(ApiError(500, "InternalError", told, {}))

    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Authenticates, injects faults, authorizes and answers."""
        target = parse_path(request.rel_url.raw_path)
        attributes = attributes_of(request.method, request.path, request.rel_url.raw_query_string, target)
        request["target"] = target
        request["attributes"] = attributes
        request["user"] = user = self.surface.authenticate(request.headers)
        injected = await self.surface.fault(request, attributes)
        if injected is not None:
            return injected
        self._authorize(user, attributes)
        return await handler(request)

    def _authorize(self, user: User, attributes: Attributes) -> None:
        verdict = self.surface.authorize(user, attributes)
        if verdict.is_allowed:
            return
        why = denial(user, attributes)
        info = None
        if attributes.is_resource:
            info = self.registry.lookup(attributes.group, attributes.version, attributes.resource)
        raise forbidden(info, attributes.name, why)

    async def _resource(self, request: web.Request) -> web.StreamResponse:
        target: Target = request["target"]
        return await self.handlers.handle(request, target)


def _status_response(error: ApiError) -> web.Response:
    return web.Response(
        body=orjson.dumps(error.status()),
        status=error.code,
        content_type="application/json",
        headers=error.headers,
    )


def _make_tls(options: ServerOptions) -> _Tls:
    """A CA and a certificate for the server's addresses; the CA is kept where there is a state directory."""
    ca = _kept_ca(options.state_dir) if options.state_dir else trustme.CA()
    names = ("localhost", "kubernetes", "kubernetes.default.svc", options.host, "127.96.0.1")
    certificate = ca.issue_cert(*dict.fromkeys(names))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return _Tls(ca, context)


def _kept_ca(state_dir: Path) -> trustme.CA:
    state_dir.mkdir(parents=True, exist_ok=True)
    cert_path, key_path = state_dir / "ca.crt", state_dir / "ca.key"
    if cert_path.exists() and key_path.exists():
        return trustme.CA.from_pem(cert_path.read_bytes(), key_path.read_bytes())
    ca = trustme.CA()
    ca.private_key_pem.write_to_path(key_path)
    key_path.chmod(0o600)
    ca.cert_pem.write_to_path(cert_path)
    return ca


def _service_account_key(options: ServerOptions) -> bytes | None:
    """The key that signs service-account tokens, kept so that tokens outlive a restart."""
    if options.state_dir is None:
        return None
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 slow to import and rarely needed
    from cryptography.hazmat.primitives.asymmetric import rsa  # noqa: PLC0415

    options.state_dir.mkdir(parents=True, exist_ok=True)
    path = options.state_dir / "service-accounts.key"
    if not path.exists():
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        path.chmod(0o600)
    return path.read_bytes()


def _default_surface(registry: Registry, objects: Store, options: SurfaceOptions) -> Surface:
    from switchyard.sandbox.apiserver.surface import create_surface  # noqa: PLC0415 tests bring their own

    return create_surface(registry, objects, options)
