"""Probes that tell the truth, on a port of our own.

`/healthz` asks: would a restart help? It fails when the loop makes no progress, when the leader does not
renew its lease although the API server answers, when nobody looks at the lease any more, and when a watch
has been *proven* stale for long. (A task that ends takes the process with it.) An API server that does not
answer is no reason: a restart would lose the indexes for nothing.

`/readyz` asks: is the picture good? It fails on a leader whose indexes are not complete, whose watches
are proven stale, or could not be verified for a while. A standby is ready and says that it stands by.

What is known of watches comes from adapters/audit.py: fresh lists, not silence.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from aiohttp import web

from switchyard.adapters.audit import WatchAudit
from switchyard.adapters.metrics import Metrics

logger = logging.getLogger(__name__)

# the loop runs at least once per resync; this many missed turns mean that it hangs
LOOP_MISSED_TURNS = 3
# the lease is looked at every 2 s, and a request for it ends within 4 s
LEASE_LOOK_SECONDS = 60.0
# a proven stale watch usually comes back by itself within one inactivity time-out of kopf (70 s)
STALE_WATCH_RESTART_SECONDS = 300.0
# three rounds of the audit
UNVERIFIED_SECONDS = 200.0


@dataclass(frozen=True, slots=True)
class Check:
    """One line of a probe's answer."""

    name: str
    is_ok: bool
    detail: str


@dataclass
class Health:
    metrics: Metrics
    audit: WatchAudit
    resync_seconds: float
    now_seconds: Callable[[], float]
    is_leading: Callable[[], bool]
    is_elected: Callable[[], bool] = lambda: True  # was leading at some time: the loop runs
    is_cut_off: Callable[[], bool] = lambda: False  # the API server does not answer about the lease
    lease_looked_at: Callable[[], float] | None = None  # None without an election
    started_at: float = field(init=False)

    def __post_init__(self) -> None:
        self.started_at = self.now_seconds()

    def liveness(self) -> list[Check]:
        """Whether this process still does its work; a restart helps where a check fails."""
        checks = [self._renewal(), self._loop()] if self.is_elected() else []
        if self.lease_looked_at is not None:
            age = self.now_seconds() - self.lease_looked_at()
            checks.append(Check("election", age <= LEASE_LOOK_SECONDS, f"last look {age:.0f} s ago"))
        checks.append(self._watches_restartable())
        return checks

    def readiness(self) -> list[Check]:
        """Whether decisions of this process can be trusted now."""
        if not self.is_elected():
            return [Check("lease", is_ok=True, detail="standby")]
        missing = ", ".join(self.metrics.missing)
        synced = self.audit.memory.is_complete and not missing
        return [
            self._lease(),
            Check("lists", synced, "complete" if synced else missing or "incomplete"),
            self._watches(),
        ]

    def _lease(self) -> Check:
        leading = self.is_leading()
        return Check("lease", leading, "leader" if leading else "not renewed in time")

    def _renewal(self) -> Check:
        if self.is_leading() or not self.is_cut_off():
            return self._lease()
        return Check("lease", is_ok=True, detail="suspended: the API server does not answer")

    def _loop(self) -> Check:
        age = self.now_seconds() - self.metrics.last_progress_at
        is_ok = age <= LOOP_MISSED_TURNS * self.resync_seconds + 30.0
        return Check("loop", is_ok, f"last progress {age:.0f} s ago")

    def _watches_restartable(self) -> Check:
        stuck = {
            kind: age for kind, age in self.audit.stale_kinds().items() if age > STALE_WATCH_RESTART_SECONDS
        }
        return Check("watches", not stuck, _stale_detail(stuck) or "no watch proven dead")

    def _watches(self) -> Check:
        stale = self.audit.stale_kinds()
        if stale:
            return Check("watches", is_ok=False, detail=_stale_detail(stale))
        age = self.audit.unverified_seconds(self.started_at)
        problems = sorted({state.problem for state in self.audit.states.values() if state.problem})
        if age > UNVERIFIED_SECONDS:
            why = f": {'; '.join(problems)}" if problems else ""
            return Check("watches", is_ok=False, detail=f"not verified for {age:.0f} s{why}")
        seen = "verified" if self.audit.is_each_verified else "not compared with a list yet, started"
        return Check("watches", is_ok=True, detail=f"{seen} {age:.0f} s ago")


def render(checks: list[Check]) -> tuple[int, str]:
    """HTTP status and text of a probe's answer."""
    lines = [f"[{'+' if check.is_ok else '-'}] {check.name}: {check.detail}" for check in checks]
    return (200 if all(check.is_ok for check in checks) else 503), "\n".join(lines) + "\n"


def create_app(health: Health) -> web.Application:
    """The three endpoints. They answer while the event loop turns, which is a check of its own."""

    async def healthz(_: web.Request) -> web.Response:
        status, text = render(health.liveness())
        return web.Response(status=status, text=text)

    async def readyz(_: web.Request) -> web.Response:
        status, text = render(health.readiness())
        return web.Response(status=status, text=text)

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(
            body=health.metrics.render(), headers={"Content-Type": "text/plain; version=0.0.4"}
        )

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", metrics)])
    return app


async def serve(health: Health, host: str, port: int) -> tuple[web.AppRunner, str]:
    """The started server and its address; port 0 takes a free one."""
    runner = web.AppRunner(create_app(health), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, host, port)
    await site.start()
    bound = runner.addresses[0]
    return runner, f"{bound[0]}:{bound[1]}"


def _stale_detail(stale: Mapping[str, float]) -> str:
    return "; ".join(f"{kind} stale for {age:.0f} s" for kind, age in sorted(stale.items()))
