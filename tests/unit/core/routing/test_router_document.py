"""Documents of plans: numbers that only rise, and what routers do kept in force meanwhile."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchyard.core.routing.document import Match, RoutingDocument, Segment, parse_routing_document
from switchyard.core.routing.plan import Share, Target, TrafficPlan
from switchyard.core.routing.router_document import (
    DOCUMENTS_PER_PLAN,
    Addresses,
    build_document,
    build_url,
    find_plan_version,
    fulfils,
    is_same,
    number_document,
    read_shares,
    send_all,
)

BASELINE, CANDIDATE = "http://10.0.0.1:8000", "http://10.0.0.2:8000"
BOTH = Addresses(BASELINE, CANDIDATE)
BATCH = Segment(name="batch", match=Match(tier="batch"), candidate_percent=50, shadow_percent=10)

PERCENT = st.sampled_from([0.0, 5.0, 100.0])
VERSION = st.integers(0, 5)


def plan(version: int = 1, candidate: float = 10, shadow: float = 5) -> TrafficPlan:
    return TrafficPlan(
        namespace="shop",
        workload="chat",
        workload_uid="uid-1",
        holder="move-chat",
        version=version,
        baseline=Target("chat-gpu", 8000),
        candidate=Target("chat-inf2", 8000),
        segments=(BATCH, Segment(name="default", candidate_percent=candidate, shadow_percent=shadow)),
    )


documents = st.builds(
    lambda version, candidate, steps: build_document(plan(version, candidate), BOTH).model_copy(
        update={"version": version * DOCUMENTS_PER_PLAN + steps}
    ),
    VERSION,
    PERCENT,
    st.integers(0, 3 * DOCUMENTS_PER_PLAN),
)


@pytest.mark.parametrize(
    ("address", "url"), [("10.0.0.1", "http://10.0.0.1:80"), ("fd00::1", "http://[fd00::1]:80")]
)
def test_addresses_of_both_families_make_urls_that_a_document_takes(address: str, url: str) -> None:
    assert build_url(address, 80) == url
    document = build_document(plan(), Addresses(url, url))
    assert parse_routing_document(document.encode()) == document


@given(VERSION, PERCENT, st.none() | documents, st.lists(documents, max_size=3))
def test_every_router_takes_the_number_that_a_document_gets(
    version: int, candidate: float, written: RoutingDocument | None, taken: list[RoutingDocument]
) -> None:
    wanted = build_document(plan(version, candidate), BOTH)
    numbered = number_document(wanted, written, taken)
    assert is_same(numbered, wanted)
    assert fulfils(numbered, wanted)
    for each in taken:
        assert numbered.version > each.version or numbered == each


@given(VERSION, PERCENT, st.none() | documents, st.lists(documents, max_size=3))
def test_a_number_settles_once_it_is_written_and_taken(
    version: int, candidate: float, written: RoutingDocument | None, taken: list[RoutingDocument]
) -> None:
    wanted = build_document(plan(version, candidate), BOTH)
    first = number_document(wanted, written, taken)
    assert number_document(wanted, first, taken) == first
    assert number_document(wanted, first, [first, first]) == first


@given(VERSION, PERCENT, PERCENT)
def test_a_newer_plan_outnumbers_every_document_of_an_older_one(
    version: int, one: float, other: float
) -> None:
    older = number_document(build_document(plan(version, one), BOTH), None, [])
    newer = number_document(build_document(plan(version + 1, other), BOTH), older, [older])
    assert find_plan_version(older.version) == version
    assert find_plan_version(newer.version) == version + 1


def test_the_same_content_of_a_newer_plan_gets_a_number_of_its_own() -> None:
    older = build_document(plan(1), BOTH)
    assert number_document(build_document(plan(2), BOTH), older, [older]).version == 2 * DOCUMENTS_PER_PLAN
    assert not fulfils(older, build_document(plan(2), BOTH))


@pytest.mark.parametrize(("url", "percent"), [(BASELINE, 0.0), (CANDIDATE, 100.0)])
def test_sending_all_to_an_arm_keeps_arms_and_segments(url: str, percent: float) -> None:
    document = build_document(plan(1), BOTH)
    sent = send_all(plan(4), document, url)
    assert [(s.name, s.match) for s in sent.segments] == [(s.name, s.match) for s in document.segments]
    assert {(s.candidate_percent, s.shadow_percent) for s in sent.segments} == {(percent, 0.0)}
    assert sent.arms == document.arms
    assert sent.version == 4 * DOCUMENTS_PER_PLAN


@pytest.mark.parametrize("document", [None, build_document(plan(1), BOTH)])
def test_sending_all_elsewhere_leaves_one_arm(document: RoutingDocument | None) -> None:
    sent = send_all(plan(1), document, "http://10.0.0.3:8000")
    assert (sent.arms.baseline.url, sent.arms.candidate) == ("http://10.0.0.3:8000", None)


def test_a_share_of_another_candidate_is_none_of_this_ones() -> None:
    document = build_document(plan(1, 10, 5), BOTH)
    assert read_shares(document, BOTH)["default"] == Share(10, 5)
    assert read_shares(document, replace(BOTH, candidate="http://10.0.0.9:8000"))["default"] == Share(0, 0)
    assert read_shares(document, Addresses(BASELINE))["batch"] == Share(0, 0)
