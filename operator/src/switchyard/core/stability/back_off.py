"""Which pools are not believed: they failed to start pods of ours, or lost spot nodes, and for how long.

    trusted --failure--> backing off --until--> on trial --failure--> backing off, twice as long
       ^                     |                     |
       |                     +------ success ------+------ nothing tried for an hour ------+
       +-----------------------------------------------------------------------------------+

A pool that backs off takes nothing new; what runs there stays. The n-th failure in a row closes it for
5 x 2^(n-1) minutes, 60 at most. A failure is a pod of ours that finds no node for longer than the pool needs
to offer one (in a pool of nodes: for want of anything but its own selectors); in a spot pool also a node that
leaves or was lost. A success is a pod of ours that found one
since. All of it is in the pool's `status.backOff`, which stays while the pool is on trial.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from switchyard.api import Reason
from switchyard.api.pool_status import BackOff
from switchyard.core.conditions import format_time
from switchyard.core.stability.moments import earliest, later_by, read_moment
from switchyard.core.world import Pod

FIRST_SECONDS = 300.0
LONGEST_SECONDS = 3600.0
PATIENCE_SECONDS = 60.0  # for a pod without a node, on top of what the pool needs to provision one
_NAMES_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Sightings:
    """What one pool shows. `pods`: ours that are to run in it; `interrupted`: spot nodes that go or went."""

    pods: Sequence[Pod]
    is_elastic: bool = False
    provisioning_seconds: float = 0.0
    interrupted: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Trust:
    """Whether to count on a pool. `back_off` is for its status.

    `closed_because`: why it takes nothing new, empty when it may. `is_new_failure`: this pass counted one.
    """

    back_off: BackOff | None = None
    closed_because: str = ""
    is_new_failure: bool = False
    recheck_at: datetime | None = None


def judge_pool(seen: Sightings, stored: BackOff | None, now: datetime) -> Trust:
    """Whether a pool is believed, from what it shows now and what its status remembers."""
    until = read_moment(stored.until) if stored is not None else None
    if stored is not None and until is None:
        stored = None
    failure = _find_failure(seen, now)
    if stored is not None and until is not None and now < until:
        if _has_succeeded(seen, stored, until):
            return Trust()
        return Trust(stored, _describe(stored), recheck_at=until)
    if failure is not None:
        return _fail(failure, stored, now)
    patience_ends = _next_loss_of_patience(seen, now)
    if stored is None or until is None or _has_succeeded(seen, stored, until):
        return Trust(recheck_at=patience_ends)
    forgotten_at = later_by(until, LONGEST_SECONDS)
    if now >= forgotten_at:
        return Trust(recheck_at=patience_ends)
    return Trust(stored, recheck_at=earliest(patience_ends, forgotten_at))


def back_off_seconds(failures: int) -> float:
    """How long the n-th failure in a row closes a pool."""
    return float(min(LONGEST_SECONDS, FIRST_SECONDS * 2 ** min(max(failures, 1) - 1, 16)))


def _fail(failure: tuple[Reason, str], stored: BackOff | None, now: datetime) -> Trust:
    failures = (stored.failures if stored is not None else 0) + 1
    since = stored.since if stored is not None and stored.since else format_time(now)
    until = later_by(now.replace(microsecond=0), back_off_seconds(failures))
    back_off = BackOff(
        reason=failure[0].value, failures=failures, since=since, until=format_time(until), message=failure[1]
    )
    return Trust(back_off, _describe(back_off), is_new_failure=True, recheck_at=until)


def _describe(back_off: BackOff) -> str:
    return f"takes nothing new until {back_off.until}: {back_off.message}"


def _find_failure(seen: Sightings, now: datetime) -> tuple[Reason, str] | None:
    if seen.interrupted:
        nodes = _list(seen.interrupted)
        return Reason.SpotInterruption, f"spot capacity was taken back: {nodes}"
    limit_seconds = PATIENCE_SECONDS + seen.provisioning_seconds
    waiting = [
        pod
        for pod in seen.pods
        if _is_waiting(pod)
        and (seen.is_elastic or _is_short(pod))
        and pod.unschedulable_since is not None
        and (now - pod.unschedulable_since).total_seconds() >= limit_seconds
    ]
    if not waiting:
        return None
    names = _list(sorted(f"{pod.namespace}/{pod.name}" for pod in waiting))
    count = f"{len(waiting)} pod{'s' * (len(waiting) != 1)}"
    return Reason.PoolBackOff, f"{count} found no node for {limit_seconds:.0f} s: {names}"


def _has_succeeded(seen: Sightings, stored: BackOff, until: datetime) -> bool:
    """True when a pod of ours found a node since the last failure, and none waits for one.

    After a spot interruption only what was tried after the wait counts: what stayed proves nothing.
    """
    is_spot = stored.reason == Reason.SpotInterruption.value
    since = until if is_spot else later_by(until, -back_off_seconds(stored.failures))
    if seen.interrupted or any(_is_waiting(pod) for pod in seen.pods):
        return False
    return any(
        pod.node_name and not pod.is_deleting and pod.scheduled_at is not None and pod.scheduled_at > since
        for pod in seen.pods
    )


def _next_loss_of_patience(seen: Sightings, now: datetime) -> datetime | None:
    limit_seconds = PATIENCE_SECONDS + seen.provisioning_seconds
    ends = (
        later_by(pod.unschedulable_since, limit_seconds)
        for pod in seen.pods
        if _is_waiting(pod) and pod.unschedulable_since is not None
    )
    return earliest(*(end for end in ends if end > now))


def _is_waiting(pod: Pod) -> bool:
    return not pod.node_name and not pod.is_deleting and pod.unschedulable_since is not None


def _is_short(pod: Pod) -> bool:
    """False when the scheduler names causes of the pod's own only: its selectors, affinities, volumes."""
    message = pod.unschedulable_message
    return not message or "Insufficient" in message or "untolerated taint" in message


def _list(names: Sequence[str]) -> str:
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
