"""Moves under callers who never stop asking: what ends on the new side, and what goes back by itself."""

from __future__ import annotations

from e2e.installation import Operator
from e2e.move import is_true, moving, plan
from e2e.scene import Scene


def test_a_move_without_a_difference_ends_on_the_new_side(scene: Scene, operator: Operator) -> None:
    del operator
    with moving(scene) as move:
        move.write(plan(target={"variant": "new", "pool": move.pools[1]}))
        move.wait_for("Shadowing")
        move.wait_for("Completed")
        move.assert_moved()
        assert is_true(scene.get("cutoverplan", "move"), "Succeeded")
        move.traffic.assert_no_failures()
