"""Mirrors on the sandbox's gateway: how many copies there are, and that nobody waits for them."""

from __future__ import annotations

import asyncio

from aiohttp import web
from tests.integration.gateway_scene import Scene, is_plausible, mirror_to, run, to
from tests.integration.test_sandbox_cluster import until

from switchyard.sandbox.gateway.mirroring import MirrorLimits

RULE = "HTTPRoute default/web 0"


def test_copies_arrive_at_the_asked_shares_and_users_see_the_backend_alone() -> None:
    async def scenario(scene: Scene) -> None:
        web_, all_, some, few = [await scene.upstream(name) for name in ("web", "all", "some", "few")]
        url = await scene.gateway()
        filters = [
            mirror_to("all"),
            mirror_to("some", percent=20),
            mirror_to("few", fraction={"numerator": 1, "denominator": 50}),
        ]
        own = {"set": [{"name": "X-Own", "value": "1"}]}
        backend = to("web", filters=[{"type": "RequestHeaderModifier", "requestHeaderModifier": own}])
        await scene.route("web", [{"filters": filters, "backendRefs": [backend]}])
        answers = await scene.ask_often(f"{url}/p?q=1", 1000, method="POST", data=b"payload")
        assert set(answers) == {(200, b"web payload")}

        async def has_all() -> bool:
            outcomes = scene.counts.mirrors(RULE)
            return all(entry["sent"] == entry.get("answered") for entry in outcomes.values())

        await until(has_all)
        assert len(all_.seen) == 1000
        assert is_plausible(len(some.seen), 1000, 0.2)
        assert is_plausible(len(few.seen), 1000, 0.02)
        assert scene.counts.mirrors(RULE)["default/some:80"] == {
            "sent": len(some.seen),
            "answered": len(some.seen),
        }
        copies = {entry.headers["X-Request-Id"]: entry for entry in all_.seen}
        for original in web_.seen:
            assert original.headers.pop("X-Own") == "1"  # meant for this backend alone
            assert copies[original.headers["X-Request-Id"]] == original

    run(scenario)


def test_a_share_of_nothing_is_nothing_and_a_mirror_that_is_not_there_is_left_out() -> None:
    async def scenario(scene: Scene) -> None:
        await scene.upstream("web")
        idle = await scene.upstream("idle")
        url = await scene.gateway()
        filters = [mirror_to("idle", percent=0), mirror_to("gone")]
        conditions = await scene.route("web", [{"filters": filters, "backendRefs": [to("web")]}])
        assert conditions["Accepted"]["status"] == "True"
        assert conditions["ResolvedRefs"]["reason"] == "BackendNotFound"
        assert {status for status, _ in await scene.ask_often(url, 50)} == {200}
        assert idle.seen == []
        assert scene.counts.mirrors(RULE) == {}

    run(scenario)


def test_a_mirror_that_hangs_breaks_or_is_away_costs_users_nothing() -> None:
    async def scenario(scene: Scene) -> None:
        await scene.upstream("web")
        hanging, breaking = await scene.upstream("hanging"), await scene.upstream("breaking")
        await scene.upstream("away")
        await scene.place("away", [1])  # nobody listens there
        never = asyncio.Event()

        async def hang(_request: web.Request) -> web.StreamResponse:
            await never.wait()
            raise AssertionError

        async def break_off(request: web.Request) -> web.StreamResponse:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()

        hanging.answer, breaking.answer = hang, break_off
        scene.sandbox.gateway.proxy.limit_mirrors(MirrorLimits(in_flight=10))
        url = await scene.gateway()
        filters = [mirror_to("away"), mirror_to("breaking"), mirror_to("hanging")]
        await scene.route("web", [{"filters": filters, "backendRefs": [to("web")]}])
        # No answer can wait for a copy: those to `hanging` never end.
        answers = await scene.ask_often(url, 60, method="POST", data=b"x")
        assert set(answers) == {(200, b"web x")}
        outcomes = scene.counts.mirrors(RULE)
        assert outcomes["default/hanging:80"]["sent"] <= 10
        for target in ("hanging", "breaking", "away"):
            entry = outcomes[f"default/{target}:80"]
            assert entry.get("sent", 0) + entry.get("dropped", 0) == 60
            assert entry.get("answered", 0) == 0

    run(scenario)


def test_a_body_too_large_to_be_copied_passes_to_the_backend_alone() -> None:
    async def scenario(scene: Scene) -> None:
        upstream = await scene.upstream("web")
        copied = await scene.upstream("copied")
        scene.sandbox.gateway.proxy.limit_mirrors(MirrorLimits(body_bytes=1000))
        url = await scene.gateway()
        await scene.route("web", [{"filters": [mirror_to("copied")], "backendRefs": [to("web")]}])
        for size in (1000, 1001):
            assert await scene.ask(url, method="POST", data=b"x" * size) == (200, b"web " + b"x" * size)

        async def is_counted() -> bool:
            counts = scene.counts.mirrors(RULE)["default/copied:80"]
            return counts == {"sent": 1, "answered": 1, "oversized": 1}

        await until(is_counted)
        assert [len(entry.body) for entry in copied.seen] == [1000]
        assert [len(entry.body) for entry in upstream.seen] == [1000, 1001]

    run(scenario)
