"""Traffic by the workload's HTTPRoute: weights and header matches are core, mirrors depend on the class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from switchyard.adapters.routing.gateway_class import judge_mirroring, read_claims
from switchyard.adapters.routing.held_route import HeldRoute, Refused, refuse_stickiness
from switchyard.adapters.routing.http_route import HttpRouteForm
from switchyard.adapters.routing.route_form import Json, RouteForm
from switchyard.api.exposure import Exposure
from switchyard.core.routing.objects import judge_rule_order
from switchyard.core.routing.plan import Feature, Support, TrafficPlan
from switchyard.engine.ports import Denied, Failed

_CORE = (Feature.WEIGHTS, Feature.SEGMENTS, Feature.TIERS, Feature.CONFIRMATION)
_STICKINESS = (
    "the Gateway API has no portable field that keeps a caller on one of several weighted backends; leave "
    "sticky out, or give the cutover router: builtin"
)


@dataclass
class GatewayApiRouter(HeldRoute):
    """Moves the traffic of workloads with spec.exposure.gateway."""

    form: RouteForm = field(default_factory=HttpRouteForm)

    async def supports(self, plan: TrafficPlan) -> Support:
        """What all parents of the route can do together."""
        route = await self._read(plan)
        exposure = await self._find_exposure(plan) if isinstance(route, Mapping) else route
        if not isinstance(route, Mapping) or not isinstance(exposure, Exposure):
            why = exposure.message if not isinstance(exposure, Exposure) else ""
            return Support(frozenset(), dict.fromkeys(Feature, why))
        claims = await read_claims(self.connection, route)
        if isinstance(claims, Failed):
            return Support(frozenset(), dict.fromkeys(Feature, claims.message))
        features, reasons = judge_mirroring(claims)
        features |= {*_CORE}
        if Feature.MIRROR in features:
            features |= {Feature.COMPARISON}
        elif Feature.MIRROR in reasons:
            reasons[Feature.COMPARISON] = reasons[Feature.MIRROR]
        reasons[Feature.STICKINESS] = _STICKINESS
        order = _judge_order(plan, exposure)
        if order:
            features -= {Feature.SEGMENTS}
            reasons[Feature.SEGMENTS] = f"{order}; or give the cutover router: builtin"
        return Support(features, reasons)

    async def _judge_plan(self, plan: TrafficPlan, exposure: Exposure, route: Json) -> Refused | None:
        problems = (_judge_order(plan, exposure), *refuse_stickiness(plan, _STICKINESS))
        if any(problems):
            return Denied(422, "; ".join(filter(None, problems)))
        shadows = {segment.shadow_percent for segment in plan.segments} - {0}
        if not shadows:
            return None
        claims = await read_claims(self.connection, route)
        if isinstance(claims, Failed):
            return claims
        features, reasons = judge_mirroring(claims)
        needed = Feature.MIRROR_PERCENT if shadows - {100} else Feature.MIRROR
        return None if needed in features else Denied(422, reasons[needed])


def _judge_order(plan: TrafficPlan, exposure: Exposure) -> str:
    if exposure.gateway is None:
        return "spec.exposure.gateway is absent"
    return "; ".join(judge_rule_order(exposure.gateway, plan.segments))
