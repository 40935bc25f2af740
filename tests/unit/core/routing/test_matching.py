"""Segments are taken in order; draws are alike everywhere, and hold their shares."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchyard.core.routing.document import (
    Arm,
    Arms,
    Exclusion,
    Match,
    RoutingDocument,
    Segment,
    Shadow,
    Stickiness,
)
from switchyard.core.routing.matching import (
    choose_arm,
    draw,
    find_caller,
    find_segment,
    is_noise_sampled,
    is_shadowed,
    may_repeat,
)

DOCUMENT = RoutingDocument(
    version=1,
    arms=Arms(baseline=Arm(url="http://a:1"), candidate=Arm(url="http://b:1")),
    segments=(
        Segment(name="team", match=Match(headers={"X-Team": "research"}, path_prefix="/v1")),
        Segment(name="tier", match=Match(tier="batch")),
        Segment(name="path", match=Match(path_prefix="/v1/embeddings/")),
        Segment(name="rest"),
    ),
)
IDS = [f"request-{number}" for number in range(20_000)]


@pytest.mark.parametrize(
    ("path", "headers", "expected"),
    [
        ("/v1/chat", {"x-team": "research"}, "team"),
        ("/v1", {"x-team": "research", "x-switchyard-tier": "batch"}, "team"),
        ("/v10", {"x-team": "research"}, "rest"),
        ("/v1/chat", {"x-team": "Research"}, "rest"),
        ("/v1/chat", {"x-team": "sales", "x-switchyard-tier": "batch"}, "tier"),
        ("/v1/embeddings", {}, "path"),
        ("/v1/embeddings?x=/", {}, "path"),
        ("/v1/embeddings/x", {}, "path"),
        ("/v1/embeddingsx", {}, "rest"),
        ("/other?next=/v1/embeddings", {}, "rest"),
        ("*", {}, "rest"),
    ],
)
def test_the_first_segment_that_matches_takes_the_request(path, headers, expected):
    assert find_segment(DOCUMENT, path, headers).name == expected


@pytest.mark.parametrize("percent", [0.0, 0.5, 20.0, 50.0, 99.0, 100.0])
def test_a_share_of_ids_is_within_binomial_bounds(percent):
    segment = Segment(name="s", candidate_percent=percent, shadow_percent=percent)
    ratio = percent / 100
    slack = 5 * math.sqrt(len(IDS) * ratio * (1 - ratio))  # five standard deviations
    for drawn in (
        sum(choose_arm(segment, each) == "candidate" for each in IDS),
        sum(is_shadowed(segment, each) for each in IDS),
        sum(is_noise_sampled(Shadow(noise_percent=percent), each) for each in IDS),
    ):
        assert abs(drawn - len(IDS) * ratio) <= slack


@given(st.text(max_size=40), st.floats(0, 100), st.floats(0, 100))
def test_a_weight_that_grows_moves_callers_one_way_only(caller, one, other):
    low, high = sorted((one, other))
    if choose_arm(Segment(name="s", candidate_percent=low), caller) == "candidate":
        assert choose_arm(Segment(name="s", candidate_percent=high), caller) == "candidate"


def test_draws_for_different_purposes_are_independent():
    both = sum(draw("arm", "s", each) < 0.5 and draw("shadow", "s", each) < 0.5 for each in IDS)
    assert abs(both - len(IDS) / 4) <= 5 * math.sqrt(len(IDS) * 0.25 * 0.75)


def test_a_draw_is_the_same_in_every_release():
    assert draw("arm", "default", "7f3a") == pytest.approx(0.7433475, abs=1e-6)


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("POST", "/v1/chat", True),
        ("GET", "/v1/models", True),
        ("PUT", "/v1/models", False),
        ("DELETE", "/v1/models", False),
        ("POST", "/v1/files", False),
        ("POST", "/v1/files/7", False),
        ("POST", "/v1/filesystem", True),
        ("GET", "/admin", True),
        ("POST", "/admin", False),
    ],
)
def test_what_must_not_be_asked_twice_is_not(method, path, expected):
    rules = (Exclusion(path_prefix="/v1/files"), Exclusion(method="POST", path_prefix="/admin"))
    assert may_repeat(Shadow(exclude=rules), method, path) is expected


@pytest.mark.parametrize(
    ("sticky", "headers", "expected"),
    [
        (None, {"x-session": "a"}, ""),
        (Stickiness(header="X-Session"), {"x-session": "a"}, "a"),
        (Stickiness(header="x-session"), {}, ""),
        (Stickiness(cookie="sid"), {"cookie": "theme=dark; sid=42; sid=43"}, "42"),
        (Stickiness(cookie="sid"), {"cookie": "mysid=1; sid"}, ""),
        (Stickiness(cookie="sid"), {}, ""),
    ],
)
def test_a_caller_is_known_by_its_header_or_cookie(sticky, headers, expected):
    assert find_caller(Segment(name="s", sticky=sticky), headers) == expected
