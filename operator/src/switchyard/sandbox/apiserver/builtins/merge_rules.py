"""How the lists and maps of built-in kinds merge: facts that the client library does not carry.

Server-side apply takes `map` (associative list with its keys), `set` and `atomic`; strategic merge patch takes
`patch`. A list that is not named here is atomic, a map that is not named is granular.
Source: x-kubernetes-list-type, -list-map-keys, -map-type, -patch-strategy and -patch-merge-key of the published
OpenAPI documents (kubernetes/api/openapi-spec).
"""

from __future__ import annotations

from dataclasses import dataclass

# model.field, then what holds; models carry the names of the client library's classes
_FIELDS = """
CoreV1EndpointPort                      .                        atomic
DiscoveryV1EndpointPort                 .                        atomic
RbacV1Subject                           .                        atomic
V1APIServiceStatus                      conditions               map=type patch=merge:type
V1ConfigMapKeySelector                  .                        atomic
V1Container                             env                      map=name patch=merge:name
V1Container                             ports                    map=containerPort,protocol patch=merge:containerPort
V1Container                             volumeDevices            map=devicePath patch=merge:devicePath
V1Container                             volumeMounts             map=mountPath patch=merge:mountPath
V1ContainerRestartRuleOnExitCodes       values                   set
V1ContainerStatus                       allocatedResourcesStatus map=name patch=merge:name
V1ContainerStatus                       volumeMounts             map=mountPath patch=merge:mountPath
V1CustomResourceDefinitionStatus        conditions               map=type
V1DaemonSetStatus                       conditions               map=type patch=merge:type
V1DeploymentSpec                        strategy                 patch=retainKeys
V1DeploymentStatus                      conditions               map=type patch=merge:type
V1Endpoint                              addresses                set
V1EndpointAddress                       .                        atomic
V1EphemeralContainer                    env                      map=name patch=merge:name
V1EphemeralContainer                    ports                    map=containerPort,protocol patch=merge:containerPort
V1EphemeralContainer                    volumeDevices            map=devicePath patch=merge:devicePath
V1EphemeralContainer                    volumeMounts             map=mountPath patch=merge:mountPath
V1FileKeySelector                       .                        atomic
V1JobStatus                             conditions               patch=merge:type
V1LabelSelector                         .                        atomic
V1LocalObjectReference                  .                        atomic
V1NamespaceStatus                       conditions               map=type patch=merge:type
V1NodeAllocatableResourceClaimStatus    containers               set
V1NodeSelector                          .                        atomic
V1NodeSelectorTerm                      .                        atomic
V1NodeSpec                              podCIDRs                 set patch=merge
V1NodeStatus                            addresses                map=type patch=merge:type
V1NodeStatus                            conditions               map=type patch=merge:type
V1ObjectFieldSelector                   .                        atomic
V1ObjectMeta                            finalizers               set patch=merge
V1ObjectMeta                            ownerReferences          map=uid patch=merge:uid
V1ObjectReference                       .                        atomic
V1OwnerReference                        .                        atomic
V1PersistentVolumeClaimStatus           conditions               map=type patch=merge:type
V1PodDisruptionBudgetSpec               selector                 patch=replace
V1PodDisruptionBudgetStatus             conditions               map=type patch=merge:type
V1PodFailurePolicyOnExitCodesRequirement values                  set
V1PodSpec                               containers               map=name patch=merge:name
V1PodSpec                               ephemeralContainers      map=name patch=merge:name
V1PodSpec                               hostAliases              map=ip patch=merge:ip
V1PodSpec                               imagePullSecrets         map=name patch=merge:name
V1PodSpec                               initContainers           map=name patch=merge:name
V1PodSpec                               nodeSelector             atomic
V1PodSpec                               resourceClaims           map=name patch=merge,retainKeys:name
V1PodSpec                               schedulingGates          map=name patch=merge:name
V1PodSpec                               topologySpreadConstraints map=topologyKey,whenUnsatisfiable patch=merge:topologyKey
V1PodSpec                               volumes                  map=name patch=merge,retainKeys:name
V1PodStatus                             conditions               map=type patch=merge:type
V1PodStatus                             hostIPs                  patch=merge:ip
V1PodStatus                             podIPs                   map=ip patch=merge:ip
V1PodStatus                             resourceClaimStatuses    map=name patch=merge,retainKeys:name
V1ReplicaSetStatus                      conditions               map=type patch=merge:type
V1ResourceFieldSelector                 .                        atomic
V1ResourceRequirements                  claims                   map=name
V1ResourceStatus                        resources                map=resourceID
V1RoleRef                               .                        atomic
V1ScopeSelector                         .                        atomic
V1SecretKeySelector                     .                        atomic
V1SecretReference                       .                        atomic
V1ServiceAccount                        secrets                  map=name patch=merge:name
V1ServiceBackendPort                    .                        atomic
V1ServiceSpec                           ports                    map=port,protocol patch=merge:port
V1ServiceSpec                           selector                 atomic
V1ServiceStatus                         conditions               map=type patch=merge:type
V1StatefulSetStatus                     conditions               map=type patch=merge:type
V1TopologySelectorTerm                  .                        atomic
V1TypedLocalObjectReference             .                        atomic
V1UncountedTerminatedPods               failed                   set
V1UncountedTerminatedPods               succeeded                set
V2HorizontalPodAutoscalerStatus         conditions               map=type patch=merge:type
"""

# Fields whose strings are quantities; the client library calls them plain strings.
QUANTITIES = frozenset(
    """
V1ContainerStatus.allocatedResources V1EmptyDirVolumeSource.sizeLimit V2HPAScalingRules.tolerance
V1LimitRangeItem.default V1LimitRangeItem.defaultRequest V1LimitRangeItem.max V1LimitRangeItem.maxLimitRequestRatio
V1LimitRangeItem.min V2MetricTarget.averageValue V2MetricTarget.value V2MetricValueStatus.averageValue
V2MetricValueStatus.value V1NodeStatus.allocatable
V1NodeStatus.capacity V1PersistentVolumeClaimStatus.allocatedResources V1PersistentVolumeClaimStatus.capacity
V1PersistentVolumeSpec.capacity V1PodSpec.overhead V1PodStatus.allocatedResources V1ResourceFieldSelector.divisor
V1ResourceQuotaSpec.hard V1ResourceQuotaStatus.hard V1ResourceQuotaStatus.used V1ResourceRequirements.limits
V1ResourceRequirements.requests V1VolumeResourceRequirements.limits V1VolumeResourceRequirements.requests
""".split()
)

# Times with six digits of fraction; all others are whole seconds.
MICRO_TIMES = frozenset(
    """
CoreV1Event.eventTime EventsV1Event.eventTime CoreV1EventSeries.lastObservedTime EventsV1EventSeries.lastObservedTime
V1LeaseSpec.acquireTime V1LeaseSpec.renewTime
""".split()
)

# Defaults of fields that are keys of associative lists: items are told apart by them before anything else is done.
KEY_DEFAULTS = {("V1ContainerPort", "protocol"): "TCP", ("V1ServicePort", "protocol"): "TCP"}


@dataclass(frozen=True)
class MergeRule:
    """How one field merges: `list_type` for server-side apply, `strategy` and `merge_key` for strategic merge."""

    list_type: str = ""
    keys: tuple[str, ...] = ()
    strategy: str = ""
    merge_key: str = ""
    is_atomic_map: bool = False


def _parse(words: list[str]) -> MergeRule:
    list_type, strategy, merge_key, is_atomic = "", "", "", False
    keys: tuple[str, ...] = ()
    for word in words:
        name, _, value = word.partition("=")
        if name == "map":
            list_type, keys = "map", tuple(value.split(","))
        elif name == "set":
            list_type = "set"
        elif name == "patch":
            strategy, _, merge_key = value.partition(":")
        else:
            is_atomic = True
    return MergeRule(list_type, keys, strategy, merge_key, is_atomic)


MERGE_RULES: dict[tuple[str, str], MergeRule] = {
    (model, field): _parse(words)
    for model, field, *words in (line.split() for line in _FIELDS.strip().splitlines())
}
