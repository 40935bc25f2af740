"""Routers of our own in memory, behind the port: the writes and the order of the adapter, one at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from switchyard.api import labels
from switchyard.core.routing.plan import Feature, RouteState, Share, Support, TrafficPlan
from switchyard.core.routing.precautions import Readiness, hold_back
from switchyard.core.routing.samples import ArmSamples, Counts, PairCounts, Samples, SegmentSamples, Table
from switchyard.engine.ports import Conflict, Denied, Failed
from switchyard.engine.routing import Applied, RouteResult

from .connection import Connection, Refused
from .outside import Outside
from .parts import (
    CUTOVER,
    MOUNT_SECONDS,
    ROUTER_START_SECONDS,
    ROUTERS,
    SPACE,
    STABLE,
    WORKLOAD,
    Doc,
    SimRouter,
)
from .virtual_time import moment

_ROUTERS = ("router-0", "router-1")


@dataclass(frozen=True)
class _Scene:
    """What one call goes by, read at its begin."""

    config: Doc | None
    config_version: int
    stable_version: str
    routers: Mapping[str, SimRouter]
    up: tuple[str, ...]
    selected: str
    holder: str
    callers: str
    ready: Mapping[str, int]


@dataclass
class SimPath:
    connection: Connection

    async def supports(self, plan: TrafficPlan) -> Support:
        await self._read()
        return Support(frozenset(Feature))

    async def observe(self, plan: TrafficPlan) -> RouteState:
        try:
            scene = await self._read(plan)
        except Refused as refused:
            return RouteState(problem=refused.result.message)
        is_engaged = scene.callers == ROUTERS and scene.selected == ROUTERS
        docs = [scene.routers[name].doc for name in scene.up]
        known = [each for each in docs if each is not None]
        version = min((each.plan.version for each in known), default=None)
        waits = [] if is_engaged else ["callers at the routers"]
        waits += [] if docs else ["a ready router"]
        shares: dict[str, Share] = {}
        for segment in plan.segments:
            told = {
                (float(each.candidate_percent), float(each.shadow_percent))
                for doc in known
                for each in doc.plan.segments
                if each.name == segment.name and not doc.all_to
            }
            if told != {(float(segment.candidate_percent), float(segment.shadow_percent))}:
                waits.append(f"segment {segment.name}")
            if len(told) == 1:
                shares[segment.name] = Share(*told.pop())
        if version is not None and version < plan.version:
            waits.append(f"version {plan.version}")
        return RouteState(is_engaged, version, shares, waiting_for="; ".join(waits))

    async def read_samples(self, plan: TrafficPlan) -> tuple[Samples, ...] | Failed:
        try:
            return await self.connection.ask("read samples", _read_samples)
        except Refused as refused:
            return Failed(refused.result.message)

    async def apply(self, plan: TrafficPlan) -> RouteResult:
        self.connection.begin("apply")
        try:
            return await self._apply(plan)
        except Refused as refused:
            return refused.result

    async def release(self, plan: TrafficPlan, service: str) -> RouteResult:
        self.connection.begin("release")
        try:
            return await self._release(plan, service)
        except Refused as refused:
            return refused.result

    async def _read(self, plan: TrafficPlan | None = None) -> _Scene:
        def look(outside: Outside) -> _Scene:
            tracks = {plan.baseline.service, plan.candidate.service} if plan and plan.candidate else set()
            return _Scene(
                outside.config,
                outside.config_version,
                str(outside.objects[STABLE]["metadata"]["resourceVersion"]),
                dict(outside.routers),
                tuple(name for name, _ in outside.list_up()),
                outside.selected,
                outside.holder,
                outside.callers,
                {track: outside.count_ready(track) for track in tracks},
            )

        return await self.connection.ask("read the path", look)

    async def _apply(self, plan: TrafficPlan) -> RouteResult:
        scene = await self._read(plan)
        if refusal := _judge_hold(plan, scene):
            return refusal
        assert plan.candidate is not None
        in_force = None
        if scene.callers == ROUTERS and scene.config is not None:
            in_force = {
                each.name: Share(
                    100.0 * (scene.config.all_to == plan.candidate.service)
                    if scene.config.all_to
                    else float(each.candidate_percent),
                    float(each.shadow_percent),
                )
                for each in scene.config.plan.segments
            }
        ready = Readiness(
            baseline=scene.ready[plan.baseline.service] > 0, candidate=scene.ready[plan.candidate.service] > 0
        )
        permission = hold_back(plan, in_force, ready)
        if permission.plan is None:
            return Applied(permission.waiting_for)
        doc = _number(Doc(permission.plan), scene)
        await self._write_config(doc, scene)
        if not scene.routers:
            await self._write("routers made", _make_routers, ("routers", True))
        waits = await self._push(doc, scene)
        if not waits:
            waits = await self._engage(plan, scene)
        return Applied("; ".join(filter(None, (permission.waiting_for, waits))))

    async def _engage(self, plan: TrafficPlan, scene: _Scene) -> str:
        if scene.selected != ROUTERS or scene.holder != plan.holder:
            await self._point(ROUTERS, plan.holder, scene.stable_version)
        scene = await self._read(plan)
        return "" if scene.callers == ROUTERS else "endpoints of the routers"

    async def _release(self, plan: TrafficPlan, track: str) -> RouteResult:
        scene = await self._read(plan)
        if scene.holder or scene.selected == ROUTERS:
            if refusal := _judge_hold(plan, scene):
                return refusal
            if not scene.ready[track]:
                return Applied(f"a ready endpoint of {track}")
            version = scene.stable_version
            if scene.selected == ROUTERS:
                doc = _number(Doc(plan, all_to=track), scene)
                await self._write_config(doc, scene)
                with contextlib.suppress(Refused):  # who does not answer holds up nobody: callers leave
                    await self._push(doc, scene)
            if scene.selected != track:
                version = await self._point(track, plan.holder, version)
            if (await self._read(plan)).callers != track:
                return Applied(f"endpoints of {track}")
            await self._point(track, "", version)
            return await self._release(plan, track)
        if scene.config is not None:
            locked = scene.config_version
            await self._write("config gone", lambda at: _drop_config(at, locked), ("config", None))
        if scene.routers:
            await self._write("routers gone", lambda at: at.routers.clear(), ("routers", False))
        return Applied()

    async def _write_config(self, doc: Doc, scene: _Scene) -> None:
        if doc.says_same(scene.config):
            return
        locked = scene.config_version

        def write(at: Outside) -> None:
            if at.config_version != locked:
                raise Refused(Conflict("the document was changed meanwhile"))
            at.config, at.config_version = doc, locked + 1
            at.due.append((at.seconds + MOUNT_SECONDS, "mount", at.config_version))

        await self._write(f"config {doc.number} {doc.all_to}", write, ("config", doc.tell()))

    async def _push(self, doc: Doc, scene: _Scene) -> str:
        """What is missing until every router that answers follows the document."""
        waits = "" if scene.up else "a ready router"
        for name in scene.up:
            found = scene.routers[name].doc
            if doc.says_same(found):
                continue

            def push(at: Outside, name: str = name) -> str:
                router = at.routers.get(name)
                if router is None or router.doc is None:
                    return f"router {name}"
                if router.doc.number >= doc.number:
                    return "" if doc.says_same(router.doc) else f"router {name} has a newer document"
                at.tell_router(name, doc)
                return ""

            what = f"push {doc.number} {doc.all_to} to {name}"
            waits = await self._write(what, push) or waits
        return waits

    async def _point(self, target: str, holder: str, locked: str) -> str:
        """The version of the stable Service that leads to a track, or the routers, with our mark or none."""

        def write(at: Outside) -> str:
            stable = at.objects[STABLE]
            if stable["metadata"]["resourceVersion"] != locked:
                raise Refused(Conflict("the stable Service was changed meanwhile"))
            selector = (
                {ROUTERS: "true"}
                if target == ROUTERS
                else dict(at.objects[_service(target)]["spec"]["selector"])
            )
            metadata = {"name": WORKLOAD, "namespace": SPACE}
            annotations = {labels.TRAFFIC_HELD_BY: holder} if holder else {}
            body = {
                "kind": "Service",
                "metadata": {**metadata, "annotations": annotations},
                "spec": {"selector": selector},
            }
            return str(at.apply(body, CUTOVER)["metadata"]["resourceVersion"])

        return await self._write(f"callers to {target} by {holder}", write, ("callers", (target, holder)))

    async def _write(
        self, what: str, do: Callable[[Outside], object], change: tuple[str, object] | None = None
    ) -> str:
        return str(await self.connection.write(what, do, change) or "")


def _service(track: str) -> tuple[str, str, str]:
    return ("Service", SPACE, track)


def _judge_hold(plan: TrafficPlan, scene: _Scene) -> RouteResult | None:
    if scene.holder and scene.holder != plan.holder:
        return Denied(409, f"held by {scene.holder}")
    if scene.config is not None and scene.config.plan.version > plan.version:
        return Conflict(f"version {scene.config.plan.version} is newer than {plan.version}")
    return None


def _number(doc: Doc, scene: _Scene) -> Doc:
    """The document under a number above all others that say something else."""
    known = [each for each in (scene.config, *(each.doc for each in scene.routers.values())) if each]
    same = [each for each in known if doc.says_same(each)]
    highest = max((each.number for each in known), default=(0, 0))
    if same and max(each.number for each in same) == highest:
        return max(same, key=lambda each: each.number)
    serial = highest[1] + 1 if highest[0] == doc.plan.version else 0
    return replace(doc, serial=serial)


def _make_routers(at: Outside) -> None:
    for name in _ROUTERS:
        at.epochs += 1
        at.routers[name] = SimRouter(f"{at.epochs:016x}", at.seconds + ROUTER_START_SECONDS)


def _drop_config(at: Outside, locked: int) -> None:
    if at.config_version != locked:
        raise Refused(Conflict("the document was changed meanwhile"))
    at.config, at.config_version = None, locked + 1


def _read_samples(at: Outside) -> tuple[Samples, ...] | Failed:
    at.readings.append(at.seconds)
    found = []
    for name, router in at.list_up():
        assert router.doc is not None
        names = [each.name for each in router.doc.plan.segments]
        segments = {segment: _read_segment(at, name, segment) for segment in names}
        found.append(Samples(router.epoch, router.doc.plan.version, moment(at.seconds), segments))
    return tuple(found) if found else Failed("no router answers")


def _read_segment(at: Outside, router: str, segment: str) -> SegmentSamples:
    def count(what: str) -> int:
        return int(at.counted.get((router, segment, what), 0.0))

    arms = {
        arm: ArmSamples({"p0o0": Counts(count(f"users/{arm}"), {"status": count(f"failed/{arm}")})})
        for arm in ("baseline", "candidate")
    }
    unlike = {arm: count(f"unlike/{arm}") for arm in arms}
    good = count("pairs") - sum(unlike.values())
    table = Table(good, unlike["candidate"], unlike["baseline"], 0)
    return SegmentSamples(
        started={arm: count(f"users/{arm}") for arm in arms},
        arms=arms,
        pairs={"p0o0": PairCounts(pairs=table.pairs, failures=table)} if table.pairs else {},
    )
