"""Anything at any time, and the operator ended in between: what must never be never is, and the end is whole.

`HYPOTHESIS_PROFILE=explore` weathers many more storms.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from switchyard.api import labels

from .cutover_sim.life import Run, describe
from .cutover_sim.outside import Outside, is_over
from .cutover_sim.parts import NEW, OLD, ROUTER_START_SECONDS, STABLE, WORKLOAD
from .cutover_sim.scenes import BATCH_FIRST, begin, steps

CALM_AT = 330.0  # by then nothing is wrong any more
EXAMPLES = 6 if settings().max_examples <= 100 else 300


def harm(ratio: float) -> Callable[[Outside], None]:
    def do(at: Outside) -> None:
        at.failing = lambda _segment, arm, _share: ratio if arm == "candidate" else 0.002

    return do


def cut(seconds: float, *words: str) -> Callable[[Outside], None]:
    """Requests that begin with one of these words get no answer for a while; without words, none does."""

    def do(at: Outside) -> None:
        until = at.seconds + seconds
        at.outage = lambda now, what: (
            "no answer" if now.seconds < until and (not words or what.startswith(words)) else ""
        )

    return do


def edit(**spec: object) -> Callable[[Outside], None]:
    def do(at: Outside) -> None:
        if at.plan is not None:
            at.edit_plan(**spec)

    return do


def lose(track: str) -> Callable[[Outside], None]:
    def do(at: Outside) -> None:
        at.pods = {name: each for name, each in at.pods.items() if each.track != track}
        at.follow_deployments()

    return do


def lead_past_routers(at: Outside) -> None:
    if at.holder and at.count_ready(OLD):
        stable = at.objects[STABLE]
        selector = {labels.WORKLOAD: WORKLOAD, labels.TRACK: OLD}
        at.put(STABLE, {**stable, "spec": {**stable["spec"], "selector": selector}})
        at.note("kubectl edit")


def restart_router(at: Outside) -> None:
    for name, each in list(at.routers.items())[:1]:
        at.epochs += 1
        ready_at = at.seconds + ROUTER_START_SECONDS
        at.routers[name] = replace(each, epoch=f"{at.epochs:016x}", ready_at=ready_at, doc=None)


HAPPENINGS: dict[str, Callable[[Outside], None]] = {
    "heals": harm(0.002),
    "fails": harm(0.3),
    "fails mostly": harm(0.7),
    "no API": cut(40),
    "no reading": cut(40, "read"),
    "no push": cut(20, "push"),
    "no status": cut(20, "status CutoverPlan"),
    "no path": cut(15, "config", "callers"),
    "suspend": edit(suspend=True),
    "resume": edit(suspend=False),
    "other gates": edit(gates=[{"name": "errors", "errors": {"margin": {"oddsRatio": "1.4"}}}]),
    "other steps": edit(steps=steps(20, 100)),
    "fewer steps": edit(steps=steps(100)),
    "abort": edit(abort=True),
    "retry": edit(restartToken="again", abort=False, suspend=False),
    "delete": lambda at: at.delete_plan() if at.plan is not None else None,
    "baseline lost": lose(OLD),
    "candidate lost": lose(NEW),
    "led past": lead_past_routers,
    "router restarts": restart_router,
}
MOMENTS = st.tuples(st.sampled_from(sorted(HAPPENINGS)), st.floats(0, 150))
FATES = st.dictionaries(st.integers(1, 150), st.sampled_from(["kill", "lost", "handover"]), max_size=5)


def serves_already(outside: Outside) -> bool:
    """True for a plan that was to be tried again after it had come to its end."""
    return outside.phase == "Validating" and outside.selected == NEW


def is_past(outside: Outside) -> bool:
    return outside.seconds > CALM_AT and (is_over(outside) or serves_already(outside))


def list_wrongs(outside: Outside, *, is_missed: bool) -> list[str]:
    """What is wrong in the end, or was on the way. `is_missed`: pods were lost, and users with them."""
    of_losses = ("users find nobody", "where nothing is ready")
    found = [each for each in outside.broken if not (is_missed and any(told in each for told in of_losses))]
    sides = {"Completed": [NEW], "Validating": [NEW], "RolledBack": [OLD], "Aborted": [OLD]}
    side = outside.selected
    if outside.phase == "RolledBack" and any(outside.weights().values()):
        if outside.weights_in_force() != outside.weights():
            found.append(f"{outside.weights_in_force()} in force")
        return found
    if side not in sides.get(outside.phase, [OLD, NEW]) or outside.replicas() != {side: 2}:
        found.append(f"{outside.replicas()} with callers at {side}")
    if outside.is_held:
        found.append("traffic is still held")
    return found


@pytest.mark.timeout(3600)  # for `explore`
@settings(max_examples=EXAMPLES, phases=[Phase.explicit, Phase.generate])  # a run is too long to be shrunk
@given(
    moments=st.lists(MOMENTS, min_size=1, max_size=6),
    fates=FATES,
    has_segments=st.booleans(),
    restart_seconds=st.sampled_from([1.0, 5.0, 25.0]),
)
def test_no_storm_costs_a_user_or_leaves_anything_behind(
    *, moments: list[tuple[str, float]], fates: dict[int, str], has_segments: bool, restart_seconds: float
) -> None:
    parts = (("batch", 0.4), ("rest", 0.6))
    outside = begin(mix=parts, segments=BATCH_FIRST) if has_segments else begin()
    for name, seconds in moments:
        outside.later(seconds, HAPPENINGS[name])
    for name in ("heals", "resume"):
        outside.later(CALM_AT - 20, HAPPENINGS[name])
    Run(
        outside,
        lambda number: fates.get(number, ""),
        most_seconds=1500,
        is_over=is_past,
        restart_seconds=restart_seconds,
    ).run()
    is_missed = bool({"baseline lost", "candidate lost"} & {name for name, _ in moments})
    assert list_wrongs(outside, is_missed=is_missed) == [], describe(outside)
