"""Strings with a meaning: what they are worth, and what is refused."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from switchyard.api import Duration, Money, Quantity
from switchyard.api.values import Factor, Rate, Ratio, ShareBelowOne, TokenCount


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("300ms", 0.3),
        ("1.5s", 1.5),
        ("10m", 600.0),
        ("1h30m", 5400.0),
        ("250us", 0.00025),
        ("1m0.5s", 60.5),
        ("0s", 0.0),
        ("40ns", 4e-8),
    ],
)
def test_a_duration_is_worth_its_seconds_and_keeps_its_text(text: str, seconds: float) -> None:
    duration = Duration(text)
    assert duration.seconds == pytest.approx(seconds)
    assert duration == text


@pytest.mark.parametrize(
    "text", ["", "300", "ms", "-1s", "1 s", "1d", "1,5s", ".5s", "1s\n", "fast", "1h" * 40], ids=repr
)
def test_what_is_no_duration_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ValueError, match="300ms"):
        Duration(text)


@given(st.integers(0, 999_999), st.sampled_from(["ns", "us", "ms", "s", "m", "h"]))
def test_a_duration_goes_through_json_unchanged(number: int, unit: str) -> None:
    adapter = TypeAdapter(Duration)
    duration = adapter.validate_python(f"{number}{unit}")
    again = adapter.validate_json(adapter.dump_json(duration))
    assert (again, again.seconds) == (duration, duration.seconds)


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ("24Gi", 24 * 2**30),
        ("22888Mi", 22888 * 2**20),
        ("500m", Decimal("0.5")),
        ("2", 2),
        (2, 2),
        ("16k", 16_000),
        ("16Ki", 16_384),
        ("1.5G", 1_500_000_000),
        ("1E", 10**18),
        ("3n", Decimal("3e-9")),
    ],
)
def test_a_quantity_is_worth_its_number(given: str | int, value: Decimal | int) -> None:
    assert Quantity(given).value == value
    assert Quantity(given) == str(given)


@pytest.mark.parametrize("given", ["-1", "1GiB", "1 Gi", "", "Gi", -2, True, 1.5, "1e3"], ids=repr)
def test_what_is_no_quantity_is_refused_with_examples(given: object) -> None:
    with pytest.raises(ValueError, match="24Gi"):
        Quantity(given)


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (Money, ["0", "1.25", "32000", "0.000000001"], ["-1", "1,50", "", "1.", ".5", "1e3", "USD 1"]),
        (Rate, ["0", "12.5"], ["-5", "many", "1/s"]),
        (Factor, ["1", "1.5", "10"], ["0.5", "0", "-1"]),
        (Ratio, ["0", "0.001", "1", "1.0"], ["1.1", "2", "-0.1"]),
        (ShareBelowOne, ["0", "0.999999999"], ["1", "1.0", "-0.1", "00.1"]),
        (TokenCount, ["1", "812.5", "9999999"], ["0", "0.9", "-1", "10000000"]),
    ],
    ids=["money", "rate", "factor", "ratio", "share below one", "tokens"],
)
def test_decimal_strings_within_their_bounds(kind: type, good: list[str], bad: list[str]) -> None:
    adapter = TypeAdapter(kind)
    for text in good:
        assert adapter.validate_python(text) == Decimal(text)
    for text in bad:
        with pytest.raises(ValidationError):
            adapter.validate_python(text)


@given(st.decimals(0, 999_999_999_999, places=9))
def test_no_amount_is_rounded_on_its_way(amount: Decimal) -> None:
    adapter = TypeAdapter(Money)
    assert adapter.validate_json(adapter.dump_json(adapter.validate_python(format(amount, "f")))) == amount


def test_readers_take_numbers_for_amounts() -> None:
    adapter = TypeAdapter(Money)
    assert [adapter.validate_python(each) for each in (2, 1.25)] == [Decimal(2), Decimal("1.25")]
