"""What is in force is what every ready router confirms, whatever else a plan, a file or a pod says."""

from __future__ import annotations

from switchyard.adapters.resources import DEPLOYMENTS
from switchyard.adapters.routing.objects_access import CONFIG_MAPS
from switchyard.core.routing.document import Comparator
from switchyard.core.routing.plan import Share
from switchyard.engine.ports import Conflict, Denied, Failed
from switchyard.engine.routing import Applied

from .builtin_rig import (
    BASELINE,
    ROUTER,
    Rig,
    batch,
    rest,
    with_rig,
)

NO_POD = "a ready pod of Deployment shop/chat-router: 0 are there"


def test_an_older_plan_never_replaces_a_newer_one() -> None:
    async def scenario(rig: Rig) -> None:
        adapter = await rig.engage(rig.plan(7, rest(10)))
        older = rig.plan(6, rest(50))
        said = Conflict("ConfigMap shop/chat-router carries version 7, newer than 6")
        assert await adapter.apply(older) == said
        assert await adapter.release(older, BASELINE) == said
        await rig.delete(CONFIG_MAPS, ROUTER)
        assert await adapter.apply(older) == said
        assert await adapter.apply(rig.plan(7, rest(10))) == Applied()
        await adapter.close()

    with_rig(scenario)


def test_what_a_plan_becomes_under_the_same_version_reaches_routers_without_a_restart() -> None:
    async def scenario(rig: Rig) -> None:
        adapter = await rig.engage(rig.plan(1, rest(10)))
        template = (await rig.get(DEPLOYMENTS, ROUTER))["spec"]["template"]
        for plan in (rig.plan(2, batch(5), rest(20)), rig.plan(2, batch(6), rest(20))):
            assert await adapter.apply(plan) == Applied()
            state = await adapter.observe(plan)
            assert (state.version, state.waiting_for) == (2, "")
        assert state.shares["batch"] == Share(6, 0)
        assert (await rig.get(DEPLOYMENTS, ROUTER))["spec"]["template"] == template
        await adapter.close()

    with_rig(scenario)


def test_a_router_that_starts_meanwhile_must_confirm_too() -> None:
    async def scenario(rig: Rig) -> None:
        plan = rig.plan(2, rest(30))
        adapter = await rig.engage(rig.plan(1, rest(10)))
        old = await rig.document()
        await adapter.apply(plan)
        await rig.kill_pod(next(iter(rig.routers)))
        await rig.settle()
        late = max(rig.routers)
        await rig.routers[late].stop(0.0)
        router = await rig.restart_router(late)
        await router.holder.take(old.encode(), "file")  # its file lags behind
        state = await adapter.observe(plan)
        assert (state.version, state.shares) == (1, {})
        assert state.waiting_for == f"version 2 to be in force in router pods {late}"
        assert await adapter.apply(plan) == Applied()
        state = await adapter.observe(plan)
        assert (state.version, state.shares) == (2, {"default": Share(30, 0)})
        await adapter.close()

    with_rig(scenario)


def test_a_router_that_does_not_answer_confirms_nothing() -> None:
    async def scenario(rig: Rig) -> None:
        plan = rig.plan(1, rest(10))
        adapter = await rig.engage(plan)
        (name, router), _ = rig.routers.items()
        await router.stop(0.0)
        state = await adapter.observe(plan)
        assert state.is_engaged
        assert (state.version, state.shares) == (None, {})
        assert state.problem == f"router pod {name}: ClientConnectorError"
        result = await adapter.apply(rig.plan(2, rest(20)))
        assert result == Applied(f"confirmation by router pod {name}: ClientConnectorError")
        samples = await adapter.read_samples(plan)
        assert samples == Failed(f"router pod {name}: ClientConnectorError")
        await adapter.close()

    with_rig(scenario)


def test_a_silent_router_does_not_hold_up_the_way_past_it() -> None:
    async def scenario(rig: Rig) -> None:
        plan = rig.plan(1, rest(10))
        adapter = await rig.engage(plan)
        for router in rig.routers.values():
            await router.stop(0.0)
        await adapter.release(plan, BASELINE)
        assert await rig.points_to() == BASELINE
        await rig.follow()
        assert await adapter.release(plan, BASELINE) == Applied()
        await adapter.close()

    with_rig(scenario)


def test_routers_that_are_all_gone_are_a_problem_and_no_obstacle_to_a_release() -> None:
    async def scenario(rig: Rig) -> None:
        plan = rig.plan(1, rest(10))
        adapter = await rig.engage(plan)
        for name in [*rig.routers]:
            await rig.kill_pod(name)
        state = await adapter.observe(plan)
        assert state.problem == f"callers reach no router: {NO_POD} is missing"
        assert await adapter.read_samples(plan) == Failed(NO_POD)
        await adapter.release(plan, BASELINE)
        assert await rig.points_to() == BASELINE
        await adapter.close()

    with_rig(scenario)


def test_what_no_router_can_follow_is_refused_and_the_last_good_document_stays() -> None:
    async def scenario(rig: Rig) -> None:
        good = rig.plan(1, rest(10))
        adapter = await rig.engage(good)
        before = await rig.document()
        bad = rig.plan(2, rest(20), comparators=(Comparator(type="psychic"),))
        result = await adapter.apply(bad)
        assert isinstance(result, Denied)
        assert "psychic" in result.message
        assert await rig.document() == before
        assert (await adapter.observe(good)).version == 1
        assert await adapter.apply(rig.plan(3, rest(30))) == Applied()
        await adapter.close()

    with_rig(scenario)


def test_a_first_plan_that_no_router_can_follow_leads_no_caller_anywhere() -> None:
    async def scenario(rig: Rig) -> None:
        adapter = rig.adapter()
        bad = rig.plan(1, rest(20), comparators=(Comparator(type="psychic"),))
        await adapter.apply(bad)
        await rig.settle()
        for name, router in rig.routers.items():
            await rig.set_pod(name, address=router.address.partition(":")[0], is_ready=False)
        result = await adapter.apply(bad)
        assert isinstance(result, Denied)
        assert "psychic" in result.message
        assert await rig.points_to() == BASELINE
        assert isinstance(await adapter.apply(rig.plan(2, rest(20))), Applied)
        good = await rig.document()
        assert [router.holder.document for router in rig.routers.values()] == [good, good]
        await adapter.close()

    with_rig(scenario)


def test_samples_of_every_router_carry_the_version_of_the_plan() -> None:
    async def scenario(rig: Rig) -> None:
        plan = rig.plan(5, rest(10))
        adapter = await rig.engage(plan)
        samples = await adapter.read_samples(plan)
        assert isinstance(samples, tuple)
        assert [each.version for each in samples] == [5, 5]
        assert len({each.epoch for each in samples}) == 2
        await adapter.close()

    with_rig(scenario)


def test_a_deployment_is_written_again_when_the_settings_change() -> None:
    async def scenario(rig: Rig) -> None:
        plan = rig.plan(1, rest(10))
        await (await rig.engage(plan)).close()
        adapter = rig.adapter(image="switchyard:next")
        state = await adapter.observe(plan)
        assert state.drift == ()
        assert state.waiting_for == "Deployment shop/chat-router to be written again"
        await adapter.apply(plan)
        (container,) = (await rig.get(DEPLOYMENTS, ROUTER))["spec"]["template"]["spec"]["containers"]
        assert container["image"] == "switchyard:next"
        assert (await adapter.observe(plan)).waiting_for == ""
        await adapter.close()

    with_rig(scenario)
