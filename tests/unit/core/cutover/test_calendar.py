"""Windows open and close where a wall clock in their zone says so."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from switchyard.core.cutover.calendar import find_unknown_zones, is_open, next_opening
from switchyard.core.cutover.types import WindowFacts

DAILY = frozenset(range(7))
WEEKDAYS = frozenset(range(5))
BERLIN = WindowFacts(WEEKDAYS, 9 * 60, 16 * 60, "Europe/Berlin")
NIGHTS = WindowFacts(frozenset({4}), 22 * 60, 4 * 60, "UTC")  # Friday to Saturday morning


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("window", "moment", "expected"),
    [
        (BERLIN, "2026-01-05 08:00", True),  # Monday, 09:00 in winter
        (BERLIN, "2026-01-05 07:59", False),
        (BERLIN, "2026-07-06 07:00", True),  # Monday, 09:00 in summer
        (BERLIN, "2026-07-06 13:59", True),
        (BERLIN, "2026-07-06 14:00", False),
        (BERLIN, "2026-07-04 10:00", False),  # Saturday
        (NIGHTS, "2026-11-20 22:00", True),
        (NIGHTS, "2026-11-21 03:59", True),
        (NIGHTS, "2026-11-21 04:00", False),
        (NIGHTS, "2026-11-21 22:00", False),
        (NIGHTS, "2026-11-20 03:00", False),  # the morning after Thursday
        (WindowFacts(DAILY, 0, 24 * 60 - 1, "Asia/Kathmandu"), "2026-11-21 18:14", False),
        (WindowFacts(DAILY, 0, 24 * 60 - 1, "Asia/Kathmandu"), "2026-11-21 18:15", True),
        (WindowFacts(DAILY, 0, 1440, "Nowhere/Here"), "2026-11-21 18:15", False),
    ],
)
def test_a_window_is_open_by_the_clock_of_its_zone(window: WindowFacts, moment: str, expected: bool):  # noqa: FBT001
    assert is_open((window,), at(moment)) is expected


def test_without_windows_it_is_always_open():
    assert is_open((), at("2026-11-21 03:00"))
    assert next_opening((), at("2026-11-21 03:00")) == at("2026-11-21 03:00")


@pytest.mark.parametrize(
    ("windows", "moment", "expected"),
    [
        ((BERLIN,), "2026-11-21 12:00", "2026-11-23 08:00"),
        ((BERLIN, NIGHTS), "2026-11-21 12:00", "2026-11-23 08:00"),
        ((NIGHTS,), "2026-11-21 04:00", "2026-11-27 22:00"),
        ((BERLIN,), "2026-11-23 09:00", "2026-11-23 09:00"),
        # 02:30 does not exist on this day: the clock goes from 02:00 to 03:00, which is within the window
        ((WindowFacts(DAILY, 150, 240, "Europe/Berlin"),), "2026-03-29 00:00", "2026-03-29 01:00"),
        # 02:00 to 03:00 comes twice on this day, and so does the window within it
        ((WindowFacts(DAILY, 130, 150, "Europe/Berlin"),), "2026-10-25 00:35", "2026-10-25 01:10"),
    ],
)
def test_the_next_opening(windows: tuple[WindowFacts, ...], moment: str, expected: str):
    assert next_opening(windows, at(moment)) == at(expected)


def test_a_window_in_a_zone_that_nobody_knows_never_opens_and_is_named():
    windows = (WindowFacts(DAILY, 0, 60, "Nowhere/Here"), BERLIN, WindowFacts(DAILY, 0, 60, "../etc/passwd"))
    assert find_unknown_zones(windows) == ("Nowhere/Here", "../etc/passwd")
    assert next_opening(windows[:1], at("2026-11-21 12:00")) is None


windows_of_any_kind = st.builds(
    WindowFacts,
    st.frozensets(st.integers(0, 6), min_size=1),
    st.integers(0, 1439),
    st.integers(0, 1439),
    st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Pacific/Apia"]),
).filter(lambda window: window.start_minute != window.end_minute)
# the nights in which clocks change, and any other time
moments = st.one_of(
    st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1)),  # noqa: DTZ001  (the zone follows)
    st.datetimes(datetime(2026, 3, 28, 20), datetime(2026, 3, 29, 4)),  # noqa: DTZ001
    st.datetimes(datetime(2026, 10, 24, 20), datetime(2026, 10, 25, 4)),  # noqa: DTZ001
    st.datetimes(datetime(2026, 4, 4, 10), datetime(2026, 4, 4, 18)),  # noqa: DTZ001
).map(lambda moment: moment.replace(tzinfo=UTC, second=0, microsecond=0))


@settings(max_examples=200, deadline=None)
@given(st.lists(windows_of_any_kind, min_size=1, max_size=3).map(tuple), moments)
def test_the_next_opening_is_open_and_nothing_is_before_it(windows: tuple[WindowFacts, ...], now: datetime):
    opening = next_opening(windows, now)
    assert opening is not None
    assert opening >= now
    assert is_open(windows, opening)
    assert opening - now < timedelta(days=9)
    if opening > now:
        assert not is_open(windows, now)
        before = [opening - timedelta(minutes=minutes) for minutes in (1, 7, 31, 61, 119)]
        assert not any(is_open(windows, each) for each in before if each >= now)
