"""Copies for the candidate: whatever it does, users get what the baseline says, and every copy is accounted for."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import threading
from collections.abc import Iterator

import pytest
from tests.integration.router_peers import (
    OK,
    PATIENCE_SECONDS,
    Answer,
    Backend,
    Router,
    Script,
    Talk,
    answer_always,
    build_document,
    build_request,
    wait_until,
)

from switchyard.core.routing.document import RoutingDocument
from switchyard.core.routing.matching import is_noise_sampled, is_shadowed
from switchyard.core.routing.samples import SegmentSamples

HEAD = b"HTTP/1.1 200 OK\r\n"
EVERYTHING = [{"name": "default", "shadowPercent": 100}]
NO_NOISE = {"noisePercent": 0}


def shadow_document(baseline: Backend, candidate: str, **shadow: object) -> dict[str, object]:
    return build_document(baseline.url, candidate, segments=EVERYTHING, shadow={**NO_NOISE, **shadow})


@contextlib.contextmanager
def shadowing(
    baseline_script: Script | None, candidate_script: Script | None, **shadow: object
) -> Iterator[tuple[Router, Backend, Backend]]:
    """A router that copies every request of the first backend to the second."""
    with (
        Backend(baseline_script) as baseline,
        Backend(candidate_script) as candidate,
        Router(shadow_document(baseline, candidate.url, **shadow)) as router,
    ):
        yield router, baseline, candidate


def read_segment(router: Router, name: str = "default") -> SegmentSamples:
    return router.samples().segments[name]


def wait_for_copies(router: Router) -> SegmentSamples:
    """The counts when no copy is under way, and nothing is held for any."""
    shadows = router.engine.shadows
    wait_until(lambda: not router.ask(lambda: shadows.in_flight or shadows.queued), "copies come to an end")
    assert router.ask(lambda: shadows.held_bytes) == 0, "bytes are held for copies that are over"
    counted = read_segment(router)
    assert counted.shadow.in_flight == 0
    return counted


def count_dropped(counted: SegmentSamples) -> int:
    return sum(counted.shadow.dropped.values())


# -- what is sent ----------------------------------------------------------------------------------


def test_a_copy_is_the_same_request_and_is_marked():
    with shadowing(None, None) as (router, baseline, candidate):
        router.get(
            "/v1/x?y=%20z",
            "X-Own: 1",
            "X-Request-Id: id-1",
            "X-Own: 2",
            "Cookie: a=b",
            method="POST",
            body=b"\0body",
        )
        wait_until(lambda: candidate.requests)
        original, copy = baseline.requests[0], candidate.requests[0]
        assert (copy.method, copy.target, copy.body) == (original.method, original.target, original.body)
        assert copy.value("x-request-id") == original.value("x-request-id") == "id-1"
        assert copy.value("x-switchyard-shadow") == "candidate"
        assert not original.values("x-switchyard-shadow")
        assert copy.value("host") == original.value("host")
        assert copy.values("x-own") == ["1", "2"]
        assert copy.value("x-forwarded-for") == "127.0.0.1"
        wait_for_copies(router)


@pytest.mark.parametrize(
    ("sent", "body", "framing"),
    [
        (b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", b"abcde", ["5"]),
        (b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", b"", ["0"]),
        (b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n", b"", []),
        (b"GET /a HTTP/1.0\r\n\r\n", b"", []),
        (b"POST /a HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nab", b"ab", ["2"]),
    ],
    ids=["chunks", "an empty body", "no body", "HTTP/1.0", "an expectation"],
)  # fmt: skip
def test_a_copy_has_one_meaning_however_its_request_was_framed(sent, body, framing):
    with shadowing(None, None) as (router, _baseline, candidate):
        client = router.connect()
        client.send(sent)
        assert client.read_answer().body == b"ok"
        wait_until(lambda: candidate.requests)
        copy = candidate.requests[0]
        assert (copy.target, copy.body, copy.values("content-length")) == ("/a", body, framing)
        assert not copy.values("transfer-encoding")
        assert not copy.values("expect")
        assert len(copy.values("host")) == 1
        wait_for_copies(router)


def test_the_noise_arm_asks_the_baseline_a_second_time():
    with Backend() as baseline, Backend() as candidate:
        document = shadow_document(baseline, candidate.url, noisePercent=100)
        with Router(document) as router:
            assert router.get("/n", "X-Request-Id: id-1", method="POST", body=b"x").body == b"ok"
            wait_until(lambda: len(baseline.requests) == 2)
            again = next(seen for seen in baseline.requests if seen.values("x-switchyard-shadow"))
            assert (again.value("x-switchyard-shadow"), again.target, again.body) == ("noise", "/n", b"x")
            assert again.value("x-request-id") == "id-1"
            counted = wait_for_copies(router)
            assert (counted.shadow.sampled, counted.shadow.sent) == (1, 2)
            assert counted.pool_pairs().pairs == 1
            assert counted.arms["baseline"].pool().requests == 1, "the second run counts as a user's"


@pytest.mark.parametrize(
    ("reason", "shadow", "sent"),
    [
        ("excluded", {}, build_request("/a", method="PUT", body=b"x")),
        ("excluded", {}, build_request("/a", method="DELETE")),
        ("excluded", {"methods": ["GET"]}, build_request("/a", method="POST", body=b"x")),
        ("excluded", {"exclude": [{"pathPrefix": "/pay"}]}, build_request("/pay/now")),
        ("excluded", {"exclude": [{"method": "POST"}]}, build_request("/a", method="POST", body=b"x")),
        ("excluded", {"exclude": [{"pathPrefix": "/pay"}]}, b"GET http://shop/pay HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("body", {"maxBodyBytes": 10}, build_request("/a", method="POST", body=b"x" * 11)),
        ("body", {"maxBodyBytes": 10}, b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nabcdef\r\n6\r\nabcdef\r\n0\r\n\r\n"),
    ],
)  # fmt: skip
def test_what_may_not_or_can_not_be_repeated_is_counted_and_not_sent(reason, shadow, sent):
    with shadowing(None, None, **shadow) as (router, baseline, candidate):
        client = router.connect()
        client.send(sent)
        assert client.read_answer().body == b"ok"
        counted = wait_for_copies(router)
        assert (counted.shadow.sampled, dict(counted.shadow.dropped)) == (1, {reason: 1})
        assert not candidate.heads
        assert len(baseline.requests) == 1


def test_a_change_of_protocol_is_never_copied():
    def script(talk: Talk) -> None:
        talk.read_head()
        talk.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")

    with shadowing(script, None) as (router, _baseline, candidate):
        client = router.connect()
        client.send(b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        assert client.read_head().status == 101
        client.wait_closed()
        assert read_segment(router).shadow.sampled == 0
        assert not candidate.heads


def test_requests_that_the_candidate_answers_itself_are_not_copied():
    segments = [{"name": "default", "candidatePercent": 100, "shadowPercent": 100}]
    with (
        Backend() as baseline,
        Backend() as candidate,
        Router(build_document(baseline.url, candidate.url, segments=segments)) as router,
    ):
        assert [router.get().status for _ in range(5)] == [200] * 5
        assert len(candidate.requests) == 5
        assert not baseline.requests
        assert read_segment(router).shadow.sampled == 0


def test_the_percentage_holds_and_two_routers_draw_the_same_requests():
    segments = [{"name": "default", "shadowPercent": 30}]
    ids = [f"request-{n}" for n in range(400)]
    drawn = []
    for _ in range(2):
        with Backend() as baseline, Backend() as candidate:
            shadow = {"maxConcurrency": 400, "queue": 400, "noisePercent": 20}
            document = build_document(baseline.url, candidate.url, segments=segments, shadow=shadow)
            with Router(document) as router:
                client = router.connect()
                for each in ids:
                    assert client.get("/", f"X-Request-Id: {each}").body == b"ok"
                counted = wait_for_copies(router)
                assert not counted.shadow.dropped
                sent = {seen.value("x-request-id") for seen in candidate.requests}
                again = {
                    s.value("x-request-id") for s in baseline.requests if s.values("x-switchyard-shadow")
                }
                assert counted.shadow.sampled == len(sent)
                drawn.append((sent, again))
    assert drawn[0] == drawn[1]
    parsed = RoutingDocument.model_validate(document)
    assert drawn[0][0] == {each for each in ids if is_shadowed(parsed.segments[0], each)}
    assert drawn[0][1] == {each for each in drawn[0][0] if is_noise_sampled(parsed.shadow, each)}
    five_sigma = 5 * (400 * 0.3 * 0.7) ** 0.5
    assert abs(len(drawn[0][0]) - 120) < five_sigma


# -- what candidates do ----------------------------------------------------------------------------


def answer_by_request(talk: Talk) -> None:
    """An answer that only this request can get."""
    while True:
        seen = talk.read_request()
        if seen.values("x-switchyard-shadow"):
            talk.send(OK)
            continue
        body = build_expected(seen.value("x-request-id"), seen.body)
        talk.send(
            HEAD
            + b"X-For: %b\r\nContent-Length: %d\r\n\r\n" % (seen.value("x-request-id").encode(), len(body)),
            body,
        )


def build_expected(request_id: str, body: bytes) -> bytes:
    return hashlib.blake2b(request_id.encode() + body).hexdigest().encode() * 20


def hang(talk: Talk) -> None:
    talk.read_request()
    talk.wait_closed()


def hang_before_reading(talk: Talk) -> None:
    wait_until(lambda: talk.plug.fileno() == -1 or talk.is_closed())


def answer_late(talk: Talk) -> None:
    while True:
        talk.read_request()
        threading.Event().wait(0.05)
        talk.send(OK)


def reset_at_once(talk: Talk) -> None:
    talk.reset()


def reset_after_reading(talk: Talk) -> None:
    talk.read_request()
    talk.reset()


def reset_in_the_body(talk: Talk) -> None:
    talk.read_request()
    talk.send(HEAD + b"Content-Length: 100\r\n\r\nhalf")
    talk.reset()


def flood(head: bytes, piece: bytes) -> Script:
    def script(talk: Talk) -> None:
        talk.read_request()
        talk.send(head)
        while True:
            talk.send(piece)

    return script


def say(garbage: bytes) -> Script:
    def script(talk: Talk) -> None:
        talk.read_request()
        talk.send(garbage)
        talk.wait_closed()

    return script


def answer_twice(talk: Talk) -> None:
    while True:
        talk.read_request()
        talk.send(OK, b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")


CANDIDATES: dict[str, Script] = {
    "is well": answer_always(),
    "is slow": answer_late,
    "hangs": hang,
    "hangs and reads nothing": hang_before_reading,
    "resets at once": reset_at_once,
    "resets after reading": reset_after_reading,
    "resets in the body": reset_in_the_body,
    "floods in chunks": flood(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + b"x" * 65536 + b"\r\n"),
    "floods in tiny chunks": flood(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 10_000),
    "floods events": flood(HEAD + b"Content-Type: text/event-stream\r\n\r\n", b"data: x\n\n" * 5000),
    "floods without end of its head": flood(HEAD, b"X-Flood: aaaaaaaaaaaaaaaaaaaaaa\r\n" * 500),
    "floods a line without end": flood(HEAD + b"X-Flood: ", b"a" * 65536),
    "floods trailers": flood(HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X-Flood: aaaaaaa\r\n" * 500),
    "floods answers before the answer": flood(b"HTTP/1.1 102 Processing\r\n\r\n", b"HTTP/1.1 103 E\r\n\r\n" * 500),
    "answers garbage": say(b"\0\xff" * 5000),
    "answers another protocol": say(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nx"),
    "answers twice": answer_twice,
}  # fmt: skip


def ask_many(router: Router, callers: int, requests: int) -> list[str]:
    """Ask from many callers at once; what any of them got that the baseline did not say."""
    wrong: list[str] = []

    def ask(caller: int) -> None:
        client = router.connect()
        for n in range(requests):
            name, body = f"{caller}-{n}", f"body of {caller}-{n}".encode() * (1 + 50 * (n % 3))
            try:
                got = client.get("/", f"X-Request-Id: {name}", method="POST", body=body)
            except Exception as error:  # noqa: BLE001  (any failure is what is looked for)
                wrong.append(f"{name}: {error!r}")
                return
            if (got.status, got.body, got.values("x-for")) != (200, build_expected(name, body), [name]):
                wrong.append(f"{name}: {got.status}")

    threads = [threading.Thread(target=ask, args=(caller,)) for caller in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return wrong


@pytest.mark.parametrize("name", CANDIDATES)
def test_no_user_notices_a_candidate_that(name):
    shadow = {"timeoutSeconds": 0.5, "maxConcurrency": 8, "queue": 4}
    with shadowing(answer_by_request, CANDIDATES[name], noisePercent=10, **shadow) as (
        router,
        _baseline,
        candidate,
    ):
        assert ask_many(router, callers=6, requests=25) == []
        counted = wait_for_copies(router)
        assert counted.shadow.sampled == 150
        noise = counted.shadows["noise"].pool().requests if "noise" in counted.shadows else 0
        assert count_dropped(counted) + counted.shadow.sent - noise == 150
        assert counted.arms["baseline"].pool().requests == 150
        assert not counted.arms["baseline"].pool().failures
        answered = counted.shadows["candidate"].pool()
        if name in {"is well", "is slow", "answers twice"}:
            assert not answered.failures
        else:
            assert sum(answered.failures.values()) == answered.requests
        candidate.close()


def test_no_user_notices_a_candidate_that_refuses():
    with socket.create_server(("127.0.0.1", 0)) as plug:
        url = f"http://127.0.0.1:{plug.getsockname()[1]}"
    with (
        Backend(answer_by_request) as baseline,
        Router(shadow_document(baseline, url, timeoutSeconds=0.3)) as router,
    ):
        assert ask_many(router, callers=4, requests=10) == []
        counted = wait_for_copies(router)
        failures = counted.shadows["candidate"].pool().failures
        assert failures.get("connect") == counted.shadow.sent == 40 - count_dropped(counted)


def test_no_user_notices_a_candidate_that_dies_under_load():
    with shadowing(answer_by_request, None, timeoutSeconds=0.3) as (router, _baseline, candidate):
        killer = threading.Thread(
            target=lambda: (wait_until(lambda: len(candidate.requests) > 20), candidate.close())
        )
        killer.start()
        assert ask_many(router, callers=6, requests=40) == []
        killer.join()
        counted = wait_for_copies(router)
        assert counted.shadow.sampled == 240
        assert sum(counted.shadows["candidate"].pool().failures.values()) > 0


def test_users_go_on_while_the_only_copy_hangs_and_the_rest_is_dropped_and_counted():
    may_answer = threading.Event()

    def script(talk: Talk) -> None:
        talk.read_request()
        assert may_answer.wait(PATIENCE_SECONDS)
        talk.send(OK)

    with shadowing(None, script, maxConcurrency=1, queue=1) as (router, _baseline, candidate):
        client = router.connect()
        for _ in range(50):
            assert client.get().body == b"ok"
        # all fifty are answered, and the first copy is still under way
        assert len(candidate.heads) <= 1
        assert (router.engine.shadows.in_flight, router.engine.shadows.queued) == (1, 1)
        assert dict(read_segment(router).shadow.dropped) == {"queue": 48}
        may_answer.set()
        counted = wait_for_copies(router)
        assert counted.shadow.sent == 2


def test_a_copy_does_not_wait_for_a_user_who_reads_slowly_and_the_user_not_for_it():
    may_end = threading.Event()

    def script(talk: Talk) -> None:
        talk.read_request()
        talk.send(HEAD + b"Content-Length: 4\r\n\r\nha")
        assert may_end.wait(PATIENCE_SECONDS)
        talk.send(b"lf")

    with shadowing(script, None) as (router, _baseline, candidate):
        client = router.connect()
        client.send(build_request())
        wait_until(lambda: candidate.requests, "the copy is sent before the user has an answer")
        may_end.set()
        assert client.read_answer().body == b"half"
        assert wait_for_copies(router).pool_pairs().pairs == 1


def test_a_user_who_leaves_makes_no_pair():
    with shadowing(hang, None) as (router, _baseline, candidate):
        client = router.connect()
        client.send(build_request())
        wait_until(lambda: candidate.requests)
        client.close()
        counted = wait_for_copies(router)
        assert counted.pool_pairs().pairs == 0
        assert counted.shadow.completed == 1


def test_a_user_who_leaves_within_the_request_leaves_nothing_held():
    with shadowing(None, None) as (router, _baseline, candidate):
        client = router.connect()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + b"x" * 50_000)
        wait_until(lambda: router.engine.shadows.held_bytes == 50_000)
        client.close()
        wait_until(lambda: router.engine.shadows.held_bytes == 0)
        assert not candidate.heads


def test_a_document_without_candidate_ends_copies_and_breaks_none_under_way():
    may_answer = threading.Event()

    def script(talk: Talk) -> None:
        while True:
            talk.read_request()
            assert may_answer.wait(PATIENCE_SECONDS)
            talk.send(OK)

    with shadowing(None, script, maxConcurrency=1, queue=5) as (router, baseline, _candidate):
        for _ in range(3):
            assert router.get().body == b"ok"
        router.configure({**build_document(baseline.url), "version": 2})
        assert router.get().body == b"ok"
        may_answer.set()
        counted = wait_for_copies(router)
        assert (counted.shadow.sampled, counted.shadow.completed) == (3, 3)
        assert not counted.shadows["candidate"].pool().failures


# -- what is held ----------------------------------------------------------------------------------


def test_bodies_of_requests_are_held_within_one_budget():
    may_answer = threading.Event()

    def script(talk: Talk) -> None:
        talk.read_request()
        assert may_answer.wait(30)
        talk.send(OK)

    with Backend() as baseline, Backend(script) as candidate:
        document = shadow_document(baseline, candidate.url, maxConcurrency=1, queue=1000)
        with Router(document) as router:
            budget = router.engine.shadows._budget
            router.ask(lambda: setattr(budget, "limit_bytes", 8 << 20))
            client = router.connect()
            for _ in range(20):
                assert client.get(method="POST", body=b"x" * (1 << 20)).body == b"ok"
                assert budget.held_bytes <= budget.limit_bytes
            dropped = read_segment(router).shadow.dropped
            assert set(dropped) == {"memory"}
            assert dropped["memory"] == 13
            may_answer.set()
            assert wait_for_copies(router).shadow.sent == 7


def test_bodies_of_answers_are_held_within_the_same_budget():
    may_answer = threading.Event()
    large = HEAD + b"Content-Length: %d\r\n\r\n" % (1 << 20) + b"y" * (1 << 20)

    def script(talk: Talk) -> None:
        talk.read_request()
        assert may_answer.wait(30)
        talk.send(large)

    with Backend(answer_always(large)) as baseline, Backend(script) as candidate:
        document = shadow_document(baseline, candidate.url, maxConcurrency=1000)
        with Router(document) as router:
            budget = router.engine.shadows._budget
            router.ask(lambda: setattr(budget, "limit_bytes", 4 << 20))
            client = router.connect()
            for _ in range(10):
                assert client.get().body == b"y" * (1 << 20)
                assert budget.held_bytes <= budget.limit_bytes
            assert budget.held_bytes > 3 << 20
            may_answer.set()
            counted = wait_for_copies(router)
            pairs = counted.pool_pairs()
            assert pairs.pairs == 10 - counted.shadow.dropped["memory"]
            assert pairs.pairs > 3
            assert pairs.scores["exact"].candidate.compared == pairs.pairs, "told by digest where not held"


def test_a_flood_from_the_candidate_is_cut_off():
    piece = b"100000\r\n" + b"x" * (1 << 20) + b"\r\n"
    sent = [0]

    def script(talk: Talk) -> None:
        talk.read_request()
        talk.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        while True:
            talk.send(piece)
            sent[0] += 1

    with shadowing(None, script, timeoutSeconds=30) as (router, _baseline, _candidate):
        assert router.get().body == b"ok"
        counted = wait_for_copies(router)
        assert counted.shadows["candidate"].pool().failures == {"truncated": 1}
        assert sent[0] < 100


def test_users_are_answered_in_full_while_the_answers_of_others_are_compared():
    """A large answer is compared beside the loop: another user's request passes meanwhile."""
    large = b"[" + b",".join(b"%d" % n for n in range(60_000)) + b"]"
    answer = HEAD + b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(large) + large
    comparators = [{"type": "json"}, {"type": "exact"}]
    with Backend(answer_always(answer)) as baseline, Backend(answer_always(answer)) as candidate:
        document = {**shadow_document(baseline, candidate.url), "comparators": comparators}
        with Router(document) as router:
            answers: list[Answer] = [router.get() for _ in range(5)]
            assert [got.body == large for got in answers] == [True] * 5
            scores = wait_for_copies(router).pool_pairs().scores
            assert {name: each.candidate.compared for name, each in scores.items()} == {"json": 5, "exact": 5}
