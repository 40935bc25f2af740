"""Traffic by routers of our own on an API server: taken over, moved, watched and given back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from switchyard.adapters.connection import Connection
from switchyard.adapters.resources import DEPLOYMENTS, SERVICES
from switchyard.adapters.routing.objects_access import CONFIG_MAPS
from switchyard.adapters.routing.router_key import Token
from switchyard.core.routing.plan import Feature, Share, Target
from switchyard.core.routing.router_objects import select_routers
from switchyard.engine.ports import Conflict, Denied
from switchyard.engine.routing import Applied

from .builtin_rig import (
    BASELINE,
    CANDIDATE,
    HOLDER,
    OPERATOR_NAMESPACE,
    ROUTER,
    Rig,
    batch,
    read_key,
    rest,
    with_rig,
)

NO_POD = "a ready pod of Deployment shop/chat-router: 0 are there"


@dataclass
class Interrupted:
    """A connection before whose first delete something else happens."""

    connection: Connection
    before_delete: Callable[[], Awaitable[Any]] | None = None

    async def request(self, method: str, path: str, **more: Any) -> Any:
        if method == "DELETE" and self.before_delete is not None:
            happen, self.before_delete = self.before_delete, None
            await happen()
        return await self.connection.request(method, path, **more)


def test_callers_reach_the_routers_once_each_of_these_has_confirmed_the_plan() -> None:
    async def scenario(rig: Rig) -> None:
        adapter, plan = rig.adapter(), rig.plan(1, batch(10), rest(0, 20))
        assert await adapter.apply(plan) == Applied(NO_POD)
        assert await rig.points_to() == BASELINE
        assert not (await adapter.observe(plan)).is_engaged
        await rig.settle()
        waits = Applied("the endpoints of Service shop/chat to be its router pods")
        assert await adapter.apply(plan) == waits
        assert await rig.stable() == (select_routers("chat"), HOLDER)
        assert (await adapter.observe(plan)).waiting_for == waits.waiting_for
        await rig.settle()
        assert await adapter.apply(plan) == Applied()
        state = await adapter.observe(plan)
        assert (state.is_engaged, state.version, state.drift) == (True, 1, ())
        assert state.shares == {"batch": Share(10, 0), "default": Share(0, 20)}
        assert (state.waiting_for, state.problem) == ("", "")
        await adapter.close()

    with_rig(scenario)


def test_the_arms_are_the_cluster_addresses_of_the_tracks_services() -> None:
    async def scenario(rig: Rig) -> None:
        adapter = await rig.engage(rig.plan(1, rest(10)))
        arms = (await rig.document()).arms
        assert arms.candidate is not None
        for arm, name in ((arms.baseline, BASELINE), (arms.candidate, CANDIDATE)):
            address = (await rig.get(SERVICES, name))["spec"]["clusterIP"]
            assert arm.url == f"http://{address}:8000"
        await adapter.close()

    with_rig(scenario)


def test_placement_leaves_the_selector_alone_until_the_release() -> None:
    async def scenario(rig: Rig) -> None:
        plan = rig.plan(1, rest(100))
        adapter = await rig.engage(plan)
        await rig.placement_passes()
        assert await rig.stable() == (select_routers("chat"), HOLDER)
        assert (await adapter.observe(plan)).drift == ()
        waits = await rig.drive(lambda: adapter.release(plan, CANDIDATE))
        assert waits == [f"the endpoints of Service shop/chat to be those of {CANDIDATE}"]
        assert await rig.points_to() == CANDIDATE
        assert (await rig.stable())[1] == ""
        assert await rig.left() == []
        assert await adapter.release(plan, CANDIDATE) == Applied()
        await rig.placement_passes()
        assert await rig.points_to() == BASELINE
        await adapter.close()

    with_rig(scenario)


def test_the_mark_stays_until_the_endpoints_have_followed() -> None:
    async def scenario(rig: Rig) -> None:
        plan = rig.plan(1, rest(0))
        adapter = await rig.engage(plan)
        for _ in range(2):
            assert (await adapter.release(plan, BASELINE)) == Applied(
                f"the endpoints of Service shop/chat to be those of {BASELINE}"
            )
            assert (await rig.stable())[1] == HOLDER
            assert await rig.left() == ["ConfigMap", "Deployment"]
        await rig.follow()
        assert await adapter.release(plan, BASELINE) == Applied()
        await adapter.close()

    with_rig(scenario)


@pytest.mark.parametrize(("service", "percent"), [(BASELINE, 0.0), (CANDIDATE, 100.0)])
def test_before_callers_leave_every_router_sends_all_to_the_same_track(service: str, percent: float) -> None:
    async def scenario(rig: Rig) -> None:
        plan = rig.plan(3, batch(50, 10), rest(20, 30))
        adapter = await rig.engage(plan)
        await adapter.release(plan, service)
        for router in rig.routers.values():
            assert router.holder.document == await rig.document()
        shares = [(s.candidate_percent, s.shadow_percent) for s in (await rig.document()).segments]
        assert shares == [(percent, 0.0), (percent, 0.0)]
        await adapter.close()

    with_rig(scenario)


def test_an_engagement_that_never_came_about_is_released_too() -> None:
    async def scenario(rig: Rig) -> None:
        adapter, plan = rig.adapter(), rig.plan()
        await adapter.apply(plan)
        assert await rig.left() == ["ConfigMap", "Deployment"]
        assert await adapter.release(plan, BASELINE) == Applied()
        assert await rig.left() == []
        assert await rig.points_to() == BASELINE
        await adapter.close()

    with_rig(scenario)


def test_a_weight_waits_for_a_candidate_that_can_answer_and_the_last_ones_stay() -> None:
    async def scenario(rig: Rig) -> None:
        adapter = await rig.engage(rig.plan(1, batch(10), rest(0)))
        rig.endpoints[CANDIDATE] = 0
        await rig.follow()
        plan = rig.plan(2, batch(50), rest(0, 20))
        result = await adapter.apply(plan)
        assert isinstance(result, Applied)
        assert "segment batch stays at 10 % instead of 50 %" in result.waiting_for
        state = await adapter.observe(plan)
        assert state.shares == {"batch": Share(10, 0), "default": Share(0, 0)}
        assert state.version is None
        assert "version 2 to be written" in state.waiting_for
        rig.endpoints[CANDIDATE] = 1
        await rig.follow()
        assert await adapter.apply(plan) == Applied()
        state = await adapter.observe(plan)
        assert (state.version, state.shares["batch"]) == (2, Share(50, 0))
        await adapter.close()

    with_rig(scenario)


def test_a_way_back_without_a_ready_endpoint_halts_and_says_so() -> None:
    async def scenario(rig: Rig) -> None:
        adapter = await rig.engage(rig.plan(1, rest(60)))
        rig.endpoints[BASELINE] = 0
        await rig.follow()
        plan = rig.plan(2, rest(0))
        result = await adapter.apply(plan)
        assert isinstance(result, Applied)
        assert f"Service shop/{BASELINE} (baseline): segment default stays at 60 %" in result.waiting_for
        assert (await adapter.observe(plan)).shares == {"default": Share(60, 0)}
        assert await adapter.release(plan, BASELINE) == Applied(
            f"a ready endpoint of Service shop/{BASELINE}"
        )
        assert await rig.points_to() == ROUTER
        await adapter.close()

    with_rig(scenario)


def test_a_way_back_needs_no_candidate_not_even_its_service() -> None:
    async def scenario(rig: Rig) -> None:
        adapter = await rig.engage(rig.plan(1, rest(60)))
        rig.endpoints[CANDIDATE] = 0
        await rig.follow()
        await rig.delete(SERVICES, CANDIDATE)
        plan = rig.plan(2, rest(0))
        assert await adapter.apply(plan) == Applied()
        state = await adapter.observe(plan)
        assert (state.version, state.shares) == (2, {"default": Share(0, 0)})
        await adapter.release(plan, BASELINE)
        await rig.follow()
        assert await adapter.release(plan, BASELINE) == Applied()
        await adapter.close()

    with_rig(scenario)


def test_routers_that_another_process_engages_meanwhile_are_not_deleted() -> None:
    async def scenario(rig: Rig) -> None:
        old, new = rig.plan(1, rest(10)), rig.plan(2, rest(20))
        slow = Interrupted(rig.connection)
        adapter, other = await rig.engage(old), rig.adapter()
        await adapter.release(old, BASELINE)
        await rig.follow()
        slow.before_delete = lambda: rig.drive(lambda: other.apply(new))
        sluggish: Any = slow
        result = await rig.adapter(sluggish).release(old, BASELINE)
        assert isinstance(result, Conflict)
        assert await rig.left() == ["ConfigMap", "Deployment"]
        assert await rig.points_to() == ROUTER
        assert (await other.observe(new)).version == 2
        for each in (adapter, other):
            await each.close()

    with_rig(scenario)


def test_traffic_that_another_cutover_holds_is_left_alone() -> None:
    async def scenario(rig: Rig) -> None:
        adapter = await rig.engage(rig.plan(1, rest(10)))
        before = await rig.get(SERVICES, "chat"), await rig.document()
        other = rig.plan(5, rest(90), holder="another")
        for result in (await adapter.apply(other), await adapter.release(other, CANDIDATE)):
            assert isinstance(result, Denied)
            assert f"Service shop/chat is held by {HOLDER}" in result.message
        assert f"is held by {HOLDER}" in (await adapter.observe(other)).problem
        assert (await rig.get(SERVICES, "chat"), await rig.document()) == before
        await adapter.close()

    with_rig(scenario)


@pytest.mark.parametrize("kind", ["ConfigMap", "Deployment"])
def test_a_name_that_is_somebody_elses_is_never_written_nor_deleted(kind: str) -> None:
    async def scenario(rig: Rig) -> None:
        resource = CONFIG_MAPS if kind == "ConfigMap" else DEPLOYMENTS
        spec: dict[str, Any] = {"data": {"mine": "yes"}}
        if kind == "Deployment":
            labels = {"app": "other"}
            pod = {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "c", "image": "other:1"}]},
            }
            spec = {"spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": pod}}
        body = {"apiVersion": resource.api_version, "kind": kind, "metadata": {"name": ROUTER}, **spec}
        made = await rig.sandbox.client.request("POST", resource.path("shop"), body=body)
        adapter, plan = rig.adapter(), rig.plan()
        for result in (await adapter.apply(plan), await adapter.release(plan, BASELINE)):
            assert isinstance(result, Denied)
            assert result.is_name_taken
            assert f"{kind} shop/chat-router exists and is not that of InferenceWorkload" in result.message
        assert await rig.get(resource, ROUTER) == made
        await adapter.close()

    with_rig(scenario)


def test_the_key_is_made_once_and_nothing_secret_stands_beside_the_workload() -> None:
    async def scenario(rig: Rig) -> None:
        await (await rig.engage(rig.plan(1, rest(10)))).close()
        key = await read_key(rig)
        assert key is not None
        other = rig.adapter()
        assert await other.apply(rig.plan(2, rest(20))) == Applied()
        assert await read_key(rig) == key
        token = await other.key.find_token(rig.plan())
        assert isinstance(token, Token)
        for resource in (CONFIG_MAPS, DEPLOYMENTS):
            text = str(await rig.get(resource, ROUTER))
            assert token.text not in text
            assert key["data"]["key"] not in text
        await other.close()

    with_rig(scenario)


def test_a_key_that_is_no_key_is_refused_with_the_way_out() -> None:
    async def scenario(rig: Rig) -> None:
        path = f"/api/v1/namespaces/{OPERATOR_NAMESPACE}/secrets"
        body = {"metadata": {"name": "switchyard-router-key"}, "data": {"key": "c2hvcnQ="}}
        await rig.sandbox.client.request("POST", path, body=body)
        adapter, plan = rig.adapter(), rig.plan()
        result = await adapter.apply(plan)
        assert isinstance(result, Denied)
        assert result.message == (
            f"Secret {OPERATOR_NAMESPACE}/switchyard-router-key: key must hold at least 32 bytes; delete the "
            "Secret and it is made anew"
        )
        assert result.message in (await adapter.observe(plan)).problem
        await adapter.close()

    with_rig(scenario)


def test_everything_is_supported_where_the_workload_is_placed() -> None:
    async def scenario(rig: Rig) -> None:
        adapter = rig.adapter()
        assert (await adapter.supports(rig.plan())).features == set(Feature)
        support = await rig.adapter(image="").supports(rig.plan())
        assert support.features == frozenset()
        assert "router.image is empty" in support.reasons[Feature.WEIGHTS]
        await rig.delete(SERVICES, "chat")
        support = await adapter.supports(rig.plan())
        assert support.reasons[Feature.MIRROR].startswith("Service shop/chat is absent")
        assert await adapter.release(rig.plan(), BASELINE) == Applied()
        await adapter.close()

    with_rig(scenario)


def test_a_baseline_that_does_not_exist_is_named() -> None:
    async def scenario(rig: Rig) -> None:
        adapter = rig.adapter()
        result = await adapter.apply(rig.plan(baseline=Target("chat-none", 8000)))
        assert isinstance(result, Denied)
        assert result.message.startswith("Service shop/chat-none is absent")
        await adapter.close()

    with_rig(scenario)
