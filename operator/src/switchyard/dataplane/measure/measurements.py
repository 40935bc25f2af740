"""All that one event loop's router measures. Called for every request: it only adds to numbers."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Literal

from switchyard.core.routing.document import BASELINE, CANDIDATE, RoutingDocument
from switchyard.core.routing.samples import NOISE, Samples, SegmentSamples, ShadowCounts
from switchyard.dataplane.compare.port import Score
from switchyard.dataplane.exchange import Answer, Request
from switchyard.dataplane.measure.counters import ArmCells
from switchyard.dataplane.measure.layout import Layout, build_layout, means_the_same
from switchyard.dataplane.measure.pairs import PairCells

Arm = Literal["baseline", "candidate"]
ShadowArm = Literal["baseline", "candidate", "noise"]

MAX_REMOVED_SEGMENTS = 16


class _SegmentCells:
    __slots__ = (
        "_layout",
        "arms",
        "completed",
        "dropped",
        "pairs",
        "sampled",
        "sent",
        "shadows",
        "started",
        "tunnels",
    )

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self.started = {BASELINE: 0, CANDIDATE: 0}
        self.tunnels = {BASELINE: 0, CANDIDATE: 0}
        self.arms = {arm: ArmCells(layout) for arm in (BASELINE, CANDIDATE)}
        self.shadows = {arm: ArmCells(layout) for arm in (BASELINE, CANDIDATE, NOISE)}
        self.sampled = self.sent = self.completed = 0
        self.dropped: dict[str, int] = {}
        self.pairs: dict[int, PairCells] = {}

    def read(self) -> SegmentSamples:
        arms = {arm: cells.read() for arm, cells in self.arms.items()}
        shadows = {arm: cells.read() for arm, cells in self.shadows.items()}
        names = self._layout.stratum_names
        return SegmentSamples(
            started={arm: count for arm, count in self.started.items() if count},
            arms={arm: samples for arm, samples in arms.items() if samples.strata},
            tunnels={arm: count for arm, count in self.tunnels.items() if count},
            shadows={arm: samples for arm, samples in shadows.items() if samples.strata},
            shadow=ShadowCounts(self.sampled, self.sent, self.completed, dict(self.dropped)),
            pairs={names[stratum]: cells.read() for stratum, cells in sorted(self.pairs.items())},
        )


def make_epoch() -> str:
    """A name for a life that no other life has."""
    return secrets.token_hex(8)


class Measurements:
    """Counts of all segments since the life began, for one thread.

    Counts go on when the document changes. A new life, with a new epoch, begins where the numbers would
    change their meaning: when edges, strata, thresholds or comparators change, or when more segments have
    been removed than are kept. Requests under way are carried over into it. Segments that the document no
    longer has stay readable until then.
    """

    def __init__(
        self, document: RoutingDocument | None = None, make_epoch: Callable[[], str] = make_epoch
    ) -> None:
        self._make_epoch = make_epoch
        self._epoch = make_epoch()
        self._document: RoutingDocument | None = None
        self._layout = build_layout(_NO_DOCUMENT)
        self._segments: dict[str, _SegmentCells] = {}
        self._nowhere = _SegmentCells(self._layout)  # for requests whose segment is gone; never read
        self._refused: dict[int, int] = {}
        if document is not None:
            self.reconfigure(document)

    # -- what happened ---------------------------------------------------------------------------

    def record_started(self, segment: str, arm: Arm) -> None:
        """A user's request was taken for an arm. Its end is told by record_answer or record_tunnel."""
        self._find(segment).started[arm] += 1

    def record_answer(self, segment: str, arm: Arm, request: Request, answer: Answer) -> None:
        """A user's request came to its end."""
        self._find(segment).arms[arm].add(self._layout.find_stratum(request, answer), answer)

    def record_tunnel(self, segment: str, arm: Arm) -> None:
        """A user's request became a connection of another protocol, and that has ended."""
        self._find(segment).tunnels[arm] += 1

    def record_refused(self, status: int) -> None:
        """The router answered a request itself, with this status."""
        self._refused[status] = self._refused.get(status, 0) + 1

    def record_sampled(self, segment: str) -> None:
        """A request was drawn for shadowing."""
        self._find(segment).sampled += 1

    def record_dropped(self, segment: str, reason: str) -> None:
        """A request that was drawn is not copied. `reason`: one of few words, since it becomes a label."""
        dropped = self._find(segment).dropped
        dropped[reason] = dropped.get(reason, 0) + 1

    def record_sent(self, segment: str) -> None:
        """A copy is sent to either backend. Its end is told by record_shadow."""
        self._find(segment).sent += 1

    def record_shadow(self, segment: str, arm: ShadowArm, request: Request, answer: Answer) -> None:
        """A copy came to its end."""
        cells = self._find(segment)
        cells.completed += 1
        cells.shadows[arm].add(self._layout.find_stratum(request, answer), answer)

    def record_pair(
        self,
        segment: str,
        request: Request,
        baseline: Answer,
        candidate: Answer,
        *,
        scores: Mapping[str, Score],
        noise: Mapping[str, Score] | None,
    ) -> None:
        """Both arms answered a request. Where either was cancelled there is no pair.

        `noise`: scores of the baseline's second answer; None where there is none, or where it failed or has
        another status than the first: that is no measure of how far two good answers differ.
        """
        if "cancelled" in (baseline.failure, candidate.failure):
            return
        pairs = self._find(segment).pairs
        stratum = self._layout.find_stratum(request, baseline)
        cells = pairs.get(stratum)
        if cells is None:
            cells = pairs[stratum] = PairCells(self._layout)
        cells.add(baseline, candidate, scores, noise)

    def _find(self, segment: str) -> _SegmentCells:
        return self._segments.get(segment, self._nowhere)

    # -- the document, and reading ---------------------------------------------------------------

    def reconfigure(self, document: RoutingDocument) -> None:
        """Measure by this document. Raises RoutingDocumentError, and changes nothing, where that can't be."""
        names = [segment.name for segment in document.segments]
        removed = len(self._segments.keys() - set(names))
        earlier = self._document
        if earlier is None or not means_the_same(earlier, document) or removed > MAX_REMOVED_SEGMENTS:
            self._begin_life(build_layout(document), names, is_first=earlier is None)
        for name in names:
            if name not in self._segments:
                self._segments[name] = _SegmentCells(self._layout)
        self._document = document

    def _begin_life(self, layout: Layout, names: list[str], *, is_first: bool) -> None:
        before = {name: cells.read() for name, cells in self._segments.items()}
        self._layout = layout
        self._nowhere = _SegmentCells(layout)
        self._segments = {}
        for name in names:
            if name in before:
                cells = self._segments[name] = _SegmentCells(layout)
                cells.started = {arm: max(0, before[name].in_flight(arm)) for arm in cells.started}
                cells.sent = max(0, before[name].shadow.in_flight)
        if not is_first:
            self._epoch = self._make_epoch()
            self._refused = {}

    def snapshot(self, at: datetime) -> Samples:
        """All that was counted since the life began. `at` needs a time zone."""
        return Samples(
            epoch=self._epoch,
            version=None if self._document is None else self._document.version,
            at=at,
            segments={name: cells.read() for name, cells in self._segments.items()},
            refused=dict(self._refused),
        )


_NO_DOCUMENT = RoutingDocument.model_validate({"version": 0, "arms": {"baseline": {"url": "http://none:1"}}})
