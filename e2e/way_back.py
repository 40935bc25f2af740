"""How a plan went back, in figures: how long it took to see what was wrong, and what users had of it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from e2e.marked_traffic import MarkedTraffic

PROMISED_SECONDS = 3.0  # one interval of these scenarios, and two seconds
SLACK_SECONDS = 4.0  # for a machine that is busy with other things


@dataclass(frozen=True, slots=True)
class WayBack:
    """Seconds from the fault to the verdict, from that to the path's word, and to the last failed request."""

    detected_seconds: float
    confirmed_seconds: float
    last_failure_seconds: float
    failures: int
    asked: int

    def __str__(self) -> str:
        return (
            f"{self.failures} of {self.asked} requests failed; seen {self.detected_seconds:.1f} s after the "
            f"fault, confirmed on the baseline {self.confirmed_seconds:.1f} s later, the last failure "
            f"{self.last_failure_seconds:+.1f} s from the verdict"
        )

    def assert_prompt(self) -> None:
        """From the verdict to the last trace of it: an interval and two seconds, and slack."""
        most = PROMISED_SECONDS + SLACK_SECONDS
        assert self.confirmed_seconds <= most, self
        assert self.last_failure_seconds <= most, self

    def assert_bounded(self, failing_per_second: float) -> None:
        """Users failed at most at that rate, from the fault until the traffic was back."""
        most = failing_per_second * (self.detected_seconds + self.confirmed_seconds)
        assert self.failures <= 1.3 * most + 10, f"{self}; at most {most:.0f} expected"


def measure_way_back(status: dict[str, Any], traffic: MarkedTraffic, since: float) -> WayBack:
    """The figures of a plan that has gone back. `since`: when the fault began, on the monotonic clock."""
    offset = time.time() - time.monotonic()
    verdict = find_entry(status, "RollingBack")
    confirmed = _read(status["machine"]["stageSince"])
    failed = traffic.failed_since(since)
    last = max((each.at for each in failed), default=since) + offset
    found = WayBack(
        detected_seconds=verdict - offset - since,
        confirmed_seconds=confirmed - verdict,
        last_failure_seconds=last - verdict,
        failures=len(failed),
        asked=traffic.sent,
    )
    print(found)
    return found


def find_entry(status: dict[str, Any], phase: str) -> float:
    """When a phase began last, in seconds of the epoch."""
    return _read([each["at"] for each in status["history"] if each["phase"] == phase][-1])


def _read(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()
