"""The stable Service goes to routers and back while callers ask and the operator runs: no request fails."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from e2e.installation import NAMESPACE, Operator
from e2e.objects import IMAGE, pool, workload
from e2e.scene import PATIENCE_SECONDS, Scene
from e2e.trace_traffic import driven, steady

from switchyard.adapters.connection import connect
from switchyard.adapters.routing.builtin import BuiltinRouter
from switchyard.adapters.routing.router_key import RouterKey
from switchyard.core.routing.document import Segment
from switchyard.core.routing.plan import RouteState, Target, TrafficPlan
from switchyard.core.routing.router_objects import RouterForm, select_routers
from switchyard.engine.routing import Applied, RouteResult

NAME = "routed"
FORM = RouterForm(IMAGE, drain_delay_seconds=1.0, grace_seconds=10.0)


async def _with_router(scene: Scene, call: Callable[[BuiltinRouter], Awaitable[RouteState]]) -> RouteState:
    connection = await connect(str(scene.cluster.kubeconfig))
    router = BuiltinRouter(connection, RouterKey(connection, NAMESPACE), FORM)
    try:
        return await call(router)
    finally:
        await router.close()
        await connection.close()


def _drive(
    scene: Scene, plan: TrafficPlan, step: Callable[[BuiltinRouter], Awaitable[RouteResult]]
) -> RouteState:
    """What is in force once a step has nothing left to wait for."""

    async def run(router: BuiltinRouter) -> RouteState:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (result := await step(router)) != Applied():
                assert isinstance(result, Applied), result
                await asyncio.sleep(0.2)
        return await router.observe(plan)

    return asyncio.run(_with_router(scene, run))


def _selector(scene: Scene) -> dict[str, str]:
    found: dict[str, str] = scene.get("service", NAME)["spec"]["selector"]
    return found


def test_no_request_fails_while_routers_are_put_in_the_way_and_taken_out(
    scene: Scene, operator: Operator
) -> None:
    if scene.cluster.provider != "sandbox":
        pytest.skip(
            "the router's admin port is asked from here, and only the sandbox's pods are reached here"
        )
    ((node, _),) = scene.nodes_with_l4(1)
    scene.apply(pool("e2e-routed", node), workload(NAME))
    scene.wait("Ready", NAME)
    selector = _selector(scene)
    port = scene.get("service", NAME)["spec"]["ports"][0]["port"]
    plan = TrafficPlan(
        namespace=scene.namespace,
        workload=NAME,
        workload_uid=scene.get("iw", NAME)["metadata"]["uid"],
        holder="e2e",
        version=1,
        baseline=Target(selector["switchyard.dev/track"], port),
        candidate=None,
        segments=(Segment(name="default"),),
    )
    with scene.reach(NAME) as http, driven(http.url, steady(30, 120)) as traffic:
        state = _drive(scene, plan, lambda router: router.apply(plan))
        assert (state.is_engaged, state.version, state.problem) == (True, 1, "")
        operator.kill()
        operator.start()
        scene.until(
            lambda: scene.get("deployment", f"{NAME}-router")["status"].get("readyReplicas"),
            lambda ready: ready == FORM.replicas,
            "both router pods stand",
        )
        assert _selector(scene) == select_routers(NAME)
        _drive(scene, plan, lambda router: router.release(plan, plan.baseline.service))
        assert _selector(scene) == selector
        scene.until(
            lambda: scene.get("pods", "-l", "app.kubernetes.io/component=router")["items"],
            lambda left: left == [],
            "the router pods end",
        )
    assert traffic.sent > 100
    assert traffic.answers == {200: traffic.sent}
