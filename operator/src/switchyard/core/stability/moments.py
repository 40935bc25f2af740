"""Moments as status stores them: RFC 3339 texts in, aware datetimes out."""

from __future__ import annotations

from datetime import datetime, timedelta


def read_moment(text: str | None) -> datetime | None:
    """The moment that a status text names; None for none, and for a text that names none."""
    try:
        moment = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    return moment if moment is not None and moment.tzinfo is not None else None


def earliest(*moments: datetime | None) -> datetime | None:
    """The first of those that are given; None when none is. For `Decisions.recheck_at`."""
    return min((moment for moment in moments if moment is not None), default=None)


def later_by(moment: datetime, seconds: float) -> datetime:
    """`moment` that much later."""
    return moment + timedelta(seconds=seconds)
