"""Schemas of GatewayClass, Gateway and ReferenceGrant, standard channel, as far as traffic depends on them.

Names, limits and defaults are those of gateway.networking.k8s.io/v1, so that an object that is valid there is
valid here. What the sandbox's gateway does not look into (TLS settings, say) is kept as it is.
"""

from __future__ import annotations

from typing import Any

from switchyard.sandbox.gateway.gateway_api_terms import (
    CONTROLLER,
    HOST,
    NAME,
    NAMESPACE,
    PORT,
    SECTION,
    group_field,
    kind_field,
)
from switchyard.sandbox.gateway.schema_terms import (
    anything,
    conditions,
    record,
    rows,
    rule,
    table,
    text,
    whole,
)

Json = dict[str, Any]

_NEVER = "1970-01-01T00:00:00Z"
_LABEL_SELECTOR = record(
    {
        "matchLabels": table(text()),
        "matchExpressions": rows(
            record({"key": text(), "operator": text(), "values": rows(text())}, required=("key", "operator"))
        ),
    }
)


def _pending(*types: str) -> list[Json]:
    return [
        {
            "type": name,
            "status": "Unknown",
            "reason": "Pending",
            "message": "Waiting for controller",
            "lastTransitionTime": _NEVER,
        }
        for name in types
    ]


# -- GatewayClass ------------------------------------------------------------------------------------

GATEWAY_CLASS = record(
    {
        "spec": record(
            {
                "controllerName": {
                    **CONTROLLER,
                    "x-kubernetes-validations": [rule("self == oldSelf", "field is immutable")],
                },
                "description": text(longest=64),
                "parametersRef": record(
                    {"group": group_field(), "kind": kind_field(), "name": NAME, "namespace": NAMESPACE},
                    required=("group", "kind", "name"),
                ),
            },
            required=("controllerName",),
        ),
        "status": record(
            {
                "conditions": conditions(default=_pending("Accepted")),
                "supportedFeatures": rows(
                    record({"name": text()}, required=("name",)), keys=("name",), most=64
                ),
            },
            default={"conditions": _pending("Accepted")},
        ),
    },
    required=("spec",),
)

# -- Gateway -----------------------------------------------------------------------------------------

_ROUTE_KINDS = rows(
    record({"group": group_field("gateway.networking.k8s.io"), "kind": kind_field()}, required=("kind",)),
    most=8,
)
_LISTENER = record(
    {
        "name": SECTION,
        "hostname": HOST,
        "port": PORT,
        "protocol": text(shortest=1, longest=255),
        "tls": anything(),
        "allowedRoutes": record(
            {
                "namespaces": record(
                    {
                        "from": text(one_of=("All", "Selector", "Same"), default="Same"),
                        "selector": _LABEL_SELECTOR,
                    },
                    default={"from": "Same"},
                ),
                "kinds": _ROUTE_KINDS,
            },
            default={"namespaces": {"from": "Same"}},
        ),
    },
    required=("name", "port", "protocol"),
)
_ADDRESS = record(
    {
        "type": text(shortest=1, longest=253, default="IPAddress"),
        "value": text(longest=253),
    }
)
GATEWAY = record(
    {
        "spec": record(
            {
                "gatewayClassName": NAME,
                "listeners": rows(
                    _LISTENER,
                    keys=("name",),
                    least=1,
                    most=64,
                    rules=(
                        rule(
                            "self.all(l, l.protocol in ['HTTP', 'TCP', 'UDP'] ? !has(l.tls) : true)",
                            "tls must not be specified for protocols ['HTTP', 'TCP', 'UDP']",
                        ),
                        rule(
                            "self.all(a, self.exists_one(b, a.port == b.port && a.protocol == b.protocol && "
                            "(has(a.hostname) && has(b.hostname) ? a.hostname == b.hostname : "
                            "!has(a.hostname) && !has(b.hostname))))",
                            "Combination of port, protocol and hostname must be unique for each listener",
                        ),
                    ),
                ),
                "addresses": rows(_ADDRESS, most=16),
                "infrastructure": anything(),
            },
            required=("gatewayClassName", "listeners"),
        ),
        "status": record(
            {
                "addresses": rows(_ADDRESS, most=16),
                "conditions": conditions(default=_pending("Accepted", "Programmed")),
                "listeners": rows(
                    record(
                        {
                            "name": SECTION,
                            "supportedKinds": _ROUTE_KINDS,
                            "attachedRoutes": whole(),
                            "conditions": conditions(),
                        },
                        required=("name", "attachedRoutes", "conditions"),
                    ),
                    keys=("name",),
                    most=64,
                ),
            },
            default={"conditions": _pending("Accepted", "Programmed")},
        ),
    },
    required=("spec",),
)

# -- ReferenceGrant ----------------------------------------------------------------------------------

REFERENCE_GRANT = record(
    {
        "spec": record(
            {
                "from": rows(
                    record(
                        {"group": group_field(), "kind": kind_field(), "namespace": NAMESPACE},
                        required=("group", "kind", "namespace"),
                    ),
                    least=1,
                    most=16,
                ),
                "to": rows(
                    record(
                        {"group": group_field(), "kind": kind_field(), "name": NAME},
                        required=("group", "kind"),
                    ),
                    least=1,
                    most=16,
                ),
            },
            required=("from", "to"),
        )
    },
    required=("spec",),
)
