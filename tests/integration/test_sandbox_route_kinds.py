"""The route kinds of the sandbox: what their definitions take and refuse, and how a sandbox gets them."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.integration.gateway_scene import Scene, mirror_to, run, to

from switchyard.sandbox.client import CRDS, ApiError
from switchyard.sandbox.gateway.kinds import (
    FAMILIES,
    GATEWAYS,
    HTTP_ROUTES,
    VIRTUAL_SERVICES,
    build_definitions,
    install,
    parse_families,
)
from switchyard.sandbox.handle import Sandbox, SandboxProcess

HEADER = {"name": "A", "value": "1"}
KUBECTL = Path(sys.executable).with_name("kubectl")


def rule(**fields: Any) -> dict:
    return {"rules": [{"backendRefs": [to("web")], **fields}]}


def match(**fields: Any) -> dict:
    return rule(matches=[fields])


TAKEN: dict[str, dict] = {
    "nothing at all": {},
    "a path with escapes": match(path={"value": "/a%20b/(c)"}),
    "a pattern that is no path": match(path={"type": "RegularExpression", "value": "[a-z]+"}),
    "the largest weight": {"rules": [{"backendRefs": [to("web", 1_000_000)]}]},
    "two mirrors": rule(
        filters=[mirror_to("a"), mirror_to("b", fraction={"numerator": 5, "denominator": 5})]
    ),
    "a parent in two namespaces, and two of its listeners": {
        "parentRefs": [
            {"name": "a", "namespace": "x"},
            {"name": "a", "sectionName": "one"},
            {"name": "a", "sectionName": "two"},
        ]
    },
    "a wildcard host": {"hostnames": ["*.example.com"]},
    "a redirect without backends": {
        "rules": [{"filters": [{"type": "RequestRedirect", "requestRedirect": {"statusCode": 308}}]}]
    },
    "another kind of backend without a port": {
        "rules": [{"backendRefs": [{"group": "x.io", "kind": "InferencePool", "name": "pool"}]}]
    },
    "timeouts": rule(timeouts={"request": "1m30s", "backendRequest": "500ms"}),
}
REFUSED: dict[str, tuple[dict, str]] = {
    "a path without a slash": (match(path={"value": "a"}), "absolute path"),
    "a path with a double slash": (match(path={"value": "/a//b"}), "must not contain '//'"),
    "a path with a space": (match(path={"value": "/a b"}), "valid characters"),
    "an unknown kind of path": (match(path={"type": "Glob", "value": "/"}), "Unsupported value"),
    "an unknown method": (match(method="BREW"), "Unsupported value"),
    "a header twice": (match(headers=[HEADER, HEADER]), "Duplicate value"),
    "a header name with a space": (match(headers=[{"name": "a b", "value": "1"}]), "should match"),
    "a backend without a port": ({"rules": [{"backendRefs": [{"name": "web"}]}]}, "Must have port"),
    "a negative weight": ({"rules": [{"backendRefs": [to("web", -1)]}]}, "greater than or equal to 0"),
    "a weight too large": ({"rules": [{"backendRefs": [to("web", 1_000_001)]}]}, "less than or equal to"),
    "a percent above 100": (rule(filters=[mirror_to("a", percent=101)]), "less than or equal to 100"),
    "a percent with a fraction": (rule(filters=[mirror_to("a", percent=1.5)]), "must be of type integer"),
    "percent and fraction": (
        rule(filters=[mirror_to("a", percent=1, fraction={"numerator": 1})]),
        "Only one of percent or fraction",
    ),
    "more than all": (
        rule(filters=[mirror_to("a", fraction={"numerator": 2, "denominator": 1})]),
        "numerator must be less",
    ),
    "a filter without its settings": (rule(filters=[{"type": "RequestMirror"}]), "must be specified"),
    "a filter with another's settings": (
        rule(filters=[{**mirror_to("a"), "urlRewrite": {"hostname": "a.com"}}]),
        "must be nil",
    ),
    "a redirect with backends": (
        rule(filters=[{"type": "RequestRedirect", "requestRedirect": {}}]),
        "must not be used together",
    ),
    "too many rules": ({"rules": [{}] * 17}, "must have at most 16 items"),
    "an empty list of rules": ({"rules": []}, "should have at least 1 items"),
    "a host with a port": ({"hostnames": ["a.com:80"]}, "should match"),
    "the same parent twice": (
        {"parentRefs": [{"name": "a"}, {"name": "a"}]},
        "sectionName must be specified",
    ),
    "the same listener twice": (
        {"parentRefs": [{"name": "a", "sectionName": "b"}, {"name": "a", "sectionName": "b"}]},
        "sectionName must be unique",
    ),
    "more than 128 matches": ({"rules": [{"matches": [{"method": "GET"}] * 43}] * 3}, "less than 128"),
    "a rewrite without its path": (
        rule(filters=[{"type": "URLRewrite", "urlRewrite": {"path": {"type": "ReplaceFullPath"}}}]),
        "replaceFullPath must be specified",
    ),
    "a duration of days": (rule(timeouts={"request": "1d"}), "should match"),
    "a backend that may take longer than all": (
        rule(timeouts={"request": "1s", "backendRequest": "2s"}),
        "cannot be longer",
    ),
}


def test_an_http_route_is_held_to_the_limits_of_the_real_kind() -> None:
    async def scenario(scene: Scene) -> None:
        for index, (title, spec) in enumerate(TAKEN.items()):
            assert await scene.make(HTTP_ROUTES, f"r{index}", spec), title
        for title, (spec, message) in REFUSED.items():
            with pytest.raises(ApiError) as caught:
                await scene.make(HTTP_ROUTES, "refused", spec)
            assert caught.value.status == 422, title
            assert message in str(caught.value), title

    run(scenario)


def test_defaults_are_those_of_the_real_kinds() -> None:
    async def scenario(scene: Scene) -> None:
        spec = {"parentRefs": [{"name": "gw"}], "rules": [{"backendRefs": [{"name": "web", "port": 80}]}]}
        route = await scene.make(HTTP_ROUTES, "a", spec)
        assert route["spec"] == {
            "parentRefs": [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "gw"}],
            "rules": [
                {
                    "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
                    "backendRefs": [{"group": "", "kind": "Service", "name": "web", "port": 80, "weight": 1}],
                }
            ],
        }
        listeners = [{"name": "http", "port": 8080, "protocol": "HTTP"}]
        gateway = await scene.make(GATEWAYS, "gw", {"gatewayClassName": "none", "listeners": listeners})
        assert gateway["spec"]["listeners"][0]["allowedRoutes"] == {"namespaces": {"from": "Same"}}
        assert {entry["reason"] for entry in gateway["status"]["conditions"]} == {"Pending"}

    run(scenario)


def test_an_apply_owns_a_routes_rules_as_a_whole() -> None:
    """Rules are atomic in the real kind: who applies them has all of them."""

    async def scenario(scene: Scene) -> None:
        def body(weight: int) -> dict:
            spec = {"rules": [{"backendRefs": [to("a", weight), to("b", 100 - weight)]}]}
            meta = {"name": "web", "namespace": "default"}
            return {
                "apiVersion": HTTP_ROUTES.api_version,
                "kind": "HTTPRoute",
                "metadata": meta,
                "spec": spec,
            }

        await scene.client.apply(HTTP_ROUTES, body(10), manager="one")
        with pytest.raises(ApiError) as caught:
            await scene.client.apply(HTTP_ROUTES, body(20), manager="two", is_forced=False)
        assert caught.value.reason == "Conflict"
        assert ".spec.rules" in str(caught.value.body)
        changed = await scene.client.apply(HTTP_ROUTES, body(20), manager="two")
        assert [ref["weight"] for ref in changed["spec"]["rules"][0]["backendRefs"]] == [20, 80]

    run(scenario)


def test_installing_twice_changes_nothing_and_every_version_is_served() -> None:
    async def play() -> None:
        async with Sandbox(None, controllers=False, routing=tuple(FAMILIES)) as sandbox:
            client = sandbox.client
            before = (await client.list(CRDS))["metadata"]["resourceVersion"]
            await install(client, tuple(FAMILIES))
            assert (await client.list(CRDS))["metadata"]["resourceVersion"] == before
            for definition in build_definitions(tuple(FAMILIES)):
                for version in definition["spec"]["versions"]:
                    group, plural = definition["spec"]["group"], definition["spec"]["names"]["plural"]
                    found = await client.request("GET", f"/apis/{group}/{version['name']}/{plural}")
                    assert found["kind"] == definition["spec"]["names"]["listKind"]
            # Unknown fields of Istio's kinds that are not simulated stay, as upstream's schemas know them.
            spec = {"http": [{"retries": {"attempts": 2}, "route": [{"destination": {"host": "a"}}]}]}
            body = {
                "apiVersion": VIRTUAL_SERVICES.api_version,
                "kind": VIRTUAL_SERVICES.kind,
                "metadata": {"name": "a", "namespace": "default"},
                "spec": spec,
            }
            assert (await client.create(VIRTUAL_SERVICES, "default", body))["spec"] == spec

    asyncio.run(play())


@pytest.mark.parametrize(
    ("text", "families"),
    [
        ("none", ()),
        ("", ()),
        ("istio", ("istio",)),
        (" istio, gateway-api", ("gateway-api", "istio")),
    ],
)
def test_families_are_named_in_any_order(text: str, families: tuple[str, ...]) -> None:
    assert parse_families(text) == families
    with pytest.raises(ValueError, match="no routing 'linkerd'; known are gateway-api, istio"):
        parse_families(f"{text},linkerd")


@pytest.mark.skipif(not KUBECTL.exists(), reason="needs a kubectl beside this Python")
def test_the_command_line_starts_a_gateway_and_lists_it(tmp_path: Path) -> None:
    def command(*arguments: str, text: str = "") -> str:
        done = subprocess.run(
            arguments,
            input=text,
            env=process.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return done.stdout

    listeners = [{"name": "http", "port": 8080, "protocol": "HTTP"}]
    gateway = {
        "apiVersion": GATEWAYS.api_version,
        "kind": "Gateway",
        "metadata": {"name": "gw", "namespace": "default"},
        "spec": {"gatewayClassName": "switchyard-sandbox", "listeners": listeners},
    }
    with SandboxProcess.start(tmp_path / "state", fleet="none", routing="gateway-api,istio") as process:
        command(str(KUBECTL), "apply", "-f", "-", text=yaml.safe_dump(gateway))
        command(str(KUBECTL), "wait", "--for=condition=Programmed", "--timeout=30s", "gateway/gw")
        shown = json.loads(command(str(KUBECTL), "get", "gateway", "gw", "-o", "json"))
        address = shown["status"]["addresses"][0]["value"]
        listed = command(
            sys.executable,
            "-m",
            "switchyard",
            "sandbox",
            "list-gateways",
            "--state-dir",
            str(tmp_path / "state"),
        )
        assert listed.splitlines() == [f"Gateway default/gw  http://{address}:8080"]
        urls = [f"http://{address}:8080"]
        found = {"kind": "Gateway", "namespace": "default", "name": "gw", "urls": urls}
        assert process.gateways() == {"gateways": [found], "counts": {"unmatched": 0, "rules": {}}}
        table = command(str(KUBECTL), "get", "gateway", "gw")
        assert table.split()[:5] == ["NAME", "CLASS", "ADDRESS", "PROGRAMMED", "AGE"]
