"""How many replicas to keep: more at once, fewer only after a while, and only if they would carry the load.

      wanted >= current ---------------------------------------------> wanted
      wanted < current, signal missing, or fewer would not carry it --> current
      wanted < current --delay runs, the most wanted meanwhile noted--> that many

`current` counts what was asked for and not what is ready, so replicas that are still starting are not asked
for twice. The wait is in `status.scaleDown`: a restart goes on with it, and so does a signal that comes back
within five minutes of its end. Between two reductions lies at least the delay, whatever the demand does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime

from switchyard.api.workload_status import ScaleDown
from switchyard.core.conditions import format_time
from switchyard.core.stability.moments import later_by, read_moment

_KEPT_SECONDS = 300.0  # how long after its end a wait is kept for a signal that is missing
CONSOLIDATION_RATIO = 1.1  # fewer replicas must carry this many times the peak demand


@dataclass(frozen=True, slots=True)
class Shrinkage:
    """What one pass finds. `delay_seconds`: how long fewer must be enough; `is_frozen`: no signal."""

    current: int  # asked for until now, pending ones included
    wanted: int  # for the demand of now
    carried_rate: float  # requests per second of one replica; 0: not known
    peak_rate: float  # before headroom
    most_replicas: int  # the author's limit: holds at once
    delay_seconds: float
    is_frozen: bool = False


@dataclass(frozen=True, slots=True)
class ReplicaPlan:
    """Replicas to ask for. `waiting`: for `status.scaleDown`; `recheck_at`: when the wait is over."""

    replicas: int
    waiting: ScaleDown | None = None
    recheck_at: datetime | None = None


def plan_replicas(found: Shrinkage, stored: ScaleDown | None, now: datetime) -> ReplicaPlan:
    """The replicas to ask for, given what waits since earlier passes."""
    current = min(found.current, found.most_replicas)
    if found.wanted >= current:
        return ReplicaPlan(min(found.wanted, found.most_replicas))
    since = _read_start(stored, current, now)
    if found.is_frozen:
        is_kept = since is not None and now < later_by(since, found.delay_seconds + _KEPT_SECONDS)
        return ReplicaPlan(current, stored if is_kept else None)
    enough = max(found.wanted, count_safe_replicas(found.peak_rate, found.carried_rate))
    if enough >= current:
        return ReplicaPlan(current)
    if stored is None or since is None:
        return (
            _wait(current, enough, now, found.delay_seconds)
            if found.delay_seconds > 0
            else ReplicaPlan(enough)
        )
    most = max(stored.replicas, enough)
    if now >= later_by(since, found.delay_seconds):
        return ReplicaPlan(most)
    return _wait(current, most, since, found.delay_seconds)


def _read_start(stored: ScaleDown | None, current: int, now: datetime) -> datetime | None:
    """Since when fewer are enough; None for a wait that is none: for no fewer, or from the future."""
    since = read_moment(stored.since) if stored is not None else None
    if stored is None or since is None or since > now or stored.replicas >= current:
        return None
    return since


def count_safe_replicas(peak_rate: float, carried_rate: float) -> int:
    """The least count that carries 1.1 times the peak; 0 where nobody knows what a replica carries.

    The headroom counts towards it: with 10 percent or more this asks for nothing on top.
    """
    if carried_rate <= 0:
        return 0
    return math.ceil(CONSOLIDATION_RATIO * peak_rate / carried_rate - 1e-9)


def _wait(current: int, most: int, since: datetime, delay_seconds: float) -> ReplicaPlan:
    waiting = ScaleDown(since=format_time(since), replicas=most)
    # status stores whole seconds
    due_at = later_by(since.replace(microsecond=0), delay_seconds)
    return ReplicaPlan(current, waiting, due_at)
