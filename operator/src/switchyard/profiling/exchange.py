"""One request to the endpoint under test, and what its caller saw, token by token."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import aiohttp


@dataclass(frozen=True, slots=True)
class Question:
    """A request to send. `body` None is a GET; with `is_streamed` the answer comes as server-sent events."""

    path: str
    body: dict[str, Any] | None = None
    is_streamed: bool = False


@dataclass(slots=True)
class Answer:
    """What one caller saw. Times are of the loop's clock.

    Latency counts from `due`, the moment at which the request should have been sent, not from `sent`: a
    client that waits for a slow server would else leave out the very requests that had to wait (coordinated
    omission).
    """

    due: float
    sent: float
    ended: float = 0.0
    problem: str = ""  # empty: answered
    token_times: list[float] = field(default_factory=list)
    input_tokens: int | None = None  # as the server counts them
    output_tokens: int | None = None

    @property
    def latency_seconds(self) -> float:
        """From due to the last byte."""
        return self.ended - self.due

    @property
    def ttft_seconds(self) -> float | None:
        """From due to the first token; None for an answer that is not streamed."""
        return self.token_times[0] - self.due if self.token_times else None

    @property
    def late_seconds(self) -> float:
        """How much later than due the client sent: its own load, not the server's."""
        return self.sent - self.due


class Client(Protocol):
    """Where questions go."""

    async def ask(self, question: Question, due: float) -> Answer:
        """The answer; problems are part of it, never raised."""
        ...


class HttpClient:
    """Asks over HTTP, one connection per request in flight, kept alive."""

    def __init__(self, session: aiohttp.ClientSession, base: str) -> None:
        self._session = session
        self._base = base

    async def ask(self, question: Question, due: float) -> Answer:
        """The answer; problems are part of it, never raised but for a cancellation."""
        clock = asyncio.get_running_loop().time
        answer = Answer(due=due, sent=clock())
        method = "GET" if question.body is None else "POST"
        try:
            async with self._session.request(
                method, self._base + question.path, json=question.body
            ) as response:
                if response.status >= 400:
                    text = (await response.content.read(300)).decode(errors="replace").strip()
                    answer.problem = f"HTTP {response.status}: {text}" if text else f"HTTP {response.status}"
                elif question.is_streamed and response.content_type == "text/event-stream":
                    await _read_stream(response, answer)
                else:
                    await _read_whole(response, answer)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            answer.problem = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        answer.ended = clock()
        return answer


async def _read_whole(response: aiohttp.ClientResponse, answer: Answer) -> None:
    content = await response.read()
    if response.content_type == "application/json":
        try:
            document = json.loads(content)
        except ValueError:
            return
        _read_usage(document, answer)


async def _read_stream(response: aiohttp.ClientResponse, answer: Answer) -> None:
    clock = asyncio.get_running_loop().time
    async for data in _events(response.content):
        if data == "[DONE]":
            return
        try:
            document = json.loads(data)
        except ValueError:
            continue
        if isinstance(document, dict) and "error" in document:
            answer.problem = f"error in the stream: {str(document['error'])[:300]}"
            return
        if _carries_text(document):
            answer.token_times.append(clock())
        _read_usage(document, answer)


async def _events(content: aiohttp.StreamReader) -> AsyncIterator[str]:
    """The data of each event (WHATWG HTML, 9.2.6 "Interpreting an event stream")."""
    lines: list[str] = []
    async for raw in content:
        line = raw.decode(errors="replace").rstrip("\r\n")
        if line.startswith("data:"):
            lines.append(line[5:].removeprefix(" "))
        elif not line and lines:
            yield "\n".join(lines)
            lines = []


def _carries_text(document: Any) -> bool:
    if not isinstance(document, dict):
        return False
    for choice in document.get("choices") or ():
        delta = choice.get("delta")
        if choice.get("text") or (
            isinstance(delta, dict) and (delta.get("content") or delta.get("reasoning_content"))
        ):
            return True
    return False


def _read_usage(document: Any, answer: Answer) -> None:
    usage = document.get("usage") if isinstance(document, dict) else None
    if isinstance(usage, dict):
        answer.input_tokens = usage.get("prompt_tokens", answer.input_tokens)
        answer.output_tokens = usage.get("completion_tokens", answer.output_tokens)
