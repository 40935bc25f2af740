"""When traffic may move: windows by weekday and hour, each in a time zone of its own. Pure.

A window whose end is not after its start ends on the next day. Where clocks go forward over a start, it
opens at the first minute that exists; where they go back, the hour counts both times. No window at all:
always open.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from switchyard.core.cutover.types import WindowFacts

_MINUTE = timedelta(minutes=1)
_DAYS_AHEAD = 9  # a window a week, and the day on either side of it in another zone


def is_open(windows: Sequence[WindowFacts], now: datetime) -> bool:
    """True when a window is open, or none is stated. One in an unknown zone never is."""
    return not windows or any(_is_within(window, now) for window in windows)


def next_opening(windows: Sequence[WindowFacts], now: datetime) -> datetime | None:
    """The first moment from `now` on at which a window is open, in UTC; None when there is none."""
    if is_open(windows, now):
        return now.astimezone(UTC)
    starts = (start for window in windows for start in _list_starts(window, now))
    first = min((each for each in starts if each > now and is_open(windows, each)), default=None)
    while first is not None and first - _MINUTE > now and is_open(windows, first - _MINUTE):
        first -= _MINUTE
    return first


def find_unknown_zones(windows: Sequence[WindowFacts]) -> tuple[str, ...]:
    """The time zones that the operator's database does not have."""
    return tuple(each.time_zone for each in windows if _find_zone(each.time_zone) is None)


def _is_within(window: WindowFacts, now: datetime) -> bool:
    zone = _find_zone(window.time_zone)
    if zone is None:
        return False
    local = now.astimezone(zone)
    minute, day = local.hour * 60 + local.minute, local.weekday()
    if window.start_minute < window.end_minute:
        return day in window.days and window.start_minute <= minute < window.end_minute
    is_evening = day in window.days and minute >= window.start_minute
    is_morning = (day - 1) % 7 in window.days and minute < window.end_minute
    return is_evening or is_morning


def _list_starts(window: WindowFacts, now: datetime) -> Iterator[datetime]:
    zone = _find_zone(window.time_zone)
    if zone is None:
        return
    today = now.astimezone(zone).date()
    for ahead in range(-1, _DAYS_AHEAD):
        day = today + timedelta(days=ahead)
        hours, minutes = divmod(window.start_minute, 60)
        for hour, minute in ((hours, minutes), (0, 0)):
            for fold in (0, 1):
                local = datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone, fold=fold)
                yield local.astimezone(UTC)


def _find_zone(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None
