"""Labels that the operator sets on everything it creates and selects by, and annotations with a meaning."""

from __future__ import annotations

MANAGED_BY = "app.kubernetes.io/managed-by"  # value: MANAGER
MANAGER = "switchyard"
COMPONENT = "app.kubernetes.io/component"
WORKLOAD = "switchyard.dev/workload"
TRACK = "switchyard.dev/track"
VARIANT = "switchyard.dev/variant"
POOL = "switchyard.dev/pool"
SHARED = "switchyard.dev/shared"  # value: "true"; the stable Service of a mixed workload selects it

# Annotation on what carries traffic: stable Service, HTTPRoute, VirtualService. Value: who moves the traffic.
# While it is there, placement leaves the selector, or the rules, to that holder.
TRAFFIC_HELD_BY = "switchyard.dev/traffic-held-by"
