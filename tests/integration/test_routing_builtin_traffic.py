"""Real requests through router pods that the cutover side puts in their way and takes out again."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from switchyard.adapters.resources import DEPLOYMENTS, PODS
from switchyard.core.routing.plan import Share

from .builtin_rig import BASELINE, CANDIDATE, ROUTER, batch, rest
from .builtin_scene import Scene, play
from .gateway_scene import is_plausible
from .test_sandbox_cluster import until

BATCH = {"x-switchyard-tier": "batch"}


def test_not_one_request_fails_while_callers_are_led_to_the_routers_and_past_them_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario(scene: Scene) -> None:
        async with scene.load() as answers:
            state = await scene.engage(scene.plan(1, rest(0)))
            assert state.version == 1
            assert answers.count(CANDIDATE) == 0
            for version, percent in ((2, 40), (3, 100)):
                await scene.engage(scene.plan(version, rest(percent)))
            await scene.release(scene.plan(4, rest(100)), CANDIDATE)
            await until(scene.has_no_router)
            before = scene.recorders[CANDIDATE].count()

            async def is_direct() -> bool:
                return scene.recorders[CANDIDATE].count() > before + 50

            await until(is_direct)
            last = len(answers.bodies)
            await scene.engage(scene.plan(5, rest(100)))
            await scene.engage(scene.plan(6, rest(0)))
            await scene.release(scene.plan(7, rest(0)), BASELINE)
        assert answers.failures == []
        assert len(answers.bodies) > 500
        assert min(answers.count(BASELINE), answers.count(CANDIDATE)) > 50
        assert any(body.startswith(b"chat-gpu") for body in answers.bodies[last:])

    play(scenario, monkeypatch)


def test_a_long_answer_that_a_router_carries_ends_whole_after_the_release(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario(scene: Scene) -> None:
        may_end, pieces = asyncio.Event(), [b"piece %d " % number for number in range(20)]

        async def stream(request: web.Request, body: bytes) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(request)
            for piece in pieces:
                await response.write(piece)
            await may_end.wait()
            await response.write(b" says " + body)
            return response

        plan = scene.plan(1, rest(0))
        await scene.engage(plan)
        scene.recorders[BASELINE].answer = stream
        asking = asyncio.create_task(scene.ask(3))

        async def are_under_way() -> bool:
            return scene.recorders[BASELINE].count() == 3

        await until(are_under_way)
        await scene.release(plan, BASELINE)
        deployments = await scene.sandbox.client.request("GET", DEPLOYMENTS.path("shop"))
        assert ROUTER not in {each["metadata"]["name"] for each in deployments["items"]}
        assert not asking.done()
        may_end.set()
        answers = await asking
        assert answers.failures == []
        assert {*answers.bodies} == {b"".join(pieces) + b" says hi"}
        await until(scene.has_no_router)

    play(scenario, monkeypatch)


def test_weights_hold_and_segments_are_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(scene: Scene) -> None:
        state = await scene.engage(scene.plan(1, batch(70), rest(20)))
        assert state.shares == {"batch": Share(70, 0), "default": Share(20, 0)}
        for headers, share in ((BATCH, 0.7), ({}, 0.2)):
            answers = await scene.ask(800, **headers)
            assert answers.failures == []
            assert is_plausible(answers.count(CANDIDATE), 800, share)
        await scene.engage(scene.plan(2, batch(100), rest(0)))
        assert (await scene.ask(200, **BATCH)).count(CANDIDATE) == 200
        assert (await scene.ask(200)).count(CANDIDATE) == 0

    play(scenario, monkeypatch)


def test_callers_see_the_baselines_bytes_alone_whatever_a_shadowed_candidate_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario(scene: Scene) -> None:
        candidate = scene.recorders[CANDIDATE]

        async def misbehave(_request: web.Request, body: bytes) -> web.StreamResponse:
            if len(candidate.seen) % 3 == 0:
                raise ConnectionResetError
            await asyncio.sleep(0.02)
            return web.Response(status=500, body=b"garbage " * 1000 + body)

        candidate.answer = misbehave
        await scene.engage(scene.plan(1, rest(0, 25)))
        answers = await scene.ask(600, body=b"\x00\xff bytes")
        assert answers.failures == []
        assert {*answers.bodies} == {b"chat-gpu-l4 says \x00\xff bytes"}
        plan = scene.plan(1, rest(0, 25))
        adapter = scene.adapter()

        async def are_over() -> bool:
            samples = await adapter.read_samples(plan)
            assert isinstance(samples, tuple)
            counts = [each.segments["default"].shadow for each in samples]
            return all(each.in_flight == 0 for each in counts)

        await until(are_over)
        await adapter.close()
        assert candidate.count() == 0
        assert is_plausible(candidate.count("candidate"), 600, 0.25)

    play(scenario, monkeypatch)


def test_router_pods_that_die_are_replaced_and_their_successors_confirm_the_plan(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario(scene: Scene) -> None:
        plan = scene.plan(3, rest(50))
        await scene.engage(plan)
        killed = {each["metadata"]["name"] for each in await scene.router_pods()}
        for name in killed:
            await scene.sandbox.client.request(
                "DELETE", PODS.path("shop", name), body={"kind": "DeleteOptions", "gracePeriodSeconds": 0}
            )

        async def are_replaced() -> bool:
            names = {each["metadata"]["name"] for each in await scene.router_pods()}
            state = await scene.observe(plan)
            return len(names - killed) == 2 and state.version == 3 and not state.waiting_for

        await until(are_replaced)
        answers = await scene.ask(100)
        assert answers.failures == []
        assert answers.count(CANDIDATE) > 20

    play(scenario, monkeypatch)
