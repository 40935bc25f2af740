"""When a window of evidence closes, and which of them count."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from switchyard.core.cutover.evidence import take_window
from switchyard.core.cutover.orders import TrackCounts
from switchyard.core.cutover.tally import SegmentTally
from switchyard.core.routing.samples import Samples, add_samples

from .evidence_world import (
    EPOCH,
    ERRORS,
    INTERVAL,
    LATENCY,
    Look,
    at,
    make_counts,
    make_facts,
    make_samples,
    make_state,
    pass_through_status,
)

WINDOW = make_samples(make_counts(50, 1), make_counts(50, 2))
OTHER_EPOCH = "00000000000000b2"


def look(**changes) -> Look:
    return Look(make_facts(), make_state(**changes))


def count_requests(window) -> int:
    tally = window.segments.get("rest", SegmentTally())
    return sum(tally.pool(arm).requests for arm in ("baseline", "candidate"))


# -- closing


@pytest.mark.parametrize(
    ("seconds", "closed"),
    [
        ((10, 20), []),  # settling
        ((10, 29, 59), []),  # the first reading behind the settling time only begins a window
        ((30, 59), []),
        ((30, 60), [2]),
        ((30, 60, 61, 89, 90), [2, 3]),
        ((30, 100), [3]),  # a late look closes one window, however many instants it passed
        ((45, 60, 90), [2, 3]),
        ((30, 60, 60), [2]),
        ((30, 60, 45), [2]),  # a look of an older reading
    ],
)
def test_a_window_closes_with_the_first_reading_at_or_past_its_instant(seconds, closed):
    plan, indices = look(), []
    for second in seconds:
        plan.total = replace(add_samples(WINDOW, plan.total), at=at(second), epoch=EPOCH)
        plan.see((plan.total,), second)
        if plan.taken.window is not None:
            indices.append(plan.taken.window.index)
    assert indices == closed


def test_a_window_holds_what_came_since_the_reading_that_is_remembered():
    plan = look().settle()
    plan.count(WINDOW)
    window = plan.taken.window
    assert (count_requests(window), window.seconds) == (100, INTERVAL)
    assert window.segments["rest"].pool("candidate").failed == 2
    plan.see((replace(plan.total, at=at(75)),), 75)
    assert plan.taken.window is None


def test_several_routers_are_one_reading_as_old_as_its_oldest_part():
    plan = look().settle()
    parts = (
        replace(WINDOW, at=at(62), epoch="0" * 15 + "1"),
        replace(WINDOW, at=at(60), epoch="00000000000000a0"),
    )
    plan.see(parts, 63)
    assert (plan.taken.reading_at, count_requests(plan.taken.window)) == (at(60), 200)


def test_a_reading_from_the_future_counts_as_one_of_now():
    plan = look().settle()
    plan.see((replace(WINDOW, at=at(9000)),), 60)
    assert plan.taken.reading_at == at(60)


def test_before_the_traffic_is_confirmed_and_outside_of_stages_nothing_is_taken():
    for state in (make_state(stage_since=None), make_state(phase="RollingBack")):
        taken = take_window(make_facts(), state, (replace(WINDOW, at=at(60)),), "", at(60))
        assert (taken.window, taken.reading, taken.is_blind) == (None, "", False)


# -- restarts


def test_the_same_look_again_gives_the_same_window_until_it_is_remembered_and_none_after():
    plan = look().settle()
    before = plan.state
    plan.count(WINDOW)
    once, source = plan.taken, (plan.total,)
    assert take_window(plan.facts, pass_through_status(before), source, "", at(60)) == once
    again = take_window(plan.facts, plan.state, source, "", at(61))
    assert again.window is None
    assert again.window_index == once.window_index


def test_a_plan_that_restarts_after_each_look_knows_what_one_knows_that_never_did():
    facts, plans = make_facts(ERRORS, LATENCY), []
    for is_restarted in (True, False):
        plan = Look(facts, make_state(), is_restarted=is_restarted).settle()
        for bad in (0, 3, 1, 0, 2):
            plan.count(make_samples(make_counts(80, 1, 2), make_counts(80, bad, 4)))
        plans.append(plan)
    assert dict(plans[0].state.evidence) == dict(plans[1].state.evidence)
    assert plans[0].judged.reports == plans[1].judged.reports


# -- windows that do not count


@pytest.mark.parametrize(
    ("change", "seconds", "said"),
    [
        ({"epoch": OTHER_EPOCH}, 30, "counters began anew"),
        ({"segments": WINDOW.segments}, 30, "counters began anew"),  # fewer than before
        ({"version": 0}, 30, "has not taken version 1"),
        ({}, 91, "nothing was read for 91 s"),
    ],
)
def test_a_window_that_mixes_lives_or_traffic_or_was_not_watched_is_dropped(change, seconds, said):
    plan = look(traffic_version=1).settle()
    plan.count(WINDOW, 2)
    kept = dict(plan.state.evidence)
    second = 90 + seconds
    plan.total = replace(add_samples(WINDOW, plan.total), at=at(second), epoch=EPOCH)
    source = replace(plan.total, **change)
    plan.see((source,), second)
    assert plan.taken.window is None
    assert said in plan.taken.discarded
    assert dict(plan.state.evidence) == kept
    # What follows counts from there.
    following = replace(add_samples(WINDOW, source), at=at(second + 30), epoch=source.epoch, version=1)
    plan.see((following,), second + 30)
    assert count_requests(plan.taken.window) == 100


def test_a_reading_that_this_version_did_not_write_begins_the_window_anew():
    plan = look().settle()
    plan.state = replace(plan.state, reading="{not one of ours")
    plan.count(WINDOW)
    assert "is not one of this version" in plan.taken.discarded
    plan.count(WINDOW)
    assert plan.taken.window is not None


@pytest.mark.parametrize(
    ("source", "second", "is_blind", "said"),
    [
        (None, 120, False, "no router answers"),
        (None, 121, True, "no router answers"),
        ((), 200, True, "no router answers"),
        ((Samples(),), 200, True, "no router answers"),
        ((replace(WINDOW, at=at(30)),), 121, True, "no router answers"),
    ],
)
def test_without_a_fresh_reading_for_three_intervals_a_plan_is_blind(source, second, is_blind, said):
    plan = look().settle()
    plan.see(source, second, "no router answers")
    assert (plan.taken.is_blind, plan.taken.problem) == (is_blind, said)
    report = plan.judged.reports[0]
    assert report.verdict == "Inconclusive"
    assert (said in report.message, report.missing) == (
        (True, "both") if is_blind else (said in report.message, "")
    )


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ((), "nothing has been counted yet"),
        ((replace(WINDOW, at=at(30)),), "the newest reading is 170 s old"),
    ],
)
def test_blindness_without_a_known_cause_says_what_there_is(source, said):
    plan = look().settle()
    plan.see(source, 200)
    assert plan.taken.problem == said


def test_what_happened_while_nobody_looked_never_counts():
    plan = look().settle()
    plan.count(WINDOW)
    plan.see(None, 200, "gone")
    assert plan.state.reading == ""
    plan.total = replace(
        add_samples(make_samples(make_counts(900, 900), make_counts(900, 900)), plan.total),
        at=at(210),
        epoch=EPOCH,
    )
    plan.see((plan.total,), 210)
    assert plan.taken.window is None
    plan.count(WINDOW)
    assert count_requests(plan.taken.window) == 100


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.integers(1, 150),  # seconds until the look
            st.integers(0, 60),  # requests per arm since
            st.sampled_from(["look", "look", "look", "new life", "unread", "restart twice"]),
        ),
        min_size=1,
        max_size=15,
    )
)
def test_no_request_counts_twice_and_none_of_two_lives(looks):
    plan, second, lives, counted, indices = look(), 0, 0, 0, [0]
    since_life = all_requests = 0
    for seconds, requests, how in looks:
        second += seconds
        window = make_samples(make_counts(requests), make_counts(requests))
        if how == "new life":
            lives += 1
            plan.total, since_life = Samples(), 0
        since_life += 2 * requests
        all_requests += 2 * requests
        plan.total = replace(
            add_samples(window, plan.total), at=at(second), epoch=f"{lives + 1:016x}", version=1
        )
        plan.see(None if how == "unread" else (plan.total,), second)
        if plan.taken.window is not None:
            assert how != "new life"
            indices.append(plan.taken.window.index)
            counted += count_requests(plan.taken.window)
            assert count_requests(plan.taken.window) <= since_life
        if how == "restart twice":
            plan.see((plan.total,), second)
            assert plan.taken.window is None
    assert indices == sorted(set(indices))
    assert counted <= all_requests


# -- counts of whole tracks


def tracks(requests: int, second: float, *, bad: int = 0, epochs=("a", "b")) -> dict[str, TrackCounts]:
    key = "latency:0.5"
    return {
        arm: TrackCounts(requests, failed, {key: requests}, {key: requests - failed}, at(second), epoch)
        for arm, failed, epoch in zip(("baseline", "candidate"), (0, bad), epochs, strict=True)
    }


@pytest.mark.parametrize("stage", ["canary", "soak"])
def test_tracks_without_a_router_in_the_path_are_compared_as_wholes(stage):
    plan = Look(make_facts(ERRORS, LATENCY), make_state(stage))
    for windows in range(1, 40):
        second = windows * INTERVAL
        plan.see(tracks(1000 * windows, second, bad=50 * windows), second)
    assert plan.taken.is_by_track
    assert plan.judged.samples == 38_000
    found = {each.name: each for each in plan.judged.reports}
    assert found.keys() == {"errors", "latency"}
    assert found["errors"].observed == "5 % against 0 % failed"
    assert {each.verdict for each in found.values()} == {"Fail"}


@pytest.mark.parametrize("epochs", [("a", "c"), ("c", "b")])
def test_a_pod_that_came_or_went_on_either_track_drops_the_window(epochs):
    plan = look()
    for second, known in ((30, ("a", "b")), (60, ("a", "b")), (90, epochs)):
        plan.see(tracks(second, second, epochs=known), second)
    assert "counters began anew" in plan.taken.discarded


def test_one_track_without_counts_is_no_window_of_both():
    plan = look()
    plan.see(tracks(10, 30), 30)
    plan.see({"baseline": tracks(20, 60)["baseline"]}, 60)
    assert plan.taken.window is None
