"""How old something is, in the words of kubectl. Source: k8s.io/apimachinery/pkg/util/duration."""

from __future__ import annotations

from datetime import UTC, datetime

UNKNOWN = "<unknown>"
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_YEAR = 365 * _DAY


def human_duration(seconds: float) -> str:
    """`5s`, `2m30s`, `47m`, `3h12m`, `5d4h`, `100d`, `2y30d`."""
    whole = int(seconds)
    if whole < -1:
        return "<invalid>"
    if whole < 0:
        return "0s"
    for limit, unit, sign, below, below_sign in (
        (2 * _MINUTE, 1, "s", 0, ""),
        (10 * _MINUTE, _MINUTE, "m", 1, "s"),
        (3 * _HOUR, _MINUTE, "m", 0, ""),
        (8 * _HOUR, _HOUR, "h", _MINUTE, "m"),
        (2 * _DAY, _HOUR, "h", 0, ""),
        (8 * _DAY, _DAY, "d", _HOUR, "h"),
        (2 * _YEAR, _DAY, "d", 0, ""),
        (8 * _YEAR, _YEAR, "y", _DAY, "d"),
    ):
        if whole < limit:
            rest = whole % unit // below if below else 0
            return f"{whole // unit}{sign}" + (f"{rest}{below_sign}" if rest else "")
    return f"{whole // _YEAR}y"


def age(timestamp: str | None) -> str:
    """How long ago an RFC 3339 time was; `<unknown>` without one."""
    if not timestamp:
        return UNKNOWN
    try:
        moment = datetime.fromisoformat(timestamp)
    except ValueError:
        return UNKNOWN
    return human_duration((datetime.now(UTC) - moment.astimezone(UTC)).total_seconds())
