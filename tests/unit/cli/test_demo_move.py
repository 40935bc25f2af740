"""How the demo tells of a move, whom it lets ask, and what it asks of a plan."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from switchyard.api import InferenceWorkload
from switchyard.cli import demo_objects as objects
from switchyard.cli.callers import Caller, Callers, Count
from switchyard.cli.cutover_plan import Plan, read_plan
from switchyard.cli.move_report import Teller, describe_gates, describe_money

FIGURES = (
    "gate errors in segment a: 0 % against 0 %, 58 samples; "
    "gate errors in segment b: 1 % against 0 %, 90 samples; "
    "gate stability: 0 restarts (allowed: at most 1), 1 samples"
)


def entry(phase: str, message: str) -> dict[str, Any]:
    return {"at": "2026-11-21T12:00:00Z", "phase": phase, "reason": "Word", "message": message}


def gate(segment: str, verdict: str, **more: Any) -> dict[str, Any]:
    return {"name": "parity", "segment": segment, "verdict": verdict, "margin": "0.2 below", **more}


def make_plan(phase: str, *history: dict[str, Any], gates: Any = (), **status: Any) -> Plan:
    document = objects.build_plan("neuron", objects.build_workload("neuron"))
    metadata = {**document["metadata"], "generation": 1, "uid": "u"}
    told = {"observedGeneration": 1, "phase": phase, "history": list(history), "gates": list(gates), **status}
    return read_plan({**document, "metadata": metadata, "status": told})


class Telling:
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.got = Count()
        self.at = 100.0
        self.teller = Teller(self.lines.append, lambda: self.got, lambda: self.at)

    def show(self, plan: Plan, *, seconds: float = 1.0, asked: int = 0, failed: int = 0) -> list[str]:
        self.at += seconds
        self.got = self.got.plus(Count(asked, failed))
        before = len(self.lines)
        self.teller.show(plan, "")
        return self.lines[before:]


def test_a_step_is_told_once_with_the_figures_of_every_gate_that_let_it_go_on() -> None:
    telling = Telling()
    shadow = entry("Shadowing", "copies")
    telling.show(make_plan("Shadowing", shadow))
    lines = telling.show(make_plan("Canary", shadow, entry("Canary", f"half of a; passed: {FIGURES}")))
    assert [" ".join(line.split()) for line in lines] == [
        "errors passed: a 0 % against 0 %, 58 samples; b 1 % against 0 %, 90 samples",
        "stability passed: 0 restarts (allowed: at most 1), 1 samples",
        "1.0 s Canary half of a",
    ]
    assert telling.show(make_plan("Canary", shadow, entry("Canary", "half of a")), seconds=0.1) == []


def test_what_the_evidence_lacks_is_told_every_few_seconds() -> None:
    telling = Telling()
    gates = [gate("a", "Pass"), gate("b", "Inconclusive", needed=40, safePercent=60, eta="5s")]
    plan = make_plan("Shadowing", entry("Shadowing", "copies"), gates=gates)
    telling.show(plan)
    assert telling.show(plan, seconds=1) == []
    (line,) = telling.show(plan, seconds=2.5)
    assert line.strip() == (
        "1 of 2 gates are open; parity of b: pass 60 %, rollback 0 %; 40 requests to go, about 5s"
    )


def test_the_way_back_shows_all_gates_and_its_end_does_not_repeat_the_reason() -> None:
    telling = Telling()
    back = entry("RollingBack", "gate parity in segment a: 1 below")
    gates = [
        gate("a", "Fail", observed="1 below", samples=18),
        gate("b", "Pass", observed="0 below", samples=50),
    ]
    lines = telling.show(make_plan("RollingBack", back, gates=gates))
    assert [line.strip() for line in lines[1:]] == [
        "parity  a Fail, 1 below, 18 samples; b Pass, 0 below, 50 samples; allowed 0.2 below"
    ]
    end = entry("RolledBack", f"GateFailed: {back['message']}; all traffic is on the baseline")
    (line,) = telling.show(make_plan("RolledBack", back, end, gates=gates))
    assert line.split(maxsplit=3)[2:] == ["RolledBack", "all traffic is on the baseline"]


def test_what_users_got_is_counted_to_the_phase_that_it_came_in() -> None:
    telling = Telling()
    copies, step = entry("Shadowing", "copies"), entry("Canary", "half")
    telling.show(make_plan("Shadowing", copies), asked=5)
    telling.show(make_plan("Shadowing", copies), asked=7)
    telling.show(make_plan("Canary", copies, step), asked=11)
    telling.show(make_plan("Canary", copies, step), asked=13, failed=2)
    assert telling.teller.by_phase == {"Shadowing": Count(18, 0), "Canary": Count(13, 2)}


@pytest.mark.parametrize(
    ("cost", "told"),
    [
        (None, "the status says nothing of money"),
        (
            {"dualRun": "0.02", "expectedDualRun": "0.01", "savingPerHour": "1.2", "payback": "3h"},
            "both sides cost 0.02 (0.01 expected), saves 1.20 per hour, pays back in 3h",
        ),
        (
            {"dualRun": "0.02", "savingPerHour": "-5.16"},
            "both sides cost 0.02, would cost 5.16 per hour more",
        ),
    ],
)
def test_money_is_told_from_the_status(cost: dict[str, str] | None, told: str) -> None:
    plan = make_plan("Completed", **({"cost": cost} if cost else {}))
    assert describe_money(plan.status) == told


def test_gates_without_any_make_no_lines() -> None:
    assert list(describe_gates([])) == []


def test_the_demos_objects_are_what_the_kinds_take() -> None:
    workload = objects.build_workload(*objects.POOLS)
    spec = InferenceWorkload.model_validate({"spec": workload["spec"]}).spec
    assert [each.name for each in spec.variants] == ["gpu", "neuron", "tpu"]
    for variant in ("neuron", "tpu"):
        plan = objects.build_plan(variant, workload)
        assert plan["spec"]["target"] == {"variant": variant, "pool": objects.POOLS[variant]}
        assert [each["name"] for each in plan["spec"]["segments"]] == ["indexing", "searches"]


def test_the_indexing_job_alone_asks_for_more_than_the_broken_server_can_do() -> None:
    (variant,) = objects.build_workload("tpu")["spec"]["variants"]
    (limit,) = [each for each in variant["container"]["args"] if each.startswith("--wrong-above-inputs=")]
    asked = {each.name: each.body(0)["input"] for each in objects.list_callers()}
    assert isinstance(asked["searches"], str)
    assert len(asked["indexing"]) > int(limit.partition("=")[2])


@asynccontextmanager
async def serving(answer: Any) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post("/ask", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def ask(answer: Any, until: int) -> tuple[Count, dict[str, int]]:
    """What callers counted once so many requests have ended."""

    async def scenario() -> tuple[Count, dict[str, int]]:
        async with serving(answer) as url:
            callers = Callers(url, [Caller("one", 400, "/ask", lambda number: {"number": number})])

            def run() -> Count:
                with callers.asking():
                    deadline = time.monotonic() + 20
                    while callers.count.asked < until and time.monotonic() < deadline:
                        time.sleep(0.005)
                return callers.count

            return await asyncio.to_thread(run), callers.problems

    return asyncio.run(scenario())


def test_callers_count_answers_that_differ_from_earlier_ones_to_the_same_question() -> None:
    seen: dict[int, int] = {}

    async def answer(request: web.Request) -> web.Response:
        number = (await request.json())["number"]
        seen[number] = seen.get(number, 0) + 1
        return web.json_response({"told": seen[number] if number == 3 else number})

    count, _ = ask(answer, until=60)
    assert count.failed == 0
    assert count.changed == seen[3] - 1 > 0


def test_callers_count_failures_by_what_they_were() -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=503 if (await request.json())["number"] % 2 else 200)

    count, problems = ask(answer, until=20)
    assert problems == {"HTTP 503": count.failed}
    assert 0 < count.failed < count.asked
    assert count.changed == 0
