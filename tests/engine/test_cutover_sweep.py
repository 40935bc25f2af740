"""The operator ended after every single write of cutovers and of ways back: the same end, each change once.

The real loop, decisions, desk and observer, over a cluster, a path and users in memory, in simulated time;
what must never be (cutover_sim) is looked for at every write and whenever anything happens by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from .cutover_sim.comparing import list_changes, list_differences
from .cutover_sim.life import RESTART_SECONDS, Run
from .cutover_sim.outside import Outside
from .cutover_sim.parts import NEW, OLD
from .cutover_sim.scenes import BATCH_FIRST, begin, steps

PARTS = 4  # of a sweep, so that several workers share it


def plain() -> Outside:
    return begin()


def failing_at(segment: str, percent: int) -> Callable[[str, str, float], float]:
    """Requests of a segment fail on the candidate, from that share on."""

    def ratio(name: str, arm: str, share: float) -> float:
        return 0.3 if (name, arm) == (segment, "candidate") and share >= percent else 0.002

    return ratio


def failing_whole() -> Outside:
    outside = begin()
    outside.failing = failing_at("all", 100)
    return outside


def failing_in_one_segment() -> Outside:
    parts = (("batch", 0.4), ("rest", 0.6))
    outside = begin(mix=parts, segments=BATCH_FIRST, steps=steps(50), shadow={"percent": 0})
    outside.failing = failing_at("rest", 50)
    return outside


SCENES: dict[str, Callable[[], Outside]] = {
    "cutover": plain,
    "plan": failing_whole,
    "segment": failing_in_one_segment,
}


@cache
def undisturbed(scene: str) -> tuple[Outside, list[Outside]]:
    """The end of a run that nothing disturbs, and the outside right after each of its writes."""
    after_writes: list[Outside] = []
    outside = SCENES[scene]()
    Run(outside, on_write=lambda each: after_writes.append(each.fork())).run()
    return outside, after_writes


def sweep(scene: str, chosen: Callable[[Outside], bool]) -> list[str]:
    """What went otherwise when the process was ended after one of the chosen writes."""
    end, after_writes = undisturbed(scene)
    found = []
    for each in after_writes:
        if chosen(each):
            number, what = len(each.landed), each.landed[-1].what[:60]
            outside = Run(each.fork(), idle_seconds=RESTART_SECONDS).run()
            found += [
                f"ended after write {number} ({what}): {problem}"
                for problem in list_differences(outside, end)
            ]
    return found


def test_a_cutover_that_nothing_disturbs_makes_each_change_once() -> None:
    end, after_writes = undisturbed("cutover")
    assert (end.phase, end.replicas(), end.broken) == ("Completed", {NEW: 2}, [])
    assert len(after_writes) > 80
    changes = list_changes(end)
    shares = [(("all", 0.0, 20.0),), (("all", 50.0, 0.0),), (("all", 100.0, 0.0),), (NEW,)]
    assert changes["config"] == [*shares, None]
    assert changes["router-0"] == changes["router-1"] == shares
    assert changes["callers"] == [("routers", "move"), (NEW, "move"), (NEW, "")]
    assert changes[f"Deployment {NEW}"] == [1, 2]
    assert changes[f"Deployment {OLD}"] == [None]
    assert changes["finalizers"] == [("switchyard.dev/traffic",), ()]


@pytest.mark.parametrize("part", range(PARTS))
def test_ended_after_any_write_of_a_cutover_the_next_process_brings_it_to_the_same_end(part: int) -> None:
    assert sweep("cutover", lambda each: len(each.landed) % PARTS == part) == []


def test_a_gate_that_fails_returns_all_or_only_its_segment() -> None:
    whole, one = undisturbed("plan")[0], undisturbed("segment")[0]
    assert (whole.phase, whole.weights(), whole.replicas()) == ("RolledBack", {"all": 0}, {OLD: 2})
    assert (one.phase, one.weights()) == ("RolledBack", {"batch": 50, "rest": 0})
    assert one.replicas() == {OLD: 2, NEW: 1}
    assert one.weights_in_force() == {"batch": 50, "rest": 0}
    assert whole.broken == one.broken == []


@pytest.mark.parametrize(("scene", "segment", "weight"), [("plan", "all", 100), ("segment", "rest", 50)])
def test_ended_after_any_write_of_a_way_back_the_next_process_brings_it_to_the_same_end(
    scene: str, segment: str, weight: int
) -> None:
    def is_failing(each: Outside) -> bool:
        return each.weights().get(segment) == weight or each.phase in {"RollingBack", "RolledBack"}

    assert sum(map(is_failing, undisturbed(scene)[1])) >= 20
    assert sweep(scene, is_failing) == []


@pytest.mark.parametrize("scene", ["cutover", "plan"])
@pytest.mark.parametrize("offset", range(3))
def test_a_write_whose_answer_is_lost_is_made_good_by_the_same_process(scene: str, offset: int) -> None:
    outside = Run(SCENES[scene](), lambda number: "lost" if number % 3 == offset else "").run()
    assert list_differences(outside, undisturbed(scene)[0]) == []


@pytest.mark.parametrize("scene", ["cutover", "plan"])
@pytest.mark.parametrize("offset", range(4))
def test_who_leads_no_longer_begins_nothing_more_and_the_next_one_goes_on(scene: str, offset: int) -> None:
    outside = Run(SCENES[scene](), lambda number: "handover" if number % 4 == offset else "").run()
    assert list_differences(outside, undisturbed(scene)[0]) == []


@settings(max_examples=8, phases=[Phase.explicit, Phase.generate])  # a run is too long to be shrunk
@given(
    scene=st.sampled_from(sorted(SCENES)),
    numbers=st.sets(st.integers(1, 100), min_size=2, max_size=4),
    idle_seconds=st.sampled_from([1.0, 14.0, 40.0]),
)
def test_ended_again_and_again_it_still_comes_to_the_same_end(
    scene: str, numbers: set[int], idle_seconds: float
) -> None:
    outside = SCENES[scene]()
    Run(outside, lambda number: "kill" if number in numbers else "", restart_seconds=idle_seconds).run()
    end = undisturbed(scene)[0]
    assert list_differences(outside, end) == []
