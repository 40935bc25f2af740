"""Bodies on the sandbox's gateway: passed while they are made, whole or visibly broken, never changed."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from tests.integration.gateway_scene import Scene, mirror_to, run, to
from tests.integration.test_sandbox_cluster import until

RULE = "HTTPRoute default/web 0"


def _path(value: str) -> dict:
    return {"path": {"value": value}}


def test_a_late_backend_costs_504_and_an_early_one_keeps_its_stream() -> None:
    async def scenario(scene: Scene) -> None:
        upstream = await scene.upstream("web")
        released = asyncio.Event()

        async def wait(_request: web.Request) -> web.StreamResponse:
            await released.wait()
            return web.Response(text="late")

        upstream.answer = wait
        url = await scene.gateway()
        rules = [
            {"matches": [_path("/a")], "timeouts": {"request": "100ms"}, "backendRefs": [to("web")]},
            {"matches": [_path("/b")], "timeouts": {"backendRequest": "100ms"}, "backendRefs": [to("web")]},
            {"matches": [_path("/c")], "timeouts": {"request": "0s"}, "backendRefs": [to("web")]},
        ]
        await scene.route("web", rules)
        assert (await scene.ask(f"{url}/a"))[0] == 504
        assert (await scene.ask(f"{url}/b"))[0] == 504
        asking = asyncio.create_task(scene.ask(f"{url}/c"))
        await until(lambda: _answers(len(upstream.seen) == 3))
        released.set()
        assert await asking == (200, b"late")

    run(scenario)


async def _answers(value: Any) -> Any:
    return value


def test_tokens_pass_one_by_one_and_a_client_that_leaves_is_noticed() -> None:
    async def scenario(scene: Scene) -> None:
        upstream = await scene.upstream("web")
        steps = asyncio.Semaphore(0)

        async def stream(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await response.prepare(request)
            for number in range(1000):
                await steps.acquire()
                await response.write(f"data: {number}\n\n".encode())
            return response

        upstream.answer = stream
        url = await scene.gateway()
        await scene.route("web", [{"backendRefs": [to("web")]}])
        async with scene.session.get(url) as answer:
            assert answer.status == 200  # the head is there before any of the body
            for number in range(5):
                steps.release()
                # The backend goes on only after this one has arrived.
                assert await answer.content.readuntil(b"\n\n") == f"data: {number}\n\n".encode()
            answer.close()
        await asyncio.wait_for(upstream.was_left.wait(), 10)

    run(scenario)


def test_an_upload_passes_while_it_is_made() -> None:
    async def scenario(scene: Scene) -> None:
        upstream = await scene.upstream("web")
        arrived: asyncio.Queue[bytes] = asyncio.Queue()

        async def receive(request: web.Request) -> web.StreamResponse:
            async for chunk in request.content.iter_any():
                arrived.put_nowait(chunk)
            return web.Response(text="whole")

        upstream.answer = receive
        url = await scene.gateway()
        await scene.route("web", [{"filters": [mirror_to("web")], "backendRefs": [to("web")]}])

        async def chunks() -> AsyncIterator[bytes]:
            for number in range(3):
                yield b"%d" % number
                assert await asyncio.wait_for(arrived.get(), 10) == b"%d" % number

        assert await scene.ask(url, method="POST", data=chunks()) == (200, b"whole")

    run(scenario)


def test_half_an_answer_breaks_the_connection() -> None:
    async def scenario(scene: Scene) -> None:
        upstream = await scene.upstream("web")

        async def break_off(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(request)
            await response.write(b"half")
            assert request.transport is not None
            request.transport.abort()
            return response

        upstream.answer = break_off
        url = await scene.gateway()
        await scene.route("web", [{"backendRefs": [to("web")]}])
        with pytest.raises(aiohttp.ClientError):
            await scene.ask(url)

        async def is_counted() -> bool:
            return scene.counts.statuses(RULE) == {0: 1}

        await until(is_counted)

    run(scenario)


def test_answers_without_a_body_and_encoded_ones_pass_as_they_are() -> None:
    packed = gzip.compress(b"text" * 100)

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path == "/packed":
            return web.Response(body=packed, headers={"Content-Encoding": "gzip", "ETag": '"1"'})
        if request.path == "/moved":
            return web.Response(status=302, headers={"Location": "/packed", "Set-Cookie": "a=1"})
        return web.Response(status=int(request.path[1:]), reason="As It Is")

    async def scenario(scene: Scene) -> None:
        upstream = await scene.upstream("web")
        upstream.answer = answer
        url = await scene.gateway()
        await scene.route("web", [{"backendRefs": [to("web")]}])
        asked: list[tuple[str, str, int, bytes, dict[str, str]]] = [
            ("GET", "/packed", 200, packed, {"Content-Encoding": "gzip", "ETag": '"1"'}),
            ("HEAD", "/packed", 200, b"", {"Content-Length": str(len(packed)), "Content-Encoding": "gzip"}),
            ("GET", "/moved", 302, b"", {"Location": "/packed", "Set-Cookie": "a=1"}),
            ("GET", "/204", 204, b"", {}),
            ("GET", "/304", 304, b"", {}),
            ("POST", "/599", 599, b"", {}),
        ]
        async with aiohttp.ClientSession(auto_decompress=False) as session:
            for method, path, status, body, headers in asked:
                async with session.request(method, url + path, allow_redirects=False) as found:
                    assert (found.status, await found.read()) == (status, body), path
                    assert found.headers.items() >= headers.items(), path
                    assert found.reason == "As It Is" or path[1:].isalpha(), path

    run(scenario)


def test_a_client_that_waits_to_be_told_is_told_to_go_on() -> None:
    async def scenario(scene: Scene) -> None:
        await scene.upstream("web")
        url = await scene.gateway()
        await scene.route("web", [{"backendRefs": [to("web")]}])
        host, _, port = url.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        head = f"POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
        writer.write(head.encode())
        assert await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10) == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"ok")
        answer = await asyncio.wait_for(reader.readuntil(b"web ok"), 10)
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        writer.close()

    run(scenario)
