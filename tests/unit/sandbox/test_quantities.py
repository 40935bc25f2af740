from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchyard.sandbox.apiserver.builtins.quantities import parse_quantity


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("0.5", "500m"),
        ("1.5", "1500m"),
        ("1000m", "1"),
        ("1024Mi", "1Gi"),
        ("0.5Gi", "512Mi"),
        ("2000", "2k"),
        ("1e3", "1e3"),
        ("100Ki", "100Ki"),
        ("512", "512"),
        ("0.5Ki", "512"),
        ("-1", "-1"),
        ("0", "0"),
        (".5", "500m"),
        (8, "8"),
        ("0.0000000001", "1n"),
    ],
)
def test_a_quantity_is_written_the_way_the_server_writes_it(written: str, canonical: str) -> None:
    assert str(parse_quantity(written)) == canonical


@pytest.mark.parametrize("text", ["", "lots", "1KiB", "1 Gi x", "--1", "1.2.3", "1ei"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_quantity(text)


@given(
    st.integers(min_value=-(10**9), max_value=10**9),
    st.sampled_from(["", "m", "k", "M", "G", "Ki", "Mi", "Gi", "e3"]),
)
def test_the_canonical_text_is_worth_the_same_and_is_its_own_canonical_text(number: int, suffix: str) -> None:
    quantity = parse_quantity(f"{number}{suffix}")
    again = parse_quantity(str(quantity))
    assert again.value == quantity.value
    assert str(again) == str(quantity)


@given(st.fractions(min_value=0, max_value=1000, max_denominator=10**12))
def test_nothing_is_lost_above_a_nano(value: Fraction) -> None:
    text = f"{value.numerator / value.denominator:.9f}"
    assert parse_quantity(str(parse_quantity(text))).value == Fraction(text)
