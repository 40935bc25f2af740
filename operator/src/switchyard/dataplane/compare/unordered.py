"""Which element of one list belongs to which of another where order says nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any, Final, NamedTuple

from switchyard.dataplane.compare.coding import UnreadableError
from switchyard.dataplane.compare.tolerance import Tolerance, is_close, is_number

MAX_VISITS = 1 << 18


class _Absent:
    """Stands where one side has no value."""


ABSENT: Final = _Absent()


@dataclass(frozen=True, slots=True)
class PathSet:
    """Paths that lie below a place in a document, as the steps that are left of each."""

    rests: tuple[tuple[str, ...], ...]

    def is_here(self) -> bool:
        """Whether one of the paths ends at this place."""
        return () in self.rests

    def below(self, step: str) -> PathSet:
        """The paths that go on through a step."""
        if not self.rests:
            return self
        return PathSet(tuple(rest[1:] for rest in self.rests if rest and rest[0] in {"*", step}))


class Pair(NamedTuple):
    """Two elements that belong together, ABSENT where one side has none. `place`: of the first there is."""

    place: int
    baseline: Any
    candidate: Any


class _Key(NamedTuple):
    """What an element is told by: a digest of all but its numbers, then its numbers in a fixed order."""

    skeleton: bytes
    numbers: tuple[float, ...]


class _Element(NamedTuple):
    key: _Key
    place: int
    value: Any


@dataclass(slots=True)
class ListMatcher:
    """Pairs the elements of lists. Counts the values visited, so that no pair of answers costs much."""

    tolerance: Tolerance
    is_every_list: bool
    visits: int = field(default=0, init=False)

    def pair_elements(
        self, baseline: Sequence[Any], candidate: Sequence[Any], ignored: PathSet, unordered: PathSet
    ) -> list[Pair]:
        """Pairs of equal elements first (numbers within the tolerance), then what is left, like with like.

        Ordered by the baseline's order. The same pairs whichever side is which. Raises UnreadableError.
        """
        first = self._sort(baseline, ignored, unordered)
        second = self._sort(candidate, ignored, unordered)
        pairs: list[Pair] = []
        left: tuple[list[_Element], list[_Element]] = ([], [])
        for skeleton in sorted(first.keys() | second.keys()):
            pairs += self._pair_alike(first.get(skeleton, []), second.get(skeleton, []), left)
        pairs += [_pair(one, other) for one, other in zip_longest(*left)]
        return sorted(pairs, key=lambda pair: (pair.baseline is ABSENT, pair.place))

    def _sort(
        self, values: Sequence[Any], ignored: PathSet, unordered: PathSet
    ) -> dict[bytes, list[_Element]]:
        elements = [
            _Element(self._key(value, ignored.below(str(index)), unordered.below(str(index))), index, value)
            for index, value in enumerate(values)
        ]
        alike: dict[bytes, list[_Element]] = {}
        for element in sorted(elements, key=lambda element: element[:2]):
            alike.setdefault(element.key.skeleton, []).append(element)
        return alike

    def _pair_alike(
        self, first: list[_Element], second: list[_Element], left: tuple[list[_Element], list[_Element]]
    ) -> Iterator[Pair]:
        """Pairs of elements with one skeleton, both lists in the order of their numbers; adds to `left`."""
        i = j = 0
        lone: tuple[list[_Element], list[_Element]] = ([], [])
        while i < len(first) and j < len(second):
            one, other = first[i], second[j]
            if all(
                is_close(a, b, self.tolerance)
                for a, b in zip(one.key.numbers, other.key.numbers, strict=True)
            ):
                yield _pair(one, other)
                i, j = i + 1, j + 1
            elif one.key.numbers < other.key.numbers:
                lone[0].append(one)
                i += 1
            else:
                lone[1].append(other)
                j += 1
        lone[0].extend(first[i:])
        lone[1].extend(second[j:])
        both = min(len(lone[0]), len(lone[1]))
        for one, other in zip(lone[0][:both], lone[1][:both], strict=True):
            yield _pair(one, other)
        left[0].extend(lone[0][both:])
        left[1].extend(lone[1][both:])

    def _key(self, value: Any, ignored: PathSet, unordered: PathSet) -> _Key:
        self.visits += 1
        if self.visits > MAX_VISITS:
            raise UnreadableError(f"more than {MAX_VISITS} visits to match lists", is_different=False)
        if is_number(value) and value == value:  # noqa: PLR0124  NaN has no order, and is told by its name
            return _Key(b"number", (value,))
        if isinstance(value, dict):
            named = [
                (name, self._key(value[name], ignored.below(name), unordered.below(name)))
                for name in sorted(value)
                if not ignored.below(name).is_here()
            ]
            digest = _digest(
                "object", [part for name, key in named for part in (_encode(name), key.skeleton)]
            )
            return _Key(digest, tuple(number for _, key in named for number in key.numbers))
        if isinstance(value, list):
            keys = [
                self._key(element, ignored.below(str(index)), unordered.below(str(index)))
                for index, element in enumerate(value)
                if not ignored.below(str(index)).is_here()
            ]
            if self.is_every_list or unordered.is_here():
                keys.sort()
            digest = _digest(type(value).__name__, [key.skeleton for key in keys])
            return _Key(digest, tuple(number for key in keys for number in key.numbers))
        return _Key(_digest(type(value).__name__, [_encode(str(value))]), ())


def _pair(one: _Element | None, other: _Element | None) -> Pair:
    first = one or other
    return Pair(
        first.place if first is not None else 0,
        ABSENT if one is None else one.value,
        ABSENT if other is None else other.value,
    )


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _digest(kind: str, parts: Sequence[bytes]) -> bytes:
    digest = hashlib.blake2b(kind.encode(), digest_size=16)
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.digest()
