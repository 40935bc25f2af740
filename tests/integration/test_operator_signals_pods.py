"""Demand from the pods themselves: each way to fail is told and none is taken for zero."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest
from aiohttp import web

from switchyard.adapters.signals.bounded_http import Bounds
from switchyard.adapters.signals.scrape import PodScraper
from switchyard.catalog.signal_presets import load_signal_presets
from switchyard.engine.signals import Measured, PodRef

from .operator_fakes import run
from .signal_fakes import NOW, Answer, pod, serving, vllm_page, want

STEP_SECONDS = 15


def at(look: int) -> datetime:
    return NOW + timedelta(seconds=look * STEP_SECONDS)


def text(page: str, **fields: object) -> web.Response:
    return web.Response(text=page, **fields)  # type: ignore[arg-type]


class Page:
    """A page that the test turns over between looks."""

    def __init__(self, page: str = "") -> None:
        self.page = page
        self.asked: list[str] = []

    def __call__(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path)
        return text(self.page)


def scraper(**bounds: float) -> PodScraper:
    return PodScraper(load_signal_presets(), Bounds(**bounds) if bounds else Bounds())  # type: ignore[arg-type]


def look_once(answer: Answer, *, bounds: Bounds | None = None, preset: str = "vllm") -> Measured:
    """What the first looks say of one pod that answers so."""

    async def scenario() -> Measured:
        async with serving(answer) as port:
            source = PodScraper(load_signal_presets(), bounds or Bounds())
            found = Measured()
            for look in range(4):
                (found,) = await source.measure([want(pod(port=port), preset=preset)], at(look))
            return found

    found: Measured = run(scenario())
    return found


def looks(pages: Sequence[str], **fields: object) -> list[Measured]:
    """What each look says of one pod that shows these pages one after the other."""

    async def scenario() -> list[Measured]:
        shown = Page()
        async with serving(shown) as port:
            source, found = scraper(), []
            for number, page in enumerate(pages):
                shown.page = page
                found += await source.measure([want(pod(port=port), **fields)], at(number))  # type: ignore[arg-type]
            return found

    found: list[Measured] = run(scenario())
    return found


def test_the_rate_and_the_sizes_come_from_differences() -> None:
    found = looks([vllm_page(1000 + 30 * number) for number in range(6)])
    assert [each.is_waiting for each in found] == [True, True, False, False, False, False]
    assert found[1].figures.requests_per_second is None
    figures = found[-1].figures
    assert figures.requests_per_second == pytest.approx(2.0)
    assert (figures.input_tokens, figures.output_tokens) == (pytest.approx(100), pytest.approx(50))
    assert (figures.inter_token_seconds, figures.ttft_seconds) == (pytest.approx(0.02), pytest.approx(0.3))


def test_requests_that_came_and_have_not_ended_count() -> None:
    found = looks([vllm_page(1000 + 15 * number, running=8, waiting=15.0 * number) for number in range(6)])
    assert found[-1].figures.requests_per_second == pytest.approx(2.0)


def test_a_restart_makes_no_jump() -> None:
    found = looks([vllm_page(count) for count in (1000, 1030, 1060, 30, 60, 90)])
    assert found[-1].figures.requests_per_second == pytest.approx(2.0)


def test_no_requests_are_zero_and_have_no_size() -> None:
    found = looks([vllm_page(0)] * 6)
    assert found[-1].problem == ""
    assert found[-1].figures.requests_per_second == 0
    assert found[-1].figures.input_tokens is None


def test_a_declared_metric_without_a_sample_had_no_event_yet() -> None:
    page = "# TYPE http_requests_total counter\n"
    more = page + 'http_requests_total{handler="/v1/completions",method="POST",status="2xx"} 30\n'
    others = more + 'http_requests_total{handler="/health",method="GET",status="2xx"} 999\n'
    found = looks([page, page, page, more, others], preset="openai-http")
    assert found[2].figures.requests_per_second == 0
    assert found[-1].figures.requests_per_second == pytest.approx(30 / 60)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (lambda _: web.Response(status=503, text="secret"), "HTTP 503"),
        (lambda _: web.Response(status=302, headers={"Location": "/elsewhere"}), "HTTP 302"),
        (lambda _: text("other_metric 1\n"), "has no vllm:request_success_total; is vllm the right preset?"),
        (lambda _: text(vllm_page(1).replace("} 0.5", "} NaN")), "vllm:request_success_total is nan"),
        (lambda _: text(vllm_page(1).replace("} 0.5", "} +Inf")), "vllm:request_success_total is inf"),
        (lambda _: text('vllm:request_success_total{model="} 1\n'), "not in the Prometheus text format"),
        (lambda _: text('vllm:request_success_total{a="b"} one\n'), "not in the Prometheus text format"),
        (
            lambda _: text(vllm_page(1).replace("} 0.5", f"}} 0.5 {int((NOW.timestamp() - 400) * 1000)}")),
            "vllm:request_success_total is older than 300 s",
        ),
        (lambda _: web.Response(body=b"\xff\xfe\x00"), "no text"),
        (
            lambda _: web.Response(body=b"x", headers={"Content-Encoding": "gzip"}),
            "compressed",
        ),
    ],
    ids=[
        "an error", "a redirect", "another engine", "NaN", "infinite", "cut off", "no number", "stale",
        "no text", "compressed",
    ],
)  # fmt: skip
def test_a_page_that_can_not_be_used_is_told_with_the_pod(answer: Answer, told: str) -> None:
    found = look_once(answer)
    assert found.problem.startswith("pod chat-gpu-l4-aaaaa-bbbbb: ")
    assert told in found.problem
    assert "secret" not in found.problem
    assert found.figures.requests_per_second is None


def test_a_redirect_is_not_followed() -> None:
    asked: list[str] = []

    def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(status=302, headers={"Location": "/elsewhere"})

    look_once(answer)
    assert set(asked) == {"/metrics"}


def test_a_page_without_end_is_cut_and_a_slow_one_is_left() -> None:
    big = look_once(lambda _: text("# x\n" * 5000), bounds=Bounds(most_bytes=1000))
    assert "more than 1000 bytes" in big.problem

    async def scenario() -> Measured:
        released = asyncio.Event()

        async def hang(_: web.Request) -> web.Response:
            await released.wait()
            return web.Response()

        app = web.Application()
        app.router.add_get("/metrics", hang)
        runner = web.AppRunner(app, shutdown_timeout=0.05)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            source = PodScraper(load_signal_presets(), Bounds(timeout_seconds=0.2))
            (found,) = await source.measure([want(pod(port=runner.addresses[0][1]))], NOW)
            return found
        finally:
            released.set()
            await runner.cleanup()

    slow: Measured = run(scenario())
    assert "no answer within 0.2 s" in slow.problem


@pytest.mark.parametrize(
    "address",
    ["169.254.169.254", "fe80::1", "::ffff:169.254.169.254", "0.0.0.0", "224.0.0.1", "not an address"],
)
def test_addresses_that_no_pod_has_are_never_asked(address: str) -> None:
    async def scenario() -> Measured:
        (found,) = await scraper().measure([want(pod(address=address))], NOW)
        return found

    assert "its address is" in run(scenario()).problem


def test_a_workload_without_pods_has_no_demand_that_is_known() -> None:
    async def scenario() -> Measured:
        (found,) = await scraper().measure([want()], NOW)
        return found

    assert "no pod of the workload runs" in run(scenario()).problem


@pytest.mark.parametrize(
    ("preset", "told"),
    [("istio", "name a metric source"), ("", "no preset says"), ("mine", "there is no preset mine")],
)
def test_a_preset_that_pods_can_not_answer_is_told(preset: str, told: str) -> None:
    async def scenario() -> Measured:
        (found,) = await scraper().measure([want(pod(), preset=preset)], NOW)
        return found

    assert told in run(scenario()).problem


def steps_of_two(
    script: Sequence[tuple[PodRef | None, PodRef | None]], pages: Sequence[tuple[str, str]]
) -> list[Measured]:
    """Looks at two pods that come and go; each has a page per look ("" for an error)."""

    async def scenario() -> list[Measured]:
        shown = [Page(), Page()]

        def answer(page: Page) -> Answer:
            return lambda _: text(page.page) if page.page else web.Response(status=500)

        async with serving(answer(shown[0])) as one, serving(answer(shown[1])) as other:
            source, found = scraper(), []
            for number, (pods, texts) in enumerate(zip(script, pages, strict=True)):
                shown[0].page, shown[1].page = texts
                there = [
                    PodRef(**{**{f: getattr(each, f) for f in each.__slots__}, "port": port})
                    for each, port in zip(pods, (one, other), strict=True)
                    if each is not None
                ]
                found += await source.measure([want(*there)], at(number))
            return found

    found: list[Measured] = run(scenario())
    return found


def test_a_pod_that_came_counts_from_zero_and_one_that_left_still_counts() -> None:
    old, new = pod("old"), pod("new", created_at=at(2))
    script = [(old, None), (old, None), (old, None), (old, new), (None, new)]
    pages = [
        (vllm_page(1000), ""),
        (vllm_page(1030), ""),
        (vllm_page(1060), ""),
        (vllm_page(1075), vllm_page(15)),
        ("", vllm_page(45)),
    ]
    assert steps_of_two(script, pages)[-1].figures.requests_per_second == pytest.approx(2.0)


def test_a_pod_that_was_there_before_us_does_not_bring_its_past() -> None:
    one, other = pod("one"), pod("other", created_at=NOW - timedelta(days=1))
    script = [(one, None), (one, None), (one, other), (one, other)]
    pages = [
        (vllm_page(10), ""),
        (vllm_page(40), ""),
        (vllm_page(70), vllm_page(10**6)),
        (vllm_page(100), vllm_page(10**6)),
    ]
    assert steps_of_two(script, pages)[-1].figures.requests_per_second == pytest.approx(2.0)


def test_a_short_silence_of_one_pod_is_bridged_and_a_long_one_is_told() -> None:
    one, other = pod("one"), pod("other")
    pages = [(vllm_page(30 * number), vllm_page(30 * number)) for number in range(5)]
    silent = [(vllm_page(30 * number), "") for number in range(5, 9)]
    back = [(vllm_page(30 * number), vllm_page(30 * number)) for number in range(9, 12)]
    found = steps_of_two([(one, other)] * 12, [*pages, *silent, *back])
    assert [bool(each.problem) for each in found[4:9]] == [False, False, False, True, True]
    assert found[5].figures.requests_per_second == pytest.approx(4.0)
    assert found[8].problem == "pod other: HTTP 500"
    assert found[-1].figures.requests_per_second == pytest.approx(4.0)


@pytest.mark.parametrize(
    "fields", [{"is_ready": False}, {"created_at": NOW + timedelta(seconds=10)}], ids=["not ready", "young"]
)
def test_a_pod_that_need_not_answer_yet_is_not_missed(fields: dict[str, object]) -> None:
    one, other = pod("one"), pod("other", **fields)
    found = steps_of_two([(one, other)] * 3, [(vllm_page(30 * number), "") for number in range(3)])
    assert (found[1].is_waiting, found[1].problem) == (True, "")
    assert found[2].figures.requests_per_second == pytest.approx(2.0)


def test_after_a_long_silence_the_growth_of_all_that_time_is_no_peak() -> None:
    async def scenario() -> Measured:
        shown = Page(vllm_page(0))
        async with serving(shown) as port:
            source = scraper()
            wants = [want(pod(port=port))]
            await source.measure(wants, at(0))
            shown.page = "nothing"
            for number in range(1, 41):
                await source.measure(wants, at(number))
            shown.page = vllm_page(2 * 41 * STEP_SECONDS)
            (found,) = await source.measure(wants, at(41))
            return found

    assert run(scenario()).figures.requests_per_second == pytest.approx(2.0, rel=0.05)


def test_every_minute_of_a_replica_is_a_sample_for_learning() -> None:
    found = looks(
        [vllm_page(30 * number, running=6, tokens=1000 * number) for number in range(9)], is_learning=True
    )
    samples = [sample for each in found for sample in each.samples]
    assert [sample.at for sample in samples] == [at(4), at(8)]
    sample = samples[0]
    assert (sample.variant, sample.pool, sample.is_warm) == ("gpu", "l4", True)
    assert sample.running == 6
    assert sample.request_rate == pytest.approx(2.0)
    assert sample.inter_token_seconds == pytest.approx(0.02)
    assert sample.kv_tokens == pytest.approx(0.5 * 1000 * 16)


def test_a_minute_with_a_restart_or_of_a_young_replica_is_not_warm() -> None:
    counts = [30, 60, 90, 10, 40, 70, 100, 130]
    found = looks([vllm_page(count, tokens=100 * count) for count in counts], is_learning=True)
    assert [sample.is_warm for each in found for sample in each.samples] == [False]
