"""HTTPRoutes read into rules of the table, with what is wrong with them: pure.

Source: gateway.networking.k8s.io/v1 HTTPRoute; durations are those of GEP-2257.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from switchyard.sandbox.client import Json
from switchyard.sandbox.gateway.conditions import Problem
from switchyard.sandbox.gateway.table import (
    Backend,
    HeaderChanges,
    Mirror,
    PathKind,
    PatternError,
    RequestTest,
    Rule,
    Target,
    TextTest,
    text_test,
)

METHOD_MATCHING = "HTTPRouteMethodMatching"
QUERY_MATCHING = "HTTPRouteQueryParamMatching"
RESPONSE_HEADERS = "HTTPRouteResponseHeaderModification"
BACKEND_REQUEST_HEADERS = "HTTPRouteBackendRequestHeaderModification"
MIRROR = "HTTPRouteRequestMirror"
MULTIPLE_MIRRORS = "HTTPRouteRequestMultipleMirrors"
MIRROR_PERCENT = "HTTPRouteRequestPercentageMirror"
REQUEST_TIMEOUT = "HTTPRouteRequestTimeout"
BACKEND_TIMEOUT = "HTTPRouteBackendTimeout"
FEATURES = frozenset(
    {
        "Gateway",
        "HTTPRoute",
        "HTTPRouteNamedRouteRule",
        "HTTPRouteParentRefPort",
        "ReferenceGrant",
        METHOD_MATCHING,
        QUERY_MATCHING,
        RESPONSE_HEADERS,
        BACKEND_REQUEST_HEADERS,
        MIRROR,
        MULTIPLE_MIRRORS,
        MIRROR_PERCENT,
        REQUEST_TIMEOUT,
        BACKEND_TIMEOUT,
    }
)

_PATH_KINDS: Mapping[str, PathKind] = {
    "Exact": "exact",
    "PathPrefix": "elements",
    "RegularExpression": "regex",
}
_PATH_RANKS: Mapping[PathKind, int] = {"exact": 0, "regex": 1, "elements": 2}


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What reading a route needs to know of other objects."""

    find_service: Callable[[str, str], Json | None]
    is_granted: Callable[[str, str, str], bool]  # from namespace, to namespace, Service
    features: frozenset[str] = FEATURES


@dataclass(frozen=True, slots=True)
class RankedMatch:
    """One match of a rule with its precedence; lower goes first."""

    test: RequestTest
    rank: tuple[Any, ...]
    rule_index: int
    rule: Rule


@dataclass(frozen=True, slots=True)
class RouteReading:
    """A route read. `unsupported` keeps it out of the data path, `unresolved` is only reported."""

    matches: tuple[RankedMatch, ...] = ()
    unsupported: Problem | None = None
    unresolved: Problem | None = None


class _UnsupportedError(Exception):
    """A value that this gateway does not honour; the text names field and value."""


def read_route(route: Json, around: Surroundings) -> RouteReading:
    """The route's matches in the order of its rules, and its problems."""
    reader = _Reader(route, around)
    matches: list[RankedMatch] = []
    try:
        for index, rule in enumerate(route["spec"].get("rules") or []):
            matches += reader.read_rule(rule, index)
    except (_UnsupportedError, PatternError) as error:
        return RouteReading(unsupported=Problem("UnsupportedValue", str(error)))
    return RouteReading(tuple(matches), unresolved=reader.unresolved)


def parse_duration_seconds(text: str) -> float:
    """Seconds of a GEP-2257 duration such as 1m30s; fractions, as Istio has them, count too."""
    units = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
    return sum(float(count) * units[unit] for count, unit in re.findall(r"(\d+(?:\.\d+)?)(ms|h|m|s)", text))


class _Reader:
    """Reads one route, and keeps the first reference that does not hold."""

    def __init__(self, route: Json, around: Surroundings) -> None:
        self._namespace: str = route["metadata"]["namespace"]
        self._route_name: str = route["metadata"]["name"]
        self._around = around
        self.unresolved: Problem | None = None

    def read_rule(self, body: Json, index: int) -> list[RankedMatch]:
        """The matches of a rule, each with the rule."""
        where = f"spec.rules[{index}]"
        mirrors: list[Mirror] = []
        request, response = HeaderChanges(), HeaderChanges()
        for position, entry in enumerate(body.get("filters") or []):
            place = f"{where}.filters[{position}]"
            if entry["type"] == "RequestMirror":
                mirrors += self._read_mirror(entry["requestMirror"], place)
            elif entry["type"] == "RequestHeaderModifier":
                request = read_changes(entry["requestHeaderModifier"])
            elif entry["type"] == "ResponseHeaderModifier":
                self._need(RESPONSE_HEADERS, f"{place}.type")
                response = read_changes(entry["responseHeaderModifier"])
            else:
                raise _UnsupportedError(f"{place}.type: {entry['type']} is not supported by this gateway")
        if len(mirrors) > 1:
            self._need(MULTIPLE_MIRRORS, f"{where}.filters")
        timeouts = body.get("timeouts") or {}
        rule = Rule(
            name=f"HTTPRoute {self._namespace}/{self._route_name} {body.get('name') or index}",
            backends=tuple(
                self._read_backend(reference, f"{where}.backendRefs[{position}]")
                for position, reference in enumerate(body.get("backendRefs") or [])
            ),
            mirrors=tuple(mirrors),
            request_changes=request,
            response_changes=response,
            request_timeout_seconds=self._read_timeout(timeouts, "request", REQUEST_TIMEOUT, where),
            backend_timeout_seconds=self._read_timeout(timeouts, "backendRequest", BACKEND_TIMEOUT, where),
        )
        matches = body.get("matches") or [{}]
        return [
            self._read_match(match, rule, index, f"{where}.matches[{position}]")
            for position, match in enumerate(matches)
        ]

    def _need(self, feature: str, where: str) -> None:
        if feature not in self._around.features:
            raise _UnsupportedError(f"{where}: this GatewayClass does not support {feature}")

    def _read_timeout(self, timeouts: Json, name: str, feature: str, where: str) -> float | None:
        if name not in timeouts:
            return None
        self._need(feature, f"{where}.timeouts.{name}")
        return parse_duration_seconds(timeouts[name]) or None

    def _read_match(self, match: Json, rule: Rule, index: int, where: str) -> RankedMatch:
        path = match.get("path") or {}
        kind = _PATH_KINDS[path.get("type", "PathPrefix")]
        value = path.get("value", "/")
        method = match.get("method")
        if method:
            self._need(METHOD_MATCHING, f"{where}.method")
        if match.get("queryParams"):
            self._need(QUERY_MATCHING, f"{where}.queryParams")
        headers = _read_tests(match.get("headers"), is_case_sensitive=False)
        queries = _read_tests(match.get("queryParams"), is_case_sensitive=True)
        test = RequestTest(
            path=text_test(kind, value),
            method=text_test("exact", method) if method else None,
            headers=headers,
            queries=queries,
        )
        rank = (_PATH_RANKS[kind], -len(value.rstrip("/")), not method, -len(headers), -len(queries))
        return RankedMatch(test, rank, index, rule)

    def _read_mirror(self, settings: Json, where: str) -> list[Mirror]:
        """One mirror, or none where its backend does not hold: then it is dropped and reported."""
        self._need(MIRROR, where)
        numerator, denominator = 1, 1
        if "percent" in settings or "fraction" in settings:
            self._need(MIRROR_PERCENT, f"{where}.requestMirror")
            fraction = settings.get("fraction") or {"numerator": settings.get("percent", 0)}
            numerator, denominator = fraction["numerator"], fraction.get("denominator", 100)
        target = self._resolve(settings["backendRef"], f"{where}.requestMirror.backendRef")
        return [Mirror(target, numerator, denominator)] if target is not None else []

    def _read_backend(self, reference: Json, where: str) -> Backend:
        request, response = HeaderChanges(), HeaderChanges()
        for position, entry in enumerate(reference.get("filters") or []):
            place = f"{where}.filters[{position}]"
            if entry["type"] == "RequestHeaderModifier":
                self._need(BACKEND_REQUEST_HEADERS, f"{place}.type")
                request = read_changes(entry["requestHeaderModifier"])
            elif entry["type"] == "ResponseHeaderModifier":
                self._need(RESPONSE_HEADERS, f"{place}.type")
                response = read_changes(entry["responseHeaderModifier"])
            else:
                raise _UnsupportedError(f"{place}.type: {entry['type']} is not supported by this gateway")
        target = self._resolve(reference, where)
        name = target.name if target else f"{reference.get('namespace', self._namespace)}/{reference['name']}"
        return Backend(
            name,
            target,
            weight=reference.get("weight", 1),
            request_changes=request,
            response_changes=response,
        )

    def _resolve(self, reference: Json, where: str) -> Target | None:
        """The Service port that a reference means; None, and the problem kept, when it does not hold."""
        namespace = reference.get("namespace") or self._namespace
        problem = self._find_problem(reference, namespace, where)
        if problem is not None:
            self.unresolved = self.unresolved or problem
            return None
        return Target(namespace, reference["name"], reference["port"])

    def _find_problem(self, reference: Json, namespace: str, where: str) -> Problem | None:
        group, kind, name = reference.get("group", ""), reference.get("kind", "Service"), reference["name"]
        if (group, kind) != ("", "Service"):
            return Problem("InvalidKind", f"{where}: {group or 'core'}/{kind} is no kind of backend here")
        if namespace != self._namespace and not self._around.is_granted(self._namespace, namespace, name):
            text = (
                f"{where}: no ReferenceGrant in {namespace} lets HTTPRoutes of {self._namespace} use {name}"
            )
            return Problem("RefNotPermitted", text)
        service = self._around.find_service(namespace, name)
        if service is None:
            return Problem("BackendNotFound", f"{where}: Service {namespace}/{name} does not exist")
        port = reference.get("port", 0)
        if all(entry["port"] != port for entry in service["spec"].get("ports") or []):
            return Problem("BackendNotFound", f"{where}: Service {namespace}/{name} has no port {port}")
        return None


def read_changes(settings: Json) -> HeaderChanges:
    """The changes that a header modifier asks for."""
    return HeaderChanges(
        remove=tuple(settings.get("remove") or ()),
        set=tuple((entry["name"], entry["value"]) for entry in settings.get("set") or ()),
        add=tuple((entry["name"], entry["value"]) for entry in settings.get("add") or ()),
    )


def _read_tests(entries: list[Json] | None, *, is_case_sensitive: bool) -> tuple[tuple[str, TextTest], ...]:
    """Tests by name; of entries that name the same header only the first counts."""
    tests: dict[str, TextTest] = {}
    for entry in entries or []:
        name = entry["name"] if is_case_sensitive else entry["name"].lower()
        kind: PathKind = "regex" if entry.get("type") == "RegularExpression" else "exact"
        tests.setdefault(name, text_test(kind, entry["value"]))
    return tuple(tests.items())
