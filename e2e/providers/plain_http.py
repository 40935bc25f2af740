"""What a server answers to a plain HTTP request, without any Kubernetes client in between."""

from __future__ import annotations

import json
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPResponse
from typing import Any, TypeVar

MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer. `code` is 0 when there was none, and `text` then names the error."""

    code: int
    text: str = ""
    content_type: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def body(self) -> Any:
        """The decoded JSON, None when the text is not JSON."""
        try:
            return json.loads(self.text) if self.text else None
        except ValueError:
            return None

    @property
    def events(self) -> list[dict[str, Any]] | None:
        """The events of a watch, None when the lines are not watch events."""
        try:
            lines = [json.loads(line) for line in self.text.splitlines() if line.strip()]
        except ValueError:
            return None
        return lines if all(isinstance(line, dict) and "type" in line for line in lines) else None


class Watch:
    """Events as they arrive."""

    def __init__(self, response: HTTPResponse) -> None:
        self._response = response
        self.seen: list[dict[str, Any]] = []

    def __iter__(self) -> Iterator[dict[str, Any]]:
        while line := self._response.readline():
            event = json.loads(line)
            self.seen.append(event)
            yield event

    def until(self, is_wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The next event that is wanted. Raises AssertionError when the watch ends before it."""
        try:
            for event in self:
                if is_wanted(event):
                    return event
        except TimeoutError:
            pass
        told = [(event["type"], event["object"].get("metadata", {}).get("name")) for event in self.seen]
        raise AssertionError(f"the watch ended without the wanted event; it brought {told}")


class PlainHttp:
    """Requests to one server as one user. Proxies in the environment are not used."""

    def __init__(self, url: str, token: str | None = None, ca_path: str | None = None) -> None:
        self.url = url.rstrip("/")
        self.token = token
        self.ca_path = ca_path
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
        if url.startswith("https"):
            context = ssl.create_default_context(cafile=ca_path)
            handlers.append(urllib.request.HTTPSHandler(context=context))
        self._opener = urllib.request.build_opener(*handlers)

    def as_user(self, token: str | None) -> PlainHttp:
        """The same server with another bearer token (None: anonymous)."""
        return PlainHttp(self.url, token, self.ca_path)

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_seconds: float = 30,
    ) -> Answer:
        """The answer, whatever its status. `body` is sent as it is if str or bytes, else as JSON."""
        request = self._request(method, path, body, query, headers)
        try:
            with self._opener.open(request, timeout=timeout_seconds) as response:
                return _read(response)
        except urllib.error.HTTPError as error:
            with error:
                return _read(error)
        except OSError as error:
            return Answer(0, type(error).__name__)

    def get(self, path: str, **query: Any) -> Answer:
        return self.call("GET", path, query=query)

    def post(self, path: str, body: Any, **query: Any) -> Answer:
        return self.call("POST", path, body, query=query)

    def put(self, path: str, body: Any, **query: Any) -> Answer:
        return self.call("PUT", path, body, query=query)

    def patch(self, path: str, body: Any, content_type: str = MERGE, **query: Any) -> Answer:
        return self.call("PATCH", path, body, query=query, headers={"Content-Type": content_type})

    def apply(self, path: str, body: Any, manager: str, **query: Any) -> Answer:
        return self.patch(path, body, APPLY, fieldManager=manager, **query)

    def delete(self, path: str, body: Any = None, **query: Any) -> Answer:
        return self.call("DELETE", path, body, query=query)

    @contextmanager
    def watch(self, path: str, *, patience_seconds: float = 20, **query: Any) -> Iterator[Watch]:
        """An open watch; reading ends with an error after `patience_seconds` of silence."""
        request = self._request("GET", path, None, {"watch": "1", "timeoutSeconds": "60", **query}, None)
        with self._opener.open(request, timeout=patience_seconds) as response:
            yield Watch(response)

    def _request(
        self,
        method: str,
        path: str,
        body: Any,
        query: Mapping[str, Any] | None,
        headers: Mapping[str, str] | None,
    ) -> urllib.request.Request:
        if query:
            path += "?" + urllib.parse.urlencode(query)
        sent = {"Accept": "application/json", **(headers or {})}
        data = None
        if body is not None:
            data = (
                body
                if isinstance(body, bytes)
                else (body if isinstance(body, str) else json.dumps(body)).encode()
            )
            sent.setdefault("Content-Type", "application/json")
        if self.token and "Authorization" not in sent:
            sent["Authorization"] = f"Bearer {self.token}"
        return urllib.request.Request(self.url + path, data=data, headers=sent, method=method)


def _read(response: Any) -> Answer:
    text = response.read().decode(errors="replace")
    return Answer(response.status, text, response.headers.get("Content-Type", ""), dict(response.headers))


def poll(ask: Callable[[], T], is_done: Callable[[T], bool], *, seconds: float = 20, every: float = 0.1) -> T:
    """The first answer that satisfies `is_done`, or the last one before the deadline."""
    deadline = time.monotonic() + seconds
    while not is_done(got := ask()) and time.monotonic() < deadline:
        time.sleep(every)
    return got
