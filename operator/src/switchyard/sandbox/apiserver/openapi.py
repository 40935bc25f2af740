"""The OpenAPI documents of a server: /openapi/v3 by group version, and /openapi/v2 as a whole.

kubectl reads v3 for `explain` and for validation, Helm for strict validation with ETags; client-side
apply of custom resources also asks for v2 in its protobuf form, which may be empty.
Sources: KEP-2896 (v3), kubernetes/kube-openapi.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import orjson
from aiohttp import web

from switchyard.sandbox.apiserver import server_info
from switchyard.sandbox.apiserver.builtins.kinds import model_of_kind
from switchyard.sandbox.apiserver.builtins.schemas import reachable_models
from switchyard.sandbox.apiserver.openapi_paths import paths_of
from switchyard.sandbox.apiserver.openapi_schemas import (
    Components,
    add_custom_resource,
    add_models,
    to_swagger,
)
from switchyard.sandbox.apiserver.resources import Json, Registry, ResourceInfo

PROTOBUF_V2 = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
_PROTOBUF_V2_ANSWER = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"


class OpenApi:
    """The documents of one registry, made on first use and again after it changed."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._v3: dict[str, tuple[bytes, str]] = {}
        self._v2: bytes | None = None
        registry.on_change(self._forget)

    def _forget(self) -> None:
        self._v3.clear()
        self._v2 = None

    def routes(self) -> list[web.RouteDef]:
        """The paths of the documents."""
        return [
            web.get("/openapi/v2", self._get_v2),
            web.get("/openapi/v3", self._get_index),
            web.get("/openapi/v3/", self._get_index),
            web.get("/openapi/v3/{path:.+}", self._get_v3),
        ]

    def group_versions(self) -> dict[str, list[ResourceInfo]]:
        """The resources by the path of their document: `api/v1`, `apis/apps/v1`."""
        found: dict[str, list[ResourceInfo]] = {}
        for info in self._registry.all():
            path = f"apis/{info.api_version}" if info.group else f"api/{info.version}"
            found.setdefault(path, []).append(info)
        return found

    def document(self, path: str) -> tuple[bytes, str] | None:
        """The document of a group version and its hash, None for an unknown one."""
        if path not in self._v3:
            infos = self.group_versions().get(path)
            if infos is None:
                return None
            raw = orjson.dumps(_document(infos), option=orjson.OPT_SORT_KEYS)
            self._v3[path] = (raw, hashlib.sha512(raw).hexdigest().upper())
        return self._v3[path]

    def index(self) -> Json:
        """The answer to /openapi/v3: where each document is, with its hash."""
        paths = {}
        for path in sorted(self.group_versions()):
            found = self.document(path)
            if found is not None:
                paths[path] = {"serverRelativeURL": f"/openapi/v3/{path}?hash={found[1]}"}
        return {"paths": paths}

    def swagger(self) -> Json:
        """The answer to /openapi/v2 as JSON."""
        components = Components()
        paths: Json = {}
        for infos in self.group_versions().values():
            _add_all(components, infos)
            for info in infos:
                paths.update(paths_of(info, components, is_v2=True))
        return {
            "swagger": "2.0",
            "info": _info(),
            "paths": paths,
            "definitions": {name: to_swagger(schema) for name, schema in components.schemas.items()},
        }

    async def _get_index(self, request: web.Request) -> web.Response:
        return _answer(request, orjson.dumps(self.index()), "text/plain; charset=utf-8")

    async def _get_v3(self, request: web.Request) -> web.Response:
        found = self.document(request.match_info["path"])
        if found is None:
            return web.Response(status=404, text="404 page not found\n")
        return _answer(request, found[0], "application/json", found[1])

    async def _get_v2(self, request: web.Request) -> web.Response:
        if "protobuf" in request.headers.get("Accept", "").split(",", maxsplit=1)[0]:
            return _answer(request, _EMPTY_GNOSTIC, _PROTOBUF_V2_ANSWER)
        if self._v2 is None:
            self._v2 = orjson.dumps(self.swagger())
        return _answer(request, self._v2, "application/json")


def _answer(request: web.Request, raw: bytes, content_type: str, tag: str = "") -> web.Response:
    tag = tag or hashlib.sha512(raw).hexdigest().upper()
    headers = {"ETag": f'"{tag}"', "Content-Type": content_type, "Vary": "Accept"}
    if f'"{tag}"' in request.headers.get("If-None-Match", ""):
        return web.Response(status=304, headers={"ETag": headers["ETag"]})
    if request.query.get("hash") == tag:
        headers["Cache-Control"] = "public, immutable"
    return web.Response(body=raw, headers=headers)


def _info() -> Json:
    return {"title": "Kubernetes", "version": server_info.GIT_VERSION}


def _document(infos: Iterable[ResourceInfo]) -> Json:
    infos = list(infos)
    components = Components()
    _add_all(components, infos)
    paths: Json = {}
    for info in infos:
        paths.update(paths_of(info, components))
    return {
        "openapi": "3.0.0",
        "info": _info(),
        "paths": paths,
        "components": {"schemas": components.schemas},
    }


def _add_all(components: Components, infos: Iterable[ResourceInfo]) -> None:
    for info in infos:
        model = model_of_kind(info.api_version, info.kind) if info.is_builtin else None
        if model is not None:
            add_models(components, reachable_models(model), info)
        else:
            add_custom_resource(components, info)


def _string(number: int, text: str) -> bytes:
    """A string field of a protobuf message, shorter than 128 bytes."""
    raw = text.encode()
    return bytes([number << 3 | 2, len(raw)]) + raw


def _nested(number: int, *parts: bytes) -> bytes:
    raw = b"".join(parts)
    return bytes([number << 3 | 2, len(raw)]) + raw


# openapi.v2.Document of github.com/google/gnostic: swagger=1, info=2 {title=1, version=2}, paths=8.
_EMPTY_GNOSTIC: Any = (
    _string(1, "2.0") + _nested(2, _string(1, "Kubernetes"), _string(2, server_info.GIT_VERSION)) + _nested(8)
)
