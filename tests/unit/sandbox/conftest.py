"""Servers with a plain surface, and a small client that speaks plain JSON to them."""

import importlib.util
from pathlib import Path

import aiohttp
import orjson
import pytest

from switchyard.sandbox.apiserver.app import ApiServer, ServerOptions

_SPEC = importlib.util.spec_from_file_location("plain_surface", Path(__file__).with_name("plain_surface.py"))
plain_surface = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(plain_surface)


class Client:
    """One HTTP client; answers are (status, body)."""

    def __init__(self, server):
        self.server = server
        self.session = aiohttp.ClientSession(trust_env=False)

    async def call(self, method, path, body=None, media="application/json", **query):
        data = None if body is None else orjson.dumps(body)
        headers = {"Content-Type": media} if data is not None else {}
        url = self.server.url + path
        async with self.session.request(method, url, data=data, headers=headers, params=query) as answer:
            raw = await answer.read()
            return answer.status, orjson.loads(raw)

    async def create(self, path, body):
        status, answer = await self.call("POST", path, body)
        assert status == 201, answer
        return answer

    async def merge(self, path, body, **query):
        return await self.call("PATCH", path, body, "application/merge-patch+json", **query)

    async def apply(self, path, body, manager, **query):
        return await self.call(
            "PATCH", path, body, "application/apply-patch+yaml", fieldManager=manager, **query
        )

    async def watch(self, path, **query):
        """The events of a watch that ends by its timeout."""
        query = {"watch": "1", "timeoutSeconds": "0.2", **query}
        async with self.session.get(self.server.url + path, params=query) as answer:
            if answer.status != 200:
                return answer.status, orjson.loads(await answer.read())
            return 200, [orjson.loads(line) async for line in answer.content]


class Running:
    """A server and its client, as an async context."""

    def __init__(self, **options):
        self.options = ServerOptions(is_tls=False, **options)

    async def __aenter__(self):
        self.server = ApiServer(self.options, plain_surface.PlainSurface)
        await self.server.start()
        self.client = Client(self.server)
        return self.client

    async def __aexit__(self, *_):
        await self.client.session.close()
        await self.server.stop()


@pytest.fixture
def running():
    """`async with running() as client:` a fresh server."""
    return Running


def definition(spec_schema, *, plural="things", kind="Thing", status_schema=None, subresources=None):
    """A CustomResourceDefinition with a schema for its spec."""
    properties = {"spec": spec_schema, "status": status_schema or {"type": "object", "properties": {}}}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": {"type": "object", "properties": properties}},
        "subresources": {"status": {}} if subresources is None else subresources,
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.example.com"},
        "spec": {
            "group": "example.com",
            "names": {"kind": kind, "plural": plural},
            "scope": "Namespaced",
            "versions": [version],
        },
    }


@pytest.fixture
def things():
    """Functions that make a definition of Things and Things."""

    class Things:
        definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        path = "/apis/example.com/v1/namespaces/default/things"
        definition = staticmethod(definition)

        @staticmethod
        def thing(name, spec, **metadata):
            return {
                "apiVersion": "example.com/v1",
                "kind": "Thing",
                "metadata": {"name": name, **metadata},
                "spec": spec,
            }

    return Things
