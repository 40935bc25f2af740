"""Pods that serve a page of metrics, a Prometheus that answers from a table, and wants for both."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import web

from switchyard.core.placement.facts import SignalFacts
from switchyard.engine.signals import PodRef, Want

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
CHAT = ("shop", "chat")

Answer = Callable[[web.Request], web.StreamResponse]


@asynccontextmanager
async def serving(answer: Answer) -> AsyncIterator[int]:
    """The port of a server on loopback that answers everything so."""

    async def handle(request: web.Request) -> web.StreamResponse:
        return answer(request)

    app = web.Application(client_max_size=2**20)
    app.router.add_route("*", "/{tail:.*}", handle)
    runner = web.AppRunner(app, shutdown_timeout=0.05)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@asynccontextmanager
async def serving_pods(pages: Mapping[str, str | int]) -> AsyncIterator[int]:
    """The port at which each of these loopback addresses serves its page, or answers with that status."""

    async def handle(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        page = pages[request.transport.get_extra_info("sockname")[0]]
        return web.Response(text=page) if isinstance(page, str) else web.Response(status=page)

    app = web.Application()
    app.router.add_get("/metrics", handle)
    runner = web.AppRunner(app, shutdown_timeout=0.05)
    await runner.setup()
    first, *others = pages
    await web.TCPSite(runner, first, 0).start()
    port = runner.addresses[0][1]
    for address in others:
        await web.TCPSite(runner, address, port).start()
    try:
        yield port
    finally:
        await runner.cleanup()


def pod(
    name: str = "chat-gpu-l4-aaaaa-bbbbb", *, port: int = 8080, address: str = "127.0.0.1", **fields: Any
) -> PodRef:
    """A ready pod of an hour."""
    return PodRef(
        workload=fields.get("workload", CHAT),
        name=name,
        uid=f"uid-{name}",
        address=address,
        port=port,
        variant="gpu",
        pool="l4",
        created_at=fields.get("created_at", NOW - timedelta(hours=1)),
        is_ready=fields.get("is_ready", True),
    )


def want(*pods: PodRef, preset: str = "vllm", window_seconds: float = 60.0, **fields: Any) -> Want:
    signal = SignalFacts(fields.pop("source", ""), preset, fields.pop("template", ""), window_seconds)
    return Want(fields.pop("workload", CHAT), signal, pods, **fields)


def vllm_page(finished: float, running: float = 0.0, waiting: float = 0.0, **others: float) -> str:
    """What a vLLM shows that finished so many requests of 100 tokens in and 50 out."""
    marks = 'model_name="m",engine="0"'
    tokens = others.get("tokens", finished * 49)
    return "\n".join(
        (
            "# TYPE vllm:request_success_total counter",
            f'vllm:request_success_total{{{marks},finished_reason="length"}} {finished / 2}',
            f'vllm:request_success_total{{{marks},finished_reason="stop"}} {finished / 2}',
            "# TYPE vllm:num_requests_running gauge",
            f"vllm:num_requests_running{{{marks}}} {running}",
            "# TYPE vllm:num_requests_waiting gauge",
            f"vllm:num_requests_waiting{{{marks}}} {waiting}",
            "# TYPE vllm:request_prompt_tokens histogram",
            f"vllm:request_prompt_tokens_sum{{{marks}}} {finished * 100}",
            f"vllm:request_prompt_tokens_count{{{marks}}} {finished}",
            "# TYPE vllm:request_generation_tokens histogram",
            f"vllm:request_generation_tokens_sum{{{marks}}} {finished * 50}",
            f"vllm:request_generation_tokens_count{{{marks}}} {finished}",
            "# TYPE vllm:inter_token_latency_seconds histogram",
            f"vllm:inter_token_latency_seconds_sum{{{marks}}} {tokens * 0.02}",
            f"vllm:inter_token_latency_seconds_count{{{marks}}} {tokens}",
            "# TYPE vllm:time_to_first_token_seconds histogram",
            f"vllm:time_to_first_token_seconds_sum{{{marks}}} {finished * 0.3}",
            f"vllm:time_to_first_token_seconds_count{{{marks}}} {finished}",
            "# TYPE vllm:kv_cache_usage_perc gauge",
            f"vllm:kv_cache_usage_perc{{{marks}}} 0.5",
            "# TYPE vllm:cache_config_info gauge",
            'vllm:cache_config_info{num_gpu_blocks="1000",block_size="16",engine="0"} 1.0',
            "",
        )
    )


def vector(*rows: tuple[dict[str, str], float | str], at: datetime = NOW) -> dict[str, Any]:
    """An answer of Prometheus with these series."""
    result = [{"metric": labels, "value": [at.timestamp(), str(value)]} for labels, value in rows]
    return {"status": "success", "data": {"resultType": "vector", "result": result}}


@dataclass
class FakePrometheus:
    """Answers a query by the first entry of `table` whose key occurs in it, else with an empty vector."""

    table: dict[str, Any] = field(default_factory=dict)
    queries: list[str] = field(default_factory=list)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        form = await request.post()
        query = str(form["query"])
        self.queries.append(query)
        found = next((answer for part, answer in self.table.items() if part in query), vector())
        return found if isinstance(found, web.StreamResponse) else web.json_response(found)

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[str]:
        """The URL."""
        app = web.Application()
        app.router.add_post("/api/v1/query", self._answer)
        runner = web.AppRunner(app, shutdown_timeout=0.05)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()
