"""From an HTTP request to the read or write that it asks for, and back."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import orjson
import yaml
from aiohttp import web

from switchyard.sandbox.apiserver import deletion, patching, pods, scaling
from switchyard.sandbox.apiserver.backend import Answer, Backend, Place, WriteOptions
from switchyard.sandbox.apiserver.decoding import Accepted, decode_body, negotiate
from switchyard.sandbox.apiserver.errors import (
    FieldError,
    invalid,
    method_not_allowed,
    no_such_path,
)
from switchyard.sandbox.apiserver.hooks import User
from switchyard.sandbox.apiserver.metadata import metadata_of
from switchyard.sandbox.apiserver.paths import Target
from switchyard.sandbox.apiserver.reads import list_objects, render
from switchyard.sandbox.apiserver.resources import Json, ResourceInfo
from switchyard.sandbox.apiserver.selectors import selector
from switchyard.sandbox.apiserver.versions import convert
from switchyard.sandbox.apiserver.watching import serve_watch, start_watch
from switchyard.sandbox.apiserver.writes import create, update

# Kinds of which PUT creates what is not there (AllowCreateOnUpdate in the registries of Kubernetes).
_CREATED_BY_PUT = {
    "clusterrolebindings",
    "clusterroles",
    "endpoints",
    "events",
    "leases",
    "limitranges",
    "podtemplates",
    "rolebindings",
    "roles",
    "services",
}
_FIELD_VALIDATIONS = ("Ignore", "Warn", "Strict")


class Handlers:
    """The resource routes of one server."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.cut = asyncio.Event()  # set: all watches end
        self.watches = 0

    async def handle(self, request: web.Request, target: Target) -> web.StreamResponse:
        """The answer to a request for a resource. Raises ApiError."""
        if not target.is_resource:
            return web.Response(status=404, text="404 page not found\n")
        info = self.backend.registry.lookup(target.group, target.version, target.plural)
        if info is None or (target.namespace and not info.namespaced):
            raise no_such_path()
        method = request.method
        if target.subresource:
            return await self._subresource(request, info, target)
        if request["attributes"].verb not in info.verbs:
            raise method_not_allowed()
        if target.name:
            if info.namespaced and not target.namespace:
                raise no_such_path()
            match method:
                case "GET" | "HEAD":
                    return self._get(request, info, target)  # also with watch=1: one object is not watched
                case "PUT":
                    return await self._replace(request, info, target)
                case "PATCH":
                    return await self._patch(request, info, target)
                case "DELETE":
                    return await self._delete(request, info, target)
        else:
            match method:
                case "GET" | "HEAD":
                    if _is_true(request.query.get("watch", "")):
                        return await self._watch(request, info, target)
                    return self._list(request, info, target)
                case "POST":
                    return await self._create(request, info, target)
                case "DELETE":
                    return await self._delete_collection(request, info, target)
        raise method_not_allowed()

    def _get(self, request: web.Request, info: ResourceInfo, target: Target) -> web.Response:
        accepted = negotiate(request.headers.get("Accept", ""))
        stored = self.backend.required(_place(info, target))
        return _bytes(render(self.backend, info, stored, accepted, request.query), accepted)

    def _list(self, request: web.Request, info: ResourceInfo, target: Target) -> web.Response:
        accepted = negotiate(request.headers.get("Accept", ""))
        raw = list_objects(self.backend, info, target.namespace, request.query, accepted)
        return _bytes(raw, accepted)

    async def _watch(self, request: web.Request, info: ResourceInfo, target: Target) -> web.StreamResponse:
        accepted = negotiate(request.headers.get("Accept", ""))
        watch, first = start_watch(self.backend, info, target.namespace, request.query, accepted)
        self.watches += 1
        try:
            return await serve_watch(request, watch, first, self.cut)
        finally:
            self.watches -= 1

    async def _create(self, request: web.Request, info: ResourceInfo, target: Target) -> web.Response:
        if info.namespaced and not target.namespace:
            raise method_not_allowed()
        obj, options = await self._body(request)
        answer = create(self.backend, _place(info, target), obj, options)
        return self._answer(request, info, answer)

    async def _replace(self, request: web.Request, info: ResourceInfo, target: Target) -> web.Response:
        obj, options = await self._body(request)
        is_there = self.backend.store.stored(info, target.namespace, target.name) is not None
        if not is_there and info.plural in _CREATED_BY_PUT and not target.subresource:
            metadata_of(obj).setdefault("name", target.name)
            return self._answer(request, info, create(self.backend, _place(info, target), obj, options))
        answer = update(self.backend, _place(info, target), lambda _: obj, options)
        return self._answer(request, info, answer)

    async def _patch(self, request: web.Request, info: ResourceInfo, target: Target) -> web.Response:
        raw = await request.read()
        options = write_options(request, raw)
        content_type = request.headers.get("Content-Type", "")
        answer = patching.patch(self.backend, _place(info, target), raw, content_type, options)
        return self._answer(request, info, answer)

    async def _delete(self, request: web.Request, info: ResourceInfo, target: Target) -> web.Response:
        delete_options, is_dry_run = await self._delete_options(request)
        answer, is_gone = deletion.delete(
            self.backend, _place(info, target), delete_options, is_dry_run=is_dry_run
        )
        if deletion.returns_object(info, is_gone=is_gone):
            return self._answer(request, info, answer)
        return _json(deletion.deleted_status(info, answer.stored))

    async def _delete_collection(
        self, request: web.Request, info: ResourceInfo, target: Target
    ) -> web.Response:
        if info.namespaced and not target.namespace:
            raise method_not_allowed(info)
        delete_options, is_dry_run = await self._delete_options(request)
        query = request.query
        is_selected = selector(info, query.get("labelSelector", ""), query.get("fieldSelector", ""))
        items = []
        for obj in self.backend.store.list(info, target.namespace):
            if is_selected is None or is_selected(obj):
                metadata = obj["metadata"]
                place = Place(info, metadata.get("namespace", ""), metadata["name"])
                answer, _ = deletion.delete(self.backend, place, delete_options, is_dry_run=is_dry_run)
                items.append(convert(info, answer.stored.obj))
        version = str(self.backend.store.resource_version)
        return _json(
            {
                "kind": info.list_kind,
                "apiVersion": info.api_version,
                "metadata": {"resourceVersion": version},
                "items": items,
            }
        )

    async def _subresource(
        self, request: web.Request, info: ResourceInfo, target: Target
    ) -> web.StreamResponse:
        name, method = target.subresource, request.method
        if info.storage_key == ("", "pods") and name in pods.SUBRESOURCES:
            return await pods.handle(self.backend, request, info, target)
        if info.storage_key == ("", "namespaces") and name == "finalize":
            return await self._finalize(request, info, target)
        known = info.subresource(name)
        if known is None:
            raise no_such_path()
        if method not in ("GET", "PUT", "PATCH"):
            raise method_not_allowed(info)
        if name == "scale":
            raw = await request.read()
            body = scaling.handle(
                self.backend, _place(info, target), request, raw, write_options(request, raw)
            )
            return _json(body)
        if method == "GET":
            return self._get(request, info, target)
        if method == "PUT":
            return await self._replace(request, info, target)
        return await self._patch(request, info, target)

    async def _finalize(self, request: web.Request, info: ResourceInfo, target: Target) -> web.Response:
        """Writes a namespace's spec.finalizers, and removes the namespace with the last of them."""
        if request.method != "PUT":
            raise method_not_allowed(info)
        obj, _ = await self._body(request)
        found = self.backend.required(_place(info, target))
        new = found.copy()
        spec = new.setdefault("spec", {})
        finalizers = (obj.get("spec") or {}).get("finalizers") or []
        if finalizers:
            spec["finalizers"] = finalizers
        else:
            spec.pop("finalizers", None)
        metadata = new["metadata"]
        if metadata.get("deletionTimestamp") and not finalizers and not metadata.get("finalizers"):
            gone = self.backend.store.remove(info.storage_key, ("", target.name), new)
            return self._answer(request, info, Answer(gone or found))
        return self._answer(request, info, Answer(self.backend.store.put(info.storage_key, new)))

    async def _body(self, request: web.Request) -> tuple[Json, WriteOptions]:
        raw = await request.read()
        obj = decode_body(raw, request.headers.get("Content-Type", ""), self.backend.surface.decode_protobuf)
        return obj, write_options(request, raw)

    async def _delete_options(self, request: web.Request) -> tuple[Json, bool]:
        """The delete options, and whether it is only tried."""
        raw = await request.read()
        body: Json = {}
        if raw:
            media = request.headers.get("Content-Type", "")
            body = decode_body(raw, media, self.backend.surface.decode_protobuf)
        is_dry_run = write_options(request, b"").is_dry_run or bool(body.get("dryRun"))
        return deletion.merged_options(body, request.query), is_dry_run

    def _answer(self, request: web.Request, info: ResourceInfo, answer: Answer) -> web.Response:
        accepted = negotiate(request.headers.get("Accept", ""))
        raw = render(self.backend, info, answer.stored, accepted, request.query)
        response = _bytes(raw, accepted, answer.code)
        for warning in answer.warnings:
            quoted = warning.replace("\\", "\\\\").replace('"', '\\"')
            response.headers.add("Warning", f'299 - "{quoted}"')
        return response


def write_options(request: web.Request, raw: bytes) -> WriteOptions:
    """How a write is asked for, from query and headers. Raises ApiError."""
    query: Mapping[str, str] = request.query
    dry = query.get("dryRun", "")
    if dry not in ("", "All"):
        supported = 'supported values: "All"'
        raise invalid(
            _options_kind(request), "", [FieldError("FieldValueNotSupported", "dryRun", supported, [dry])]
        )
    validation = query.get("fieldValidation") or "Warn"
    if validation not in _FIELD_VALIDATIONS:
        supported = 'supported values: "", "Ignore", "Strict", "Warn"'
        wrong = FieldError("FieldValueNotSupported", "fieldValidation", supported, validation)
        raise invalid(_options_kind(request), "", [wrong])
    user = request.get("user")
    manager = query.get("fieldManager", "")
    agent = request.headers.get("User-Agent", "")
    return WriteOptions(
        user=user if isinstance(user, User) else User("unknown"),
        field_manager=manager or agent.partition("/")[0][:128] or "unknown",
        has_field_manager=bool(manager),
        field_validation=validation,
        is_validation_asked="fieldValidation" in query,
        is_dry_run=dry == "All",
        is_forced={"true": True, "1": True, "false": False, "0": False}.get(query.get("force", "")),
        raw=raw,
    )


def _options_kind(request: web.Request) -> ResourceInfo:
    kinds = {"PUT": "UpdateOptions", "PATCH": "PatchOptions", "DELETE": "DeleteOptions"}
    kind = kinds.get(request.method, "CreateOptions")
    return ResourceInfo("meta.k8s.io", "v1", "", "", kind, "", namespaced=False)


def _place(info: ResourceInfo, target: Target) -> Place:
    return Place(info, target.namespace, target.name, target.subresource)


def _is_true(text: str) -> bool:
    return text in ("1", "true", "True")


def _json(body: Json, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json")


def _bytes(raw: bytes, accepted: Accepted, status: int = 200) -> web.Response:
    if accepted.is_yaml:
        text = yaml.safe_dump(orjson.loads(raw), sort_keys=True)
        return web.Response(text=text, status=status, content_type="application/yaml")
    return web.Response(body=raw, status=status, content_type="application/json")
