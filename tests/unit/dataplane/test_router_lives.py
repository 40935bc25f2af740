"""What stays of a dead worker's counts, and that no window takes them for those of the living."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from switchyard.core.routing.samples import (
    ArmSamples,
    Counts,
    Samples,
    SegmentSamples,
    ShadowCounts,
    add_samples,
    subtract_samples,
)
from switchyard.dataplane.control.lives import close_life

numbers = st.integers(0, 50)


@st.composite
def readings(draw: st.DrawFn) -> Samples:
    arms, started = {}, {}
    for arm in draw(st.sets(st.sampled_from(["baseline", "candidate"]))):
        counts = Counts(requests=draw(numbers), cancelled=draw(numbers))
        arms[arm] = ArmSamples({draw(st.sampled_from(["p0o0", "p1o2"])): counts}, failure_run=draw(numbers))
        started[arm] = arms[arm].ended + draw(numbers)
    sent = draw(numbers)
    shadow = ShadowCounts(sampled=draw(numbers), sent=sent, completed=draw(st.integers(0, sent)))
    return Samples("00000000000000aa", 3, None, {"default": SegmentSamples(started, arms, shadow=shadow)})


@given(readings())
def test_nothing_of_the_dead_is_under_way_and_no_count_falls(last: Samples) -> None:
    closed = close_life(last, "00000000000000bb").segments["default"]
    segment = last.segments["default"]
    assert closed.shadow.in_flight == 0
    for arm, started in segment.started.items():
        assert closed.in_flight(arm) == 0
        assert closed.started[arm] == started
        for stratum, counts in segment.arms[arm].strata.items():
            kept = closed.arms[arm].strata[stratum]
            assert kept.requests == counts.requests
            assert kept.cancelled >= counts.cancelled
        assert closed.arms[arm].failure_run == 0


@given(readings(), readings())
def test_a_sum_with_the_dead_is_of_another_life_than_the_sum_with_the_living(
    one: Samples, other: Samples
) -> None:
    before = add_samples(one, other)
    after = add_samples(close_life(one, "00000000000000bb"), other)
    assert subtract_samples(after, before) is None


def test_a_worker_that_died_unread_still_ends_the_life() -> None:
    living = Samples("00000000000000aa", 3, None, {"default": SegmentSamples({"baseline": 7})})
    after = add_samples(close_life(Samples(), "00000000000000bb"), living)
    assert subtract_samples(after, living) is None
    assert after.version == 3
    assert after.segments == living.segments
