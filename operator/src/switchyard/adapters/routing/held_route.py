"""A workload's route while a cutover moves its traffic: one flow for every API whose routes are objects.

    placement's rules ──apply, takes over──▶ arms by weight ──apply──▶ … ──release──▶ one track, placement's

The rules are one atomic list, so whoever writes them owns all of them. They are written together with the
annotations that say who holds the traffic and which version this is, in one apply: no moment shows one
without the other. Nothing here tries again: the loop calls again with what it then wants.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from switchyard.adapters.cluster import APPLY_PATCH
from switchyard.adapters.connection import Answer, Connection, refusal_of
from switchyard.adapters.projection import controller_uid, project_workload
from switchyard.adapters.resources import SERVICES, WORKLOADS, Resource
from switchyard.adapters.routing.ownership import CUTOVER_MANAGER
from switchyard.adapters.routing.reachable import count_ready_endpoints
from switchyard.adapters.routing.route_drift import (
    carries,
    find_drift,
    find_lag,
    find_version,
    name_route,
    read_shares,
)
from switchyard.adapters.routing.route_form import (
    Comparator,
    Json,
    MirrorState,
    RouteForm,
    choose_mirror,
    needs_comparator,
)
from switchyard.api.exposure import Exposure
from switchyard.api.labels import TRAFFIC_HELD_BY
from switchyard.core.holding import find_holder
from switchyard.core.routing.document import DEFAULT_SEGMENT, Segment
from switchyard.core.routing.plan import RouteState, Support, Target, TrafficPlan
from switchyard.core.routing.precautions import Readiness, hold_back
from switchyard.core.routing.router_objects import TRAFFIC_VERSION
from switchyard.core.routing.samples import Samples
from switchyard.core.world import Unreadable
from switchyard.engine.ports import Conflict, Denied, Failed
from switchyard.engine.routing import Applied, RouteResult

Refused = Conflict | Denied | Failed

# structured-merge-diff's words for a field that the schema of a kind lacks
_UNDECLARED = "field not declared in schema"


@dataclass
class HeldRoute(ABC):
    """Takes the rules of a workload's route over, changes them, and gives them back."""

    connection: Connection
    comparator: Comparator
    form: RouteForm

    @abstractmethod
    async def supports(self, plan: TrafficPlan) -> Support:
        """What this way can do for the workload, read from the cluster."""

    @abstractmethod
    async def _judge_plan(self, plan: TrafficPlan, exposure: Exposure, route: Json) -> Refused | None:
        """Why this way must not be asked for the plan; None when it may."""

    async def observe(self, plan: TrafficPlan) -> RouteState:
        """What is in force for the workload, compared with `plan`."""
        route = await self._read(plan)
        if not isinstance(route, Mapping):
            return RouteState(problem=route.message)
        holder, version = find_holder(route), find_version(route)
        if holder and holder != plan.holder:
            return RouteState(problem=self._say_held(plan, holder))
        if not holder and version is None:
            return RouteState(waiting_for=f"{name_route(plan, self.form)} to be taken over")
        exposure = await self._find_exposure(plan)
        if not isinstance(exposure, Exposure):
            return RouteState(is_engaged=True, problem=exposure.message)
        drift = find_drift(plan, route, self.form)
        confirmation = self.form.read_confirmation(route)
        is_confirmed = not confirmation.waiting_for and not confirmation.problem
        mirror = await self._observe_mirror(plan)
        lag = find_lag(plan, route, self.form, self._build(plan, exposure))
        waits = [confirmation.waiting_for, lag, mirror.waiting_for]
        confirmed = [version, mirror.version] if needs_comparator(plan) else [version]
        # a version whose rules are not there, because another changed them, is not in force
        is_whole = is_confirmed and not drift and not (lag and version == plan.version)
        return RouteState(
            is_engaged=True,
            version=_lowest(confirmed) if is_whole else None,
            shares=read_shares(route, self.form, plan) if is_confirmed else {},
            drift=drift,
            waiting_for="; ".join(filter(None, waits)),
            problem=confirmation.problem or mirror.problem,
        )

    async def apply(self, plan: TrafficPlan) -> RouteResult:
        """Bring the plan into force as far as its arms are ready."""
        route = await self._read(plan)
        if not isinstance(route, Mapping):
            return route
        refusal = self._judge_hold(plan, route)
        if refusal is not None:
            return refusal
        exposure = await self._find_exposure(plan)
        if not isinstance(exposure, Exposure):
            return exposure
        refusal = await self._judge_plan(plan, exposure, route)
        if refusal is not None:
            return refusal
        lacking = await self._prepare_comparator(plan)
        readiness = await self._find_readiness(plan, is_mirror_ready=not lacking)
        if not isinstance(readiness, Readiness):
            return readiness
        in_force = read_shares(route, self.form, plan) if find_holder(route) else None
        permission = hold_back(plan, in_force, readiness)
        if permission.plan is None:
            return Applied(permission.waiting_for)
        # the version stands for the whole plan: what was held back is not that version yet
        version = find_version(route) if permission.waiting_for else plan.version
        rules = self._build(permission.plan, exposure)
        written = await self._write(route, rules, holder=plan.holder, version=version)
        waits = "; ".join(filter(None, (permission.waiting_for, lacking)))
        return Applied(waits) if isinstance(written, Mapping) else written

    async def release(self, plan: TrafficPlan, service: str) -> RouteResult:
        """Send all to `service`, move the stable Service there too, then leave the route to placement."""
        route = await self._read(plan)
        if isinstance(route, Denied) and route.status == 404:
            return await self.comparator.remove(plan)
        if not isinstance(route, Mapping):
            return route
        if not find_holder(route) and find_version(route) is None:
            return await self.comparator.remove(plan)
        refusal = self._judge_hold(plan, route)
        if refusal is not None:
            return refusal
        ready = await count_ready_endpoints(self.connection, plan.namespace, service)
        if not isinstance(ready, int):
            return ready
        if ready == 0:
            return Applied(f"a ready endpoint of Service {plan.namespace}/{service}")
        exposure = await self._find_exposure(plan)
        if not isinstance(exposure, Exposure):
            return exposure
        final = replace(
            plan,
            baseline=Target(service, plan.baseline.port),
            candidate=None,
            segments=(Segment(name=DEFAULT_SEGMENT),),
        )
        rules = self.form.build(final, exposure, None)
        version = max(plan.version, find_version(route) or 0)
        moved = await self._write(route, rules, holder=plan.holder, version=version)
        if not isinstance(moved, Mapping):
            return moved
        # after the annotation has gone placement sends callers to the stable Service: it must lead there too
        stable = await self._move_stable_service(plan, service)
        if not isinstance(stable, Mapping):
            return stable
        confirmation = self.form.read_confirmation(moved)
        if confirmation.waiting_for or confirmation.problem:
            return Applied(confirmation.waiting_for or confirmation.problem)
        removed = await self.comparator.remove(plan)
        if not isinstance(removed, Applied) or removed.waiting_for:
            return removed
        freed = await self._leave_stable_service(stable)
        if not isinstance(freed, Mapping):
            return freed
        left = await self._write(moved, rules, holder="", version=None)
        return Applied() if isinstance(left, Mapping) else left

    async def read_samples(self, plan: TrafficPlan) -> tuple[Samples, ...] | Failed:
        """The samples of the comparator; empty where copies don't pass one."""
        return await self.comparator.read_samples(plan) if needs_comparator(plan) else ()

    def _judge_hold(self, plan: TrafficPlan, route: Json) -> Refused | None:
        if controller_uid(route) != plan.workload_uid:
            return Denied(
                409,
                f"{name_route(plan, self.form)} is not that of InferenceWorkload {plan.namespace}/"
                f"{plan.workload}; rename or delete it, or rename the workload",
                is_name_taken=True,
            )
        holder = find_holder(route)
        if holder and holder != plan.holder:
            return Denied(409, self._say_held(plan, holder))
        version = find_version(route)
        if version is not None and version > plan.version:
            name = name_route(plan, self.form)
            return Conflict(f"{name} carries version {version}, newer than {plan.version}")
        return None

    def _say_held(self, plan: TrafficPlan, holder: str) -> str:
        return (
            f"{name_route(plan, self.form)} is held by {holder}; end that cutover first, or take the "
            f"annotation {TRAFFIC_HELD_BY} off where it is gone"
        )

    def _build(self, plan: TrafficPlan, exposure: Exposure) -> list[dict[str, Any]]:
        return self.form.build(plan, exposure, choose_mirror(plan, self.comparator.target(plan)))

    async def _read(self, plan: TrafficPlan) -> Json | Refused:
        answer = await self._get(self.form.resource, plan.namespace, plan.workload)
        if isinstance(answer, Denied) and answer.status == 404:
            return Denied(
                404,
                f"{name_route(plan, self.form)} is absent: give the workload "
                f"spec.exposure.{self.form.exposure}, or the cutover router: builtin ({answer.message})",
            )
        return answer

    async def _get(self, resource: Resource, namespace: str, name: str) -> Json | Refused:
        answer = await self.connection.request("GET", resource.path(namespace, name))
        if not isinstance(answer, Answer):
            return answer
        return answer.body if answer.is_success else refusal_of(answer)

    async def _find_exposure(self, plan: TrafficPlan) -> Exposure | Refused:
        name = f"InferenceWorkload {plan.namespace}/{plan.workload}"
        # a list of one: the operator may list workloads, and has no other use for a right to get them
        answer = await self.connection.request(
            "GET",
            WORKLOADS.path(plan.namespace),
            query={"fieldSelector": f"metadata.name={plan.workload}"},
        )
        if not isinstance(answer, Answer):
            return answer
        if not answer.is_success:
            return refusal_of(answer)
        bodies = answer.body.get("items") or ()
        if not bodies:
            return Denied(404, f"{name} is absent")
        found = project_workload(bodies[0])
        if isinstance(found, Unreadable):
            return Denied(422, f"{name}: {found.problem}")
        exposure = found.spec.exposure
        if exposure is None or getattr(exposure, self.form.exposure) is None:
            return Denied(
                422,
                f"{name}: spec.exposure.{self.form.exposure} is absent, and the route that it asks for with "
                "it: give it, or the cutover router: builtin",
            )
        return exposure

    async def _prepare_comparator(self, plan: TrafficPlan) -> str:
        """What is missing until copies can be taken; weights never wait for that."""
        if not needs_comparator(plan):
            return ""
        result = await self.comparator.apply(plan)
        return result.waiting_for if isinstance(result, Applied) else f"the comparator: {result.message}"

    async def _find_readiness(self, plan: TrafficPlan, *, is_mirror_ready: bool) -> Readiness | Refused:
        counts = []
        for target in (plan.baseline, plan.candidate):
            if target is None:
                counts.append(0)
                continue
            count = await count_ready_endpoints(self.connection, plan.namespace, target.service)
            if not isinstance(count, int):
                return count
            counts.append(count)
        return Readiness(counts[0] > 0, counts[1] > 0, is_mirror_ready)

    async def _write(
        self, route: Json, rules: list[dict[str, Any]], *, holder: str, version: int | None
    ) -> Json | Refused:
        """The route as stored. `holder` empty and `version` None: without these marks."""
        marks = {TRAFFIC_HELD_BY: holder, TRAFFIC_VERSION: "" if version is None else str(version)}
        wanted = {key: value for key, value in marks.items() if value}
        there = route["metadata"].get("annotations") or {}
        if {key: there[key] for key in marks if key in there} == wanted and carries(route, self.form, rules):
            return route
        return await self._apply(self.form.resource, route, wanted, {self.form.field: rules})

    async def _apply(
        self, resource: Resource, found: Json, annotations: Mapping[str, str], spec: Json
    ) -> Json | Refused:
        """Take these fields of exactly the object that was read; one that changed since is a Conflict."""
        metadata = {key: found["metadata"][key] for key in ("name", "namespace", "uid", "resourceVersion")}
        answer = await self.connection.request(
            "PATCH",
            resource.path(metadata["namespace"], metadata["name"]),
            query={"fieldManager": CUTOVER_MANAGER, "force": "true"},
            body={
                "apiVersion": resource.api_version,
                "kind": resource.kind,
                "metadata": {**metadata, **({"annotations": dict(annotations)} if annotations else {})},
                "spec": spec,
            },
            content_type=APPLY_PATCH,
        )
        if not isinstance(answer, Answer):
            return answer
        if _UNDECLARED in answer.message:  # said with status 500, but no attempt will mend it
            return Denied(
                422, f"{answer.message}; the CRD of {resource.kind} is too old: {self.form.least_release}"
            )
        return answer.body if answer.is_success else refusal_of(answer)

    async def _observe_mirror(self, plan: TrafficPlan) -> MirrorState:
        if not needs_comparator(plan):
            return MirrorState()
        state = await self.comparator.observe(plan)
        if state.copies != 0 or state.waiting_for or state.problem:
            return state
        asked = max(segment.shadow_percent for segment in plan.segments)
        return replace(state, waiting_for=f"a first copy: {asked:g} % are asked for, and none has arrived")

    async def _move_stable_service(self, plan: TrafficPlan, service: str) -> Json | Refused:
        """The stable Service, selecting the pods of `service`."""
        stable = await self._get(SERVICES, plan.namespace, plan.workload)
        chosen = await self._get(SERVICES, plan.namespace, service)
        if not isinstance(stable, Mapping) or not isinstance(chosen, Mapping):
            return chosen if isinstance(stable, Mapping) else stable
        holder = find_holder(stable)
        if holder and holder != plan.holder:
            return Denied(409, f"Service {plan.namespace}/{plan.workload} is held by {holder}")
        selector = chosen["spec"].get("selector")
        if stable["spec"].get("selector") == selector:
            return stable
        return await self._apply(SERVICES, stable, {TRAFFIC_HELD_BY: plan.holder}, {"selector": selector})

    async def _leave_stable_service(self, stable: Json) -> Json | Refused:
        if not find_holder(stable):
            return stable
        return await self._apply(SERVICES, stable, {}, {"selector": stable["spec"]["selector"]})


def refuse_stickiness(plan: TrafficPlan, why: str) -> tuple[str, ...]:
    """One sentence for each segment that asks for what a way of routing can't do."""
    return tuple(f"segment {segment.name}: sticky: {why}" for segment in plan.segments if segment.sticky)


def _lowest(versions: Sequence[int | None]) -> int | None:
    known = [each for each in versions if each is not None]
    return min(known) if len(known) == len(versions) else None
