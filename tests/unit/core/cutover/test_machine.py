"""The scenarios of a cutover, as sentences: what happens in the world, and what the plan makes of it."""

from __future__ import annotations

from tests.unit.core.cutover.cutover_world import (
    World,
    fail_when,
)

from switchyard.core.cutover.traffic import wants_release, wants_traffic


def test_a_candidate_that_passes_ends_up_serving_everything_segment_by_segment():
    world = World()
    assert world.run_to_end().phase == "Completed"
    steps = list(dict.fromkeys(world.weights))
    assert steps == [(0, 0), (10, 0), (50, 0), (100, 0), (100, 10), (100, 50), (100, 100)]
    assert world.state.candidate_replicas == 0
    assert not wants_traffic(world.state)
    assert not wants_release(world.state)


def test_a_segment_that_fails_goes_back_and_the_earlier_one_stays():
    world = World()
    world.judge = fail_when(lambda world: world.state.segment_index == 1, segment="rest")
    state = world.run_to_end()
    assert state.phase == "RolledBack"
    assert world.weights[-1] == (100, 0)
    assert [each.place for each in state.segments] == ["Candidate", "RolledBack"]
    assert state.candidate_replicas == 4
    assert wants_traffic(state)
