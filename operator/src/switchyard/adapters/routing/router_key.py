"""The key from which each router's admin token is derived: a Secret in the operator's own namespace.

A router is told the SHA-256 of its token only, so nothing secret stands in the namespace of a workload, and
whoever learns one token can ask the routers of that one workload.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from switchyard.adapters.connection import Answer, Connection, refusal_of
from switchyard.adapters.resources import Resource
from switchyard.api.labels import MANAGED_BY, MANAGER
from switchyard.core.routing.plan import TrafficPlan
from switchyard.engine.ports import Conflict, Denied, Failed

SECRETS = Resource("", "v1", "secrets", "Secret")
KEY_SECRET = "switchyard-router-key"  # noqa: S105 - the name of an object
_FIELD = "key"
_KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class Token:
    """What a router is asked with. `sha256`: what the router is told of it."""

    text: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()

    def __repr__(self) -> str:
        return "Token(…)"


@dataclass
class RouterKey:
    """Reads the key at each use, so that every replica of the operator has the same one; makes it once."""

    connection: Connection
    namespace: str

    async def find_token(self, plan: TrafficPlan) -> Token | Conflict | Denied | Failed:
        """The token of the plan's routers."""
        key = await self._read()
        return derive_token(key, plan) if isinstance(key, bytes) else key

    async def _read(self) -> bytes | Conflict | Denied | Failed:
        path = SECRETS.path(self.namespace, KEY_SECRET)
        answer = await self.connection.request("GET", path)
        if isinstance(answer, Answer) and answer.status == 404:
            answer = await self.connection.request(
                "POST", SECRETS.path(self.namespace), body=_build_secret(self.namespace)
            )
            if isinstance(answer, Answer) and answer.status == 409:  # another replica was faster
                answer = await self.connection.request("GET", path)
        if not isinstance(answer, Answer):
            return answer
        return self._decode(answer.body) if answer.is_success else refusal_of(answer)

    def _decode(self, body: Mapping[str, Any]) -> bytes | Denied:
        try:
            key = base64.b64decode((body.get("data") or {}).get(_FIELD, ""), validate=True)
        except binascii.Error:
            key = b""
        if len(key) < _KEY_BYTES:
            return Denied(
                422,
                f"Secret {self.namespace}/{KEY_SECRET}: {_FIELD} must hold at least {_KEY_BYTES} bytes; "
                "delete the Secret and it is made anew",
            )
        return key


def derive_token(key: bytes, plan: TrafficPlan) -> Token:
    """HMAC-SHA256 (RFC 2104) of who the routers work for."""
    identity = f"{plan.namespace}/{plan.workload}/{plan.workload_uid}"
    return Token(hmac.new(key, identity.encode(), hashlib.sha256).hexdigest())


def _build_secret(namespace: str) -> dict[str, Any]:
    key = base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode()
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": KEY_SECRET, "namespace": namespace, "labels": {MANAGED_BY: MANAGER}},
        "type": "Opaque",
        "immutable": True,
        "data": {_FIELD: key},
    }
