"""The way to the API server: configuration as kubectl finds it, requests as plain JSON, answers as values.

kubernetes.aio brings what is hard to get right (kubeconfig, exec plugins, rotating service account
tokens, TLS); its generated models are not used, because the operator reads and writes plain documents.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio import config as kube_config
from kubernetes.aio.client import Configuration
from kubernetes.aio.client.rest import RESTClientObject

from switchyard.engine.ports import Conflict, Denied, Failed

logger = logging.getLogger(__name__)

REQUEST_TIMEOUT_SECONDS = 10.0
# a credential that was refused is read anew, but not more often than this
_RELOAD_INTERVAL_SECONDS = 10.0
_IN_CLUSTER_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")

Refused = Conflict | Denied | Failed


class NoCluster(RuntimeError):  # noqa: N818 - reads as what is wrong
    """There is no usable kubeconfig and no service account: the message says what was tried."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API server answered; `body` is empty when it was not JSON."""

    status: int
    body: Mapping[str, Any]
    retry_after_seconds: float = 0.0

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300

    @property
    def message(self) -> str:
        """The server's own words, or the bare status."""
        return str(self.body.get("message") or f"HTTP {self.status}")


def refusal_of(answer: Answer) -> Refused:
    """The kind of refusal that an unsuccessful answer is.

    409: our picture is old. 429 and 5xx: try again. Everything else: this content, or we, are not allowed.
    """
    if answer.status == 409:
        return Conflict(answer.message)
    if answer.status == 429 or answer.status >= 500:
        return Failed(answer.message, answer.retry_after_seconds)
    return Denied(answer.status, answer.message)


@dataclass
class Connection:
    """Requests to one API server. Build with `connect`."""

    kubeconfig: str | None
    context: str | None
    configuration: Any
    default_namespace: str
    _rest: Any = None
    _reloaded_at: float = 0.0
    _reloading: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
        accept: str = "application/json",
        timeout_seconds: float = REQUEST_TIMEOUT_SECONDS,
    ) -> Answer | Failed:
        """The answer, whatever its status, or Failed when there was none in time."""
        answer = await self._send(method, path, query, body, content_type, accept, timeout_seconds)
        if isinstance(answer, Answer) and answer.status == 401 and await self.reload():
            answer = await self._send(method, path, query, body, content_type, accept, timeout_seconds)
        return answer

    async def reload(self) -> bool:
        """True when credentials were read anew."""
        async with self._reloading:
            now = time.monotonic()
            if now - self._reloaded_at < _RELOAD_INTERVAL_SECONDS:
                return False
            self._reloaded_at = now
            self.configuration, self.default_namespace = await _load(self.kubeconfig, self.context)
            await self.close()
            return True

    async def close(self) -> None:
        if self._rest is not None:
            await self._rest.close()
            self._rest = None

    async def _send(  # noqa: PLR0917 - `request` without its defaults, called by it alone
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        body: Any,
        content_type: str,
        accept: str,
        timeout_seconds: float,
    ) -> Answer | Failed:
        if self._rest is None:
            self._rest = RESTClientObject(self.configuration)
        headers = {"Accept": accept, "Content-Type": content_type, "User-Agent": "switchyard-operator"}
        for auth in (await self.configuration.auth_settings()).values():
            headers[auth["key"]] = auth["value"]
        url = self.configuration.host + path + (f"?{urlencode(query)}" if query else "")
        try:
            async with asyncio.timeout(timeout_seconds):
                response = await self._rest.request(
                    method,
                    url,
                    headers=headers,
                    body=body,
                    _request_timeout=aiohttp.ClientTimeout(total=None),
                )
                raw = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return Failed(f"{method} {path}: {type(error).__name__}: {error}".removesuffix(": "))
        return Answer(response.status, _document(raw), _retry_after_seconds(response.headers))


async def connect(kubeconfig: str | None = None, context: str | None = None) -> Connection:
    """A connection by the given kubeconfig, else $KUBECONFIG, else in-cluster, else ~/.kube/config."""
    configuration, namespace = await _load(kubeconfig, context)
    return Connection(kubeconfig, context, configuration, namespace, _reloaded_at=time.monotonic())


async def _load(kubeconfig: str | None, context: str | None) -> tuple[Any, str]:
    configuration = Configuration()
    # a proxy set in the environment must not see our token: kubeconfig's `proxy-url` is the way to name one
    configuration.client_session_kwargs = {"trust_env": False}
    in_cluster = not kubeconfig and not context and not os.environ.get("KUBECONFIG")
    if in_cluster and os.environ.get("KUBERNETES_SERVICE_HOST"):
        kube_config.load_incluster_config(client_configuration=configuration)
        return configuration, await asyncio.to_thread(_own_namespace)
    path = kubeconfig or os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
    try:
        loader = await kube_config.load_kube_config(
            path, context=context, client_configuration=configuration, persist_config=False
        )
    except (kube_config.ConfigException, OSError, KeyError, TypeError) as error:
        raise NoCluster(
            f"no cluster to work on: kubeconfig {path!r}"
            + (f", context {context!r}" if context else "")
            + f": {error}. Give --kubeconfig FILE, set KUBECONFIG, or run inside a cluster."
        ) from error
    return configuration, loader.current_context.get("context", {}).get("namespace") or "default"


def _own_namespace() -> str:
    return _IN_CLUSTER_NAMESPACE_FILE.read_text(encoding="utf-8").strip()


def _document(raw: bytes) -> Mapping[str, Any]:
    try:
        document = json.loads(raw)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _retry_after_seconds(headers: Mapping[str, str]) -> float:
    try:
        return float(headers.get("Retry-After", 0))
    except ValueError:
        return 0.0
