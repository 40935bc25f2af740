"""Who is answered by which arm: segments in their order, weights, callers that stick, documents that change."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from tests.integration.router_peers import (
    PATIENCE_SECONDS,
    Backend,
    Router,
    Talk,
    answer_always,
    build_document,
    build_request,
    wait_until,
)


def say(name: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(name) + name


@contextmanager
def splitting(*segments: dict[str, Any]) -> Iterator[Router]:
    """A router between two backends that say which they are."""
    with (
        Backend(answer_always(say(b"baseline"))) as baseline,
        Backend(answer_always(say(b"candidate"))) as candidate,
        Router(build_document(baseline.url, candidate.url, segments=list(segments))) as router,
    ):
        yield router


def ask(router: Router, requests: list[tuple[str, ...]]) -> list[str]:
    """The arms that answered, asked over one connection."""
    client = router.connect()
    try:
        return [client.get(target, *fields).body.decode() for target, *fields in requests]
    finally:
        client.close()


SEGMENTS = [
    {"name": "staff", "match": {"headers": {"X-Staff": "yes"}}, "candidatePercent": 100},
    {"name": "both", "match": {"headers": {"X-A": "1", "X-B": "2"}, "pathPrefix": "/v1"}, "candidatePercent": 100},
    {"name": "batch", "match": {"tier": "batch"}, "candidatePercent": 100},
    {"name": "chat", "match": {"pathPrefix": "/v1/chat"}},
    {"name": "v1", "match": {"pathPrefix": "/v1"}, "candidatePercent": 100},
    {"name": "default"},
]  # fmt: skip


@pytest.mark.parametrize(
    ("request_", "segment", "arm"),
    [
        (("/",), "default", "baseline"),
        (("/", "X-Staff: yes"), "staff", "candidate"),
        (("/", "x-staff: yes"), "staff", "candidate"),
        (("/", "X-Staff: yes "), "staff", "candidate"),
        (("/", "X-Staff: no"), "default", "baseline"),
        (("/", "X-Staff: yes", "X-Staff: yes"), "default", "baseline"),
        (("/v1/chat", "X-Staff: yes"), "staff", "candidate"),
        (("/v1/chat/completions",), "chat", "baseline"),
        (("/v1/chat?x=/v2",), "chat", "baseline"),
        (("/v1/chatter",), "v1", "candidate"),
        (("/v1",), "v1", "candidate"),
        (("/v10",), "default", "baseline"),
        (("/x?/v1",), "default", "baseline"),
        (("/v1/chat", "X-A: 1", "X-B: 2"), "both", "candidate"),
        (("/v1/chat", "X-A: 1"), "chat", "baseline"),
        (("/x", "X-A: 1", "X-B: 2"), "default", "baseline"),
        (("/v1/chat", "X-Switchyard-Tier: batch"), "batch", "candidate"),
        (("/", "X-Switchyard-Tier: internal"), "default", "baseline"),
    ],
)
def test_the_first_segment_that_matches_takes_the_request(request_, segment, arm):
    with splitting(*SEGMENTS) as router:
        assert ask(router, [request_]) == [arm]
        wait_until(lambda: router.samples().segments[segment].arms)
        assert router.samples().segments[segment].started == {arm: 1}


@pytest.mark.parametrize("percent", [0, 10, 50, 90, 100])
def test_a_weight_holds_and_every_router_draws_the_same(percent):
    requests = [("/", f"X-Request-Id: request-{n}") for n in range(400)]
    drawn = []
    for _ in range(2):
        with splitting({"name": "default", "candidatePercent": percent}) as router:
            drawn.append(ask(router, requests))
            started = router.samples().segments["default"].started
            assert started.get("candidate", 0) == drawn[-1].count("candidate")
    assert drawn[0] == drawn[1]
    share = percent / 100
    five_sigma = 5 * (400 * share * (1 - share)) ** 0.5
    assert abs(drawn[0].count("candidate") - 400 * share) <= five_sigma


def test_a_weight_that_grows_moves_callers_to_the_candidate_and_none_back():
    requests = [("/", f"X-Request-Id: request-{n}") for n in range(200)]
    before: set[int] = set()
    for percent in (5, 20, 60, 95):
        with splitting({"name": "default", "candidatePercent": percent}) as router:
            arms = ask(router, requests)
        moved = {n for n, arm in enumerate(arms) if arm == "candidate"}
        assert before < moved
        before = moved


@pytest.mark.parametrize(
    ("sticky", "name"),
    [
        ({"header": "X-User"}, "X-User: {}"),
        ({"cookie": "session"}, "Cookie: a=1; session={}; b=2"),
        ({"cookie": "session"}, "Cookie: session={}"),
    ],
)
def test_a_caller_sticks_to_an_arm_over_requests_connections_and_routers(sticky, name):
    segment = {"name": "default", "candidatePercent": 50, "sticky": sticky}
    arms: dict[int, set[str]] = {user: set() for user in range(60)}
    for _ in range(2):
        with splitting(segment) as router:
            for _ in range(3):
                answers = ask(router, [("/", name.format(f"user-{user}")) for user in arms])
                for user, arm in enumerate(answers):
                    arms[user].add(arm)
    assert all(len(seen) == 1 for seen in arms.values())
    assert {arm for seen in arms.values() for arm in seen} == {"baseline", "candidate"}


def test_a_caller_without_the_value_to_stick_by_is_drawn_anew_for_each_request():
    segment = {"name": "default", "candidatePercent": 50, "sticky": {"cookie": "session"}}
    with splitting(segment) as router:
        assert set(ask(router, [("/", "Cookie: other=1")] * 60)) == {"baseline", "candidate"}


def test_every_request_is_decided_by_one_document_and_none_fails_while_documents_change():
    is_over = threading.Event()
    wrong: list[str] = []
    answered = [0]
    with (
        Backend(answer_always(say(b"one"))) as one,
        Backend(answer_always(say(b"two"))) as two,
        Router(build_document(one.url)) as router,
    ):

        def load() -> None:
            client = router.connect()
            while not is_over.is_set():
                got = client.get("/", method="POST", body=b"x" * 1000)
                if got.status != 200 or got.body not in {b"one", b"two"}:
                    wrong.append(f"{got.status} {got.body!r}")
                answered[0] += 1

        threads = [threading.Thread(target=load) for _ in range(4)]
        for thread in threads:
            thread.start()
        for version in range(2, 42):
            before = answered[0]
            router.configure({**build_document((one, two)[version % 2].url), "version": version})
            wait_until(lambda before=before: answered[0] > before + 4)
        is_over.set()
        for thread in threads:
            thread.join()
        assert wrong == []


def test_connections_to_a_backend_that_left_the_document_end_when_they_are_not_needed():
    may_end = threading.Event()

    def script(talk: Talk) -> None:
        while True:
            talk.read_request()
            if talk.number == 0:
                assert may_end.wait(PATIENCE_SECONDS)
            talk.send(say(b"old"))

    with (
        Backend(script) as old,
        Backend(answer_always(say(b"new"))) as new,
        Router(build_document(old.url)) as router,
    ):
        slow = router.connect()
        slow.send(build_request())
        wait_until(lambda: old.heads)
        assert router.get().body == b"old"
        router.configure({**build_document(new.url), "version": 2})
        wait_until(lambda: old.talks[1].plug.fileno() == -1, "the idle connection is closed")
        assert router.get().body == b"new"
        may_end.set()
        assert slow.read_answer().body == b"old"
        wait_until(lambda: old.talks[0].plug.fileno() == -1, "the busy connection is closed after its answer")
        assert slow.get().body == b"new"
