"""The kinds a server knows: what each resource is called, where it lives and what its objects look like.

A schema is OpenAPI v3, fully inlined (the same dict may be shared between kinds; a named definition is
marked with `x-switchyard-definition: io.k8s.api.core.v1.PodSpec`). It lists every field, for built-ins too:
unknown fields are found by it, and merges and apply read these extensions from it:
`x-kubernetes-list-type`, `x-kubernetes-list-map-keys`, `x-kubernetes-map-type`,
`x-kubernetes-patch-strategy` (may be "merge,retainKeys"), `x-kubernetes-patch-merge-key`,
`x-kubernetes-preserve-unknown-fields`, `x-kubernetes-int-or-string`, and `default` (defaulting by schema is
done for custom resources, and for the keys of list maps of built-ins). `metadata` may be left out: the
server knows it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True, slots=True)
class PrinterColumn:
    """A column of `kubectl get`; `json_path` as in a CustomResourceDefinition, without braces."""

    name: str
    type: str
    json_path: str
    description: str = ""
    format: str = ""
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Subresource:
    """A path below an object. `kind`, `group` and `version` are those of its body."""

    name: str
    kind: str
    verbs: tuple[str, ...] = ("get", "patch", "update")
    group: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class ScalePaths:
    """Where the scale subresource finds its numbers, as in a CRD: `.spec.replicas`."""

    spec_replicas: str
    status_replicas: str
    label_selector: str | None = None


@dataclass(frozen=True)
class ResourceInfo:
    """One resource in one version. Objects are stored by (group, plural), whichever version wrote them."""

    group: str
    version: str
    plural: str
    singular: str
    kind: str
    list_kind: str
    namespaced: bool
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ALL_VERBS
    subresources: tuple[Subresource, ...] = ()
    scale: ScalePaths | None = None
    schema: Json | None = None
    printer_columns: tuple[PrinterColumn, ...] = ()
    is_builtin: bool = True
    is_storage_version: bool = True
    is_deprecated: bool = False
    deprecation_warning: str = ""
    has_generation: bool | None = None  # None: as the kind does (custom resources and kinds with spec/status)
    selectable_fields: tuple[str, ...] = ()  # beside metadata.name and metadata.namespace: "spec.nodeName"
    uid: str = ""  # of the CustomResourceDefinition it comes from

    @property
    def api_version(self) -> str:
        """`apps/v1`, or `v1` for the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified_plural(self) -> str:
        """`deployments.apps`, or `pods` for the core group."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def qualified_kind(self) -> str:
        """`Deployment.apps`, or `Pod` for the core group."""
        return f"{self.kind}.{self.group}" if self.group else self.kind

    @property
    def storage_key(self) -> tuple[str, str]:
        """What objects of every version are stored under; both event groups show one store."""
        return ("", "events") if self.group == "events.k8s.io" else (self.group, self.plural)

    def subresource(self, name: str) -> Subresource | None:
        """The subresource of that name, None where there is none."""
        return next((sub for sub in self.subresources if sub.name == name), None)


@dataclass
class Registry:
    """All resources of a server: built-ins, and those that CustomResourceDefinitions bring and take."""

    _by_path: dict[tuple[str, str, str], ResourceInfo] = field(default_factory=dict)
    _listeners: list[Callable[[], None]] = field(default_factory=list)

    def add(self, infos: Iterable[ResourceInfo]) -> None:
        """Adds resources or replaces those of the same group, version and plural; tells listeners once."""
        for info in infos:
            self._by_path[info.group, info.version, info.plural] = info
        self._changed()

    def replace_custom(self, group: str, plural: str, infos: Iterable[ResourceInfo]) -> None:
        """Makes `infos` the only versions of a custom resource; an empty list removes it."""
        for key in [k for k in self._by_path if k[0] == group and k[2] == plural]:
            del self._by_path[key]
        self.add(infos)

    def lookup(self, group: str, version: str, plural: str) -> ResourceInfo | None:
        """The resource at that path, None where there is none."""
        return self._by_path.get((group, version, plural))

    def by_kind(self, group: str, version: str, kind: str) -> ResourceInfo | None:
        """The resource with objects of that kind, None where there is none."""
        return next(
            (i for i in self._by_path.values() if (i.group, i.version, i.kind) == (group, version, kind)),
            None,
        )

    def storage(self, group: str, plural: str) -> ResourceInfo | None:
        """The resource in its storage version, None where there is none."""
        found = [i for i in self._by_path.values() if i.storage_key == (group, plural)]
        return next((i for i in found if i.is_storage_version), found[0] if found else None)

    def all(self) -> Iterator[ResourceInfo]:
        """Every resource in every version, in the order in which they came."""
        return iter(tuple(self._by_path.values()))

    def on_change(self, listener: Callable[[], None]) -> None:
        """Calls `listener` after each change, so that discovery and OpenAPI can drop what they cached."""
        self._listeners.append(listener)

    def _changed(self) -> None:
        for listener in self._listeners:
            listener()
