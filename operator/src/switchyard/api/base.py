"""What all API models share: camelCase in YAML, frozen, unknown fields tolerated; and conditions."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from switchyard.api.schema_marks import map_by
from switchyard.api.values import Moment, Word


class ApiModel(BaseModel):
    """A part of an object. A field that a later release wrote is ignored, not refused."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore")


class Condition(ApiModel):
    """One aspect of an object's state, as the Kubernetes API conventions define it."""

    type: Word = Field(description="Aspect of the state.", examples=["Ready"])
    status: Literal["True", "False", "Unknown"] = Field(
        description="Whether it holds; Unknown while it cannot be told.", examples=["True"]
    )
    observed_generation: int = Field(
        default=0, ge=0, le=2**53, description="`metadata.generation` that this was said of.", examples=[3]
    )
    last_transition_time: Moment = Field(
        description="When `status` changed last, RFC 3339.", examples=["2026-11-21T12:00:00Z"]
    )
    reason: Word = Field(
        description="Why, as one stable word; docs/reference/reasons.md.", examples=["Serving"]
    )
    message: Annotated[str, Field(max_length=1024)] = Field(
        default="", description="Why, for a person.", examples=["2 of 2 replicas ready"]
    )


Conditions = Annotated[tuple[Condition, ...], Field(max_length=16, json_schema_extra=map_by("type"))]
