"""How similar two texts are."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from rapidfuzz.distance import Indel

from switchyard.dataplane.compare.coding import UnreadableError
from switchyard.dataplane.compare.completions import read_completion
from switchyard.dataplane.compare.contents import ContentComparator, Options, Threshold
from switchyard.dataplane.compare.documents import Pointer, find_values, parse_json, split_pointer
from switchyard.dataplane.compare.port import Score

BLOCK_CHARS = 8192


class TextOptions(Options):
    """What a text comparator can be told."""

    threshold: Threshold = 0.9
    pointer: Annotated[
        Pointer | None,
        Field(description="The strings of a JSON body that make the text; else completions, else the body."),
    ] = None
    ignore_case: Annotated[bool, Field(description="Upper and lower case are one.")] = False
    ignore_whitespace: Annotated[bool, Field(description="Any run of white space is one blank.")] = False
    max_chars: Annotated[
        int, Field(ge=1, le=1 << 22, description="A longer text is counted as not comparable.")
    ] = 1 << 18


class TextComparator(ContentComparator[str]):
    """1 - insertions and deletions / characters of both texts (normalised Indel similarity).

    The text is what the pointer finds; without one it is what a completion says (choices[*].text or
    choices[*].message.content, whole or streamed), and for any other answer the whole body.
    """

    options_type = TextOptions

    def __init__(self, name: str, options: TextOptions) -> None:
        super().__init__(name, options)
        self._steps = None if options.pointer is None else split_pointer(options.pointer)
        self._ignore_case = options.ignore_case
        self._ignore_whitespace = options.ignore_whitespace
        self._max_chars = options.max_chars

    def read(self, content: bytes, content_type: str) -> str:
        """The text, normalised as asked. `ignoreWhitespace` makes every run of white space one blank."""
        text = self._find_text(content, content_type)
        if len(text) > self._max_chars:
            raise UnreadableError(f"a text of more than {self._max_chars} characters", is_different=False)
        if self._ignore_case:
            text = text.casefold()
        return " ".join(text.split()) if self._ignore_whitespace else text

    def _find_text(self, content: bytes, content_type: str) -> str:
        if self._steps is not None:
            found = find_values(parse_json(content), self._steps)
            texts = [value for value in found if isinstance(value, str)]
            if not texts:
                raise UnreadableError("no text at the pointer", is_different=True)
            return "\n".join(texts)
        try:
            completion = read_completion(content, content_type)
        except UnreadableError:
            return content.decode("utf-8", "backslashreplace")
        return "\n".join(choice.text for _, choice in sorted(completion.choices.items()))

    def score(self, baseline: str, candidate: str) -> Score:
        """The similarity, with the lengths."""
        if baseline == candidate:
            return Score(1.0, f"{len(baseline)} characters equal")
        value, blocks = _measure_similarity(baseline, candidate)
        detail = f"similarity {value:.4f} of {len(baseline)} and {len(candidate)} characters"
        return Score(value, detail if blocks == 1 else f"{detail}, at least, in {blocks} blocks")


def _measure_similarity(first: str, second: str) -> tuple[float, int]:
    """The similarity and in how many blocks it was found.

    The distance costs time by the product of the lengths. Long texts are cut into as many blocks each, which
    are compared one by one: the sum of their distances is never below the distance of the whole, so the
    similarity is never overstated.
    """
    blocks = -(-max(len(first), len(second)) // BLOCK_CHARS)
    distance = sum(
        Indel.distance(_cut(first, index, blocks), _cut(second, index, blocks)) for index in range(blocks)
    )
    return 1.0 - distance / (len(first) + len(second)), blocks


def _cut(text: str, index: int, blocks: int) -> str:
    return text[len(text) * index // blocks : len(text) * (index + 1) // blocks]
