"""What all request handlers share: the kinds, the objects, the surface, and the clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from switchyard.sandbox.apiserver.errors import not_found
from switchyard.sandbox.apiserver.hooks import ADMIN, Surface, User
from switchyard.sandbox.apiserver.resources import Json, Registry, ResourceInfo
from switchyard.sandbox.apiserver.store import Store, Stored


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """How a write is asked for, apart from what it writes."""

    user: User = ADMIN
    field_manager: str = "unknown"
    has_field_manager: bool = False  # whether the request named it
    field_validation: str = "Warn"
    is_validation_asked: bool = False  # duplicate fields are looked for only then: it takes a second parse
    is_dry_run: bool = False
    is_forced: bool | None = None
    raw: bytes = b""  # the body as sent, for finding duplicate fields


@dataclass(frozen=True, slots=True)
class Place:
    """Where an object is, and through which subresource it is written."""

    info: ResourceInfo
    namespace: str = ""  # empty for cluster-scoped kinds
    name: str = ""
    subresource: str = ""


@dataclass(slots=True)
class Answer:
    """What a write leads to: an object, or a body that is not stored."""

    stored: Stored
    code: int = 200
    warnings: list[str] = field(default_factory=list)


@dataclass
class Backend:
    """One server's state."""

    registry: Registry
    store: Store
    surface: Surface
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    def timestamp(self) -> str:
        """The time of now as Kubernetes writes it, in whole seconds."""
        return self.now().strftime("%Y-%m-%dT%H:%M:%SZ")

    def builtin(self, group: str, version: str, plural: str) -> ResourceInfo:
        """A built-in resource that must be there."""
        info = self.registry.lookup(group, version, plural)
        if info is None:
            raise LookupError(f"no resource {plural}.{version}.{group}")
        return info

    def required(self, place: Place) -> Stored:
        """What is stored at a place. Raises 404."""
        found = self.store.stored(place.info, place.namespace, place.name)
        if found is None:
            raise not_found(place.info, place.name)
        return found

    def namespace(self, name: str) -> Json | None:
        """The namespace of that name, None where there is none."""
        return self.store.get(self.builtin("", "v1", "namespaces"), "", name)
