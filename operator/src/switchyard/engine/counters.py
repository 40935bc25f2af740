"""Rates from counters of many processes that restart, come and go. Pure, no clock of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from switchyard.catalog.signal_presets import Term

_KEPT = 32  # moments kept of a window: rates are exact to a 32nd of it


def find_increases(
    terms: tuple[Term, ...], before: Mapping[str, float], after: Mapping[str, float]
) -> tuple[dict[str, float], bool]:
    """How much each counter and stock grew between two looks at one process, and whether it restarted.

    A counter that fell restarted, and with it the process: everything counts from 0. A stock that falls
    just fell. A term that was absent before counts from 0: metrics appear with their first event.
    """
    counters = [term.name for term in terms if term.kind == "counter"]
    restarted = any(after[name] < before[name] for name in counters if name in before and name in after)
    start: Mapping[str, float] = {} if restarted else before
    grown = {
        term.name: after[term.name] - start.get(term.name, 0.0)
        for term in terms
        if term.kind in ("counter", "stock") and term.name in after
    }
    return grown, restarted


@dataclass
class Timeline:
    """Totals of growth over time, thinned to what a window needs."""

    window_seconds: float
    _moments: list[tuple[float, dict[str, float]]] = field(default_factory=list)
    _totals: dict[str, float] = field(default_factory=dict)

    def advance(self, at_seconds: float, increases: Mapping[str, float]) -> None:
        """Add what grew since the last call; `at_seconds` never goes back."""
        for name, grown in increases.items():
            self._totals[name] = self._totals.get(name, 0.0) + grown
        moments = self._moments
        # the newest moment always stays; the one before only when it is far enough from its neighbour
        if len(moments) >= 2 and moments[-1][0] - moments[-2][0] < self.window_seconds / _KEPT:
            moments.pop()
        moments.append((at_seconds, dict(self._totals)))
        start = at_seconds - self.window_seconds
        while len(moments) > 2 and moments[1][0] <= start:
            moments.pop(0)

    def backdate(self, since_seconds: float, at_seconds: float, increases: Mapping[str, float]) -> None:
        """Add growth of which only the time is known in which it happened: it is spread evenly over that."""
        for moment, totals in self._moments:
            share = min(1.0, max(0.0, (moment - since_seconds) / (at_seconds - since_seconds)))
            if share > 0:
                for name, grown in increases.items():
                    totals[name] = totals.get(name, 0.0) + share * grown
        for name, grown in increases.items():
            self._totals[name] = self._totals.get(name, 0.0) + grown

    @property
    def span_seconds(self) -> float:
        """How much of the window has been seen."""
        if not self._moments:
            return 0.0
        return min(self.window_seconds, self._moments[-1][0] - self._moments[0][0])

    def rates(self) -> dict[str, float]:
        """Growth per second over the window, or over what has been seen of it; empty before two moments."""
        if self.span_seconds <= 0:
            return {}
        end, totals = self._moments[-1]
        start = end - self.span_seconds
        return {name: (total - self._total_at(name, start)) / (end - start) for name, total in totals.items()}

    def _total_at(self, name: str, at_seconds: float) -> float:
        """The total at a moment, linear between the two around it."""
        earlier_at, earlier = self._moments[0]
        if at_seconds <= earlier_at or len(self._moments) < 2:
            return earlier.get(name, 0.0)
        later_at, later = self._moments[1]
        share = (at_seconds - earlier_at) / (later_at - earlier_at)
        before = earlier.get(name, 0.0)
        return before + share * (later.get(name, 0.0) - before)
