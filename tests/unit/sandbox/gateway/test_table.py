from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from switchyard.sandbox.gateway.table import (
    Backend,
    Entry,
    PatternError,
    RequestLine,
    RequestTest,
    Rule,
    Table,
    Target,
    build_listener,
    covers,
    intersect,
    rank_listeners,
    text_test,
)

LABELS = st.sampled_from(["a", "b", "api", "example"])
NAMES = st.lists(LABELS, min_size=1, max_size=4).map(".".join)
PATTERNS = st.one_of(NAMES, NAMES.map(lambda name: f"*.{name}"), st.sampled_from(["", "*"]))


@given(PATTERNS, PATTERNS, NAMES)
def test_a_host_belongs_to_the_intersection_when_it_belongs_to_both(left: str, right: str, host: str) -> None:
    shared = intersect(left, right)
    belongs = covers(left, host) and covers(right, host)
    assert belongs == (shared is not None and covers(shared, host))


@given(PATTERNS, PATTERNS)
def test_an_intersection_does_not_depend_on_the_order(left: str, right: str) -> None:
    assume({left, right} != {"", "*"})  # two names of every host
    assert intersect(left, right) == intersect(right, left)


WEIGHTS = st.lists(st.integers(0, 1_000_000), max_size=6)


def _rule(weights: list[int]) -> Rule:
    target = Target("d", "s", 80)
    return Rule("r", tuple(Backend(str(i), target, weight) for i, weight in enumerate(weights)))


@given(WEIGHTS, st.floats(0, 1, exclude_max=True))
def test_a_draw_falls_on_a_backend_with_weight_or_on_none_where_no_weight_is(
    weights: list[int], draw: float
) -> None:
    chosen = _rule(weights).choose(draw)
    if sum(weights) == 0:
        assert chosen is None
    else:
        assert chosen is not None
        assert weights[int(chosen.name)] > 0


@given(st.lists(st.integers(0, 20), min_size=1, max_size=5))
def test_even_draws_fall_exactly_in_proportion_to_the_weights(weights: list[int]) -> None:
    total = sum(weights)
    assume(total)
    rule = _rule(weights)
    hits = [0] * len(weights)
    for step in range(total):
        chosen = rule.choose((step + 0.5) / total)
        assert chosen is not None
        hits[int(chosen.name)] += 1
    assert hits == weights


@pytest.mark.parametrize(
    ("prefix", "path", "passes"),
    [
        ("/", "/", True),
        ("/", "/anything", True),
        ("/a", "/a", True),
        ("/a", "/a/", True),
        ("/a", "/a/b", True),
        ("/a", "/ab", False),
        ("/a/", "/a", True),
        ("/a/", "/a/b", True),
        ("/a/", "/ab", False),
        ("/a/b", "/a", False),
        ("/A", "/a", False),
    ],
)
def test_a_prefix_is_one_of_whole_elements(prefix: str, path: str, passes: bool) -> None:  # noqa: FBT001
    assert text_test("elements", prefix).passes(path) is passes


@pytest.mark.parametrize(
    ("value", "ignores_case", "text", "passes"),
    [
        ("a|b", False, "b", True),
        ("a|b", False, "ab", False),
        ("a.*", False, "xa", False),
        ("a|b", True, "B", True),
        ("ab|c", True, "aC", False),
    ],
)
def test_a_regular_expression_must_pass_the_whole_value(
    value: str,
    ignores_case: bool,  # noqa: FBT001
    text: str,
    passes: bool,  # noqa: FBT001
) -> None:
    assert text_test("regex", value, ignores_case=ignores_case).passes(text) is passes


@pytest.mark.parametrize("pattern", ["(", "(?=a)", r"\1"])
def test_what_re2_does_not_take_is_named(pattern: str) -> None:
    with pytest.raises(PatternError, match="not a regular expression"):
        text_test("regex", pattern)


def _entry(host: str, path: str, *order: int) -> Entry:
    return Entry(host, RequestTest(path=text_test("elements", path)), Rule(f"{host} {path}"), order)


def _line(host: str, path: str) -> RequestLine:
    return RequestLine("GET", host, path, {}, {})


ENTRIES = [
    _entry("", "/", 9),
    _entry("*.b.c", "/x", 1),
    _entry("a.b.c", "/x", 5),
    _entry("a.b.c", "/x/y", 2),
    _entry("*.c", "/", 0),
]


@pytest.mark.parametrize(
    ("host", "path", "is_host_final", "expected"),
    [
        ("a.b.c", "/x/y", False, "a.b.c /x/y"),
        ("a.b.c", "/x", False, "a.b.c /x"),
        ("a.b.c", "/z", False, "*.c /"),
        ("a.b.c", "/z", True, None),
        ("d.b.c", "/z", True, None),
        ("d.c", "/z", True, "*.c /"),
        ("e.f", "/x", True, " /"),
    ],
)
def test_hosts_go_before_order(host: str, path: str, is_host_final: bool, expected: str | None) -> None:  # noqa: FBT001
    listener = build_listener("", ENTRIES, is_host_final=is_host_final)
    rule = listener.find(_line(host, path))
    assert (rule.name if rule else None) == expected


def test_the_most_specific_listener_keeps_a_request_to_itself() -> None:
    listeners = [build_listener(host, [_entry("", f"/{host}", 0)]) for host in ("", "*.c", "a.c")]
    table = Table({("127.0.0.1", 80): rank_listeners(listeners)})

    def found(host: str, path: str, port: int = 80) -> bool:
        return table.find("127.0.0.1", port, _line(host, path)) is not None

    assert found("a.c", "/a.c")
    assert not found("a.c", "/*.c")
    assert found("b.c", "/*.c")
    assert found("d", "/")
    assert not found("a.c", "/a.c", 81)
