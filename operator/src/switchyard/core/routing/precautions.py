"""What of a traffic plan may be written now: no share grows on an arm before the arm can answer.

A share that may not grow stays where it is until its arm is ready; everything else of the plan is written at
once, so that a rollback in one segment never waits for another one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from switchyard.core.routing.document import Segment
from switchyard.core.routing.plan import Share, TrafficPlan

_NOTHING = Share(candidate_percent=0.0, shadow_percent=0.0)


@dataclass(frozen=True, slots=True)
class Readiness:
    """What is ready to answer. `mirror`: what takes the copies, true where there are none."""

    baseline: bool
    candidate: bool
    mirror: bool = True


@dataclass(frozen=True, slots=True)
class Permission:
    """The plan as far as it may be written, None when nothing may. `waiting_for`: empty when all may."""

    plan: TrafficPlan | None
    waiting_for: str = ""


def hold_back(plan: TrafficPlan, in_force: Mapping[str, Share] | None, readiness: Readiness) -> Permission:
    """What of `plan` may be written. `in_force`: shares by segment, None while nothing is engaged."""
    if in_force is None and not readiness.baseline:
        return Permission(None, f"a ready endpoint of {_name(plan, 'baseline')}")
    shares = in_force or {}
    limited = [_limit(segment, shares.get(segment.name, _NOTHING), readiness) for segment in plan.segments]
    pairs = tuple(zip(plan.segments, limited, strict=True))
    waits = []
    for arm in ("baseline", "candidate"):
        held = [
            f"segment {wanted.name} stays at {now.candidate_percent:g} %"
            f" instead of {wanted.candidate_percent:g} %"
            for wanted, now in pairs
            if _grows(arm, wanted, now)
        ]
        if held:
            waits.append(f"a ready endpoint of {_name(plan, arm)}: {', '.join(held)}")
    unshadowed = [
        f"segment {wanted.name} is shadowed at {now.shadow_percent:g} %"
        f" instead of {wanted.shadow_percent:g} %"
        for wanted, now in pairs
        if wanted.shadow_percent > now.shadow_percent
    ]
    if unshadowed:
        place = "the comparator" if readiness.candidate else _name(plan, "candidate")
        waits.append(f"a ready endpoint of {place}: {', '.join(unshadowed)}")
    return Permission(replace(plan, segments=tuple(limited)), "; ".join(waits))


def _limit(wanted: Segment, now: Share, readiness: Readiness) -> Segment:
    """`wanted` with the shares that may not grow as they are now."""
    held = {}
    is_more = wanted.candidate_percent > now.candidate_percent
    if not (readiness.candidate if is_more else readiness.baseline):
        held["candidate_percent"] = now.candidate_percent
    if wanted.shadow_percent > now.shadow_percent and not (readiness.candidate and readiness.mirror):
        held["shadow_percent"] = now.shadow_percent
    return wanted.model_copy(update=held)


def _grows(arm: str, wanted: Segment, now: Segment) -> bool:
    more = wanted.candidate_percent - now.candidate_percent
    return more > 0 if arm == "candidate" else more < 0


def _name(plan: TrafficPlan, arm: str) -> str:
    target = plan.baseline if arm == "baseline" else plan.candidate
    service = target.service if target is not None else "?"
    return f"Service {plan.namespace}/{service} ({arm})"
