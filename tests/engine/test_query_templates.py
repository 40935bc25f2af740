"""Queries of admins: what is refused when they are written, and that no name gets out of its place."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchyard.engine.query_templates import (
    TemplateProblem,
    escape_pattern,
    fill_template,
    judge_template,
    quote,
    select_series,
)

GOOD = 'sum(rate(requests_total{namespace="{namespace}",app="{workload}"}[{window}]))'


def fill(query: str, **given_names: str) -> str:
    names = {"namespace": "shop", "workload": "chat", "service": "chat", **given_names}
    return fill_template(query, window_seconds=300, **names)


def test_placeholders_are_filled_in() -> None:
    assert fill(GOOD) == 'sum(rate(requests_total{namespace="shop",app="chat"}[300s]))'


def test_a_name_in_a_pattern_matches_itself_alone() -> None:
    query = 'sum(x{namespace="{namespace}",pod=~"{workload}-.*"})'
    assert fill(query, workload="a.b") == 'sum(x{namespace="shop",pod=~"a\\\\.b-.*"})'


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("sum(x)", "tell workloads apart"),
        ('sum(x{namespace="{namespace}"})', "tell workloads apart"),
        (GOOD.replace("{workload}", "{pod}"), "no such placeholder: {pod}"),
        ("sum(x_{workload}{namespace='{namespace}'})", "double quotes"),
        ('sum(x{namespace="{namespace}",app=`{workload}`})', "double quotes"),
        ('{workload} + x{namespace="{namespace}"}', '"{workload}"'),
        ('x{namespace="{namespace}",app="{service}",for="{window}"}', "{window} is a range"),
        ('x{namespace="{namespace}",app="{service}"} * {window}', "{window} is a range"),
        ('x{namespace="{namespace}",app="{service}"} # {workload}', "no comments"),
    ],
)
def test_a_template_that_could_be_shaped_is_refused(query: str, told: str) -> None:
    with pytest.raises(TemplateProblem, match=re.escape(told)):
        judge_template(query)


@pytest.mark.parametrize(
    "query",
    [
        GOOD,
        'x{namespace="{namespace}",service=~"{service}"}',
        'max_over_time(x{namespace="{namespace}",a="{workload}"}[{window}:15s])',
        'x{namespace="{namespace}",a="{workload}",path=~"/v1/.*",code!~"5[0-9]{2}"}',
    ],
)
def test_a_template_of_labels_and_ranges_is_taken(query: str) -> None:
    judge_template(query)


@given(st.text(max_size=40))
def test_no_text_but_a_name_of_kubernetes_is_filled_in(name: str) -> None:
    try:
        filled = fill(GOOD, workload=name)
    except TemplateProblem:
        return
    assert re.fullmatch(r"[-a-z0-9.]+", name)
    assert filled.count('"') == 4


@given(st.text(max_size=40))
def test_a_quoted_value_is_one_string(value: str) -> None:
    quoted = quote(value)
    assert re.fullmatch(r'"(?:[^"\\\n]|\\.)*"', quoted, re.DOTALL)


@given(st.text(alphabet="abc.-+*?()[]{}|^$\\/", max_size=20), st.text(alphabet="abc.-+*", max_size=20))
def test_an_escaped_pattern_matches_its_value_and_no_other(value: str, other: str) -> None:
    pattern = re.compile(escape_pattern(value))
    assert pattern.fullmatch(value)
    assert bool(pattern.fullmatch(other)) == (value == other)


def test_one_value_is_equal_and_several_are_a_pattern() -> None:
    assert select_series("x", {"namespace": ["shop"]}) == 'x{namespace="shop"}'
    assert select_series("x", {"namespace": ["a.b", "c"]}) == 'x{namespace=~"a\\\\.b|c"}'
