"""What the observer of sights asks of metrics, as a Protocol: answers by track, values of signal gates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from switchyard.core.cutover.orders import SignalQuery, SignalValue, TrackCounts, TrackWatch
from switchyard.engine.ports import Failed


class MetricReader(Protocol):
    """Reads metrics. No method raises for what the outside does; a result says it."""

    async def count_tracks(self, watch: TrackWatch) -> Mapping[str, TrackCounts] | Failed:
        """What both arms have answered, read together; an arm without a ready pod is left out."""
        ...

    async def ask_signals(self, queries: Mapping[str, SignalQuery]) -> Mapping[str, SignalValue]:
        """The value of each query, or why there is none."""
        ...
