"""The rules of an HTTPRoute and the routes of a VirtualService that do what segments say. Pure builders.

Both lists are atomic: who writes one of their entries writes all of them. Placement and a cutover therefore
build them here, from the same exposure, and one of the two applies them at a time (core/holding.py).

Sources: gateway.networking.k8s.io/v1 HTTPRoute, networking.istio.io/v1 VirtualService.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from switchyard.api.exposure import GatewayExposure
from switchyard.core.routing.document import DEFAULT_SEGMENT, Segment
from switchyard.core.routing.plan import Target
from switchyard.core.routing.precedence import PathMatch, find_headers, join_paths, plan_rules

_EVERYTHING = (Segment(name=DEFAULT_SEGMENT),)
# digits after the point of a percentage that weights and fractions still tell: a weight ends at 1,000,000
_SCALES = (1, 10, 100, 1_000, 10_000)


@dataclass(frozen=True, slots=True)
class Backends:
    """Where requests go. `mirror`: what gets the copies, the comparator or the candidate itself."""

    baseline: Target
    candidate: Target | None = None
    mirror: Target | None = None


def build_http_route_rules(
    exposure: GatewayExposure,
    backends: Backends,
    segments: Sequence[Segment] = _EVERYTHING,
    *,
    is_named: bool = True,
) -> list[dict[str, Any]]:
    """`spec.rules` of an HTTPRoute: a rule per segment that a request can reach, named after it.

    Only in force as said where `judge_rule_order` finds no problem. `is_named` off: for CRDs older than
    release 1.4 of the Gateway API as well, which know no names of rules.
    """
    planned = plan_rules(exposure.paths, segments).matches
    rules: list[dict[str, Any]] = []
    for segment in segments:
        if not planned.get(segment.name):  # a rule without matches would take everything
            continue
        rule: dict[str, Any] = {"name": segment.name} if is_named else {}
        rule["matches"] = [_write_path_match(each) for each in planned[segment.name]]
        if backends.mirror is not None and segment.shadow_percent > 0:
            mirror = {"backendRef": _write_backend(backends.mirror), **_write_share(segment.shadow_percent)}
            rule["filters"] = [{"type": "RequestMirror", "requestMirror": mirror}]
        rule["backendRefs"] = [
            {**_write_backend(target), "weight": weight}
            for target, weight in _weigh(backends, segment.candidate_percent)
        ]
        rules.append(rule)
    return rules


def judge_rule_order(exposure: GatewayExposure, segments: Sequence[Segment]) -> tuple[str, ...]:
    """One sentence for each way in which an HTTPRoute would not do what these segments say."""
    return plan_rules(exposure.paths, segments).problems


def build_virtual_service_http(
    backends: Backends, segments: Sequence[Segment] = _EVERYTHING
) -> list[dict[str, Any]]:
    """`spec.http` of a VirtualService: a named route per segment; Istio takes the first that matches."""
    routes: list[dict[str, Any]] = []
    for segment in segments:
        headers = find_headers(segment.match)
        if headers is None:
            continue
        route: dict[str, Any] = {"name": segment.name}
        if segment.match is not None:
            route["match"] = _write_istio_matches(segment.match.path_prefix, headers)
        route["route"] = [
            {"destination": _write_destination(target), "weight": weight}
            for target, weight in _weigh(backends, segment.candidate_percent)
        ]
        if backends.mirror is not None and segment.shadow_percent > 0:
            route["mirror"] = _write_destination(backends.mirror)
            route["mirrorPercentage"] = {"value": segment.shadow_percent}
        routes.append(route)
    return routes


def judge_virtual_service(segments: Sequence[Segment]) -> tuple[str, ...]:
    """One sentence for each way in which a VirtualService would not do what these segments say."""
    return tuple(
        f"segment {segment.name}: a header is asked to have two values: leave one of them out"
        for segment in segments
        if find_headers(segment.match) is None
    )


def _weigh(backends: Backends, candidate_percent: float) -> list[tuple[Target, int]]:
    """Both arms with whole numbers that stand in the ratio asked for: percents where they are whole."""
    if backends.candidate is None:
        if candidate_percent:
            raise ValueError(f"candidatePercent {candidate_percent:g} without a candidate")
        return [(backends.baseline, 1)]
    share, whole = _to_ratio(candidate_percent)
    return [(backends.baseline, whole - share), (backends.candidate, share)]


def _to_ratio(percent: float) -> tuple[int, int]:
    """The percentage as a fraction of whole numbers; what is above 0 or below 100 stays so."""
    for scale in _SCALES:
        if float(percent * scale).is_integer():
            return int(percent * scale), 100 * scale
    scale = _SCALES[-1]
    return min(max(1, round(percent * scale)), 100 * scale - 1), 100 * scale


def _write_share(percent: float) -> dict[str, Any]:
    """How much a RequestMirror copies. All of it is left unsaid: not every Gateway knows percentages."""
    share, whole = _to_ratio(percent)
    if share == whole:
        return {}
    if whole == 100:
        return {"percent": share}
    return {"fraction": {"numerator": share, "denominator": whole}}


def _write_backend(target: Target) -> dict[str, Any]:
    return {"name": target.service, "port": target.port}


def _write_destination(target: Target) -> dict[str, Any]:
    # a name without dots is a Service in the namespace of the VirtualService
    return {"host": target.service, "port": {"number": target.port}}


def _write_path_match(match: PathMatch) -> dict[str, Any]:
    written: dict[str, Any] = {"path": {"type": "PathPrefix", "value": match.prefix}}
    if match.headers:
        written["headers"] = [
            {"type": "Exact", "name": name, "value": value} for name, value in match.headers
        ]
    return written


def _write_istio_matches(path_prefix: str | None, headers: Mapping[str, str]) -> list[dict[str, Any]]:
    """Any of these. Istio's prefix is one of characters: `/v1` would take `/v10`, so elements need two."""
    wanted = {name: {"exact": value} for name, value in sorted(headers.items())}
    rest: dict[str, Any] = {"headers": wanted} if wanted else {}
    plain = join_paths([path_prefix or "/"])[0]
    if plain == "/":
        return [rest or {"uri": {"prefix": "/"}}]
    return [{"uri": {"exact": plain}, **rest}, {"uri": {"prefix": f"{plain}/"}, **rest}]
