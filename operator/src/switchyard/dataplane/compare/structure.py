"""How much of two JSON documents is equal, value by value."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import zip_longest
from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator, Discriminator, Field, Tag

from switchyard.dataplane.compare.coding import UnreadableError
from switchyard.dataplane.compare.contents import ContentComparator, Options
from switchyard.dataplane.compare.documents import Pointer, parse_json, split_pointer
from switchyard.dataplane.compare.port import Score
from switchyard.dataplane.compare.tolerance import Tolerance, is_close, is_number
from switchyard.dataplane.compare.unordered import ABSENT, ListMatcher, Pair, PathSet

MAX_DEPTH = 64
MAX_VALUES = 1 << 16
MAX_PATH_CHARS = 128


def _leave_the_root(pointer: str) -> str:
    if not pointer:
        raise ValueError("give a path below the root; nothing else would be compared")
    return pointer


PathBelow = Annotated[Pointer, AfterValidator(_leave_the_root)]
Paths = Annotated[tuple[Pointer, ...], Field(max_length=64)]


class JsonOptions(Options):
    """What a JSON comparator can be told."""

    numeric_tolerance: Annotated[
        Annotated[float, Field(ge=0, lt=1), Tag("both")] | Annotated[Tolerance, Tag("kinds")],
        Discriminator(lambda given: "kinds" if isinstance(given, dict | Tolerance) else "both"),
        Field(description="Numbers that differ by no more are equal: {relative, absolute}, or one for both."),
    ] = 0.0
    ignored_paths: Annotated[
        tuple[PathBelow, ...],
        Field(max_length=64, description="JSON pointers, * for any step, to what is not compared."),
    ] = ()
    unordered_lists: Annotated[
        Annotated[bool, Tag("all")] | Annotated[Paths, Tag("paths")],
        Discriminator(lambda given: "all" if isinstance(given, bool) else "paths"),
        Field(description="JSON pointers, * for any step, to lists without an order; true for all lists."),
    ] = False


class _Path:
    """A place in a document, as a chain of steps that only a difference spells out."""

    __slots__ = ("parent", "step")

    def __init__(self, parent: _Path | None, step: str) -> None:
        self.parent = parent
        self.step = step

    def __str__(self) -> str:
        steps: list[str] = []
        here: _Path | None = self
        while here is not None and here.parent is not None:
            steps.append(here.step.replace("~", "~0").replace("/", "~1"))
            here = here.parent
        shown = "".join(f"/{step}" for step in reversed(steps)) or "the root"
        return shown[:MAX_PATH_CHARS].encode("ascii", "backslashreplace").decode()


class _Place(NamedTuple):
    """Two values at one path, ABSENT where one side has none, with the rules for what lies below."""

    path: _Path
    baseline: Any
    candidate: Any
    ignored: PathSet
    unordered: PathSet

    def below(self, step: str, baseline: Any, candidate: Any) -> _Place:
        return _Place(
            _Path(self.path, step), baseline, candidate, self.ignored.below(step), self.unordered.below(step)
        )


class JsonComparator(ContentComparator[Any]):
    """The share of equal values among all values that are no containers (empty containers count as values).

    A member or element that one side lacks counts with all values in it. 1 and 1.0 are one number.
    """

    options_type = JsonOptions

    def __init__(self, name: str, options: JsonOptions) -> None:
        super().__init__(name, options)
        given = options.numeric_tolerance
        self._tolerance = given if isinstance(given, Tolerance) else Tolerance(relative=given, absolute=given)
        self._ignored = PathSet(tuple(split_pointer(path) for path in options.ignored_paths))
        paths = options.unordered_lists
        self._is_every_list = paths is True
        self._unordered = PathSet(() if isinstance(paths, bool) else tuple(map(split_pointer, paths)))

    def read(self, content: bytes, content_type: str) -> Any:
        """The document, of bounded depth and size."""
        del content_type
        document = parse_json(content, is_faithful=True)
        excess = _find_excess(document)
        if excess:
            # what exceeds may lie under an ignored path, so with such paths it proves nothing
            raise UnreadableError(excess, is_different=not self._ignored.rests)
        return document

    def score(self, baseline: Any, candidate: Any) -> Score:
        """Equal values by all values, with the path of the first difference."""
        matcher = ListMatcher(self._tolerance, self._is_every_list)
        places = [_Place(_Path(None, ""), baseline, candidate, self._ignored, self._unordered)]
        equal = total = 0
        first: _Path | None = None
        while places:
            place = places.pop()
            following = self._split(place, matcher)
            if following is not None:
                places.extend(reversed(following))
                if following:
                    continue
                weight, is_equal = 1, True
            else:
                weight = max(
                    _count_values(place.baseline, place.ignored),
                    _count_values(place.candidate, place.ignored),
                )
                is_equal = self._is_equal(place.baseline, place.candidate)
            total += weight
            equal += weight * is_equal
            if not is_equal and first is None:
                first = place.path
        if first is None:
            return Score(1.0, f"{total} values equal")
        return Score(equal / total, f"{equal} of {total} values equal; first difference at {first}")

    def _split(self, place: _Place, matcher: ListMatcher) -> list[_Place] | None:
        """The places right below one with two containers of a kind, None for any other."""
        baseline, candidate = place.baseline, place.candidate
        if isinstance(baseline, dict) and isinstance(candidate, dict):
            names = [*baseline, *(name for name in candidate if name not in baseline)]
            below = [
                place.below(name, baseline.get(name, ABSENT), candidate.get(name, ABSENT)) for name in names
            ]
        elif isinstance(baseline, list) and type(baseline) is type(candidate):
            pairs: list[Pair]
            if self._is_every_list or place.unordered.is_here():
                pairs = matcher.pair_elements(baseline, candidate, place.ignored, place.unordered)
            else:
                both = zip_longest(baseline, candidate, fillvalue=ABSENT)
                pairs = [Pair(index, one, other) for index, (one, other) in enumerate(both)]
            below = [place.below(str(pair.place), pair.baseline, pair.candidate) for pair in pairs]
        else:
            return None
        return [child for child in below if not child.ignored.is_here()]

    def _is_equal(self, baseline: Any, candidate: Any) -> bool:
        if is_number(baseline) and is_number(candidate):
            return is_close(baseline, candidate, self._tolerance)
        return type(baseline) is type(candidate) and bool(baseline == candidate)


def _children(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, list):
        yield from ((str(index), element) for index, element in enumerate(value))


def _find_excess(document: Any) -> str:
    """What of a document exceeds the bounds, empty for one within them."""
    level, total = _keep_containers([document]), 1
    for _ in range(MAX_DEPTH):
        if not level:
            return ""
        total += sum(map(len, level))
        if total > MAX_VALUES:
            return f"JSON with more than {MAX_VALUES} values"
        level = [
            child
            for value in level
            for child in _keep_containers(value.values() if isinstance(value, dict) else value)
        ]
    return f"JSON that nests deeper than {MAX_DEPTH}" if level else ""


def _keep_containers(values: Iterable[Any]) -> list[Any]:
    return [value for value in values if isinstance(value, dict | list)]


def _count_values(value: Any, ignored: PathSet) -> int:
    """How many values that are no containers a value holds, itself included; 1 for an empty container."""
    if not isinstance(value, dict | list):
        return value is not ABSENT
    total, rest = 0, [(value, ignored)]
    while rest:
        value, ignored = rest.pop()
        below = [
            (child, deeper)
            for step, child in _children(value)
            if not (deeper := ignored.below(step)).is_here()
        ]
        rest.extend(below)
        total += not below
    return total
