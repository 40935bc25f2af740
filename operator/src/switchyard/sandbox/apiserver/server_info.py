"""What the server says of itself: version and health."""

from __future__ import annotations

import platform

import orjson
from aiohttp import web

from switchyard.sandbox.apiserver.resources import Json

MAJOR, MINOR = "1", "36"
GIT_VERSION = "v1.36.2+sandbox"
_CHECKS = ("ping", "etcd", "poststarthook/rbac/bootstrap-roles")


def version() -> Json:
    """The answer to /version."""
    return {
        "major": MAJOR,
        "minor": MINOR,
        "gitVersion": GIT_VERSION,
        "gitCommit": "",
        "gitTreeState": "",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "python",
        "platform": f"{platform.system().lower()}/{platform.machine()}",
    }


def routes() -> list[web.RouteDef]:
    """The paths of version and health."""
    found = [web.get("/version", _version), web.get("/version/", _version)]
    for name in ("healthz", "livez", "readyz"):
        found += [web.get(f"/{name}", _health), web.get(f"/{name}/{{check:.+}}", _health)]
    return found


async def _version(request: web.Request) -> web.Response:
    del request
    return web.Response(body=orjson.dumps(version()), content_type="application/json")


async def _health(request: web.Request) -> web.Response:
    name = request.path.split("/")[1]
    if "verbose" not in request.query:
        return web.Response(text="ok")
    lines = [f"[+]{check} ok" for check in _CHECKS]
    return web.Response(text="\n".join([*lines, f"{name} check passed", ""]))
