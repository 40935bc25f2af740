"""A thin Kubernetes API client: what the sandbox's controllers and nodes need, and no more.

It is an ordinary client over HTTP(S), so everything built on it works against a real API server as well.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import random
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import yaml

Json = dict[str, Any]

MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

_RETRIED_STATUS = frozenset({429, 500, 502, 503, 504})


class ApiError(Exception):
    """The API server refused. `reason` is the CamelCase one of its Status."""

    def __init__(self, status: int, body: Any) -> None:
        body = body if isinstance(body, dict) else {}
        self.status = status
        self.reason = str(body.get("reason", ""))
        self.details: Json = body.get("details") or {}
        self.body: Json = body
        super().__init__(f"{status} {self.reason}: {body.get('message', '')}")

    @property
    def is_not_found(self) -> bool:
        """The object or its kind does not exist."""
        return self.status == 404

    @property
    def is_conflict(self) -> bool:
        """The object changed meanwhile (or exists already)."""
        return self.status == 409

    @property
    def is_expired(self) -> bool:
        """The resourceVersion asked for is no longer kept."""
        return self.status == 410


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind as the API addresses it."""

    group: str
    version: str
    plural: str
    kind: str
    is_namespaced: bool = True

    @property
    def api_version(self) -> str:
        """`v1` or `group/version`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The URL path of the collection, of an object or of its subresource."""
        parts = ["/apis", self.group, self.version] if self.group else ["/api", self.version]
        if namespace and self.is_namespaced:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        parts += [part for part in (name, subresource) if part]
        return "/".join(parts)


@dataclass(frozen=True, slots=True)
class Connection:
    """Where the API server is and how to be let in."""

    server: str
    token: str = ""
    ca_pem: bytes = b""
    client_cert_path: str = ""
    client_key_path: str = ""
    is_insecure: bool = False

    def ssl_context(self) -> ssl.SSLContext | bool:
        """The TLS settings for aiohttp."""
        if not self.server.startswith("https"):
            return False
        context = ssl.create_default_context(cadata=self.ca_pem.decode() if self.ca_pem else None)
        if self.is_insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.client_cert_path:
            context.load_cert_chain(self.client_cert_path, self.client_key_path or None)
        return context


def read_kubeconfig(path: str | Path, context_name: str | None = None) -> Connection:
    """The connection of a kubeconfig's current (or named) context. ValueError says what is missing."""
    file = Path(path).expanduser()
    document = yaml.safe_load(file.read_text()) or {}

    def named(section: str, key: str, name: str) -> Json:
        for entry in document.get(section) or []:
            if entry.get("name") == name:
                found: Json = entry.get(key) or {}
                return found
        raise ValueError(f"{file}: no entry {name!r} in {section}")

    def content(entry: Json, key: str) -> bytes:
        if entry.get(f"{key}-data"):
            return base64.b64decode(entry[f"{key}-data"])
        return (file.parent / entry[key]).read_bytes() if entry.get(key) else b""

    context = named("contexts", "context", context_name or document.get("current-context", ""))
    cluster = named("clusters", "cluster", context.get("cluster", ""))
    user = named("users", "user", context.get("user", "")) if context.get("user") else {}
    if user.get("client-certificate-data") or user.get("exec") or user.get("auth-provider"):
        raise ValueError(f"{file}: only tokens and client certificate files are understood")
    token = user.get("token", "")
    if not token and user.get("tokenFile"):
        token = Path(user["tokenFile"]).read_text().strip()
    return Connection(
        server=cluster["server"].rstrip("/"),
        token=token,
        ca_pem=content(cluster, "certificate-authority"),
        client_cert_path=user.get("client-certificate", ""),
        client_key_path=user.get("client-key", ""),
        is_insecure=bool(cluster.get("insecure-skip-tls-verify")),
    )


class _Transport:
    """The connections that all views of one client share."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.write_count = 0
        self.session: aiohttp.ClientSession | None = None

    def open(self) -> aiohttp.ClientSession:
        """The session, made on first use: it belongs to the running event loop."""
        if self.session is None:
            connector = aiohttp.TCPConnector(ssl=self.connection.ssl_context(), limit=0, keepalive_timeout=60)
            self.session = aiohttp.ClientSession(
                connector=connector, timeout=aiohttp.ClientTimeout(total=60), trust_env=False
            )
        return self.session


class ApiClient:
    """Requests to one API server. `as_agent` gives a view under another name that shares the connections.

    The agent's name is what managedFields will show as the manager of the fields written.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        agent: str = "switchyard-sandbox",
        transport: _Transport | None = None,
    ) -> None:
        self.connection = connection
        self._agent = agent
        self._transport = transport or _Transport(connection)

    def as_agent(self, agent: str) -> ApiClient:
        """The same connections under another User-Agent."""
        return ApiClient(self.connection, agent=agent, transport=self._transport)

    @property
    def write_count(self) -> int:
        """Requests other than GET that succeeded, over all views."""
        return self._transport.write_count

    async def close(self) -> None:
        """Close all connections."""
        if self._transport.session is not None:
            await self._transport.session.close()
            self._transport.session = None

    def _headers(self, content_type: str = "") -> dict[str, str]:
        headers = {"Accept": "application/json", "User-Agent": f"{self._agent}/v0 (switchyard)"}
        if self.connection.token:
            headers["Authorization"] = f"Bearer {self.connection.token}"
        if content_type:
            headers["Content-Type"] = content_type
        return headers

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
        accept: str = "",
        attempts: int = 4,
    ) -> Json:
        """The decoded answer. ApiError for a refusal, ConnectionError when the server stays unreachable.

        Transient failures (429, 5xx, no connection) of reads, and of writes that the server surely did
        not take, are repeated with jitter.
        """
        data = None if body is None else orjson.dumps(body)
        headers = self._headers(content_type if data is not None else "")
        if accept:
            headers["Accept"] = accept
        session = self._transport.open()
        url = self.connection.server + path
        for attempt in range(attempts):
            try:
                async with session.request(method, url, params=params, data=data, headers=headers) as answer:
                    raw = await answer.read()
                    if answer.status < 400:
                        if method != "GET":
                            self._transport.write_count += 1
                        decoded: Json = orjson.loads(raw) if raw else {}
                        return decoded
                    error = ApiError(answer.status, _decode(raw))
                if error.status not in _RETRIED_STATUS or attempt == attempts - 1:
                    raise error
            except (aiohttp.ClientConnectionError, TimeoutError) as problem:
                # A refused connection was never a request; anything later may have been carried out.
                is_safe = method == "GET" or isinstance(problem, aiohttp.ClientConnectorError)
                if not is_safe or attempt == attempts - 1:
                    raise ConnectionError(f"{method} {url}: {problem or type(problem).__name__}") from problem
            await asyncio.sleep(jittered_seconds(attempt))
        raise ConnectionError(f"{method} {url}: no attempt left")

    # -- objects ---------------------------------------------------------------------------------

    async def get(self, resource: Resource, namespace: str, name: str) -> Json:
        """One object."""
        return await self.request("GET", resource.path(namespace, name))

    async def list(
        self, resource: Resource, namespace: str = "", *, params: Mapping[str, str] | None = None
    ) -> Json:
        """The list document, all pages in one."""
        return await self.request("GET", resource.path(namespace), params=params)

    async def create(self, resource: Resource, namespace: str, body: Json) -> Json:
        """The object as created."""
        return await self.request("POST", resource.path(namespace), body=body)

    async def create_sub(
        self, resource: Resource, namespace: str, name: str, subresource: str, body: Json
    ) -> Json:
        """The answer to a POST on a subresource, such as `binding`."""
        return await self.request("POST", resource.path(namespace, name, subresource), body=body)

    async def update(self, resource: Resource, body: Json, subresource: str = "") -> Json:
        """The object as replaced; its resourceVersion is the precondition."""
        meta = body["metadata"]
        path = resource.path(meta.get("namespace", ""), meta["name"], subresource)
        return await self.request("PUT", path, body=body)

    async def patch(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        body: Any,
        *,
        subresource: str = "",
        content_type: str = MERGE_PATCH,
        params: Mapping[str, str] | None = None,
    ) -> Json:
        """The object as patched."""
        path = resource.path(namespace, name, subresource)
        return await self.request("PATCH", path, body=body, content_type=content_type, params=params)

    async def apply(self, resource: Resource, body: Json, *, manager: str, is_forced: bool = True) -> Json:
        """The object after a server-side apply by `manager`."""
        meta = body["metadata"]
        params = {"fieldManager": manager, "force": "true" if is_forced else "false"}
        path = resource.path(meta.get("namespace", ""), meta["name"])
        return await self.request("PATCH", path, body=body, content_type=APPLY_PATCH, params=params)

    async def delete(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        *,
        uid: str = "",
        grace_seconds: int | None = None,
        propagation: str = "",
    ) -> Json | None:
        """What the server answered, None when the object was gone already (or is another one by now)."""
        options: Json = {"apiVersion": "v1", "kind": "DeleteOptions"}
        if uid:
            options["preconditions"] = {"uid": uid}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        if propagation:
            options["propagationPolicy"] = propagation
        try:
            return await self.request("DELETE", resource.path(namespace, name), body=options)
        except ApiError as error:
            if error.is_not_found or (uid and error.is_conflict):
                return None
            raise

    async def watch(
        self, path: str, resource_version: str, *, accept: str = "", timeout_seconds: int = 0
    ) -> AsyncIterator[Json]:
        """The events of a collection from a version on, until the server ends the watch.

        ApiError with `is_expired` when the version is too old, whether at once or as an ERROR event.
        """
        seconds = timeout_seconds or random.randint(300, 600)  # noqa: S311  (spreads reconnects, no secret)
        params = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(seconds),
        }
        headers = self._headers()
        if accept:
            headers["Accept"] = accept
        patience = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=seconds + 30)
        url = self.connection.server + path
        async with self._transport.open().get(
            url, params=params, headers=headers, timeout=patience
        ) as answer:
            if answer.status >= 400:
                raise ApiError(answer.status, _decode(await answer.read()))
            rest = b""
            async for chunk in answer.content.iter_any():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    if not line:
                        continue
                    event: Json = orjson.loads(line)
                    if event["type"] == "ERROR":
                        status = event["object"]
                        raise ApiError(int(status.get("code", 500)), status)
                    yield event


def jittered_seconds(attempt: int, *, first: float = 0.2, most: float = 10.0) -> float:
    """How long to wait before the next attempt: doubling, capped, between half and the whole of it."""
    whole = min(most, first * 2.0 ** min(attempt, 16))
    return whole * (0.5 + random.random() / 2)  # noqa: S311  (spreads load, no secret)


def _decode(raw: bytes) -> Any:
    with contextlib.suppress(ValueError):
        return orjson.loads(raw)
    return {"message": raw[:500].decode(errors="replace")}


PODS = Resource("", "v1", "pods", "Pod")
NODES = Resource("", "v1", "nodes", "Node", is_namespaced=False)
SERVICES = Resource("", "v1", "services", "Service")
NAMESPACES = Resource("", "v1", "namespaces", "Namespace", is_namespaced=False)
EVENTS = Resource("", "v1", "events", "Event")
CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap")
SECRETS = Resource("", "v1", "secrets", "Secret")
SERVICE_ACCOUNTS = Resource("", "v1", "serviceaccounts", "ServiceAccount")
DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment")
REPLICA_SETS = Resource("apps", "v1", "replicasets", "ReplicaSet")
ENDPOINT_SLICES = Resource("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice")
LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease")
DISRUPTION_BUDGETS = Resource("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget")
CLUSTER_ROLES = Resource(
    "rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", is_namespaced=False
)
CRDS = Resource(
    "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", is_namespaced=False
)
