"""What the status of GatewayClasses, Gateways and HTTPRoutes says on the sandbox's gateway."""

from __future__ import annotations

from typing import Any

import pytest
from tests.integration.gateway_scene import Scene, mirror_to, run, to
from tests.integration.test_sandbox_cluster import until

from switchyard.sandbox.client import NAMESPACES, SERVICES
from switchyard.sandbox.cluster.conditions import find_condition
from switchyard.sandbox.gateway.gateways import WITHOUT_FEATURES
from switchyard.sandbox.gateway.http_routes import MIRROR, MIRROR_PERCENT
from switchyard.sandbox.gateway.kinds import (
    CLASS_NAME,
    CONTROLLER_NAME,
    GATEWAY_CLASSES,
    GATEWAYS,
    HTTP_ROUTES,
    REFERENCE_GRANTS,
)


async def _namespace(scene: Scene, name: str, **labels: str) -> None:
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    await scene.client.create(NAMESPACES, "", body)


def test_a_class_says_what_it_can_do_and_routes_that_ask_for_more_are_refused() -> None:
    async def scenario(scene: Scene) -> None:
        await scene.upstream("web")
        poor = {
            "apiVersion": GATEWAY_CLASSES.api_version,
            "kind": GATEWAY_CLASSES.kind,
            "metadata": {"name": "poor", "annotations": {WITHOUT_FEATURES: f"{MIRROR_PERCENT}, Unheard"}},
            "spec": {"controllerName": CONTROLLER_NAME},
        }
        await scene.client.create(GATEWAY_CLASSES, "", poor)
        await scene.make(GATEWAY_CLASSES, "foreign", {"controllerName": "example.com/other"})

        async def features(name: str) -> list[str]:
            status = (await scene.client.get(GATEWAY_CLASSES, "", name))["status"]
            return [entry["name"] for entry in status.get("supportedFeatures", [])]

        async def are_told() -> Any:
            return await features(CLASS_NAME) and await features("poor")

        await until(are_told)
        rich = await features(CLASS_NAME)
        assert rich == sorted(rich)
        assert set(rich) - set(await features("poor")) == {MIRROR_PERCENT}
        assert MIRROR in rich
        foreign = await scene.client.get(GATEWAY_CLASSES, "", "foreign")
        assert find_condition(foreign, "Accepted")["reason"] == "Pending"
        for name in (CLASS_NAME, "poor"):
            body = await scene.client.get(GATEWAY_CLASSES, "", name)
            assert find_condition(body, "Accepted")["status"] == "True"

        url = await scene.gateway(class_name="poor")
        share = [{"filters": [mirror_to("web", percent=10)], "backendRefs": [to("web")]}]
        accepted = (await scene.route("web", share))["Accepted"]
        assert (accepted["status"], accepted["reason"]) == ("False", "UnsupportedValue")
        assert "spec.rules[0].filters[0].requestMirror" in accepted["message"]
        assert MIRROR_PERCENT in accepted["message"]
        assert (await scene.ask(url))[0] == 404
        whole = [{"filters": [mirror_to("web")], "backendRefs": [to("web")]}]
        assert (await scene.change("web", {"rules": whole}))["Accepted"]["status"] == "True"
        assert (await scene.ask(url))[0] == 200

    run(scenario)


PARENT = {"name": "gw"}
CASES: dict[str, tuple[dict, str, str]] = {
    "a listener of another name": (
        {"parentRefs": [{**PARENT, "sectionName": "https"}]},
        "Accepted",
        "NoMatchingParent",
    ),
    "a port without a listener": ({"parentRefs": [{**PARENT, "port": 9}]}, "Accepted", "NoMatchingParent"),
    "a host of somebody else": ({"hostnames": ["a.org"]}, "Accepted", "NoMatchingListenerHostname"),
    "a filter that is not honoured": (
        {"rules": [{"filters": [{"type": "URLRewrite", "urlRewrite": {"hostname": "b.com"}}]}]},
        "Accepted",
        "UnsupportedValue",
    ),
    "a pattern that RE2 does not take": (
        {"rules": [{"matches": [{"headers": [{"name": "a", "type": "RegularExpression", "value": "("}]}]}]},
        "Accepted",
        "UnsupportedValue",
    ),
    "no such Service": ({"rules": [{"backendRefs": [to("gone")]}]}, "ResolvedRefs", "BackendNotFound"),
    "no such port": (
        {"rules": [{"backendRefs": [{"name": "web", "port": 81}]}]},
        "ResolvedRefs",
        "BackendNotFound",
    ),
    "a kind that is not served": (
        {"rules": [{"backendRefs": [to("web", kind="InferencePool", group="x.io")]}]},
        "ResolvedRefs",
        "InvalidKind",
    ),
    "a Service of another namespace": (
        {"rules": [{"backendRefs": [to("web", namespace="kube-system")]}]},
        "ResolvedRefs",
        "RefNotPermitted",
    ),
    "a mirror to no such Service": (
        {"rules": [{"filters": [mirror_to("gone")], "backendRefs": [to("web")]}]},
        "ResolvedRefs",
        "BackendNotFound",
    ),
}


def test_a_route_that_is_not_as_it_should_be_says_why() -> None:
    async def scenario(scene: Scene) -> None:
        await scene.upstream("web")
        await scene.gateway(hostname="*.example.com")
        for index, (title, (spec, kind, reason)) in enumerate(CASES.items()):
            whole = {"parentRefs": [PARENT], **spec}
            await scene.make(HTTP_ROUTES, f"r{index}", whole)
            found = await scene.judged(f"r{index}")
            assert (found[kind]["status"], found[kind]["reason"]) == ("False", reason), title
            assert found[kind]["message"], title
            other = "Accepted" if kind == "ResolvedRefs" else "ResolvedRefs"
            assert found[other]["status"] == "True", title

    run(scenario)


def test_a_grant_lets_a_route_use_a_service_elsewhere() -> None:
    async def scenario(scene: Scene) -> None:
        await _namespace(scene, "far")
        await scene.upstream("web", "far")
        url = await scene.gateway()
        await scene.route("web", [{"backendRefs": [to("web", namespace="far")]}])
        assert (await scene.ask(url))[0] == 500
        grant = {
            "from": [{"group": HTTP_ROUTES.group, "kind": "HTTPRoute", "namespace": "default"}],
            "to": [{"group": "", "kind": "Service", "name": "web"}],
        }
        await scene.make(REFERENCE_GRANTS, "g", grant, "far")

        async def is_resolved() -> bool:
            return (await scene.judged("web"))["ResolvedRefs"]["status"] == "True"

        await until(is_resolved)
        assert await scene.ask(url) == (200, b"web ")

    run(scenario)


@pytest.mark.parametrize(
    ("namespaces", "is_taken"),
    [
        ({"from": "Same"}, False),
        ({"from": "All"}, True),
        ({"from": "Selector", "selector": {"matchLabels": {"team": "blue"}}}, True),
        ({"from": "Selector", "selector": {"matchLabels": {"team": "red"}}}, False),
    ],
)
def test_a_listener_takes_routes_of_the_namespaces_that_it_allows(namespaces: dict, is_taken: bool) -> None:  # noqa: FBT001
    async def scenario(scene: Scene) -> None:
        await _namespace(scene, "far", team="blue")
        await scene.upstream("web", "far")
        await scene.gateway(allowedRoutes={"namespaces": namespaces})
        accepted = (await scene.route("web", [{"backendRefs": [to("web")]}], namespace="far"))["Accepted"]
        assert accepted["reason"] == ("Accepted" if is_taken else "NotAllowedByListeners")
        body = await scene.client.get(GATEWAYS, "default", "gw")

        async def is_counted() -> bool:
            body = await scene.client.get(GATEWAYS, "default", "gw")
            return body["status"]["listeners"][0]["attachedRoutes"] == int(is_taken)

        assert body["status"]["addresses"][0]["value"].startswith("127.")
        await until(is_counted)

    run(scenario)


def test_a_gateway_says_which_of_its_listeners_take_traffic() -> None:
    async def scenario(scene: Scene) -> None:
        listeners = [
            {"name": "good", "port": 8080, "protocol": "HTTP"},
            {"name": "raw", "port": 9000, "protocol": "TCP"},
        ]
        await scene.make(GATEWAYS, "gw", {"gatewayClassName": CLASS_NAME, "listeners": listeners})
        await scene.sandbox.gateway_url("default", "gw")
        body = await scene.client.get(GATEWAYS, "default", "gw")
        accepted = find_condition(body, "Accepted")
        assert (accepted["status"], accepted["reason"]) == ("True", "ListenersNotValid")
        good, raw = body["status"]["listeners"]
        assert {entry["status"] for entry in good["conditions"]} == {"True"}
        reasons = {entry["type"]: entry["reason"] for entry in raw["conditions"]}
        assert reasons == {
            "Accepted": "UnsupportedProtocol",
            "Programmed": "Invalid",
            "ResolvedRefs": "ResolvedRefs",
        }
        await scene.make(GATEWAYS, "bad", {"gatewayClassName": CLASS_NAME, "listeners": listeners[1:]})

        async def is_refused() -> bool:
            body = await scene.client.get(GATEWAYS, "default", "bad")
            return all(find_condition(body, kind)["status"] == "False" for kind in ("Accepted", "Programmed"))

        await until(is_refused)

    run(scenario)


def test_a_status_is_written_when_it_changes_and_leaves_other_controllers_alone() -> None:
    async def scenario(scene: Scene) -> None:
        await scene.upstream("web")
        await scene.gateway()
        await scene.route("web", [{"backendRefs": [to("web")]}])
        body = await scene.client.get(HTTP_ROUTES, "default", "web")
        foreign = {
            "parentRef": {"name": "another"},
            "controllerName": "example.com/other",
            "conditions": body["status"]["parents"][0]["conditions"],
        }
        body["status"]["parents"].append(foreign)
        body = await scene.client.update(HTTP_ROUTES, body, "status")
        # Something else changes, which makes the gateway look at everything again.
        await scene.make(SERVICES, "other", {"ports": [{"port": 80}]})
        await scene.gateway("gw2")
        same = await scene.client.get(HTTP_ROUTES, "default", "web")
        assert same["metadata"]["resourceVersion"] == body["metadata"]["resourceVersion"]

        found = await scene.change("web", {"rules": [{"backendRefs": [to("gone")]}]})
        changed = await scene.client.get(HTTP_ROUTES, "default", "web")
        before = {entry["type"]: entry for entry in foreign["conditions"]}
        assert found["Accepted"]["lastTransitionTime"] == before["Accepted"]["lastTransitionTime"]
        entries = {entry["controllerName"]: entry for entry in changed["status"]["parents"]}
        assert len(changed["status"]["parents"]) == 2
        assert entries["example.com/other"] == {
            **foreign,
            "parentRef": {"group": GATEWAYS.group, "kind": "Gateway", "name": "another"},
        }

    run(scenario)
