from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy

from switchyard.sandbox.gateway.forwarding import read_line, request_headers, shadow_host, target_path
from switchyard.sandbox.gateway.table import HeaderChanges


def _headers(*pairs: tuple[str, str]) -> CIMultiDictProxy[str]:
    return CIMultiDictProxy(CIMultiDict(pairs))


def _forwarded(*pairs: tuple[str, str], changes: HeaderChanges = HeaderChanges()) -> CIMultiDict[str]:  # noqa: B008
    return request_headers(_headers(*pairs), peer="10.0.0.9", host="a.com", changes=changes)


@pytest.mark.parametrize(
    ("target", "host_header", "host", "path", "queries"),
    [
        ("/a?b=1&b=2&c", "A.com:80", "a.com", "/a", {"b": "1", "c": ""}),
        ("/", "a.com.", "a.com", "/", {}),
        ("/", "[::1]:80", "[::1]", "/", {}),
        ("/a?u=http://x/y", "a.com", "a.com", "/a", {"u": "http://x/y"}),
        ("http://b.com:8/x?q=1", "a.com", "b.com", "/x", {"q": "1"}),
        ("http://b.com?q=1", "a.com", "b.com", "/", {"q": "1"}),
        ("http://b.com", "a.com", "b.com", "/", {}),
        ("*", "a.com", "a.com", "*", {}),
    ],
)
def test_host_path_and_query_come_from_the_request_target(
    target: str, host_header: str, host: str, path: str, queries: dict[str, str]
) -> None:
    line = read_line("GET", target, _headers(("Host", host_header)))
    assert (line.host, line.path, dict(line.queries)) == (host, path, queries)


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20))
def test_a_target_in_origin_form_is_passed_as_it_is(rest: str) -> None:
    assert target_path(f"/{rest}") == f"/{rest}"


def test_several_headers_of_a_name_are_one_value() -> None:
    line = read_line("GET", "/", _headers(("Host", "a"), ("X-A", "1"), ("x-a", "2")))
    assert line.headers["x-a"] == "1,2"


def test_what_concerns_one_hop_stays_there() -> None:
    found = _forwarded(
        ("Host", "x"),
        ("Connection", "close, X-Mine"),
        ("X-Mine", "1"),
        ("Keep-Alive", "5"),
        ("Transfer-Encoding", "chunked"),
        ("TE", "trailers"),
        ("Upgrade", "h2c"),
        ("Proxy-Authorization", "secret"),
        ("Expect", "100-continue"),
        ("Authorization", "kept"),
    )
    names = {name.lower() for name in found}
    assert names == {
        "host",
        "authorization",
        *(f"x-forwarded-{n}" for n in ("for", "proto", "host")),
        "x-request-id",
    }
    assert found["Host"] == "a.com"


def test_who_asked_is_added_to_the_chain_and_an_id_that_is_there_is_kept() -> None:
    found = _forwarded(
        ("X-Forwarded-For", "1.1.1.1"), ("X-Forwarded-For", "2.2.2.2"), ("X-Request-Id", "mine")
    )
    assert found.getall("X-Forwarded-For") == ["1.1.1.1, 2.2.2.2, 10.0.0.9"]
    assert found["X-Request-Id"] == "mine"
    assert _forwarded()["X-Request-Id"] != _forwarded()["X-Request-Id"]


def test_changes_are_made_in_the_order_remove_set_add() -> None:
    changes = HeaderChanges(remove=("a", "B"), set=(("B", "set"), ("C", "set")), add=(("C", "added"),))
    found = _forwarded(("A", "1"), ("B", "1"), ("C", "1"), ("C", "2"), changes=changes)
    assert "A" not in found
    assert found.getall("B") == ["set"]
    assert found.getall("C") == ["set", "added"]


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("a.com", "a.com-shadow"),
        ("a.com:80", "a.com-shadow:80"),
        ("[::1]:80", "[::1]-shadow:80"),
        ("", "-shadow"),
    ],
)
def test_a_shadow_host_keeps_its_port(host: str, expected: str) -> None:
    assert shadow_host(host, "-shadow") == expected
    assert shadow_host(host, "") == host
