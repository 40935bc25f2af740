"""A whole measurement in simulated time, against a simulated engine whose parameters are known."""

from __future__ import annotations

import asyncio
import math
import selectors
from collections import deque
from collections.abc import Coroutine
from typing import Any

import pytest

from switchyard.core.placement.latency import Objective, TokensProfile, Traffic, max_rate
from switchyard.profiling.endpoint import Endpoint
from switchyard.profiling.exchange import Answer, Question
from switchyard.profiling.fitting import find_batch, fit_points, fit_tokens
from switchyard.profiling.load import Phase, arrive
from switchyard.profiling.phases import Plan, Run

TRUE = TokensProfile(0.020, 0.0008, 0.00004, 0.0, max_batch=12, max_batched_tokens=2048)
ENDPOINT = Endpoint("http://engine", "/v1/completions", "sim", {})


class _Clock(selectors.DefaultSelector):
    """Waits by moving the clock on."""

    now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        found = super().select(0)
        if not found and timeout:
            self.now += timeout
        return found


def run_in_simulated_time(work: Coroutine[Any, Any, None]) -> None:
    clock = _Clock()
    loop = asyncio.SelectorEventLoop(clock)
    loop.time = lambda: clock.now  # type: ignore[method-assign]
    try:
        loop.run_until_complete(work)
    finally:
        loop.close()


class Engine:
    """Iterates over the running sequences: a token each, and whole prompts beside them."""

    def __init__(self, profile: TokensProfile) -> None:
        self._profile = profile
        self._waiting: deque[tuple[Answer, int, asyncio.Event]] = deque()
        self._running: list[tuple[Answer, int, asyncio.Event]] = []
        self._task: asyncio.Task[None] | None = None

    async def ask(self, question: Question, due: float) -> Answer:
        body = question.body or {}
        clock = asyncio.get_running_loop().time
        answer = Answer(due=due, sent=clock(), input_tokens=len(body["prompt"].split()))
        done = asyncio.Event()
        self._waiting.append((answer, body["max_tokens"], done))
        if self._task is None or self._task.done():
            self._task = asyncio.ensure_future(self._iterate())
        await done.wait()
        answer.ended, answer.output_tokens = clock(), len(answer.token_times)
        return answer

    async def _iterate(self) -> None:
        clock, profile = asyncio.get_running_loop().time, self._profile
        while self._waiting or self._running:
            fresh = []
            while self._waiting and len(self._running) + len(fresh) < profile.max_batch:
                fresh.append(self._waiting.popleft())
            prompts = sum(answer.input_tokens or 0 for answer, _, _ in fresh)
            await asyncio.sleep(
                profile.iteration_seconds
                + profile.per_sequence_seconds * len(self._running)
                + profile.per_prefill_token_seconds * prompts
            )
            self._running += fresh
            for each in list(self._running):
                each[0].token_times.append(clock())
                if len(each[0].token_times) == each[1]:
                    self._running.remove(each)
                    each[2].set()


def measure(plan: Plan, client: Any) -> Run:
    run = Run(client, ENDPOINT, plan, lambda _line: None)
    run_in_simulated_time(run.measure())
    return run


def test_a_language_model_is_measured_to_its_parameters_and_promised_rate() -> None:
    plan = Plan(duration_seconds=120, max_callers=24, input_tokens=200, output_tokens=40)
    run = measure(plan, Engine(TRUE))
    traffic = Traffic(200, 0, 40, 0)
    fitted = fit_tokens(run.found.phases, TRUE, traffic)
    assert isinstance(fitted.profile, TokensProfile)
    assert fitted.profile.iteration_seconds == pytest.approx(TRUE.iteration_seconds, rel=0.08)
    assert fitted.profile.per_sequence_seconds == pytest.approx(TRUE.per_sequence_seconds, rel=0.15)
    assert fitted.profile.per_prefill_token_seconds == pytest.approx(TRUE.per_prefill_token_seconds, rel=0.20)
    objectives = (Objective(95, 3.0),)
    assert max_rate(fitted.profile, objectives, traffic=traffic).rate == pytest.approx(
        max_rate(TRUE, objectives, traffic=traffic).rate, rel=0.08
    )
    assert find_batch(run.found.phases) == (12, True)


def test_latency_counts_from_the_moment_a_request_was_due_though_the_client_was_late() -> None:
    class Stuck:
        async def ask(self, question: Question, due: float) -> Answer:
            clock = asyncio.get_running_loop().time
            answer = Answer(due=due, sent=clock() + 0.5)
            answer.ended = answer.sent + 0.1
            return answer

    phase = Phase("peak", rate=5.0)

    async def work() -> None:
        await arrive(Stuck(), lambda: Question("/"), phase, 10.0)

    run_in_simulated_time(work())
    assert phase.answers
    assert min(answer.latency_seconds for answer in phase.answers) == pytest.approx(0.6)
    assert min(answer.late_seconds for answer in phase.answers) == pytest.approx(0.5)


def test_no_slow_answer_holds_back_a_later_request() -> None:
    class Slow:
        async def ask(self, question: Question, due: float) -> Answer:
            answer = Answer(due=due, sent=asyncio.get_running_loop().time())
            await asyncio.sleep(100.0)
            answer.ended = asyncio.get_running_loop().time()
            return answer

    phase = Phase("peak", rate=20.0)

    async def work() -> None:
        await arrive(Slow(), lambda: Question("/"), phase, 10.0)

    run_in_simulated_time(work())
    assert 140 < len(phase.answers) < 260
    assert all(answer.late_seconds < 1e-6 for answer in phase.answers)


class Failing:
    """Answers alone, fails in company."""

    def __init__(self) -> None:
        self._flying = 0

    async def ask(self, question: Question, due: float) -> Answer:
        clock = asyncio.get_running_loop().time
        answer = Answer(due=due, sent=clock())
        self._flying += 1
        answer.problem = "HTTP 503" if self._flying > 3 else ""
        await asyncio.sleep(0.05)
        self._flying -= 1
        answer.ended = clock()
        return answer


def test_load_stops_growing_when_a_tenth_of_requests_fail() -> None:
    run = measure(Plan(duration_seconds=60, body={"x": 1}, max_callers=64), Failing())
    assert max(phase.callers for phase in run.found.phases) <= 8
    assert any("of requests failed, the first with HTTP 503" in text for text in run.found.warnings)


def test_points_are_taken_at_rising_rates_without_the_failing_ones() -> None:
    run = measure(Plan(duration_seconds=60, body={"x": 1}, max_callers=64), Failing())
    fitted = fit_points(run.found.phases)
    rates = [point.rate for point in fitted.profile.points]  # type: ignore[union-attr]
    assert rates == sorted(rates)
    assert all(math.isclose(point.p50_seconds, 0.05, rel_tol=0.01) for point in fitted.profile.points)  # type: ignore[union-attr]


class Strict(Engine):
    """Refuses fields beyond the standard."""

    async def ask(self, question: Question, due: float) -> Answer:
        if "ignore_eos" in (question.body or {}):
            now = asyncio.get_running_loop().time()
            return Answer(due=due, sent=now, ended=now, problem="HTTP 400: unknown field ignore_eos")
        return await super().ask(question, due)


def test_a_server_that_knows_only_standard_fields_is_measured_with_a_warning() -> None:
    run = measure(Plan(duration_seconds=20, max_callers=8, output_tokens=10), Strict(TRUE))
    assert all(not phase.stopped for phase in run.found.phases)
    assert any("neither ignore_eos nor stream_options" in text for text in run.found.warnings)
