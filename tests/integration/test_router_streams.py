"""Streams pass as they come: events one by one, and WebSockets both ways, whatever the loop does meanwhile."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import threading

import aiohttp
import pytest
import uvloop
from aiohttp import web
from tests.integration.router_peers import (
    PATIENCE_SECONDS,
    Backend,
    ClosedError,
    Router,
    Talk,
    build_document,
    build_request,
    route_to,
    wait_until,
)

EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
CHUNKED = EVENTS + b"Transfer-Encoding: chunked\r\n\r\n"
WISH = (
    b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
AGREED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"


def frame(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


# -- server-sent events ----------------------------------------------------------------------------


@pytest.mark.parametrize("framing", ["chunks", "until closed"])
@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_every_event_is_with_the_caller_before_the_backend_has_another(framing, version):
    may_go_on = threading.Semaphore(0)

    def script(talk: Talk) -> None:
        talk.read_request()
        talk.send(CHUNKED if framing == "chunks" else EVENTS + b"\r\n")
        for n in range(30):
            assert may_go_on.acquire(timeout=PATIENCE_SECONDS)
            event = b"data: %d\n\n" % n
            talk.send(frame(event) if framing == "chunks" else event)
        if framing == "chunks":
            talk.send(b"0\r\n\r\n")

    with route_to(script) as (router, _):
        client = router.connect()
        client.send(build_request(version=version))
        assert client.read_head().values("content-type") == ["text/event-stream"]
        for n in range(30):
            assert client.is_silent()
            may_go_on.release()
            # the backend waits for us: nothing that it sends can push this one
            assert client.read_until(b"data: %d\n\n" % n + (b"\r\n" if version == "1.1" else b""))
        rest = client.read_to_end() if version == "1.0" else client.read_until(b"0\r\n\r\n")
        assert b"data" not in rest


def test_an_event_in_pieces_passes_piece_by_piece():
    may_go_on = threading.Semaphore(0)
    event = b"data: hello\n\n"

    def script(talk: Talk) -> None:
        talk.read_request()
        talk.send(CHUNKED, b"%x\r\n" % len(event))
        for at in range(len(event)):
            assert may_go_on.acquire(timeout=PATIENCE_SECONDS)
            talk.send(event[at : at + 1])
        talk.send(b"\r\n0\r\n\r\n")

    with route_to(script) as (router, _):
        client = router.connect()
        client.send(build_request())
        client.read_head()
        for at in range(len(event)):
            may_go_on.release()
            assert client.read_until(b"1\r\n" + event[at : at + 1] + b"\r\n")


def test_many_small_events_arrive_whole_and_in_order():
    sent = b"".join(b"data: token %d\n\n" % n for n in range(20_000))

    def script(talk: Talk) -> None:
        talk.read_request()
        talk.send(CHUNKED)
        for n in range(0, 20_000, 10):
            talk.send(*(frame(b"data: token %d\n\n" % each) for each in range(n, n + 10)))
        talk.send(b"0\r\n\r\n")

    with route_to(script) as (router, _):
        assert router.get().body == sent


def test_a_stream_is_measured_by_its_events():
    def script(talk: Talk) -> None:
        talk.read_request()
        talk.send(CHUNKED, *(frame(b"data: %d\n\n" % n) for n in range(5)), b"0\r\n\r\n")

    with route_to(script) as (router, _):
        assert router.get().status == 200
        wait_until(lambda: router.samples().segments["default"].arms["baseline"].strata)
        (stratum,) = router.samples().segments["default"].arms["baseline"].strata.values()
        assert sum(stratum.tpot.counts) == sum(stratum.ttft.counts) == 1


def test_the_first_event_passes_while_the_request_is_still_being_sent():
    def script(talk: Talk) -> None:
        talk.read_head()
        talk.send(CHUNKED, frame(b"data: early\n\n"))
        talk.wait_closed()

    with route_to(script) as (router, _):
        client = router.connect()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
        assert client.read_until(b"data: early\n\n")


def test_events_that_came_before_a_break_reach_the_caller_and_the_break_too():
    def script(talk: Talk) -> None:
        talk.read_request()
        talk.send(CHUNKED, frame(b"data: 1\n\n"), frame(b"data: 2\n\n"))

    with route_to(script) as (router, _):
        client = router.connect()
        client.send(build_request())
        client.read_head()
        with pytest.raises(ClosedError):
            client.read_chunked()
        got = router.connect()
        got.send(build_request())
        rest = got.read_to_end()
        assert b"data: 1" in rest
        assert b"data: 2" in rest
        assert not rest.endswith(b"0\r\n\r\n")


def test_a_document_that_is_swapped_within_a_stream_leaves_the_stream_and_rules_the_next_request():
    may_go_on = threading.Semaphore(0)

    def script(talk: Talk) -> None:
        talk.read_request()
        talk.send(CHUNKED)
        for n in range(4):
            assert may_go_on.acquire(timeout=PATIENCE_SECONDS)
            talk.send(frame(b"data: %d\n\n" % n))
        talk.send(b"0\r\n\r\n")

    with Backend(script) as old, Backend() as new, Router(build_document(old.url)) as router:
        client = router.connect()
        client.send(build_request("/stream"))
        client.read_head()
        may_go_on.release()
        assert client.read_until(b"data: 0\n\n")
        router.configure({**build_document(new.url), "version": 2})
        assert router.get("/next").body == b"ok"
        for n in (1, 2, 3):
            may_go_on.release()
            assert client.read_until(b"data: %d\n\n" % n)
        assert client.read_until(b"0\r\n\r\n")
        assert client.get("/after").body == b"ok"
        assert (old.targets, new.targets) == (["/stream"], ["/next", "/after"])


# -- tunnels ---------------------------------------------------------------------------------------


def test_a_change_of_protocol_passes_bytes_both_ways_as_they_are():
    def script(talk: Talk) -> None:
        seen = talk.read_head()
        assert seen.value("upgrade") == "websocket"
        assert seen.value("connection") == "Upgrade"
        assert seen.value("sec-websocket-version") == "13"
        talk.send(AGREED, b"\x00first")
        for _ in range(3):
            talk.send(talk.read_exactly(4)[::-1])
        talk.send(b"last")

    with route_to(script) as (router, _):
        client = router.connect()
        client.send(WISH)
        agreed = client.read_head()
        assert (agreed.status, agreed.value("upgrade"), agreed.value("connection")) == (
            101,
            "websocket",
            "Upgrade",
        )
        assert client.read_exactly(6) == b"\x00first"
        for data in (b"abcd", b"\r\n\r\n", b"GET "):
            client.send(data)
            assert client.read_exactly(4) == data[::-1]
        assert client.read_to_end() == b"last"
        wait_until(lambda: router.samples().segments["default"].tunnels.get("baseline") == 1)
        assert not router.samples().segments["default"].arms


def test_bytes_sent_before_the_backend_has_agreed_reach_it_after_it_has():
    def script(talk: Talk) -> None:
        talk.read_head()
        assert talk.is_silent(), "bytes of a protocol that is not agreed on yet"
        talk.send(AGREED)
        talk.send(talk.read_exactly(11))

    with route_to(script) as (router, _):
        client = router.connect()
        client.send(WISH, b"early ")
        client.send(b"words")
        assert client.read_head().status == 101
        assert client.read_exactly(11) == b"early words"


def test_a_caller_that_floods_before_the_backend_has_agreed_is_ended():
    def script(talk: Talk) -> None:
        talk.read_head()
        talk.wait_closed()
        assert not talk.rest

    with route_to(script) as (router, _):
        client = router.connect()
        client.send(WISH)
        with pytest.raises(OSError, match=r"reset|pipe"):
            client.send(b"x" * (64 << 20))


def test_a_change_of_protocol_that_is_refused_is_an_answer_like_any_other():
    def script(talk: Talk) -> None:
        talk.read_head()
        talk.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
        talk.wait_closed()
        assert not talk.rest

    with route_to(script) as (router, _):
        client = router.connect()
        client.send(WISH, b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
        got = client.read_answer()
        assert (got.status, got.body, got.value("connection")) == (403, b"no", "close")
        assert client.read_to_end() == b""


def test_a_caller_that_closes_a_tunnel_has_its_last_words_delivered():
    last = b"x" * 200_000
    got = []

    def script(talk: Talk) -> None:
        talk.read_head()
        talk.send(AGREED)
        got.append(talk.read_to_end())

    with route_to(script) as (router, _):
        client = router.connect()
        client.send(WISH)
        assert client.read_head().status == 101
        client.send(last)
        client.close()
        wait_until(lambda: got)
        assert got[0] == last


@pytest.mark.parametrize("end", ["caller", "backend"])
def test_either_end_of_a_tunnel_notices_that_the_other_is_gone(end):
    left = threading.Event()

    def script(talk: Talk) -> None:
        talk.read_head()
        talk.send(AGREED)
        if end == "caller":
            talk.wait_closed()
            left.set()
        else:
            talk.reset()

    with route_to(script) as (router, _):
        client = router.connect()
        client.send(WISH)
        assert client.read_head().status == 101
        if end == "caller":
            client.reset()
            assert left.wait(PATIENCE_SECONDS)
        else:
            client.wait_closed()


def test_a_tunnel_that_nobody_uses_is_ended():
    def script(talk: Talk) -> None:
        talk.read_head()
        talk.send(AGREED)
        talk.wait_closed()

    with route_to(script, limits={"idleTimeoutSeconds": 0.2}) as (router, _):
        client = router.connect()
        client.send(WISH)
        assert client.read_head().status == 101
        client.wait_closed()


def test_a_tunnel_holds_back_whoever_is_too_quick():
    size = 32 << 20
    may_read = threading.Event()
    sent = [0]
    digests = []

    def script(talk: Talk) -> None:
        talk.read_head()
        talk.send(AGREED)
        assert may_read.wait(PATIENCE_SECONDS)
        digests.append(hashlib.blake2b(talk.read_exactly(size)).digest())
        talk.send(b"done")

    with route_to(script) as (router, _):
        client = router.connect()
        client.send(WISH)
        assert client.read_head().status == 101

        def send() -> None:
            while sent[0] < size:
                client.send(b"\x81" * 65536)
                sent[0] += 65536

        sender = threading.Thread(target=send)
        sender.start()
        sender.join(0.5)
        assert sent[0] < size, "all of it went somewhere"
        may_read.set()
        assert client.read_exactly(4) == b"done"
        sender.join()
        assert digests == [hashlib.blake2b(b"\x81" * size).digest()]


# -- with real peers -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make_loop", [uvloop.new_event_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"]
)
def test_a_websocket_of_a_real_library_speaks_through_the_router(make_loop):
    async def main() -> None:
        closed: list[int | None] = []
        has_ended = asyncio.Event()

        async def echo(request: web.Request) -> web.WebSocketResponse:
            talk = web.WebSocketResponse(protocols=("chat",))
            await talk.prepare(request)
            async for message in talk:
                if message.data == "leave":
                    await talk.close(code=4001, message=b"as asked")
                elif message.type == aiohttp.WSMsgType.BINARY:
                    await talk.send_bytes(message.data)
                else:
                    await talk.send_str(message.data)
            closed.append(talk.close_code)
            if len(closed) == 2:
                has_ended.set()
            return talk

        application = web.Application()
        application.router.add_get("/ws", echo)
        runner = web.AppRunner(application)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = site._server.sockets[0].getsockname()[1]
        loop = asyncio.get_running_loop()
        router = await loop.run_in_executor(
            None, lambda: Router(build_document(f"http://127.0.0.1:{port}"), make_loop=make_loop)
        )
        url = f"http://127.0.0.1:{router.port}/ws"
        async with aiohttp.ClientSession() as session:
            async with session.ws_connect(url, protocols=("chat",)) as talk:
                assert talk.protocol == "chat"
                for size in (0, 1, 125, 126, 65_536, 300_000):
                    await talk.send_bytes(b"x" * size)
                    assert (await talk.receive_bytes(timeout=PATIENCE_SECONDS)) == b"x" * size
                await talk.ping()
                await talk.send_str("leave")
                ended = await talk.receive(timeout=PATIENCE_SECONDS)
                assert (ended.type, ended.data, ended.extra) == (aiohttp.WSMsgType.CLOSE, 4001, "as asked")
            async with session.ws_connect(url) as talk:
                await talk.close(code=1001)
        await asyncio.wait_for(has_ended.wait(), PATIENCE_SECONDS)
        assert closed[1] == 1001
        await runner.cleanup()
        await loop.run_in_executor(None, router.close)

    asyncio.run(asyncio.wait_for(main(), 30))


def test_the_handshake_of_a_websocket_is_left_as_it_is():
    key = base64.b64encode(b"0123456789abcdef").decode()

    def script(talk: Talk) -> None:
        seen = talk.read_head()
        assert seen.value("sec-websocket-key") == key
        talk.send(AGREED[:-2], b"Sec-WebSocket-Accept: xyz\r\nSec-WebSocket-Protocol: chat\r\n\r\n")

    with route_to(script) as (router, _):
        client = router.connect()
        client.send(WISH.replace(b"dGhlIHNhbXBsZSBub25jZQ==", key.encode()))
        agreed = client.read_head()
        assert agreed.value("sec-websocket-accept") == "xyz"
        assert agreed.value("sec-websocket-protocol") == "chat"
