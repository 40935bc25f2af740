"""The routing document in force: which documents are taken, and what became of the last of each source.

A higher version is taken. The version in force with equal content changes nothing, with other content it is
refused. A lower one is ignored. A document that can't be followed leaves the last good one in force.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from switchyard.core.errors import RoutingDocumentError
from switchyard.core.routing.document import RoutingDocument, parse_routing_document
from switchyard.dataplane.control.fleet import NotConfirmed

logger = logging.getLogger(__name__)

MAX_DOCUMENT_BYTES = 1 << 20
_MAX_PROBLEMS = 32
_MAX_PROBLEM_LENGTH = 400

FILE, PUSH = "file", "push"


class Outcome(StrEnum):
    """What became of a document."""

    APPLIED = "applied"
    UNCHANGED = "unchanged"
    OLDER = "older"
    CONTRADICTING = "contradicting"
    INVALID = "invalid"
    UNREADABLE = "unreadable"
    UNCONFIRMED = "unconfirmed"


# An older one is none: the file may lag behind what was pushed, by as long as a kubelet needs.
ERRORS = frozenset({Outcome.CONTRADICTING, Outcome.INVALID, Outcome.UNREADABLE, Outcome.UNCONFIRMED})


@dataclass(frozen=True, slots=True)
class Report:
    """What became of a document. `problems` is empty where it is in force everywhere."""

    source: str
    outcome: Outcome
    at: datetime
    version: int | None = None
    problems: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The report as the admin port shows it."""
        return {
            "source": self.source,
            "outcome": self.outcome.value,
            "at": self.at.isoformat(timespec="milliseconds"),
            "version": self.version,
            "problems": list(self.problems),
        }


class ConfigHolder:
    """Holds the document in force and brings newer ones into force, one at a time.

    `install` brings a document into force and raises NotConfirmed where that is not so everywhere.
    `find_problems` says what is wrong with a document beyond its form.
    """

    def __init__(
        self,
        install: Callable[[RoutingDocument], Awaitable[None]],
        find_problems: Callable[[RoutingDocument], Sequence[str]] = lambda _: (),
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._install = install
        self._find_problems = find_problems
        self._now = now
        self._turn = asyncio.Lock()
        self._document: RoutingDocument | None = None
        self._reports: dict[str, Report] = {}
        self.taken: Counter[tuple[str, Outcome]] = Counter()

    @property
    def document(self) -> RoutingDocument | None:
        """The last document that was taken; None before the first."""
        return self._document

    @property
    def reports(self) -> Mapping[str, Report]:
        """What became of the last document of each source."""
        return self._reports

    @property
    def last_error(self) -> Report | None:
        """The newest error that its source has not made good."""
        errors = [report for report in self._reports.values() if report.outcome in ERRORS]
        return max(errors, key=lambda report: report.at, default=None)

    async def take(self, text: bytes, source: str) -> Report:
        """What became of this document, once it is in force or refused."""
        async with self._turn:
            return self._note(await self._judge(text, source))

    def note_unreadable(self, source: str, problem: str) -> Report:
        """Remember that a source could not be read."""
        return self._note(self._report(source, Outcome.UNREADABLE, None, problem))

    async def _judge(self, text: bytes, source: str) -> Report:
        try:
            document = read_document(text, self._find_problems)
        except RoutingDocumentError as error:
            return self._report(source, Outcome.INVALID, None, *str(error).splitlines())
        version, current = document.version, self._document
        outcome = Outcome.APPLIED
        if current is not None and version < current.version:
            problem = f"version: {version} is older than {current.version}, which is in force"
            return self._report(source, Outcome.OLDER, version, f"{problem}; give a higher one")
        if current is not None and version == current.version:
            if document != current:
                problem = f"version: {version} is in force with other content; give a higher one"
                return self._report(source, Outcome.CONTRADICTING, version, problem)
            outcome = Outcome.UNCHANGED
        self._document = document
        try:
            await self._install(document)
        except NotConfirmed as error:
            return self._report(source, Outcome.UNCONFIRMED, version, *error.problems)
        return self._report(source, outcome, version)

    def _report(self, source: str, outcome: Outcome, version: int | None, *problems: str) -> Report:
        shown = [
            line if len(line) <= _MAX_PROBLEM_LENGTH else f"{line[:_MAX_PROBLEM_LENGTH]}…"
            for line in problems
        ]
        if len(shown) > _MAX_PROBLEMS:
            shown[_MAX_PROBLEMS:] = [f"{len(shown) - _MAX_PROBLEMS} more problems"]
        return Report(source, outcome, self._now(), version, tuple(shown))

    def _note(self, report: Report) -> Report:
        before = self._reports.get(report.source)
        self._reports[report.source] = report
        self.taken[report.source, report.outcome] += 1
        if before is None or _essence(before) != _essence(report):
            level = logging.WARNING if report.outcome in ERRORS else logging.INFO
            logger.log(
                level,
                "routing document %s",
                report.outcome.value,
                extra={"source": report.source, "version": report.version, "problems": list(report.problems)},
            )
        return report


def read_document(
    text: bytes, find_problems: Callable[[RoutingDocument], Sequence[str]] = lambda _: ()
) -> RoutingDocument:
    """The document in a text. Raises RoutingDocumentError with one line per problem."""
    if len(text) > MAX_DOCUMENT_BYTES:
        raise RoutingDocumentError(f"more than {MAX_DOCUMENT_BYTES} bytes; give a shorter document")
    if not text.strip():
        raise RoutingDocumentError("empty; give a routing document as JSON")
    try:
        document = parse_routing_document(text)
    except RecursionError:
        raise RoutingDocumentError("not JSON that can be read: nested too deeply") from None
    problems = find_problems(document)
    if problems:
        raise RoutingDocumentError("\n".join(problems))
    return document


def _essence(report: Report) -> tuple[Outcome, int | None, tuple[str, ...]]:
    return report.outcome, report.version, report.problems
