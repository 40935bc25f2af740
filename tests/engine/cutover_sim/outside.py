"""Everything outside of the operator, in simulated time: API objects, pods, the path, and users on it.

It moves only by `advance` and by writes, and all that it holds is values, so that `fork` makes a second one
that goes on from the same moment. What must never happen is looked for at each of these steps: `broken`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import Any

from switchyard.api import labels
from switchyard.core.cutover.orders import TRAFFIC_FINALIZER

from .parts import (
    CUTOVER,
    ENDPOINT_SECONDS,
    FULL,
    NEW,
    OLD,
    ROUTERS,
    STABLE,
    START_SECONDS,
    TERMINAL,
    THE_PLAN,
    WATCH_SECONDS,
    Body,
    Doc,
    Key,
    Landed,
    SimPod,
    SimRouter,
)
from .virtual_time import moment


@dataclass
class Outside:
    seconds: float = 0.0
    objects: dict[Key, Body] = field(default_factory=dict)
    shown: dict[Key, Body] = field(default_factory=dict)  # as the watches have it
    due: list[tuple[float, str, Any]] = field(default_factory=list)  # what happens by itself
    pods: dict[str, SimPod] = field(default_factory=dict)
    nodes: dict[str, tuple[str, int]] = field(default_factory=dict)  # name -> pool, devices
    config: Doc | None = None
    config_version: int = 0
    routers: dict[str, SimRouter] = field(default_factory=dict)
    callers: str = ""  # the track, or the routers, whose endpoints the stable Service has
    counted: dict[tuple[str, str, str], float] = field(default_factory=dict)  # router, segment, what
    totals: list[tuple[float, float]] = field(default_factory=list)  # candidate's samples up to then
    per_second: float = 0.0
    mix: tuple[tuple[str, float], ...] = (("all", 1.0),)
    # segment and arm, and the percent on the candidate -> share of requests that fail
    failing: Callable[[str, str, float], float] = lambda _segment, _arm, _percent: 0.002
    # asked at each request of the operator; what it says is the answer in place of the real one
    outage: Callable[[Outside, str], str] = lambda _outside, _what: ""
    # the author: asked after each change of the plan's status
    author: Callable[[Outside, Body], None] = lambda _outside, _status: None
    landed: list[Landed] = field(default_factory=list)
    heard: list[tuple[str, Any]] = field(default_factory=list)  # by routers: what they follow from then on
    readings: list[float] = field(default_factory=list)  # when samples were read
    requests: int = 0  # of the operator, to write
    failed_users: float = 0.0
    broken: list[str] = field(default_factory=list)
    versions: int = 0
    epochs: int = 0
    statuses: list[tuple[float, Body]] = field(default_factory=list)  # of the plan

    def fork(self) -> Outside:
        """Another one, from the same moment on."""
        copied = {}
        for each in fields(self):
            value = getattr(self, each.name)
            copied[each.name] = value.copy() if isinstance(value, dict | list) else value
        return Outside(**copied)

    # -- time

    def next_due(self) -> float:
        """The next moment at which something happens by itself."""
        moments = [at for at, _, _ in self.due]
        moments += [each.ready_at for each in self.pods.values() if each.ready_at > self.seconds]
        moments += [each.ready_at for each in self.routers.values() if each.ready_at > self.seconds]
        return min(moments, default=float("inf"))

    def advance(self, to: float) -> bool:
        """Up to that second; True when the watches have news."""
        has_news = False
        while (at := self.next_due()) <= to:
            before = {name for name, each in self.pods.items() if self._is_ready(each)}
            self._flow(at)
            for each in sorted((x for x in self.due if x[0] <= at), key=lambda x: x[0]):
                self.due.remove(each)
                has_news = self._happen(*each[1:]) or has_news
            self._boot_routers()
            has_news |= before != {name for name, each in self.pods.items() if self._is_ready(each)}
            self._check()
        self._flow(to)
        return has_news

    def _happen(self, kind: str, what: Any) -> bool:
        if kind == "echo":
            key, body = what
            if body is None:
                self.shown.pop(key, None)
            else:
                self.shown[key] = body
            return True
        if kind == "endpoints":
            self.callers = what
        if kind == "mount" and self.config is not None and self.config_version == what:
            for name, each in list(self.routers.items()):
                if self._is_up(each):
                    self.tell_router(name, self.config)
        if kind == "do":
            what(self)
        return False

    def _boot_routers(self) -> None:
        for name, each in list(self.routers.items()):
            if each.doc is None and each.ready_at <= self.seconds and self.config is not None:
                self.tell_router(name, self.config)

    def tell_router(self, name: str, doc: Doc) -> None:
        """The router follows the document from now on."""
        self.routers[name] = replace(self.routers[name], doc=doc)
        self.heard.append((name, doc.tell()))

    def relist(self) -> None:
        """What the watches of a new process begin with."""
        self.due = [each for each in self.due if each[1] != "echo"]
        self.shown = dict(self.objects)

    # -- what is there

    @property
    def plan(self) -> Body | None:
        return self.objects.get(THE_PLAN)

    @property
    def status(self) -> Body:
        return self.plan["status"] if self.plan is not None else {}

    @property
    def phase(self) -> str:
        return str(self.status.get("phase", ""))

    @property
    def holder(self) -> str:
        annotations = self.objects[STABLE]["metadata"].get("annotations") or {}
        return str(annotations.get(labels.TRAFFIC_HELD_BY, ""))

    @property
    def selected(self) -> str:
        """What the stable Service selects: a track, or the routers."""
        stable = self.objects.get(STABLE)
        selector = (stable["spec"].get("selector") or {}) if stable is not None else {}
        return ROUTERS if ROUTERS in selector else str(selector.get(labels.TRACK, ""))

    @property
    def is_held(self) -> bool:
        return bool(self.holder or self.routers or self.config)

    def count_ready(self, track: str) -> int:
        return sum(1 for each in self.pods.values() if each.track == track and self._is_ready(each))

    def list_up(self) -> list[tuple[str, SimRouter]]:
        """The routers that answer."""
        return [(name, each) for name, each in sorted(self.routers.items()) if self._is_up(each)]

    def replicas(self) -> dict[str, int]:
        """What is asked for, by track."""
        return {
            key[2]: body["spec"]["replicas"] for key, body in self.objects.items() if key[0] == "Deployment"
        }

    def weights(self) -> dict[str, int]:
        return {each["name"]: each["weight"] for each in self.status.get("segments", ())}

    def weights_in_force(self) -> dict[str, float]:
        """The largest share of each segment that any router sends to the candidate."""
        found: dict[str, float] = {}
        for _, each in self.list_up():
            if self.callers == ROUTERS and each.doc is not None:
                for segment in each.doc.plan.segments:
                    share = 100.0 * (each.doc.all_to == NEW) if each.doc.all_to else segment.candidate_percent
                    found[segment.name] = max(found.get(segment.name, 0.0), float(share))
        if self.callers == NEW:
            return {name: 100.0 for name, _ in self.mix}
        return found

    def _is_ready(self, pod: SimPod) -> bool:
        return bool(pod.node) and not pod.is_lost and pod.ready_at <= self.seconds

    def _is_up(self, router: SimRouter) -> bool:
        return router.doc is not None and router.ready_at <= self.seconds

    # -- writes: of users, and of the operator through its connection

    def put(self, key: Key, body: Body, *, spec: bool = False) -> Body:
        """The object as stored. `spec`: what its author wants has changed."""
        old = self.objects.get(key)
        before = old["metadata"] if old is not None else {}
        metadata = {
            **body.get("metadata", {}),
            "namespace": key[1],
            "name": key[2],
            "uid": before.get("uid") or f"uid-{key[0]}-{key[2]}-{self.versions}",
            "creationTimestamp": before.get("creationTimestamp") or moment(self.seconds).isoformat(),
            "resourceVersion": self._next_version(),
            "generation": before.get("generation", 0) + (1 if spec or old is None else 0),
        }
        stored = {"status": {}, **body, "kind": key[0], "metadata": metadata}
        self.objects[key] = stored
        self._echo(key, stored)
        return stored

    def edit_plan(self, **spec: Any) -> None:
        plan = self.plan
        assert plan is not None
        self.put(THE_PLAN, {**plan, "spec": {**plan["spec"], **spec}}, spec=True)

    def delete_plan(self) -> None:
        plan = self.plan
        assert plan is not None
        if not plan["metadata"].get("finalizers"):
            self.drop(THE_PLAN)
            return
        metadata = {**plan["metadata"], "deletionTimestamp": moment(self.seconds).isoformat()}
        self.put(THE_PLAN, {**plan, "metadata": metadata})

    def drop(self, key: Key) -> None:
        del self.objects[key]
        self._echo(key, None)
        if key[0] == "Deployment":
            self.follow_deployments()

    def later(self, seconds: float, do: Callable[[Outside], None]) -> None:
        """Something that happens so many seconds from now."""
        self.due.append((self.seconds + seconds, "do", do))

    def apply(self, body: Body, manager: str) -> Body:
        """As a server-side apply with force; of the stable Service's selector with its owners."""
        key = (body["kind"], body["metadata"]["namespace"], body["metadata"]["name"])
        if key == STABLE:
            body = self._merge_stable(body, manager)
        elif key in self.objects:
            body = {**body, "status": self.objects[key].get("status", {})}
        stored = self.put(key, body)
        if key[0] == "Deployment":
            self.follow_deployments()
        return stored

    def _merge_stable(self, body: Body, manager: str) -> Body:
        old = self.objects.get(STABLE)
        owned = {each["manager"] for each in old["metadata"].get("managedFields", ())} if old else set()
        theirs = old or {"metadata": {}, "spec": {}}
        marks = dict(theirs["metadata"].get("annotations") or {})
        ours = dict(body["metadata"].get("annotations") or {})
        if manager == CUTOVER:
            marks.pop(labels.TRAFFIC_HELD_BY, None)
            spec, metadata = {**theirs["spec"], **body["spec"]}, {**theirs["metadata"]}
        else:
            held = {key: value for key, value in marks.items() if key == labels.TRAFFIC_HELD_BY}
            marks, spec, metadata = held, dict(body["spec"]), dict(body["metadata"])
        if "selector" in body["spec"]:
            is_same = theirs["spec"].get("selector") == body["spec"]["selector"]
            owned = owned | {manager} if is_same else {manager}
        else:
            owned = owned - {manager}
            if owned:
                spec["selector"] = theirs["spec"].get("selector", {})
        metadata["annotations"] = {**marks, **ours}
        metadata["managedFields"] = [
            {"manager": each, "fieldsV1": {"f:spec": {"f:selector": {}}}} for each in sorted(owned)
        ]
        return {**theirs, **body, "metadata": metadata, "spec": spec}

    def note(self, what: str, change: tuple[str, Any] | None = None) -> None:
        """A write has landed."""
        self.landed.append(Landed(self.seconds, what, change))
        self._follow_selector()
        self._check()

    def follow_deployments(self) -> None:
        """Pods as the Deployments ask for them: each on a node with room, ready after its start."""
        wanted = {key[2]: body for key, body in self.objects.items() if key[0] == "Deployment"}
        for name, pod in list(self.pods.items()):
            if pod.track not in wanted:
                del self.pods[name]
        for track, body in sorted(wanted.items()):
            mine = [each for each in self.pods.values() if each.track == track]
            surplus = len(mine) - body["spec"]["replicas"]
            for pod in sorted(mine, key=lambda each: (self._is_ready(each), each.name))[: max(0, surplus)]:
                del self.pods[pod.name]
            template = body["spec"]["template"]
            pool = template["spec"]["nodeSelector"]["pool"]
            for number in range(-min(0, surplus)):
                self.versions += 1
                name = f"{track}-{self.versions}-{number}"
                marks = template["metadata"]["labels"]
                ready_at = self.seconds + START_SECONDS
                self.pods[name] = SimPod(name, track, marks, self._find_node(pool), ready_at)

    def _find_node(self, pool: str) -> str:
        used = Counter(each.node for each in self.pods.values())
        return next(
            (
                name
                for name, (of, devices) in sorted(self.nodes.items())
                if of == pool and used[name] < devices
            ),
            "",
        )

    def _next_version(self) -> str:
        self.versions += 1
        return str(self.versions)

    def _echo(self, key: Key, body: Body | None) -> None:
        self.due.append((self.seconds + WATCH_SECONDS, "echo", (key, body)))

    def _follow_selector(self) -> None:
        coming = [what for _, kind, what in self.due if kind == "endpoints"]
        if STABLE in self.objects and (coming[-1] if coming else self.callers) != self.selected:
            self.due.append((self.seconds + ENDPOINT_SECONDS, "endpoints", self.selected))

    # -- users

    def _flow(self, to: float) -> None:
        """Users' requests from the last moment to this one, by what was in force in between."""
        span, self.seconds = to - self.seconds, max(self.seconds, to)
        if span <= 0 or not self.per_second:
            return
        requests = self.per_second * span
        if self.callers != ROUTERS:
            if not self._answers(self.callers, to - span):
                self._lose(requests, f"the stable Service leads to {self.callers or 'nothing'}")
            return
        routers = [
            (name, each)
            for name, each in sorted(self.routers.items())
            if each.doc is not None and each.ready_at <= to - span
        ]
        if not routers:
            self._lose(requests, "no router answers")
        for name, each in routers:
            for segment, part in self.mix:
                self._flow_through(name, each, segment, requests * part / len(routers), to - span)

    def _flow_through(self, name: str, router: SimRouter, segment: str, requests: float, at: float) -> None:
        doc = router.doc
        assert doc is not None
        rule = next(each for each in doc.plan.segments if each.name == segment)
        percent = float(rule.candidate_percent)
        if doc.all_to:
            if not self._answers(doc.all_to, at):
                self._lose(requests, f"routers lead to {doc.all_to}")
            return
        arms = {"baseline": (OLD, 100 - percent), "candidate": (NEW, percent)}
        for arm, (track, share) in arms.items():
            count = requests * share / 100
            if not count:
                continue
            if not self._answers(track, at):
                self._lose(count, f"segment {segment} has {share:g} % on {track}")
            self._count(name, segment, f"users/{arm}", count)
            self._count(name, segment, f"failed/{arm}", count * self.failing(segment, arm, percent))
        copies = requests * float(rule.shadow_percent) / 100
        if copies and self._answers(NEW, at):
            self._count(name, segment, "pairs", copies)
            for arm in arms:
                self._count(name, segment, f"unlike/{arm}", copies * self.failing(segment, arm, percent))

    def _count(self, router: str, segment: str, what: str, count: float) -> None:
        key = (router, segment, what)
        self.counted[key] = self.counted.get(key, 0.0) + count
        if what in {"users/candidate", "pairs"}:
            last = self.totals[-1][1] if self.totals else 0.0
            self.totals.append((self.seconds, last + count))

    def _answers(self, track: str, at: float) -> bool:
        return any(
            each.track == track and each.node and not each.is_lost and each.ready_at <= at
            for each in self.pods.values()
        )

    def _lose(self, requests: float, why: str) -> None:
        self.failed_users += requests
        self.blame(f"users find nobody: {why}")

    # -- what must always be true

    def blame(self, what: str) -> None:
        self.broken.append(f"{self.seconds:.2f}s, write {len(self.landed)}, {self.phase}: {what}")

    def _check(self) -> None:
        if not self.per_second:
            return
        served = self.list_up() if self.selected == ROUTERS else self.count_ready(self.selected)
        if not served:
            self.blame(f"the stable Service selects {self.selected or 'nothing'}, where nothing is ready")
        if THE_PLAN not in self.objects:
            return
        plan = self.objects[THE_PLAN]
        if self.is_held and TRAFFIC_FINALIZER not in plan["metadata"].get("finalizers", ()):
            self.blame("traffic is held and the plan could go")
        if self.callers != NEW and self.replicas().get(OLD) != FULL:
            self.blame(f"the baseline is asked for {self.replicas().get(OLD)} replicas")
        stored = int((self.status.get("machine") or {}).get("trafficVersion", 0))
        newest = max((each.doc.number[0] for each in self.routers.values() if each.doc), default=0)
        if newest > stored:
            self.blame(f"routers follow version {newest}; the status says {stored}")
        peak = max(self.weights_in_force().values(), default=0.0)
        if self.replicas().get(NEW, 0) < -(-FULL * peak // 100):
            self.blame(f"{peak:g} % on {self.replicas().get(NEW, 0)} replicas of the candidate")


def is_over(outside: Outside) -> bool:
    """True when the plan has ended, or gone."""
    return outside.plan is None or outside.phase in TERMINAL
