"""How many tokens of two completions agree."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field

from switchyard.dataplane.compare.completions import Choice, Completion, read_completion
from switchyard.dataplane.compare.contents import ContentComparator, Options, Threshold
from switchyard.dataplane.compare.port import Score

# a word with the blank before it, as most vocabularies have it; each character of scripts that write without
# blanks (CJK and beyond); any other sign; white space
_TOKEN = re.compile(r" ?[^\W\u2e80-\U0010ffff]+|\s+(?!\S)|\s|.", re.DOTALL)


class TokensOptions(Options):
    """What a comparator of tokens can be told."""

    threshold: Threshold = 0.9
    mode: Annotated[
        Literal["prefix", "positional"],
        Field(description="prefix: up to the first difference; positional: every place that agrees."),
    ] = "prefix"


class TokensComparator(ContentComparator[Completion]):
    """Agreeing tokens / tokens of the longer text, over all choices. Endings that differ count as one more.

    Tokens are those of the log probabilities where both answers carry them. Otherwise both texts are split
    the same way into words and signs, since servers put any number of tokens into one event.
    """

    options_type = TokensOptions

    def __init__(self, name: str, options: TokensOptions) -> None:
        super().__init__(name, options)
        self._mode = options.mode

    def read(self, content: bytes, content_type: str) -> Completion:
        """The completion, whole or streamed."""
        return read_completion(content, content_type)

    def score(self, baseline: Completion, candidate: Completion) -> Score:
        """The share of tokens that agree, and where the first does not."""
        agreeing = total = 0
        first = ""
        for index in sorted(baseline.choices.keys() | candidate.choices.keys()):
            one, other = baseline.choices.get(index), candidate.choices.get(index)
            ones, others = _split(one, other)
            same, leading = _count_agreeing(ones, others)
            agreeing += leading if self._mode == "prefix" else same
            total += max(len(ones), len(others))
            if not first and leading < max(len(ones), len(others)):
                first = f"; first difference at token {leading} of choice {index}"
            if _read_ending(baseline, one) != _read_ending(candidate, other):
                total += 1
                first = first or f"; choice {index} ends in another way"
        value = agreeing / total if total else 1.0
        return Score(value, f"{agreeing} of {total} tokens agree{first}")


def _split(one: Choice | None, other: Choice | None) -> tuple[list[str], list[str]]:
    if one is not None and other is not None and one.tokens and other.tokens:
        return one.tokens, other.tokens
    return _split_text(one), _split_text(other)


def _split_text(choice: Choice | None) -> list[str]:
    return [] if choice is None else _TOKEN.findall(choice.text)


def _count_agreeing(ones: list[str], others: list[str]) -> tuple[int, int]:
    """How many places agree, and how many before the first that does not."""
    agrees = [one == other for one, other in zip(ones, others, strict=False)]
    leading = agrees.index(False) if False in agrees else len(agrees)
    return sum(agrees), leading


def _read_ending(completion: Completion, choice: Choice | None) -> str:
    """How a choice ends: its finish reason, else whether the server closed the answer at all."""
    if choice is None:
        return "absent"
    return choice.ending or ("done" if completion.is_done else "cut off")
