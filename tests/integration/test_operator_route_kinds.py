"""Which kinds of routes count as served, by what the API server answers to a list of each."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest

from switchyard.adapters.connection import Answer
from switchyard.adapters.resources import HTTP_ROUTES, ROUTES, VIRTUAL_SERVICES
from switchyard.adapters.route_kinds import KindsChanged, RouteKinds
from switchyard.engine.ports import Failed

from .operator_fakes import FakeApi, run

GONE = Answer(404, {"message": "the server could not find the requested resource"})
OK = None


@dataclass
class Answers:
    """What the API server says of each kind, look after look; the last answers stay. HTTPRoute comes first."""

    looks: list[tuple[Answer | Failed | None, Answer | Failed | None]]
    look: int = -1

    def __call__(self, method: str, path: str) -> Answer | Failed | None:
        assert method == "GET"
        self.look += path == HTTP_ROUTES.path()
        index = ROUTES.index(HTTP_ROUTES if path == HTTP_ROUTES.path() else VIRTUAL_SERVICES)
        return self.looks[min(self.look, len(self.looks) - 1)][index]


def kinds(*looks: tuple[Answer | Failed | None, Answer | Failed | None]) -> RouteKinds:
    return RouteKinds(FakeApi(refuse=Answers(list(looks))), look_seconds=0.0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("look", "expected"),
    [
        ((OK, OK), ROUTES),
        ((OK, GONE), (HTTP_ROUTES,)),
        ((GONE, OK), (VIRTUAL_SERVICES,)),
        ((GONE, GONE), ()),
        ((Answer(403, {"message": "no"}), OK), (VIRTUAL_SERVICES,)),
    ],
    ids=["both", "Gateway API", "Istio", "neither", "one without the right to list it"],
)
def test_a_kind_is_served_when_it_can_be_listed(look, expected) -> None:
    assert run(kinds(look).find()) == expected


@pytest.mark.parametrize("answer", [Answer(503, {}), Failed("no answer"), Answer(500, {})])
def test_an_answer_that_leaves_it_open_is_asked_for_again(answer: Answer | Failed) -> None:
    assert run(kinds((OK, answer), (answer, OK), (OK, GONE)).find()) == (HTTP_ROUTES,)


async def watch(found: RouteKinds) -> str:
    await found.find()
    try:
        async with asyncio.timeout(5.0):
            await found.wait_for_change()
    except KindsChanged as change:
        return str(change)
    raise AssertionError("it returned")


@pytest.mark.parametrize(
    ("looks", "change"),
    [
        ([(GONE, GONE), (GONE, GONE), (OK, GONE)], "HTTPRoute came"),
        ([(OK, GONE), (GONE, OK)], "VirtualService came, HTTPRoute went"),
        ([(OK, OK), (GONE, OK), (GONE, OK)], "HTTPRoute went"),
        (
            [(OK, OK), (GONE, OK), (OK, OK), (GONE, OK), (Failed("x"), OK), (OK, OK), (OK, GONE), (OK, GONE)],
            "VirtualService went",
        ),
    ],
    ids=["one comes", "one for the other", "one goes", "one look without a kind is not enough"],
)
def test_a_change_is_told(looks, change: str) -> None:
    assert run(watch(kinds(*looks))) == change


def test_a_watch_that_ends_may_be_explained_by_a_kind_that_went() -> None:
    async def find_change(*looks) -> str:
        found = kinds(*looks)
        await found.find()
        return str(await found.find_change())

    assert run(find_change((OK, OK), (GONE, OK))) == "HTTPRoute went"
    assert run(find_change((OK, OK))) == "None"
    assert run(find_change((OK, OK), (Failed("no answer"), OK))) == "None"
