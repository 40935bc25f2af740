"""Rules of routes: the segments' order, weights, mirrors, and what a route can't say."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tests.unit.core.routing.route_reading import pick_by_gateway, pick_by_istio

from switchyard.api.exposure import GatewayExposure
from switchyard.core.routing.document import Match, Segment
from switchyard.core.routing.matching import has_prefix, matches
from switchyard.core.routing.objects import (
    Backends,
    build_http_route_rules,
    build_virtual_service_http,
    judge_rule_order,
    judge_virtual_service,
)
from switchyard.core.routing.plan import Target
from switchyard.core.routing.precedence import MOST_MATCHES, MOST_MATCHES_OF_A_RULE

BASELINE, CANDIDATE, MIRROR = Target("chat-a", 8000), Target("chat-b", 8000), Target("chat-replay", 9000)
BOTH = Backends(BASELINE, CANDIDATE)
REST = Segment(name="rest")


def exposed(*paths: str) -> GatewayExposure:
    return GatewayExposure.model_validate({"parentRefs": [{"name": "g"}], "paths": list(paths) or ["/"]})


def segment(name: str, **match: Any) -> Segment:
    return Segment(name=name, match=Match.model_validate(match))


def written(rule: dict[str, Any]) -> list[tuple[str, dict[str, str]]]:
    return [
        (each["path"]["value"], {header["name"]: header["value"] for header in each.get("headers", [])})
        for each in rule["matches"]
    ]


def test_without_segments_there_is_one_named_rule_for_the_stable_service():
    rules = build_http_route_rules(exposed("/v1", "/v2"), Backends(Target("chat", 8000)))
    assert rules == [
        {
            "name": "default",
            "matches": [
                {"path": {"type": "PathPrefix", "value": "/v1"}},
                {"path": {"type": "PathPrefix", "value": "/v2"}},
            ],
            "backendRefs": [{"name": "chat", "port": 8000, "weight": 1}],
        }
    ]


def test_rules_without_names_are_the_same_otherwise():
    segments = [segment("s", tier="batch"), REST]
    named = build_http_route_rules(exposed(), BOTH, segments)
    plain = build_http_route_rules(exposed(), BOTH, segments, is_named=False)
    assert [{"name": name, **rule} for name, rule in zip(("s", "rest"), plain, strict=True)] == named
    assert not any("name" in rule for rule in plain)


def test_a_segment_by_header_also_comes_first_where_a_later_one_has_a_longer_path():
    segments = [segment("batch", tier="batch"), segment("chat", pathPrefix="/v1/chat"), REST]
    rules = build_http_route_rules(exposed("/v1"), BOTH, segments)
    tier = {"x-switchyard-tier": "batch"}
    assert [written(rule) for rule in rules] == [
        [("/v1", tier), ("/v1/chat", tier)],
        [("/v1/chat", {})],
        [("/v1", {})],
    ]
    assert not judge_rule_order(exposed("/v1"), segments)


def test_a_segment_with_few_headers_also_comes_first_where_a_later_one_has_more():
    segments = [segment("one", headers={"A": "1"}), segment("two", headers={"b": "2", "c": "3"}), REST]
    rules = build_http_route_rules(exposed(), BOTH, segments)
    assert written(rules[0]) == [("/", {"a": "1"}), ("/", {"a": "1", "b": "2", "c": "3"})]


@pytest.mark.parametrize(
    ("paths", "prefix", "expected"),
    [
        (["/v1"], None, ["/v1"]),
        (["/v1"], "/v1/chat", ["/v1/chat"]),
        (["/v1"], "/v1/chat/", ["/v1/chat"]),
        (["/v1"], "/", ["/v1"]),
        (["/v1/chat", "/v2"], "/v1", ["/v1/chat"]),
        (["/v1", "/v1/chat"], None, ["/v1"]),
        (["/v1", "/v2"], "/v1", ["/v1"]),
    ],
    ids=[
        "no prefix takes the exposure's",
        "a longer one is taken",
        "without its last slash",
        "the exposure's is longer",
        "only what lies within",
        "a path within another adds nothing",
        "the same",
    ],
)
def test_the_path_of_a_match_is_the_longer_one(paths: list[str], prefix: str | None, expected: list[str]):
    match = {"headers": {"a": "1"}} if prefix is None else {"headers": {"a": "1"}, "pathPrefix": prefix}
    rules = build_http_route_rules(exposed(*paths), BOTH, [segment("s", **match), REST])
    assert [path for path, headers in written(rules[0]) if headers] == expected


@pytest.mark.parametrize(
    ("segments", "expected"),
    [
        ([segment("s", pathPrefix="/other")], "segment s: pathPrefix /other is outside of the paths"),
        ([segment("s", pathPrefix="/v10")], "segment s: pathPrefix /v10 is outside of the paths"),
        ([segment("s", headers={"A": "1", "a": "2"})], "segment s: a header is asked to have two values"),
        (
            [segment("s", tier="batch", headers={"X-Switchyard-Tier": "internal"})],
            "segment s: a header is asked to have two values",
        ),
        (
            [segment("s", tier="batch", headers={f"h{n}": "1" for n in range(16)})],
            "segment s: 17 headers, with the tier's: give at most 16",
        ),
        ([segment("s", pathPrefix="/v1/a//b")], "segment s: pathPrefix /v1/a//b can't stand in a route"),
        ([segment("s", pathPrefix="/v1/a%2fb")], "segment s: pathPrefix /v1/a%2fb can't stand in a route"),
        ([segment("s", pathPrefix="/v1/../b")], "segment s: pathPrefix /v1/../b can't stand in a route"),
        ([segment("s", pathPrefix="/v1/ü")], "segment s: pathPrefix /v1/ü can't stand in a route"),
        (
            [segment("wide", headers={"a": "1"}), segment("s", headers={"a": "1"}, pathPrefix="/v1/x")],
            "segment s: earlier segments take every request of it",
        ),
        (
            [segment("s", headers={f"a{n}": "1" for n in range(9)}),
             segment("t", headers={f"b{n}": "1" for n in range(9)}, pathPrefix="/v1/x")],
            "segment s: with those of a later segment it needs over 16 headers",
        ),
        (
            [segment("s", headers={"a": "1"}), *(segment(f"p{n}", pathPrefix=f"/v1/{n}") for n in range(70))],
            "segment s: to come before later segments it needs over 64 matches",
        ),
        ([segment(f"p{n}", pathPrefix=f"/v1/{n}") for n in range(16)], "17 segments: a route has at most 16"),
    ],
)  # fmt: skip
def test_what_a_route_cannot_say_is_named(segments: list[Segment], expected: str):
    problems = judge_rule_order(exposed("/v1"), [*segments, REST])
    assert any(problem.startswith(expected) for problem in problems), problems


def test_more_matches_than_a_route_can_have_are_told():
    rising = [segment(f"s{n}", headers={f"h{n}-{header}": "1" for header in range(n + 1)}) for n in range(5)]
    segments = [segment("first", pathPrefix="/a/x"), *rising, REST]
    exposure = exposed("/a", "/b", "/c", "/d")
    (problem,) = judge_rule_order(exposure, segments)
    assert problem.startswith("the segments need 129 matches in their order, and a route has at most 128")
    assert not judge_rule_order(exposure, segments[1:])


def test_a_segment_that_no_request_can_reach_has_no_rule():
    segments = [segment("other", pathPrefix="/other"), REST]
    assert [rule["name"] for rule in build_http_route_rules(exposed("/v1"), BOTH, segments)] == ["rest"]


@pytest.mark.parametrize(
    ("percent", "weights"),
    [
        (0, (100, 0)),
        (1, (99, 1)),
        (12.5, (875, 125)),
        (0.1, (999, 1)),
        (33.3333, (666667, 333333)),
        (100, (0, 100)),
        (1e-7, (999999, 1)),
        (99.9999999, (1, 999999)),
    ],
)
def test_weights_are_whole_numbers_in_the_ratio_asked_for(percent: float, weights: tuple[int, int]):
    segments = [Segment(name="s", candidate_percent=percent)]
    (rule,) = build_http_route_rules(exposed(), BOTH, segments)
    assert [each["weight"] for each in rule["backendRefs"]] == list(weights)
    (route,) = build_virtual_service_http(BOTH, segments)
    assert [each["weight"] for each in route["route"]] == list(weights)
    assert [each["destination"]["host"] for each in route["route"]] == ["chat-a", "chat-b"]


@pytest.mark.parametrize(
    ("percent", "expected"),
    [
        (20, {"percent": 20}),
        (0.5, {"fraction": {"numerator": 5, "denominator": 1000}}),
        (100, {}),
    ],
)
def test_a_mirror_says_percent_fraction_or_nothing_for_all(percent: float, expected: dict[str, Any]):
    backends = Backends(BASELINE, CANDIDATE, MIRROR)
    segments = [Segment(name="s", shadow_percent=percent)]
    (rule,) = build_http_route_rules(exposed(), backends, segments)
    reference = {"name": "chat-replay", "port": 9000}
    assert rule["filters"] == [
        {"type": "RequestMirror", "requestMirror": {"backendRef": reference, **expected}}
    ]
    (route,) = build_virtual_service_http(backends, segments)
    assert route["mirror"] == {"host": "chat-replay", "port": {"number": 9000}}
    assert route["mirrorPercentage"] == {"value": percent}


@pytest.mark.parametrize("backends", [BOTH, Backends(BASELINE, CANDIDATE, MIRROR)])
def test_nothing_is_mirrored_that_nobody_asked_to(backends: Backends):
    shadow = 0 if backends.mirror else 50
    segments = [Segment(name="s", shadow_percent=shadow)]
    assert "filters" not in build_http_route_rules(exposed(), backends, segments)[0]
    assert "mirror" not in build_virtual_service_http(backends, segments)[0]


def test_a_share_for_a_candidate_that_is_not_there_is_a_bug():
    with pytest.raises(ValueError, match="candidatePercent 5 without a candidate"):
        build_http_route_rules(exposed(), Backends(BASELINE), [Segment(name="s", candidate_percent=5)])


def test_a_prefix_of_istio_takes_whole_elements_only():
    routes = build_virtual_service_http(BOTH, [segment("s", pathPrefix="/v1/", tier="batch"), REST])
    tier = {"x-switchyard-tier": {"exact": "batch"}}
    assert routes[0]["match"] == [
        {"uri": {"exact": "/v1"}, "headers": tier},
        {"uri": {"prefix": "/v1/"}, "headers": tier},
    ]
    assert "match" not in routes[1]


def test_a_virtual_service_leaves_out_a_segment_that_no_request_can_reach_and_says_so():
    segments = [segment("s", headers={"A": "1", "a": "2"}), REST]
    assert [each["name"] for each in build_virtual_service_http(BOTH, segments)] == ["rest"]
    assert judge_virtual_service(segments) == (
        "segment s: a header is asked to have two values: leave one of them out",
    )


_ELEMENTS = st.sampled_from(["a", "b", "ab", "a.b"])
_PATHS = st.lists(_ELEMENTS, max_size=3).map(lambda parts: "/" + "/".join(parts))
_VALUES = st.sampled_from(["1", "2"])
_NAMES = st.sampled_from(["h", "i", "J"])
_TIERS = st.sampled_from(["customer-facing", "internal", "batch"])


@st.composite
def _segments(draw: st.DrawFn) -> list[Segment]:
    made = []
    for index in range(draw(st.integers(0, 5))):
        headers = draw(st.dictionaries(_NAMES, _VALUES, max_size=3))
        tier = draw(st.none() | _TIERS)
        prefix = draw(st.none() | _PATHS)
        if prefix is None and tier is None and not headers:
            continue
        made.append(segment(f"s{index}", headers=headers, tier=tier, pathPrefix=prefix))
    return [*made, REST]


_REQUESTS = st.tuples(
    _PATHS,
    st.dictionaries(
        st.sampled_from(["h", "i", "j", "x-switchyard-tier"]), st.one_of(_VALUES, _TIERS), max_size=4
    ),
)


def first_segment(segments: list[Segment], path: str, headers: dict[str, str]) -> str:
    folded = [
        each.match.model_copy(update={"headers": {k.lower(): v for k, v in each.match.headers.items()}})
        if each.match
        else None
        for each in segments
    ]
    for each, match in zip(segments, folded, strict=True):
        if match is None or matches(match, path, headers):
            return each.name
    raise AssertionError("the last segment takes everything")


@settings(max_examples=300)
@given(
    paths=st.lists(_PATHS, min_size=1, max_size=4, unique=True),
    segments=_segments(),
    requests=st.lists(_REQUESTS, min_size=1, max_size=20),
)
def test_a_gateway_picks_the_first_segment_whatever_its_own_precedence(paths, segments, requests):
    exposure = exposed(*paths)
    rules = build_http_route_rules(exposure, BOTH, segments)
    assume(not any("needs over" in problem for problem in judge_rule_order(exposure, segments)))
    for path, headers in requests:
        is_exposed = any(has_prefix(path, each) for each in paths)
        expected = first_segment(segments, path, headers) if is_exposed else ""
        assert pick_by_gateway(rules, path, headers) == expected


@settings(max_examples=100)
@given(paths=st.lists(_PATHS, min_size=1, max_size=4, unique=True), segments=_segments())
def test_a_route_without_problems_keeps_the_bounds_of_the_api(paths, segments):
    exposure = exposed(*paths)
    assume(not judge_rule_order(exposure, segments))
    counts = [len(rule["matches"]) for rule in build_http_route_rules(exposure, BOTH, segments)]
    assert len(counts) >= len(segments) - 1  # nothing may be left for the last
    assert all(1 <= count <= MOST_MATCHES_OF_A_RULE for count in counts)
    assert sum(counts) <= MOST_MATCHES


@settings(max_examples=200)
@given(segments=_segments(), requests=st.lists(_REQUESTS, min_size=1, max_size=20))
def test_istio_picks_the_first_segment(segments, requests):
    routes = build_virtual_service_http(BOTH, segments)
    for path, headers in requests:
        assert pick_by_istio(routes, path, headers) == first_segment(segments, path, headers)
