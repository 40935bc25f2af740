"""Failures on demand: what a test or a rehearsal wants the server to do wrong, by handle or admin endpoint.

A fault is posted to /sandbox/v1/faults as a `FaultForm`; only administrators may. The Python handle is
`Faults.add` with the same fields.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable
from typing import Any, Literal

import orjson
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from switchyard.sandbox.apiserver.errors import ApiError, bad_request
from switchyard.sandbox.apiserver.hooks import Attributes
from switchyard.sandbox.apiserver.rbac import MASTERS
from switchyard.sandbox.apiserver.resources import Json, ResourceInfo

PATH = "/sandbox/v1/faults"
Kind = Literal["fail", "latency", "cut-watches", "drop-events", "stale-lists", "compact-history", "downtime"]
_REASONS = {
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    409: "Conflict",
    410: "Expired",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


class FaultForm(BaseModel):
    """What goes wrong. `verb`, `resource`, `group` and `user` narrow it; empty means any.

    - fail: the next `count` matching requests answer `code` (`retry_after_seconds` for 429 and 503)
    - latency: the next `count` matching requests wait `seconds` first (`count` 0: all, until removed)
    - cut-watches: all open watches end now
    - drop-events: every `every`-th watch event of the resource is lost, `count` in all (0: until removed)
    - stale-lists: lists of the resource answer as of now, until removed
    - compact-history: older resource versions answer 410 Expired now
    - downtime: for `seconds` every connection is dropped without an answer
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    kind: Kind
    verb: str = ""
    resource: str = ""
    group: str = ""
    user: str = ""
    code: int = Field(500, ge=400, le=599)
    count: int = Field(1, ge=0, le=1_000_000)
    every: int = Field(1, ge=1, le=1_000_000)
    seconds: float = Field(0.0, ge=0.0, le=3600.0)
    retry_after_seconds: int = Field(0, alias="retryAfterSeconds", ge=0, le=3600)


class _Fault:
    def __init__(self, form: FaultForm) -> None:
        self.form = form
        self.left: int | None = form.count or None  # None: without end
        self.seen = 0
        self.stale_version: int | None = None
        self.ends_at_seconds = time.monotonic() + form.seconds

    @property
    def is_spent(self) -> bool:
        if self.form.kind == "downtime":
            return time.monotonic() >= self.ends_at_seconds
        return self.form.kind != "stale-lists" and self.left == 0

    def takes(self, verb: str, group: str, resource: str, user: str) -> bool:
        form = self.form
        return (
            form.verb in ("", verb)
            and form.resource in ("", resource)
            and (not form.group or form.group == group)
            and form.user in ("", user)
        )

    def is_about(self, info: ResourceInfo) -> bool:
        return self.takes(self.form.verb, info.group, info.plural, self.form.user)

    def use(self) -> None:
        if self.left is not None:
            self.left -= 1


class Faults:
    """The faults that are set on one server. All calls are made on its event loop."""

    def __init__(
        self,
        compact_history: Callable[[], None] = lambda: None,
        cut_watches: Callable[[], int] = lambda: 0,
        resource_version: Callable[[], int] = lambda: 0,
    ) -> None:
        self._compact_history = compact_history
        self._cut_watches = cut_watches
        self._resource_version = resource_version
        self._faults: dict[int, _Fault] = {}
        self._ids = itertools.count(1)

    def add(self, form: FaultForm) -> Json:
        """What was set: `id` to remove it by, or what a fault of the moment has done."""
        if form.kind == "cut-watches":
            return {"watches": self._cut_watches()}
        if form.kind == "compact-history":
            self._compact_history()
            return {}
        fault = _Fault(form)
        if form.kind == "stale-lists":
            fault.stale_version = self._resource_version()
        if form.kind == "downtime":
            self._cut_watches()
        number = next(self._ids)
        self._faults[number] = fault
        return {"id": number}

    def remove(self, number: int) -> bool:
        """Whether there was a fault of that id to remove."""
        return self._faults.pop(number, None) is not None

    def clear(self) -> None:
        """Removes all faults."""
        self._faults.clear()

    def all(self) -> list[Json]:
        """What is set at the moment, with how often each will still strike."""
        self._drop_spent()
        return [
            {"id": number, **fault.form.model_dump(by_alias=True, exclude_defaults=True), "left": fault.left}
            for number, fault in self._faults.items()
        ]

    def _drop_spent(self) -> None:
        for number in [number for number, fault in self._faults.items() if fault.is_spent]:
            del self._faults[number]

    async def answer(self, request: web.Request, attributes: Attributes) -> web.StreamResponse | None:
        """An injected failure for a request; None, perhaps after a delay, when it may go on."""
        if not self._faults or request.path.startswith(PATH):
            return None
        self._drop_spent()
        user = getattr(request.get("user"), "name", "")
        for fault in list(self._faults.values()):
            form = fault.form
            if form.kind == "downtime":
                if request.transport is not None:
                    request.transport.abort()
                raise ConnectionAbortedError("the server is down")
            if not attributes.is_resource and form.resource:
                continue
            if not fault.takes(attributes.verb, attributes.group, attributes.resource, user):
                continue
            if form.kind == "latency":
                fault.use()
                await asyncio.sleep(form.seconds)
            elif form.kind == "fail":
                fault.use()
                return _failure(form)
        return None

    def loses_event(self, info: ResourceInfo) -> bool:
        """Whether a fault loses the next watch event of a resource."""
        for fault in self._faults.values() if self._faults else ():
            if fault.form.kind != "drop-events" or fault.is_spent or not fault.is_about(info):
                continue
            fault.seen += 1
            if fault.seen % fault.form.every == 0:
                fault.use()
                return True
        return False

    def stale_version(self, info: ResourceInfo) -> int | None:
        """The version at which a fault freezes lists of a resource, None without one."""
        for fault in self._faults.values() if self._faults else ():
            if fault.stale_version is not None and fault.is_about(info):
                return fault.stale_version
        return None

    def routes(self) -> list[web.RouteDef]:
        """The admin endpoint."""
        return [
            web.get(PATH, self._get),
            web.post(PATH, self._post),
            web.delete(PATH, self._delete),
            web.delete(f"{PATH}/{{id:[0-9]+}}", self._delete),
        ]

    async def _get(self, request: web.Request) -> web.Response:
        _require_admin(request)
        return _json({"faults": self.all()})

    async def _post(self, request: web.Request) -> web.Response:
        _require_admin(request)
        try:
            form = FaultForm.model_validate_json(await request.read())
        except ValidationError as error:
            first: Any = error.errors()[0]
            raise bad_request(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
        return _json(self.add(form), 201)

    async def _delete(self, request: web.Request) -> web.Response:
        _require_admin(request)
        if "id" not in request.match_info:
            self.clear()
        elif not self.remove(int(request.match_info["id"])):
            raise ApiError(404, "NotFound", f"no fault {request.match_info['id']}", {})
        return _json({})


def _require_admin(request: web.Request) -> None:
    if MASTERS not in request["user"].groups:
        raise ApiError(403, "Forbidden", "faults are for administrators", {})


def _failure(form: FaultForm) -> web.Response:
    reason = _REASONS.get(form.code, "InternalError" if form.code >= 500 else "BadRequest")
    error = ApiError(form.code, reason, "injected by a fault of the sandbox", {})
    body = error.status()
    headers = {}
    if form.retry_after_seconds:
        headers["Retry-After"] = str(form.retry_after_seconds)
        body["details"]["retryAfterSeconds"] = form.retry_after_seconds
    return web.Response(
        body=orjson.dumps(body), status=form.code, content_type="application/json", headers=headers
    )


def _json(body: Json, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json")
