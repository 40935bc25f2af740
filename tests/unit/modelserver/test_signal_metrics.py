"""The simulated server tells all that the presets of vLLM and of OpenAI-style servers read."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import aiohttp
import pytest

from switchyard.adapters.signals.bounded_http import NoAnswer
from switchyard.adapters.signals.exposition import read_terms
from switchyard.catalog.signal_presets import load_signal_presets
from switchyard.sandbox.modelserver import ModelServer, ServerOptions
from switchyard.sandbox.modelserver.faults import Faults
from switchyard.sandbox.modelserver.profile import ServiceProfile

NOW = datetime(2026, 11, 21, tzinfo=UTC)
REQUEST = {"prompt": "x" * 400, "max_tokens": 20}


async def page_after(requests: list[dict[str, object]], faults: Faults | None = None) -> str:
    profile = ServiceProfile(slots=8, base_seconds=0.1, slope_seconds=0, cv2=0)
    server = ModelServer(ServerOptions(profile=profile, host="127.0.0.1", port=0, faults=faults or Faults()))
    await server.start()
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as session:
            for body in requests:
                async with session.post("/v1/completions", json=body) as response:
                    await response.read()
            async with session.get("/metrics") as response:
                return await response.text() if response.status == 200 else ""
    finally:
        await server.stop()


@pytest.mark.parametrize("preset", ["vllm", "openai-http"])
def test_every_term_is_there_before_the_first_request(preset: str) -> None:
    terms = load_signal_presets()[preset].terms()
    values = read_terms(asyncio.run(page_after([])), terms, NOW)
    assert set(values) == {term.name for term in terms}
    assert values["requests.0"] == 0


@pytest.mark.parametrize("is_stream", [False, True])
def test_sizes_and_pace_of_requests_are_told(is_stream: bool) -> None:  # noqa: FBT001 - a parameter of pytest
    page = asyncio.run(page_after([{**REQUEST, "stream": is_stream}] * 2))
    values = read_terms(page, load_signal_presets()["vllm"].terms(), NOW)
    assert values["requests.0"] == 2
    assert (values["input_tokens.sum"], values["input_tokens.count"]) == (200, 2)
    assert (values["output_tokens.sum"], values["output_tokens.count"]) == (40, 2)
    assert values["inter_token.count"] == 2 * 19
    assert values["inter_token.sum"] == pytest.approx(2 * 0.08, rel=0.5)
    assert values["ttft.count"] == 2
    assert values["kv_tokens.times"] == 4096 * 16
    values = read_terms(page, load_signal_presets()["openai-http"].terms(), NOW)
    assert values["requests.0"] == 2


def test_metrics_can_be_hidden_while_requests_are_served() -> None:
    assert asyncio.run(page_after([REQUEST], Faults(metrics_error_ratio=1.0))) == ""
    with pytest.raises(NoAnswer):
        read_terms("vllm:request_success_total{ 1\n", load_signal_presets()["vllm"].terms(), NOW)
