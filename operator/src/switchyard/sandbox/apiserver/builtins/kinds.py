"""Which built-in kinds there are: names, scope, verbs and subresources, in the order in which discovery lists them.

Kinds whose controllers the sandbox lacks (StatefulSet, DaemonSet, Job, CronJob, Ingress, …) are stored and
answered like the others; nothing acts on them.
"""

from __future__ import annotations

from collections.abc import Iterator

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

# kind, plural, short names, categories, flags (C cluster-scoped, G has a generation, S status, L scale), model
_STORED = """
v1 ConfigMap configmaps cm - - V1ConfigMap
v1 Endpoints endpoints ep - - V1Endpoints
v1 Event events ev - - CoreV1Event
v1 LimitRange limitranges limits - - V1LimitRange
v1 Namespace namespaces ns - CS V1Namespace
v1 Node nodes no - CS V1Node
v1 PersistentVolumeClaim persistentvolumeclaims pvc - S V1PersistentVolumeClaim
v1 PersistentVolume persistentvolumes pv - CS V1PersistentVolume
v1 Pod pods po all GS V1Pod
v1 PodTemplate podtemplates - - - V1PodTemplate
v1 ResourceQuota resourcequotas quota - S V1ResourceQuota
v1 Secret secrets - - - V1Secret
v1 ServiceAccount serviceaccounts sa - - V1ServiceAccount
v1 Service services svc all S V1Service
apiregistration.k8s.io/v1 APIService apiservices - api-extensions CS V1APIService
apps/v1 ControllerRevision controllerrevisions - - - V1ControllerRevision
apps/v1 DaemonSet daemonsets ds all GS V1DaemonSet
apps/v1 Deployment deployments deploy all GLS V1Deployment
apps/v1 ReplicaSet replicasets rs all GLS V1ReplicaSet
apps/v1 StatefulSet statefulsets sts all GLS V1StatefulSet
events.k8s.io/v1 Event events ev - - EventsV1Event
autoscaling/v2 HorizontalPodAutoscaler horizontalpodautoscalers hpa all S V2HorizontalPodAutoscaler
batch/v1 CronJob cronjobs cj all GS V1CronJob
batch/v1 Job jobs - all GS V1Job
networking.k8s.io/v1 IngressClass ingressclasses - - CG V1IngressClass
networking.k8s.io/v1 Ingress ingresses ing - GS V1Ingress
networking.k8s.io/v1 NetworkPolicy networkpolicies netpol - G V1NetworkPolicy
policy/v1 PodDisruptionBudget poddisruptionbudgets pdb - GS V1PodDisruptionBudget
rbac.authorization.k8s.io/v1 ClusterRoleBinding clusterrolebindings - - C V1ClusterRoleBinding
rbac.authorization.k8s.io/v1 ClusterRole clusterroles - - C V1ClusterRole
rbac.authorization.k8s.io/v1 RoleBinding rolebindings - - - V1RoleBinding
rbac.authorization.k8s.io/v1 Role roles - - - V1Role
storage.k8s.io/v1 StorageClass storageclasses sc - C V1StorageClass
apiextensions.k8s.io/v1 CustomResourceDefinition customresourcedefinitions crd,crds api-extensions CGS V1CustomResourceDefinition
scheduling.k8s.io/v1 PriorityClass priorityclasses pc - CG V1PriorityClass
coordination.k8s.io/v1 Lease leases - - - V1Lease
discovery.k8s.io/v1 EndpointSlice endpointslices - - G V1EndpointSlice
"""

# Answered and forgotten: nothing of these is stored.
_REVIEWS = """
authentication.k8s.io/v1 SelfSubjectReview selfsubjectreviews C V1SelfSubjectReview
authentication.k8s.io/v1 TokenReview tokenreviews C V1TokenReview
authorization.k8s.io/v1 LocalSubjectAccessReview localsubjectaccessreviews - V1LocalSubjectAccessReview
authorization.k8s.io/v1 SelfSubjectAccessReview selfsubjectaccessreviews C V1SelfSubjectAccessReview
authorization.k8s.io/v1 SelfSubjectRulesReview selfsubjectrulesreviews C V1SelfSubjectRulesReview
authorization.k8s.io/v1 SubjectAccessReview subjectaccessreviews C V1SubjectAccessReview
"""

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
    for line in _STORED.strip().splitlines():
        api_version, kind, plural, short, categories, flags, model = line.split()
        group, _, version = api_version.rpartition("/")
        yield ResourceInfo(
            group=group,
            version=version,
            plural=plural,
            singular=kind.lower(),
            kind=kind,
            list_kind=f"{kind}List",
            namespaced="C" not in flags,
            short_names=() if short == "-" else tuple(short.split(",")),
            categories=() if categories == "-" else tuple(categories.split(",")),
            verbs=_VERBS.get(plural, ALL_VERBS),
            subresources=tuple(_subresources(plural, kind, flags)),
            scale=_SCALE if "L" in flags else None,
            schema=inline_schema(model),
            has_generation="G" in flags,
            selectable_fields=_SELECTABLE.get((group, plural), ()),
        )
    for line in _REVIEWS.strip().splitlines():
        api_version, kind, plural, flags, model = line.split()
        group, _, version = api_version.rpartition("/")
        yield ResourceInfo(
            group=group,
            version=version,
            plural=plural,
            singular=kind.lower(),
            kind=kind,
            list_kind=f"{kind}List",
            namespaced="C" not in flags,
            verbs=("create",),
            schema=inline_schema(model),
            has_generation=False,
        )


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


def _models() -> dict[tuple[str, str, str], str]:
    found = dict(_BODIES)
    for line in (*_STORED.strip().splitlines(), *_REVIEWS.strip().splitlines()):
        api_version, kind, *_, model = line.split()
        group, _, version = api_version.rpartition("/")
        found[group, version, kind] = model
    return found


_MODELS = _models()


def model_of_kind(api_version: str, kind: str) -> str | None:
    """The class of the client library that describes a built-in kind, None for any other.

    DeleteOptions belong to every group.
    """
    group, _, version = api_version.rpartition("/")
    return _BODIES["", "v1", kind] if kind == "DeleteOptions" else _MODELS.get((group, version, kind))


def stored_models() -> tuple[tuple[str, str], ...]:
    """Each built-in kind's group and model, in the order of discovery's table."""
    return tuple((group, model) for (group, _, _), model in _MODELS.items())
