"""The admin port over real HTTP: probes and metrics for all, the rest for whoever has the token."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from switchyard.core.routing.document import RoutingDocument
from switchyard.core.routing.samples import Samples, parse_samples
from switchyard.dataplane.control.access import Access
from switchyard.dataplane.control.admin import AdminLimits, AdminPort, AdminView
from switchyard.dataplane.control.config import MAX_DOCUMENT_BYTES, ConfigHolder
from switchyard.dataplane.control.fleet import NotConfirmed, SamplesMissing, WorkerState

TOKEN = "correct-horse"
HASH = hashlib.sha256(TOKEN.encode()).hexdigest()
SAMPLES = Samples(epoch="00000000000000aa")
WITH_TOKEN, USUAL = Access(HASH), AdminLimits()
BEARER = {"Authorization": f"Bearer {TOKEN}"}


def write_document(version: int, port: int = 9001) -> dict[str, Any]:
    return {"version": version, "arms": {"baseline": {"url": f"http://127.0.0.1:{port}"}}}


@dataclass
class FakeFleet:
    """Workers that confirm at once, save those that are held back."""

    port: int = 1
    names: tuple[str, ...] = ("0", "1")
    versions: dict[str, int] = field(default_factory=dict)
    deaf: set[str] = field(default_factory=set)
    down: set[str] = field(default_factory=set)
    samples: Samples | None = SAMPLES

    def workers(self) -> tuple[WorkerState, ...]:
        return tuple(
            WorkerState(
                name,
                is_listening=name not in self.down,
                version=self.versions.get(name),
                problem="restarts" if name in self.down else "",
            )
            for name in self.names
        )

    async def configure(self, document: RoutingDocument) -> None:
        for name in set(self.names) - self.deaf:
            self.versions[name] = document.version
        if self.deaf:
            raise NotConfirmed(tuple(f"worker {name}: does not answer" for name in sorted(self.deaf)))

    async def read_samples(self) -> Samples:
        if self.samples is None:
            raise SamplesMissing("worker 1 has not answered within 2 s")
        return self.samples

    async def start(self) -> None: ...
    def drain(self) -> None: ...
    async def stop(self, grace_seconds: float) -> None: ...


@dataclass
class Rig:
    fleet: FakeFleet
    http: aiohttp.ClientSession
    port: int
    is_draining: bool = False

    async def ask(
        self, method: str, path: str, headers: dict[str, str] | None = None, **given: Any
    ) -> tuple[int, Any, dict[str, str]]:
        """Status, body (parsed where it is JSON) and headers."""
        async with self.http.request(method, path, headers=headers, **given) as answer:
            text = await answer.text()
            is_json = answer.content_type == "application/json"
            return answer.status, json.loads(text) if is_json else text, dict(answer.headers)

    async def put(self, document: Any) -> tuple[int, Any]:
        status, body, _ = await self.ask("PUT", "/v1/config", BEARER, data=json.dumps(document))
        return status, body


@contextlib.asynccontextmanager
async def serve(access: Access, limits: AdminLimits) -> AsyncIterator[Rig]:
    fleet = FakeFleet()
    view = AdminView(
        fleet,
        ConfigHolder(fleet.configure),
        access,
        is_draining=lambda: rig.is_draining,
        render_samples=lambda samples, _: f'# TYPE epoch gauge\nepoch{{name="{samples.epoch}"}} 1\n',
    )
    port = AdminPort(view, limits)
    await port.start("127.0.0.1", 0)
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port.port}") as http:
            rig = Rig(fleet, http, port.port)
            yield rig
    finally:
        await port.stop()


def play(
    story: Callable[[Rig], Awaitable[None]],
    access: Access = WITH_TOKEN,
    limits: AdminLimits = USUAL,
) -> None:
    async def run() -> None:
        async with asyncio.timeout(30), serve(access, limits) as rig:
            await story(rig)

    asyncio.run(run())


def test_a_document_is_confirmed_shown_and_ready_once_every_worker_has_it() -> None:
    async def story(rig: Rig) -> None:
        status, text, _ = await rig.ask("GET", "/readyz")
        assert (status, "[-] document: not on every worker" in text) == (503, True)
        assert await rig.put(write_document(7)) == (200, {"version": 7})
        assert await rig.put(write_document(7)) == (200, {"version": 7})
        assert (await rig.ask("GET", "/readyz"))[0] == 200
        _, shown, _ = await rig.ask("GET", "/v1/config", BEARER)
        assert (shown["version"], shown["taken"], shown["lastError"]) == (7, 7, None)
        assert [(each["name"], each["version"]) for each in shown["workers"]] == [("0", 7), ("1", 7)]
        assert shown["document"]["arms"]["baseline"]["url"] == "http://127.0.0.1:9001"

    play(story)


@pytest.mark.parametrize(
    ("document", "status", "problem"),
    [
        pytest.param(write_document(6), 409, "version: 6 is older than 7", id="an older version"),
        pytest.param(write_document(7, 9002), 409, "version: 7 is in force with other", id="a contradiction"),
        pytest.param({"version": 8}, 422, "arms: must be given", id="an invalid document"),
        pytest.param([], 422, "", id="no document"),
    ],
)
def test_a_document_that_is_not_taken_is_refused_with_the_reason_and_the_good_one_stays(
    document: Any, status: int, problem: str
) -> None:
    async def story(rig: Rig) -> None:
        await rig.put(write_document(7))
        code, body = await rig.put(document)
        assert code == status
        assert body["error"]
        assert any(line.startswith(problem) for line in body["problems"])
        _, shown, _ = await rig.ask("GET", "/v1/config", BEARER)
        assert shown["version"] == 7
        outcomes = {report["outcome"]: report["problems"] for report in shown["reports"]}
        assert body["problems"] in outcomes.values()

    play(story)


def test_a_worker_that_has_not_confirmed_keeps_the_answer_from_being_good() -> None:
    async def story(rig: Rig) -> None:
        await rig.put(write_document(7))
        rig.fleet.deaf = {"1"}
        code, body = await rig.put(write_document(8))
        assert (code, body["problems"]) == (503, ["worker 1: does not answer"])
        _, shown, _ = await rig.ask("GET", "/v1/config", BEARER)
        assert (shown["version"], shown["taken"]) == (7, 8)
        assert shown["lastError"]["outcome"] == "unconfirmed"
        rig.fleet.deaf = set()
        assert await rig.put(write_document(8)) == (200, {"version": 8})

    play(story)


@pytest.mark.parametrize(
    ("disturb", "line"),
    [
        (lambda rig: setattr(rig, "is_draining", True), "[-] drain: under way"),
        (lambda rig: rig.fleet.down.add("1"), "[-] worker 1: restarts"),
        (lambda rig: rig.fleet.versions.pop("0"), "[-] document: not on every worker"),
    ],
)
def test_it_is_not_ready_while_something_is_missing_but_always_alive(
    disturb: Callable[[Rig], None], line: str
) -> None:
    async def story(rig: Rig) -> None:
        await rig.put(write_document(7))
        disturb(rig)
        status, text, _ = await rig.ask("GET", "/readyz")
        assert status == 503
        assert line in text
        assert (await rig.ask("GET", "/healthz"))[0] == 200

    play(story)


PROTECTED = (("GET", "/v1/config"), ("PUT", "/v1/config"), ("GET", "/v1/samples"))


@pytest.mark.parametrize(("method", "path"), PROTECTED)
@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        TOKEN,
        f"Basic {TOKEN}",
        "Bearer wrong",
        f"Bearer {TOKEN} x",
        f"Bearer {HASH}",
    ],
)
def test_nobody_without_the_token_reads_or_changes_anything(
    method: str, path: str, authorization: str | None
) -> None:
    async def story(rig: Rig) -> None:
        headers = {} if authorization is None else {"Authorization": authorization}
        document = json.dumps(write_document(1))
        status, body, given = await rig.ask(method, path, headers, data=document)
        assert (status, given["WWW-Authenticate"].startswith("Bearer")) == (401, True)
        assert set(body) == {"error", "problems"}
        assert TOKEN not in json.dumps(body)
        assert "wrong" not in json.dumps(body)
        assert rig.fleet.versions == {}

    play(story)


@pytest.mark.parametrize(("method", "path"), PROTECTED)
def test_without_a_configured_token_nobody_is_let_in_and_the_answer_says_what_to_set(
    method: str, path: str
) -> None:
    async def story(rig: Rig) -> None:
        empty = hashlib.sha256(b"").hexdigest()
        for headers in (BEARER, {}, {"Authorization": f"Bearer {empty}"}):
            status, body, _ = await rig.ask(method, path, headers)
            assert status == 403
            assert "--admin-token-sha256" in body["error"]
            assert "--admin-token-file" in body["error"]
        assert (await rig.ask("GET", "/healthz"))[0] == 200
        assert (await rig.ask("GET", "/metrics"))[0] == 200

    play(story, Access())


def test_a_token_in_a_file_can_be_changed_in_place(tmp_path: Path) -> None:
    file = tmp_path / "token"

    async def story(rig: Rig) -> None:
        for content, status in (
            (None, 403),
            ("", 403),
            (" \n", 403),
            (f"{TOKEN}\n", 200),
            ("another", 401),
            (TOKEN, 200),
        ):
            if content is not None:
                file.write_text(content)
            code, body, _ = await rig.ask("GET", "/v1/config", BEARER)
            assert (code, content) == (status, content)
            assert status == 200 or "another" not in body["error"]

    play(story, Access(token_file=file))


def test_samples_are_whole_or_refused() -> None:
    async def story(rig: Rig) -> None:
        status, body, _ = await rig.ask("GET", "/v1/samples", BEARER)
        assert status == 200
        assert parse_samples(json.dumps(body)) == rig.fleet.samples
        rig.fleet.samples = None
        status, body, _ = await rig.ask("GET", "/v1/samples", BEARER)
        assert (status, body["error"]) == (503, "worker 1 has not answered within 2 s")

    play(story)


def test_metrics_tell_of_the_router_also_where_a_worker_is_silent() -> None:
    async def story(rig: Rig) -> None:
        await rig.put(write_document(7))
        await rig.put({"version": 8})
        rig.fleet.down.add("1")

        async def read() -> dict[tuple[str, tuple[str, ...]], float]:
            status, text, headers = await rig.ask("GET", "/metrics")
            assert status == 200
            assert headers["Content-Type"].startswith("text/plain; version=0.0.4")
            return {
                (sample.name, tuple(sample.labels.values())): sample.value
                for family in text_string_to_metric_families(text)
                for sample in family.samples
            }

        found = await read()
        assert found["epoch", ("00000000000000aa",)] == 1
        assert found["switchyard_router_config_documents_total", ("push", "invalid")] == 1
        assert found["switchyard_router_config_error", ("push",)] == 1
        assert found["switchyard_router_worker_up", ("0",)] == 1
        assert found["switchyard_router_worker_up", ("1",)] == 0
        assert found["switchyard_router_samples_missing", ()] == 0
        rig.fleet.samples = None
        found = await read()
        assert found["switchyard_router_samples_missing", ()] == 1
        assert not [name for name, _ in found if name == "epoch"]

    play(story)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/nothing", 404),
        ("DELETE", "/v1/config", 405),
        ("POST", "/healthz", 405),
        ("GET", "/", 404),
    ],
)
def test_what_there_is_not_is_refused_in_the_same_form(method: str, path: str, status: int) -> None:
    async def story(rig: Rig) -> None:
        code, body, headers = await rig.ask(method, path, BEARER)
        assert (code, set(body)) == (status, {"error", "problems"})
        assert (status == 405) == ("Allow" in headers)

    play(story)


@pytest.mark.parametrize(
    "path", ["//v1/config", "/%761/config", "/v1%2fconfig", "/v1/./config", "/healthz/../v1/config"]
)
def test_no_other_spelling_of_a_path_comes_past_the_token(path: str) -> None:
    async def story(rig: Rig) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert (await reader.readline()).split()[1] in (b"400", b"401", b"404")
        writer.close()

    play(story)


def test_a_document_longer_than_a_mebibyte_is_refused_unread() -> None:
    async def story(rig: Rig) -> None:
        text = b" " * MAX_DOCUMENT_BYTES + json.dumps(write_document(1)).encode()
        status, body, _ = await rig.ask("PUT", "/v1/config", BEARER, data=text)
        assert (status, set(body)) == (413, {"error", "problems"})

        async def chunks() -> AsyncIterator[bytes]:
            for start in range(0, len(text), 65_536):
                yield text[start : start + 65_536]

        status, _, _ = await rig.ask("PUT", "/v1/config", BEARER, data=chunks())
        assert status == 413
        assert rig.fleet.versions == {}

    play(story)


def test_a_document_that_never_arrives_is_given_up() -> None:
    async def story(rig: Rig) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
        head = f"PUT /v1/config HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
        writer.write(f"{head}Content-Length: 10\r\n\r\n{{".encode())
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"did not arrive within 0.05 s" in answer
        writer.close()

    play(story, limits=AdminLimits(body_seconds=0.05))


@pytest.mark.parametrize(
    "sent", [b"", b"GET /healthz HTTP/1.1\r\nHost:", b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"]
)
def test_a_connection_ends_whatever_its_caller_does_or_leaves_undone(sent: bytes) -> None:
    async def story(rig: Rig) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
        writer.write(sent)
        with contextlib.suppress(ConnectionError):
            await reader.read()  # returns at the end of the connection alone
        writer.close()
        assert (await rig.ask("GET", "/healthz"))[0] == 200

    play(story, limits=AdminLimits(connection_seconds=0.2))


def test_callers_above_the_limit_are_turned_away_and_let_in_again_later() -> None:
    async def story(rig: Rig) -> None:
        held = [await asyncio.open_connection("127.0.0.1", rig.port) for _ in range(3)]
        with pytest.raises(aiohttp.ClientError):
            await rig.ask("GET", "/healthz")
        for _, writer in held:
            writer.close()
        for _ in range(500):
            with contextlib.suppress(aiohttp.ClientError):
                assert (await rig.ask("GET", "/healthz"))[0] == 200
                return
            await asyncio.sleep(0.01)
        pytest.fail("nobody was let in again")

    play(story, limits=AdminLimits(connections=3))
