"""What a cutover is held to beside its evidence: when it may move traffic, and what it may cost."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from switchyard.api.base import ApiModel
from switchyard.api.schema_marks import SET, rule, rules, within
from switchyard.api.values import Duration, Money

TimeOfDay = Annotated[str, Field(max_length=5, pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


class Window(ApiModel):
    """When traffic may move. A rollback needs no window."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "self.start != self.end",
                "give an end other than the start; 00:00 to 23:59 is almost a whole day",
                ".end",
            )
        )
    )

    days: Annotated[tuple[Weekday, ...], Field(min_length=1, max_length=7, json_schema_extra=SET)] = Field(
        default=("mon", "tue", "wed", "thu", "fri", "sat", "sun"),
        description="Days on which it begins.",
        examples=[["mon", "tue", "wed", "thu"]],
        json_schema_extra={"default": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]},
    )
    start: TimeOfDay = Field(description="Beginning, as HH:MM in the time zone.", examples=["09:00"])
    end: TimeOfDay = Field(
        description="End, as HH:MM; one before the beginning is on the next day.",
        examples=["16:00"],
    )
    time_zone: Annotated[str, Field(max_length=64, pattern=r"^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*$")] = Field(
        default="UTC", description="Time zone, by its IANA name.", examples=["Europe/Berlin"]
    )


class Budget(ApiModel):
    """What the move may take."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(within("deadline", "1m", "8760h"), "give a deadline of 1m to 8760h", ".deadline")
        )
    )

    max_dual_run_cost: Money | None = Field(
        default=None,
        description="Most that running both sides may cost, in the operator's currency; beyond it the plan "
        "rolls back. Default: no limit.",
        examples=["250.00"],
    )
    deadline: Duration | None = Field(
        default=None,
        description="Longest time from the start to the end of soaking, 1m to 8760h; beyond it the plan "
        "rolls back. Default: none.",
        examples=["72h"],
    )


class Economics(ApiModel):
    """Whether the move is worth it, judged before anything is spent."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                within("requirePaybackWithin", "1m", "87600h"),
                "give a requirePaybackWithin of 1m to 87600h",
                ".requirePaybackWithin",
            )
        )
    )

    engineering_cost: Money = Field(
        default="0",
        description="What people's work on the move costs, in the operator's currency.",
        examples=["2000"],
        validate_default=True,
    )
    require_payback_within: Duration | None = Field(
        default=None,
        description="Time in which the saving must repay the move, 1m to 87600h; else it is not begun. "
        "Default: not asked for.",
        examples=["2160h"],
    )
