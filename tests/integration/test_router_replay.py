"""`--mode replay` over real HTTP: mirrored copies in, replays to both backends out."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from switchyard.core.routing.document import RoutingDocument
from switchyard.core.routing.matching import plan_copies
from switchyard.core.routing.samples import SegmentSamples
from switchyard.dataplane.engine import RouterEngine
from switchyard.dataplane.replay import MirrorExchange

from .test_router_workers import until


class Backend:
    """Keeps what it was asked; answers with its text, once it may."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.requests: list[tuple[web.Request, bytes]] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self._runner: web.AppRunner | None = None

    async def start(self) -> str:
        """Where it listens."""
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        self.requests.append((request, await request.read()))
        await self.may_answer.wait()
        return web.Response(text=self.text)

    def ids(self, mark: str) -> list[str]:
        """Of the requests that carry this mark."""
        return sorted(
            request.headers["x-request-id"]
            for request, _ in self.requests
            if request.headers["x-switchyard-shadow"] == mark
        )


class Rig:
    def __init__(self) -> None:
        self.baseline, self.candidate = Backend("old"), Backend("new")
        self.engine = RouterEngine(host="127.0.0.1", port=0, make_exchange=MirrorExchange)

    async def configure(self, *, shadow_percent: float = 20, **shadow: Any) -> RoutingDocument:
        document = RoutingDocument.model_validate(
            {
                "version": 1,
                "arms": {"baseline": {"url": self.urls[0]}, "candidate": {"url": self.urls[1]}},
                "segments": [{"name": "default", "shadowPercent": shadow_percent}],
                "shadow": {"queue": 1000, **shadow},
            }
        )
        self.engine.configure(document)
        return document

    async def mirror(
        self, target: str = "/", method: str = "POST", **given: Any
    ) -> tuple[int, bytes, Mapping[str, str]]:
        url = f"http://127.0.0.1:{self.engine.port}{target}"
        async with aiohttp.ClientSession() as http, http.request(method, url, **given) as answer:
            return answer.status, await answer.read(), answer.headers

    async def talk(self, text: bytes) -> bytes:
        """All that is answered to these bytes until the connection ends."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.engine.port)
        writer.write(text)
        answer = await reader.read()
        writer.close()
        return answer

    @property
    def measured(self) -> SegmentSamples:
        return self.engine.samples().segments["default"]

    async def settle(self) -> None:
        """Return when no copy waits or runs."""
        await until(
            "all copies ended", lambda: not self.engine.shadows.in_flight + self.engine.shadows.queued
        )


@contextlib.asynccontextmanager
async def serve() -> AsyncIterator[Rig]:
    rig = Rig()
    rig.urls = (await rig.baseline.start(), await rig.candidate.start())
    await rig.engine.start()
    try:
        yield rig
    finally:
        rig.baseline.may_answer.set()
        rig.candidate.may_answer.set()
        await rig.engine.stop(0.0)
        await rig.baseline.stop()
        await rig.candidate.stop()


def play(story: Callable[[Rig], Awaitable[None]]) -> None:
    async def run() -> None:
        async with asyncio.timeout(60), serve() as rig:
            await story(rig)

    asyncio.run(run())


def test_each_copy_goes_to_the_candidate_and_the_drawn_ones_to_the_baseline_once_or_twice() -> None:
    async def story(rig: Rig) -> None:
        document = await rig.configure(replayPercent=40, noisePercent=50)
        ids = [f"id-{number}" for number in range(60)]
        for request_id in ids:
            await rig.mirror(headers={"X-Request-Id": request_id}, data=b"hello")
        await rig.settle()
        plans = {each: plan_copies(document.shadow, each, is_answer_seen=False) for each in ids}
        assert rig.candidate.ids("candidate") == sorted(ids)
        for mark in ("baseline", "noise"):
            drawn = sorted(each for each in ids if mark in plans[each])
            assert 0 < len(drawn) < len(ids)
            assert rig.baseline.ids(mark) == drawn
        measured = rig.measured
        counts = {arm: each.ended for arm, each in measured.shadows.items()}
        assert counts == {
            "candidate": 60,
            "baseline": len(rig.baseline.ids("baseline")),
            "noise": len(rig.baseline.ids("noise")),
        }
        pairs = measured.pool_pairs()
        assert pairs.pairs == counts["baseline"]
        scores = pairs.scores["exact"]
        assert scores.candidate.mismatches == counts["baseline"]  # "new" is not "old"
        assert (scores.noise.compared, scores.noise.mismatches) == (counts["noise"], 0)
        assert (measured.started, measured.arms, measured.shadow.sampled) == ({}, {}, 60)
        assert measured.shadow.in_flight == 0

    play(story)


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_replay_has_the_method_target_fields_and_body_of_the_copy(*, is_chunked: bool) -> None:
    async def story(rig: Rig) -> None:
        await rig.configure(replayPercent=100)
        body = bytes(range(256)) * 300

        async def parts() -> AsyncIterator[bytes]:
            yield body[:1000]
            yield body[1000:]

        headers = {"Host": "chat.shop-shadow:8080", "X-Request-Id": "id-1", "X-Other": "1"}
        await rig.mirror("/v1/chat?a=b%20c", headers=headers, data=parts() if is_chunked else body)
        await rig.settle()
        for backend in (rig.baseline, rig.candidate):
            [(request, received)] = [
                each for each in backend.requests if "noise" not in each[0].headers.values()
            ]
            assert (request.method, request.raw_path) == ("POST", "/v1/chat?a=b%20c")
            assert received == body
            assert request.headers["Host"] == "chat.shop:8080"
            assert request.headers["X-Other"] == "1"
            assert request.headers["Content-Length"] == str(len(body))

    play(story)


def test_copies_are_answered_with_an_empty_202_while_both_backends_hang() -> None:
    async def story(rig: Rig) -> None:
        await rig.configure(replayPercent=100)
        rig.candidate.may_answer.clear()
        rig.baseline.may_answer.clear()
        status, body, headers = await rig.mirror(headers={"X-Request-Id": "id-1"}, data=b"hello")
        assert (status, body, headers["Content-Length"], headers["x-request-id"]) == (202, b"", "0", "id-1")
        await until("the candidate was asked", lambda: rig.candidate.requests)
        assert rig.measured.shadow.completed == 0

    play(story)


def test_a_copy_without_a_usable_id_gets_one_that_all_replays_share() -> None:
    async def story(rig: Rig) -> None:
        await rig.configure(replayPercent=100, noisePercent=100)
        _, _, headers = await rig.mirror(headers={"X-Request-Id": "a b"})
        await rig.settle()
        given = [headers["x-request-id"]]
        assert (
            rig.candidate.ids("candidate")
            == rig.baseline.ids("baseline")
            == rig.baseline.ids("noise")
            == given
        )

    play(story)


def test_a_full_queue_is_answered_with_503_and_counted() -> None:
    async def story(rig: Rig) -> None:
        await rig.configure(maxConcurrency=1, queue=1)
        rig.candidate.may_answer.clear()
        statuses = [(await rig.mirror(data=b"x"))[0] for _ in range(4)]
        assert statuses == [202, 202, 503, 503]
        assert rig.measured.shadow.dropped == {"queue": 2}
        rig.candidate.may_answer.set()
        await rig.settle()
        assert rig.measured.shadows["candidate"].ended == 2

    play(story)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        pytest.param({"data": b"x" * 101}, "body", id="a long body"),
        pytest.param({"method": "DELETE"}, "excluded", id="a method that may not be repeated"),
        pytest.param({"target": "/pay/now"}, "excluded", id="an excluded path"),
        pytest.param({"headers": {"x-switchyard-shadow": "candidate"}}, "loop", id="a copy of a copy"),
        pytest.param(
            {"method": "GET", "headers": {"Connection": "Upgrade", "Upgrade": "websocket"}},
            "excluded",
            id="a wish for a WebSocket",
        ),
    ],
)
def test_what_may_not_be_replayed_is_answered_dropped_and_counted(given: dict[str, Any], reason: str) -> None:
    async def story(rig: Rig) -> None:
        await rig.configure(maxBodyBytes=100, exclude=[{"pathPrefix": "/pay"}])
        assert (await rig.mirror(**given))[0] == 202
        await rig.mirror(data=b"x" * 100)  # the next one passes
        await rig.settle()
        assert rig.measured.shadow.dropped == {reason: 1}
        assert len(rig.candidate.requests) == 1

    play(story)


def test_a_long_body_without_a_stated_length_is_read_to_its_end_and_not_replayed() -> None:
    async def story(rig: Rig) -> None:
        await rig.configure(maxBodyBytes=100)

        async def parts() -> AsyncIterator[bytes]:
            for _ in range(50):
                yield b"x" * 10_000

        assert (await rig.mirror(data=parts()))[0] == 202
        assert rig.measured.shadow.dropped == {"body": 1}

    play(story)


def test_a_segment_that_shadows_nothing_leaves_late_copies_alone() -> None:
    async def story(rig: Rig) -> None:
        await rig.configure(shadow_percent=0)
        assert (await rig.mirror(data=b"x"))[0] == 202
        await rig.settle()
        assert (rig.candidate.requests, rig.measured.shadow.sampled) == ([], 0)

    play(story)


def test_without_a_document_there_is_nothing_to_replay_to() -> None:
    async def story(rig: Rig) -> None:
        assert (await rig.mirror(data=b"x"))[0] == 503

    play(story)


def test_a_mirror_that_waits_for_leave_to_send_the_body_gets_it() -> None:
    async def story(rig: Rig) -> None:
        await rig.configure()
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.engine.port)
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
        writer.write(b"hi")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 202 ")
        await rig.settle()
        assert rig.candidate.requests[0][1] == b"hi"
        writer.close()

    play(story)


def test_copies_on_one_connection_are_taken_one_after_the_other_until_the_drain() -> None:
    async def story(rig: Rig) -> None:
        await rig.configure()
        one = b"POST /%d HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi"
        last = b"POST /3 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        assert (await rig.talk(one % 1 + one % 2 + last)).count(b"HTTP/1.1 202 ") == 3
        await rig.settle()
        assert sorted(request.path for request, _ in rig.candidate.requests) == ["/1", "/2", "/3"]
        rig.engine.drain()
        answer = await rig.talk(one % 4)  # ends without being asked to
        assert b"Connection: close" in answer

    play(story)


def test_a_mirror_that_leaves_in_the_middle_of_a_body_leaves_nothing_behind() -> None:
    async def story(rig: Rig) -> None:
        await rig.configure()
        _, writer = await asyncio.open_connection("127.0.0.1", rig.engine.port)
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhi")
        await until("the copy is being read", lambda: rig.engine.open_requests == 1)
        writer.close()
        await until("it is forgotten", lambda: rig.engine.open_requests == 0)
        assert rig.measured.shadow.sampled == 0
        await rig.mirror(data=b"x")
        await rig.settle()
        assert len(rig.candidate.requests) == 1

    play(story)


def test_bodies_that_are_not_complete_are_held_within_the_bound_of_all_copies() -> None:
    async def story(rig: Rig) -> None:
        await rig.configure(maxBodyBytes=40 << 20)
        head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (40 << 20)
        held = []
        for _ in range(2):
            reader, writer = await asyncio.open_connection("127.0.0.1", rig.engine.port)
            writer.write(head + b"x" * ((40 << 20) - 1))
            await writer.drain()
            held.append((reader, writer))
        for reader, writer in held:
            writer.write(b"x")
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 202 ")
            writer.close()
        await rig.settle()
        assert rig.measured.shadow.dropped == {"memory": 1}
        assert len(rig.candidate.requests) == 1
        await rig.mirror(data=b"x" * (39 << 20))  # what was held has been given back
        await rig.settle()
        assert len(rig.candidate.requests) == 2

    play(story)


def test_a_candidate_that_is_gone_fails_its_replays_and_nothing_else() -> None:
    async def story(rig: Rig) -> None:
        await rig.configure(replayPercent=100, noisePercent=0)
        await rig.candidate.stop()
        assert (await rig.mirror(data=b"x"))[0] == 202
        await rig.settle()
        measured = rig.measured
        assert measured.shadows["candidate"].pool().failures == {"connect": 1}
        assert measured.shadows["baseline"].pool().failures == {}
        assert measured.pool_pairs().failures.baseline_only_good == 1

    play(story)


def test_the_mode_of_the_command_decides() -> None:
    from switchyard.dataplane.router import start_router

    async def story(rig: Rig) -> None:
        document = await rig.configure()
        args = ("--mode=replay", "--port=0", "--admin-port=0", "--drain-delay=0s")
        router = await start_router(args, {}, "127.0.0.1", lambda _: None)
        try:
            text = json.dumps(json.loads(document.encode()))
            assert (await router.holder.take(text.encode(), "push")).problems == ()
            async with (
                aiohttp.ClientSession() as http,
                http.get(f"http://127.0.0.1:{router.port}/") as answer,
            ):
                assert answer.status == 202
        finally:
            await router.stop(0.0)

    play(story)
