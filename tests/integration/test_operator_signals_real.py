"""Demand through a real Prometheus that scrapes simulated servers: our queries, its answers."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
import yaml
from e2e.providers.programs import free_port

from switchyard.adapters.signals.bounded_http import NoAnswer
from switchyard.adapters.signals.opencost import PriceSource
from switchyard.adapters.signals.prometheus import PrometheusSource
from switchyard.catalog.signal_presets import load_signal_presets
from switchyard.engine.settings import MetricSource, MetricTemplate
from switchyard.engine.signals import Measured, Want
from switchyard.sandbox.modelserver import ModelServer, ServerOptions
from switchyard.sandbox.modelserver.profile import ServiceProfile

from .operator_fakes import run
from .signal_fakes import pod, serving, want

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="there is no prometheus"),
]

RATE = 40.0
WINDOW_SECONDS = 6.0
PATIENCE_SECONDS = 60.0
TEMPLATE = MetricTemplate(
    name="by-pod",
    query='sum(rate(vllm:request_success_total{namespace="{namespace}",pod=~"{workload}-.*"}[{window}]))',
)


@asynccontextmanager
async def prometheus(directory: Path, targets: dict[str, int]) -> AsyncIterator[str]:
    """The URL of a Prometheus that scrapes pods of the namespace shop every second."""
    jobs = [
        {"targets": [f"127.0.0.1:{port}"], "labels": {"namespace": "shop", "pod": name}}
        for name, port in targets.items()
    ]
    config = directory / "prometheus.yml"
    config.write_text(
        yaml.safe_dump(
            {
                "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
                "scrape_configs": [{"job_name": "pods", "static_configs": jobs}],
            }
        )
    )
    port = free_port()
    with (directory / "prometheus.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            "prometheus",
            f"--config.file={config}",
            f"--storage.tsdb.path={directory / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            stdout=log,
            stderr=log,
        )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        await process.wait()


@asynccontextmanager
async def server(seed: int) -> AsyncIterator[ModelServer]:
    profile = ServiceProfile(slots=64, base_seconds=0.05, slope_seconds=0.0, cv2=0.0)
    made = ModelServer(ServerOptions(profile=profile, host="127.0.0.1", port=0, seed=seed))
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


async def drive(ports: list[int]) -> None:
    """RATE requests per second over all servers, for ever."""
    loop = asyncio.get_running_loop()
    body = {"prompt": "x" * 400, "max_tokens": 20}
    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as tasks:

        async def send(port: int) -> None:
            async with session.post(f"http://127.0.0.1:{port}/v1/completions", json=body) as response:
                await response.read()

        start, count = loop.time(), 0
        while True:
            await asyncio.sleep(max(0.0, start + count / RATE - loop.time()))
            tasks.create_task(send(ports[count % len(ports)]))
            count += 1


async def ask_until(source: PrometheusSource, wants: list[Want], is_so: object) -> list[Measured]:
    """The first answers for which it is so. AssertionError with the last ones."""
    deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
    while True:
        answers = list(await source.measure(wants, datetime.now(UTC)))
        if is_so(answers):  # type: ignore[operator]
            return answers
        assert asyncio.get_running_loop().time() < deadline, answers
        await asyncio.sleep(0.5)


def test_the_rate_and_sizes_that_were_driven_come_back_and_an_outage_is_told(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with server(1) as one, server(2) as other:
            names = {"chat-gpu-l4-a-1": one.port, "chat-gpu-l4-a-2": other.port}
            async with prometheus(tmp_path, names) as url:
                source = PrometheusSource(
                    MetricSource(name="main", url=url), load_signal_presets(), {"by-pod": TEMPLATE}
                )
                created_at = datetime.now(UTC) - timedelta(hours=1)
                pods = [pod(name, created_at=created_at) for name in names]
                common = {"source": "main", "window_seconds": WINDOW_SECONDS}
                wants = [
                    want(*pods, is_learning=True, **common),
                    want(*pods, preset="openai-http", **common),
                    want(*pods, preset="", template="by-pod", **common),
                    want(*pods, preset="sglang", **common),
                ]
                traffic = asyncio.create_task(drive([one.port, other.port]))
                close = pytest.approx(RATE, rel=0.15)
                answers = await ask_until(
                    source,
                    wants,
                    lambda found: all(each.figures.requests_per_second == close for each in found[:3]),
                )
                first = answers[0].figures
                assert first.input_tokens == pytest.approx(100, rel=0.02)
                assert first.output_tokens == pytest.approx(20, rel=0.02)
                assert first.inter_token_seconds == pytest.approx(0.04 / 19, rel=0.3)
                assert answers[3].problem.startswith("source main: no sglang:num_requests_total")
                assert answers[3].figures.requests_per_second is None

                source._sampled_at.clear()
                (taught, *_) = await source.measure(wants[:1], datetime.now(UTC))
                assert {sample.pool for sample in taught.samples} == {"l4"}
                assert len(taught.samples) == 2
                sample = taught.samples[0]
                assert sample.is_warm
                assert 0 < sample.running < 3
                assert sample.input_tokens == pytest.approx(100, rel=0.02)
                assert sample.kv_tokens is not None

                await other.stop()
                lost = await ask_until(source, wants[:1], lambda found: found[0].problem != "")
                assert "of pod chat-gpu-l4-a-2 within 300 s" in lost[0].problem
                assert lost[0].figures.requests_per_second is None
                traffic.cancel()
                await asyncio.gather(traffic, return_exceptions=True)

    run(scenario())


def test_node_prices_of_opencost_come_through_prometheus(tmp_path: Path) -> None:
    from aiohttp import web

    page = (
        "# TYPE node_gpu_hourly_cost gauge\n"
        'node_gpu_hourly_cost{node="n1",instance="n1"} 0.75\n'
        'node_gpu_hourly_cost{node="n2",instance="n2"} 0\n'
    )

    async def scenario() -> None:
        async with (
            serving(lambda _: web.Response(text=page)) as port,
            prometheus(tmp_path, {"opencost": port}) as url,
            asyncio.timeout(PATIENCE_SECONDS),
        ):
            prices = PriceSource(MetricSource(name="main", url=url))
            found: dict[str, float] = {}
            while not found:
                try:
                    found = await prices.fetch(datetime.now(UTC))
                except NoAnswer:
                    await asyncio.sleep(0.5)
            assert found == {"n1": 0.75}

    run(scenario())
