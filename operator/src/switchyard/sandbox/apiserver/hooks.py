"""What storage and HTTP semantics ask of the surface: kinds, defaults, checks, tables, who may do what.

`surface.py` gives `create_surface(registry, objects, options) -> Surface`; app.py wires it. The surface sees
stored objects through `Objects`. Everything runs on one event loop, so plain functions need no locks;
functions that are called for every request must be quick.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from aiohttp import web

from switchyard.sandbox.apiserver.errors import FieldError
from switchyard.sandbox.apiserver.resources import Json, Registry, ResourceInfo


@dataclass(frozen=True, slots=True)
class User:
    """Who asks."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Attributes:
    """What is asked for, as authorizers see it. Non-resource requests carry only `verb` and `path`."""

    verb: str  # get list watch create update patch delete deletecollection; for paths: get, post, …
    path: str
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    is_resource: bool = True


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether it is allowed, and the reason that a reviewer is told."""

    is_allowed: bool
    reason: str = ""


class Objects(Protocol):
    """Read access to stored objects. What is returned must not be changed."""

    def get(self, info: ResourceInfo, namespace: str, name: str) -> Json | None:
        """The object or None; `namespace` is empty for cluster-scoped kinds."""

    def list(self, info: ResourceInfo, namespace: str = "") -> list[Json]:
        """All objects, or those of one namespace, by namespace and name."""

    def write_count(self, info: ResourceInfo) -> int:
        """A number that grows with each write to the resource: for caches, such as of RBAC rules."""

    @property
    def resource_version(self) -> int:
        """The version of the latest write of all."""


@dataclass(frozen=True)
class SurfaceOptions:
    """What the server tells its surface at start."""

    admin_token: str
    ca_pem: bytes = b""
    url: Callable[[], str] = lambda: ""
    service_account_key_pem: bytes | None = (
        None  # None: a new key; given with persistence so that tokens survive
    )
    compact_history: Callable[[], None] = lambda: None  # drops all watch history: older versions answer 410
    cut_watches: Callable[[], int] = lambda: 0  # ends all open watches, returns how many


class Surface(Protocol):
    """Everything outside storage and HTTP semantics. One object per server."""

    def builtin_resources(self) -> Iterable[ResourceInfo]:
        """All built-in kinds with their schemas; called once before anything else."""

    def bootstrap_objects(self) -> Iterable[tuple[ResourceInfo, Json]]:
        """Objects that exist from the start: namespaces, cluster roles and bindings, priority classes."""

    def default_builtin(self, info: ResourceInfo, obj: Json) -> None:
        """Fills in defaults of a built-in kind, in place; runs on every object decoded or patched."""

    def prepare_builtin(
        self, info: ResourceInfo, new: Json, old: Json | None, subresource: str, user: User
    ) -> None:
        """Sets in place what the server owns, before validation.

        Such as a new pod's phase and qosClass, a new node's taint, a Secret's stringData. `old` is None on
        creation. Fields that a request may not change through this (sub)resource have been put back already
        (status by the main resource, all else by status).
        """

    def validate_builtin(
        self, info: ResourceInfo, new: Json, old: Json | None, subresource: str
    ) -> Sequence[FieldError]:
        """What is wrong with an object of a built-in kind, metadata apart (the server checks that)."""

    def admit(self, info: ResourceInfo, new: Json, old: Json | None, subresource: str, user: User) -> None:
        """Raises ApiError for a write that policy refuses: RBAC escalation, ResourceQuota, Pod Security."""

    def table(
        self,
        info: ResourceInfo,
        objects: Sequence[Json],
        list_metadata: Json,
        include_object: str,
        *,
        headers: bool,
    ) -> Json:
        """A meta.k8s.io/v1 Table; `include_object` is None, Metadata or Object.

        `headers` is False for the second and later events of a watch (no columnDefinitions).
        """

    def authenticate(self, headers: Mapping[str, str]) -> User:
        """Who asks, system:anonymous without credentials. Raises `errors.unauthorized()` for bad ones."""

    def authorize(self, user: User, attributes: Attributes) -> Verdict:
        """Whether the user may do it."""

    def decode_protobuf(self, body: bytes) -> Json:
        """The object in an application/vnd.kubernetes.protobuf body. Raises ValueError if it cannot."""

    def routes(self) -> Iterable[web.RouteDef]:
        """The paths that are not stored objects; they come before the resource routes.

        Discovery, OpenAPI, version and health, reviews (authentication/authorization.k8s.io),
        serviceaccounts/token, /sandbox/v1/faults. The request carries `request["user"]` (User), has been
        authenticated and authorized by `authorize` (so paths open to all must be allowed there).
        """

    async def fault(self, request: web.Request, attributes: Attributes) -> web.StreamResponse | None:
        """An injected failure for this request (or None after an injected delay)."""

    def spoil_event(self, info: ResourceInfo) -> bool:
        """Whether an injected fault drops the next watch event of this resource."""

    def serve_stale(self, info: ResourceInfo) -> int | None:
        """The resourceVersion at which an injected fault freezes lists of this resource, None without one."""


def denial(user: User, attributes: Attributes) -> str:
    """Why not, as a refusal tells it: who cannot do what to what, and where."""
    if not attributes.is_resource:
        return f'User "{user.name}" cannot {attributes.verb} path "{attributes.path}"'
    resource = attributes.resource + (f"/{attributes.subresource}" if attributes.subresource else "")
    scope = f'in the namespace "{attributes.namespace}"' if attributes.namespace else "at the cluster scope"
    return (
        f'User "{user.name}" cannot {attributes.verb} resource "{resource}" in API group '
        f'"{attributes.group}" {scope}'
    )


SurfaceFactory = Callable[[Registry, Objects, SurfaceOptions], Surface]
ANONYMOUS = User("system:anonymous", ("system:unauthenticated",))
ADMIN = User("kubernetes-admin", ("system:masters", "system:authenticated"))
