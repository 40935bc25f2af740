from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchyard.sandbox.gateway.conditions import Condition, Problem, judge, merge_conditions
from switchyard.sandbox.gateway.gateways import find_url, route_parents
from switchyard.sandbox.gateway.http_routes import parse_duration_seconds
from switchyard.sandbox.gateway.kinds import CONTROLLER_NAME

GOOD = Condition("Accepted", is_true=True, reason="Accepted")


def test_a_condition_keeps_its_time_until_its_status_turns() -> None:
    first = merge_conditions([], [GOOD], generation=1, now="t1")
    same = merge_conditions(first, [GOOD], generation=1, now="t2")
    assert same == first
    (newer,) = merge_conditions(first, [GOOD], generation=2, now="t3")
    assert (newer["lastTransitionTime"], newer["observedGeneration"]) == ("t1", 2)
    bad = judge("Accepted", Problem("UnsupportedValue", "why"))
    (turned,) = merge_conditions(first, [bad], generation=2, now="t4")
    assert (turned["status"], turned["reason"], turned["lastTransitionTime"]) == (
        "False",
        "UnsupportedValue",
        "t4",
    )


def _parent(name: str, controller: str = CONTROLLER_NAME) -> dict:
    return {"parentRef": {"name": name}, "controllerName": controller, "conditions": []}


ENTRIES = st.builds(_parent, st.sampled_from("abcd"), st.sampled_from([CONTROLLER_NAME, "x.io/other"]))
UNIQUE = st.lists(
    ENTRIES, max_size=6, unique_by=lambda entry: (entry["parentRef"]["name"], entry["controllerName"])
)


@given(UNIQUE, st.lists(st.sampled_from("abcd"), unique=True))
def test_parents_are_as_wanted_and_writing_them_again_changes_nothing(
    present: list[dict], names: list[str]
) -> None:
    route = {"metadata": {"generation": 3}, "status": {"parents": present}}
    wanted = [({"name": name}, [GOOD]) for name in names]
    parents = route_parents(route, wanted, "t1")
    foreign = [entry for entry in present if entry["controllerName"] != CONTROLLER_NAME]
    assert [entry for entry in parents if entry["controllerName"] != CONTROLLER_NAME] == foreign
    own = [entry["parentRef"]["name"] for entry in parents if entry["controllerName"] == CONTROLLER_NAME]
    assert sorted(own) == sorted(names)
    again = route_parents({**route, "status": {"parents": parents}}, wanted[::-1], "t2")
    assert again == parents


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1h2m3s4ms", 3723.004), ("500ms", 0.5), ("0s", 0), ("1.5s", 1.5), ("0.250s", 0.25), ("", 0)],
)
def test_durations_are_read_as_written(text: str, seconds: float) -> None:
    assert parse_duration_seconds(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("observed", "status", "listener", "url"),
    [
        (2, "True", "", "http://127.0.0.1:80"),
        (2, "True", "other", "http://127.0.0.1:81"),
        (2, "True", "none", ""),
        (1, "True", "", ""),
        (2, "False", "", ""),
    ],
)
def test_a_gateway_has_a_url_once_its_present_generation_is_programmed(
    observed: int, status: str, listener: str, url: str
) -> None:
    gateway = {
        "metadata": {"generation": 2},
        "spec": {"listeners": [{"name": "http", "port": 80}, {"name": "other", "port": 81}]},
        "status": {
            "addresses": [{"value": "127.0.0.1"}],
            "conditions": [{"type": "Programmed", "status": status, "observedGeneration": observed}],
        },
    }
    assert find_url(gateway, listener) == url
