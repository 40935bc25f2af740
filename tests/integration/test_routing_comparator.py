"""The comparator behind a real mirror: made, told, counted, and gone with the release."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

from switchyard.adapters.connection import Connection
from switchyard.adapters.rbac import CLUSTER_RULES, ROUTING_NAMESPACE_RULES, ROUTING_RULES
from switchyard.adapters.resources import DEPLOYMENTS, HTTP_ROUTES, PODS, SERVICES
from switchyard.adapters.routing.admin_client import AdminClient
from switchyard.adapters.routing.comparator import ReplayComparator
from switchyard.adapters.routing.objects_access import CONFIG_MAPS, ObjectsAccess
from switchyard.adapters.routing.reachable import ENDPOINT_SLICES
from switchyard.adapters.routing.router_key import RouterKey
from switchyard.core.routing.document import Segment, Shadow
from switchyard.core.routing.plan import RouteState, Target, TrafficPlan
from switchyard.core.routing.router_objects import RouterForm
from switchyard.core.routing.samples import SegmentSamples, add_samples
from switchyard.engine.routing import Applied
from switchyard.sandbox.cluster.fleet import read_fleet

from .gateway_scene import is_plausible
from .route_rig import BASELINE, CANDIDATE, COMPARATOR
from .test_routing_traffic import WAYS, Stage, by_every_way, play
from .test_sandbox_cluster import until

PORT = 8000
FORM = RouterForm(image="switchyard:test", drain_delay_seconds=0.1, grace_seconds=1)
ALL_REPLAYED = Shadow(replay_percent=100, noise_percent=0)


class Bench:
    """A workload behind a Gateway with a comparator that runs on a simulated node."""

    def __init__(self, stage: Stage, admin: AdminClient) -> None:
        self.stage = stage
        self.admin = admin
        self.use(stage.connection)

    def use(self, connection: Connection) -> None:
        """Go another way to the API server."""
        key = RouterKey(connection, "default")
        self.comparator = ReplayComparator(ObjectsAccess(connection), key, self.admin, FORM)
        self.router = WAYS[self.stage.way](connection, self.comparator)  # type: ignore[call-arg]

    def plan(self, version: int, shadow_percent: float, candidate_percent: float = 0) -> TrafficPlan:
        segment = Segment(name="default", shadow_percent=shadow_percent, candidate_percent=candidate_percent)
        plan = self.stage.plan(version, (0, 0), (0, 0))
        return replace(
            plan,
            baseline=Target(BASELINE, PORT),
            candidate=Target(CANDIDATE, PORT),
            segments=(segment,),
            shadow=ALL_REPLAYED,
        )

    async def apply(self, plan: TrafficPlan) -> None:
        async def is_applied() -> bool:
            return await self.router.apply(plan) == Applied()

        await until(is_applied)

    async def state_of(self, plan: TrafficPlan, waiting_for: str = "") -> RouteState:
        """What is observed, once it waits for nothing else."""

        async def look() -> RouteState | None:
            state = await self.router.observe(plan)
            assert not state.problem, state.problem
            is_so = state.waiting_for.startswith(waiting_for) if waiting_for else not state.waiting_for
            return state if is_so else None

        found: RouteState = await until(look)
        return found

    async def read(self, plan: TrafficPlan, copies: int) -> SegmentSamples:
        """The samples of the one segment, once so many copies came to an end or were dropped."""

        async def is_settled() -> SegmentSamples | None:
            readings = await self.router.read_samples(plan)
            assert isinstance(readings, tuple), readings
            total = readings[0]
            for each in readings[1:]:
                total = add_samples(total, each)
            segment = total.segments.get("default", SegmentSamples())
            ended = sum(arm.ended for name, arm in segment.shadows.items() if name == "candidate")
            return segment if ended + sum(segment.shadow.dropped.values()) == copies else None

        found: SegmentSamples = await until(is_settled)
        return found

    async def pods(self) -> list[str]:
        listed = await self.stage.scene.client.list(PODS, "default")  # type: ignore[arg-type]
        return [
            each["metadata"]["name"]
            for each in listed["items"]
            if each["metadata"]["name"].startswith(COMPARATOR) and "deletionTimestamp" not in each["metadata"]
        ]


def compare(scenario: Callable[[Bench], Awaitable[None]], way: str = "gateway-api") -> None:
    async def main(stage: Stage) -> None:
        for name in (BASELINE, CANDIDATE):
            ports = {"spec": {"ports": [{"name": "http", "port": PORT, "protocol": "TCP"}]}}
            await stage.scene.client.patch(SERVICES, "default", name, ports)  # type: ignore[arg-type]
        for resource in (SERVICES, ENDPOINT_SLICES):  # those that the test itself would serve
            await stage.scene.client.delete(resource, "default", COMPARATOR)  # type: ignore[arg-type]
        admin = AdminClient()
        try:
            await scenario(Bench(stage, admin))
        finally:
            await admin.close()

    play(way, main, fleet=read_fleet([{"name": "cpu", "nodes": 1}]))


@by_every_way
def test_copies_are_counted_asked_of_both_arms_and_compared_and_users_see_nothing_of_it(way: str) -> None:
    async def scenario(bench: Bench) -> None:
        plan = bench.plan(1, 40)
        await bench.apply(plan)
        state = await bench.state_of(
            plan, waiting_for="a first copy: 40 % are asked for, and none has arrived"
        )
        assert state.version == 1
        if way == "istio":
            await until(bench.stage.is_in_table)
        answers = await bench.stage.ask(300)
        assert set(answers) == {(200, f"{BASELINE} hi".encode())}
        state = await bench.state_of(plan)
        assert state.shares["default"].shadow_percent == 40
        kind = "HTTPRoute" if way == "gateway-api" else "VirtualService"
        copies = bench.stage.scene.counts.mirrors(f"{kind} default/chat default")
        sent = copies[f"default/{COMPARATOR}:{PORT}"]["sent"]
        assert is_plausible(sent, 300, 0.4)
        segment = await bench.read(plan, sent)
        assert segment.shadow.sampled == sent
        assert segment.arms == {}
        assert segment.shadow.dropped == {}
        assert sum(each.requests for each in segment.shadows["candidate"].strata.values()) == sent
        (pairs,) = segment.pairs.values()
        assert pairs.pairs == sent
        assert pairs.scores["exact"].candidate.mismatches == sent  # each arm answers with its own name
        assert bench.stage.seen(CANDIDATE) == sent
        assert bench.stage.seen(BASELINE) == 300 + sent
        hosts = {each.headers["Host"] for each in bench.stage.upstreams[CANDIDATE].seen}
        assert hosts == {"chat.example.com"}  # without the suffix that Envoy gives to copies

    compare(scenario, way)


@by_every_way
def test_a_cutover_asks_for_no_right_that_the_chart_does_not_give(way: str) -> None:
    asked: set[tuple[str, str, str]] = set()

    @dataclass
    class Recording:
        connection: Connection

        async def request(self, method: str, path: str, **more: Any) -> Any:
            answer = await self.connection.request(method, path, **more)
            root, rest = path.lstrip("/").split("/", 1)
            group, rest = rest.split("/", 1) if root == "apis" else ("", rest)
            words = rest.split("/")[1:]
            resource, *name = words[2:] if words[0] == "namespaces" else words
            verb = {"PATCH": "patch", "POST": "create", "DELETE": "delete"}.get(
                method, "get" if name else "list"
            )
            asked.add((group, resource, verb))
            if method == "PATCH" and getattr(answer, "status", 0) == 201:
                asked.add((group, resource, "create"))
            return answer

    async def scenario(bench: Bench) -> None:
        recording: Any = Recording(bench.stage.connection)
        bench.use(recording)
        plan = bench.plan(1, 50)
        await bench.router.supports(plan)
        await bench.apply(plan)
        await bench.router.observe(plan)
        await bench.router.read_samples(plan)

        async def is_released() -> bool:
            return await bench.router.release(plan, CANDIDATE) == Applied()

        await until(is_released)

    compare(scenario, way)
    rules = (*CLUSTER_RULES, *ROUTING_RULES, *ROUTING_NAMESPACE_RULES)
    granted = {
        (group, resource, verb)
        for rule in rules
        for group in rule.api_groups
        for resource in rule.resources
        for verb in rule.verbs
    }
    assert asked
    assert asked <= granted


def test_what_must_not_be_asked_twice_ends_in_the_comparator() -> None:
    async def scenario(bench: Bench) -> None:
        plan = bench.plan(1, 100)
        await bench.apply(plan)
        await bench.state_of(plan, waiting_for="a first copy")
        url, headers = f"{bench.stage.url}/v1", {"Host": "chat.example.com"}
        for _ in range(20):
            assert (await bench.stage.scene.ask(url, method="PUT", data=b"x", headers=headers))[0] == 200
        segment = await bench.read(plan, 20)
        assert segment.shadow.dropped == {"excluded": 20}
        assert bench.stage.seen(CANDIDATE) == 0

    compare(scenario)


def test_a_new_plan_reaches_the_running_comparator_and_its_counts_go_on() -> None:
    async def scenario(bench: Bench) -> None:
        first = bench.plan(1, 100)
        await bench.apply(first)
        await bench.state_of(first, waiting_for="a first copy")
        await bench.stage.ask(10)
        await bench.read(first, 10)
        before = await bench.pods()
        second = bench.plan(2, 50)
        await bench.apply(second)
        state = await bench.state_of(second)
        assert state.version == 2
        assert await bench.pods() == before
        segment = await bench.read(second, 10)
        assert segment.shadow.sampled == 10

    compare(scenario)


def test_a_release_removes_the_comparator_and_leaves_nothing_of_it() -> None:
    async def scenario(bench: Bench) -> None:
        plan = bench.plan(1, 100)
        await bench.apply(plan)

        async def is_released() -> bool:
            return await bench.router.release(plan, BASELINE) == Applied()

        await until(is_released)
        client = bench.stage.scene.client
        for resource in (DEPLOYMENTS, SERVICES, CONFIG_MAPS):
            listed = await client.list(resource, "default")  # type: ignore[arg-type]
            assert COMPARATOR not in {each["metadata"]["name"] for each in listed["items"]}
        before = bench.stage.seen(CANDIDATE)
        assert {status for status, _ in await bench.stage.ask(50)} == {200}
        assert bench.stage.seen(CANDIDATE) == before

    compare(scenario)


def test_a_name_that_is_taken_holds_copies_back_and_no_weight() -> None:
    async def scenario(bench: Bench) -> None:
        client = bench.stage.scene.client
        await bench.stage.scene.make(SERVICES, COMPARATOR, {"ports": [{"port": 1234}]})  # type: ignore[arg-type]
        theirs = await client.get(SERVICES, "default", COMPARATOR)  # type: ignore[arg-type]
        result = await bench.router.apply(bench.plan(1, 20, candidate_percent=30))
        assert isinstance(result, Applied)
        assert f"Service default/{COMPARATOR} exists and is not that of" in result.waiting_for
        route = await client.get(HTTP_ROUTES, "default", "chat")  # type: ignore[arg-type]
        (rule,) = route["spec"]["rules"]
        assert [each["weight"] for each in rule["backendRefs"]] == [70, 30]
        assert "filters" not in rule
        assert await bench.comparator.remove(bench.plan(2, 0)) == Applied()
        assert await client.get(SERVICES, "default", COMPARATOR) == theirs  # type: ignore[arg-type]
        assert (await client.list(DEPLOYMENTS, "default"))["items"] == []  # type: ignore[arg-type]

    compare(scenario)
