"""What a Kubernetes quantity is worth, and the one way in which the server writes it.

Source: k8s.io/apimachinery/pkg/api/resource (Quantity, ParseQuantity, CanonicalizeBytes).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

QUANTITY_PATTERN = "^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$"

_NUMBER = re.compile(r"([+-]?)(\d+(?:\.\d*)?|\.\d+)(.*)")
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_EXPONENT = re.compile(r"[eE]([+-]?\d+)")


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number and the family of suffixes in which it was written."""

    value: Fraction
    is_binary: bool = False
    is_exponent: bool = False

    def __str__(self) -> str:
        """The canonical text: no fraction, the largest suffix that keeps the number whole."""
        nano = _ceil_away(self.value * 10**9)
        if nano == 0:
            return "0"
        if self.is_binary and abs(nano) >= 1024 * 10**9 and nano % 10**9 == 0:
            return _with_binary_suffix(nano // 10**9)
        exponent = -9
        while nano % 1000 == 0 and exponent < 18:
            nano //= 1000
            exponent += 3
        if self.is_exponent:
            return f"{nano}e{exponent}" if exponent else str(nano)
        suffix = next(s for s, power in _DECIMAL.items() if power == exponent)
        return f"{nano}{suffix}"

    @property
    def is_whole(self) -> bool:
        """Whether the number has no fraction."""
        return self.value.denominator == 1


def _ceil_away(value: Fraction) -> int:
    """The number rounded up in magnitude: the server keeps nothing below nano."""
    rounded = -(-abs(value.numerator) // value.denominator)
    return rounded if value >= 0 else -rounded


def _with_binary_suffix(whole: int) -> str:
    best = str(whole)
    for suffix, bits in _BINARY.items():
        if whole % (1 << bits) == 0:
            best = f"{whole >> bits}{suffix}"
    return best


def parse_quantity(text: str | float) -> Quantity:
    """The quantity that a text or a bare number stands for. Raises ValueError for anything else."""
    match = _NUMBER.fullmatch(str(text).strip())
    if match is None:
        raise ValueError(text)
    sign, number, suffix = match.groups()
    value = Fraction(number if not number.startswith(".") else f"0{number}")
    if sign == "-":
        value = -value
    if suffix in _BINARY:
        return Quantity(value * (1 << _BINARY[suffix]), is_binary=True)
    if suffix in _DECIMAL:
        return Quantity(value * Fraction(10) ** _DECIMAL[suffix])
    if power := _EXPONENT.fullmatch(suffix):
        return Quantity(value * Fraction(10) ** int(power[1]), is_exponent=True)
    raise ValueError(text)
