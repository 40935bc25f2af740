"""The probes: what a restart would cure fails /healthz, what makes the picture bad fails /readyz."""

from __future__ import annotations

from dataclasses import dataclass

import aiohttp

from switchyard.adapters.audit import WatchAudit
from switchyard.adapters.health import Health, render, serve
from switchyard.adapters.metrics import Metrics

from .operator_fakes import FakeApi, memory_with, run

RESYNC_SECONDS = 60.0


@dataclass
class Rig:
    seconds: float = 1000.0
    leads: bool = True
    elected: bool = True
    looked_at: float = 1000.0
    cut_off: bool = False

    def __post_init__(self) -> None:
        def now() -> float:
            return self.seconds

        api = FakeApi()
        self.memory = memory_with(api)
        self.audit = WatchAudit(api, self.memory, now_seconds=now)  # type: ignore[arg-type]
        self.metrics = Metrics(now_seconds=now)
        self.health = Health(
            self.metrics,
            self.audit,
            RESYNC_SECONDS,
            now,
            is_leading=lambda: self.leads,
            is_elected=lambda: self.elected,
            is_cut_off=lambda: self.cut_off,
            lease_looked_at=lambda: self.looked_at,
        )
        self.verify()

    def verify(self) -> None:
        """A round of the audit that found nothing wrong, and a look at the lease."""
        self.looked_at = self.seconds
        for state in self.audit.states.values():
            state.listed_at = self.seconds

    def live(self) -> int:
        return render(self.health.liveness())[0]

    def ready(self) -> tuple[int, str]:
        return render(self.health.readiness())


def test_a_leader_that_works_is_live_and_ready() -> None:
    rig = Rig()
    assert rig.live() == 200
    status, text = rig.ready()
    assert status == 200
    assert "leader" in text


def test_a_standby_is_ready_and_says_so_and_its_idle_loop_is_no_fault() -> None:
    rig = Rig(leads=False, elected=False)
    rig.seconds += 10_000
    rig.looked_at = rig.seconds
    assert rig.live() == 200
    assert rig.ready() == (200, "[+] lease: standby\n")


def test_a_loop_that_makes_no_progress_is_not_live() -> None:
    rig = Rig()
    rig.seconds = rig.looked_at = rig.seconds + 3 * RESYNC_SECONDS
    assert rig.live() == 200
    rig.seconds = rig.looked_at = rig.seconds + RESYNC_SECONDS
    assert rig.live() == 503


def test_a_loop_that_waits_for_its_first_lists_is_live_but_not_ready() -> None:
    rig = Rig()
    rig.memory.is_complete = False
    rig.seconds += 10 * RESYNC_SECONDS
    rig.verify()
    rig.metrics.loop_waits(("CustomResourceDefinition acceleratorpools.switchyard.dev",))
    assert rig.live() == 200
    status, text = rig.ready()
    assert status == 503
    assert "acceleratorpools.switchyard.dev" in text


def test_a_standby_that_stopped_looking_at_the_lease_is_not_live() -> None:
    rig = Rig(leads=False, elected=False)
    rig.seconds += 120
    assert rig.live() == 503


def test_a_leader_that_does_not_renew_its_lease_is_neither_live_nor_ready() -> None:
    rig = Rig(leads=False)
    assert rig.live() == 503
    assert rig.ready()[0] == 503


def test_a_leader_that_the_api_cut_off_is_suspended_not_ill() -> None:
    rig = Rig(leads=False, cut_off=True)
    assert rig.live() == 200
    assert rig.ready()[0] == 503


def test_a_watch_proven_stale_makes_not_ready_at_once_and_not_live_when_it_lasts() -> None:
    rig = Rig()
    rig.audit.states["nodes"].stale_since = rig.seconds
    assert rig.ready()[0] == 503
    assert "nodes" in rig.ready()[1]
    assert rig.live() == 200
    for _ in range(6):
        rig.seconds += 60
        rig.metrics.loop_waits(())
    assert rig.live() == 503


def test_an_api_that_does_not_answer_makes_not_ready_but_stays_live() -> None:
    rig = Rig()
    for _ in range(10):
        rig.seconds = rig.looked_at = rig.seconds + 60
        rig.metrics.loop_waits(())
    rig.audit.states["pods"].problem = "ConnectionRefusedError"
    assert rig.live() == 200
    status, text = rig.ready()
    assert status == 503
    assert "not verified for 600 s" in text
    assert "ConnectionRefusedError" in text


def test_the_three_endpoints_answer_over_http() -> None:
    async def scenario() -> dict[str, tuple[int, str]]:
        server, address = await serve(Rig().health, "127.0.0.1", 0)
        answers = {}
        async with aiohttp.ClientSession(trust_env=False) as session:
            for path in ("/healthz", "/readyz", "/metrics", "/else"):
                async with session.get(f"http://{address}{path}") as response:
                    answers[path] = (response.status, await response.text())
        await server.cleanup()
        return answers

    answers = run(scenario())
    assert {path: status for path, (status, _) in answers.items()} == {
        "/healthz": 200,
        "/readyz": 200,
        "/metrics": 200,
        "/else": 404,
    }
    assert "switchyard_loop_age_seconds" in answers["/metrics"][1]
