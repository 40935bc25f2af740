"""Traffic by routers of our own, which stand behind the stable Service while a workload is cut over.

    Service selects a track ──apply──▶ Service selects routers ──release──▶ Service selects a track, no router

Each call reads what is there, writes what can be written now, in this order, and says what it waits for:

    apply      document ▶ Deployment ▶ document in force in every ready router ▶ stable Service with our mark
    release    document: all to one track ▶ in force ▶ stable Service ▶ its endpoints follow ▶ mark off ▶
               ConfigMap and Deployment deleted; the pods drain by themselves

A call that was cut off anywhere is continued by the next one, of this process or another: nothing is
remembered outside the cluster.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from switchyard.adapters.connection import Connection
from switchyard.adapters.resources import DEPLOYMENTS, SERVICES
from switchyard.adapters.routing.admin_client import AdminClient
from switchyard.adapters.routing.objects_access import CONFIG_MAPS, Halt, Json, ObjectsAccess
from switchyard.adapters.routing.route_drift import find_version
from switchyard.adapters.routing.router_drift import is_document_ours, is_engaged
from switchyard.adapters.routing.router_key import RouterKey
from switchyard.adapters.routing.router_pods import Delivery, Rejection
from switchyard.adapters.routing.router_scene import RouterScene, RouterSight
from switchyard.adapters.routing.router_state import judge_state, say_endpoints, say_not_ready
from switchyard.api.labels import TRAFFIC_HELD_BY
from switchyard.core.drift import differs
from switchyard.core.holding import find_holder
from switchyard.core.routing.document import RoutingDocument
from switchyard.core.routing.plan import Feature, RouteState, Support, TrafficPlan
from switchyard.core.routing.precautions import hold_back
from switchyard.core.routing.router_document import (
    build_document,
    find_plan_version,
    number_document,
    read_shares,
    send_all,
)
from switchyard.core.routing.router_objects import (
    RouterForm,
    build_config_map,
    build_deployment,
    name_router,
    select_routers,
)
from switchyard.core.routing.samples import Samples
from switchyard.engine.ports import Conflict, Denied, Failed
from switchyard.engine.routing import Applied, RouteResult


@dataclass
class BuiltinRouter:
    """Moves the traffic of any workload; `form` says how router pods are made."""

    connection: Connection
    key: RouterKey
    form: RouterForm
    admin: AdminClient = field(default_factory=AdminClient)

    async def supports(self, plan: TrafficPlan) -> Support:
        """Everything, for a workload whose stable Service has an address."""
        try:
            self._judge_form()
            stable = await self._find_service(plan, plan.workload)
            self._sight.find_url(plan, stable, plan.baseline.port)
        except Halt as halt:
            return Support(frozenset(), dict.fromkeys(Feature, halt.message))
        return Support(frozenset(Feature))

    async def observe(self, plan: TrafficPlan) -> RouteState:
        """What every ready router says is in force for the workload, compared with `plan`."""
        try:
            scene = await self._sight.look(plan)
            addresses, _ = await self._sight.find_arms(plan, scene.current)
            endpoints = await self._objects.find_endpoints(plan.namespace, plan.workload)
        except Halt as halt:
            return RouteState(problem=halt.message)
        deployment = build_deployment(plan, self.form, scene.routers.token.sha256)
        return judge_state(scene, addresses, endpoints, deployment)

    async def apply(self, plan: TrafficPlan) -> RouteResult:
        """Bring the plan into force as far as its arms are ready, and callers to the routers."""
        try:
            return await self._apply(plan)
        except Halt as halt:
            return halt.result

    async def release(self, plan: TrafficPlan, service: str) -> RouteResult:
        """Send all to the track with that Service, past the routers, and remove these."""
        try:
            return await self._release(plan, service)
        except Halt as halt:
            return halt.result

    async def read_samples(self, plan: TrafficPlan) -> tuple[Samples, ...] | Failed:
        """The samples of every ready router, each with the version of the plan that it counted under."""
        try:
            routers = await self._sight.find_routers(plan)
        except Halt as halt:
            return Failed(halt.message)
        if not routers.ready:
            return Failed(say_not_ready(plan, routers))
        answers = await routers.read_samples()
        found = [each for each in answers.values() if isinstance(each, Samples)]
        silent = [
            f"router pod {name}: {each.message}"
            for name, each in answers.items()
            if not isinstance(each, Samples)
        ]
        if silent:
            return Failed("; ".join(silent))
        return tuple(_number_as_plan(each, plan) for each in found)

    async def close(self) -> None:
        """End what is open."""
        await self.admin.close()

    @property
    def _objects(self) -> ObjectsAccess:
        return ObjectsAccess(self.connection)

    @property
    def _sight(self) -> RouterSight:
        return RouterSight(self._objects, self.key, self.form, self.admin)

    async def _apply(self, plan: TrafficPlan) -> Applied:
        self._judge_form()
        scene = await self._sight.look(plan)
        _judge_hold(plan, scene)
        addresses, readiness = await self._sight.find_arms(plan, scene.current)
        is_known = scene.is_engaged and scene.current is not None
        in_force = read_shares(scene.current, addresses) if is_known and scene.current else None
        permission = hold_back(plan, in_force, readiness)
        if permission.plan is None:
            return Applied(permission.waiting_for)
        wanted = build_document(permission.plan, addresses)
        document = number_document(wanted, scene.written, scene.taken)
        await self._write_document(plan, scene, document)
        await self._write_deployment(plan, scene)
        waits = await self._bring_into_force(plan, scene, document)
        if not waits:
            waits = await self._engage(plan, scene)
        return Applied("; ".join(filter(None, (permission.waiting_for, waits))))

    async def _write_document(self, plan: TrafficPlan, scene: RouterScene, document: RoutingDocument) -> None:
        found = scene.config_map
        version = max(plan.version, find_version(found) or 0) if found is not None else plan.version
        body = build_config_map(plan, document, version)
        if found is None or differs(body, found) or not is_document_ours(found):
            await self._objects.apply(body, found, is_version_locked=True)

    async def _write_deployment(self, plan: TrafficPlan, scene: RouterScene) -> None:
        body = build_deployment(plan, self.form, scene.routers.token.sha256)
        if scene.deployment is None or differs(body, scene.deployment):
            await self._objects.apply(body, scene.deployment)

    async def _bring_into_force(
        self, plan: TrafficPlan, scene: RouterScene, document: RoutingDocument
    ) -> str:
        """What is missing until every ready router follows the document."""
        delivery = await scene.routers.deliver(document, scene.reports)
        if delivery.final:
            await self._take_back(plan, scene, document)
            raise Halt(Denied(422, delivery.final))
        if not scene.routers.ready:
            return say_not_ready(plan, scene.routers)
        return _say_unconfirmed(delivery)

    async def _take_back(self, plan: TrafficPlan, scene: RouterScene, refused: RoutingDocument) -> None:
        """Let routers that start read the last document that one took: they could not start by this one."""
        good = [each for each in scene.taken if each != refused]
        if good:
            last = max(good, key=lambda each: each.version)
            found = await self._objects.find_own(CONFIG_MAPS, plan, name_router(plan.workload))
            body = build_config_map(plan, last, find_plan_version(last.version))
            await self._objects.apply(body, found, is_version_locked=True)

    async def _engage(self, plan: TrafficPlan, scene: RouterScene) -> str:
        """What is missing until the stable Service's endpoints are the routers."""
        selector = select_routers(plan.workload)
        if not scene.is_engaged or find_holder(scene.stable) != plan.holder:
            await self._point_service(scene.stable, selector, holder=plan.holder)
        seen = await self._objects.find_endpoints(plan.namespace, plan.workload)
        if seen and seen <= scene.routers.addresses:
            return ""
        return say_endpoints(plan)

    async def _point_service(self, stable: Json, selector: Mapping[str, str], *, holder: str) -> Json:
        """The stable Service as stored. `holder` empty: without the mark."""
        metadata = {key: stable["metadata"][key] for key in ("name", "namespace")}
        if holder:
            metadata["annotations"] = {TRAFFIC_HELD_BY: holder}
        body = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"selector": dict(selector)},
        }
        return await self._objects.apply(body, stable, is_version_locked=True)

    async def _release(self, plan: TrafficPlan, service: str) -> Applied:
        name = name_router(plan.workload)
        # read before the Service: who leads callers to routers again writes it first, and the delete fails
        config_map = await self._objects.find_own(CONFIG_MAPS, plan, name)
        stable = await self._objects.find(SERVICES, plan.namespace, plan.workload)
        if stable is not None and (find_holder(stable) or is_engaged(plan, stable)):
            waits = await self._give_back(plan, service)
            return Applied(waits) if waits else await self._release(plan, service)
        if config_map is not None:
            await self._objects.delete(CONFIG_MAPS, config_map, is_version_locked=True)
        deployment = await self._objects.find_own(DEPLOYMENTS, plan, name)
        if deployment is not None:
            await self._objects.delete(DEPLOYMENTS, deployment)
        return Applied()

    async def _give_back(self, plan: TrafficPlan, service: str) -> str:
        """What is missing until the stable Service leads to the track with `service` and has no mark."""
        scene = await self._sight.look(plan, needs_routers=False)
        _judge_hold(plan, scene)
        track = await self._find_service(plan, service)
        ready = await self._objects.find_endpoints(plan.namespace, service)
        if not ready:
            return f"a ready endpoint of Service {plan.namespace}/{service}"
        if scene.is_engaged:
            waits = await self._unify(plan, scene, self._sight.find_url(plan, track, plan.baseline.port))
            if waits:
                return waits
        stable, selector = scene.stable, track["spec"].get("selector") or {}
        if stable["spec"].get("selector") != selector:
            stable = await self._point_service(stable, selector, holder=plan.holder)
        seen = await self._objects.find_endpoints(plan.namespace, plan.workload)
        if not seen or not seen <= ready:
            return f"the endpoints of Service {plan.namespace}/{plan.workload} to be those of {service}"
        await self._point_service(stable, selector, holder="")
        return ""

    async def _unify(self, plan: TrafficPlan, scene: RouterScene, url: str) -> str:
        """What is missing until every router that answers sends all to that track.

        One that does not answer holds nothing up: that callers no longer reach it is what comes next.
        """
        document = number_document(send_all(plan, scene.current, url), scene.written, scene.taken)
        await self._write_document(plan, scene, document)
        delivery = await scene.routers.deliver(document, scene.reports)
        said = {
            name: each
            for name, each in delivery.unconfirmed.items()
            if isinstance(each, Rejection) and not each.is_final
        }
        return _say_unconfirmed(replace(delivery, unconfirmed=said))

    async def _find_service(self, plan: TrafficPlan, name: str) -> Json:
        found = await self._objects.find(SERVICES, plan.namespace, name)
        if found is None:
            place = f"{plan.namespace}/{name}"
            raise Halt(Denied(404, f"Service {place} is absent; the workload must be placed first"))
        return found

    def _judge_form(self) -> None:
        if not self.form.image:
            raise Halt(
                Denied(422, "the operator's setting router.image is empty; give the image of the operator")
            )


def _judge_hold(plan: TrafficPlan, scene: RouterScene) -> None:
    """Raises Halt where another holds the traffic, or a newer plan is in force."""
    holder = find_holder(scene.stable)
    if holder and holder != plan.holder:
        raise Halt(
            Denied(
                409,
                f"Service {plan.namespace}/{plan.workload} is held by {holder}; end that cutover first, or "
                f"take the annotation {TRAFFIC_HELD_BY} off where it is gone",
            )
        )
    newest = scene.newest_plan
    if newest > plan.version:
        name = f"ConfigMap {plan.namespace}/{name_router(plan.workload)}"
        raise Halt(Conflict(f"{name} carries version {newest}, newer than {plan.version}"))


def _say_unconfirmed(delivery: Delivery) -> str:
    said = [f"router pod {name}: {each.message}" for name, each in sorted(delivery.unconfirmed.items())]
    return f"confirmation by {'; '.join(said)}" if said else ""


def _number_as_plan(samples: Samples, plan: TrafficPlan) -> Samples:
    if samples.version is None:
        return samples
    return replace(samples, version=min(find_plan_version(samples.version), plan.version))
