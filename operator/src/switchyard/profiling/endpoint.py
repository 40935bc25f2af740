"""What the endpoint is, where its questions go, and what it says of its environment."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import aiohttp

_OPENAI_PATHS = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings")
_PROBE_SECONDS = 5.0
_WORDS = ("rail", "track", "point", "signal", "train", "yard", "line", "load", "light", "stone", "field")


class EndpointError(Exception):
    """The endpoint can't be measured; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`base` is scheme and host; `path` takes the questions. `model` is empty where none is named."""

    base: str
    path: str
    model: str
    environment: dict[str, str]

    @property
    def is_language_model(self) -> bool:
        """Whether it writes text, so that tokens can be counted."""
        return self.path.endswith("/completions")


def split_url(url: str) -> tuple[str, str]:
    """Base and path of an http(s) URL. EndpointError for any other."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise EndpointError(f"URL {url!r} is none of an HTTP endpoint: give http://HOST:PORT or https://HOST")
    try:
        parts.port  # noqa: B018  (raises for a port that is none)
    except ValueError as problem:
        raise EndpointError(f"URL {url!r} has no usable port: {problem}") from problem
    base = urlunsplit((parts.scheme, parts.netloc, "", "", ""))
    path = parts.path.rstrip("/") + (f"?{parts.query}" if parts.query else "")
    return base, path


async def discover(session: aiohttp.ClientSession, url: str, model: str = "") -> Endpoint:
    """The endpoint behind the URL. Without a path an OpenAI-style server is looked for.

    EndpointError when nobody answers.
    """
    base, path = split_url(url)
    models = await _read_json(session, f"{base}/v1/models")
    names = [str(each.get("id")) for each in (models or {}).get("data", ()) if isinstance(each, dict)]
    environment: dict[str, str] = {}
    if names:
        environment["model"] = model or names[0]
    version = await _read_json(session, f"{base}/version")
    if version and isinstance(version.get("version"), str):
        environment["runtime"] = f"vllm {version['version']}"
    if path in {"", "/v1"}:
        if not names:
            raise EndpointError(
                f"{base}/v1/models lists no model, so this is no OpenAI-style server: give the URL with the "
                f"path that takes requests, as in {base}/predict"
            )
        path = "/v1/completions"
    return Endpoint(base, path, model or (names[0] if names else ""), environment)


async def _read_json(session: aiohttp.ClientSession, url: str) -> dict[str, Any] | None:
    """The JSON object at the URL, None where there is none. EndpointError when nobody answers."""
    try:
        timeout = aiohttp.ClientTimeout(total=_PROBE_SECONDS)
        async with session.get(url, timeout=timeout) as response:
            if response.status != 200:
                return None
            document = await response.json(content_type=None)
    except aiohttp.ClientConnectorError as problem:
        raise EndpointError(
            f"nobody answers at {url}: {problem.strerror or problem}. Is the server up, its port forwarded?"
        ) from problem
    except TimeoutError as problem:
        raise EndpointError(f"{url} did not answer within {_PROBE_SECONDS:g} s") from problem
    except (aiohttp.ClientError, ValueError):
        return None
    return document if isinstance(document, dict) else None


def explain_refusal(problem: str, endpoint: Endpoint) -> str:
    """The problem of the first request with a way out."""
    if problem.startswith("HTTP 404"):
        paths = ", ".join(_OPENAI_PATHS)
        return f"{endpoint.base}{endpoint.path} is not there ({problem}): give the path, such as {paths}"
    if problem.startswith(("HTTP 401", "HTTP 403")):
        return f"{endpoint.base} wants credentials ({problem}): give --token-file FILE"
    if problem.startswith(("HTTP 400", "HTTP 415", "HTTP 422")):
        return f"{endpoint.path} does not take this request ({problem}): give its JSON with --body FILE"
    return f"{endpoint.base}{endpoint.path} failed: {problem}"


class Writer:
    """Makes prompts of about so many tokens, no two with the same beginning: a prefix cache finds nothing."""

    def __init__(self, seed: int) -> None:
        self._source = random.Random(seed)  # noqa: S311  (a load, repeatable on purpose)
        self.words_per_token = 1.0  # as the server counts; set after the first answers

    def write(self, tokens: int) -> str:
        """The prompt."""
        count = max(1, round(tokens * self.words_per_token))
        return " ".join(self._source.choices(_WORDS, k=count))
