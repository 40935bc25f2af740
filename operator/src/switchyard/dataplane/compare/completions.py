"""What a model wrote, read from an answer in OpenAI's form: whole or as a stream of chunks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from switchyard.dataplane.compare.coding import UnreadableError
from switchyard.dataplane.compare.documents import parse_json
from switchyard.dataplane.compare.event_stream import is_event_stream, read_events

DONE = "[DONE]"
MAX_CHOICES = 128

# in the order in which a model writes them
_TEXTS = ("reasoning_content", "reasoning", "content", "refusal", "text")


@dataclass(slots=True)
class Choice:
    """One of the texts that a request asked for.

    `tokens`: as the server named them in its log probabilities, empty where it gave none or not all.
    `ending`: the finish reason, empty where the text just stops.
    """

    parts: list[str] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    ending: str = ""

    @property
    def text(self) -> str:
        """All that was written: reasoning, content, refusal and calls of tools."""
        return "".join(self.parts)


@dataclass(slots=True)
class Completion:
    """All choices of an answer by index. `is_done`: a stream closed by [DONE], or no stream at all."""

    choices: dict[int, Choice] = field(default_factory=dict)
    is_done: bool = False


def read_completion(content: bytes, content_type: str) -> Completion:
    """The completion in a body. Raises UnreadableError where it holds none."""
    if is_event_stream(content, content_type):
        completion = _read_stream(content)
    else:
        completion = Completion(is_done=True)
        _add_chunk(completion, parse_json(content))
    if not completion.choices:
        raise UnreadableError("no completion: no choices", is_different=True)
    for choice in completion.choices.values():
        if "".join(choice.tokens) != choice.text:
            choice.tokens.clear()
    return completion


def _read_stream(content: bytes) -> Completion:
    completion = Completion()
    for data in read_events(content):
        if data.strip() == DONE:
            completion.is_done = True
            break
        try:
            chunk = parse_json(data.encode("utf-8", "surrogatepass"))
        except UnreadableError:
            break  # cut off within an event; what came before counts
        _add_chunk(completion, chunk)
    return completion


def _add_chunk(completion: Completion, chunk: Any) -> None:
    choices = chunk.get("choices") if isinstance(chunk, dict) else None
    for position, part in enumerate(choices if isinstance(choices, list) else ()):
        if not isinstance(part, dict):
            continue
        index = part.get("index", position)
        if not isinstance(index, int) or (
            index not in completion.choices and len(completion.choices) >= MAX_CHOICES
        ):
            continue
        choice = completion.choices.setdefault(index, Choice())
        for holder in (part.get("message"), part.get("delta"), part):
            choice.parts.extend(_read_texts(holder))
        choice.tokens.extend(_read_tokens(part.get("logprobs")))
        ending = part.get("finish_reason")
        if isinstance(ending, str):
            choice.ending = ending


def _read_texts(holder: Any) -> Iterator[str]:
    if not isinstance(holder, dict):
        return
    for name in _TEXTS:
        value = holder.get(name)
        if isinstance(value, str):
            yield value
    calls = holder.get("tool_calls")
    for call in calls if isinstance(calls, list) else ():
        function = call.get("function") if isinstance(call, dict) else None
        for name in ("name", "arguments"):
            value = function.get(name) if isinstance(function, dict) else None
            if isinstance(value, str):
                yield value


def _read_tokens(logprobs: Any) -> Iterator[str]:
    if not isinstance(logprobs, dict):
        return
    tokens = logprobs.get("tokens")  # completions
    for token in tokens if isinstance(tokens, list) else ():
        if isinstance(token, str):
            yield token
    entries = logprobs.get("content")  # chat completions
    for entry in entries if isinstance(entries, list) else ():
        token = entry.get("token") if isinstance(entry, dict) else None
        if isinstance(token, str):
            yield token
