"""Which nodes a pod fits on, why not on the others, and which of the fitting ones is best: pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from switchyard.sandbox.cluster.quantities import Amounts, pod_requests, read_amounts
from switchyard.sandbox.cluster.selectors import matches_expression, matches_selector

Json = dict[str, Any]

UNTOLERATED = "node(s) had untolerated taint(s)"
NOT_SELECTED = "node(s) didn't match Pod's node affinity/selector"
UNSCHEDULABLE = "node(s) were unschedulable"
TOO_MANY_PODS = "Too many pods"
NOT_SPREAD = "node(s) didn't match pod topology spread constraints"
NOT_SPREAD_LABEL = "node(s) didn't match pod topology spread constraints (missing required label)"
NOT_AFFINE = "node(s) didn't match pod affinity rules"
ANTI_AFFINE = "node(s) didn't match pod anti-affinity rules"


@dataclass(frozen=True, slots=True)
class Wish:
    """What scheduling reads of a pod."""

    namespace: str
    labels: Mapping[str, str]
    requests: Amounts
    node_selector: Mapping[str, str]
    node_terms: tuple[Json, ...]  # required node affinity, any of them
    tolerations: tuple[Json, ...]
    spread: tuple[Json, ...]  # constraints that must hold
    affinity: tuple[Json, ...]
    anti_affinity: tuple[Json, ...]
    owner_uid: str
    signature: str  # pods with the same one fit on the same nodes


@dataclass(slots=True)
class Placed:
    """A pod on a node, as far as later pods care."""

    requests: Amounts
    namespace: str
    labels: Mapping[str, str]
    owner_uid: str


@dataclass(slots=True)
class Host:
    """A node with what stands on it."""

    name: str
    labels: Mapping[str, str]
    taints: tuple[Json, ...]
    is_unschedulable: bool
    allocatable: Amounts
    requested: Amounts = field(default_factory=dict)
    pods: dict[str, Placed] = field(default_factory=dict)

    def add(self, uid: str, pod: Placed) -> None:
        """Count a pod; a second time replaces the first."""
        self.remove(uid)
        self.pods[uid] = pod
        for name, amount in pod.requests.items():
            self.requested[name] = self.requested.get(name, 0) + amount

    def remove(self, uid: str) -> None:
        """Forget a pod."""
        pod = self.pods.pop(uid, None)
        if pod is not None:
            for name, amount in pod.requests.items():
                self.requested[name] -= amount


def read_wish(pod: Json) -> Wish:
    """What a pod asks of the scheduler."""
    spec, meta = pod["spec"], pod["metadata"]
    affinity = spec.get("affinity") or {}
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    node_affinity = (affinity.get("nodeAffinity") or {}).get(required) or {}
    spread = tuple(
        term
        for term in spec.get("topologySpreadConstraints") or ()
        if term.get("whenUnsatisfiable", "DoNotSchedule") == "DoNotSchedule"
    )
    owners = [o["uid"] for o in meta.get("ownerReferences") or () if o.get("controller")]
    requests = pod_requests(spec)
    pieces = [
        meta.get("namespace", ""),
        requests,
        spec.get("nodeSelector"),
        affinity,
        spec.get("tolerations"),
        spec.get("topologySpreadConstraints"),
        meta.get("labels") if spread or affinity else None,
    ]
    return Wish(
        namespace=meta.get("namespace", ""),
        labels=meta.get("labels") or {},
        requests=requests,
        node_selector=spec.get("nodeSelector") or {},
        node_terms=tuple(node_affinity.get("nodeSelectorTerms") or ()),
        tolerations=tuple(spec.get("tolerations") or ()),
        spread=spread,
        affinity=tuple((affinity.get("podAffinity") or {}).get(required) or ()),
        anti_affinity=tuple((affinity.get("podAntiAffinity") or {}).get(required) or ()),
        owner_uid=owners[0] if owners else "",
        signature=json.dumps(pieces, sort_keys=True, separators=(",", ":")),
    )


def read_host(node: Json) -> Host:
    """A node with nothing on it."""
    spec, status = node.get("spec") or {}, node.get("status") or {}
    return Host(
        name=node["metadata"]["name"],
        labels=node["metadata"].get("labels") or {},
        taints=tuple(t for t in spec.get("taints") or () if t.get("effect") != "PreferNoSchedule"),
        is_unschedulable=bool(spec.get("unschedulable")),
        allocatable=read_amounts(status.get("allocatable") or status.get("capacity")),
    )


def tolerates(tolerations: Iterable[Mapping[str, Any]], taint: Mapping[str, Any]) -> bool:
    """Whether one of the tolerations matches the taint."""
    for toleration in tolerations:
        if toleration.get("effect") and toleration["effect"] != taint.get("effect"):
            continue
        if toleration.get("key") and toleration["key"] != taint.get("key"):
            continue
        operator = toleration.get("operator") or "Equal"
        if operator == "Exists":
            return True
        if toleration.get("key") and toleration.get("value", "") == (taint.get("value") or ""):
            return True
    return False


def matches_node_terms(terms: Iterable[Mapping[str, Any]], host: Host) -> bool:
    """Whether any term of a required node affinity holds; an empty term matches nothing."""
    name = {"metadata.name": host.name}
    for term in terms:
        by_label, by_field = term.get("matchExpressions") or (), term.get("matchFields") or ()
        if not by_label and not by_field:
            continue
        if all(matches_expression(e, host.labels) for e in by_label) and all(
            matches_expression(e, name) for e in by_field
        ):
            return True
    return False


def refuse_static(wish: Wish, host: Host) -> str:
    """Why this node is out whatever stands on it; empty when it isn't. Room made there would not help."""
    if host.is_unschedulable and not tolerates(
        wish.tolerations, {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
    ):
        return UNSCHEDULABLE
    if any(not tolerates(wish.tolerations, taint) for taint in host.taints):
        return UNTOLERATED
    if any(host.labels.get(key) != value for key, value in wish.node_selector.items()):
        return NOT_SELECTED
    if wish.node_terms and not matches_node_terms(wish.node_terms, host):
        return NOT_SELECTED
    return ""


def refuse_full(wish: Wish, host: Host) -> list[str]:
    """The resources that are short on this node, as the scheduler words them."""
    reasons = []
    if len(host.pods) + 1 > host.allocatable.get("pods", 0):
        reasons.append(TOO_MANY_PODS)
    for name, amount in wish.requests.items():
        if amount > host.allocatable.get(name, 0) - host.requested.get(name, 0) and amount > 0:
            reasons.append(f"Insufficient {name}")
    return reasons


def refuse_neighbours(wish: Wish, host: Host, hosts: Iterable[Host]) -> str:
    """Why the pods elsewhere rule this node out (spread, affinity), or nothing."""
    if not (wish.spread or wish.affinity or wish.anti_affinity):
        return ""
    everyone = list(hosts)
    for constraint in wish.spread:
        reason = _refuse_spread(wish, host, everyone, constraint)
        if reason:
            return reason
    for term in wish.affinity:
        total = sum(_count(term, wish, other) for other in everyone)
        near = sum(_count(term, wish, other) for other in _same_domain(host, everyone, term["topologyKey"]))
        is_first = total == 0 and matches_selector(term.get("labelSelector"), wish.labels)
        if not near and not is_first:
            return NOT_AFFINE
    for term in wish.anti_affinity:
        if any(_count(term, wish, other) for other in _same_domain(host, everyone, term["topologyKey"])):
            return ANTI_AFFINE
    return ""


def _refuse_spread(wish: Wish, host: Host, hosts: list[Host], constraint: Json) -> str:
    key = constraint["topologyKey"]
    if key not in host.labels:
        return NOT_SPREAD_LABEL
    counts: dict[str, int] = {}
    for other in hosts:
        if key in other.labels and not refuse_selection(wish, other):
            domain = other.labels[key]
            counts[domain] = counts.get(domain, 0) + _count(constraint, wish, other)
    own = matches_selector(constraint.get("labelSelector"), wish.labels)
    least = min(counts.values(), default=0)
    if constraint.get("minDomains", 1) > len(counts):
        least = 0
    skew = counts.get(host.labels[key], 0) + (1 if own else 0) - least
    return NOT_SPREAD if skew > constraint.get("maxSkew", 1) else ""


def refuse_selection(wish: Wish, host: Host) -> bool:
    """Whether nodeSelector or node affinity exclude the node: such nodes are no domains to spread over."""
    if any(host.labels.get(key) != value for key, value in wish.node_selector.items()):
        return True
    return bool(wish.node_terms) and not matches_node_terms(wish.node_terms, host)


def _same_domain(host: Host, hosts: list[Host], key: str) -> list[Host]:
    if key not in host.labels:
        return []
    return [other for other in hosts if other.labels.get(key) == host.labels[key]]


def _count(term: Json, wish: Wish, host: Host) -> int:
    spaces = term.get("namespaces") or [wish.namespace]
    selector = term.get("labelSelector")
    return sum(
        1 for pod in host.pods.values() if pod.namespace in spaces and matches_selector(selector, pod.labels)
    )


def score(wish: Wish, host: Host) -> tuple[int, float, str]:
    """Lower is better: fewest siblings on the node, then the least allocated, then by name."""
    siblings = sum(1 for pod in host.pods.values() if wish.owner_uid and pod.owner_uid == wish.owner_uid)
    shares = []
    for name in {"cpu", "memory", *wish.requests}:
        total = host.allocatable.get(name, 0)
        if total:
            shares.append((host.requested.get(name, 0) + wish.requests.get(name, 0)) / total)
    return (siblings, sum(shares) / len(shares) if shares else 0.0, host.name)


def explain(total: int, reasons: Counter[str], out: int) -> str:
    """The FailedScheduling text of a pod. `out`: nodes where no room that could be made would help."""
    if not total:
        return "no nodes available to schedule pods"
    parts = sorted(f"{count} {reason}" for reason, count in reasons.items())
    helpless = []
    if total - out:
        helpless.append(f"{total - out} No preemption victims found for incoming pod.")
    if out:
        helpless.append(f"{out} Preemption is not helpful for scheduling.")
    text = ", ".join(part.removesuffix(".") for part in helpless) + "."
    return (
        f"0/{total} nodes are available: {', '.join(parts)}. no new claims to deallocate, "
        f"preemption: 0/{total} nodes are available: {text}"
    )
