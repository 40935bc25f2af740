"""What the Gateways of a route can do, from the features that their classes claim.

    HTTPRoute.spec.parentRefs → Gateway.spec.gatewayClassName → GatewayClass.status.supportedFeatures

Source: GEP-2162 and GEP-3164. A feature is a string in releases before 1.2, later an object with a name. A
class that lists nothing says nothing: its features are unknown, not absent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from switchyard.adapters.connection import Answer, Connection, refusal_of
from switchyard.adapters.resources import GATEWAY_CLASSES, GATEWAYS
from switchyard.adapters.routing.http_route import name_parent
from switchyard.adapters.routing.route_form import Json
from switchyard.core.routing.plan import Feature
from switchyard.engine.ports import Failed

MIRROR = "HTTPRouteRequestMirror"
MIRROR_PERCENT = "HTTPRouteRequestPercentageMirror"

_HARMS = {
    Feature.MIRROR: (
        MIRROR,
        "it copies no requests; take a class that does, or give the cutover router: builtin",
    ),
    Feature.MIRROR_PERCENT: (
        MIRROR_PERCENT,
        "it would copy all requests, whatever the percent; shadow 100 %, or give the cutover router: builtin",
    ),
}


@dataclass(frozen=True, slots=True)
class Claim:
    """What one parent claims. `features` None: nobody says; `why` then says why."""

    parent: str
    class_name: str = ""
    features: frozenset[str] | None = None
    why: str = ""


async def read_claims(connection: Connection, route: Json) -> tuple[Claim, ...] | Failed:
    """The claims of all parents of a route; Failed when the API server gave no answer."""
    namespace = str(route["metadata"]["namespace"])
    claims = []
    for parent in (route.get("spec") or {}).get("parentRefs") or ():
        claim = await _read_claim(connection, parent, namespace)
        if isinstance(claim, Failed):
            return claim
        claims.append(claim)
    return tuple(claims)


async def _read_claim(connection: Connection, parent: Json, namespace: str) -> Claim | Failed:
    name = name_parent(parent, namespace)
    if (parent.get("group", GATEWAYS.group), parent.get("kind", "Gateway")) != (GATEWAYS.group, "Gateway"):
        return Claim(name, why=f"{name} is no Gateway and has no class")
    path = GATEWAYS.path(str(parent.get("namespace") or namespace), str(parent["name"]))
    gateway = await _read(connection, path)
    if isinstance(gateway, Failed):
        return gateway
    if isinstance(gateway, str):
        return Claim(name, why=f"{name} can't be read: {gateway}")
    class_name = str(gateway["spec"]["gatewayClassName"])
    found = await _read(connection, GATEWAY_CLASSES.path(name=class_name))
    if isinstance(found, Failed):
        return found
    if isinstance(found, str):
        return Claim(name, class_name, why=f"GatewayClass {class_name} can't be read: {found}")
    features = read_features(found)
    if features is None:
        return Claim(name, class_name, why=f"GatewayClass {class_name} lists no features in its status")
    return Claim(name, class_name, features)


async def _read(connection: Connection, path: str) -> Json | str | Failed:
    """The object, why it can't be had, or Failed when that may change with the next attempt."""
    answer = await connection.request("GET", path)
    if not isinstance(answer, Answer):
        return answer
    if answer.is_success:
        return answer.body
    refusal = refusal_of(answer)
    return refusal if isinstance(refusal, Failed) else refusal.message


def read_features(gateway_class: Json) -> frozenset[str] | None:
    """The features that a class claims; None when it says nothing."""
    listed = (gateway_class.get("status") or {}).get("supportedFeatures") or ()
    names = [each.get("name") if isinstance(each, Mapping) else each for each in listed]
    return frozenset(str(each) for each in names if each) or None


def judge_mirroring(claims: Sequence[Claim]) -> tuple[frozenset[Feature], dict[Feature, str]]:
    """Which of MIRROR and MIRROR_PERCENT all parents have, and what is to be said of them.

    What is unknown counts as there, with a reason: copies are counted where they arrive.
    """
    features: set[Feature] = set()
    reasons: dict[Feature, str] = {}
    unknown = "; ".join(dict.fromkeys(claim.why for claim in claims if claim.features is None))
    for feature, (name, harm) in _HARMS.items():
        lacking = _find_lacking(claims, name)
        if lacking:
            reasons[feature] = f"GatewayClass {', '.join(lacking)} does not list {name}: {harm}"
            continue
        features.add(feature)
        if unknown:
            reasons[feature] = (
                f"{unknown}, so nobody says whether {name} works: only the copies that are counted "
                "where they arrive show it"
            )
    return frozenset(features), reasons


def _find_lacking(claims: Sequence[Claim], name: str) -> list[str]:
    # a percentage is one of a mirror: a class without mirrors has none either, whatever it lists
    needed = {name, MIRROR}
    lacking = (each for each in claims if each.features is not None and not needed <= each.features)
    return list(dict.fromkeys(each.class_name for each in lacking))
