"""What stands of a workload's routers, read from the cluster and from the routers themselves at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from switchyard.adapters.projection import controller_uid
from switchyard.adapters.resources import DEPLOYMENTS, SERVICES
from switchyard.adapters.routing.admin_client import AdminClient, Report
from switchyard.adapters.routing.objects_access import CONFIG_MAPS, Halt, Json, ObjectsAccess
from switchyard.adapters.routing.route_drift import find_version
from switchyard.adapters.routing.router_drift import is_document_ours, is_engaged, read_document
from switchyard.adapters.routing.router_key import RouterKey, Token
from switchyard.adapters.routing.router_pods import RouterPods, Silent, project_router_pods
from switchyard.core.routing.document import RoutingDocument
from switchyard.core.routing.plan import Target, TrafficPlan
from switchyard.core.routing.precautions import Readiness
from switchyard.core.routing.router_document import Addresses, build_url, find_plan_version
from switchyard.core.routing.router_objects import RouterForm, name_router, select_routers
from switchyard.engine.ports import Denied


@dataclass(frozen=True, slots=True)
class RouterScene:
    """One look. `stable`: the Service that callers use. `reports`: by router pod."""

    plan: TrafficPlan
    stable: Json
    config_map: Json | None
    deployment: Json | None
    routers: RouterPods
    reports: Mapping[str, Report | Silent]

    @property
    def is_engaged(self) -> bool:
        """True when the stable Service selects the routers."""
        return is_engaged(self.plan, self.stable)

    @property
    def written(self) -> RoutingDocument | None:
        """The document that routers are told to read."""
        return read_document(self.config_map)

    @property
    def taken(self) -> tuple[RoutingDocument, ...]:
        """The documents that routers have."""
        reports = (each for each in self.reports.values() if isinstance(each, Report))
        return tuple(each.document for each in reports if each.document is not None)

    @property
    def current(self) -> RoutingDocument | None:
        """What routers follow or are about to: the written document, else the newest that one has."""
        return self.written or max(self.taken, key=lambda each: each.version, default=None)

    @property
    def newest_plan(self) -> int:
        """The version of the newest plan that left a trace of ours; -1 where none did."""
        if self.config_map is None:
            return max((find_plan_version(each.version) for each in self.taken), default=-1)
        marked, written = find_version(self.config_map), self.written
        if marked is None and written is not None and is_document_ours(self.config_map):
            return find_plan_version(written.version)
        return -1 if marked is None else marked


@dataclass(frozen=True, slots=True)
class RouterSight:
    """Looks. Raises Halt for what can't be read."""

    objects: ObjectsAccess
    key: RouterKey
    form: RouterForm
    admin: AdminClient

    async def look(self, plan: TrafficPlan, *, needs_routers: bool = True) -> RouterScene:
        """What stands. `needs_routers`: routers that can't be asked, for lack of a key, are an obstacle."""
        stable = await self.objects.find(SERVICES, plan.namespace, plan.workload)
        if stable is None:
            raise Halt(
                Denied(404, f"Service {plan.namespace}/{plan.workload} is absent; the workload is not placed")
            )
        if controller_uid(stable) != plan.workload_uid:
            raise Halt(
                Denied(
                    409,
                    f"Service {plan.namespace}/{plan.workload} is not that of InferenceWorkload "
                    f"{plan.namespace}/{plan.workload}; rename or delete it, or rename the workload",
                    is_name_taken=True,
                )
            )
        name = name_router(plan.workload)
        config_map = await self.objects.find_own(CONFIG_MAPS, plan, name)
        deployment = await self.objects.find_own(DEPLOYMENTS, plan, name)
        try:
            routers = await self.find_routers(plan)
        except Halt:
            if needs_routers:
                raise
            routers = RouterPods(self.admin, (), self.form.admin_port, Token(""))
        return RouterScene(plan, stable, config_map, deployment, routers, await routers.read_reports())

    async def find_routers(self, plan: TrafficPlan) -> RouterPods:
        """The router pods of the workload, none for one that has none."""
        token = await self.key.find_token(plan)
        if not isinstance(token, Token):
            raise Halt(token)
        bodies = await self.objects.list_pods(plan.namespace, select_routers(plan.workload, self.form.part))
        port = self.form.find_admin_port(plan.baseline.port)
        return RouterPods(self.admin, project_router_pods(bodies), port, token)

    async def find_arms(
        self, plan: TrafficPlan, current: RoutingDocument | None
    ) -> tuple[Addresses, Readiness]:
        """Where the arms are and which can answer. An arm whose Service is gone stays where it was known."""
        known = current.arms if current is not None else None
        baseline, is_baseline_ready = await self._find_arm(plan, plan.baseline)
        if not baseline:
            if known is None:
                name = f"{plan.namespace}/{plan.baseline.service}"
                raise Halt(Denied(404, f"Service {name} is absent; give the cutover a baseline that exists"))
            baseline = known.baseline.url
        if plan.candidate is None:
            return Addresses(baseline), Readiness(is_baseline_ready, candidate=False)
        candidate, is_candidate_ready = await self._find_arm(plan, plan.candidate)
        if not candidate and known is not None and known.candidate is not None:
            candidate = known.candidate.url
        return Addresses(baseline, candidate), Readiness(is_baseline_ready, is_candidate_ready)

    async def _find_arm(self, plan: TrafficPlan, target: Target) -> tuple[str, bool]:
        service = await self.objects.find(SERVICES, plan.namespace, target.service)
        if service is None:
            return "", False
        url = self.find_url(plan, service, target.port)
        return url, bool(await self.objects.find_endpoints(plan.namespace, target.service))

    def find_url(self, plan: TrafficPlan, service: Json, port: int) -> str:
        """The URL of a Service: of its ClusterIP, so that routers need no name service."""
        address = (service.get("spec") or {}).get("clusterIP") or "None"
        if address == "None":
            name = f"{plan.namespace}/{service['metadata']['name']}"
            raise Halt(Denied(422, f"Service {name} has no ClusterIP; give it one (type: ClusterIP)"))
        return build_url(address, port)
