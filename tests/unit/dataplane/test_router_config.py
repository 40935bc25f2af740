"""Which routing documents a router takes, and what it says of those that it does not."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchyard.core.routing.document import RoutingDocument
from switchyard.dataplane.control.config import (
    FILE,
    MAX_DOCUMENT_BYTES,
    PUSH,
    ConfigHolder,
    Outcome,
    Report,
)
from switchyard.dataplane.control.config_file import look_at_file, read_file, watch_file
from switchyard.dataplane.control.fleet import NotConfirmed, WorkerState, count_cpus, find_lowest_version


def write_document(version: int, url: str = "http://127.0.0.1:9001", **fields: Any) -> bytes:
    return json.dumps({"version": version, "arms": {"baseline": {"url": url}}, **fields}).encode()


class Rig:
    """A holder whose fleet is a list of what was installed. Each look at its clock is a second later."""

    def __init__(self, find_problems: Callable[[RoutingDocument], tuple[str, ...]] = lambda _: ()) -> None:
        self.installed: list[RoutingDocument] = []
        self.refusal: tuple[str, ...] = ()
        self.seconds = 0
        self.holder = ConfigHolder(self.install, find_problems, self.now)

    async def install(self, document: RoutingDocument) -> None:
        self.installed.append(document)
        if self.refusal:
            raise NotConfirmed(self.refusal)

    def now(self) -> datetime:
        self.seconds += 1
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.seconds)

    def take(self, text: bytes, source: str = PUSH) -> Report:
        return asyncio.run(self.holder.take(text, source))


@pytest.mark.parametrize(
    ("text", "outcome", "in_force"),
    [
        pytest.param(write_document(8), Outcome.APPLIED, 8, id="a higher version is taken"),
        pytest.param(write_document(7), Outcome.UNCHANGED, 7, id="the same document changes nothing"),
        pytest.param(
            b" " + write_document(7, segments=[{"name": "default"}]),
            Outcome.UNCHANGED,
            7,
            id="the same document in other words changes nothing",
        ),
        pytest.param(
            write_document(7, url="http://127.0.0.1:9002"),
            Outcome.CONTRADICTING,
            7,
            id="other content under the same version is refused",
        ),
        pytest.param(write_document(6), Outcome.OLDER, 7, id="a lower version is ignored"),
        pytest.param(b"", Outcome.INVALID, 7, id="an empty text"),
        pytest.param(write_document(8)[:-1], Outcome.INVALID, 7, id="half a document"),
        pytest.param(b"\xff\xfe", Outcome.INVALID, 7, id="bytes that are no text"),
        pytest.param(b"[" * 100_000, Outcome.INVALID, 7, id="nested without end"),
        pytest.param(b" " * MAX_DOCUMENT_BYTES + b"1", Outcome.INVALID, 7, id="too long"),
        pytest.param(b"[]", Outcome.INVALID, 7, id="not an object"),
    ],
)
def test_versions_only_rise_and_bad_documents_leave_the_good_one_in_force(
    text: bytes, outcome: Outcome, in_force: int
) -> None:
    rig = Rig()
    rig.take(write_document(7))
    report = rig.take(text)
    assert report.outcome is outcome
    assert bool(report.problems) == (outcome not in {Outcome.APPLIED, Outcome.UNCHANGED})
    assert rig.holder.document is not None
    assert rig.holder.document.version == rig.installed[-1].version == in_force


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["9001", "9002"])), max_size=12))
def test_whatever_is_offered_the_version_in_force_never_falls_and_never_changes_its_content(
    offers: list[tuple[int, str]],
) -> None:
    rig = Rig()
    for version, port in offers:
        rig.take(write_document(version, url=f"http://127.0.0.1:{port}"))
    versions = [document.version for document in rig.installed]
    assert versions == sorted(versions)
    assert len({document.encode() for document in rig.installed}) == len(set(versions))


def test_each_problem_has_a_line_that_names_the_field() -> None:
    report = Rig().take(b'{"version": -1, "arms": {"baseline": {"url": "https://x"}}, "colour": 1}')
    assert [line.partition(":")[0] for line in report.problems] == ["version", "arms.baseline.url", "colour"]


def test_a_document_with_very_many_problems_is_not_repeated_whole() -> None:
    segments = [{"name": "UPPER" * 200, "match": {"pathPrefix": "x"}} for _ in range(16)] * 3
    report = Rig().take(write_document(1, segments=segments, comparators=[{"type": "?" * 900}] * 40))
    assert sum(len(line) for line in report.problems) < 20_000
    assert report.problems


def test_what_comparators_can_not_do_counts_as_a_bad_document() -> None:
    rig = Rig(lambda document: ("comparators[0].type: no such",) if document.version == 2 else ())
    assert rig.take(write_document(1)).outcome is Outcome.APPLIED
    report = rig.take(write_document(2))
    assert (report.outcome, report.problems) == (Outcome.INVALID, ("comparators[0].type: no such",))
    assert rig.holder.document is not None
    assert rig.holder.document.version == 1


def test_an_error_is_shown_with_its_time_until_its_own_source_makes_it_good() -> None:
    rig = Rig()
    rig.take(write_document(1), FILE)
    rig.take(b"{", FILE)
    rig.take(write_document(2), PUSH)
    error = rig.holder.last_error
    assert error is not None
    assert (error.source, error.at.second) == (FILE, 2)
    rig.take(write_document(3), FILE)
    assert rig.holder.last_error is None


def test_a_file_that_lags_behind_what_was_pushed_is_reported_but_no_error() -> None:
    rig = Rig()
    rig.take(write_document(2), PUSH)
    rig.take(write_document(1), FILE)
    assert rig.holder.last_error is None
    assert rig.holder.reports[FILE].outcome is Outcome.OLDER
    assert "version: 1" in rig.holder.reports[FILE].problems[0]


def test_a_document_that_a_worker_has_not_confirmed_is_wanted_all_the_same_and_can_be_given_again() -> None:
    rig = Rig()
    rig.refusal = ("worker 1: restarting",)
    report = rig.take(write_document(1))
    assert (report.outcome, report.problems) == (Outcome.UNCONFIRMED, ("worker 1: restarting",))
    assert rig.holder.document is not None
    rig.refusal = ()
    assert rig.take(write_document(1)).outcome is Outcome.UNCHANGED
    assert [document.version for document in rig.installed] == [1, 1]


def test_documents_come_into_force_one_after_the_other() -> None:
    async def play() -> list[str]:
        events = []
        first_may_end = asyncio.Event()

        async def install(document: RoutingDocument) -> None:
            events.append(f"begin {document.version}")
            if document.version == 1:
                await first_may_end.wait()
            events.append(f"end {document.version}")

        holder = ConfigHolder(install)
        takes = [asyncio.create_task(holder.take(write_document(v), PUSH)) for v in (1, 2)]
        for _ in range(5):
            await asyncio.sleep(0)
        first_may_end.set()
        await asyncio.gather(*takes)
        return events

    assert asyncio.run(play()) == ["begin 1", "end 1", "begin 2", "end 2"]


def _swap_link(directory: Path, version: int) -> None:
    """As a kubelet does: a new directory, then the link `..data` renamed over the old one."""
    real = directory / f"..{version}"
    real.mkdir()
    (real / "routing.json").write_bytes(write_document(version))
    link = directory / "..data_tmp"
    link.symlink_to(real.name)
    link.replace(directory / "..data")
    if not (directory / "routing.json").is_symlink():
        (directory / "routing.json").symlink_to("..data/routing.json")


def test_a_mounted_file_is_taken_anew_when_its_link_is_swapped(tmp_path: Path) -> None:
    async def play() -> None:
        arrivals: asyncio.Queue[RoutingDocument] = asyncio.Queue()
        _swap_link(tmp_path, 1)
        holder = ConfigHolder(arrivals.put)
        watch = asyncio.create_task(watch_file(holder, tmp_path / "routing.json", look_seconds=0.005))
        for version in (1, 2, 3):
            if version > 1:
                _swap_link(tmp_path, version)
            async with asyncio.timeout(10):
                assert (await arrivals.get()).version == version
        watch.cancel()

    asyncio.run(play())


def test_a_file_is_looked_at_through_all_that_can_happen_to_it(tmp_path: Path) -> None:
    path = tmp_path / "routing.json"
    rig = Rig()
    seen: bytes | None = None

    def look() -> Report:
        nonlocal seen
        seen = asyncio.run(look_at_file(rig.holder, path, seen))
        return rig.holder.reports[FILE]

    absent = look()
    assert absent.outcome is Outcome.UNREADABLE
    assert str(path) in absent.problems[0]

    path.mkdir()
    assert look().outcome is Outcome.UNREADABLE
    path.rmdir()

    os.mkfifo(path)  # would hold up whoever opens it plainly
    assert look().outcome is Outcome.UNREADABLE
    path.unlink()

    path.write_bytes(write_document(1)[:20])
    assert look().outcome is Outcome.INVALID

    path.write_bytes(write_document(1))
    assert look().outcome is Outcome.APPLIED
    before = rig.holder.taken.total()
    look()
    assert rig.holder.taken.total() == before  # the same content is not offered again

    path.unlink()
    assert look().outcome is Outcome.UNREADABLE
    assert rig.holder.document is not None
    path.write_bytes(write_document(1))
    assert look().outcome is Outcome.UNCHANGED
    assert rig.holder.last_error is None


def test_a_file_is_offered_again_until_every_worker_has_confirmed_it(tmp_path: Path) -> None:
    path = tmp_path / "routing.json"
    path.write_bytes(write_document(1))
    rig = Rig()
    rig.refusal = ("worker 0: silent",)
    seen = asyncio.run(look_at_file(rig.holder, path, None))
    rig.refusal = ()
    seen = asyncio.run(look_at_file(rig.holder, path, seen))
    assert rig.holder.last_error is None
    assert seen == write_document(1)


def test_no_more_of_a_file_is_read_than_a_document_may_have(tmp_path: Path) -> None:
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    assert len(read_file(path)) == MAX_DOCUMENT_BYTES + 1


@pytest.mark.parametrize(
    ("versions", "lowest"),
    [((), None), ((None,), None), ((3,), 3), ((3, 2), 2), ((3, None), None), ((0, 4), 0)],
)
def test_the_version_in_force_is_the_lowest_of_all_workers(
    versions: tuple[int | None, ...], lowest: int | None
) -> None:
    workers = tuple(WorkerState(str(index), version=version) for index, version in enumerate(versions))
    assert find_lowest_version(workers) == lowest


@pytest.mark.parametrize(
    ("quota", "at_most"),
    [("100000 100000", 1), ("150000 100000", 2), ("10000 100000", 1), ("max 100000", 1 << 20), ("", 1 << 20)],
)
def test_cpus_are_counted_within_the_quota_of_the_container(tmp_path: Path, quota: str, at_most: int) -> None:
    file = tmp_path / "cpu.max"
    file.write_text(quota)
    assert count_cpus(file) == min(at_most, len(os.sched_getaffinity(0)))
