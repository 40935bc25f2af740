"""Traffic by the workload's VirtualService.

No DestinationRule is written. Subsets are not needed, since each track has a Service of its own. Its
consistentHash would not keep a caller on an arm either: Envoy draws the arm of a weighted route for every
request, and only then looks for the pod by the hash (istio/istio#9764, envoyproxy/envoy#8167).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from switchyard.adapters.routing.held_route import HeldRoute, Refused, refuse_stickiness
from switchyard.adapters.routing.route_form import Json, RouteForm
from switchyard.adapters.routing.virtual_service import VirtualServiceForm, find_reconciled
from switchyard.api.exposure import Exposure
from switchyard.core.routing.objects import judge_virtual_service
from switchyard.core.routing.plan import Feature, Support, TrafficPlan
from switchyard.engine.ports import Denied

_ALWAYS = (
    Feature.WEIGHTS,
    Feature.SEGMENTS,
    Feature.TIERS,
    Feature.MIRROR,
    Feature.MIRROR_PERCENT,
    Feature.COMPARISON,
)
_STICKINESS = (
    "Istio draws the arm of a weighted route anew for every request; consistentHash of a DestinationRule "
    "only chooses the pod within the arm. Leave sticky out, or give the cutover router: builtin"
)
_CONFIRMATION = (
    "istiod does not say which proxies have a VirtualService, so what is reported is what stands in the "
    "object; set PILOT_ENABLE_STATUS and PILOT_ENABLE_CONFIG_DISTRIBUTION_TRACKING of istiod, or give the "
    "cutover router: builtin"
)


@dataclass
class IstioRouter(HeldRoute):
    """Moves the traffic of workloads with spec.exposure.istio."""

    form: RouteForm = field(default_factory=VirtualServiceForm)

    async def supports(self, plan: TrafficPlan) -> Support:
        """What the mesh can do with the route."""
        route = await self._read(plan)
        if not isinstance(route, Mapping):
            return Support(frozenset(), dict.fromkeys(Feature, route.message))
        features = {*_ALWAYS}
        reasons = {Feature.STICKINESS: _STICKINESS}
        if find_reconciled(route) is not None:
            features.add(Feature.CONFIRMATION)
        else:
            reasons[Feature.CONFIRMATION] = _CONFIRMATION
        problems = judge_virtual_service(plan.segments)
        if problems:
            features.discard(Feature.SEGMENTS)
            reasons[Feature.SEGMENTS] = "; ".join(problems)
        return Support(frozenset(features), reasons)

    async def _judge_plan(self, plan: TrafficPlan, exposure: Exposure, route: Json) -> Refused | None:
        del exposure, route  # nothing but the segments can stand in the way
        problems = (*judge_virtual_service(plan.segments), *refuse_stickiness(plan, _STICKINESS))
        return Denied(422, "; ".join(problems)) if problems else None
