"""JSON documents as comparators read them, and the values that a JSON pointer finds in one."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Annotated, Any

from pydantic import AfterValidator

from switchyard.dataplane.compare.coding import UnreadableError

MAX_NUMBER_DIGITS = 400
MAX_FOUND = 4096


class LongNumber(str):
    """A number that neither an int nor a float of the usual size can hold, by its digits."""

    __slots__ = ()


class Repeated(list[Any]):
    """The values of one name that an object gives more than once, in their order (RFC 8259 section 4)."""

    __slots__ = ()


def parse_json(content: bytes, *, is_faithful: bool = False) -> Any:
    """The document in a body. Raises UnreadableError.

    `is_faithful`: repeated names are kept as Repeated, floats beyond the range of a double as LongNumber.
    """
    hooks: dict[str, Any] = {"parse_int": _read_int}
    if is_faithful:
        hooks |= {"parse_float": _read_float, "object_pairs_hook": _read_object}
    try:
        return json.loads(content.decode("utf-8-sig"), **hooks)
    except RecursionError:
        raise UnreadableError("JSON that nests too deep", is_different=True) from None
    except ValueError:
        raise UnreadableError("not JSON", is_different=True) from None


def _read_int(digits: str) -> int | LongNumber:
    return int(digits) if len(digits) <= MAX_NUMBER_DIGITS else LongNumber(digits)


def _read_float(digits: str) -> float | LongNumber:
    number = float(digits)
    return number if math.isfinite(number) else LongNumber(digits)


def _read_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) == len(pairs):
        return members
    repeated: dict[str, list[Any]] = {}
    for name, value in pairs:
        repeated.setdefault(name, []).append(value)
    return {name: values[0] if len(values) == 1 else Repeated(values) for name, values in repeated.items()}


def split_pointer(pointer: str) -> tuple[str, ...]:
    """The steps of a JSON pointer (RFC 6901), in which the step `*` stands for every element or member.

    Raises ValueError for a text that is no pointer.
    """
    if pointer and not pointer.startswith("/"):
        raise ValueError("give a JSON pointer such as /choices/0/text; it starts with /")
    if "~" in pointer.replace("~0", "").replace("~1", ""):
        raise ValueError("write ~ as ~0 and / within a name as ~1 (RFC 6901)")
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:])


def _judge_pointer(pointer: str) -> str:
    split_pointer(pointer)
    return pointer


Pointer = Annotated[str, AfterValidator(_judge_pointer)]


def find_values(document: Any, steps: Sequence[str]) -> list[Any]:
    """The values at a pointer in the order of the document. Raises UnreadableError past MAX_FOUND."""
    found = [document]
    for step in steps:
        found = list(islice((child for value in found for child in _children(value, step)), MAX_FOUND + 1))
        if len(found) > MAX_FOUND:
            raise UnreadableError(f"more than {MAX_FOUND} values at a pointer", is_different=False)
    return found


def _children(value: Any, step: str) -> Iterator[Any]:
    if isinstance(value, dict):
        if step == "*":
            yield from value.values()
        elif step in value:
            yield value[step]
    elif isinstance(value, list):
        if step == "*":
            yield from value
        elif step.isascii() and step.isdigit() and len(step) < 10 and int(step) < len(value):
            yield value[int(step)]
