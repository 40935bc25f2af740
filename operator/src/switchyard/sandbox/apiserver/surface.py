"""The surface of a server, put together: what `hooks.Surface` asks for, each part from its own module."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence

import orjson
from aiohttp import web

from switchyard.sandbox.apiserver import discovery, server_info
from switchyard.sandbox.apiserver.bootstrap import bootstrap_objects
from switchyard.sandbox.apiserver.builtins import preparation
from switchyard.sandbox.apiserver.builtins.decoding import decode_builtin
from switchyard.sandbox.apiserver.builtins.defaults import default_object
from switchyard.sandbox.apiserver.builtins.kinds import builtin_resources
from switchyard.sandbox.apiserver.builtins.validation import validate_object
from switchyard.sandbox.apiserver.credentials import Credentials, TokenKey
from switchyard.sandbox.apiserver.errors import FieldError, unauthorized
from switchyard.sandbox.apiserver.escalation import check_escalation
from switchyard.sandbox.apiserver.faults import Faults
from switchyard.sandbox.apiserver.hooks import (
    ADMIN,
    ANONYMOUS,
    Attributes,
    Objects,
    SurfaceOptions,
    User,
    Verdict,
)
from switchyard.sandbox.apiserver.impersonation import impersonated
from switchyard.sandbox.apiserver.openapi import OpenApi
from switchyard.sandbox.apiserver.protobuf import decode_protobuf
from switchyard.sandbox.apiserver.quota import check_quotas
from switchyard.sandbox.apiserver.rbac import RoleBasedAccess
from switchyard.sandbox.apiserver.resources import Json, Registry, ResourceInfo
from switchyard.sandbox.apiserver.reviews import Reviews
from switchyard.sandbox.apiserver.table import table


class ServerSurface:
    """One server's surface; see `hooks.Surface` for what each method owes."""

    def __init__(self, registry: Registry, objects: Objects, options: SurfaceOptions) -> None:
        self.registry = registry
        self.objects = objects
        self.options = options
        self.access = RoleBasedAccess(registry, objects)
        self.credentials = Credentials(
            {options.admin_token: ADMIN}, TokenKey(options.service_account_key_pem), self._account
        )
        self.faults = Faults(options.compact_history, options.cut_watches, lambda: objects.resource_version)
        self.openapi = OpenApi(registry)
        self.reviews = Reviews(registry, objects, self.access, self.credentials, decode_protobuf)

    def _account(self, namespace: str, name: str) -> Json | None:
        info = self.registry.lookup("", "v1", "serviceaccounts")
        return None if info is None else self.objects.get(info, namespace, name)

    def _stored(self, group: str, plural: str, namespace: str = "") -> list[Json]:
        info = self.registry.lookup(group, "v1", plural)
        return [] if info is None else self.objects.list(info, namespace)

    def builtin_resources(self) -> Iterable[ResourceInfo]:
        """All built-in kinds."""
        return builtin_resources()

    def bootstrap_objects(self) -> Iterator[tuple[ResourceInfo, Json]]:
        """What exists from the start, as a write through the API would have left it."""
        for info, obj in bootstrap_objects(self.registry):
            self.default_builtin(info, obj)
            self.prepare_builtin(info, obj, None, "", ADMIN)
            obj["metadata"]["uid"] = str(uuid.uuid4())
            yield info, obj

    def default_builtin(self, info: ResourceInfo, obj: Json) -> None:
        """Checks types and fills in defaults."""
        decode_builtin(info, obj)
        default_object(info, obj)

    def prepare_builtin(
        self, info: ResourceInfo, new: Json, old: Json | None, subresource: str, user: User
    ) -> None:
        """Sets what the server owns."""
        del user
        if subresource:
            return
        if old is None:
            default_object(info, new)  # the status that came with it has been dropped
        if info.group:
            return
        if info.kind == "Service":
            preparation.prepare_service(new, old, lambda: self._stored("", "services"))
        elif old is None and info.kind == "Pod":
            preparation.prepare_pod(info, new, lambda: self._stored("scheduling.k8s.io", "priorityclasses"))
        elif old is None and info.kind == "Node":
            preparation.prepare_node(new)
        elif old is None and info.kind == "Namespace":
            preparation.prepare_namespace(new)

    def validate_builtin(
        self, info: ResourceInfo, new: Json, old: Json | None, subresource: str
    ) -> Sequence[FieldError]:
        """What is wrong with an object."""
        return validate_object(info, new, old, subresource)

    def admit(self, info: ResourceInfo, new: Json, old: Json | None, subresource: str, user: User) -> None:
        """Refuses what policy forbids."""
        if subresource:
            return
        check_escalation(self.access, info, new, old, user)
        if old is None and (info.group, info.kind) == ("", "Pod"):
            namespace = new["metadata"].get("namespace", "")
            quotas = self._stored("", "resourcequotas", namespace)
            if quotas and not validate_object(info, new, None, ""):  # what is invalid is refused as that
                check_quotas(info, new, self._stored("", "pods", namespace), quotas)

    def table(
        self,
        info: ResourceInfo,
        objects: Sequence[Json],
        list_metadata: Json,
        include_object: str,
        *,
        headers: bool,
    ) -> Json:
        """A Table of objects."""
        return table(info, objects, list_metadata, include_object, headers=headers)

    def authenticate(self, headers: Mapping[str, str]) -> User:
        """Who asks, or who the asker may act as."""
        authorization = headers.get("Authorization", "").strip()
        if not authorization:
            return ANONYMOUS
        user = self.credentials.user(authorization)
        if user is None:
            raise unauthorized()
        return impersonated(user, headers, self.authorize)

    def authorize(self, user: User, attributes: Attributes) -> Verdict:
        """Whether the user may do it."""
        return self.access.authorize(user, attributes)

    def decode_protobuf(self, body: bytes) -> Json:
        """The object in a protobuf body."""
        return decode_protobuf(body)

    def routes(self) -> Iterable[web.RouteDef]:
        """The paths that are not stored objects."""
        return [
            *server_info.routes(),
            *self._discovery_routes(),
            *self.openapi.routes(),
            *self.reviews.routes(),
            *self.faults.routes(),
        ]

    def _discovery_routes(self) -> list[web.RouteDef]:
        return [
            web.get("/api", self._versions),
            web.get("/api/", self._versions),
            web.get("/apis", self._groups),
            web.get("/apis/", self._groups),
            web.get("/apis/{group}", self._group),
            web.get("/api/{version}", self._resources),
            web.get("/apis/{group}/{version}", self._resources),
        ]

    async def _versions(self, request: web.Request) -> web.Response:
        if discovery.accepts_aggregated(request.headers.get("Accept", "")):
            return _aggregated(discovery.aggregated_groups(self.registry, is_core=True))
        return _json(discovery.api_versions(self.options.url().partition("://")[2]))

    async def _groups(self, request: web.Request) -> web.Response:
        if discovery.accepts_aggregated(request.headers.get("Accept", "")):
            return _aggregated(discovery.aggregated_groups(self.registry, is_core=False))
        return _json(discovery.group_list(self.registry))

    async def _group(self, request: web.Request) -> web.Response:
        return _json(discovery.group_of(self.registry, request.match_info["group"]))

    async def _resources(self, request: web.Request) -> web.Response:
        group = request.match_info.get("group", "")
        return _json(discovery.resource_list(self.registry, group, request.match_info["version"]))

    async def fault(self, request: web.Request, attributes: Attributes) -> web.StreamResponse | None:
        """An injected failure, if one is due."""
        return await self.faults.answer(request, attributes)

    def spoil_event(self, info: ResourceInfo) -> bool:
        """Whether the next watch event is lost."""
        return self.faults.loses_event(info)

    def serve_stale(self, info: ResourceInfo) -> int | None:
        """The version at which lists are frozen."""
        return self.faults.stale_version(info)


def _json(body: Json | None) -> web.Response:
    if body is None:
        return web.Response(status=404, text="404 page not found\n")
    return web.Response(body=orjson.dumps(body), content_type="application/json")


def _aggregated(body: Json) -> web.Response:
    headers = {"Content-Type": discovery.AGGREGATED_TYPE, "Vary": "Accept"}
    return web.Response(body=orjson.dumps(body), headers=headers)


def create_surface(registry: Registry, objects: Objects, options: SurfaceOptions) -> ServerSurface:
    """The surface of a server with these kinds and objects."""
    return ServerSurface(registry, objects, options)
