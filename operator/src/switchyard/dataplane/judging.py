"""Where answers are compared: small ones at once, large ones in a process apart, so that users don't wait.

A thread would not do: parsing a large JSON body holds the interpreter for as long as it takes.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import threading
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait

from switchyard.core.routing.document import Comparator as ComparatorRequest
from switchyard.core.routing.document import RoutingDocument
from switchyard.dataplane.compare.coding import name_codings
from switchyard.dataplane.compare.port import Comparator, Score
from switchyard.dataplane.compare.registry import build_comparators
from switchyard.dataplane.exchange import Answer

logger = logging.getLogger(__name__)

_AT_ONCE_BYTES = 16 << 10  # about a millisecond by the slowest comparator
_NICENESS = 10
_GONE = Score(0.0, "the comparing process ended", is_comparable=False)

Scores = Mapping[str, Score]


class Judge:
    """Compares by the comparators of a document."""

    def __init__(self) -> None:
        self._requests: tuple[ComparatorRequest, ...] = ()
        self._comparators: tuple[Comparator, ...] = ()
        self._process: ProcessPoolExecutor | None = None

    def prepare(self, document: RoutingDocument) -> None:
        """Make the comparators of a document. Raises RoutingDocumentError where one can't be."""
        if document.comparators != self._requests:
            self._comparators = build_comparators(document.comparators)
            self._requests = document.comparators

    async def judge(self, document: RoutingDocument, baseline: Answer, other: Answer) -> Scores:
        """The score of each comparator."""
        self.prepare(document)
        comparators = self._comparators
        if is_quick(baseline, other):
            return compare(comparators, baseline, other)
        if self._process is None:
            self._process = ProcessPoolExecutor(
                1, multiprocessing.get_context("spawn"), initializer=_begin_process
            )
        process = self._process
        try:
            return await asyncio.get_running_loop().run_in_executor(
                process, _compare_apart, document.comparators, baseline, other
            )
        except BrokenProcessPool:
            logger.warning("the comparing process ended; the next pair starts another")
            if self._process is process:
                self._process = None
            return {each.name: _GONE for each in comparators}

    def close(self) -> None:
        """Stop comparing."""
        if self._process is not None:
            self._process.shutdown(wait=False, cancel_futures=True)
            self._process = None


def is_quick(baseline: Answer, other: Answer) -> bool:
    """Whether comparing takes so little that no user notices."""
    size = len(baseline.body.prefix) + len(other.body.prefix)
    return size <= _AT_ONCE_BYTES and not name_codings(baseline) and not name_codings(other)


def compare(comparators: tuple[Comparator, ...], baseline: Answer, other: Answer) -> Scores:
    """The score of each comparator."""
    return {each.name: each.compare(baseline, other) for each in comparators}


# -- in the process apart ------------------------------------------------------------------------

_made: list[tuple[tuple[ComparatorRequest, ...], tuple[Comparator, ...]]] = []  # the last ones


def _begin_process() -> None:
    """Give way to users, and end when the router does, however it ends."""
    os.nice(_NICENESS)
    parent = multiprocessing.parent_process()
    if parent is not None:
        sentinel = parent.sentinel
        threading.Thread(target=lambda: wait([sentinel]) and os._exit(0), daemon=True).start()


def _compare_apart(requests: tuple[ComparatorRequest, ...], baseline: Answer, other: Answer) -> Scores:
    if not _made or _made[0][0] != requests:
        _made[:] = [(requests, build_comparators(requests))]
    return compare(_made[0][1], baseline, other)
