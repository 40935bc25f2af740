"""What went through a gateway: counted per rule, backend, status and mirror since it began."""

from __future__ import annotations

from collections import Counter
from typing import Literal

from switchyard.sandbox.client import Json

MirrorOutcome = Literal["sent", "answered", "failed", "dropped", "oversized"]


class GatewayCounts:
    """Counts by rule name, such as `HTTPRoute default/web 0`; the last word is the rule's name or index."""

    def __init__(self) -> None:
        self._requests: Counter[str] = Counter()
        self._backends: Counter[tuple[str, str]] = Counter()
        self._statuses: Counter[tuple[str, int]] = Counter()
        self._mirrors: Counter[tuple[str, str, MirrorOutcome]] = Counter()
        self.unmatched = 0

    def note_request(self, rule: str, backend: str) -> None:
        """A request was given to a backend; an empty name says that there was none to give it to."""
        self._requests[rule] += 1
        if backend:
            self._backends[rule, backend] += 1

    def note_status(self, rule: str, status: int) -> None:
        """A user got an answer. Status 0: the connection broke after the answer had begun."""
        self._statuses[rule, status] += 1

    def note_mirror(self, rule: str, target: str, outcome: MirrorOutcome) -> None:
        """Something became of a copy: it is sent, dropped or oversized; of a sent one also the end.

        A request whose body never came to its end has no copies.
        """
        self._mirrors[rule, target, outcome] += 1

    def requests(self, rule: str) -> int:
        """The requests that a rule took."""
        return self._requests[rule]

    def backends(self, rule: str) -> dict[str, int]:
        """The requests of a rule by backend, `namespace/service:port`."""
        return {backend: count for (name, backend), count in self._backends.items() if name == rule}

    def statuses(self, rule: str) -> dict[int, int]:
        """The answers of a rule by status."""
        return {status: count for (name, status), count in self._statuses.items() if name == rule}

    def mirrors(self, rule: str) -> dict[str, dict[MirrorOutcome, int]]:
        """What became of a rule's copies, by their target."""
        found: dict[str, dict[MirrorOutcome, int]] = {}
        for (name, target, outcome), count in self._mirrors.items():
            if name == rule:
                found.setdefault(target, {})[outcome] = count
        return found

    def show(self) -> Json:
        """All of it as JSON."""
        return {
            "unmatched": self.unmatched,
            "rules": {
                rule: {
                    "requests": count,
                    "backends": self.backends(rule),
                    "statuses": {str(status): count for status, count in self.statuses(rule).items()},
                    "mirrors": self.mirrors(rule),
                }
                for rule, count in sorted(self._requests.items())
            },
        }
