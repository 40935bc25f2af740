"""Sums and differences of counts that only grow: of integers, mappings and dataclasses made of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, Self, TypeVar, cast

T = TypeVar("T")


class CountFell(Exception):  # noqa: N818 - says what happened; the reader decides whether it is an error
    """A later count is below an earlier one, so they are not of one life."""


class Cumulative(ABC):
    """Something whose parts don't simply add up."""

    __slots__ = ()

    @abstractmethod
    def plus(self, other: Self) -> Self:
        """Both together."""

    @abstractmethod
    def minus(self, earlier: Self) -> Self:
        """What came since then. Raises CountFell."""


def add(one: T, other: T) -> T:
    """Both together. What only one of two mappings has is taken as it is."""
    return cast("T", _add(one, other))


def subtract(later: T, earlier: T) -> T:
    """What came since then; entries of mappings in which nothing did are left out. Raises CountFell.

    What a mapping does not have counts as nothing, the value of its type without arguments.
    """
    return cast("T", _subtract(later, earlier))


def _add(one: Any, other: Any) -> Any:
    match one:
        case int():
            return one + other
        case Mapping():
            both = {key: _add(value, other[key]) for key, value in one.items() if key in other}
            return {**one, **other, **both}
        case Cumulative():
            return one.plus(other)
    return _by_field(_add, one, other)


def _subtract(later: Any, earlier: Any) -> Any:
    match later:
        case int():
            if later < earlier:
                raise CountFell
            return later - earlier
        case Mapping():
            return _subtract_each(later, earlier)
        case Cumulative():
            return later.minus(earlier)
    return _by_field(_subtract, later, earlier)


def _by_field(combine: Callable[[Any, Any], Any], one: Any, other: Any) -> Any:
    return type(one)(*(combine(getattr(one, each.name), getattr(other, each.name)) for each in fields(one)))


def _subtract_each(later: Mapping[Any, Any], earlier: Mapping[Any, Any]) -> dict[Any, Any]:
    differences = {}
    for key, value in {**earlier, **later}.items():
        nothing = type(value)()
        difference = _subtract(later.get(key, nothing), earlier.get(key, nothing))
        if difference != nothing:
            differences[key] = difference
    return differences
