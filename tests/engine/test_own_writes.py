"""Plans that we make and delete, while the watches have not shown it yet."""

from __future__ import annotations

from dataclasses import replace

from tests.unit.core.plans import plan
from tests.unit.core.worlds import world

from switchyard.core.world import Child, Plan, World
from switchyard.engine.own_writes import FORGET_AFTER_SECONDS, OwnWrites

MADE = plan("made")


def seen(*plans: Plan) -> World:
    return replace(world(), plans=plans)


def changed(of: Plan, version: str) -> Plan:
    return replace(of, meta=replace(of.meta, resource_version=version))


def test_a_plan_that_was_just_made_is_there_before_the_watch_shows_it() -> None:
    writes = OwnWrites()
    writes.overlay(seen(), 0)
    writes.remember(MADE, 0)
    assert writes.overlay(seen(), 1).plans == (MADE,)
    assert writes.overlay(seen(changed(MADE, "2")), 2).plans == (changed(MADE, "2"),), (
        "the watch knows better"
    )
    assert writes.overlay(seen(), 3).plans == (), "seen, and gone since"


def test_a_plan_that_never_shows_is_believed_only_for_a_while() -> None:
    writes = OwnWrites()
    writes.overlay(seen(), 0)
    writes.remember(MADE, 0)
    assert writes.overlay(seen(), FORGET_AFTER_SECONDS).plans == ()


def test_a_plan_that_somebody_deleted_does_not_come_back_by_our_memory_of_its_status() -> None:
    writes = OwnWrites()
    writes.overlay(seen(MADE), 0)
    writes.remember(changed(MADE, "2"), 0)
    assert writes.overlay(seen(), 1).plans == ()


def test_a_plan_that_we_deleted_is_going_until_the_watch_drops_it() -> None:
    writes = OwnWrites()
    writes.overlay(seen(MADE), 0)
    writes.remember_deleted(Child("", "CutoverPlan", MADE.meta, "", {}), 0)
    assert [each.meta.is_deleting for each in writes.overlay(seen(MADE), 1).plans] == [True]
    assert [each.meta.is_deleting for each in writes.overlay(seen(MADE), 99).plans] == [False]
