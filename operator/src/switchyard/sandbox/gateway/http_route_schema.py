"""The schema of HTTPRoute, standard channel, with the limits, defaults and rules of the real kind."""

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
    SUBDOMAIN,
    anything,
    conditions,
    record,
    rows,
    rule,
    text,
    whole,
)

Json = dict[str, Any]

_PRECISE_HOSTNAME = text(shortest=1, longest=253, pattern=SUBDOMAIN)
_DURATION = text(pattern=r"^([0-9]{1,5}(h|m|s|ms)){1,4}$")
_HEADER_NAME = text(shortest=1, longest=256, pattern=r"^[A-Za-z0-9!#$%&'*+\-.^_\x60|~]+$")
_PARENT = record(
    {
        "group": group_field("gateway.networking.k8s.io"),
        "kind": kind_field("Gateway"),
        "namespace": NAMESPACE,
        "name": NAME,
        "sectionName": SECTION,
        "port": PORT,
    },
    required=("name",),
)
_SAME_PARENT = (
    "a.group == b.group && a.kind == b.kind && a.name == b.name && "
    "(has(a.__namespace__) ? a.__namespace__ : '') == (has(b.__namespace__) ? b.__namespace__ : '')"
)
_PARENT_RULES = (
    rule(
        f"self.all(a, has(a.sectionName) || self.exists_one(b, {_SAME_PARENT}))",
        "sectionName must be specified when parentRefs includes 2 or more references to the same parent",
    ),
    rule(
        f"self.all(a, !has(a.sectionName) || self.exists_one(b, {_SAME_PARENT} && "
        "has(b.sectionName) && a.sectionName == b.sectionName))",
        "sectionName must be unique when parentRefs includes 2 or more references to the same parent",
    ),
)
_BACKEND_FIELDS = {
    "group": group_field(""),
    "kind": kind_field("Service"),
    "name": NAME,
    "namespace": NAMESPACE,
    "port": PORT,
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
_REPLACEMENTS = {"ReplaceFullPath": "replaceFullPath", "ReplacePrefixMatch": "replacePrefixMatch"}
_PATH_MODIFIER = record(
    {
        "type": text(one_of=tuple(_REPLACEMENTS)),
        **{name: text(longest=1024) for name in _REPLACEMENTS.values()},
    },
    required=("type",),
    rules=[
        entry
        for kind, name in _REPLACEMENTS.items()
        for entry in (
            rule(
                f"self.type == '{kind}' ? has(self.{name}) : true",
                f"{name} must be specified when type is set to '{kind}'",
            ),
            rule(
                f"has(self.{name}) ? self.type == '{kind}' : true",
                f"type must be '{kind}' when {name} is set",
            ),
        )
    ],
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
            "port": PORT,
            "statusCode": {**whole(default=302), "enum": [301, 302, 303, 307, 308]},
        }
    ),
    "URLRewrite": record({"hostname": _PRECISE_HOSTNAME, "path": _PATH_MODIFIER}),
    "CORS": anything(),
    "ExtensionRef": record(
        {"group": group_field(), "kind": kind_field(), "name": NAME}, required=("group", "kind", "name")
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
        "name": SECTION,
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
                "parentRefs": rows(_PARENT, most=32, rules=_PARENT_RULES),
                "hostnames": rows(HOST, most=16),
                "rules": rows(
                    _RULE,
                    least=1,
                    most=16,
                    default=[{"matches": _ANY_PATH}],
                    rules=(
                        rule(
                            "self.map(r, has(r.matches) ? r.matches.size() : 0).sum() <= 128",
                            "While 16 rules and 64 matches per rule are allowed, the total number of matches "
                            "across all rules in a route must be less than 128",
                        ),
                    ),
                ),
            }
        ),
        "status": record(
            {
                "parents": rows(
                    record(
                        {
                            "parentRef": _PARENT,
                            "controllerName": CONTROLLER,
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
