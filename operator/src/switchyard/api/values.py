"""Values that travel as strings: durations, money, ratios, Kubernetes quantities, names.

Each carries the schema that the API server holds authors to, and refuses the same input itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Self

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

_DURATION_PATTERN = r"^([0-9]{1,7}(\.[0-9]{1,9})?(ns|us|ms|s|m|h)){1,6}$"
_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ns|us|ms|s|m|h)")
_DURATION_LENGTH = 48
_UNIT_SECONDS = {
    "ns": Decimal("1e-9"),
    "us": Decimal("1e-6"),
    "ms": Decimal("1e-3"),
    "s": Decimal(1),
    "m": Decimal(60),
    "h": Decimal(3600),
}

_QUANTITY_PATTERN = r"^[0-9]{1,15}(\.[0-9]{1,9})?(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$"
_QUANTITY_LENGTH = 32
_QUANTITY_FACTORS = {
    "": Decimal(1),
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    **{suffix: Decimal(1000) ** power for power, suffix in enumerate("kMGTPE", start=1)},
    **{f"{suffix}i": Decimal(1024) ** power for power, suffix in enumerate("KMGTPE", start=1)},
}


class Duration(str):
    """A span of time as authors write it: `300ms`, `1h30m`. Raises ValueError for anything else."""

    __slots__ = ("seconds",)
    seconds: float

    def __new__(cls, text: str) -> Self:
        """The duration; `seconds` is its length."""
        if (
            not isinstance(text, str)
            or len(text) > _DURATION_LENGTH
            or not re.fullmatch(_DURATION_PATTERN, text)
        ):
            raise ValueError("give a duration such as 300ms, 1.5s, 10m or 1h30m")
        made = super().__new__(cls, text)
        parts = _DURATION_PART.findall(text)
        made.seconds = float(sum(Decimal(number) * _UNIT_SECONDS[unit] for number, unit in parts))
        return made

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """How pydantic reads it from a string and writes it back unchanged."""
        del source, handler
        return core_schema.no_info_plain_validator_function(
            cls, serialization=core_schema.plain_serializer_function_ser_schema(str)
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The schema of a duration string."""
        del core, handler
        return {"type": "string", "pattern": _DURATION_PATTERN, "maxLength": _DURATION_LENGTH}


class Quantity(str):
    """A Kubernetes quantity, never negative: `24Gi`, `500m`, `2`. Raises ValueError for anything else."""

    __slots__ = ("value",)
    value: Decimal

    def __new__(cls, text: str | int) -> Self:
        """The quantity; `value` is its number (of bytes, cores, …)."""
        written = str(text) if isinstance(text, int) and not isinstance(text, bool) else text
        if not isinstance(written, str) or not re.fullmatch(_QUANTITY_PATTERN, written):
            raise ValueError("give a quantity such as 24Gi, 500m or 2")
        made = super().__new__(cls, written)
        number = written.rstrip("numkMGTPEKi")
        made.value = Decimal(number) * _QUANTITY_FACTORS[written[len(number) :]]
        return made

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """How pydantic reads it from a string or an integer and writes it as a string."""
        del source, handler
        return core_schema.no_info_plain_validator_function(
            cls, serialization=core_schema.plain_serializer_function_ser_schema(str)
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The schema of an integer or a quantity string."""
        del core, handler
        return {
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "x-kubernetes-int-or-string": True,
            "pattern": _QUANTITY_PATTERN,
            "maxLength": _QUANTITY_LENGTH,
            "minimum": 0,
        }


@dataclass(frozen=True, slots=True)
class DecimalText:
    """Marks a Decimal that travels as a string of this pattern, so that no float ever rounds it.

    Readers take a number as well.
    """

    pattern: str
    way_out: str

    def parse(self, given: object) -> Decimal:
        """The number. Raises ValueError when the pattern does not allow it."""
        text = format(given, "f") if isinstance(given, Decimal) else str(given)
        if isinstance(given, bool) or not re.fullmatch(self.pattern, text):
            raise ValueError(self.way_out)
        return Decimal(text)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """How pydantic reads it from a string and writes it as one."""
        del source, handler
        return core_schema.no_info_plain_validator_function(
            self.parse,
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda number: format(number, "f"), when_used="json"
            ),
        )

    def __get_pydantic_json_schema__(
        self, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """The schema of the string."""
        del core, handler
        return {"type": "string", "pattern": self.pattern, "maxLength": 32}


Money = Annotated[
    Decimal, DecimalText(r"^[0-9]{1,12}(\.[0-9]{1,9})?$", "give an amount as a decimal string such as '1.25'")
]
Rate = Annotated[
    Decimal, DecimalText(r"^[0-9]{1,9}(\.[0-9]{1,6})?$", "give a rate as a decimal string such as '12.5'")
]
Factor = Annotated[
    Decimal,
    DecimalText(r"^[1-9][0-9]{0,2}(\.[0-9]{1,6})?$", "give a factor of at least 1 as a string such as '1.5'"),
]
Ratio = Annotated[
    Decimal,
    DecimalText(r"^(0(\.[0-9]{1,9})?|1(\.0{1,9})?)$", "give a ratio of 0 to 1 as a string such as '0.001'"),
]
ShareBelowOne = Annotated[
    Decimal,
    DecimalText(r"^0(\.[0-9]{1,9})?$", "give a share of at least 0 and below 1 as a string such as '0.3'"),
]
RatioAboveZero = Annotated[
    Decimal,
    DecimalText(
        r"^(0\.0{0,5}[1-9][0-9]{0,5}|1(\.0{1,6})?)$",
        "give a ratio above 0 and at most 1 as a string such as '0.8'",
    ),
]
ShareBetween = Annotated[
    Decimal,
    DecimalText(r"^0\.0{0,5}[1-9][0-9]{0,5}$", "give a share above 0 and below 1 as a string such as '0.02'"),
]
Level = Annotated[
    Decimal, DecimalText(r"^-?[0-9]{1,12}(\.[0-9]{1,9})?$", "give a decimal string such as '0.05'")
]
TokenCount = Annotated[
    Decimal,
    DecimalText(
        r"^[1-9][0-9]{0,6}(\.[0-9]{1,3})?$", "give a number of tokens of at least 1 as a string such as '812'"
    ),
]
Variation = Annotated[
    Decimal, DecimalText(r"^[0-9]{1,3}(\.[0-9]{1,6})?$", "give a decimal string such as '0.25'")
]

ObjectName = Annotated[str, Field(max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
SubdomainName = Annotated[str, Field(max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]
CatalogName = Annotated[str, Field(max_length=63, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]
LabelKey = Annotated[
    str,
    Field(
        max_length=317,
        pattern=r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$",
    ),
]
LabelValue = Annotated[str, Field(max_length=63, pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$")]
Word = Annotated[
    str, Field(min_length=1, max_length=63, pattern=r"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$")
]
Line = Annotated[str, Field(max_length=256)]
Text = Annotated[str, Field(max_length=1024)]
Moment = Annotated[str, Field(max_length=64, json_schema_extra={"format": "date-time"})]
ResourceName = Annotated[
    str,
    Field(
        max_length=317,
        pattern=r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$",
    ),
]
