"""The comparator behind a mirror: `switchyard router --mode replay` beside the workload.

It counts copies where they arrive, which no mirror does. It follows the same document as a router would: the
segments tell its counts apart, and those without a shadow hold copies back that come late.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from switchyard.adapters.resources import DEPLOYMENTS, SERVICES, Resource
from switchyard.adapters.routing.admin_client import AdminClient, Report
from switchyard.adapters.routing.objects_access import CONFIG_MAPS, Halt, Json, ObjectsAccess
from switchyard.adapters.routing.route_form import MirrorState
from switchyard.adapters.routing.router_drift import read_document
from switchyard.adapters.routing.router_key import RouterKey
from switchyard.adapters.routing.router_pods import RouterPods, Silent
from switchyard.adapters.routing.router_scene import RouterSight
from switchyard.core.drift import differs
from switchyard.core.routing.comparator_objects import build_comparator_service, find_comparator
from switchyard.core.routing.document import RoutingDocument
from switchyard.core.routing.plan import Target, TrafficPlan
from switchyard.core.routing.router_document import (
    build_document,
    find_plan_version,
    fulfils,
    number_document,
)
from switchyard.core.routing.router_objects import (
    COMPARATOR,
    RouterForm,
    build_config_map,
    build_deployment,
)
from switchyard.core.routing.samples import Samples
from switchyard.engine.ports import Denied, Failed
from switchyard.engine.routing import Applied, RouteResult

_REPLICAS = 1  # copies may be lost, and users never meet it


@dataclass
class ReplayComparator:
    """Makes, tells, watches and removes one comparator per workload."""

    objects: ObjectsAccess
    key: RouterKey
    admin: AdminClient
    form: RouterForm

    def target(self, plan: TrafficPlan) -> Target:
        """Its Service."""
        return find_comparator(plan)

    async def apply(self, plan: TrafficPlan) -> RouteResult:
        """Make it and tell it the plan; Applied with what is missing until it takes copies."""
        try:
            return Applied(await self._apply(plan))
        except Halt as halt:
            return halt.result

    async def observe(self, plan: TrafficPlan) -> MirrorState:
        """Which version all its pods follow, and how many copies came to them."""
        try:
            pods = await self._sight.find_routers(plan)
            reports = await pods.read_reports()
            wanted = await self._build_document(plan)
        except Halt as halt:
            return MirrorState(problem=f"the comparator: {halt.message}")
        if not pods.ready:
            return MirrorState(waiting_for=_describe_absence(pods))
        silent = [f"pod {name}: {each.message}" for name, each in reports.items() if isinstance(each, Silent)]
        if silent:
            return MirrorState(problem=f"the comparator: {'; '.join(silent)}")
        followed = [
            report.in_force
            for pod in pods.ready
            if isinstance(report := reports.get(pod.name), Report) and report.in_force is not None
        ]
        version = min((find_plan_version(each.version) for each in followed), default=None)
        if len(followed) < len(pods.ready) or not all(fulfils(each, wanted) for each in followed):
            is_known = len(followed) == len(pods.ready)
            waits = f"the comparator to follow version {plan.version}"
            return MirrorState(version=version if is_known else None, waiting_for=waits)
        return MirrorState(version=version, copies=_count_copies(await pods.read_samples()))

    async def remove(self, plan: TrafficPlan) -> RouteResult:
        """Delete what was made for this workload."""
        try:
            found = await self._find_objects(plan)
            for resource, body in reversed(found.items()):
                if body is not None:
                    await self.objects.delete(resource, body)
        except Halt as halt:
            is_foreign = isinstance(halt.result, Denied) and halt.result.is_name_taken
            return Applied() if is_foreign else halt.result  # with one of these foreign, none was made
        return Applied()

    async def read_samples(self, plan: TrafficPlan) -> tuple[Samples, ...] | Failed:
        """The samples of its pods; Failed when one of them can't be read, since a sum without it lies."""
        try:
            answers = await (await self._sight.find_routers(plan)).read_samples()
        except Halt as halt:
            return Failed(f"the comparator: {halt.message}")
        silent = [f"pod {name}: {each.message}" for name, each in answers.items() if isinstance(each, Silent)]
        if silent:
            return Failed(f"the comparator: {'; '.join(silent)}")
        return tuple(_number_as_plan(each) for each in answers.values() if isinstance(each, Samples))

    async def _apply(self, plan: TrafficPlan) -> str:
        pods = await self._sight.find_routers(plan)
        wanted = await self._build_document(plan)
        there = await self._find_objects(plan)
        reports = await pods.read_reports()
        taken = [
            each.document
            for each in reports.values()
            if isinstance(each, Report) and each.document is not None
        ]
        document = number_document(wanted, read_document(there[CONFIG_MAPS]), taken)
        bodies = (
            build_config_map(plan, document, plan.version, COMPARATOR),
            build_deployment(plan, self._form, pods.token.sha256),
            build_comparator_service(plan),
        )
        for found, body in zip(there.values(), bodies, strict=True):
            if found is None or differs(body, found):
                await self.objects.apply(body, found)
        delivery = await pods.deliver(document, reports)
        if delivery.final:
            raise Halt(Denied(422, f"the comparator refuses the plan: {delivery.final}"))
        if not pods.ready:
            return _describe_absence(pods)
        problems = [f"pod {name}: {each.message}" for name, each in delivery.unconfirmed.items()]
        if problems:
            return f"the comparator to follow version {plan.version}: {'; '.join(problems)}"
        service = self.target(plan).service
        if not await self.objects.find_endpoints(plan.namespace, service):
            return f"an endpoint of Service {plan.namespace}/{service}"
        return ""

    async def _find_objects(self, plan: TrafficPlan) -> dict[Resource, Json | None]:
        """What stands of ours, in the order in which it is made. Raises Halt where a name is taken."""
        name = self.target(plan).service
        return {
            resource: await self.objects.find_own(resource, plan, name)
            for resource in (CONFIG_MAPS, DEPLOYMENTS, SERVICES)
        }

    @property
    def _form(self) -> RouterForm:
        return replace(self.form, part=COMPARATOR, replicas=_REPLICAS)

    @property
    def _sight(self) -> RouterSight:
        return RouterSight(self.objects, self.key, self._form, self.admin)

    async def _build_document(self, plan: TrafficPlan) -> RoutingDocument:
        addresses, _ = await self._sight.find_arms(plan, None)
        if plan.candidate is not None and not addresses.candidate:
            name = f"{plan.namespace}/{plan.candidate.service}"
            raise Halt(Denied(404, f"Service {name} is absent; give the cutover a candidate that exists"))
        return build_document(plan, addresses)


def _describe_absence(pods: RouterPods) -> str:
    waits = [f"pod {pod.name}: {pod.waits}" for pod in pods.pods if pod.waits]
    return f"a ready pod of the comparator{': ' if waits else ''}{'; '.join(waits)}"


def _count_copies(answers: Mapping[str, Samples | Silent]) -> int | None:
    read = [each for each in answers.values() if isinstance(each, Samples)]
    if len(read) < len(answers):
        return None
    return sum(segment.shadow.sampled for samples in read for segment in samples.segments.values())


def _number_as_plan(samples: Samples) -> Samples:
    """With the version of the plan in place of the document's."""
    version = samples.version
    return samples if version is None else replace(samples, version=find_plan_version(version))
