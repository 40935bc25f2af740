"""Which built-in kinds there are: names, scope, verbs and subresources, in the order of discovery.

The table is `kinds.txt`. Kinds whose controllers the sandbox lacks (StatefulSet, DaemonSet, Job, CronJob,
Ingress, …) are stored and answered like the others; nothing acts on them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources

from switchyard.sandbox.apiserver.builtins.schemas import inline_schema
from switchyard.sandbox.apiserver.resources import ALL_VERBS, ResourceInfo, ScalePaths, Subresource

# Groups in the order of /apis. Those of custom resources follow.
GROUP_ORDER = (
    "",
    "apiregistration.k8s.io",
    "apps",
    "events.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "networking.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "storage.k8s.io",
    "apiextensions.k8s.io",
    "scheduling.k8s.io",
    "coordination.k8s.io",
    "discovery.k8s.io",
)


_EXTRA_SUBRESOURCES = {
    "pods": (
        Subresource("binding", "Binding", ("create",)),
        Subresource("eviction", "Eviction", ("create",), "policy", "v1"),
        Subresource("log", "Pod", ("get",)),
    ),
    "namespaces": (Subresource("finalize", "Namespace", ("update",)),),
    "serviceaccounts": (Subresource("token", "TokenRequest", ("create",), "authentication.k8s.io", "v1"),),
}

_VERBS = {
    "namespaces": tuple(verb for verb in ALL_VERBS if verb != "deletecollection"),
    "apiservices": ("get", "list", "watch"),  # there is no aggregation, so none can be added
}

# Beside metadata.name and metadata.namespace.
_SELECTABLE = {
    ("", "pods"): (
        "spec.hostNetwork",
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "status.nominatedNodeName",
        "status.phase",
        "status.podIP",
    ),
    ("", "events"): (
        "involvedObject.apiVersion",
        "involvedObject.fieldPath",
        "involvedObject.kind",
        "involvedObject.name",
        "involvedObject.namespace",
        "involvedObject.resourceVersion",
        "involvedObject.uid",
        "reason",
        "reportingComponent",
        "type",
    ),
    ("events.k8s.io", "events"): (
        "reason",
        "regarding.kind",
        "regarding.name",
        "regarding.namespace",
        "regarding.uid",
        "reportingController",
        "type",
    ),
    ("", "namespaces"): ("status.phase",),
    ("", "nodes"): ("spec.unschedulable",),
    ("", "secrets"): ("type",),
    ("", "services"): ("spec.clusterIP", "spec.type"),
    ("apps", "replicasets"): ("status.replicas",),
    ("batch", "jobs"): ("status.successful",),
}

_SCALE = ScalePaths(".spec.replicas", ".status.replicas", ".spec.selector")


def builtin_resources() -> Iterator[ResourceInfo]:
    """All built-in kinds with their schemas; the first call reads the models of the client library."""
    for row in _rows():
        is_review = "R" in row.flags
        yield ResourceInfo(
            group=row.group,
            version=row.version,
            plural=row.plural,
            singular=row.kind.lower(),
            kind=row.kind,
            list_kind=f"{row.kind}List",
            namespaced="C" not in row.flags,
            short_names=row.short_names,
            categories=row.categories,
            verbs=("create",) if is_review else _VERBS.get(row.plural, ALL_VERBS),
            subresources=tuple(_subresources(row.plural, row.kind, row.flags)),
            scale=_SCALE if "L" in row.flags else None,
            schema=inline_schema(row.model),
            has_generation="G" in row.flags,
            selectable_fields=_SELECTABLE.get((row.group, row.plural), ()),
        )


@dataclass(frozen=True)
class _Row:
    group: str
    version: str
    kind: str
    plural: str
    short_names: tuple[str, ...]
    categories: tuple[str, ...]
    flags: str
    model: str


@cache
def _rows() -> tuple[_Row, ...]:
    text = resources.files(__package__).joinpath("kinds.txt").read_text()
    return tuple(_parse(line) for line in text.splitlines() if not line.startswith("#"))


def _parse(line: str) -> _Row:
    api_version, kind, plural, short_names, categories, flags, model = line.split()
    group, _, version = api_version.rpartition("/")
    return _Row(group, version, kind, plural, _words(short_names), _words(categories), flags, model)


def _words(text: str) -> tuple[str, ...]:
    return () if text == "-" else tuple(text.split(","))


def _subresources(plural: str, kind: str, flags: str) -> Iterator[Subresource]:
    found = list(_EXTRA_SUBRESOURCES.get(plural, ()))
    if "L" in flags:
        found.append(Subresource("scale", "Scale", group="autoscaling", version="v1"))
    if "S" in flags:
        found.append(Subresource("status", kind))
    yield from sorted(found, key=lambda sub: sub.name)


# Bodies of subresources and of requests that are not stored under their own name.
_BODIES = {
    ("", "v1", "Binding"): "V1Binding",
    ("", "v1", "DeleteOptions"): "V1DeleteOptions",
    ("authentication.k8s.io", "v1", "TokenRequest"): "AuthenticationV1TokenRequest",
    ("autoscaling", "v1", "Scale"): "V1Scale",
    ("policy", "v1", "Eviction"): "V1Eviction",
}


@cache
def _models() -> dict[tuple[str, str, str], str]:
    return {(row.group, row.version, row.kind): row.model for row in _rows()} | _BODIES


def model_of_kind(api_version: str, kind: str) -> str | None:
    """The class of the client library that describes a built-in kind, None for any other.

    DeleteOptions belong to every group.
    """
    group, _, version = api_version.rpartition("/")
    return _BODIES["", "v1", kind] if kind == "DeleteOptions" else _models().get((group, version, kind))


def stored_models() -> tuple[tuple[str, str], ...]:
    """Each built-in kind's group and model, in the order of discovery's table."""
    return tuple((group, model) for (group, _, _), model in _models().items())
