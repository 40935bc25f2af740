"""VirtualServices that are bound to an Istio Gateway, on the sandbox's gateway."""

from __future__ import annotations

from collections import Counter
from typing import Any

from tests.integration.gateway_scene import Scene, is_plausible, run
from tests.integration.test_sandbox_cluster import deployment, ready_pods, until

from switchyard.sandbox.client import DEPLOYMENTS, SERVICES
from switchyard.sandbox.gateway.kinds import DESTINATION_RULES, ISTIO_GATEWAYS, VIRTUAL_SERVICES

RULE = "VirtualService default/web 0"
HOST = {"Host": "web.example.com"}


def destination(name: str, weight: int | None = None, **more: Any) -> dict:
    entry = {"destination": {"host": name, **more}}
    return entry if weight is None else {**entry, "weight": weight}


async def open_gateway(scene: Scene, *hosts: str) -> str:
    server = {"port": {"number": 8080, "protocol": "HTTP", "name": "http"}, "hosts": list(hosts or ["*"])}
    spec = {"selector": {"istio": "ingressgateway"}, "servers": [server]}
    await scene.make(ISTIO_GATEWAYS, "gw", spec)

    async def address() -> str:
        return scene.sandbox.gateway.istio_address

    return f"http://{await until(address)}:8080"


async def bind(scene: Scene, http: list[dict], name: str = "web", **spec: Any) -> None:
    spec = {"hosts": ["web.example.com"], "gateways": ["gw"], "http": http, **spec}
    await scene.make(VIRTUAL_SERVICES, name, spec)


async def answers(scene: Scene, url: str, *bodies: bytes, **headers: str) -> None:
    """Wait until a request is answered by one of these."""

    async def is_answered() -> bool:
        return (await scene.ask(url, headers={**HOST, **headers}))[1] in bodies

    await until(is_answered)


def test_weights_and_mirrors_hold_and_copies_carry_a_shadow_host() -> None:
    async def scenario(scene: Scene) -> None:
        for name in ("old", "new"):
            await scene.upstream(name)
        one, other = await scene.upstream("one"), await scene.upstream("other")
        url = await open_gateway(scene)
        route = {
            "route": [destination("old", 80), destination("new.default.svc.cluster.local", 20)],
            "mirror": {"host": "one", "port": {"number": 80}},
            "mirrorPercentage": {"value": 12.5},
            "mirrors": [{"destination": {"host": "other"}}],
        }
        await bind(scene, [route])
        await answers(scene, url, b"old ", b"new ")
        before = scene.counts.requests(RULE)
        shares = Counter(body for _, body in await scene.ask_often(url, 1000, headers=HOST))
        assert set(shares) == {b"old ", b"new "}
        assert is_plausible(shares[b"new "], 1000, 0.2)

        async def has_all() -> bool:
            return len(other.seen) == before + 1000 and all(
                entry["sent"] == entry.get("answered") for entry in scene.counts.mirrors(RULE).values()
            )

        await until(has_all)
        assert is_plausible(len(one.seen), before + 1000, 0.125)
        assert {entry.headers["Host"] for entry in (*one.seen, *other.seen)} == {"web.example.com-shadow"}
        await scene.ask(url, headers={"Host": "web.example.com:8080"})

        async def has_port() -> bool:
            return other.seen[-1].headers["Host"] == "web.example.com-shadow:8080"

        await until(has_port)

    run(scenario, "istio")


def test_routes_are_tried_in_their_order_whatever_is_more_specific() -> None:
    async def scenario(scene: Scene) -> None:
        for name in ("gold", "prefix", "plain", "rest"):
            await scene.upstream(name)
        url = await open_gateway(scene)
        http = [
            {"match": [{"headers": {"x-tier": {"exact": "gold"}}}], "route": [destination("gold")]},
            {
                "match": [
                    {"uri": {"prefix": "/A"}, "ignoreUriCase": True, "method": {"regex": "GET|PUT"}},
                    {"uri": {"exact": "/never"}, "port": 9999},
                ],
                "route": [destination("prefix")],
            },
            {
                "match": [{"queryParams": {"q": {"exact": "1"}}, "withoutHeaders": {"x-no": {}}}],
                "route": [destination("plain")],
            },
            {"route": [destination("rest")]},
        ]
        await bind(scene, http)
        await answers(scene, url, b"rest ")
        asked: list[tuple[str, str, dict[str, str], bytes]] = [
            ("GET", "/abc", {"X-Tier": "gold"}, b"gold "),
            ("GET", "/abc", {"X-Tier": "golden"}, b"prefix "),
            ("GET", "/abc?q=1", {}, b"prefix "),
            ("POST", "/abc?q=1", {}, b"plain "),
            ("POST", "/abc?q=1", {"X-No": "1"}, b"rest "),
            ("GET", "/never", {}, b"rest "),
        ]
        for method, path, headers, expected in asked:
            found = await scene.ask(url + path, method=method, headers=HOST | headers)
            assert found == (200, expected), (method, path, headers)

    run(scenario, "istio")


def test_a_host_keeps_its_requests_and_gateways_take_only_their_own() -> None:
    async def scenario(scene: Scene) -> None:
        for name in ("narrow", "wide"):
            await scene.upstream(name)
        url = await open_gateway(scene, "*.example.com", "kube-system/b.org")
        only = [{"match": [{"uri": {"prefix": "/only"}}], "route": [destination("narrow")]}]
        await bind(scene, only, "narrow")
        await bind(
            scene, [{"route": [destination("wide")]}], "wide", hosts=["*.example.com", "a.org", "b.org"]
        )
        await bind(scene, [{"route": [destination("wide")]}], "mesh", gateways=["mesh"])
        await answers(scene, f"{url}/only", b"narrow ")
        # The wide one would take it, but its host is less specific.
        assert (await scene.ask(f"{url}/else", headers=HOST))[0] == 404
        for host, status in (("other.example.com", 200), ("a.org", 404), ("b.org", 404)):
            assert (await scene.ask(url, headers={"Host": host}))[0] == status, host

    run(scenario, "istio")


def test_what_leads_nowhere_answers_503_and_what_is_not_simulated_500() -> None:
    async def scenario(scene: Scene) -> None:
        await scene.upstream("web")
        url = await open_gateway(scene)
        for kind in (ISTIO_GATEWAYS, VIRTUAL_SERVICES, DESTINATION_RULES):
            meta = {"name": "says-nothing", "namespace": "default"}
            nothing = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": meta}
            await scene.client.create(kind, "default", nothing)
        http = [
            {"match": [{"uri": {"exact": "/gone"}}], "route": [destination("gone")]},
            {"match": [{"uri": {"exact": "/out"}}], "route": [destination("a.example.com")]},
            {"match": [{"uri": {"exact": "/subset"}}], "route": [destination("web", subset="v9")]},
            {"match": [{"uri": {"exact": "/moved"}}], "redirect": {"uri": "/"}},
            {"route": [destination("web")], "timeout": "5s"},
        ]
        await bind(scene, http)
        await answers(scene, url, b"web ")
        for path, status in (("/gone", 503), ("/out", 503), ("/subset", 503), ("/moved", 500)):
            assert (await scene.ask(url + path, headers=HOST))[0] == status, path

    run(scenario, "istio")


def test_a_subset_is_the_pods_that_have_its_labels() -> None:
    async def scenario(scene: Scene) -> None:
        for version in ("v1", "v2"):
            body = deployment(version, 1, resources={})
            body["spec"]["template"]["spec"].pop("nodeSelector")
            body["spec"]["template"]["metadata"]["labels"] |= {"part": "web", "version": version}
            await scene.client.create(DEPLOYMENTS, "default", body)
            await ready_pods(scene.client, 1, version)
        ports = [{"port": 8080, "targetPort": "http"}]
        await scene.make(SERVICES, "web", {"selector": {"part": "web"}, "ports": ports})
        subsets = [{"name": name, "labels": {"version": name}} for name in ("v1", "v2")]
        await scene.make(DESTINATION_RULES, "web", {"host": "web", "subsets": subsets})
        url = await open_gateway(scene)
        await bind(scene, [{"route": [destination("web", subset="v2")]}])

        async def is_there() -> bool:
            return (await scene.ask(url + "/v1/models", headers=HOST))[0] == 200

        await until(is_there)
        for _ in range(10):
            async with scene.session.get(f"{url}/v1/models", headers=HOST) as answer:
                assert [model["id"] for model in (await answer.json())["data"]] == ["v2"]
        assert scene.counts.backends(RULE) == {"default/web:8080,version=v2": scene.counts.requests(RULE)}

    run(scenario, "istio", fleet="default")
