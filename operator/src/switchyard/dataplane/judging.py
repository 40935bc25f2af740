"""Where answers are compared: small ones at once, large ones in a thread, so that users don't wait."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from switchyard.core.routing.document import RoutingDocument
from switchyard.dataplane.compare.port import Comparator, Score
from switchyard.dataplane.compare.registry import build_comparators
from switchyard.dataplane.exchange import Answer

_AT_ONCE_BYTES = 16 << 10


class Judge:
    """Compares by the comparators of a document."""

    def __init__(self) -> None:
        self._version = -1
        self._comparators: tuple[Comparator, ...] = ()
        self._thread: ThreadPoolExecutor | None = None

    def prepare(self, document: RoutingDocument) -> None:
        """Make the comparators of a document."""
        if document.version != self._version:
            self._comparators = build_comparators(document.comparators)
            self._version = document.version

    @property
    def comparators(self) -> tuple[Comparator, ...]:
        """Those of the document in force."""
        return self._comparators

    async def judge(self, document: RoutingDocument, baseline: Answer, other: Answer) -> Mapping[str, Score]:
        """The score of each comparator."""
        self.prepare(document)
        comparators = self._comparators
        if len(baseline.body.prefix) + len(other.body.prefix) <= _AT_ONCE_BYTES:
            return _compare(comparators, baseline, other)
        if self._thread is None:
            self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="compare")
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, _compare, comparators, baseline, other)

    def close(self) -> None:
        """Stop comparing."""
        if self._thread is not None:
            self._thread.shutdown(wait=False, cancel_futures=True)
            self._thread = None


def _compare(comparators: tuple[Comparator, ...], baseline: Answer, other: Answer) -> dict[str, Score]:
    return {each.name: each.compare(baseline, other) for each in comparators}
