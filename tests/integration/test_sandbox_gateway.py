"""HTTPRoutes on the sandbox's gateway: what happens to requests, over real HTTP."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import aiohttp
import pytest
from tests.integration.gateway_scene import Scene, is_plausible, run, to
from tests.integration.test_sandbox_cluster import until

from switchyard.sandbox.client import SERVICES
from switchyard.sandbox.gateway.kinds import GATEWAYS, HTTP_ROUTES

RULE = "HTTPRoute default/web 0"


def test_a_route_carries_requests_and_answers_through_unchanged() -> None:
    async def scenario(scene: Scene) -> None:
        upstream = await scene.upstream("web")
        url = await scene.gateway()
        assert await scene.ask(url) == (404, b"no route takes this request\n")
        conditions = await scene.route("web", [{"backendRefs": [to("web")]}])
        assert {kind: entry["reason"] for kind, entry in conditions.items()} == {
            "Accepted": "Accepted",
            "ResolvedRefs": "ResolvedRefs",
        }
        body = bytes(range(256)) * 4000
        headers = {"X-Forwarded-For": "10.0.0.1", "Connection": "X-Private", "X-Private": "1"}
        target = aiohttp.client.URL(f"{url}/a%2Fb//c?q=%20x&q=2", encoded=True)
        answer = await scene.ask(target, method="PUT", data=body, headers=headers)
        assert answer == (200, b"web " + body)
        (seen,) = upstream.seen
        assert (seen.method, seen.path, seen.body) == ("PUT", "/a%2Fb//c?q=%20x&q=2", body)
        assert seen.headers["Host"] == url.removeprefix("http://")
        assert seen.headers["X-Forwarded-For"] == "10.0.0.1, 127.0.0.1"
        assert seen.headers["X-Forwarded-Proto"] == "http"
        assert "X-Private" not in seen.headers
        assert scene.counts.statuses(RULE) == {200: 1}
        assert scene.counts.unmatched == 1

    run(scenario)


def test_weights_hold_and_change_without_a_lost_request() -> None:
    async def scenario(scene: Scene) -> None:
        for name in ("old", "new", "never"):
            await scene.upstream(name)
        url = await scene.gateway()
        await scene.route("web", [{"backendRefs": [to("old", 90), to("new", 10), to("never", 0)]}])
        answers = await scene.ask_often(url, 1000)
        assert {status for status, _ in answers} == {200}
        shares = Counter(body for _, body in answers)
        assert is_plausible(shares[b"new "], 1000, 0.1)
        assert set(shares) == {b"old ", b"new "}
        assert scene.counts.backends(RULE) == {
            "default/old:80": shares[b"old "],
            "default/new:80": shares[b"new "],
        }

        is_over = asyncio.Event()
        statuses: Counter[int] = Counter()

        async def keep_asking() -> None:
            while not is_over.is_set():
                status, _ = await scene.ask(url)
                statuses[status] += 1

        asking = [asyncio.create_task(keep_asking()) for _ in range(4)]
        for weight in range(0, 101, 10):
            rules = [{"backendRefs": [to("old", 100 - weight), to("new", weight)]}]
            await scene.change("web", {"rules": rules})
        is_over.set()
        await asyncio.gather(*asking)
        assert set(statuses) == {200}
        assert statuses[200] > 20
        # What the status says is in force: from here on nobody gets the old one.
        assert {body for _, body in await scene.ask_often(url, 50)} == {b"new "}

    run(scenario)


def _path(value: str, kind: str = "PathPrefix", **more: Any) -> dict:
    return {"path": {"type": kind, "value": value}, **more}


def _header(value: str, kind: str = "Exact", name: str = "X-Tier") -> dict:
    return {"name": name, "type": kind, "value": value}


PRECEDENCE = {
    "any": [_path("/")],
    "prefix": [_path("/api")],
    "long-prefix": [_path("/api/v1/")],
    "exact": [_path("/api/v1", "Exact")],
    "method": [_path("/api/v1", method="PUT")],
    "header": [_path("/api/v1", headers=[_header("gold")])],
    "two-headers": [
        _path("/api/v1", headers=[_header("gold"), _header("eu|us", "RegularExpression", "Zone")])
    ],
    "query": [_path("/api/v1", queryParams=[{"name": "debug", "value": "1"}])],
    "regex": [_path("/models/[a-z]+/versions/[0-9]+", "RegularExpression")],
}


@pytest.mark.parametrize("is_reversed", [False, True])
def test_the_most_specific_match_takes_a_request_wherever_it_stands(is_reversed: bool) -> None:  # noqa: FBT001
    async def scenario(scene: Scene) -> None:
        for name in PRECEDENCE:
            await scene.upstream(name)
        url = await scene.gateway()
        names = list(PRECEDENCE)[:: -1 if is_reversed else 1]
        rules = [{"matches": PRECEDENCE[name], "backendRefs": [to(name)]} for name in names]
        # Precedence goes across routes, so the rules are spread over two.
        await scene.route("one", rules[::2])
        await scene.route("two", rules[1::2])
        asked: list[tuple[str, str, dict[str, str], str]] = [
            ("GET", "/", {}, "any"),
            ("GET", "/apis", {}, "any"),
            ("GET", "/api", {}, "prefix"),
            ("GET", "/api/", {}, "prefix"),
            ("GET", "/api/v2?debug=1", {}, "prefix"),
            ("GET", "/api/v1", {}, "exact"),
            ("PUT", "/api/v1", {}, "exact"),
            ("GET", "/api/v1/x", {}, "long-prefix"),
            ("PUT", "/api/v1/x", {}, "method"),
            ("PUT", "/api/v1/x", {"X-Tier": "gold"}, "method"),
            ("GET", "/api/v1/x", {"x-tier": "gold"}, "header"),
            ("GET", "/api/v1/x", {"X-Tier": "golden"}, "long-prefix"),
            ("GET", "/api/v1/x", {"X-Tier": "gold", "Zone": "us"}, "two-headers"),
            ("GET", "/api/v1/x", {"X-Tier": "gold", "Zone": "usa"}, "header"),
            ("GET", "/api/v1/x?debug=1", {}, "query"),
            ("GET", "/api/v1/x?debug=1", {"X-Tier": "gold"}, "header"),
            ("GET", "/models/a/versions/12", {}, "regex"),
            ("GET", "/models/a/versions/12/x", {}, "any"),
        ]
        for method, path, headers, expected in asked:
            status, body = await scene.ask(f"{url}{path}", method=method, headers=headers)
            assert (status, body.decode().strip()) == (200, expected), (method, path, headers)

    run(scenario)


def test_among_equal_matches_the_oldest_route_takes_a_request() -> None:
    async def scenario(scene: Scene) -> None:
        await scene.upstream("first")
        await scene.upstream("second")
        url = await scene.gateway()
        await scene.route("z-older", [{"backendRefs": [to("first")]}])
        await asyncio.sleep(1.1)  # creation times have whole seconds
        await scene.route("a-younger", [{"backendRefs": [to("second")]}])
        assert await scene.ask(url) == (200, b"first ")
        await scene.client.delete(HTTP_ROUTES, "default", "z-older")

        async def has_changed() -> bool:
            return await scene.ask(url) == (200, b"second ")

        await until(has_changed)

    run(scenario)


def test_a_request_goes_by_its_host_the_most_specific_name_first() -> None:
    async def scenario(scene: Scene) -> None:
        for name in ("exact", "wild", "rest"):
            await scene.upstream(name)
        url = await scene.gateway(hostname="*.example.com")
        for name, hosts in (("rest", []), ("wild", ["*.api.example.com"]), ("exact", ["v1.api.example.com"])):
            await scene.route(name, [{"backendRefs": [to(name)]}], hostnames=hosts)
        asked = {
            "v1.api.example.com": (200, b"exact "),
            "V1.API.example.com:8080": (200, b"exact "),
            "v2.api.example.com": (200, b"wild "),
            "a.b.api.example.com": (200, b"wild "),
            "api.example.com": (200, b"rest "),
            "example.com": (404, b"no route takes this request\n"),
            "example.org": (404, b"no route takes this request\n"),
        }
        for host, expected in asked.items():
            assert await scene.ask(url, headers={"Host": host}) == expected, host

    run(scenario)


def test_what_has_no_backend_answers_500_and_what_has_no_endpoint_503() -> None:
    async def scenario(scene: Scene) -> None:
        await scene.upstream("web")
        await scene.make(SERVICES, "empty", {"ports": [{"name": "http", "port": 80}]})
        url = await scene.gateway()
        rules = [
            {"matches": [_path("/none")]},
            {"matches": [_path("/zero")], "backendRefs": [to("web", 0)]},
            {"matches": [_path("/gone")], "backendRefs": [to("gone")]},
            {"matches": [_path("/empty")], "backendRefs": [to("empty")]},
            {"matches": [_path("/half")], "backendRefs": [to("web"), to("gone")]},
        ]
        conditions = await scene.route("web", rules)
        assert conditions["ResolvedRefs"]["reason"] == "BackendNotFound"
        assert conditions["Accepted"]["status"] == "True"
        for path, status in (("/none", 500), ("/zero", 500), ("/gone", 500), ("/empty", 503)):
            assert (await scene.ask(url + path))[0] == status, path
        halves = Counter(status for status, _ in await scene.ask_often(f"{url}/half", 200))
        assert set(halves) == {200, 500}
        assert is_plausible(halves[500], 200, 0.5)

        await scene.place("web", [1])  # nobody listens there
        assert {status for status, _ in await scene.ask_often(f"{url}/half", 20)} == {500, 503}

    run(scenario)


def test_headers_are_changed_as_the_rule_and_its_backend_say() -> None:
    async def scenario(scene: Scene) -> None:
        upstream = await scene.upstream("web")
        url = await scene.gateway()
        changes = {
            "set": [{"name": "X-Set", "value": "new"}],
            "add": [{"name": "X-Add", "value": "2"}],
            "remove": ["X-Gone"],
        }
        one = {"type": "RequestHeaderModifier", "requestHeaderModifier": changes}
        other = {"set": [{"name": "X-Backend-Only", "value": "1"}]}
        back = {"set": [{"name": "X-Backend", "value": "hidden"}]}
        filters = [one, {"type": "ResponseHeaderModifier", "responseHeaderModifier": back}]
        own = [{"type": "RequestHeaderModifier", "requestHeaderModifier": other}]
        await scene.route("web", [{"filters": filters, "backendRefs": [to("web", filters=own)]}])
        asked = {"X-Set": "old", "X-Add": "1", "X-Gone": "1"}
        async with scene.session.get(url, headers=asked) as answer:
            assert answer.headers["X-Backend"] == "hidden"
        headers = upstream.seen[0].headers
        assert headers["X-Set"] == "new"
        assert headers["X-Backend-Only"] == "1"
        assert "X-Gone" not in headers

    run(scenario)


def test_a_gateway_that_goes_takes_its_listener_along() -> None:
    async def scenario(scene: Scene) -> None:
        await scene.upstream("web")
        url = await scene.gateway()
        await scene.route("web", [{"backendRefs": [to("web")]}])
        assert (await scene.ask(url))[0] == 200
        await scene.client.delete(GATEWAYS, "default", "gw")

        async def is_closed() -> bool:
            try:
                async with aiohttp.ClientSession() as session, session.get(url):
                    return False
            except aiohttp.ClientConnectorError:
                return True

        await until(is_closed)

        async def is_forgotten() -> bool:
            body = await scene.client.get(HTTP_ROUTES, "default", "web")
            return body["status"]["parents"] == []

        await until(is_forgotten)

    run(scenario)
