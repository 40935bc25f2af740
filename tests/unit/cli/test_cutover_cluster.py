"""What answers of an API server come to, and which of them are worth asking again for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from switchyard.adapters.connection import Answer
from switchyard.cli.cutover_cluster import PLANS, ApiServer, Outdated, Unreachable, find_plan
from switchyard.cli.cutover_plan import CutoverError
from switchyard.engine.ports import Failed

MISSING = {"message": "not found", "details": {"name": "it"}}


class Answers:
    """A connection that gives one answer after the other, and remembers what was asked."""

    default_namespace = "team"

    def __init__(self, *answers: Answer | Failed) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, str, dict[str, Any]]] = []

    async def request(self, method: str, path: str, **options: Any) -> Answer | Failed:
        self.asked.append((method, path, {**options, "query": dict(options.get("query") or {})}))
        return self.answers.pop(0)


@pytest.fixture
def serve() -> Iterator[Callable[..., tuple[ApiServer, Answers]]]:
    with asyncio.Runner() as runner:

        def make(*answers: Answer | Failed) -> tuple[ApiServer, Answers]:
            connection = Answers(*answers)
            return ApiServer(connection, runner), connection  # type: ignore[arg-type]  # what it needs of it

        yield make


PATCHES: dict[str, tuple[Answer | Failed, type[CutoverError], str]] = {
    "an old version": (Answer(409, {"message": "old"}), Outdated, "CutoverPlan it: not changed: old"),
    "a test that failed": (Answer(422, {"message": "test"}), Outdated, "CutoverPlan it: not changed: test"),
    "too many requests": (Answer(429, {"message": "busy"}), Unreachable, "not changed now: busy"),
    "a server in trouble": (Answer(503, {}), Unreachable, "not changed now: HTTP 503"),
    "no answer": (Failed("refused"), Unreachable, "the API server does not answer: refused"),
    "no right": (
        Answer(403, {"message": "forbidden"}),
        CutoverError,
        "CutoverPlan it: not changed: forbidden",
    ),
}


@pytest.mark.parametrize("case", PATCHES)
def test_a_refused_patch(case: str, serve: Callable[..., tuple[ApiServer, Answers]]) -> None:
    answer, kind, told = PATCHES[case]
    server, _ = serve(answer)
    with pytest.raises(CutoverError) as caught:
        server.patch(PLANS, "team", "it", [])
    assert type(caught.value) is kind
    assert told in str(caught.value)


def test_a_patch_is_sent_as_one_under_our_name(serve: Callable[..., tuple[ApiServer, Answers]]) -> None:
    server, connection = serve(Answer(200, {"kind": "CutoverPlan"}))
    server.patch(PLANS, "team", "it", [{"op": "test"}])
    ((method, path, options),) = connection.asked
    assert (method, path) == ("PATCH", "/apis/switchyard.dev/v1alpha1/namespaces/team/cutoverplans/it")
    assert options["content_type"] == "application/json-patch+json"
    assert options["query"] == {"fieldManager": "kubectl-switchyard"}
    assert options["body"] == [{"op": "test"}]


def test_a_missing_object_is_not_a_missing_kind(serve: Callable[..., tuple[ApiServer, Answers]]) -> None:
    assert serve(Answer(404, MISSING))[0].read(PLANS, "team", "it") is None
    with pytest.raises(CutoverError, match="install Switchyard's CRDs first"):
        serve(Answer(404, {}))[0].read(PLANS, "team", "it")


def test_a_long_list_is_read_to_its_end(serve: Callable[..., tuple[ApiServer, Answers]]) -> None:
    first = {"items": [{"n": 1}], "metadata": {"continue": "next"}}
    server, connection = serve(Answer(200, first), Answer(200, {"items": [{"n": 2}], "metadata": {}}))
    assert server.list_all(PLANS, "team") == [{"n": 1}, {"n": 2}]
    assert [options["query"].get("continue") for _, _, options in connection.asked] == [None, "next"]


def test_names_there_are_need_the_right_to_list(serve: Callable[..., tuple[ApiServer, Answers]]) -> None:
    server, _ = serve(Answer(404, MISSING), Answer(403, {"message": "forbidden"}))
    told = (
        "'it' is not in namespace team; which there are is not known: cutoverplans can't be listed: forbidden"
    )
    with pytest.raises(CutoverError, match=told):
        find_plan(server, "team", "it")
