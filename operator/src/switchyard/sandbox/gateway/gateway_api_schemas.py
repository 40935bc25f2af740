"""Schemas of the Gateway API kinds, standard channel, as far as traffic depends on them.

Names, limits and defaults are those of gateway.networking.k8s.io/v1, so that an object that is valid there is
valid here. What the sandbox's gateway does not look into (TLS settings, say) is kept as it is.
"""

from __future__ import annotations

from typing import Any

from switchyard.sandbox.gateway.schema_terms import (
    DNS_LABEL,
    HOSTNAME,
    SUBDOMAIN,
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
_NAME = text(shortest=1, longest=253)
_NAMESPACE = text(shortest=1, longest=63, pattern=DNS_LABEL)
_SECTION = text(shortest=1, longest=253, pattern=SUBDOMAIN)
_HOSTNAME = text(shortest=1, longest=253, pattern=HOSTNAME)
_PRECISE_HOSTNAME = text(shortest=1, longest=253, pattern=SUBDOMAIN)
_PORT = whole(least=1, most=65535)
_DURATION = text(pattern=r"^([0-9]{1,5}(h|m|s|ms)){1,4}$")
_HEADER_NAME = text(shortest=1, longest=256, pattern=r"^[A-Za-z0-9!#$%&'*+\-.^_\x60|~]+$")
_CONTROLLER = text(
    shortest=1,
    longest=253,
    pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\/[A-Za-z0-9\/\-._~%!$&'()*+,;=:]+$",
)
_LABEL_SELECTOR = record(
    {
        "matchLabels": table(text()),
        "matchExpressions": rows(
            record({"key": text(), "operator": text(), "values": rows(text())}, required=("key", "operator"))
        ),
    }
)


def _group(default: str | None = None) -> Json:
    return text(
        longest=253,
        pattern=r"^$|^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
        default=default,
    )


def _kind(default: str | None = None) -> Json:
    return text(shortest=1, longest=63, pattern=r"^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$", default=default)


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
                    **_CONTROLLER,
                    "x-kubernetes-validations": [rule("self == oldSelf", "Value is immutable")],
                },
                "description": text(longest=64),
                "parametersRef": record(
                    {"group": _group(), "kind": _kind(), "name": _NAME, "namespace": _NAMESPACE},
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
    record({"group": _group("gateway.networking.k8s.io"), "kind": _kind()}, required=("kind",)), most=8
)
_LISTENER = record(
    {
        "name": _SECTION,
        "hostname": _HOSTNAME,
        "port": _PORT,
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
                "gatewayClassName": _NAME,
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
                            "name": _SECTION,
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

# -- HTTPRoute ---------------------------------------------------------------------------------------

_PARENT = record(
    {
        "group": _group("gateway.networking.k8s.io"),
        "kind": _kind("Gateway"),
        "namespace": _NAMESPACE,
        "name": _NAME,
        "sectionName": _SECTION,
        "port": _PORT,
    },
    required=("name",),
)
_BACKEND_FIELDS = {
    "group": _group(""),
    "kind": _kind("Service"),
    "name": _NAME,
    "namespace": _NAMESPACE,
    "port": _PORT,
}
_NEEDS_PORT = rule(
    "(size(self.group) == 0 && self.kind == 'Service') ? has(self.port) : true",
    "Must have port for Service reference",
)
_PLAIN_PATH = "self.type in ['Exact','PathPrefix']"
_PATH_CHARACTERS = r'''r"""^(?:[-A-Za-z0-9/._~!$&'()*+,;=:@]|[%][0-9a-fA-F]{2})+$"""'''
_PATH = record(
    {
        "type": text(one_of=("Exact", "PathPrefix", "RegularExpression"), default="PathPrefix"),
        "value": text(longest=1024, default="/"),
    },
    default={"type": "PathPrefix", "value": "/"},
    rules=[
        rule(
            f"({_PLAIN_PATH}) ? self.value.startsWith('/') : true",
            "value must be an absolute path and start with '/' when type one of ['Exact', 'PathPrefix']",
        ),
        *(
            rule(
                f"({_PLAIN_PATH}) ? !self.value.contains('{part}') : true",
                f"must not contain '{part}' when type one of ['Exact', 'PathPrefix']",
            )
            for part in ("//", "/./", "/../", "%2f", "%2F", "#")
        ),
        *(
            rule(
                f"({_PLAIN_PATH}) ? !self.value.endsWith('{part}') : true",
                f"must not end with '{part}' when type one of ['Exact', 'PathPrefix']",
            )
            for part in ("/..", "/.")
        ),
        rule(
            f"({_PLAIN_PATH}) ? self.value.matches({_PATH_CHARACTERS}) : true",
            "must only contain valid characters for types ['Exact', 'PathPrefix'] (RFC 3986, pchar)",
        ),
    ],
)


def _value_match(longest: int) -> Json:
    return record(
        {
            "type": text(one_of=("Exact", "RegularExpression"), default="Exact"),
            "name": _HEADER_NAME,
            "value": text(shortest=1, longest=longest),
        },
        required=("name", "value"),
    )


_METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH")
_MATCH = record(
    {
        "path": _PATH,
        "headers": rows(_value_match(4096), keys=("name",), most=16),
        "queryParams": rows(_value_match(1024), keys=("name",), most=16),
        "method": text(one_of=_METHODS),
    }
)
_HEADERS = rows(
    record({"name": _HEADER_NAME, "value": text(shortest=1, longest=4096)}, required=("name", "value")),
    keys=("name",),
    most=16,
)
_HEADER_FILTER = record({"set": _HEADERS, "add": _HEADERS, "remove": rows(text(), is_set=True, most=16)})
_PATH_MODIFIER = record(
    {
        "type": text(one_of=("ReplaceFullPath", "ReplacePrefixMatch")),
        "replaceFullPath": text(longest=1024),
        "replacePrefixMatch": text(longest=1024),
    },
    required=("type",),
)
_MIRROR = record(
    {
        "backendRef": record(_BACKEND_FIELDS, required=("name",), rules=(_NEEDS_PORT,)),
        "percent": whole(least=0, most=100),
        "fraction": record(
            {"numerator": whole(least=0), "denominator": whole(least=1, default=100)},
            required=("numerator",),
            rules=(
                rule(
                    "self.numerator <= self.denominator",
                    "numerator must be less than or equal to denominator",
                ),
            ),
        ),
    },
    required=("backendRef",),
    rules=(
        rule(
            "!(has(self.percent) && has(self.fraction))",
            "Only one of percent or fraction may be specified in HTTPRequestMirrorFilter",
        ),
    ),
)
_FILTER_SETTINGS = {
    "RequestHeaderModifier": _HEADER_FILTER,
    "ResponseHeaderModifier": _HEADER_FILTER,
    "RequestMirror": _MIRROR,
    "RequestRedirect": record(
        {
            "scheme": text(one_of=("http", "https")),
            "hostname": _PRECISE_HOSTNAME,
            "path": _PATH_MODIFIER,
            "port": _PORT,
            "statusCode": {**whole(default=302), "enum": [301, 302, 303, 307, 308]},
        }
    ),
    "URLRewrite": record({"hostname": _PRECISE_HOSTNAME, "path": _PATH_MODIFIER}),
    "CORS": anything(),
    "ExtensionRef": record(
        {"group": _group(), "kind": _kind(), "name": _NAME}, required=("group", "kind", "name")
    ),
}


def settings_field(filter_type: str) -> str:
    """The field that holds the settings of a filter, such as `requestMirror`, `urlRewrite` and `cors`."""
    if filter_type in {"URLRewrite", "CORS"}:
        return {"URLRewrite": "urlRewrite", "CORS": "cors"}[filter_type]
    return filter_type[0].lower() + filter_type[1:]


_FILTER = record(
    {
        "type": text(one_of=tuple(_FILTER_SETTINGS)),
        **{settings_field(name): schema for name, schema in _FILTER_SETTINGS.items()},
    },
    required=("type",),
    rules=[
        entry
        for name in _FILTER_SETTINGS
        for entry in (
            rule(
                f"!(has(self.{settings_field(name)}) && self.type != '{name}')",
                f"filter.{settings_field(name)} must be nil if the filter.type is not {name}",
            ),
            rule(
                f"!(!has(self.{settings_field(name)}) && self.type == '{name}')",
                f"filter.{settings_field(name)} must be specified for {name} filter.type",
            ),
        )
    ],
)
_FILTERS = rows(
    _FILTER,
    most=16,
    rules=[
        rule(
            "!(self.exists(f, f.type == 'RequestRedirect') && self.exists(f, f.type == 'URLRewrite'))",
            "May specify either httpRouteFilterRequestRedirect or httpRouteFilterRequestRewrite, "
            "but not both",
        ),
        *(
            rule(f"self.filter(f, f.type == '{name}').size() <= 1", f"{name} filter cannot be repeated")
            for name in ("RequestHeaderModifier", "ResponseHeaderModifier", "RequestRedirect", "URLRewrite")
        ),
    ],
)
_ANY_PATH = [{"path": {"type": "PathPrefix", "value": "/"}}]
_RULE = record(
    {
        "name": _SECTION,
        "matches": rows(_MATCH, most=64, default=_ANY_PATH),
        "filters": _FILTERS,
        "backendRefs": rows(
            record(
                {
                    **_BACKEND_FIELDS,
                    "weight": whole(least=0, most=1_000_000, default=1),
                    "filters": _FILTERS,
                },
                required=("name",),
                rules=(_NEEDS_PORT,),
            ),
            most=16,
        ),
        "timeouts": record(
            {"request": _DURATION, "backendRequest": _DURATION},
            rules=(
                rule(
                    "!(has(self.request) && has(self.backendRequest) && "
                    "duration(self.request) != duration('0s') && "
                    "duration(self.backendRequest) > duration(self.request))",
                    "backendRequest timeout cannot be longer than request timeout",
                ),
            ),
        ),
    },
    rules=(
        rule(
            "(has(self.backendRefs) && size(self.backendRefs) > 0) ? "
            "(!has(self.filters) || self.filters.all(f, !has(f.requestRedirect))): true",
            "RequestRedirect filter must not be used together with backendRefs",
        ),
    ),
)
HTTP_ROUTE = record(
    {
        "spec": record(
            {
                "parentRefs": rows(_PARENT, most=32),
                "hostnames": rows(_HOSTNAME, most=16),
                "rules": rows(_RULE, least=1, most=16, default=[{"matches": _ANY_PATH}]),
            }
        ),
        "status": record(
            {
                "parents": rows(
                    record(
                        {
                            "parentRef": _PARENT,
                            "controllerName": _CONTROLLER,
                            "conditions": conditions(least=1),
                        },
                        required=("parentRef", "controllerName", "conditions"),
                    ),
                    most=32,
                )
            },
            required=("parents",),
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
                        {"group": _group(), "kind": _kind(), "namespace": _NAMESPACE},
                        required=("group", "kind", "namespace"),
                    ),
                    least=1,
                    most=16,
                ),
                "to": rows(
                    record({"group": _group(), "kind": _kind(), "name": _NAME}, required=("group", "kind")),
                    least=1,
                    most=16,
                ),
            },
            required=("from", "to"),
        )
    }
)
