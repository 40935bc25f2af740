"""Which nodes are being taken back by their provider, and which spot nodes were lost with our pods on them.

Sources of the taints: aws-node-termination-handler (docs/taints), GKE "Spot VMs" (graceful node shutdown),
Karpenter "Disruption", AKS node auto-repair, and KEP 5233 / cloud-provider's shutdown taint.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from switchyard.core.world import Node, Pod

INTERRUPTION_TAINTS = frozenset(
    {
        "aws-node-termination-handler/spot-itn",
        "aws-node-termination-handler/rebalance-recommendation",
        "cloud.google.com/impending-node-termination",
        "karpenter.sh/disrupted",
        "karpenter.sh/interruption",
        "remediator.kubernetes.azure.com/unschedulable",
        "node.cloudprovider.kubernetes.io/shutdown",
    }
)


def is_leaving(node: Node) -> bool:
    """True when a taint says that the provider takes the node back."""
    return any(taint.key in INTERRUPTION_TAINTS for taint in node.taints)


def find_interruptions(
    pods: Iterable[Pod], pool_nodes: Sequence[str], nodes: Mapping[str, Node]
) -> tuple[str, ...]:
    """The names of nodes of a spot pool that leave or were lost, sorted.

    Lost: the node is not ready or gone while `pods`, ours in this pool, are still bound to it. A node that
    nobody of ours is on is somebody else's loss, or one that only joins.
    """
    leaving = {name for name in pool_nodes if name in nodes and is_leaving(nodes[name])}
    used = {pod.node_name for pod in pods if pod.node_name}
    lost = {name for name in used if name not in nodes or not nodes[name].is_ready}
    return tuple(sorted(leaving | lost))
