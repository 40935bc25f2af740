"""The rights that the operator uses, as data: the chart's roles are made from it and a test holds them equal.

Nothing is listed that no code asks for: no secret but one of our own, no wildcard, no verb on pods or nodes
but looking.
"""

from __future__ import annotations

from dataclasses import dataclass

from switchyard.api import GROUP


@dataclass(frozen=True, slots=True)
class PolicyRule:
    """As in rbac.authorization.k8s.io/v1; `why` is for the reader of the chart. No names: any."""

    api_groups: tuple[str, ...]
    resources: tuple[str, ...]
    verbs: tuple[str, ...]
    why: str
    resource_names: tuple[str, ...] = ()


_LOOK = ("list", "watch")
_WRITE = ("get", "list", "watch", "create", "patch")
_KEEP = (*_WRITE, "delete")

_PLACEMENT_RULES = (
    PolicyRule((GROUP,), ("acceleratorpools", "inferenceworkloads"), _LOOK, "what users ask for"),
    PolicyRule(
        (GROUP,),
        ("acceleratorpools/status", "inferenceworkloads/status"),
        ("patch",),
        "what came of it; never a spec",
    ),
    # `blockOwnerDeletion` on children of a workload: OwnerReferencesPermissionEnforcement asks for this right
    PolicyRule(
        (GROUP,),
        ("inferenceworkloads/finalizers",),
        ("update",),
        "children that block their owner's deletion",
    ),
    PolicyRule(("",), ("nodes", "pods", "namespaces"), _LOOK, "devices, who holds them, who may use a pool"),
    PolicyRule(("",), ("podtemplates",), _LOOK, "templates that variants refer to"),
    PolicyRule(("",), ("resourcequotas",), _LOOK, "how many devices a namespace may have"),
    PolicyRule(("apps",), ("deployments",), _KEEP, "the replicas of a workload"),
    PolicyRule(("",), ("services",), _KEEP, "the addresses of a workload"),
    PolicyRule(("policy",), ("poddisruptionbudgets",), _WRITE, "protection from voluntary evictions"),
    PolicyRule(
        ("gateway.networking.k8s.io",),
        ("httproutes",),
        _KEEP,
        "the routes that exposures by Gateways ask for",
    ),
    PolicyRule(
        ("networking.istio.io",), ("virtualservices",), _KEEP, "the routes that exposures by Istio ask for"
    ),
    PolicyRule(("",), ("events",), ("create", "patch"), "transitions, counted"),
)

# In the operator's own namespace only.
_ELECTION_RULES = (
    PolicyRule(
        ("coordination.k8s.io",), ("leases",), ("get", "create", "update"), "one replica acts at a time"
    ),
)

# For adapters.routing. No watch: what is there is read at each step.
ROUTING_RULES = (
    PolicyRule(
        ("gateway.networking.k8s.io",), ("gatewayclasses", "gateways"), ("get",), "what a Gateway can do"
    ),
    PolicyRule(("",), ("configmaps",), ("get", "create", "patch", "delete"), "what routers are to do"),
    PolicyRule(
        ("discovery.k8s.io",), ("endpointslices",), ("list",), "whether anybody behind a Service can answer"
    ),
)

# In the operator's own namespace only. A name can't be asked for when an object is made.
ROUTING_NAMESPACE_RULES = (
    PolicyRule(
        ("",), ("secrets",), ("get",), "the key that routers are asked with", ("switchyard-router-key",)
    ),
    PolicyRule(("",), ("secrets",), ("create",), "to make that key once"),
)

_PLAN_RULES = (
    PolicyRule(
        (GROUP,),
        ("cutoverplans",),
        ("list", "watch", "create", "patch", "delete"),
        "moves; those of migration: auto are made here and deleted once old; the patch is for a finalizer",
    ),
    PolicyRule((GROUP,), ("cutoverplans/status",), ("patch",), "how far a move is; never its spec"),
)

CLUSTER_RULES = (*_PLACEMENT_RULES, *_PLAN_RULES, *ROUTING_RULES)
NAMESPACE_RULES = (*_ELECTION_RULES, *ROUTING_NAMESPACE_RULES)
