"""Metric sources are asked one constant question, never with our credentials, and never followed elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import aiohttp
from aiohttp import web

from switchyard.adapters.metric_sources import MetricSourceProbe, probe
from switchyard.engine.settings import MetricSource

from .operator_fakes import run


async def ask(handler: Callable[[web.Request], web.StreamResponse], token_file: str | None = None) -> str:
    """The outcome of one probe of a server that answers so."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return handler(request)

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        source = MetricSource(name="main", url=url, token_file=token_file)
        async with aiohttp.ClientSession(trust_env=False) as session:
            return await probe(session, source)
    finally:
        await runner.cleanup()


def test_a_source_that_answers_is_up_and_was_asked_without_credentials() -> None:
    seen: list[web.Request] = []

    def handler(request: web.Request) -> web.Response:
        seen.append(request)
        return web.json_response({"status": "success"})

    assert run(ask(handler)) == ""
    assert seen[0].path_qs == "/api/v1/query?query=vector(1)"
    assert "Authorization" not in seen[0].headers


def test_the_token_of_its_own_file_is_sent(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("secret\n")
    seen: list[str] = []

    def handler(request: web.Request) -> web.Response:
        seen.append(request.headers["Authorization"])
        return web.Response()

    assert run(ask(handler, str(token))) == ""
    assert seen == ["Bearer secret"]


def test_a_redirect_is_not_followed() -> None:
    asked: list[str] = []

    def handler(request: web.Request) -> web.Response:
        asked.append(request.path)
        raise web.HTTPFound("/elsewhere")

    assert run(ask(handler)) == "HTTP 302"
    assert asked == ["/api/v1/query"]


def test_an_answer_is_told_by_its_status_alone() -> None:
    assert run(ask(lambda _: web.Response(status=500, text="internal secret"))) == "HTTP 500"


def test_a_missing_token_file_is_told_and_nothing_is_sent() -> None:
    asked: list[str] = []

    def handler(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response()

    assert run(ask(handler, "/does/not/exist")) == "FileNotFoundError"
    assert asked == []


def test_a_source_that_is_not_there_is_down_and_told_once() -> None:
    source = MetricSource(name="gone", url="http://127.0.0.1:9")
    results: list[tuple[str, bool]] = []
    watcher = MetricSourceProbe(
        (source,), lambda name, is_up: results.append((name, is_up)), interval_seconds=0.01
    )

    async def scenario() -> None:
        import asyncio

        task = asyncio.create_task(watcher.run())
        async with asyncio.timeout(10):
            while len(results) < 3:  # noqa: ASYNC110 - polls with a deadline
                await asyncio.sleep(0.01)
        task.cancel()

    run(scenario())
    assert set(results) == {("gone", False)}
