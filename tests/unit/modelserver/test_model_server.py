from __future__ import annotations

import asyncio
import json
import random
import statistics
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchyard.sandbox.modelserver import ModelServer, outputs, parse_options
from switchyard.sandbox.modelserver.engine import Engine, QueueFullError
from switchyard.sandbox.modelserver.faults import Faults, change_faults
from switchyard.sandbox.modelserver.profile import ServiceProfile, choose_profile

QUICK = [
    "--host",
    "127.0.0.1",
    "--port",
    "0",
    "--base-ms",
    "1",
    "--slope-ms",
    "0",
    "--cv2",
    "0",
    "--slots",
    "4",
]


@asynccontextmanager
async def serving(*args: str, **more: object) -> AsyncIterator[tuple[ModelServer, aiohttp.ClientSession]]:
    server = ModelServer(parse_options([*QUICK, *args], {}), **more)  # type: ignore[arg-type]
    await server.start()
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as session:
            yield server, session
    finally:
        await server.stop()


@pytest.mark.parametrize(
    ("accelerator", "faster_than"),
    [
        ("nvidia-h100-sxm", "nvidia-l4"),
        ("nvidia-l4", "nvidia-t4"),
        ("aws-inferentia2", "aws-inferentia1"),
        ("nvidia-t4", "cpu-plain"),
        ("cpu-amx", "cpu-plain"),
    ],
)
def test_a_better_accelerator_is_faster(accelerator: str, faster_than: str) -> None:
    assert choose_profile(accelerator).base_seconds < choose_profile(faster_than).base_seconds


@given(st.integers(1, 64), st.floats(0, 2), st.floats(0, 0.1), st.integers(1, 64))
def test_the_mean_grows_with_every_busy_neighbour(slots: int, base: float, slope: float, busy: int) -> None:
    profile = ServiceProfile(slots, base, slope, 0.2)
    assert profile.mean_seconds(1) == base
    assert profile.mean_seconds(busy + 1) >= profile.mean_seconds(busy)


def test_sampled_times_have_the_mean_and_variation_of_the_profile() -> None:
    profile = ServiceProfile(1, 0.1, 0.0, 0.5)
    source = random.Random(1)
    samples = [profile.sample_seconds(1, source) for _ in range(20_000)]
    mean = statistics.fmean(samples)
    assert mean == pytest.approx(0.1, rel=0.03)
    assert statistics.pvariance(samples) / mean**2 == pytest.approx(0.5, rel=0.1)


def test_flags_win_over_environment_and_environment_over_the_built_in_profile() -> None:
    env = {"SWITCHYARD_ACCELERATOR": "nvidia-l4", "SWITCHYARD_SLOTS": "3", "SWITCHYARD_BASE_MS": "7"}
    options = parse_options(["--base-ms", "9"], env)
    assert options.profile.slots == 3
    assert options.profile.base_seconds == pytest.approx(0.009)
    assert options.profile.cv2 == choose_profile("nvidia-l4").cv2


@pytest.mark.parametrize(
    ("args", "env", "says"),
    [
        (["--slots", "0"], {}, "slots"),
        (["--error-ratio", "1.5"], {}, "error_ratio"),
        (["--nonsense"], {}, "--nonsense"),
        ([], {"PORT": "eighty"}, "PORT"),
    ],
)
def test_a_bad_option_is_named(args: list[str], env: dict[str, str], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_options(args, env)


@given(st.text(max_size=40), st.integers(0, 5))
def test_outputs_depend_on_prompt_and_seed_alone(prompt: str, seed: int) -> None:
    assert outputs.write_tokens("m", prompt, 12, seed) == outputs.write_tokens("m", prompt, 12, seed)
    assert outputs.write_tokens("m", prompt, 12, seed) != outputs.write_tokens("m", prompt, 12, seed + 1)
    assert sum(x * x for x in outputs.embed("m", prompt, seed=seed)) == pytest.approx(1.0, abs=1e-5)


def test_unknown_faults_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="unknown fault 'slowness'"):
        change_faults(Faults(), {"slowness": 1})


def test_a_tier_that_is_no_text_is_refused() -> None:
    with pytest.raises(ValueError, match="tier must be a text, not 3"):
        change_faults(Faults(), {"tier": 3})


@pytest.mark.parametrize(("faulty", "failed"), [("", ["", "batch", "internal"]), ("internal", ["internal"])])
def test_faults_of_a_tier_leave_the_others_alone(faulty: str, failed: list[str]) -> None:
    async def find_failed() -> list[str]:
        options = parse_options(["--error-ratio=1", "--wrong-ratio=1", f"--faulty-tier={faulty}"], {})
        engine = Engine(ServiceProfile(1, 0.0, 0.0, 0.0), options.faults)
        found = []
        for tier in ("", "batch", "internal"):
            async with engine.enter(tier) as turn:
                assert turn.is_error == turn.is_wrong
                found += [tier] if turn.is_error else []
        return found

    assert asyncio.run(find_failed()) == failed


def test_requests_past_the_slots_wait_in_order_of_arrival() -> None:
    async def scenario() -> None:
        engine = Engine(ServiceProfile(1, 0.0, 0.0, 0.0), Faults(), max_queue=2)
        order: list[int] = []
        release = asyncio.Event()

        async def request(number: int) -> None:
            async with engine.enter():
                order.append(number)
                await release.wait()

        tasks = []
        for number in range(3):
            tasks.append(asyncio.create_task(request(number)))
            await asyncio.sleep(0)
        assert (engine.running, engine.waiting) == (1, 2)
        with pytest.raises(QueueFullError):
            async with engine.enter():
                pass
        tasks[1].cancel()
        release.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert order == [0, 2]
        assert (engine.running, engine.waiting) == (0, 0)

    asyncio.run(scenario())


def test_completions_repeat_for_the_same_prompt_and_stream_the_same_text() -> None:
    async def scenario() -> None:
        async with serving() as (_, session):
            body = {"model": "sim", "prompt": "hello", "max_tokens": 5}
            texts = []
            for _ in range(2):
                async with session.post("/v1/completions", json=body) as answer:
                    assert answer.status == 200
                    texts.append((await answer.json())["choices"][0]["text"])
            assert texts[0] == texts[1]
            streamed = ""
            async with session.post("/v1/completions", json={**body, "stream": True}) as answer:
                assert answer.content_type == "text/event-stream"
                lines = [line async for line in answer.content if line.strip()]
            assert lines[-1].strip() == b"data: [DONE]"
            for line in lines[:-1]:
                streamed += json.loads(line.removeprefix(b"data: "))["choices"][0]["text"]
            assert streamed == texts[0]

    asyncio.run(scenario())


def test_chat_embeddings_and_predict_answer_in_their_forms() -> None:
    async def scenario() -> None:
        async with serving() as (_, session):
            chat = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 3}
            async with session.post("/v1/chat/completions", json=chat) as answer:
                assert (await answer.json())["choices"][0]["message"]["role"] == "assistant"
            async with session.post("/v1/embeddings", json={"input": ["a", "b"]}) as answer:
                assert [len(d["embedding"]) for d in (await answer.json())["data"]] == [64, 64]
            async with session.post("/predict", json={"instances": [[1, 2], [3, 4]]}) as answer:
                assert len((await answer.json())["predictions"]) == 2
            for path, bad in [
                ("/v1/completions", {}),
                ("/v1/chat/completions", {"messages": []}),
                ("/predict", []),
            ]:
                async with session.post(path, json=bad) as answer:
                    assert answer.status == 400, path
                    assert "message" in (await answer.json())["error"]

    asyncio.run(scenario())


def test_faults_switched_at_run_time_show_in_answers_and_metrics() -> None:
    async def scenario() -> None:
        async with serving() as (_, session):
            body = {"prompt": "x"}
            async with session.post("/v1/completions", json=body) as answer:
                right = (await answer.json())["choices"][0]["text"]
            async with session.post("/admin/faults", json={"wrong_ratio": 1.0}) as answer:
                assert (await answer.json())["wrong_ratio"] == 1.0
            async with session.post("/v1/completions", json=body) as answer:
                assert (await answer.json())["choices"][0]["text"] != right
            async with session.post("/admin/faults", json={"error_ratio": 1.0}) as answer:
                assert answer.status == 200
            async with session.post("/v1/completions", json=body) as answer:
                assert answer.status == 500
            async with session.post("/admin/faults", json={"error_ratio": 2}) as answer:
                assert answer.status == 400
            async with session.get("/metrics") as answer:
                text = await answer.text()
            assert (
                'vllm:request_success_total{engine="0",finished_reason="error",model_name="sim"} 1.0' in text
            )
            assert 'vllm:e2e_request_latency_seconds_count{engine="0",model_name="sim"} 3.0' in text
            assert 'http_requests_total{handler="/v1/completions",method="POST",status="5xx"} 1.0' in text

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("path", "field", "answers"),
    [
        ("/v1/embeddings", "input", "data"),
        ("/v1/completions", "prompt", "choices"),
        ("/predict", "instances", "predictions"),
    ],
)
def test_outputs_are_wrong_only_where_a_request_brings_more_inputs_than_the_fault_allows(
    path: str, field: str, answers: str
) -> None:
    async def ask(inputs: list[str], *args: str) -> object:
        async with serving(*args) as (_, session), session.post(path, json={field: inputs}) as answer:
            assert answer.status == 200
            return (await answer.json())[answers]

    async def scenario() -> None:
        limit = ("--wrong-above-inputs", "2")
        assert await ask(["a", "b"], *limit) == await ask(["a", "b"])
        assert await ask(["a", "b", "c"], *limit) != await ask(["a", "b", "c"])

    asyncio.run(scenario())


def test_a_cold_server_is_not_healthy_and_refuses_work() -> None:
    async def scenario() -> None:
        async with serving("--cold-start-seconds", "60") as (_, session):
            async with session.get("/healthz") as answer:
                assert answer.status == 503
            async with session.post("/predict", json={"a": 1}) as answer:
                assert answer.status == 503

    asyncio.run(scenario())


def test_a_leaking_server_dies_at_its_memory_limit() -> None:
    async def scenario() -> None:
        died: list[tuple[int, str]] = []
        import dataclasses

        options = parse_options([*QUICK, "--leak-bytes-per-request", str(200 * 2**20)], {})
        server = ModelServer(
            dataclasses.replace(options, memory_limit_bytes=512 * 2**20),
            on_exit=lambda code, reason: died.append((code, reason)),
        )
        await server.start()
        try:
            async with aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as session:
                for _ in range(2):
                    async with session.post("/predict", json={"a": 1}):
                        pass
        finally:
            await server.stop()
        assert died == [(137, "OOMKilled")]

    asyncio.run(scenario())


def test_many_servers_share_one_process() -> None:
    async def scenario() -> None:
        servers = [ModelServer(parse_options([*QUICK, "--model", f"m{i}"], {})) for i in range(30)]
        await asyncio.gather(*(server.start() for server in servers))
        assert len({server.port for server in servers}) == 30
        async with aiohttp.ClientSession() as session:
            for i in (0, 29):
                async with session.get(f"http://127.0.0.1:{servers[i].port}/v1/models") as answer:
                    assert (await answer.json())["data"][0]["id"] == f"m{i}"
        await asyncio.gather(*(server.stop() for server in servers))

    asyncio.run(scenario())
