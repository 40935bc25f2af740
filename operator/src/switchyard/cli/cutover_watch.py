"""Looking at a plan until it ends: the loop, and what each look shows."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from switchyard.cli.cutover_cluster import Unreachable
from switchyard.cli.cutover_plan import Exit, Plan, list_waiting
from switchyard.cli.cutover_report import format_line, format_moment

_TELL_AGAIN_SECONDS = 60.0

Show = Callable[[Plan, str], None]


@dataclass(frozen=True, slots=True)
class Timing:
    """When to look; `timeout_seconds` None: for ever."""

    interval_seconds: float = 2.0
    timeout_seconds: float | None = None
    now_seconds: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


def follow(look: Callable[[], Plan], show: Show, timing: Timing) -> Exit:
    """How the plan ended, or TIMEOUT. Each look is shown, with the reason where it failed.

    An API server that was there at first is waited for; a plan that goes away raises CutoverError.
    """
    begun = timing.now_seconds()
    last: Plan | None = None
    while True:
        try:
            last = look()
        except Unreachable as error:
            if last is None:
                raise
            show(last, f"{error}; asking again")
        else:
            show(last, "")
            if last.is_ended:
                return last.exit_code
        pause = timing.interval_seconds
        if timing.timeout_seconds is not None:
            left = begun + timing.timeout_seconds - timing.now_seconds()
            if left <= 0:
                return Exit.TIMEOUT
            pause = min(pause, left)
        timing.sleep(pause)


@dataclass
class Lines:
    """Shows a plan as lines: one when something of weight changes, and one a minute of what is awaited."""

    write: Callable[[str], None]
    now: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))
    _key: Any = None
    _line: str = ""
    _told_at: datetime | None = None

    def show(self, plan: Plan, problem: str) -> None:
        """Write a line, or nothing when there is no news."""
        key, line = (_find_key(plan), bool(problem)), problem or format_line(plan)
        now = self.now()
        is_old = self._told_at is None or (now - self._told_at).total_seconds() >= _TELL_AGAIN_SECONDS
        if key != self._key or (line != self._line and is_old):
            self.write(f"{format_moment(now)} {plan.name} {line}")
            self._key, self._line, self._told_at = key, line, now


def _find_key(plan: Plan) -> tuple[Any, ...]:
    """What makes news when it changes."""
    status = plan.status
    return (
        *(plan.phase, plan.is_seen, plan.reason, plan.spec.suspend, status.segment, status.weight),
        tuple((each.name, each.weight, each.state) for each in status.segments),
        tuple((each.name, each.segment, each.verdict) for each in status.gates),
        list_waiting(plan),
    )
